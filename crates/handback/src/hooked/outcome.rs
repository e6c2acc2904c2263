//! What became of a call with a hook, and what was expected of it.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use call_control::transfer::{Checkpoint, OutputContext};

/// What became of the call.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The result that was accepted.
    pub complete: Option<OutputContext>,
    /// The last `hook.update`.
    pub update: Option<Checkpoint>,
    /// How the hook ended the connection, unless we did.
    pub closed: Option<Closed>,
    /// What was heard of the agent.
    pub heard: Heard,
    /// Keys that the agent sent.
    pub dtmf: String,
    /// Final transcripts, in order.
    pub transcripts: Vec<String>,
    /// How often the agent cleared.
    pub clears: u32,
    /// What became of its marks.
    pub marks: Marks,
    /// How often the hook was connected again.
    pub reconnects: u32,
    /// Completions that were refused, and why.
    pub refused: Vec<String>,
}

/// How a hook ended the connection.
#[derive(Clone, Debug, Serialize)]
pub struct Closed {
    /// The WebSocket close code; none when the connection broke.
    pub code: Option<u16>,
    /// Whether that was 1000.
    pub clean: bool,
    /// What was said about it.
    pub reason: String,
}

/// What was heard of the agent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Heard {
    /// When the agent was heard first, in milliseconds since the stream began.
    pub first_audio_ms: Option<u64>,
    /// How long it was heard in all.
    pub ms: u64,
    /// How often its audio came too late in the middle of what it said.
    pub underruns: u32,
    /// How long it took to answer each time the caller had spoken.
    pub answers_ms: Vec<u64>,
}

/// What became of marks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Marks {
    /// Reached.
    pub played: u32,
    /// Cleared.
    pub cleared: u32,
}

/// Something that must hold of an [`Outcome`]: `complete.transferType=AGENT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    text: String,
    path: String,
    holds: Holds,
}

#[derive(Clone, Debug, PartialEq)]
enum Holds {
    There,
    Is(String),
    IsNot(String),
    Below(f64),
    Above(f64),
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |value: &str| {
            value
                .parse()
                .map_err(|_| format!("{value:?} is not a number"))
        };
        let (path, holds) = if let Some((path, value)) = text.split_once("!=") {
            (path, Holds::IsNot(value.to_owned()))
        } else if let Some((path, value)) = text.split_once('=') {
            (path, Holds::Is(value.to_owned()))
        } else if let Some((path, value)) = text.split_once('<') {
            (path, Holds::Below(number(value)?))
        } else if let Some((path, value)) = text.split_once('>') {
            (path, Holds::Above(number(value)?))
        } else {
            (text, Holds::There)
        };
        if path.is_empty() || path.split('.').any(str::is_empty) {
            return Err(format!(
                "{text:?} is not PATH=VALUE, as complete.transferType=AGENT"
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            path: path.to_owned(),
            holds,
        })
    }
}

impl Expectation {
    /// What is not as expected; none when it is.
    #[must_use]
    pub fn failure(&self, outcome: &Outcome) -> Option<String> {
        let outcome = serde_json::to_value(outcome).unwrap_or_default();
        let found = self
            .path
            .split('.')
            .try_fold(&outcome, |value, name| {
                let element = || value.get(name.parse::<usize>().ok()?);
                value.get(name).or_else(element)
            })
            .unwrap_or(&Value::Null);
        let text = match found {
            Value::String(text) => text.clone(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => found.to_string(),
        };
        let number = found.as_f64();
        let holds = match &self.holds {
            Holds::There => !found.is_null(),
            Holds::Is(value) => text == *value,
            Holds::IsNot(value) => text != *value,
            Holds::Below(limit) => number.is_some_and(|number| number < *limit),
            Holds::Above(limit) => number.is_some_and(|number| number > *limit),
        };
        (!holds).then(|| format!("expected {}, found {text}", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expectations_are_held_against_the_outcome() {
        let output =
            json!({ "transferType": "AGENT", "transferVariables": { "n": 3, "list": ["a"] } });
        let mut outcome = Outcome {
            complete: serde_json::from_value(output).unwrap(),
            ..Outcome::default()
        };
        outcome.heard.first_audio_ms = Some(420);
        let failure = |text: &str| text.parse::<Expectation>().unwrap().failure(&outcome);
        for met in [
            "complete.transferType=AGENT",
            "complete.transferVariables.n=3",
            "complete.transferVariables.list.0=a",
            "complete.transferType!=SYSTEM",
            "heard.first_audio_ms<500",
            "heard.first_audio_ms>400",
            "complete",
            "closed=null",
        ] {
            assert_eq!(failure(met), None, "{met}");
        }
        assert_eq!(
            failure("complete.transferType=SYSTEM").as_deref(),
            Some("expected complete.transferType=SYSTEM, found AGENT")
        );
        for unmet in [
            "closed",
            "update.currentTaskName=x",
            "heard.first_audio_ms<400",
            "heard.ms>0",
        ] {
            assert!(failure(unmet).is_some(), "{unmet}");
        }
        for bad in ["", "=x", "a..b=1", "a<x"] {
            assert!(bad.parse::<Expectation>().is_err(), "{bad}");
        }
    }
}
