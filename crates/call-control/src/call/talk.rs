//! The agent has the caller, until it completes, is lost, or the caller hangs up.

use std::time::Duration;

use bytes::Bytes;
use media_core::Side;
use serde_json::Value;
use timebase::Now;

use super::hand_back::HandBack;
use super::{Call, Hello, State, reasons};
use crate::io::{AgentRequest, AgentSaid, MediaRequest, Output, StoreRequest, TransferProgress};
use crate::outcome::Outcome;
use crate::transfer::{OutputContext, TransferType};

/// The longest that a completed agent's queued audio is played before the hand-back.
const DRAIN_CAP: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Talk {
    link: Link,
    /// The longest that the agent may keep the call.
    until: Now,
}

#[derive(Debug)]
enum Link {
    Up,
    /// There is no agent: its link broke, or it is awaited after an answer that did not wait for
    /// it. It is being connected.
    Lost {
        give_up: Now,
        reason: String,
    },
    /// The agent is done: its last words are played and the result is written. A result that came
    /// before the ACK is `held`: a call that nobody acknowledges has none.
    Completing {
        held: Option<Box<OutputContext>>,
        drain_until: Option<Now>,
        stored: bool,
    },
}

impl Talk {
    pub(super) const fn new(until: Now) -> Self {
        Self {
            link: Link::Up,
            until,
        }
    }

    /// Answered before the agent was reached.
    pub(super) fn awaited(until: Now, give_up: Now) -> Self {
        let reason = "not reached".to_owned();
        Self {
            link: Link::Lost { give_up, reason },
            until,
        }
    }

    /// The call comes back to an agent whose link was closed with the hand-back.
    pub(super) fn again(until: Now, give_up: Now) -> Self {
        let reason = "not reached after the hand-back failed".to_owned();
        Self {
            link: Link::Lost { give_up, reason },
            until,
        }
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        match &self.link {
            Link::Up => Some(self.until),
            Link::Lost { give_up, .. } => Some((*give_up).min(self.until)),
            Link::Completing { drain_until, .. } => *drain_until,
        }
    }
}

impl Call {
    pub(super) fn agent_said(&mut self, now: Now, said: AgentSaid) {
        match said {
            AgentSaid::Connected => self.agent_connected(now),
            AgentSaid::NotReached(why) => self.agent_not_reached(now, why),
            AgentSaid::Update(checkpoint) => self.checkpoint = checkpoint,
            AgentSaid::Complete { id, output, drain } => {
                self.agent_completed(now, id, output, drain);
            }
            AgentSaid::Press { keys, duration_ms } => self.agent_presses(&keys, duration_ms),
            AgentSaid::Hello { tracks } => self.agent_introduced(tracks),
            AgentSaid::Stalled => self.agent_stalled(),
            AgentSaid::HungUp => self.agent_hung_up(now),
            AgentSaid::Refused(status) => self.agent_refused(now, status),
            AgentSaid::Closed { clean, reason } => self.agent_closed(now, clean, reason),
        }
    }

    pub(super) fn caller_confirmed(&mut self, now: Now, answer: Option<Bytes>) {
        self.caller.confirmed = true;
        if self.facts.offer.is_some() || self.caller.offered_early {
            self.watch_media();
            return self.store_held();
        }
        let usable = match (&mut self.caller.media, answer) {
            (Some(media), Some(answer)) => media.accept(&answer).is_ok(),
            (Some(_) | None, _) => false,
        };
        if usable {
            self.connect_media(now, Side::Caller);
            self.store_held();
        } else {
            self.finish(now, Outcome::BadAnswer, reasons::bad_answer());
        }
    }

    pub(super) fn talk_timeout(&mut self, now: Now) {
        let State::WithAgent(talk) = &mut self.state else {
            return;
        };
        match &mut talk.link {
            Link::Completing { drain_until, .. } if drain_until.is_some_and(|at| at <= now) => {
                *drain_until = None;
                self.hand_back_when_ready(now);
            }
            Link::Lost { give_up, reason } if *give_up <= now => {
                let reason = std::mem::take(reason);
                self.agent_not_regained(now, reason);
            }
            Link::Up | Link::Lost { .. } if talk.until <= now => {
                self.hand_back_without_agent(now, "call duration");
            }
            Link::Up | Link::Lost { .. } | Link::Completing { .. } => {}
        }
    }

