//! The transaction layer, RFC 3261 §17 as corrected by RFC 6026, RFC 4320 and RFC 4321.
//!
//! One file per figure of the RFC. Each machine is a small value: it is made with the message
//! that opens it, takes what happens together with the time, and pushes what is to be done into
//! the queue it is handed. A timer is a field of the state that needs it, so that leaving the
//! state stops it. [`Table`] owns the machines, finds them for a message, and keeps one ordered
//! set of their deadlines.
//!
//! Timer C of RFC 3261 table 4 belongs to proxies (§16.6) and has no place here.

mod client_invite;
mod client_request;
mod hop;
mod key;
mod retransmit_2xx;
mod server_invite;
mod server_request;
mod table;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use sip_message::Message;
use thiserror::Error;

pub use client_invite::ClientInvite;
pub use client_request::ClientRequest;
pub use hop::{ack_for, cancel_for};
pub(crate) use key::MAGIC_COOKIE;
pub use key::{Key, MergeKey};
pub use retransmit_2xx::Retransmit2xx;
pub use server_invite::ServerInvite;
pub use server_request::ServerRequest;
pub use table::{Limits, Refused, Step, Table, TableCensus, TxId};
pub(crate) use timers::Backoff;
pub use timers::Timers;

/// What a transaction wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// These bytes go to the peer.
    Send(Bytes),
    /// This message is for the transaction user: a response to our request, or (in an INVITE
    /// server transaction that was answered 2xx) an ACK.
    Pass(Box<Message>),
    /// The peer did not answer in time. Client: timer B or F, to be treated as 408 (RFC 3261
    /// §8.1.3.1). Server: timer H, no ACK came for a final response that is not 2xx; or, outside
    /// INVITE, no final response was given before it became useless (RFC 4320 §4.2).
    TimedOut,
    /// The transport failed before a final response: a client treats it as 503 (RFC 3261 §8.1.3.1).
    Failed,
    /// The transaction is over; nothing follows.
    Ended,
}

/// The queue that machines push into.
pub type Outputs = VecDeque<Output>;

/// A response that the transaction user may not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misuse {
    /// No such transaction, or not a server transaction.
    #[error("there is no such server transaction")]
    Unknown,
    /// A final response was given before.
    #[error("the request has its final response already")]
    AlreadyAnswered,
    /// The status is none of 100 to 699.
    #[error("no status code of SIP")]
    NoStatus,
    /// A provisional response other than 100 outside INVITE (RFC 4320 §4.1).
    #[error("only INVITE has provisional responses other than 100")]
    Provisional,
    /// 100 outside INVITE over an unreliable transport, before the peer's timer E has reached T2
    /// (RFC 4320 §4.1).
    #[error("it is too early for 100")]
    TooEarly,
    /// 408 outside INVITE: it could only be late (RFC 4320 §4.2).
    #[error("408 is no answer to this request")]
    RequestTimeout,
}
