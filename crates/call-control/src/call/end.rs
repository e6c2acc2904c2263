//! A call ends: every leg, the agent, the ports and the store are brought to their end, once.

use std::time::Duration;

use sip_core::{Command, Header, LegId};
use timebase::Now;

use super::{Call, State, reasons};
use crate::io::{AgentPhase, AgentRequest, MediaRequest, Output};
use crate::outcome::Outcome;
use crate::transfer::ReturnType;

/// Longer than any transaction (64·T1 = 32 s): after this the record is made whatever is missing.
const END_WITHIN: Duration = Duration::from_secs(40);

impl Call {
    /// A REFER of a party: the gateway transfers calls, and is not transferred.
    pub(super) fn refuse_refer(&mut self, leg: LegId) {
        self.command(leg, Command::AnswerRefer { status: 603 });
    }

    /// Ends an answered call: BYE with these headers to whoever is still there.
    pub(super) fn finish(&mut self, now: Now, outcome: Outcome, headers: Vec<Header>) {
        match self.state {
            State::Claiming { .. } | State::Answering { .. } | State::Undoing { .. } => {
                return self.finish_unanswered(now);
            }
            State::Ending { .. } | State::Ended => return,
            State::WithAgent(_) | State::HandingBack(_) | State::Restoring(_) => {}
        }
        if self.claim.as_ref().is_some_and(|claim| !claim.completed) {
            self.store_completion(None);
        }
        if !self.caller.hung_up && !self.caller.over {
            self.command(self.caller.id, Command::HangUp { headers });
        } else if !self.caller.over {
            self.command(
                self.caller.id,
                Command::HangUp {
                    headers: Vec::new(),
                },
            );
        }
        self.close(now, outcome);
    }

    /// An operator's hang-up before the answer.
    fn finish_unanswered(&mut self, now: Now) {
        match &mut self.state {
            State::Claiming { cancelled } => *cancelled = true,
            State::Answering { .. } => {
                self.undo(now, sip_core::Response::new(480), Outcome::HungUpByOperator);
            }
            State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::HandingBack(_)
            | State::Ending { .. }
            | State::Ended => {}
        }
    }

    /// Lets go of agent, media and target; waits for what is still open.
    pub(super) fn close(&mut self, now: Now, outcome: Outcome) {
        self.drop_target(Vec::new());
        self.stop_agent_at_end(None);
        self.media(MediaRequest::Close);
        self.state = State::Ending {
            outcome,
            give_up: now + END_WITHIN,
        };
        self.end_if_done(now);
    }

    /// The agent's part ends with the call; one that said hello is told so.
    pub(super) fn stop_agent_at_end(&mut self, method: Option<ReturnType>) {
        if self.agent_attached && self.hello.is_some() {
            let ended = AgentRequest::Phase(AgentPhase::Ended, method);
            self.outputs.push_back(Output::Agent(ended));
        }
        self.agent_attached = false;
        self.outputs.push_back(Output::Agent(AgentRequest::Stop));
    }

    /// Tells the target's leg to end and keeps waiting for that. Without a reason of its own, the
    /// call is cleared normally.
    pub(super) fn drop_target(&mut self, mut headers: Vec<Header>) {
        if headers.is_empty() {
            headers = reasons::cleared();
        }
        if let Some(target) = self.target.take() {
            self.lingering.push(target.id);
            self.command(target.id, Command::HangUp { headers });
        }
    }

    pub(super) fn end_if_done(&mut self, now: Now) {
        let storing = self.claim.as_ref().is_some_and(|claim| claim.storing);
        let done = self.caller.over && self.lingering.is_empty() && !storing;
        if done && matches!(self.state, State::Ending { .. }) {
            self.end(now);
        }
    }

    pub(super) fn end(&mut self, now: Now) {
        let before = std::mem::replace(&mut self.state, State::Ended);
        if let State::Ending { outcome, .. } = before {
            let record = self.diary.record(now, outcome);
            self.outputs.push_back(Output::Ended(Box::new(record)));
        } else {
            self.state = before;
        }
    }
}