    pub(super) fn agent_completed(
        &mut self,
        now: Now,
        id: Option<String>,
        output: Result<Box<OutputContext>, String>,
        drain: bool,
    ) {
        let verdict = match (&self.state, output) {
            (_, Err(wrong)) => Err(wrong),
            (
                State::WithAgent(Talk {
                    link: Link::Up | Link::Lost { .. },
                    ..
                }),
                Ok(output),
            ) => Ok(output),
            (
                State::WithAgent(Talk {
                    link: Link::Completing { .. },
                    ..
                }),
                Ok(_),
            ) => Err("already completed".to_owned()),
            (
                State::Claiming { .. }
                | State::Answering { .. }
                | State::Undoing { .. }
                | State::Restoring(_)
                | State::HandingBack(_)
                | State::Ending { .. }
                | State::Ended,
                Ok(_),
            ) => {
                self.diary.note(now, "completion too late");
                Err("the agent does not have the call".to_owned())
            }
        };
        let error = verdict.as_ref().err().cloned();
        self.outputs
            .push_back(Output::Agent(AgentRequest::Completed { id, error }));
        if let Ok(output) = verdict {
            self.complete(now, output, drain);
        }
    }

    /// Writes the result and lets the agent's last words be played.
    fn complete(&mut self, now: Now, output: Box<OutputContext>, drain: bool) {
        let State::WithAgent(talk) = &mut self.state else {
            return;
        };
        let confirmed = self.caller.confirmed;
        self.diary.result(now, &output);
        talk.link = Link::Completing {
            held: (!confirmed).then(|| output.clone()),
            drain_until: drain.then_some(now + DRAIN_CAP),
            stored: false,
        };
        if drain {
            self.media(MediaRequest::Drain);
        }
        if confirmed {
            self.store_completion(Some(output));
        }
    }

    /// The ACK came: a result that waited for it is written.
    fn store_held(&mut self) {
        if let State::WithAgent(Talk {
            link: Link::Completing { held, .. },
            ..
        }) = &mut self.state
            && let Some(output) = held.take()
        {
            self.store_completion(Some(output));
        }
    }

    pub(super) fn store_completion(&mut self, output: Option<Box<OutputContext>>) {
        let Some(claim) = &mut self.claim else {
            return;
        };
        claim.completed = true;
        claim.storing = true;
        let fence = claim.fence;
        self.outputs
            .push_back(Output::Store(StoreRequest::Complete { fence, output }));
    }

    pub(super) fn stored(&mut self, now: Now) {
        match &mut self.state {
            State::WithAgent(Talk {
                link: Link::Completing { stored, .. },
                ..
            }) => {
                *stored = true;
                self.hand_back_when_ready(now);
            }
            State::Ending { .. } => self.end_if_done(now),
            State::Restoring(restoring) => {
                restoring.stored = true;
                self.hand_back_restored(now);
            }
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::WithAgent(_)
            | State::HandingBack(_)
            | State::Ended => {}
        }
    }

    pub(super) fn drained(&mut self, now: Now) {
        if let State::WithAgent(Talk {
            link: Link::Completing { drain_until, .. },
            ..
        }) = &mut self.state
        {
            *drain_until = None;
            self.hand_back_when_ready(now);
        }
    }

    /// The first byte of the hand-back leaves after the store has the result.
    fn hand_back_when_ready(&mut self, now: Now) {
        let State::WithAgent(talk) = &self.state else {
            return;
        };
        if let Link::Completing {
            drain_until: None,
            stored: true,
            ..
        } = &talk.link
        {
            self.state = State::HandingBack(HandBack::new(talk.until));
            self.begin_hand_back(now);
        }
    }

