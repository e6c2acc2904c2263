//! A flow as it is run: states by number, sounds read, names resolved.

use std::time::Duration;

use bytes::Bytes;
use call_control::transfer::TransferType;
use serde_json::{Map, Value};

use super::variables::{Completion, Place};
use crate::speech::SpeechRule;

/// A checked flow.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(super) states: Vec<State>,
    pub(super) start: usize,
    /// Whether any state listens for voices.
    pub(super) listens: bool,
}

/// One state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: String,
    /// The line of its name, from 1.
    pub(super) line: u64,
    pub(super) set: Settings,
    pub(super) say: Bytes,
    pub(super) keys_interrupt: bool,
    pub(super) speech_interrupts: bool,
    pub(super) collect: Option<Collect>,
    /// What follows when nothing in `collect` says otherwise.
    pub(super) then: Option<Target>,
}

/// Places and what they are set to, in order.
pub(super) type Settings = Vec<(Place, Value)>;

/// What a state waits for.
#[derive(Debug)]
pub(super) struct Collect {
    pub(super) digits: Option<DigitRule>,
    pub(super) speech: Option<SpeechRule>,
    pub(super) no_input: Duration,
    pub(super) into: Option<Place>,
    pub(super) on: Vec<(Outcome, Action)>,
}

/// Which sequences of keys are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DigitRule {
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) end: Option<char>,
    pub(super) pause: Duration,
}

/// What came of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Exactly these keys.
    Keys(String),
    /// Any keys that are not listed.
    Digits,
    /// Somebody spoke.
    Speech,
    /// Nobody did anything.
    Timeout,
    /// Too few keys, or keys that lead nowhere.
    Invalid,
}

/// What is done about it.
#[derive(Clone, Debug)]
pub(super) struct Action {
    pub(super) set: Settings,
    pub(super) say: Bytes,
    /// Asks again so many times before `then`.
    pub(super) retry: u64,
    pub(super) then: Target,
}

/// Where the flow goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    State(usize),
    Complete(Box<Completion>),
}

impl Collect {
    /// What to do about an outcome; there is an answer to every one that has no `then` of the state.
    pub(super) fn action(&self, outcome: &Outcome) -> Option<&Action> {
        let listed = |wanted: &Outcome| {
            self.on
                .iter()
                .find_map(|(outcome, action)| (outcome == wanted).then_some(action))
        };
        match outcome {
            Outcome::Keys(_) => listed(outcome).or_else(|| listed(&Outcome::Digits)),
            Outcome::Digits | Outcome::Speech | Outcome::Timeout => listed(outcome),
            Outcome::Invalid => listed(outcome).or_else(|| listed(&Outcome::Timeout)),
        }
    }
}

impl Action {
    /// What is done when the flow does not say: two more tries, then a person.
    pub(super) fn give_up(reason: &str) -> Self {
        Self {
            set: Settings::new(),
            say: Bytes::new(),
            retry: 2,
            then: Target::Complete(Box::new(to_a_person(reason))),
        }
    }
}

/// The result that gives the caller to a person.
pub(super) fn to_a_person(reason: &str) -> Completion {
    let reason = Value::String(reason.to_owned());
    Completion {
        transfer_type: TransferType::Agent,
        current_task_name: None,
        reference_variables: Map::new(),
        transfer_variables: Map::from_iter([("reason".to_owned(), reason)]),
    }
}
