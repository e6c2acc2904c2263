//! What every agent link has to do, whatever is behind it: the WebSocket client of both wires and
//! the agents built in. A new link is one more line in `links.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail tests"
)]

mod builtins;
mod contract;
mod far;
mod links;
mod scratch;
mod wires;
