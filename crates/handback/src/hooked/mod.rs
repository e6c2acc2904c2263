//! The gateway's part of a call with a hook, played from files: for people who build hooks and have
//! no telephone. Client, encoder, jitter buffer and play-out are the gateway's own.

mod cue;
mod outcome;
mod recording;
mod talk;

pub(crate) use cue::time_of;
pub use cue::{Cue, CueError, Moment};
pub use outcome::{Expectation, Outcome};
pub use recording::Recording;
pub use talk::{Fault, News, Plan, Talk};
