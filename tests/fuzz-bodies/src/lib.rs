//! What each fuzz target does with its bytes. The fuzzers in `tests/fuzz` and the replay of their
//! corpus call the same functions; a broken invariant is a panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is the finding"
)]

mod audio;
mod choices;
mod description;
mod digest;
mod endpoint;
mod message;
mod stream;

pub use audio::audio;
pub use description::description;
pub use digest::digest;
pub use endpoint::endpoint;
pub use message::{message, sipfrag, uri};
pub use stream::stream;

/// A target: takes any bytes and panics where an invariant is broken.
pub type Target = fn(&[u8]);

/// All targets by the names of their corpora.
pub const TARGETS: [(&str, Target); 8] = [
    ("audio", audio),
    ("description", description),
    ("digest", digest),
    ("endpoint", endpoint),
    ("message", message),
    ("sipfrag", sipfrag),
    ("stream", stream),
    ("uri", uri),
];
