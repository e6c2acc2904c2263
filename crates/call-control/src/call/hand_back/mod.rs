//! The hand-back: the return type in force, then the fall-backs in their order, BYE at the last.

mod brought;
mod bye;
mod invite;
mod late;
mod refer;

pub(super) use refer::ReferAnswer;

use std::collections::VecDeque;

use bytes::Bytes;
use media_core::Side;
use sip_core::{Ended, Header, ReasonValue, tel_as_sip};
use timebase::Now;

use super::crossing::Bridge;
use super::talk::Talk;
use super::{Call, State, reasons};
use crate::io::{AgentPhase, AgentRequest, MediaRequest, Output, TransferProgress};
use crate::outcome::{Cause, HandedBack, Step, StepResult};
use crate::policy::Fallback;
use crate::transfer::ReturnType;
use invite::Dialing;
use refer::Referring;

/// How often the agent may get a call back after a failed hand-back.
const MOST_CHAINS: u8 = 3;

#[derive(Debug)]
pub(super) struct HandBack {
    /// The longest that an agent may keep the call, should it come back.
    until: Now,
    /// When BYE is due whatever the steps still wait for.
    overall: Option<Now>,
    plan: VecDeque<Fallback>,
    steps: Vec<Step>,
    step: StepState,
}

/// A final refusal of an INVITE of ours.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) causes: Vec<Cause>,
    /// Whether a response says so.
    pub(super) answered: bool,
}

#[derive(Debug)]
enum StepState {
    /// Between two steps.
    Choosing,
    /// BYE is sent.
    Bye,
    Referring(Referring),
    /// The transfer worked; BYE follows unless the peer is first.
    Referred {
        bye_at: Now,
    },
    Dialing(Dialing),
    Bridged(Bridge),
}

impl HandBack {
    pub(super) const fn new(until: Now) -> Self {
        let step = StepState::Choosing;
        Self {
            until,
            overall: None,
            plan: VecDeque::new(),
            steps: Vec::new(),
            step,
        }
    }

    /// Whether a REFER of ours may have reached the peer.
    pub(super) const fn is_referred(&self) -> bool {
        matches!(
            self.step,
            StepState::Referring(_) | StepState::Referred { .. }
        )
    }

    /// A REFER of a process that is gone may be accepted: nobody will tell what came of it.
    pub(super) fn accepted_before(mut self) -> Self {
        let mut step = Step::new(ReturnType::Refer);
        step.result = StepResult::AcceptedUnknown;
        self.steps.push(step);
        self
    }

    /// Whether our BYE is on its way.
    pub(super) const fn is_bye(&self) -> bool {
        matches!(self.step, StepState::Bye)
    }

    pub(super) const fn is_bridged(&self) -> bool {
        matches!(self.step, StepState::Bridged(_))
    }

    pub(super) const fn bridge(&mut self) -> Option<&mut Bridge> {
        match &mut self.step {
            StepState::Bridged(bridge) => Some(bridge),
            StepState::Choosing
            | StepState::Bye
            | StepState::Referring(_)
            | StepState::Referred { .. }
            | StepState::Dialing(_) => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        match &self.step {
            StepState::Choosing | StepState::Bye => None,
            StepState::Bridged(bridge) => bridge.deadline(),
            StepState::Referring(referring) => Some(self.at_most(referring.deadline())),
            StepState::Referred { bye_at } => Some(*bye_at),
            StepState::Dialing(dialing) => Some(self.at_most(dialing.give_up)),
        }
    }

    fn at_most(&self, deadline: Now) -> Now {
        self.overall
            .map_or(deadline, |overall| overall.min(deadline))
    }

    fn tried(&self, method: ReturnType) -> bool {
        self.steps.iter().any(|step| step.method == method)
    }

    /// The status of the last step, for the Reason of a BYE that follows it.
    fn failure(&self) -> Option<u16> {
        self.steps.iter().rev().find_map(|step| match step.result {
            StepResult::Succeeded
            | StepResult::Pending
            | StepResult::AcceptedUnknown
            | StepResult::Abandoned => None,
            StepResult::Loop => Some(482),
            StepResult::TimedOut => Some(step.status.unwrap_or(408)),
            StepResult::NotAllowed => Some(step.status.unwrap_or(405)),
            StepResult::Unreachable | StepResult::NoMedia => Some(step.status.unwrap_or(503)),
            StepResult::Failed
            | StepResult::DialogGone
            | StepResult::CallerHangupDuringTransfer => Some(step.status.unwrap_or(500)),
        })
    }
}

impl Call {
    pub(super) fn begin_hand_back(&mut self, now: Now) {
        self.chains += 1;
        let overall = now + self.policy.hand_back_timeout;
        let method = self.return_type();
        let fallback = self.policy.fallback.clone();
        if let State::HandingBack(hand_back) = &mut self.state {
            hand_back.overall = Some(overall);
            hand_back.plan.push_back(Fallback::Return(method));
            hand_back.plan.extend(fallback);
            hand_back.plan.push_back(Fallback::Return(ReturnType::Bye));
        }
        if method != ReturnType::Bye {
            self.media(MediaRequest::Clear);
            self.media(MediaRequest::Tone(self.policy.tone));
            self.watch_media();
            self.agent_phase(AgentPhase::HandingBack, Some(method));
            self.stop_agent_unless_needed();
        }
        self.next_step(now);
    }

