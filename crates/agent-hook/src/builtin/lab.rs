//! `builtin:lab`: an agent that can be worked from SIPp alone.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use call_control::transfer::{InputContext, OutputContext, TransferType, Variables};
use serde_json::Value;
use timebase::{Now, earliest};

use super::wav;
use crate::agent::{Agent, AgentEvent, AgentInput, AgentOutput, Track, When};

/// The mark behind the greeting.
const GREETED: &str = "lab-greeted";

/// How long the lab echoes after its greeting.
const ECHO: Duration = Duration::from_secs(2);

/// Without a key or a voice for this long, a person takes the call.
const SILENCE: Duration = Duration::from_secs(10);

/// A pause that ends a sequence of keys.
const PAUSE: Duration = Duration::from_millis(1500);

/// Keys that are kept.
const MAX_DIGITS: usize = 64;

/// Greets, echoes what it hears for two seconds after the greeting, collects keys and completes.
///
/// - The keys pressed are one sequence, ended by `#` (which is not part of it) or by a pause of
///   1.5 s. The first key ends greeting and echo.
/// - `0` as the first key completes at once as AGENT.
/// - A sequence with a `1` in it completes as SYSTEM, with all its keys as one string in
///   `transferVariables.digits`: `1` gives `"1"`, `1234#` gives `"1234"`.
/// - Another sequence is forgotten, and the lab goes on listening.
/// - Neither key nor voice for 10 s completes as AGENT.
/// - `inputVariables.lab_complete_after_ms` completes after that time as SYSTEM, whatever happens.
///
/// `currentTaskName` is the input's taskName; every input variable comes back in
/// `referenceVariables`.
#[derive(Debug)]
pub(super) struct Lab {
    state: State,
    /// Completes by itself after this time.
    complete_after: Option<Duration>,
    task: Option<String>,
    variables: Variables,
    outputs: VecDeque<AgentOutput>,
}

#[derive(Debug)]
enum State {
    Waiting,
    /// The greeting is in the play-out queue.
    Greeting {
        quiet: Now,
        complete: Option<Now>,
    },
    Echoing {
        until: Now,
        quiet: Now,
        complete: Option<Now>,
    },
    Listening {
        quiet: Now,
        complete: Option<Now>,
    },
    /// Keys came; the sequence ends at `pause`.
    Collecting {
        digits: String,
        pause: Now,
        complete: Option<Now>,
    },
    Done,
}

impl Lab {
    pub(super) fn new(input: &InputContext) -> Self {
        let variables = input.input_variables.clone().unwrap_or_default();
        let complete_after = variables.get("lab_complete_after_ms").and_then(millis);
        Self {
            state: State::Waiting,
            complete_after,
            task: input.task_name.clone(),
            variables,
            outputs: VecDeque::new(),
        }
    }

    fn greet(&mut self, now: Now) {
        self.outputs.push_back(AgentOutput::Audio(wav::greeting()));
        self.outputs
            .push_back(AgentOutput::Mark(GREETED.to_owned()));
        self.state = State::Greeting {
            quiet: now + SILENCE,
            complete: self.complete_after.map(|after| now + after),
        };
    }

    fn heard(&mut self, now: Now, frame: &[u8]) {
        match &mut self.state {
            State::Echoing { quiet, .. } => {
                self.outputs
                    .push_back(AgentOutput::Audio(Bytes::copy_from_slice(frame)));
                if is_voice(frame) {
                    *quiet = now + SILENCE;
                }
            }
            State::Greeting { quiet, .. } | State::Listening { quiet, .. } => {
                if is_voice(frame) {
                    *quiet = now + SILENCE;
                }
            }
            State::Waiting | State::Collecting { .. } | State::Done => {}
        }
    }

    fn greeted(&mut self, now: Now) {
        if let State::Greeting { quiet, complete } = self.state {
            self.state = State::Echoing {
                until: now + ECHO,
                quiet,
                complete,
            };
        }
    }

    fn pressed(&mut self, now: Now, digit: char) {
        let (mut digits, complete) = match std::mem::replace(&mut self.state, State::Done) {
            State::Waiting => (String::new(), self.complete_after.map(|after| now + after)),
            State::Greeting { complete, .. } | State::Echoing { complete, .. } => {
                self.outputs.push_back(AgentOutput::Clear);
                (String::new(), complete)
            }
            State::Listening { complete, .. } => (String::new(), complete),
            State::Collecting {
                digits, complete, ..
            } => (digits, complete),
            State::Done => return,
        };
        match digit {
            '#' => self.sequence_ended(now, digits, complete),
            '0' if digits.is_empty() => {
                self.complete(TransferType::Agent, Some("0".to_owned()), When::Drained)
            }
            digit => {
                if digits.len() < MAX_DIGITS {
                    digits.push(digit);
                }
                self.state = State::Collecting {
                    digits,
                    pause: now + PAUSE,
                    complete,
                };
            }
        }
    }

