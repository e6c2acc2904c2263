//! What a flow knows on one call, and `${…}` in its texts.

use call_control::transfer::{Checkpoint, InputContext, OutputContext, TransferType, Variables};
use serde_json::{Map, Value};

/// What can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Task,
    Reference(Vec<String>),
    Transfer(Vec<String>),
}

impl Place {
    /// Reads `referenceVariables.a.b`, `transferVariables.a` or `currentTaskName`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('.');
        let root = parts.next().unwrap_or_default();
        let path: Vec<String> = parts.map(str::to_owned).collect();
        let named = !path.is_empty() && path.iter().all(|part| !part.is_empty());
        match (root, named) {
            ("currentTaskName", _) if path.is_empty() => Ok(Self::Task),
            ("referenceVariables", true) => Ok(Self::Reference(path)),
            ("transferVariables", true) => Ok(Self::Transfer(path)),
            _ => Err(format!(
                "{text:?} cannot be set (currentTaskName, referenceVariables.NAME and transferVariables.NAME can)"
            )),
        }
    }
}

/// The result a state gives; its values may hold `${…}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Completion {
    pub(super) transfer_type: TransferType,
    pub(super) current_task_name: Option<String>,
    pub(super) reference_variables: Map<String, Value>,
    pub(super) transfer_variables: Map<String, Value>,
}

/// The knowledge of one call.
#[derive(Debug)]
pub(super) struct Knowledge {
    input: InputContext,
    task: Option<String>,
    reference: Variables,
    transfer: Variables,
    collected: Variables,
    digits: String,
}

/// The names that `${…}` may begin with.
const ROOTS: [&str; 6] = [
    "taskName",
    "inputVariables",
    "referenceVariables",
    "transferVariables",
    "collected",
    "digits",
];

impl Knowledge {
    pub(super) fn new(input: &InputContext, checkpoint: Option<&Checkpoint>) -> Self {
        let Checkpoint {
            current_task_name,
            reference_variables,
            transfer_variables,
        } = checkpoint.cloned().unwrap_or_default();
        Self {
            input: input.clone(),
            task: current_task_name,
            reference: reference_variables,
            transfer: transfer_variables,
            collected: Variables::new(),
            digits: String::new(),
        }
    }

    /// Keeps the keys that a state collected.
    pub(super) fn collected(&mut self, state: &str, digits: &str) {
        digits.clone_into(&mut self.digits);
        self.collected
            .insert(state.to_owned(), Value::String(digits.to_owned()));
    }

    /// Sets a place to a value, after filling in its `${…}`.
    pub(super) fn set(&mut self, place: &Place, value: &Value) {
        let value = self.fill(value);
        match place {
            Place::Task => self.task = Some(text_of(&value)),
            Place::Reference(path) => put(&mut self.reference, path, value),
            Place::Transfer(path) => put(&mut self.transfer, path, value),
        }
    }

    /// How far the call has got.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            current_task_name: self.task_name(),
            reference_variables: self.reference.clone(),
            transfer_variables: self.transfer.clone(),
        }
    }

    /// The result of the call: what was set, and what the completion adds.
    pub(super) fn output(&self, completion: &Completion) -> OutputContext {
        let mut reference_variables = self.reference.clone();
        let mut transfer_variables = self.transfer.clone();
        for (name, value) in &completion.reference_variables {
            reference_variables.insert(name.clone(), self.fill(value));
        }
        for (name, value) in &completion.transfer_variables {
            transfer_variables.insert(name.clone(), self.fill(value));
        }
        let named = completion.current_task_name.as_deref();
        OutputContext {
            transfer_type: completion.transfer_type,
            current_task_name: named
                .map(|name| self.fill_text(name))
                .filter(|name| !name.is_empty())
                .or_else(|| self.task_name()),
            reference_variables,
            transfer_variables,
        }
    }

    fn task_name(&self) -> Option<String> {
        self.task.clone().or_else(|| self.input.task_name.clone())
    }

    /// A value with its `${…}` filled in: alone in a string it keeps its type, within a text it
    /// becomes text, and what is not known is null or nothing.
    fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match alone(text) {
                Some(name) => self.look_up(name).unwrap_or(Value::Null),
                None => Value::String(self.fill_text(text)),
            },
            Value::Array(values) => values.iter().map(|value| self.fill(value)).collect(),
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.fill(value)))
                    .collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn fill_text(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Name(name) => filled.push_str(
                    &self
                        .look_up(name)
                        .map(|value| text_of(&value))
                        .unwrap_or_default(),
                ),
                Piece::Open => {}
            }
        }
        filled
    }

    fn look_up(&self, name: &str) -> Option<Value> {
        let mut path = name.trim().split('.');
        match path.next()? {
            "taskName" => self.task_name().map(Value::String),
            "digits" => Some(Value::String(self.digits.clone())),
            "inputVariables" => descend(self.input.input_variables.as_ref()?, path),
            "referenceVariables" => descend(&self.reference, path),
            "transferVariables" => descend(&self.transfer, path),
            "collected" => descend(&self.collected, path),
            _ => None,
        }
    }
}

