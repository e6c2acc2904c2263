//! Rules for agents.

use super::{Linter, Stage};
use crate::wire::{AgentMessage, Complete, Hello, Transcript, Variables};

/// The largest variables, as JSON text.
const VARIABLES: usize = 64 * 1024;

/// The longest name of a mark.
const MARK: usize = 1024;

/// The features there are.
const FEATURES: [&str; 4] = ["tracks", "transcript", "flow", "marks2"];

impl Linter {
    pub(super) fn agent(&mut self, message: &AgentMessage) {
        self.stream.agent_heard = true;
        let named = match message {
            AgentMessage::Media(media) => media.stream_sid.as_deref(),
            AgentMessage::Mark(mark) => mark.stream_sid.as_deref(),
            AgentMessage::Clear(clear) => clear.stream_sid.as_deref(),
            AgentMessage::Hello(_)
            | AgentMessage::Update(_)
            | AgentMessage::Complete(_)
            | AgentMessage::Transcript(_)
            | AgentMessage::SendDtmf(_) => None,
        };
        if let Some(named) = named {
            self.same_stream(named);
        }
        match message {
            AgentMessage::Media(media) => {
                self.payload(&media.media.payload);
                self.plays("media");
            }
            AgentMessage::Mark(mark) => {
                if mark.mark.name.len() > MARK {
                    self.note("mark", format!("the name is longer than {MARK} bytes"));
                }
                self.stream.marks.push((mark.mark.name.clone(), self.line));
                self.plays("mark");
            }
            AgentMessage::Clear(_) => self.plays("clear"),
            AgentMessage::Hello(hello) => self.hello(hello),
            AgentMessage::Update(update) => {
                self.variables(&update.reference_variables, &update.transfer_variables);
            }
            AgentMessage::Complete(complete) => self.complete(complete),
            AgentMessage::Transcript(transcript) => self.transcript(transcript),
            AgentMessage::SendDtmf(keys) => {
                let known = |c| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D' | 'a'..='d' | ',');
                if keys.digits.is_empty()
                    || keys.digits.len() > 64
                    || !keys.digits.chars().all(known)
                {
                    self.note(
                        "digits",
                        "digits must be 1 to 64 of 0-9, *, #, A-D and comma",
                    );
                }
                if keys
                    .duration_ms
                    .is_some_and(|ms| !(40..=5000).contains(&ms))
                {
                    self.note("digits", "durationMs must be between 40 and 5000");
                }
            }
        }
    }

    /// What is played after the completion is discarded.
    fn plays(&mut self, event: &str) {
        if self.stream.completed.is_some() {
            self.note(
                "after-complete",
                format!("{event} after hook.complete is discarded"),
            );
        }
        if self.stream.stage == Stage::Stopped {
            self.note("order", format!("{event} after stop"));
        }
    }

    fn hello(&mut self, hello: &Hello) {
        if self.stream.hello {
            self.note("hello", "said twice");
        }
        self.stream.hello = true;
        let major = hello
            .version
            .as_deref()
            .and_then(|version| version.split('.').next());
        match major {
            Some("1") => {}
            Some(_) => self.note(
                "hello",
                "the version is not 1.x, so this gateway passes it over",
            ),
            None => self.note("hello", "no version"),
        }
        for feature in &hello.features {
            if !FEATURES.contains(&feature.as_str()) {
                self.note("hello", format!("feature {feature:?} is not known"));
            }
        }
    }

    fn complete(&mut self, complete: &Complete) {
        match self.stream.completed {
            Some(true) => self.note("complete", "a completion was accepted already"),
            Some(false) | None => self.stream.completed = Some(false),
        }
        let output = &complete.output_context;
        self.variables(&output.reference_variables, &output.transfer_variables);
    }

    fn variables(&mut self, reference: &Variables, transfer: &Variables) {
        let size =
            |variables: &Variables| serde_json::to_string(variables).map_or(0, |text| text.len());
        let size = size(reference) + size(transfer);
        if size > VARIABLES {
            self.note(
                "variables",
                format!("{size} bytes of variables are more than {VARIABLES}"),
            );
        }
    }

    fn transcript(&mut self, transcript: &Transcript) {
        if let (Some(start), Some(end)) = (transcript.start_ms, transcript.end_ms)
            && end < start
        {
            self.note("transcript", "endMs is before startMs");
        }
        if transcript.text.len() > 16 * 1024 {
            self.note("transcript", "the text is longer than 16 kB");
        }
    }
}