    pub(super) fn return_type(&self) -> ReturnType {
        let own = self.claim.as_ref().and_then(|claim| {
            claim
                .transfer
                .registered
                .sip
                .as_ref()
                .and_then(|sip| sip.return_type)
        });
        own.unwrap_or(self.policy.return_type)
    }

    /// The stored return URI, byte for byte; a telephone number as the SIP URI that the trunk calls it by.
    pub(super) fn return_uri(&self) -> Option<Bytes> {
        let sip = self.claim.as_ref()?.transfer.registered.sip.as_ref()?;
        let uri = sip.return_uri.as_ref()?.as_bytes();
        if !uri
            .get(..4)
            .is_some_and(|it| it.eq_ignore_ascii_case(b"tel:"))
        {
            return Some(Bytes::copy_from_slice(uri));
        }
        let host = self.facts.tel_host.as_ref()?;
        tel_as_sip(uri, host)
    }

    fn agent_phase(&mut self, phase: AgentPhase, method: Option<ReturnType>) {
        if self.agent_attached {
            self.outputs
                .push_back(Output::Agent(AgentRequest::Phase(phase, method)));
        }
    }

    /// News of the hand-back for an agent that knows what they mean.
    pub(super) fn tell_result(&mut self, progress: TransferProgress, status: Option<u16>) {
        if self.agent_attached && self.hello.is_some() {
            self.outputs
                .push_back(Output::Agent(AgentRequest::TransferResult {
                    progress,
                    status,
                }));
        }
    }

    /// Only an agent that said hello is kept on its link during a hand-back: for a fall-back to it,
    /// or to listen to the bridged call.
    fn stop_agent_unless_needed(&mut self) {
        let State::HandingBack(hand_back) = &self.state else {
            return;
        };
        let listens = self.policy.transcribe && self.hello.is_some_and(|hello| hello.tracks);
        let dialing = matches!(hand_back.step, StepState::Dialing(_));
        let needed = dialing && listens
            || hand_back.plan.iter().any(|next| match next {
                Fallback::Agent => self.chains < MOST_CHAINS,
                Fallback::Return(ReturnType::Invite) => listens,
                Fallback::Return(ReturnType::Bye | ReturnType::Refer) => false,
            });
        if self.agent_attached && !(needed && self.hello.is_some()) {
            self.agent_attached = false;
            self.outputs.push_back(Output::Agent(AgentRequest::Stop));
        }
    }

    /// The link that listens to a bridged call is lost: another takes its place.
    pub(super) fn listen_again(&mut self) {
        if let State::HandingBack(hand_back) = &self.state
            && hand_back.is_bridged()
            && self.policy.transcribe
        {
            self.listen();
        }
    }

    fn listen(&mut self) {
        self.agent_attached = true;
        self.outputs.push_back(Output::Agent(AgentRequest::Listen));
    }

    /// Takes the next entry of the plan that has not been tried and can be.
    pub(super) fn next_step(&mut self, now: Now) {
        if self.caller.hung_up || self.caller.over {
            return self.handed_back(now, Vec::new());
        }
        let State::HandingBack(hand_back) = &mut self.state else {
            return;
        };
        hand_back.step = StepState::Choosing;
        let agent_can = !self.agent_given_up && self.chains < MOST_CHAINS && now < hand_back.until;
        let next = loop {
            match hand_back.plan.pop_front() {
                Some(Fallback::Return(method)) if hand_back.tried(method) => {}
                Some(Fallback::Agent) if !agent_can => {}
                Some(next) => break next,
                None => break Fallback::Return(ReturnType::Bye),
            }
        };
        let uri = self.return_uri();
        match (next, uri) {
            (Fallback::Return(ReturnType::Refer), Some(uri)) => self.start_refer(now, &uri),
            (Fallback::Return(ReturnType::Invite), Some(uri)) => self.start_invite(now, &uri),
            (Fallback::Return(ReturnType::Refer | ReturnType::Invite), None) => self.next_step(now),
            (Fallback::Return(ReturnType::Bye), _) => self.start_bye(now),
            (Fallback::Agent, _) => self.back_to_agent(now),
        }
    }

    fn back_to_agent(&mut self, now: Now) {
        let State::HandingBack(hand_back) = &self.state else {
            return;
        };
        let (status, until) = (hand_back.failure(), hand_back.until);
        let steps = hand_back.steps.clone();
        self.diary.chain_failed(steps);
        self.diary.note(now, "back to the agent");
        self.media(MediaRequest::Tone(None));
        if self.agent_attached {
            self.state = State::WithAgent(Talk::new(until));
            self.agent_phase(AgentPhase::Agent, None);
        } else {
            let give_up = now + self.policy.reconnect_timeout;
            self.state = State::WithAgent(Talk::again(until, give_up));
            self.owed_result = Some(status);
            self.media(MediaRequest::Comfort);
            self.connect_agent(now, true);
        }
        self.watch_media();
    }

