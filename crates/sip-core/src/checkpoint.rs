//! What of a confirmed dialog outlives its process, and the leg that another process makes of it.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::flow::{Flow, Transport};
use crate::vocabulary::{LegId, TrunkId};

/// How far above the last known sequence number a restored dialog goes on (RFC 3261 §12.2.1.1: it only
/// has to rise): requests that were sent after the checkpoint, session refreshes for one, stay below.
pub(crate) const CSEQ_GAP: u32 = 1000;

/// A confirmed dialog (RFC 3261 §12) as plain data: all that its next request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogCheckpoint {
    /// The Call-ID.
    pub call_id: Bytes,
    /// Our tag.
    pub local_tag: Bytes,
    /// The peer's tag.
    pub remote_tag: Bytes,
    /// The From value of our requests, with our tag.
    pub local_party: Bytes,
    /// The To value of our requests, with the peer's tag.
    pub remote_party: Bytes,
    /// The URI of the peer's latest Contact.
    pub remote_target: Bytes,
    /// The Contact value of our messages.
    pub contact: Bytes,
    /// The route set, in the order of our Route fields.
    pub routes: Vec<Bytes>,
    /// The sequence number of our latest request.
    pub local_cseq: u32,
    /// The sequence number of the peer's latest request.
    pub remote_cseq: Option<u32>,
    /// How the dialog's messages have been going.
    pub transport: Transport,
    /// Our address on that way.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The peer takes REFER.
    pub allows_refer: bool,
    /// The peer takes UPDATE.
    pub allows_update: bool,
}

/// A leg that goes on in the dialog of a process that is gone.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The leg's number, odd and never used before.
    pub leg: LegId,
    /// The dialog.
    pub dialog: DialogCheckpoint,
    /// The path from us to where its messages came from, without a connection: ours went with its process.
    pub flow: Flow,
    /// The trunk that the call came over; none for one that was placed.
    pub trunk: Option<TrunkId>,
}
