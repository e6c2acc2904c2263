//! What became of a test call, and news of it while it stands.

use sip_core::{Ended, ReasonValue};
use timebase::Now;

/// What became of a call.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// When it was answered.
    pub answered: Option<Now>,
    /// The status and reason it was refused with.
    pub refused: Option<(u16, String)>,
    /// What was heard, as µ-law from the answer on.
    pub heard: Vec<u8>,
    /// The keys that the other side pressed.
    pub keys: String,
    /// The URIs that the other side referred us to.
    pub referred: Vec<String>,
    /// The Reason values of the other side's BYE; none when it did not hang up.
    pub peer_hung_up: Option<Vec<ReasonValue>>,
    /// Why the leg ended; none when it never began.
    pub ended: Option<Ended>,
    /// What became of the call that a REFER led to.
    pub returned: Option<Box<Report>>,
    /// What else went wrong.
    pub problems: Vec<String>,
}

impl Report {
    /// A call that could not even begin.
    #[must_use]
    pub fn failed(problem: impl Into<String>) -> Self {
        Self {
            problems: vec![problem.into()],
            ..Self::default()
        }
    }

    /// Why the call did not go as asked; `None` when it did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if let Some(problem) = self.problems.first() {
            return Some(problem.clone());
        }
        if let Some((status, reason)) = &self.refused {
            return Some(format!("refused: {status} {reason}"));
        }
        if self.answered.is_none() {
            return Some("never answered".to_owned());
        }
        if let Some(returned) = &self.returned
            && let Some(failure) = returned.failure()
        {
            return Some(format!("the returned call: {failure}"));
        }
        match self.ended {
            Some(Ended::HungUp | Ended::ByeAnswered(200..=299)) => None,
            Some(Ended::ByeAnswered(status)) => Some(format!("our BYE was answered {status}")),
            Some(Ended::Gone(status)) => Some(format!("the other side lost the call: {status}")),
            Some(Ended::NoAck) => Some("our answer was never acknowledged".to_owned()),
            Some(Ended::Expired) => Some("the session was not refreshed".to_owned()),
            Some(Ended::Cancelled) => Some("cancelled".to_owned()),
            Some(Ended::Refused(status)) => Some(format!("refused: {status}")),
            None => Some("ended without a BYE".to_owned()),
        }
    }
}

/// News of a call.
#[derive(Clone, Debug)]
pub struct CallEvent {
    /// When.
    pub at: Now,
    /// Whose call: the name of the phone's part in it.
    pub party: &'static str,
    /// What happened.
    pub what: What,
}

/// What happened in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An INVITE left, to this URI.
    Calling(String),
    /// A call came in, from this URI.
    Arrived(String),
    /// A provisional response.
    Progress(u16),
    /// The call stands.
    Answered,
    /// A final refusal.
    Refused(u16, String),
    /// A key was heard.
    Key(char),
    /// The call is held by us, or no longer.
    Held(bool),
    /// The other side refers us to this URI.
    Referred(String),
    /// The other side hung up, for these reasons.
    PeerHungUp(Vec<String>),
    /// We hung up.
    HungUp,
    /// The call is over.
    Ended(Ended),
    /// Something went wrong.
    Problem(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(ended: Ended) -> Report {
        Report {
            answered: Some(Now::ZERO),
            ended: Some(ended),
            ..Report::default()
        }
    }

    #[test]
    fn a_call_that_either_side_hung_up_went_well() {
        assert_eq!(answered(Ended::HungUp).failure(), None);
        assert_eq!(answered(Ended::ByeAnswered(200)).failure(), None);
    }

    #[test]
    fn refusal_silence_and_loss_are_failures() {
        let refused = Report {
            refused: Some((486, "Busy Here".to_owned())),
            ..Report::default()
        };
        assert_eq!(refused.failure().unwrap(), "refused: 486 Busy Here");
        assert_eq!(Report::default().failure().unwrap(), "never answered");
        assert_eq!(
            answered(Ended::Gone(481)).failure().unwrap(),
            "the other side lost the call: 481"
        );
        assert_eq!(
            answered(Ended::ByeAnswered(408)).failure().unwrap(),
            "our BYE was answered 408"
        );
    }

    #[test]
    fn a_returned_call_that_failed_fails_the_whole() {
        let report = Report {
            returned: Some(Box::default()),
            ..answered(Ended::HungUp)
        };
        assert_eq!(
            report.failure().unwrap(),
            "the returned call: never answered"
        );
    }
}
