//! Hand-back by REFER (RFC 3515): followed to the final sipfrag, then BYE.

use bytes::Bytes;
use sip_core::{Command, Ended, Header};
use timebase::Now;

use super::super::{Call, State, reasons};
use super::StepState;
use crate::io::{MediaRequest, TransferProgress};
use crate::outcome::{Fragment, Step, StepResult};
use crate::policy::{ByeRule, Notifies};
use crate::transfer::ReturnType;

/// The final answer to a REFER.
#[derive(Debug)]
pub(in super::super) struct ReferAnswer {
    pub(in super::super) status: u16,
    pub(in super::super) reason: String,
    pub(in super::super) refer_sub: Option<bool>,
    /// A response said so; else the status is our own.
    pub(in super::super) answered: bool,
}

impl ReferAnswer {
    /// There was none in 64·T1.
    const fn is_silence(&self) -> bool {
        self.status == 408 && !self.answered
    }
}

#[derive(Debug)]
pub(super) struct Referring {
    /// When the step is given up: no final NOTIFY.
    pub(super) give_up: Now,
    /// When the first NOTIFY is late; set by the acceptance.
    first_notify: Option<Now>,
    /// The REFER got no answer at all: whether the caller is still heard decides what follows.
    pub(super) unanswered: bool,
    accepted: bool,
    progressed: bool,
}

impl Referring {
    pub(super) fn deadline(&self) -> Now {
        let soft = self.first_notify.filter(|_| !self.progressed);
        soft.map_or(self.give_up, |soft| soft.min(self.give_up))
    }

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
    pub(super) fn start_refer(&mut self, now: Now, target: &Bytes) {
        let give_up = now + self.policy.refer_timeout;
        let referring = Referring {
            give_up,
            first_notify: None,
            unanswered: false,
            accepted: false,
            progressed: false,
        };
        self.diary.note(now, "REFER");
        self.begin_step(ReturnType::Refer, StepState::Referring(referring));
        if !self.caller.allow_refer && !self.policy.refer_always {
            return self.step_failed(now, StepResult::NotAllowed, None);
        }
        self.stop_agent_unless_needed();
        let mut headers = vec![self.transfer_header()];
        if let Some(by) = &self.facts.referred_by {
            headers.insert(0, Header::new("Referred-By", by.clone()));
        }
        headers.extend(self.facts.on_refer.iter().cloned());
        let (target, context) = self.refer_target(target);
        self.carries(context);
        self.command(self.caller.id, Command::Refer { target, headers });
        self.tell_result(TransferProgress::Trying, None);
    }

    fn referring(&mut self) -> Option<&mut Referring> {
        match &mut self.state {
            State::HandingBack(hand_back) => match &mut hand_back.step {
                StepState::Referring(referring) => Some(referring),
                StepState::Choosing
                | StepState::Bye
                | StepState::Referred { .. }
                | StepState::Dialing(_)
                | StepState::Bridged(_) => None,
            },
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::Ending { .. }
            | State::Ended => None,
        }
    }

    /// The final answer to REFER: any 2xx begins the implicit subscription.
    pub(in super::super) fn refer_answered(&mut self, now: Now, answer: &ReferAnswer) {
        let first_notify = now + self.policy.peer.first_notify;
        let status = answer.status;
        let Some(referring) = self.referring() else {
            return;
        };
        if (200..=299).contains(&status) {
            referring.accepted = true;
            referring.first_notify = Some(first_notify);
        }
        referring.unanswered = answer.is_silence();
        if let Some(step) = self.current().filter(|_| answer.answered) {
            step.answer = Some(status);
        }
        self.diary.note(now, format!("REFER answered {status}"));
        match status {
            300.. if self.caller.hung_up => {
                self.note(StepResult::CallerHangupDuringTransfer, None);
            }
            // RFC 4488 §4: no NOTIFY will come.
            200..=299 if answer.refer_sub == Some(false) => self.referred(now, status),
            200..=299 => {}
            // Some SBCs drop REFER: the call itself may still stand.
            408 if answer.is_silence() => self.media(MediaRequest::Ask),
            408 | 481 => self.refer_dialog_gone(now, status),
            _ => {
                self.decide(&answer.reason, &[]);
                self.step_failed(now, StepResult::Failed, Some(status));
            }
        }
    }

