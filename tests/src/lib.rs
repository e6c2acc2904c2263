//! What stories are told with: a gateway of their own, SIP peers that say exactly what a script
//! says, telephones' audio, and an agent behind a WebSocket.
//!
//! Nothing here shares code with the gateway but the reading of SIP messages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail tests"
)]

mod agent;
mod call;
mod digest;
mod lab;
mod name_server;
mod peer;
mod request;
mod sound;
mod target;
pub mod torture;
mod webhook;

pub use agent::{AgentServer, AgentSession};
pub use call::{Call, TRANSFER_HEADER, offer};
pub use digest::{Challenge, Hash};
pub use lab::{Lab, PATIENCE, eventually};
pub use name_server::{NameServer, Zone};
pub use peer::{Peer, Received};
pub use request::{Dialog, Request, respond, text};
pub use sip_core::Transport;
pub use sound::{Packet, Sound, linear_of_mulaw, speech};
pub use target::Target;
pub use webhook::{Asked, Webhook};
