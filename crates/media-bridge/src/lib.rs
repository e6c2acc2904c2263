//! Per-core media loops: they own the RTP sockets, the sessions of `media-core` and the agents
//! attached to them, and carry audio between these.
//!
//! A [`MediaPlane`] runs a number of shards, each a thread with its own current-thread runtime and
//! one 5 ms tick. A session belongs to one shard for life and has its 20 ms slot in one of four
//! phases of the tick. The call holds a [`MediaHandle`], posts [`MediaCommand`]s and is told
//! [`MediaEvent`]s.

mod barge_in;
mod leg;
mod outbox;
mod plane;
mod ports;
mod seat;
mod shard;
mod vocabulary;
mod watch;

pub use barge_in::BargeIn;
pub use plane::{MediaHandle, MediaPlane};
pub use vocabulary::{
    Busy, MediaAddress, MediaCensus, MediaCommand, MediaConfig, MediaError, MediaEvent,
    MediaFigures,
};
