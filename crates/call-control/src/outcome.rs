//! What became of a call, typed: never just "sent".

use std::fmt;

use serde::Serialize;

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
    /// Final answer to our request, where one came.
    pub status: Option<u16>,
    /// Every sipfrag status of a REFER, in order.
    pub fragments: Vec<u16>,
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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => write!(f, "refused {status}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::CallerHungUp => f.write_str("caller_hangup"),
            Self::NoAck => f.write_str("no_ack"),
            Self::SessionExpired => f.write_str("session_expired"),
            Self::MediaTimeout => f.write_str("media_timeout"),
            Self::BadAnswer => f.write_str("bad_answer"),
            Self::HungUpByOperator => f.write_str("operator_hangup"),
            Self::HandedBack(handed) => {
                for (index, step) in handed.steps.iter().enumerate() {
                    write!(f, "{}{step}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}
