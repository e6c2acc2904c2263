//! Voice agents: the object that a media shard talks to, the agents built in, and the
//! connection to agents that serve the Twilio Media Streams protocol with `hook.*` messages on it.
//!
//! An [`Agent`] is polled like the pure machines: audio and keys go in, audio and decisions come
//! out, and nothing in it may block. [`Hooks::connect`] makes one for a call.

mod agent;
mod builtin;
mod facts;
mod hooks;
pub mod lint;
mod serve;
pub mod sound;
mod twilio;
pub mod wire;

pub use agent::{Agent, AgentEvent, AgentInput, AgentOutput, Phase, Track, TransferOutcome, When};
pub use facts::{CallFacts, HookToken};
pub use hooks::{ConnectError, HookConfig, HookError, Hooks};
pub use serve::AgentServer;