/// What is wrong with the `${…}` of a value.
pub(super) fn problem(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text_problem(text),
        Value::Array(values) => values.iter().find_map(problem),
        Value::Object(fields) => fields.values().find_map(problem),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// What is wrong with the `${…}` of a text.
pub(super) fn text_problem(text: &str) -> Option<String> {
    pieces(text).into_iter().find_map(|piece| match piece {
        Piece::Text(_) => None,
        Piece::Open => Some(format!("${{ without }} in {text:?}")),
        Piece::Name(name) => {
            let mut path = name.trim().split('.');
            let root = path.next().unwrap_or_default();
            let bare = matches!(root, "taskName" | "digits");
            let known = ROOTS.contains(&root) && bare != path.next().is_some();
            (!known).then(|| {
                format!("${{{name}}} is not known (there are taskName, digits, inputVariables.NAME, referenceVariables.NAME, transferVariables.NAME, collected.STATE)")
            })
        }
    })
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
    /// `${` with no end.
    Open,
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        pieces.push(Piece::Text(before));
        let Some((name, after)) = after.split_once('}') else {
            pieces.push(Piece::Open);
            return pieces;
        };
        pieces.push(Piece::Name(name));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// The name in a text that is nothing but one `${name}`.
fn alone(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains(['$', '}'])).then_some(name)
}

fn descend<'a>(variables: &Variables, mut path: impl Iterator<Item = &'a str>) -> Option<Value> {
    let mut value = variables.get(path.next()?)?;
    for name in path {
        value = value.get(name)?;
    }
    Some(value.clone())
}

/// Puts a value at a path, making the objects on the way.
fn put(variables: &mut Variables, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        variables.insert(name.clone(), value);
        return;
    }
    let slot = variables
        .entry(name.clone())
        .or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    if let Value::Object(fields) = slot {
        put(fields, rest, value);
    }
}

/// A value within a text: strings as they are, everything else as JSON, null as nothing.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn knowledge() -> Knowledge {
        let input = serde_json::from_value(json!({
            "taskName": "pay",
            "inputVariables": { "amount": 12.5, "who": { "name": "Ann" } },
        }))
        .unwrap();
        Knowledge::new(&input, None)
    }

    #[test]
    fn variable_alone_keeps_its_type_and_within_a_text_becomes_text() {
        let knowledge = knowledge();
        let fill = |value: Value| knowledge.fill(&value);
        assert_eq!(fill(json!("${inputVariables.amount}")), json!(12.5));
        assert_eq!(
            fill(json!("${inputVariables.who}")),
            json!({ "name": "Ann" })
        );
        assert_eq!(
            fill(json!([
                "for ${inputVariables.who.name}: ${taskName} ${inputVariables.amount}"
            ])),
            json!(["for Ann: pay 12.5"])
        );
        assert_eq!(fill(json!("${inputVariables.absent}")), Value::Null);
        assert_eq!(fill(json!("<${inputVariables.absent}>")), json!("<>"));
    }

    #[test]
    fn names_that_cannot_be_known_are_found_before_the_call() {
        for bad in [
            "${task}",
            "${taskName",
            "${}",
            "${inputVariables}",
            "${digits.x}",
            "a${ b}c",
        ] {
            assert!(problem(&json!({ "x": [bad] })).is_some(), "{bad}");
        }
        for good in ["", "$", "$}", "${digits}", "${collected.menu} ${taskName}"] {
            assert_eq!(text_problem(good), None, "{good}");
        }
    }

    #[test]
    fn places_are_set_deep_and_come_out_in_the_result() {
        let mut knowledge = knowledge();
        knowledge.collected("menu", "42");
        let set = [
            ("referenceVariables.a.b", json!("${digits}")),
            ("transferVariables.n", json!("${collected.menu}!")),
            ("currentTaskName", json!("billing")),
        ];
        for (place, value) in set {
            knowledge.set(&Place::parse(place).unwrap(), &value);
        }
        let output = knowledge.output(&Completion {
            transfer_type: TransferType::Agent,
            current_task_name: None,
            reference_variables: Map::new(),
            transfer_variables: Map::from_iter([("reason".to_owned(), json!("asked"))]),
        });
        assert_eq!(
            serde_json::to_value(output).unwrap(),
            json!({
                "transferType": "AGENT", "currentTaskName": "billing",
                "referenceVariables": { "a": { "b": "42" } },
                "transferVariables": { "n": "42!", "reason": "asked" },
            })
        );
        for bad in [
            "referenceVariables",
            "referenceVariables.",
            "x",
            "currentTaskName.x",
        ] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