    fn begin_step(&mut self, method: ReturnType, step: StepState) {
        if let State::HandingBack(hand_back) = &mut self.state {
            hand_back.step = step;
            hand_back.steps.push(Step::new(method));
        }
    }

    /// The step under way.
    fn current(&mut self) -> Option<&mut Step> {
        match &mut self.state {
            State::HandingBack(hand_back) => hand_back.steps.last_mut(),
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::Ending { .. }
            | State::Ended => None,
        }
    }

    /// Notes what came of the current step; a later word on it does not change the first.
    fn note(&mut self, result: StepResult, status: Option<u16>) {
        if let State::HandingBack(hand_back) = &mut self.state
            && let Some(step) = hand_back.steps.last_mut()
            && step.result == StepResult::Pending
        {
            step.result = result;
            step.status = status.or(step.status);
        }
    }

    /// What the peer said beside the status that decided the step.
    fn decide(&mut self, reason: &str, causes: &[Cause]) {
        if let Some(step) = self.current() {
            step.reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
            step.causes.extend_from_slice(causes);
        }
    }

    fn step_failed(&mut self, now: Now, result: StepResult, status: Option<u16>) {
        tracing::debug!(result = result.name(), status, "hand-back step failed");
        self.diary.note(now, format!("step {}", result.name()));
        self.note(result, status);
        self.tell_result(TransferProgress::Failed, status);
        self.next_step(now);
    }

    /// The chain is at its end: the record, and BYE to whoever is still there.
    pub(super) fn handed_back(&mut self, now: Now, headers: Vec<Header>) {
        if let State::HandingBack(hand_back) = &mut self.state {
            let steps = std::mem::take(&mut hand_back.steps);
            let outcome = self.handed_back_as(HandedBack { steps });
            self.finish(now, outcome, headers);
        }
    }

    pub(super) fn hand_back_timeout(&mut self, now: Now) {
        let State::HandingBack(hand_back) = &self.state else {
            return;
        };
        if hand_back.deadline().is_none_or(|at| at > now) {
            return;
        }
        let chain_is_over = hand_back.overall.is_some_and(|at| at <= now);
        match &hand_back.step {
            StepState::Bridged(_) => self.crossing_timed_out(now),
            _ if chain_is_over => self.chain_timed_out(now),
            StepState::Referring(_) => self.refer_timeout(now),
            StepState::Referred { .. } => self.handed_back(now, reasons::completed()),
            StepState::Dialing(_) => self.dialing_timed_out(now),
            StepState::Choosing | StepState::Bye => {}
        }
    }

    /// The chain took too long: whatever is under way is given up, and BYE ends the call.
    fn chain_timed_out(&mut self, now: Now) {
        let State::HandingBack(hand_back) = &mut self.state else {
            return;
        };
        match &hand_back.step {
            StepState::Referring(_) | StepState::Dialing(_) => {
                hand_back.plan.clear();
                self.drop_target(Vec::new());
                self.media(MediaRequest::Disconnect { side: Side::Target });
                self.step_failed(now, StepResult::TimedOut, None);
            }
            StepState::Referred { .. } => self.handed_back(now, reasons::completed()),
            StepState::Choosing | StepState::Bye | StepState::Bridged(_) => {}
        }
    }

    pub(super) fn caller_hung_up_in_hand_back(&mut self, now: Now, reasons: &[ReasonValue]) {
        let State::HandingBack(hand_back) = &self.state else {
            return;
        };
        match &hand_back.step {
            // The session is over (RFC 3261 §15.1.2); the leg's end follows, after a last NOTIFY or
            // the time for one.
            StepState::Referring(_) | StepState::Choosing => {
                let side = Side::Caller;
                self.media(MediaRequest::Disconnect { side });
            }
            StepState::Bye => self.note(StepResult::Succeeded, None),
            StepState::Referred { .. } => self.handed_back(now, Vec::new()),
            StepState::Dialing(_) => {
                self.note(StepResult::CallerHangupDuringTransfer, None);
                // RFC 3326: the target's CANCEL says why.
                self.drop_target(reasons::crossing(reasons));
                self.handed_back(now, Vec::new());
            }
            StepState::Bridged(_) => self.end_bridge(now, reasons::crossing(reasons)),
        }
    }

    pub(super) fn caller_ended_in_hand_back(&mut self, now: Now, why: Ended) {
        let State::HandingBack(hand_back) = &self.state else {
            return;
        };
        match &hand_back.step {
            StepState::Bye => self.bye_ended(why),
            StepState::Referring(referring) => {
                let result = referring.result_of_end(why);
                self.note(result, None);
            }
            StepState::Dialing(_) => self.note(StepResult::CallerHangupDuringTransfer, None),
            StepState::Bridged(_) => return self.end_bridge(now, reasons::leg_lost(why)),
            StepState::Choosing | StepState::Referred { .. } => {}
        }
        self.handed_back(now, Vec::new());
    }
}
