//! outputVariables: flat text, with nested objects as JSON text.

use call_control::transfer::Checkpoint;
use serde_json::{Map, Value};

use crate::agent::{AgentEvent, AgentOutput, When};
use crate::twilio::output_context;

/// The names that have a meaning; all others are variables that the agent collected.
const KNOWN: [&str; 4] = [
    "transferType",
    "currentTaskName",
    "referenceVariables",
    "transferVariables",
];

/// What the outputVariables come to: a completion when they say who takes the caller next, else a
/// checkpoint, from which the hand-back takes its variables.
pub(super) fn outputs(variables: Map<String, Value>) -> Vec<AgentOutput> {
    if variables.is_empty() {
        return Vec::new();
    }
    let completes = variables.contains_key("transferType");
    let mut context = Map::new();
    let mut others = Map::new();
    for (name, value) in variables {
        if KNOWN.contains(&name.as_str()) {
            context.insert(name, nested(value));
        } else {
            others.insert(name, value);
        }
    }
    let collected = context
        .entry("transferVariables")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(collected) = collected {
        for (name, value) in others {
            collected.entry(name).or_insert(value);
        }
    }
    let event = if completes {
        AgentEvent::Complete {
            id: None,
            output: output_context(context),
            when: When::Drained,
        }
    } else {
        context.insert("transferType".to_owned(), Value::String("AGENT".to_owned()));
        let Ok(output) = output_context(context) else {
            return Vec::new();
        };
        AgentEvent::Update(Checkpoint {
            current_task_name: output.current_task_name,
            reference_variables: output.reference_variables,
            transfer_variables: output.transfer_variables,
        })
    };
    vec![AgentOutput::Event(event)]
}

/// An object that travelled as text.
fn nested(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str(text).unwrap_or(value)
        }
        Value::String(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call_control::transfer::TransferType;
    use serde_json::json;

    fn read(variables: Value) -> AgentEvent {
        let Value::Object(variables) = variables else {
            panic!("no object")
        };
        let mut outputs = outputs(variables);
        let Some(AgentOutput::Event(event)) = outputs.pop() else {
            panic!("nothing")
        };
        event
    }

    #[test]
    fn flat_variables_make_an_output_context() {
        let event = read(json!({
            "transferType": "SYSTEM",
            "currentTaskName": "pay",
            "referenceVariables": "{\"order\": {\"id\": 7}}",
            "amount": "12.50",
        }));
        let AgentEvent::Complete {
            output: Ok(output), ..
        } = event
        else {
            panic!("{event:?}")
        };
        assert_eq!(output.transfer_type, TransferType::System);
        assert_eq!(output.reference_variables["order"]["id"], json!(7));
        assert_eq!(output.transfer_variables["amount"], "12.50");
    }

    #[test]
    fn variables_without_a_transfer_type_are_a_checkpoint() {
        let event = read(json!({ "amount": "12.50" }));
        let AgentEvent::Update(checkpoint) = event else {
            panic!("{event:?}")
        };
        assert_eq!(checkpoint.transfer_variables["amount"], "12.50");
    }

    #[test]
    fn wrong_transfer_type_is_told() {
        let event = read(json!({ "transferType": "agent" }));
        assert!(matches!(event, AgentEvent::Complete { output: Err(_), .. }));
    }
}
