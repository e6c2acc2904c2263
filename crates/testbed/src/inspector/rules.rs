//! The rules, and how a broken one is told.

use std::fmt;

use timebase::Now;

/// A rule that runs are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Every leg ends, once, and says nothing afterwards.
    LegsEndOnce,
    /// Every media port comes back.
    PortsReturn,
    /// A transfer is claimed by one call at a time, and nobody else writes to it.
    ClaimsStand,
    /// There is one result for each completion, and no more.
    OneResultEach,
    /// The store has the result before the first byte of the hand-back leaves.
    StoreFirst,
    /// A claim that ends in a refusal is undone before the refusal leaves.
    UndoneFirst,
    /// Every message that is sent has what RFC 3261 asks of it.
    WellFormed,
    /// Where the agent does not come back, the first byte of the hand-back leaves in time.
    HandBackInTime,
    /// A request has one final response.
    OneFinalResponse,
    /// Responses answer what came, and an ACK is never answered (RFC 3261 §17.1.1.2).
    AnswersWhatCame,
    /// Every new request of a dialog has a higher CSeq than those before it (RFC 3261 §12.2.1.1).
    SequenceRises,
    /// A branch belongs to one transaction (RFC 3261 §8.1.1.7).
    BranchesUnique,
    /// Requests inside a dialog wait until there is one, and on an arrived leg for the ACK (RFC 3261 §15).
    DialogFirst,
    /// Credentials go only to those whose realm they are for.
    NoForeignCredentials,
    /// Nothing is sent over a connection that is known to be closed.
    ClosedFlowsRest,
    /// RTP goes out to the caller every ptime while the call stands and is not on hold.
    VoiceEveryPtime,
    /// No RTP goes out to the caller after BYE, nor while it does not want any.
    NoVoiceAfterwards,
    /// A caller who waits for the target never hears nothing for more than five seconds.
    NoLongSilence,
    /// A transfer is completed once, and that exactly when a call for it was answered.
    CompletedOnce,
    /// Every call has a record, once, and the transfer's status is what the record says.
    RecordsTrue,
    /// A transfer has one outcome: one record of an answered call.
    OneOutcome,
    /// Everybody who answers an INVITE is acknowledged, and ended (RFC 3261 §13.2.2.4).
    ForksEnd,
    /// After a BYE was answered no BYE begins in the other direction.
    OneBye,
    /// A request in a dialog that a host does not know, or knows no more, has no success (RFC 3261 §12.2.2).
    UnknownDialogsGone,
    /// Where nothing but datagrams is lost, no session runs out (RFC 4028).
    SessionsStand,
    /// No transfer stays ONGOING.
    NoneOngoing,
    /// The endpoints hold nothing at the end.
    NothingLeft,
    /// The run comes to its end, and no machine spins.
    RunEnds,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Now,
    /// Which.
    pub rule: Rule,
    /// How.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, rule, detail } = self;
        write!(f, "{rule:?} at {:.3}: {detail}", at.0.as_secs_f64())
    }
}
