//! Voice agents: the object that a media shard talks to, the agents built in, and the
//! connection to agents that serve the Twilio Media Streams protocol with `hook.*` messages on it.
//!
//! An [`Agent`] is polled like the pure machines: audio and keys go in, audio and decisions come
//! out, and nothing in it may block. [`Hooks::connect`] makes one for a call.

mod agent;
mod audiohook;
mod builtin;
mod credentials;
mod dial;
mod facts;
mod hooks;
mod link;
pub mod lint;
mod listener;
mod probe;
mod serve;
pub mod sound;
mod speech;
mod transport;
mod twilio;
mod twiml;
mod webhook;
pub mod wire;

pub use agent::{Agent, AgentEvent, AgentInput, AgentOutput, Phase, Track, TransferOutcome, When};
pub use audiohook::{AudioHookConfig, SessionLog};
pub use builtin::one_moment;
pub use credentials::{Credentials, verify_hook_signature};
pub use facts::{CallFacts, HookToken};
pub use hooks::{
    ClientCertificate, ConnectError, HookConfig, HookError, Hooks, Protocol, ReadyWhen,
};
pub use probe::{LineState, Probe, Seen, Speaker};
pub use serve::AgentServer;
pub use speech::Ear;
pub use twilio::{CallUpdate, RestError, account_sid, call_sid, output_context};
