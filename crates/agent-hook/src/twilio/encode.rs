//! Messages to the agent.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use call_control::transfer::{Checkpoint, InputContext};
use serde_json::{Map, Value, json};

use super::{FRAME, Features, Identity, ToAgent};
use crate::agent::{Phase, Track, TransferOutcome};
use crate::facts::CallFacts;

/// The version of the `hook.*` messages.
const HOOK_VERSION: &str = "1.0";

/// How much audio may be queued for the caller before the newest is dropped.
const MAX_QUEUE_MS: u32 = 600_000;

/// How much is gathered at the start of a talk-spurt.
const PREBUFFER_MS: u32 = 60;

/// Room for about 40 media messages; reused when the socket has taken them.
const BUFFER: usize = 16 * 1024;

/// Base64 of one frame.
const FRAME_BASE64: usize = FRAME.div_ceil(3) * 4;

/// The custom parameters that an input variable may not replace.
const FIXED: [&str; 8] = [
    "taskName",
    "inputContext",
    "from_number",
    "to_number",
    "sipCallId",
    "hookVersion",
    "hookToken",
    "resume",
];

/// The fields of a `hook.*` message; those that are null are left out.
type Fields = [(&'static str, Value); 3];

/// A field that is not there.
const NONE: (&str, Value) = ("", Value::Null);

/// Writes the messages of one stream, numbering them.
#[derive(Debug)]
pub(super) struct Encoder {
    identity: Identity,
    sequence: u64,
    buffer: BytesMut,
}

impl Encoder {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            sequence: 0,
            buffer: BytesMut::new(),
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// `connected`, the first message; it has no number.
    pub(super) fn connected() -> Bytes {
        Bytes::from_static(br#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#)
    }

    /// `start`, the second message, with its three copies of the inputContext (the third travels
    /// in a webhook).
    pub(super) fn start(&mut self, facts: &CallFacts) -> Bytes {
        let Identity {
            stream_sid,
            call_sid,
            account_sid,
        } = self.identity.clone();
        let start = json!({
            "accountSid": account_sid,
            "callSid": call_sid,
            "streamSid": stream_sid,
            "tracks": ["inbound"],
            "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
            "customParameters": custom_parameters(facts),
        });
        let hook = hook_object(facts);
        self.rare("start", [("start", start), ("hook", hook)])
    }

    /// One message of the call; `None` when the agent has not opted in to it.
    pub(super) fn message(&mut self, message: ToAgent, hello: Option<Features>) -> Option<Bytes> {
        let fields = match message {
            ToAgent::Media {
                track,
                timestamp_ms,
                frame,
            } => return Some(self.media(track, timestamp_ms, &frame)),
            ToAgent::Dtmf { digit } => {
                return Some(self.nested(
                    "dtmf",
                    json!({ "track": "inbound_track", "digit": digit.to_string() }),
                ));
            }
            ToAgent::Mark {
                name,
                played,
                sample,
            } => {
                return Some(self.nested(
                    "mark",
                    json!({ "name": name, "played": played, "sample": sample }),
                ));
            }
            ToAgent::Stop => return Some(self.stop()),
            ToAgent::Phase { phase, method } => phase_fields(phase, method, hello?),
            ToAgent::TransferResult { outcome, code } => {
                hello?;
                let status = json!(outcome_name(outcome));
                (
                    "hook.transferResult",
                    [("status", status), ("code", json!(code)), NONE],
                )
            }
            ToAgent::Completed {
                id,
                accepted,
                error,
            } => {
                let fields = [
                    ("id", json!(id)),
                    ("accepted", json!(accepted)),
                    ("error", json!(error)),
                ];
                ("hook.completed", fields)
            }
            ToAgent::Welcome(features) => {
                let fields = [
                    ("version", json!(HOOK_VERSION)),
                    ("features", json!(features.names())),
                    NONE,
                ];
                ("hook.welcome", fields)
            }
        };
        let (event, fields) = fields;
        Some(self.rare(event, fields))
    }

    /// 20 ms of audio. Chunk n has the timestamp 20·(n−1).
    fn media(&mut self, track: Track, timestamp_ms: u64, frame: &[u8; FRAME]) -> Bytes {
        let sequence = self.next();
        let buffer = &mut self.buffer;
        if buffer.capacity() < 512 {
            buffer.reserve(BUFFER);
        }
        let (track, chunk) = (track_name(track), timestamp_ms / 20 + 1);
        let _ = write!(
            buffer,
            r#"{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"{track}","chunk":"{chunk}","timestamp":"{timestamp_ms}","payload":""#
        );
        let payload = buffer.len();
        buffer.resize(payload + FRAME_BASE64, 0);
        // the slice is as long as the text, so this cannot fail
        let _ = STANDARD.encode_slice(frame, &mut buffer[payload..]);
        let _ = write!(
            buffer,
            r#""}},"streamSid":"{}"}}"#,
            self.identity.stream_sid
        );
        buffer.split().freeze()
    }

    /// `stop`, the last message.
    fn stop(&mut self) -> Bytes {
        let Identity {
            call_sid,
            account_sid,
            ..
        } = &self.identity;
        let stop = json!({ "accountSid": account_sid, "callSid": call_sid });
        self.nested("stop", stop)
    }

    /// A message of Twilio's form, with one object named as the event.
    fn nested(&mut self, event: &str, object: Value) -> Bytes {
        self.rare(event, [(event, object)])
    }

    fn rare<const N: usize>(&mut self, event: &str, fields: [(&str, Value); N]) -> Bytes {
        let mut message = Map::new();
        message.insert("event".to_owned(), json!(event));
        message.insert("sequenceNumber".to_owned(), json!(self.next().to_string()));
        for (name, value) in fields {
            if !value.is_null() {
                message.insert(name.to_owned(), value);
            }
        }
        message.insert("streamSid".to_owned(), json!(self.identity.stream_sid));
        Bytes::from(Value::Object(message).to_string())
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

/// Strings only, as Twilio has it: the scalar variables under their own names, and the whole
/// inputContext as JSON text.
fn custom_parameters(facts: &CallFacts) -> Map<String, Value> {
    let mut parameters = Map::new();
    let mut put =
        |name: &str, value: String| parameters.insert(name.to_owned(), Value::String(value));
    for (name, value) in facts.input.input_variables.iter().flatten() {
        if let Some(text) = scalar(value) {
            let taken = FIXED.contains(&name.as_str());
            put(
                &if taken {
                    format!("var_{name}")
                } else {
                    name.clone()
                },
                text,
            );
        }
    }
    if let Some(task) = &facts.input.task_name {
        put("taskName", task.clone());
    }
    put("inputContext", input_context(&facts.input).to_string());
    put("from_number", facts.from.clone());
    put("to_number", facts.to.clone());
    put("sipCallId", facts.sip_call_id.clone());
    put("hookVersion", "1".to_owned());
    put("hookToken", facts.token.expose().to_owned());
    put("resume", if facts.resume { "1" } else { "0" }.to_owned());
    parameters
}

/// The typed copy for agents that know this gateway.
fn hook_object(facts: &CallFacts) -> Value {
    let mut hook = json!({
        "version": HOOK_VERSION,
        "features": Features::ALL.names(),
        "inputContext": input_context(&facts.input),
        "call": {
            "from": facts.from,
            "to": facts.to,
            "sipCallId": facts.sip_call_id,
            "referredBy": facts.referred_by,
            "transferId": facts.transfer.as_str(),
            "externalConversationId": facts.conversation,
        },
        "limits": { "maxQueueMs": MAX_QUEUE_MS, "prebufferMs": PREBUFFER_MS },
    });
    if let (Some(checkpoint), Some(hook)) = (&facts.checkpoint, hook.as_object_mut()) {
        hook.insert("update".to_owned(), checkpoint_object(checkpoint));
    }
    hook
}

fn input_context(input: &InputContext) -> Value {
    json!({
        "taskName": input.task_name,
        "inputVariables": input.input_variables.clone().unwrap_or_default(),
    })
}

fn checkpoint_object(checkpoint: &Checkpoint) -> Value {
    json!({
        "currentTaskName": checkpoint.current_task_name,
        "referenceVariables": checkpoint.reference_variables,
        "transferVariables": checkpoint.transfer_variables,
    })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn phase_fields(phase: Phase, method: Option<&str>, features: Features) -> (&'static str, Fields) {
    let both = features.tracks && phase == Phase::Bridged;
    let tracks = if both {
        json!(["inbound", "outbound"])
    } else {
        json!(["inbound"])
    };
    (
        "hook.phase",
        [
            ("phase", json!(phase_name(phase))),
            ("method", json!(method)),
            ("tracks", tracks),
        ],
    )
}

fn track_name(track: Track) -> &'static str {
    match track {
        Track::Inbound => "inbound",
        Track::Outbound => "outbound",
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Agent => "agent",
        Phase::HandingBack => "handing_back",
        Phase::Bridged => "bridged",
        Phase::Ended => "ended",
    }
}

fn outcome_name(outcome: TransferOutcome) -> &'static str {
    match outcome {
        TransferOutcome::Trying => "trying",
        TransferOutcome::Answered => "answered",
        TransferOutcome::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::facts;

    fn encoder() -> Encoder {
        Encoder::new(Identity::new(&facts()))
    }

    fn parsed(message: &[u8]) -> Value {
        serde_json::from_slice(message).unwrap()
    }

    #[test]
    fn media_is_numbered_in_decimal_strings() {
        let mut encoder = encoder();
        let _start = encoder.start(&facts());
        for n in 0..1000_u64 {
            let track = if n % 2 == 0 {
                Track::Inbound
            } else {
                Track::Outbound
            };
            let frame = [n as u8; FRAME];
            let message = parsed(&encoder.media(track, n * 20, &frame));
            let expected = json!({
                "event": "media",
                "sequenceNumber": (n + 2).to_string(),
                "media": {
                    "track": if n % 2 == 0 { "inbound" } else { "outbound" },
                    "chunk": (n + 1).to_string(),
                    "timestamp": (n * 20).to_string(),
                    "payload": STANDARD.encode(frame),
                },
                "streamSid": encoder.identity.stream_sid,
            });
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn media_do_not_allocate_once_the_socket_took_them() {
        let mut encoder = encoder();
        let first = encoder.media(Track::Inbound, 0, &[0; FRAME]).as_ptr() as usize;
        let mut reused = 0;
        for n in 1..200 {
            let at = encoder.media(Track::Inbound, n * 20, &[0; FRAME]).as_ptr() as usize;
            reused += usize::from(at == first);
        }
        assert!(reused >= 3, "the buffer was taken up again {reused} times");
    }

    #[test]
    fn start_holds_the_input_context_three_times_over_for_every_kind_of_agent() {
        let mut facts = facts();
        facts.input = serde_json::from_str(
            r#"{
                "taskName": "pay",
                "inputVariables": { "amount": 12.50, "vip": true, "name": "Ann", "resume": "no", "list": [1, 2] }
            }"#,
        )
        .unwrap();
        let message = parsed(&encoder().start(&facts));
        let parameters = &message["start"]["customParameters"];
        assert_eq!(parameters["amount"], "12.50");
        assert_eq!(parameters["vip"], "true");
        assert_eq!(parameters["name"], "Ann");
        assert_eq!(
            parameters["resume"], "0",
            "a variable took the place of a fixed parameter"
        );
        assert_eq!(parameters["var_resume"], "no");
        assert_eq!(parameters["list"], Value::Null);
        assert_eq!(parameters["taskName"], "pay");
        assert_eq!(parameters["hookToken"].as_str().unwrap().len(), 32);
        let text = parameters["inputContext"].as_str().unwrap();
        assert_eq!(parsed(text.as_bytes()), message["hook"]["inputContext"]);
        assert_eq!(
            message["hook"]["inputContext"],
            serde_json::to_value(&facts.input).unwrap()
        );
        assert!(
            parameters
                .as_object()
                .unwrap()
                .values()
                .all(Value::is_string)
        );
        assert_eq!(message["streamSid"], message["start"]["streamSid"]);
        assert_eq!(message["sequenceNumber"], "1");
    }

    #[test]
    fn phases_are_told_only_to_agents_that_said_hello() {
        let phase = || ToAgent::Phase {
            phase: Phase::Bridged,
            method: Some("INVITE"),
        };
        let mut encoder = encoder();
        assert_eq!(encoder.message(phase(), None), None);
        let told = parsed(&encoder.message(phase(), Some(Features::ALL)).unwrap());
        assert_eq!(told["phase"], "bridged");
        assert_eq!(told["tracks"], json!(["inbound", "outbound"]));
        assert_eq!(
            told["sequenceNumber"], "1",
            "a message that was not sent took a number"
        );
    }
}
