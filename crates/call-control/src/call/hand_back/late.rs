//! What a REFER comes to after the chain has gone on without it.

use media_core::Side;
use timebase::Now;

use super::super::{Call, State, reasons};
use super::StepState;
use crate::io::MediaRequest;
use crate::outcome::{Fragment, HandedBack, Outcome, Step, StepResult};
use crate::transfer::ReturnType;

impl Call {
    /// A NOTIFY of a REFER that is waited for no longer: it stands in the record, and a success is one after all.
    pub(super) fn notified_late(&mut self, now: Now, fragment: Option<Fragment>, latest: bool) {
        let Some(fragment) = fragment else {
            return;
        };
        let status = fragment.status;
        let Some(step) = self.refer_of(latest) else {
            return;
        };
        if hear_late(step, fragment) {
            self.worked_after_all(now, status);
        }
    }

    /// The step of the latest REFER, or that of an earlier chain.
    fn refer_of(&mut self, latest: bool) -> Option<&mut Step> {
        let chain: &mut [Step] = match &mut self.state {
            State::HandingBack(hand_back) => &mut hand_back.steps,
            State::Ending { outcome, .. } => outcome.steps_mut(),
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::Ended => &mut [],
        };
        let own = chain.iter_mut().filter(|_| latest).rev();
        let earlier = self.diary.earlier_steps().iter_mut().rev();
        own.chain(earlier)
            .find(|step| step.method == ReturnType::Refer)
    }

    /// The target of our own INVITE, if it still rings, is let go; an agent that has the call again loses it.
    fn worked_after_all(&mut self, now: Now, status: u16) {
        match &self.state {
            State::HandingBack(hand_back) if matches!(hand_back.step, StepState::Dialing(_)) => {
                self.note(StepResult::Abandoned, None);
                self.drop_target(Vec::new());
                self.media(MediaRequest::Disconnect { side: Side::Target });
                self.referred(now, status);
            }
            State::WithAgent(_) => {
                let steps = std::mem::take(self.diary.earlier_steps());
                let outcome = Outcome::HandedBack(HandedBack { steps });
                self.finish(now, outcome, reasons::completed());
            }
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::HandingBack(_)
            | State::Ending { .. }
            | State::Ended => {}
        }
    }
}

/// Adds a sipfrag to a step that was given up; whether it makes it a success.
fn hear_late(step: &mut Step, fragment: Fragment) -> bool {
    let (status, reason) = (fragment.status, fragment.reason.clone());
    if step.fragments.len() < Step::MOST_FRAGMENTS {
        step.fragments.push(fragment);
    }
    let result = match (status, step.result) {
        (200..=299, StepResult::TimedOut | StepResult::AcceptedUnknown) => StepResult::Succeeded,
        (300.., StepResult::AcceptedUnknown) => StepResult::Failed,
        (_, _) => return false,
    };
    step.result = result;
    step.status = Some(status);
    step.reason = Some(reason).filter(|reason| !reason.is_empty());
    result == StepResult::Succeeded
}
