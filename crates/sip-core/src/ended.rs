//! Why a leg is over, and how much an endpoint holds and has counted.

/// Why a leg is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer sent BYE.
    HungUp,
    /// The caller cancelled.
    Cancelled,
    /// Our BYE got this final answer; 408 when none came.
    ByeAnswered(u16),
    /// Our 200 was not acknowledged for 64·T1; BYE was sent.
    NoAck,
    /// The peer did not refresh the session, or our refreshes failed (RFC 4028 §10); BYE was sent.
    Expired,
    /// The INVITE was refused with this status, by us or by the peer.
    Refused(u16),
    /// The peer does not know the dialog any more: 481 or 408 to a request inside it.
    Gone(u16),
}

/// How much the endpoint holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Legs not yet ended.
    pub legs: usize,
    /// Dialogs, also those of ended legs that are remembered for late messages.
    pub dialogs: usize,
    /// Transactions.
    pub transactions: usize,
    /// Invitations not yet admitted or refused.
    pub invitations: usize,
}

/// What the endpoint has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// Of those sent, repetitions by a timer.
    pub retransmitted: u64,
    /// Bytes received that were no message and could not be answered.
    pub unparseable: u64,
    /// Requests from sources that no trunk knows.
    pub unauthenticated: u64,
    /// Digest responses that were wrong.
    pub bad_credentials: u64,
    /// Requests refused before admission, for whatever reason.
    pub refused: u64,
    /// Responses and ACKs that belong to nothing.
    pub stray: u64,
    /// Responses that have the branch of a request of ours and another Call-ID, From tag or CSeq.
    pub foreign: u64,
    /// Requests of strangers over UDP beyond what one source is answered.
    pub unanswered: u64,
    /// Requests that were answered 503 since there was no room for them.
    pub overloaded: u64,
    /// INVITEs admitted.
    pub admitted: u64,
    /// INVITEs placed.
    pub placed: u64,
}
