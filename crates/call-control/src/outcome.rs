//! What became of a call, typed: never just "sent".

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;
use sip_core::ReasonValue;

use crate::transfer::ReturnType;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Never answered: the final status that was sent.
    Refused(u16),
    /// CANCEL before the answer.
    Cancelled,
    /// The caller hung up while the agent had the call.
    CallerHungUp,
    /// The 200 was never acknowledged.
    NoAck,
    /// The session was not refreshed in time (RFC 4028).
    SessionExpired,
    /// No media came for the configured time.
    MediaTimeout,
    /// An answer to our offer that cannot be used.
    BadAnswer,
    /// An operator ended it.
    HungUpByOperator,
    /// Its process died; another one handed it back, or ended it.
    NodeLost(HandedBack),
    /// Another process took this one for dead, and has the call now.
    TakenOver,
    /// The agent completed and the call was handed back, or it was tried.
    HandedBack(HandedBack),
}

/// The steps of a hand-back in the order they were tried; the last one ended the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HandedBack {
    /// Every step with its result.
    pub steps: Vec<Step>,
}

/// One step of a hand-back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The method.
    pub method: ReturnType,
    /// What came of it.
    pub result: StepResult,
    /// The status that decided it: of the final answer, or of the last sipfrag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The reason phrase beside it, where the peer gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The final answer to the REFER itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<u16>,
    /// Every sipfrag of a REFER, in order, the first [`Step::MOST_FRAGMENTS`] of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<Fragment>,
    /// The causes (RFC 3326) of the answer or the BYE that decided it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Where the INVITEs of an INVITE return went, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<SocketAddr>,
    /// The call's context that went with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
    /// Context that did not fit.
    #[serde(skip_serializing_if = "is_none")]
    pub dropped: usize,
}

/// A piece of a call's context in a request that hands it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Where it stands.
    pub place: CarriedIn,
    /// The name of the header field, embedded header or parameter.
    pub name: String,
}

/// Where a piece of context stands in a request that hands a call back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CarriedIn {
    /// A header field of the request.
    Header,
    /// A header embedded in the URI of Refer-To.
    ReferToHeader,
    /// A parameter of the URI of Refer-To.
    ReferToParameter,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
const fn is_none(count: &usize) -> bool {
    *count == 0
}

impl Step {
    /// Sipfrags kept of one REFER.
    pub const MOST_FRAGMENTS: usize = 32;

    pub(crate) const fn new(method: ReturnType) -> Self {
        Self {
            method,
            result: StepResult::Pending,
            status: None,
            reason: None,
            answer: None,
            fragments: Vec::new(),
            causes: Vec::new(),
            tried: Vec::new(),
            carried: Vec::new(),
            dropped: 0,
        }
    }
}

/// The status line of a sipfrag (RFC 3420).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fragment {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
}

/// A value of a Reason header, RFC 3326.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The protocol: `SIP`, `Q.850`, …
    pub protocol: String,
    /// The cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<u16>,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Cause {
    pub(crate) fn all(reasons: &[ReasonValue]) -> Vec<Self> {
        let cause = |reason: &ReasonValue| Self {
            protocol: reason.protocol.clone(),
            cause: reason.cause,
            text: reason.text.clone(),
        };
        reasons.iter().map(cause).collect()
    }
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ender {
    /// The caller's side, by BYE or CANCEL.
    Caller,
    /// The return target of a bridged call.
    Target,
    /// We.
    Gateway,
}

impl Ender {
    /// The name by which logs and the admin API know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Target => "target",
            Self::Gateway => "gateway",
        }
    }
}

/// Something that happened to a call, for the one who reads its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// Milliseconds since the INVITE came.
    pub at_ms: u64,
    /// What happened.
    pub what: String,
}

/// What came of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// Still under way.
    Pending,
    /// It worked, as the peer itself said.
    Succeeded,
    /// REFER accepted, but its end was never told.
    AcceptedUnknown,
    /// The peer's Allow lacks REFER.
    NotAllowed,
    /// Refused or failed with the step's status.
    Failed,
    /// No final answer or NOTIFY in time.
    TimedOut,
    /// The dialog no longer exists at the peer (481 or 408).
    DialogGone,
    /// The caller hung up while the transfer was under way.
    CallerHangupDuringTransfer,
    /// No place to send it: the name did not resolve, or the address is not to be dialled.
    Unreachable,
    /// No port for the second leg's media.
    NoMedia,
    /// Let go, since an earlier step worked after all.
    Abandoned,
    /// The return URI leads back to us (RFC 3261 §8.2.2.2).
    Loop,
}

impl StepResult {
    /// The name by which logs and the admin API know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::AcceptedUnknown => "accepted_unknown",
            Self::NotAllowed => "not_allowed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::DialogGone => "dialog_gone",
            Self::CallerHangupDuringTransfer => "caller_hangup_during_transfer",
            Self::Unreachable => "unreachable",
            Self::NoMedia => "no_media",
            Self::Abandoned => "abandoned",
            Self::Loop => "loop",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.result.name())?;
        match self.status {
            Some(status) => write!(f, " {status}"),
            None => Ok(()),
        }
    }
}

impl Outcome {
    /// Its short name, by which metrics and the admin API know it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Cancelled => "cancelled",
            Self::CallerHungUp => "caller_hangup",
            Self::NoAck => "no_ack",
            Self::SessionExpired => "session_expired",
            Self::MediaTimeout => "media_timeout",
            Self::BadAnswer => "bad_answer",
            Self::HungUpByOperator => "operator_hangup",
            Self::NodeLost(_) => "node_lost",
            Self::TakenOver => "taken_over",
            Self::HandedBack(_) => "handed_back",
        }
    }

    /// The status of a refusal.
    #[must_use]
    pub const fn refusal(&self) -> Option<u16> {
        if let Self::Refused(status) = self {
            Some(*status)
        } else {
            None
        }
    }

    /// The steps of the hand-back that ended the call.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        if let Self::HandedBack(handed) | Self::NodeLost(handed) = self {
            &handed.steps
        } else {
            &[]
        }
    }

    pub(crate) fn steps_mut(&mut self) -> &mut [Step] {
        if let Self::HandedBack(handed) | Self::NodeLost(handed) = self {
            &mut handed.steps
        } else {
            &mut []
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = self.refusal() {
            return write!(f, "refused {status}");
        }
        let steps = self.steps();
        if steps.is_empty() {
            return f.write_str(self.name());
        }
        for (index, step) in steps.iter().enumerate() {
            write!(f, "{}{step}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