    fn refer_dialog_gone(&mut self, now: Now, status: u16) {
        self.note(StepResult::DialogGone, Some(status));
        self.handed_back(now, reasons::return_failed(status));
    }

    /// After a REFER that nobody answered: whether the caller is still heard.
    pub(in super::super) fn heard(&mut self, now: Now, still: bool) {
        match self.referring() {
            Some(referring) if referring.unanswered && still => {
                self.step_failed(now, StepResult::TimedOut, Some(408));
            }
            Some(referring) if referring.unanswered => self.refer_dialog_gone(now, 408),
            Some(_) | None => {}
        }
    }

    pub(in super::super) fn notified(
        &mut self,
        now: Now,
        fragment: Option<Fragment>,
        terminated: bool,
        latest: bool,
    ) {
        let status = fragment.as_ref().map(|fragment| fragment.status);
        self.diary.note(
            now,
            status.map_or_else(|| "NOTIFY".to_owned(), |status| format!("NOTIFY {status}")),
        );
        let Some(referring) = self.referring().filter(|_| latest) else {
            return self.notified_late(now, fragment, latest);
        };
        referring.accepted = true;
        referring.progressed = true;
        if let (Some(step), Some(fragment)) = (self.current(), fragment)
            && step.fragments.len() < Step::MOST_FRAGMENTS
        {
            step.reason = Some(fragment.reason.clone()).filter(|reason| !reason.is_empty());
            step.fragments.push(fragment);
        }
        match (status, terminated) {
            (Some(status @ 200..=299), _) => self.referred_after_notify(now, status, terminated),
            (Some(status @ 300..), _) => self.step_failed(now, StepResult::Failed, Some(status)),
            (Some(_) | None, true) => {
                self.note(StepResult::AcceptedUnknown, None);
                self.handed_back(now, reasons::completed());
            }
            (Some(status), false) => self.tell_result(TransferProgress::Trying, Some(status)),
            (None, false) => {}
        }
    }

    /// The first NOTIFY is late, or the last one did not come in time.
    pub(super) fn refer_timeout(&mut self, now: Now) {
        let silent_peer = self.policy.peer.notifies == Notifies::Never;
        let Some(referring) = self.referring() else {
            return;
        };
        if referring.give_up <= now {
            return self.step_failed(now, StepResult::TimedOut, None);
        }
        referring.first_notify = None;
        if silent_peer {
            self.note(StepResult::AcceptedUnknown, None);
            return self.handed_back(now, reasons::completed());
        }
        self.diary.note(now, "first NOTIFY is late");
        tracing::debug!("no NOTIFY yet of an accepted REFER");
    }

    /// What a peer needs that waits for our BYE before it lets the target hear the caller.
    fn referred_after_notify(&mut self, now: Now, status: u16, terminated: bool) {
        let at_once = self.policy.peer.bye == ByeRule::OursAtOnce && terminated;
        self.referred(now, status);
        if let State::HandingBack(hand_back) = &mut self.state
            && let StepState::Referred { bye_at } = &mut hand_back.step
            && at_once
        {
            *bye_at = now;
        }
    }

    /// The peer says that it worked: BYE follows if the peer has not sent its own by then.
    pub(super) fn referred(&mut self, now: Now, status: u16) {
        self.note(StepResult::Succeeded, Some(status));
        self.tell_result(TransferProgress::Answered, Some(status));
        let bye_at = match self.policy.peer.bye {
            ByeRule::Ours | ByeRule::OursAtOnce => now + self.policy.refer_bye_after,
            ByeRule::Theirs { patience } => now + patience.max(self.policy.refer_bye_after),
        };
        if let State::HandingBack(hand_back) = &mut self.state {
            hand_back.step = StepState::Referred { bye_at };
        }
        if self.caller.hung_up {
            self.handed_back(now, Vec::new());
        }
    }
}
