//! From a flow's file to the flow, or to everything that is wrong in it, line by line.

mod rules;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use call_control::transfer::TransferType;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::document::{self, Document, Means, Ordered, Say, Word};
use super::paths;
use super::program::{Action, Collect, Flow, Settings, State, Target};
use super::prompts::{Prompts, Voice};
use super::variables::{Completion, Place, problem, text_problem};

/// The largest file.
const LARGEST: u64 = 1024 * 1024;

/// The most states.
const MOST_STATES: usize = 1000;

/// The most tries more.
const MOST_RETRIES: u64 = 20;

/// What is wrong in a flow's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowError {
    file: PathBuf,
    /// Line and column from 1, or zeros for the file as a whole, and what is wrong there.
    findings: Vec<(u64, u64, String)>,
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (line, column, finding)) in self.findings.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file.display())?;
            if *line > 0 {
                write!(f, "{line}:{column}:")?;
            }
            write!(f, " {finding}")?;
        }
        Ok(())
    }
}

/// Reads and checks a flow, and reads its prompts.
pub(crate) fn load(file: &Path) -> Result<Flow, FlowError> {
    let whole = |finding: String| FlowError {
        file: file.to_owned(),
        findings: vec![(0, 0, finding)],
    };
    match fs::metadata(file) {
        Ok(found) if found.len() > LARGEST => {
            return Err(whole(format!("is larger than {LARGEST} bytes")));
        }
        Ok(_) => {}
        Err(error) => return Err(whole(error.to_string())),
    }
    let text = fs::read_to_string(file).map_err(|error| whole(error.to_string()))?;
    read(&text, file)
}

/// As [`load`], from the text of the file.
pub(super) fn read(text: &str, file: &Path) -> Result<Flow, FlowError> {
    let document: Document = serde_saphyr::from_str(text).map_err(|error| FlowError {
        file: file.to_owned(),
        findings: vec![syntax(&error)],
    })?;
    let mut loader = Loader::new(&document, file);
    let flow = loader.flow(&document);
    let mut findings = loader.findings;
    match flow {
        Some(flow) if findings.is_empty() => Ok(flow),
        Some(_) | None => {
            findings.sort();
            findings.dedup();
            Err(FlowError {
                file: file.to_owned(),
                findings,
            })
        }
    }
}

fn syntax(error: &serde_saphyr::Error) -> (u64, u64, String) {
    let (line, column) = error
        .location()
        .map_or((0, 0), |place| (place.line(), place.column()));
    let text = error.without_snippet().to_string();
    let place = format!(" at line {line}, column {column}");
    let first = text.lines().next().unwrap_or_default();
    (
        line,
        column,
        first.strip_suffix(&place).unwrap_or(first).to_owned(),
    )
}

struct Loader {
    numbers: HashMap<String, usize>,
    prompts: Prompts,
    findings: Vec<(u64, u64, String)>,
}

impl Loader {
    fn new(document: &Document, file: &Path) -> Self {
        let mut findings = Vec::new();
        let mut note = |place: Location, finding: String| {
            findings.push((place.line(), place.column(), finding))
        };
        let beside = file.parent().map(Path::to_owned).unwrap_or_default();
        let settings = &document.prompts;
        let dir = settings
            .dir
            .as_ref()
            .map_or_else(|| beside.clone(), |dir| beside.join(dir));
        let voice = match (&settings.voice, &settings.command) {
            (Some(_), Some(command)) => {
                note(
                    command.referenced,
                    "prompts has both voice and command".to_owned(),
                );
                None
            }
            (Some(voice), None) => Voice::named(&voice.value)
                .map_err(|problem| note(voice.referenced, problem))
                .ok(),
            (None, Some(command)) => Voice::command(command.value.clone())
                .map_err(|problem| note(command.referenced, problem))
                .ok(),
            (None, None) => None,
        };
        let cache = settings.cache.as_ref().map(|cache| beside.join(cache));
        let numbers = document.states.value.0.iter().enumerate();
        Self {
            numbers: numbers
                .map(|(n, (name, _))| (name.value.clone(), n))
                .collect(),
            prompts: Prompts::new(dir, voice, cache),
            findings,
        }
    }