    pub(super) fn agent_closed(&mut self, now: Now, clean: bool, reason: String) {
        self.agent_attached = false;
        self.hello = None;
        let State::WithAgent(talk) = &mut self.state else {
            return self.listen_again();
        };
        match (&talk.link, clean) {
            (Link::Completing { .. } | Link::Lost { .. }, _) => {}
            (Link::Up, true) => {
                let output = self.output_without_agent(self.policy.closed_without_complete, None);
                self.complete(now, output, true);
            }
            (Link::Up, false) => {
                tracing::warn!(reason, "agent lost");
                self.diary.note(now, "agent lost");
                let give_up = now + self.policy.reconnect_timeout;
                talk.link = Link::Lost { give_up, reason };
                self.media(MediaRequest::Comfort);
                self.connect_agent(now, true);
            }
        }
    }

    /// The agent may be on its way to be lost: the caller is not left with a dead line meanwhile.
    pub(super) fn agent_stalled(&mut self) {
        if let State::WithAgent(Talk { link: Link::Up, .. }) = &self.state {
            self.media(MediaRequest::Comfort);
        }
    }

    pub(super) fn agent_introduced(&mut self, tracks: bool) {
        if !self.agent_attached {
            return;
        }
        self.hello = Some(Hello { tracks });
        if let Some(status) = self.owed_result.take() {
            self.tell_result(TransferProgress::Failed, status);
        }
    }

    /// The agent ends the call without a result, as if it had closed its link.
    pub(super) fn agent_hung_up(&mut self, now: Now) {
        if let State::WithAgent(Talk {
            link: Link::Up | Link::Lost { .. },
            ..
        }) = &self.state
        {
            let output = self.output_without_agent(self.policy.closed_without_complete, None);
            self.complete(now, output, true);
        }
    }

    pub(super) fn agent_regained(&mut self) {
        let State::WithAgent(talk) = &mut self.state else {
            return;
        };
        if let Link::Lost { .. } = talk.link {
            talk.link = Link::Up;
            // the first connection is no reconnection, wherever it came after the answer
            self.diary.reconnects += u32::from(std::mem::replace(&mut self.agent_connected, true));
            self.attach_agent();
        } else {
            self.outputs.push_back(Output::Agent(AgentRequest::Stop));
        }
    }

    pub(super) fn agent_not_regained(&mut self, now: Now, reason: String) {
        if let State::WithAgent(Talk {
            link: Link::Lost { .. },
            ..
        }) = &self.state
        {
            tracing::warn!(reason, "agent not regained: the caller is handed back");
            self.agent_given_up = true;
            self.diary.agent_lost(now);
            let output = self.output_without_agent(self.policy.agent_lost, Some(reason));
            self.complete(now, output, false);
        }
    }

    /// The call is handed back as when its agent is lost, if the agent still has it.
    pub(super) fn hand_back_without_agent(&mut self, now: Now, why: &str) {
        if let State::WithAgent(Talk {
            link: Link::Up | Link::Lost { .. },
            ..
        }) = &self.state
        {
            let output = self.output_without_agent(TransferType::Agent, Some(why.to_owned()));
            self.complete(now, output, false);
        }
    }

    pub(super) fn output_without_agent(
        &self,
        transfer_type: TransferType,
        failure: Option<String>,
    ) -> Box<OutputContext> {
        let task = self.claim.as_ref().and_then(|claim| {
            claim
                .transfer
                .registered
                .input
                .as_ref()
                .and_then(|input| input.task_name.clone())
        });
        let mut transfer_variables = self.checkpoint.transfer_variables.clone();
        if let Some(failure) = failure {
            transfer_variables.insert("hookFailure".to_owned(), Value::String(failure));
        }
        Box::new(OutputContext {
            transfer_type,
            current_task_name: self.checkpoint.current_task_name.clone().or(task),
            reference_variables: self.checkpoint.reference_variables.clone(),
            transfer_variables,
        })
    }

    pub(super) fn media_silent(&mut self, now: Now, side: Side) {
        let whose = match side {
            Side::Caller => "caller's media stopped",
            Side::Target => "target's media stopped",
        };
        self.diary.note(now, whose);
        match &self.state {
            State::WithAgent(_) => {
                self.finish(now, Outcome::MediaTimeout, reasons::media_timeout());
            }
            State::HandingBack(hand_back) if hand_back.is_bridged() => {
                self.end_bridge(now, reasons::media_timeout());
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
