//! The `hook.*` messages of the agent. Their fields stand beside `event`; some frameworks can only
//! nest, so an object under `hook` is taken as well.

use call_control::transfer::{Checkpoint, OutputContext, TransferType, Variables};
use serde_json::{Map, Value};

use crate::agent::{AgentEvent, Track, When};
use crate::link::{Features, Ignored};

/// The largest referenceVariables and transferVariables together, as JSON text.
const MAX_VARIABLES: usize = 64 * 1024;

/// The longest transcript of one utterance that is passed on.
const MAX_TEXT: usize = 16 * 1024;

/// The most keys sent at once.
const MAX_DIGITS: usize = 64;

/// How long a key is held when the agent does not say.
const DIGIT_MS: u32 = 100;

pub(crate) type Object = Map<String, Value>;

/// `hook.hello{version, features, agent}`.
pub(super) fn hello(text: &str) -> Result<Features, Ignored> {
    let fields = fields(text)?;
    // the lower of the two majors rules, which is ours, as there is none below it
    let major = match fields.get("version").and_then(text_of) {
        None => Some(1),
        Some(version) => version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok()),
    };
    if major.is_none_or(|major: u32| major < 1) {
        return Err(Ignored::BadFields);
    }
    let names = fields.get("features").and_then(Value::as_array);
    Ok(Features::among(
        names.into_iter().flatten().filter_map(Value::as_str),
    ))
}

/// `hook.update{currentTaskName, referenceVariables, transferVariables}`.
pub(super) fn update(text: &str) -> Result<AgentEvent, Ignored> {
    let mut fields = fields(text)?;
    let checkpoint = checkpoint(&mut fields).map_err(|_| Ignored::BadFields)?;
    Ok(AgentEvent::Update(checkpoint))
}

/// `hook.complete{id?, outputContext, when}`. What is wrong with the outputContext is part of the
/// event, since the agent is to hear of it.
pub(super) fn complete(text: &str) -> Result<AgentEvent, Ignored> {
    let mut fields = fields(text)?;
    let id = fields.get("id").and_then(text_of);
    let when = match fields.get("when").and_then(Value::as_str) {
        Some("now") => Ok(When::Now),
        Some("drained") | None => Ok(When::Drained),
        Some(other) => Err(format!("when is neither drained nor now: {other:?}")),
    };
    let output = match fields.remove("outputContext") {
        Some(Value::Object(context)) => output_context(context),
        Some(_) => Err("outputContext is not an object".to_owned()),
        None => Err("outputContext is missing".to_owned()),
    };
    Ok(match (output, when) {
        (output, Ok(when)) => AgentEvent::Complete { id, output, when },
        (Ok(_), Err(problem)) | (Err(problem), Err(_)) => AgentEvent::Complete {
            id,
            output: Err(problem),
            when: When::Drained,
        },
    })
}

/// `hook.sendDtmf{digits, durationMs}`.
pub(super) fn send_dtmf(text: &str) -> Result<AgentEvent, Ignored> {
    let fields = fields(text)?;
    let digits = fields
        .get("digits")
        .and_then(text_of)
        .ok_or(Ignored::BadFields)?;
    let known = |c: char| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D' | 'a'..='d' | ',');
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.chars().all(known) {
        return Err(Ignored::BadFields);
    }
    let duration_ms = fields
        .get("durationMs")
        .and_then(number)
        .map_or(DIGIT_MS, |ms| ms.clamp(40, 5000) as u32);
    Ok(AgentEvent::SendDtmf {
        digits: digits.to_ascii_uppercase(),
        duration_ms,
    })
}

/// `hook.transcript{utterance, track, final, text, startMs, endMs}`.
pub(super) fn transcript(text: &str) -> Result<AgentEvent, Ignored> {
    let fields = fields(text)?;
    let spoken = fields
        .get("text")
        .and_then(Value::as_str)
        .ok_or(Ignored::BadFields)?;
    let track = match fields.get("track").and_then(Value::as_str) {
        Some("outbound" | "outbound_track") => Track::Outbound,
        Some("inbound" | "inbound_track") | None => Track::Inbound,
        Some(_) => return Err(Ignored::BadFields),
    };
    if spoken.len() > MAX_TEXT {
        return Err(Ignored::BadFields);
    }
    Ok(AgentEvent::Transcript {
        utterance: fields.get("utterance").and_then(text_of),
        track,
        is_final: fields.get("final").and_then(Value::as_bool).unwrap_or(true),
        text: spoken.to_owned(),
        start_ms: fields.get("startMs").and_then(number),
        end_ms: fields.get("endMs").and_then(number),
    })
}

fn fields(text: &str) -> Result<Object, Ignored> {
    let mut message: Object = serde_json::from_str(text).map_err(|_| Ignored::BadJson)?;
    match message.remove("hook") {
        Some(Value::Object(nested)) => Ok(nested),
        Some(_) | None => Ok(message),
    }
}

/// Reads an outputContext: transferType is `AGENT` or `SYSTEM`, currentTaskName text, the variables
/// are objects of 64 kB in all.
///
/// # Errors
/// What is wrong with it, in the agent's terms.
pub fn output_context(mut context: Object) -> Result<OutputContext, String> {
    let transfer_type = match context.get("transferType").and_then(Value::as_str) {
        Some("AGENT") => TransferType::Agent,
        Some("SYSTEM") => TransferType::System,
        Some(other) => {
            return Err(format!(
                "transferType is neither AGENT nor SYSTEM: {other:?}"
            ));
        }
        None => return Err("transferType is missing".to_owned()),
    };
    let Checkpoint {
        current_task_name,
        reference_variables,
        transfer_variables,
    } = checkpoint(&mut context)?;
    Ok(OutputContext {
        transfer_type,
        current_task_name,
        reference_variables,
        transfer_variables,
    })
}

