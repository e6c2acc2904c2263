//! Holds a recording of messages against the protocol.
//!
//! A recording has one message a line, of one direction or of both, each as it stood on the wire
//! or as the value of `message` beside `from` (`gateway` or `agent`).

mod agent_side;
mod gateway_side;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::{AgentMessage, GatewayMessage, WireError};

/// The largest message.
const LARGEST: usize = 4 * 1024 * 1024;

/// A deviation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line, from 1.
    pub line: usize,
    /// The rule's name.
    pub rule: &'static str,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.line, self.rule, self.text)
    }
}

/// Who said a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    Gateway,
    Agent,
}

/// Reads a recording line by line; what it knows of the stream is used for both directions.
#[derive(Debug, Default)]
pub struct Linter {
    line: usize,
    messages: usize,
    findings: Vec<Finding>,
    stream: Stream,
}

/// The stream as far as it was recorded.
#[derive(Debug, Default)]
struct Stream {
    /// What came before.
    stage: Stage,
    /// Messages of the agent are in the recording.
    agent_heard: bool,
    stream_sid: Option<String>,
    call_sid: Option<String>,
    /// The last sequenceNumber.
    sequence: Option<u64>,
    /// The last chunk of each track.
    chunks: BTreeMap<&'static str, u64>,
    /// Marks that were asked for and not given back, with their lines.
    marks: Vec<(String, usize)>,
    hello: bool,
    bridged: bool,
    /// A completion was sent; whether it was accepted.
    completed: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Nothing,
    Connected,
    Started,
    Stopped,
}

#[derive(Deserialize)]
struct Recorded<'a> {
    from: Speaker,
    #[serde(borrow)]
    message: &'a RawValue,
}

/// What tells the direction of a message that does not say it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hints {
    event: Option<String>,
    sequence_number: Option<serde_json::Value>,
}

impl Linter {
    /// A linter of one recording.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next line. Empty lines are passed over.
    pub fn line(&mut self, text: &str) {
        self.line += 1;
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        self.messages += 1;
        let recorded: Option<Recorded<'_>> = serde_json::from_str(text).ok();
        let (speaker, message) = match recorded {
            Some(Recorded { from, message }) => (from, message.get()),
            None => (speaker(text), text),
        };
        if message.len() > LARGEST {
            self.note(
                "size",
                format!("{} bytes are more than {LARGEST}", message.len()),
            );
        }
        match speaker {
            Speaker::Gateway => match GatewayMessage::parse(message) {
                Ok(message) => self.gateway(&message),
                Err(error) => self.not_understood(&error),
            },
            Speaker::Agent => match AgentMessage::parse(message) {
                Ok(message) => self.agent(&message),
                Err(error) => self.not_understood(&error),
            },
        }
    }

    /// How many messages there were, and everything that was wrong.
    #[must_use]
    pub fn finish(self) -> (usize, Vec<Finding>) {
        (self.messages, self.findings)
    }

    fn note(&mut self, rule: &'static str, text: impl Into<String>) {
        self.findings.push(Finding {
            line: self.line,
            rule,
            text: text.into(),
        });
    }

    fn not_understood(&mut self, error: &WireError) {
        let rule = match error {
            WireError::NotJson(_) => "json",
            WireError::NoEvent => "event",
            WireError::UnknownEvent(_) => "unknown-event",
            WireError::Fields { .. } => "fields",
        };
        self.note(rule, error.to_string());
    }

    fn same_stream(&mut self, named: &str) {
        if let Some(known) = &self.stream.stream_sid
            && known != named
        {
            let text = format!("streamSid is {named:?}, the stream is {known:?}");
            self.note("stream-sid", text);
        }
    }

    /// The bytes of a payload, if it is one.
    fn payload(&mut self, payload: &str) -> Option<Vec<u8>> {
        match STANDARD.decode(payload) {
            Ok(audio) if audio.is_empty() => {
                self.note("payload", "the payload is empty");
                None
            }
            Ok(audio) => {
                if audio.starts_with(b"RIFF") {
                    self.note(
                        "payload",
                        "the payload is a WAV file: µ-law without a header is wanted",
                    );
                }
                Some(audio)
            }
            Err(error) => {
                self.note("payload", format!("the payload is not base64: {error}"));
                None
            }
        }
    }
}

/// Who says such a message.
fn speaker(text: &str) -> Speaker {
    let Ok(hints) = serde_json::from_str::<Hints>(text) else {
        return Speaker::Agent;
    };
    let event = hints.event.unwrap_or_default();
    let both = matches!(event.as_str(), "media" | "mark");
    let gateway = if both {
        hints.sequence_number.is_some()
    } else {
        GatewayMessage::EVENTS.contains(&event.as_str())
    };
    if gateway {
        Speaker::Gateway
    } else {
        Speaker::Agent
    }
}

#[cfg(test)]
mod tests;
