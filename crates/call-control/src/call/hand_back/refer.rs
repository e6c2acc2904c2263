//! Hand-back by REFER (RFC 3515): followed to the final sipfrag, then BYE.

use bytes::Bytes;
use sip_core::{Command, Ended, Header};
use timebase::Now;

use super::super::{Call, State, reasons};
use super::StepState;
use crate::outcome::StepResult;
use crate::policy::Fallback;
use crate::transfer::ReturnType;

#[derive(Debug)]
pub(super) struct Referring {
    /// When the step is given up: no final NOTIFY.
    pub(super) give_up: Now,
    accepted: bool,
    progressed: bool,
}

impl Referring {
    /// What the step came to when the dialog ended under it.
    pub(super) const fn result_of_end(&self, why: Ended) -> StepResult {
        match why {
            Ended::Gone(_) | Ended::Expired => StepResult::DialogGone,
            Ended::HungUp if self.accepted && !self.progressed => StepResult::AcceptedUnknown,
            Ended::HungUp
            | Ended::Cancelled
            | Ended::ByeAnswered(_)
            | Ended::NoAck
            | Ended::Refused(_) => StepResult::CallerHangupDuringTransfer,
        }
    }
}

impl Call {
    pub(super) fn start_refer(&mut self, now: Now, target: Bytes) {
        let give_up = now + self.policy.refer_timeout;
        let referring = Referring {
            give_up,
            accepted: false,
            progressed: false,
        };
        self.begin_step(ReturnType::Refer, StepState::Referring(referring));
        if !self.caller.allow_refer && !self.policy.refer_always {
            return self.step_failed(now, StepResult::NotAllowed, None);
        }
        self.stop_agent_unless_needed();
        let referred_by = Header::new("Referred-By", self.facts.own_identity.clone());
        let headers = vec![referred_by, self.transfer_header()];
        self.command(self.caller.id, Command::Refer { target, headers });
    }

    /// The agent's link stays only for a fall-back to the agent, or to listen to a bridged call.
    fn stop_agent_unless_needed(&mut self) {
        let State::HandingBack(hand_back) = &self.state else {
            return;
        };
        let needed = hand_back.plan.iter().any(|next| match next {
            Fallback::Agent | Fallback::Return(ReturnType::Invite) => true,
            Fallback::Return(ReturnType::Bye | ReturnType::Refer) => false,
        });
        if !needed && self.agent_attached {
            self.agent_attached = false;
            self.outputs
                .push_back(crate::io::Output::Agent(crate::io::AgentRequest::Stop));
        }
    }

    fn referring(&mut self) -> Option<&mut Referring> {
        match &mut self.state {
            State::HandingBack(hand_back) => match &mut hand_back.step {
                StepState::Referring(referring) => Some(referring),
                StepState::Choosing
                | StepState::Bye
                | StepState::Referred { .. }
                | StepState::Dialing(_)
                | StepState::Bridged => None,
            },
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::WithAgent(_)
            | State::Ending { .. }
            | State::Ended => None,
        }
    }

    /// The final answer to REFER: any 2xx begins the implicit subscription.
    pub(in super::super) fn refer_answered(
        &mut self,
        now: Now,
        status: u16,
        refer_sub: Option<bool>,
    ) {
        let Some(referring) = self.referring() else {
            return;
        };
        match status {
            // RFC 4488 §4: no NOTIFY will come.
            200..=299 if refer_sub == Some(false) => self.referred(now, status),
            200..=299 => referring.accepted = true,
            408 | 481 => {
                self.note(StepResult::DialogGone, Some(status));
                self.handed_back(now, reasons::return_failed(status));
            }
            _ => self.step_failed(now, StepResult::Failed, Some(status)),
        }
    }

    pub(in super::super) fn notified(&mut self, now: Now, status: Option<u16>, terminated: bool) {
        let Some(referring) = self.referring() else {
            return;
        };
        referring.accepted = true;
        referring.progressed = true;
        if let (State::HandingBack(hand_back), Some(status)) = (&mut self.state, status)
            && let Some(step) = hand_back.steps.last_mut()
        {
            step.fragments.push(status);
        }
        match (status, terminated) {
            (Some(status @ 200..=299), _) => self.referred(now, status),
            (Some(status @ 300..), _) => self.step_failed(now, StepResult::Failed, Some(status)),
            (Some(_) | None, true) => {
                self.note(StepResult::AcceptedUnknown, None);
                self.handed_back(now, reasons::completed());
            }
            (Some(_) | None, false) => {}
        }
    }

    /// The peer says that it worked: BYE follows if the peer has not sent its own by then.
    fn referred(&mut self, now: Now, status: u16) {
        self.note(StepResult::Succeeded, Some(status));
        let bye_at = now + self.policy.refer_bye_after;
        if let State::HandingBack(hand_back) = &mut self.state {
            hand_back.step = StepState::Referred { bye_at };
        }
        if self.caller.hung_up {
            self.handed_back(now, Vec::new());
        }
    }
}