    fn sequence_ended(&mut self, now: Now, digits: String, complete: Option<Now>) {
        if digits.contains('1') {
            self.complete(TransferType::System, Some(digits), When::Drained);
        } else {
            self.state = State::Listening {
                quiet: now + SILENCE,
                complete,
            };
        }
    }

    fn complete(&mut self, transfer_type: TransferType, digits: Option<String>, when: When) {
        let mut transfer_variables = Variables::new();
        if let Some(digits) = digits {
            transfer_variables.insert("digits".to_owned(), Value::String(digits));
        }
        let output = OutputContext {
            transfer_type,
            current_task_name: self.task.take(),
            reference_variables: std::mem::take(&mut self.variables),
            transfer_variables,
        };
        self.state = State::Done;
        self.outputs
            .push_back(AgentOutput::Event(AgentEvent::Complete {
                id: None,
                output: Ok(output),
                when,
            }));
    }

    fn complete_by_itself(&mut self) {
        let digits = match &mut self.state {
            State::Collecting { digits, .. } => Some(std::mem::take(digits)),
            State::Waiting
            | State::Greeting { .. }
            | State::Echoing { .. }
            | State::Listening { .. }
            | State::Done => None,
        };
        self.outputs.push_back(AgentOutput::Clear);
        self.complete(TransferType::System, digits, When::Now);
    }

    /// When the lab completes by itself.
    fn completes_at(&self) -> Option<Now> {
        match &self.state {
            State::Greeting { complete, .. }
            | State::Echoing { complete, .. }
            | State::Listening { complete, .. }
            | State::Collecting { complete, .. } => *complete,
            State::Waiting | State::Done => None,
        }
    }
}

impl Agent for Lab {
    fn handle_input(&mut self, now: Now, input: AgentInput<'_>) {
        match input {
            AgentInput::Heard {
                track: Track::Inbound,
                frame,
                ..
            } => self.heard(now, frame),
            AgentInput::Dtmf { digit } => self.pressed(now, digit),
            AgentInput::MarkPlayed { name, .. } if name == GREETED => self.greeted(now),
            AgentInput::Stop => {
                self.state = State::Done;
                self.outputs.clear();
            }
            AgentInput::Heard { .. }
            | AgentInput::MarkPlayed { .. }
            | AgentInput::Phase { .. }
            | AgentInput::TransferResult { .. }
            | AgentInput::Completed { .. }
            | AgentInput::Flow { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.completes_at().is_some_and(|at| at <= now) {
            return self.complete_by_itself();
        }
        match &mut self.state {
            State::Waiting => self.greet(now),
            State::Greeting { quiet, .. }
            | State::Echoing { quiet, .. }
            | State::Listening { quiet, .. }
                if *quiet <= now =>
            {
                self.complete(TransferType::Agent, None, When::Drained);
            }
            State::Echoing {
                until,
                quiet,
                complete,
            } if *until <= now => {
                self.state = State::Listening {
                    quiet: *quiet,
                    complete: *complete,
                };
            }
            State::Collecting {
                digits,
                pause,
                complete,
            } if *pause <= now => {
                let (digits, complete) = (std::mem::take(digits), *complete);
                self.sequence_ended(now, digits, complete);
            }
            State::Greeting { .. }
            | State::Echoing { .. }
            | State::Listening { .. }
            | State::Collecting { .. }
            | State::Done => {}
        }
    }

    fn poll_output(&mut self) -> Option<AgentOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Now> {
        let own = match &self.state {
            State::Waiting => Some(Now::ZERO),
            State::Greeting { quiet, .. } | State::Listening { quiet, .. } => Some(*quiet),
            State::Echoing { until, quiet, .. } => Some(*until.min(quiet)),
            State::Collecting { pause, .. } => Some(*pause),
            State::Done => None,
        };
        earliest(own, self.completes_at())
    }
}

/// Whether a frame is louder than a quiet line: a tenth of its samples above about −31 dBFS.
fn is_voice(frame: &[u8]) -> bool {
    let loud = frame.iter().filter(|byte| (!**byte >> 4) & 7 >= 3).count();
    loud * 10 >= frame.len() && !frame.is_empty()
}

/// A number of milliseconds, also as text.
fn millis(value: &Value) -> Option<Duration> {
    let millis = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Duration::try_from_secs_f64(millis / 1000.0).ok()
}

#[cfg(test)]
mod tests;
