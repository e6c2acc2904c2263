//! A flow on one call.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use call_control::transfer::OutputContext;
use timebase::Now;

use super::load::reason;
use super::program::{Action, Collect, DigitRule, Flow, Outcome, State, Target, to_a_person};
use super::variables::{Completion, Knowledge};
use crate::agent::{Agent, AgentEvent, AgentInput, AgentOutput, Phase, Track, When};
use crate::facts::CallFacts;
use crate::speech::{Ear, SpeechRule, Utterance};

/// Keys that are kept while nobody asks for them.
const TYPED_AHEAD: usize = 64;

/// The states passed in one moment; a flow that is checked needs no more than it has.
const STEPS: usize = 2000;

/// What counts as speech where a state is interrupted by it and does not say.
const INTERRUPTION: SpeechRule = SpeechRule {
    min_ms: 200,
    end_ms: 700,
    max_ms: 8000,
};

/// Plays prompts, collects, and completes.
#[derive(Debug)]
pub(in crate::builtin) struct Dialogue {
    flow: Arc<Flow>,
    stage: Stage,
    /// The state that the stage belongs to.
    state: usize,
    /// How often the state was asked again.
    tries: u64,
    /// The last mark; those before it are of no interest.
    mark: u64,
    /// Keys pressed that no state has taken yet.
    typed: VecDeque<char>,
    ear: Option<Ear>,
    utterance: Utterance,
    knowledge: Knowledge,
    outputs: VecDeque<AgentOutput>,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    /// A prompt is in the play-out queue.
    Saying(After),
    /// Waits for an input until `until`, unless somebody is speaking.
    Collecting {
        digits: String,
        until: Now,
    },
    /// The result was given; `again` if it may be given once more.
    Completed {
        again: bool,
    },
    Over,
}

/// What follows a prompt.
#[derive(Clone, Debug)]
enum After {
    /// The collection or the way on of the state.
    Prompt,
    /// The state once more.
    Again,
    /// Somewhere else.
    Target(Target),
}

/// Where the machine goes without waiting.
enum Step {
    Enter(usize),
    Again,
    Prompted,
    Complete(Box<Completion>),
    Decide(Outcome),
}

impl Dialogue {
    pub(in crate::builtin) fn new(flow: Arc<Flow>, facts: &CallFacts) -> Self {
        let ear = flow.listens.then(Ear::new);
        let state = flow.start;
        Self {
            flow,
            stage: Stage::Waiting,
            state,
            tries: 0,
            mark: 0,
            typed: VecDeque::new(),
            ear,
            utterance: Utterance::default(),
            knowledge: Knowledge::new(&facts.input, facts.checkpoint.as_ref()),
            outputs: VecDeque::new(),
        }
    }

    fn run(&mut self, now: Now, first: Step) {
        let mut step = Some(first);
        let flow = Arc::clone(&self.flow);
        for _ in 0..STEPS {
            let state = &flow.states[self.state];
            step = match step {
                None => return,
                Some(Step::Enter(number)) => {
                    self.state = number;
                    self.tries = 0;
                    Some(Step::Again)
                }
                Some(Step::Again) => self.enter(state),
                Some(Step::Prompted) => self.prompted(now, state),
                Some(Step::Complete(completion)) => {
                    let output = self.knowledge.output(&completion);
                    self.complete(output, true);
                    None
                }
                Some(Step::Decide(outcome)) => self.decide(state, &outcome),
            };
        }
        tracing::warn!(state = flow.states[self.state].name, "flow goes in circles");
        self.complete(self.knowledge.output(&to_a_person("flow_error")), true);
    }

    fn enter(&mut self, state: &State) -> Option<Step> {
        self.utterance = Utterance::default();
        if !state.set.is_empty() {
            for (place, value) in &state.set {
                self.knowledge.set(place, value);
            }
            self.checkpoint();
        }
        let skipped = state.keys_interrupt && !self.typed.is_empty();
        if state.say.is_empty() || skipped {
            return Some(Step::Prompted);
        }
        self.say(&state.say, After::Prompt);
        None
    }

    /// The state's prompt was played, interrupted or absent.
    fn prompted(&mut self, now: Now, state: &State) -> Option<Step> {
        let Some(collect) = &state.collect else {
            return match &state.then {
                Some(target) => Some(go(target)),
                // a checked flow has none such
                None => Some(Step::Complete(Box::new(to_a_person("flow_error")))),
            };
        };
        self.stage = Stage::Collecting {
            digits: String::new(),
            until: now + collect.no_input,
        };
        let rule = collect.digits?;
        while let Some(key) = self.typed.pop_front() {
            if let Some(outcome) = self.take_key(now, key, rule) {
                return Some(Step::Decide(outcome));
            }
        }
        None
    }