    fn note(&mut self, place: Location, finding: impl Into<String>) {
        self.findings
            .push((place.line(), place.column(), finding.into()));
    }

    /// The whole flow; none when a state could not be made.
    fn flow(&mut self, document: &Document) -> Option<Flow> {
        if document.version.value != 1 {
            self.note(document.version.referenced, "version must be 1");
        }
        let states = &document.states.value.0;
        if states.len() > MOST_STATES {
            self.note(
                document.states.referenced,
                format!("there are more than {MOST_STATES} states"),
            );
            return None;
        }
        let start = self.state_named(&document.start);
        let made: Vec<State> = states
            .iter()
            .map(|(name, state)| self.state(name, state))
            .collect();
        let flow = Flow {
            listens: made.iter().any(|state| {
                state.speech_interrupts
                    || state
                        .collect
                        .as_ref()
                        .is_some_and(|collect| collect.speech.is_some())
            }),
            states: made,
            start: start?,
        };
        // where a name is wrong, what is reached is not known
        if self.findings.is_empty() {
            for (line, finding) in paths::findings(&flow) {
                self.findings.push((line, 1, finding));
            }
        }
        Some(flow)
    }

    fn state(&mut self, name: &Word, state: &document::State) -> State {
        let collect = state
            .collect
            .as_ref()
            .map(|collect| self.collect(collect, state));
        if let (Some(on), None) = (&state.on, &state.collect)
            && let Some((key, _)) = on.0.first()
        {
            self.note(key.referenced, "on needs collect");
        }
        let then = match (&state.next, &state.complete) {
            (Some(next), Some(_)) => {
                self.note(next.referenced, "a state has next or complete, not both");
                None
            }
            (Some(next), None) => self.state_named(next).map(Target::State),
            (None, Some(complete)) => self.completion(complete),
            (None, None) => {
                if state.on.is_none() {
                    self.note(
                        name.referenced,
                        format!(
                            "{:?} leads nowhere: it has none of next, on, complete",
                            name.value
                        ),
                    );
                }
                None
            }
        };
        let means = state
            .bargein
            .as_ref()
            .map(|means| means.value.as_slice())
            .unwrap_or_default();
        State {
            name: name.value.clone(),
            line: name.referenced.line(),
            set: self.settings(state.set.as_ref()),
            say: self.say(state.say.as_ref()),
            keys_interrupt: means.contains(&Means::Dtmf),
            speech_interrupts: means.contains(&Means::Speech),
            collect,
            then,
        }
    }

    fn collect(
        &mut self,
        collect: &Spanned<document::Collect>,
        state: &document::State,
    ) -> Collect {
        let (place, collect) = (collect.referenced, &collect.value);
        let digits = collect.dtmf.as_ref().map(|rule| self.digit_rule(rule));
        let speech = collect.speech.as_ref().map(|rule| self.speech_rule(rule));
        if digits.is_none() && speech.is_none() {
            self.note(place, "collect has neither dtmf nor speech");
        }
        let into = collect.into.as_ref().and_then(|into| {
            if digits.is_none() {
                self.note(
                    into.referenced,
                    "into needs dtmf: what is said is not known, only that somebody spoke",
                );
            }
            self.place(into)
        });
        let waits = [
            collect.dtmf.as_ref().and_then(|rule| rule.value.timeout_ms),
            collect
                .speech
                .as_ref()
                .and_then(|rule| rule.value.timeout_ms),
        ];
        let no_input = waits.into_iter().flatten().max().unwrap_or(5000);
        self.wait(place, "timeout_ms", no_input);
        let mut on = Vec::new();
        for (key, action) in state.on.iter().flat_map(|on| &on.0) {
            if let Some(outcome) = self.outcome(key, digits, speech.is_some())
                && let Some(action) = self.action(key, action)
            {
                on.push((outcome, action));
            }
        }
        Collect {
            digits,
            speech,
            no_input: Duration::from_millis(no_input),
            into,
            on,
        }
    }

