//! SIP transactions, dialogs and legs (RFC 3261), without input or output.
//!
//! [`Endpoint`] is the whole: messages, commands and the time go in, messages and
//! [`LegEvent`]s come out. It knows legs, dialogs and transactions, and not what a call is.

mod advertise;
mod answers;
mod checkpoint;
mod client;
mod config;
mod dialog;
pub mod digest;
mod ended;
mod endpoint;
mod flow;
mod formed;
pub mod ids;
mod leg;
mod ping;
mod reason;
mod screen;
mod stack;
mod target;
pub mod transaction;
mod trunks;
mod vocabulary;

pub use advertise::{Advertised, NotAnAddress, sent_by};
pub use checkpoint::{DialogCheckpoint, Restore};
pub use config::{Bounds, Credentials, DigestUser, EndpointConfig, TrunkRule, Unauthenticated};
pub use digest::Algorithm;
pub use ended::{Census, Counters, Ended};
pub use endpoint::Endpoint;
pub use flow::{ConnectionId, Flow, ServerName, Transport};
pub use formed::{FormedRequest, form_request};
pub use ping::{Ping, PingId};
pub use reason::reason_header;
pub use sip_message::tel_as_sip;
pub use target::{add_parameters, at_host, embed_headers};
pub use transaction::Timers;
pub use vocabulary::{
    Body, Caller, Command, Header, Input, Invitation, LegEvent, LegId, Output, Place, ReasonValue,
    Reliability, Response, TrunkId,
};