    /// Adds a key to the sequence; the outcome when that ends it.
    fn take_key(&mut self, now: Now, key: char, rule: DigitRule) -> Option<Outcome> {
        let Stage::Collecting { digits, until } = &mut self.stage else {
            return None;
        };
        if rule.end == Some(key) {
            return Some(sequence(std::mem::take(digits), rule));
        }
        digits.push(key);
        *until = now + rule.pause;
        (digits.len() >= rule.max).then(|| sequence(std::mem::take(digits), rule))
    }

    fn decide(&mut self, state: &State, outcome: &Outcome) -> Option<Step> {
        let collect = state.collect.as_ref()?;
        let listed = collect.action(outcome);
        let leads = listed.is_some() || state.then.is_some();
        if let Outcome::Keys(keys) = outcome {
            if !leads {
                return Some(Step::Decide(Outcome::Invalid));
            }
            self.collected(state, collect, keys);
        }
        match (outcome, listed, &state.then) {
            (_, Some(action), _) => self.act(outcome, action),
            (Outcome::Keys(_) | Outcome::Digits | Outcome::Speech, None, Some(target)) => {
                Some(go(target))
            }
            (Outcome::Timeout, None, _) => self.act(outcome, &Action::give_up(reason("timeout"))),
            (_, None, _) => self.act(&Outcome::Invalid, &Action::give_up(reason("invalid"))),
        }
    }

    fn collected(&mut self, state: &State, collect: &Collect, keys: &str) {
        self.knowledge.collected(&state.name, keys);
        if let Some(place) = &collect.into {
            self.knowledge
                .set(place, &serde_json::Value::String(keys.to_owned()));
            self.checkpoint();
        }
    }

    fn act(&mut self, outcome: &Outcome, action: &Action) -> Option<Step> {
        if !action.set.is_empty() {
            for (place, value) in &action.set {
                self.knowledge.set(place, value);
            }
            self.checkpoint();
        }
        if self.tries < action.retry {
            self.tries += 1;
            tracing::debug!(?outcome, tries = self.tries, "flow asks again");
            if action.say.is_empty() {
                return Some(Step::Again);
            }
            self.say(&action.say, After::Again);
            return None;
        }
        if action.say.is_empty() || action.retry > 0 {
            return Some(go(&action.then));
        }
        self.say(&action.say, After::Target(action.then.clone()));
        None
    }

    fn say(&mut self, sound: &Bytes, after: After) {
        self.mark += 1;
        self.outputs.push_back(AgentOutput::Audio(sound.clone()));
        self.outputs.push_back(AgentOutput::Mark(self.mark_name()));
        self.stage = Stage::Saying(after);
    }

    fn mark_name(&self) -> String {
        format!("flow-{}", self.mark)
    }

    fn said(&mut self, now: Now) {
        let Stage::Saying(after) = &self.stage else {
            return;
        };
        let step = match after {
            After::Prompt => Step::Prompted,
            After::Again => Step::Again,
            After::Target(target) => go(target),
        };
        self.run(now, step);
    }

    fn interrupt(&mut self, now: Now) {
        self.outputs.push_back(AgentOutput::Clear);
        // the mark that is cleared is of no interest
        self.mark += 1;
        self.said(now);
    }

    fn pressed(&mut self, now: Now, key: char) {
        let flow = Arc::clone(&self.flow);
        let state = &flow.states[self.state];
        if let Stage::Collecting { .. } = self.stage
            && let Some(rule) = state.collect.as_ref().and_then(|collect| collect.digits)
        {
            if let Some(outcome) = self.take_key(now, key, rule) {
                self.run(now, Step::Decide(outcome));
            }
            return;
        }
        if self.typed.len() < TYPED_AHEAD {
            self.typed.push_back(key);
        }
        if matches!(self.stage, Stage::Saying(_)) && state.keys_interrupt {
            self.interrupt(now);
        }
    }

