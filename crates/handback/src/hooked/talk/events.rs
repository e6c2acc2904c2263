//! What the agent decides.

use agent_hook::{AgentEvent, AgentInput, When};
use call_control::transfer::OutputContext;
use media_core::Input;
use timebase::Now;

use super::{DRAIN, Stage, Talk};
use crate::hooked::outcome::Closed;

impl Talk {
    pub(super) fn event(&mut self, now: Now, event: AgentEvent) {
        match event {
            AgentEvent::Update(checkpoint) => {
                self.tell(now, "agent updates");
                self.facts.checkpoint = Some(checkpoint.clone());
                self.outcome.update = Some(checkpoint);
            }
            AgentEvent::Complete { id, output, when } => {
                let output = match output {
                    Ok(_) if self.outcome.complete.is_some() => {
                        Err("the call was completed already".to_owned())
                    }
                    other => other,
                };
                let (accepted, error) = (output.is_ok(), output.as_ref().err().cloned());
                self.input(
                    now,
                    AgentInput::Completed {
                        id,
                        accepted,
                        error,
                    },
                );
                match output {
                    Ok(output) => self.completed(now, output, when),
                    Err(problem) => {
                        self.tell(now, format!("agent completes, refused: {problem}"));
                        self.outcome.refused.push(problem);
                    }
                }
            }
            AgentEvent::SendDtmf { digits, .. } => {
                self.tell(now, format!("agent presses {} keys", digits.len()));
                self.outcome.dtmf.push_str(&digits);
            }
            AgentEvent::Transcript {
                text,
                is_final: true,
                ..
            } => {
                self.tell(now, "agent transcribes");
                self.outcome.transcripts.push(text);
            }
            AgentEvent::Transcript { .. } => {}
            AgentEvent::Hello { tracks } => self.introduced(now, tracks),
            AgentEvent::Stalled => self.tell(now, "no sign of life from the hook"),
            AgentEvent::Closed {
                code,
                clean,
                reason,
            } => self.closed(
                now,
                Closed {
                    code,
                    clean,
                    reason,
                },
            ),
        }
    }

    fn introduced(&mut self, now: Now, tracks: bool) {
        self.tracks = tracks;
        self.tell(now, "agent says hello");
    }

    pub(super) fn completed(&mut self, now: Now, output: OutputContext, when: When) {
        self.tell(now, format!("agent completes: {:?}", output.transfer_type));
        self.outcome.complete = Some(output);
        if when == When::Now {
            self.session.handle_input(now, Input::Clear);
        }
        self.drain(now);
    }

    pub(super) fn closed(&mut self, now: Now, closed: Closed) {
        self.agent = None;
        if std::mem::take(&mut self.cut) {
            self.reconnects = true;
            return;
        }
        let code = closed.code.map_or_else(
            || "without a code".to_owned(),
            |code| format!("with {code}"),
        );
        self.tell(now, format!("hook closes {code} {}", closed.reason));
        self.outcome.closed = Some(closed);
        if self.stage == Stage::Talking {
            self.drain(now);
        }
    }

    pub(super) fn drain(&mut self, now: Now) {
        let skip_trailing_silence = true;
        self.session.handle_input(
            now,
            Input::Drain {
                skip_trailing_silence,
            },
        );
        self.stage = Stage::Draining { until: now + DRAIN };
    }
}