    fn action(&mut self, key: &Word, action: &document::Action) -> Option<Action> {
        let place = key.referenced;
        let retry = action.retry.as_ref().map_or(0, |retry| retry.value);
        if action.retry.is_some() && (retry == 0 || retry > MOST_RETRIES) {
            self.note(place, format!("retry must be between 1 and {MOST_RETRIES}"));
        }
        let otherwise = match (&action.retry, &action.goto, &action.otherwise) {
            (Some(_), Some(goto), _) => {
                self.note(goto.referenced, "after retry comes else, not goto");
                return None;
            }
            (None, _, Some(otherwise)) => {
                self.note(otherwise.referenced, "else needs retry");
                return None;
            }
            (Some(_), None, named) | (None, named, None) => named.as_ref(),
        };
        let then = match (otherwise, &action.complete) {
            (Some(name), Some(_)) => {
                self.note(
                    name.referenced,
                    "an action leads to a state or to complete, not to both",
                );
                None
            }
            (Some(name), None) => self.state_named(name).map(Target::State),
            (None, Some(complete)) => self.completion(complete),
            (None, None) if retry > 0 => Some(Action::give_up(reason(&key.value)).then),
            (None, None) => {
                self.note(
                    place,
                    format!(
                        "{:?} leads nowhere: it has none of goto, retry, complete",
                        key.value
                    ),
                );
                None
            }
        };
        Some(Action {
            set: self.settings(action.set.as_ref()),
            say: self.say(action.say.as_ref()),
            retry,
            then: then?,
        })
    }

    fn completion(&mut self, complete: &document::Complete) -> Option<Target> {
        let transfer_type = match complete.transfer_type.value.as_str() {
            "AGENT" => TransferType::Agent,
            "SYSTEM" => TransferType::System,
            other => {
                let finding = format!("transferType is neither AGENT nor SYSTEM: {other:?}");
                self.note(complete.transfer_type.referenced, finding);
                return None;
            }
        };
        let current_task_name = complete.current_task_name.as_ref().map(|name| {
            if let Some(finding) = text_problem(&name.value) {
                self.note(name.referenced, finding);
            }
            name.value.clone()
        });
        let mut variables = |variables: &Option<Spanned<serde_json::Map<String, Value>>>| {
            let Some(variables) = variables else {
                return serde_json::Map::new();
            };
            if let Some(finding) = variables.value.values().find_map(problem) {
                self.note(variables.referenced, finding);
            }
            variables.value.clone()
        };
        Some(Target::Complete(Box::new(Completion {
            transfer_type,
            current_task_name,
            reference_variables: variables(&complete.reference_variables),
            transfer_variables: variables(&complete.transfer_variables),
        })))
    }

    fn settings(&mut self, set: Option<&Ordered<Value>>) -> Settings {
        let mut settings = Settings::new();
        for (name, value) in set.iter().flat_map(|set| &set.0) {
            if let Some(finding) = problem(value) {
                self.note(name.referenced, finding);
            }
            if let Some(place) = self.place(name) {
                settings.push((place, value.clone()));
            }
        }
        settings
    }

    fn place(&mut self, name: &Word) -> Option<Place> {
        Place::parse(&name.value)
            .map_err(|finding| self.note(name.referenced, finding))
            .ok()
    }

    fn state_named(&mut self, name: &Word) -> Option<usize> {
        let number = self.numbers.get(&name.value).copied();
        if number.is_none() {
            self.note(
                name.referenced,
                format!("there is no state {:?}", name.value),
            );
        }
        number
    }

    fn say(&mut self, say: Option<&Spanned<Say>>) -> Bytes {
        let mut sound = BytesMut::new();
        let Some(say) = say else {
            return sound.freeze();
        };
        for prompt in &say.value.0 {
            match self.prompts.get(prompt) {
                Ok(audio) => sound.extend_from_slice(&audio),
                Err(finding) => self.note(say.referenced, finding),
            }
        }
        sound.freeze()
    }
}

/// The reason that is given to a person when an outcome's tries are used up.
pub(super) fn reason(outcome: &str) -> &'static str {
    if outcome == "timeout" {
        "no_input"
    } else {
        "invalid_input"
    }
}