fn checkpoint(fields: &mut Object) -> Result<Checkpoint, String> {
    let current_task_name = match fields.remove("currentTaskName") {
        Some(Value::String(name)) => Some(name),
        Some(Value::Null) | None => None,
        Some(_) => return Err("currentTaskName is not a string".to_owned()),
    };
    let reference_variables = variables(fields, "referenceVariables")?;
    let transfer_variables = variables(fields, "transferVariables")?;
    let size = json_size(&reference_variables)
        + json_size(&transfer_variables)
        + current_task_name.as_ref().map_or(0, String::len);
    if size > MAX_VARIABLES {
        return Err(format!(
            "the variables are {size} bytes, more than {MAX_VARIABLES}"
        ));
    }
    Ok(Checkpoint {
        current_task_name,
        reference_variables,
        transfer_variables,
    })
}

fn variables(fields: &mut Object, name: &str) -> Result<Variables, String> {
    match fields.remove(name) {
        Some(Value::Object(variables)) => Ok(variables),
        Some(Value::Null) | None => Ok(Variables::new()),
        Some(_) => Err(format!("{name} is not an object")),
    }
}

fn json_size(variables: &Variables) -> usize {
    serde_json::to_string(variables).map_or(usize::MAX / 4, |text| text.len())
}

/// A string, or a number as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number that is not negative, also as text.
fn number(value: &Value) -> Option<u64> {
    let number = text_of(value)?.parse::<f64>().ok()?;
    (0.0..1e15).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn completed(message: &Value) -> (Option<String>, Result<OutputContext, String>, When) {
        let Ok(AgentEvent::Complete { id, output, when }) = complete(&message.to_string()) else {
            panic!("not a completion: {message}")
        };
        (id, output, when)
    }

    #[test]
    fn complete_is_read_with_its_variables_as_they_were() {
        let reference = json!({ "z": 1.0, "a": { "b": [1, null] } });
        let (id, output, when) = completed(&json!({
            "event": "hook.complete", "id": "c1", "when": "now",
            "outputContext": { "transferType": "SYSTEM", "currentTaskName": "t", "referenceVariables": reference }
        }));
        let output = output.unwrap();
        assert_eq!((id.as_deref(), when), (Some("c1"), When::Now));
        assert_eq!(output.transfer_type, TransferType::System);
        assert_eq!(
            Value::Object(output.reference_variables).to_string(),
            reference.to_string()
        );
        assert!(output.transfer_variables.is_empty());
    }

    #[test]
    fn bad_completions_say_what_is_wrong_and_keep_their_id() {
        let context = |context: Value| json!({ "id": 7, "outputContext": context });
        let large = "x".repeat(MAX_VARIABLES);
        let table = [
            (json!({ "id": 7 }), "missing"),
            (context(json!("AGENT")), "not an object"),
            (context(json!({})), "transferType is missing"),
            (
                context(json!({ "transferType": "agent" })),
                "neither AGENT nor SYSTEM",
            ),
            (
                context(json!({ "transferType": "AGENT", "transferVariables": [] })),
                "transferVariables is not",
            ),
            (
                context(json!({ "transferType": "AGENT", "currentTaskName": 1 })),
                "currentTaskName",
            ),
            (
                context(json!({ "transferType": "AGENT", "referenceVariables": { "x": large } })),
                "more than 65536",
            ),
            (
                json!({ "id": 7, "when": "soon", "outputContext": { "transferType": "AGENT" } }),
                "when",
            ),
        ];
        for (message, problem) in table {
            let (id, output, _) = completed(&message);
            assert_eq!(id.as_deref(), Some("7"));
            let said = output.unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }

    #[test]
    fn variables_of_just_64_kb_are_taken() {
        // two objects of which one is empty, quotes, the name and a colon
        let room = MAX_VARIABLES - r#"{}{"x":""}"#.len();
        let message = |len: usize| json!({ "outputContext": { "transferType": "AGENT", "referenceVariables": { "x": "y".repeat(len) } } });
        assert!(completed(&message(room)).1.is_ok());
        assert!(completed(&message(room + 1)).1.is_err());
    }

    #[test]
    fn hello_gives_the_features_both_sides_know() {
        let features =
            hello(r#"{"event":"hook.hello","version":"1.2","features":["tracks","juggling"]}"#)
                .unwrap();
        assert_eq!(features.list(), [crate::wire::Feature::Tracks]);
        // its own 1.0 is what an agent of a later major is welcomed with
        assert!(hello(r#"{"version":"2.0","features":[]}"#).is_ok());
        for none_in_common in ["0.9", "one", ""] {
            let text = json!({ "version": none_in_common, "features": [] });
            assert_eq!(hello(&text.to_string()), Err(Ignored::BadFields));
        }
    }

    #[test]
    fn digits_and_transcripts_are_read_or_refused() {
        let sent = send_dtmf(r#"{"digits":"12#","durationMs":160}"#);
        assert_eq!(
            sent,
            Ok(AgentEvent::SendDtmf {
                digits: "12#".to_owned(),
                duration_ms: 160
            })
        );
        for text in [r#"{}"#, r#"{"digits":""}"#, r#"{"digits":"12x"}"#] {
            assert_eq!(send_dtmf(text), Err(Ignored::BadFields), "{text}");
        }
        let said = transcript(
            r#"{"hook":{"utterance":3,"track":"outbound","final":false,"text":"hi","startMs":"20"}}"#,
        );
        let expected = AgentEvent::Transcript {
            utterance: Some("3".to_owned()),
            track: Track::Outbound,
            is_final: false,
            text: "hi".to_owned(),
            start_ms: Some(20),
            end_ms: None,
        };
        assert_eq!(said, Ok(expected));
    }
}
