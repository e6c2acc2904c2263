//! Between the machine and its agent.

use agent_hook::{AgentEvent, AgentInput, CallFacts, Phase};
use call_control::{AgentRequest, AgentSaid, Input};
use media_bridge::{BargeIn, MediaCommand};
use tracing::Instrument;

use super::super::{agent_words, beside, history};
use super::{CallTask, Found};

impl CallTask {
    pub(super) fn agent_event(&mut self, event: AgentEvent) {
        if let AgentEvent::Transcript { .. } = event {
            return self.beside.transcript.note(event);
        }
        if let Some(said) = agent_words::said(event) {
            self.feed(Input::Agent(said));
        }
    }

    pub(super) fn agent_request(&mut self, facts: &mut CallFacts, request: AgentRequest) {
        match request {
            AgentRequest::Connect { transfer, resume } => {
                let policy = &self.trunk.policy;
                let again = resume.is_some();
                let within = if again {
                    policy.reconnect_timeout
                } else {
                    policy.connect_timeout
                };
                facts
                    .conversation
                    .clone_from(&transfer.registered.external_conversation_id);
                facts.input = transfer.registered.input.clone().unwrap_or_default();
                facts.resume = again;
                facts.checkpoint = resume;
                let (hooks, facts) = (self.trunk.hooks.clone(), facts.clone());
                let store = self.shared.store.clone();
                let connect = async move {
                    let mut facts = facts;
                    facts.earlier = history::earlier(&store, &facts).await;
                    Found::Agent(if again {
                        hooks.reconnect(&facts, within).await
                    } else {
                        hooks.connect(&facts, within).await
                    })
                };
                self.lookups.spawn(connect.in_current_span());
            }
            AgentRequest::Attach => self.attach_agent(),
            AgentRequest::Stop => self.stop_agent(),
            AgentRequest::Completed { id, error } if beside::is_ours(id.as_deref()) => {
                self.beside.answer(error);
            }
            AgentRequest::Completed { id, error } => {
                let accepted = error.is_none();
                self.tell_agent(AgentInput::Completed {
                    id,
                    accepted,
                    error,
                });
            }
            AgentRequest::Phase(phase, method) => {
                self.tell_agent(agent_words::phase(phase, method));
            }
            AgentRequest::TransferResult { progress, status } => {
                self.tell_agent(agent_words::transfer_result(progress, status));
            }
            AgentRequest::Listen => self.listen(facts),
        }
    }

    fn attach_agent(&mut self) {
        let (Some(agent), Some(media)) = (self.agent.take(), &self.media.handle) else {
            return;
        };
        // the plane is at "off" by itself
        if self.trunk.bargein != BargeIn::Off {
            self.media_command(MediaCommand::BargeIn(self.trunk.bargein));
        }
        if media.attach(agent).is_err() {
            let reason = "the media loop is busy".to_owned();
            self.feed(Input::Agent(AgentSaid::Closed {
                clean: false,
                reason,
            }));
        }
    }

    /// A link that only listens takes the agent's place.
    fn listen(&self, facts: &CallFacts) {
        let listener = self.trunk.hooks.listen(facts, self.beside.stream.clone());
        if let Some(media) = &self.media.handle
            && media.attach(listener).is_err()
        {
            tracing::warn!("the media loop takes no listener");
        }
        self.tell_agent(AgentInput::Phase {
            phase: Phase::Bridged,
            method: Some("INVITE"),
        });
    }

    fn stop_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.handle_input(self.now(), AgentInput::Stop);
        }
        self.tell_agent(AgentInput::Stop);
    }

    pub(super) fn tell_agent(&self, input: AgentInput<'static>) {
        self.media_command(MediaCommand::Agent(input));
    }
}