    fn heard(&mut self, now: Now, frame: &[u8]) {
        let Some(ear) = &mut self.ear else { return };
        let voice = ear.hears(frame);
        let flow = Arc::clone(&self.flow);
        let state = &flow.states[self.state];
        let collected = state.collect.as_ref().and_then(|collect| collect.speech);
        match &self.stage {
            Stage::Saying(_) if state.speech_interrupts => {
                self.utterance
                    .goes_on(voice, collected.unwrap_or(INTERRUPTION));
                if self.utterance.is_certain() {
                    let utterance = self.utterance;
                    self.interrupt(now);
                    if matches!(self.stage, Stage::Collecting { .. }) {
                        self.utterance = utterance;
                    }
                }
            }
            Stage::Collecting { digits, .. } if digits.is_empty() => {
                if let Some(rule) = collected
                    && self.utterance.goes_on(voice, rule)
                {
                    self.run(now, Step::Decide(Outcome::Speech));
                }
            }
            Stage::Waiting
            | Stage::Saying(_)
            | Stage::Collecting { .. }
            | Stage::Completed { .. }
            | Stage::Over => {}
        }
    }

    fn timed_out(&mut self, now: Now) {
        let flow = Arc::clone(&self.flow);
        let rule = flow.states[self.state]
            .collect
            .as_ref()
            .and_then(|collect| collect.digits);
        let Stage::Collecting { digits, .. } = &mut self.stage else {
            return;
        };
        let outcome = match rule {
            Some(rule) if !digits.is_empty() => sequence(std::mem::take(digits), rule),
            Some(_) | None => Outcome::Timeout,
        };
        self.run(now, Step::Decide(outcome));
    }

    fn checkpoint(&mut self) {
        let update = AgentEvent::Update(self.knowledge.checkpoint());
        self.outputs.push_back(AgentOutput::Event(update));
    }

    fn complete(&mut self, output: OutputContext, again: bool) {
        self.stage = Stage::Completed { again };
        self.outputs
            .push_back(AgentOutput::Event(AgentEvent::Complete {
                id: None,
                output: Ok(output),
                when: When::Drained,
            }));
    }

    /// The result was refused: a person gets the caller, without the variables.
    fn refused(&mut self, why: Option<&str>) {
        if let Stage::Completed { again: true } = self.stage {
            tracing::warn!(why, "the flow's result was refused");
            let mut output = self.knowledge.output(&to_a_person("result_refused"));
            output.reference_variables.clear();
            output.transfer_variables.retain(|name, _| name == "reason");
            self.complete(output, false);
        }
    }
}

/// The outcome of a finished sequence of keys.
fn sequence(keys: String, rule: DigitRule) -> Outcome {
    if keys.len() < rule.min {
        Outcome::Invalid
    } else {
        Outcome::Keys(keys)
    }
}

fn go(target: &Target) -> Step {
    match target {
        Target::State(number) => Step::Enter(*number),
        Target::Complete(completion) => Step::Complete(completion.clone()),
    }
}

impl Agent for Dialogue {
    fn handle_input(&mut self, now: Now, input: AgentInput<'_>) {
        match input {
            AgentInput::Heard {
                track: Track::Inbound,
                frame,
                ..
            } => self.heard(now, frame),
            AgentInput::Dtmf { digit } => self.pressed(now, digit),
            AgentInput::MarkPlayed { name, .. } if name == self.mark_name() => self.said(now),
            AgentInput::Completed {
                accepted: false,
                error,
                ..
            } => self.refused(error.as_deref()),
            // the hand-back failed, and the caller is ours again
            AgentInput::Phase {
                phase: Phase::Agent,
                ..
            } if matches!(self.stage, Stage::Completed { .. }) => {
                self.typed.clear();
                self.run(now, Step::Enter(self.flow.start));
            }
            AgentInput::Stop => {
                self.stage = Stage::Over;
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
        match &self.stage {
            Stage::Waiting => self.run(now, Step::Enter(self.flow.start)),
            Stage::Collecting { until, .. } if *until <= now => {
                if self.utterance.is_certain() {
                    return;
                }
                self.timed_out(now);
            }
            Stage::Saying(_) | Stage::Collecting { .. } | Stage::Completed { .. } | Stage::Over => {
            }
        }
    }

    fn poll_output(&mut self) -> Option<AgentOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Now> {
        match &self.stage {
            Stage::Waiting => Some(Now::ZERO),
            // who speaks is let finish
            Stage::Collecting { until, .. } => (!self.utterance.is_certain()).then_some(*until),
            Stage::Saying(_) | Stage::Completed { .. } | Stage::Over => None,
        }
    }
}
