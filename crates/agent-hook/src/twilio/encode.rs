//! Messages to the agent.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use call_control::transfer::{Checkpoint, InputContext};
use serde_json::Value;

use super::Identity;
use crate::agent::{Phase, Track, TransferOutcome};
use crate::facts::CallFacts;
use crate::link::{FRAME, Features, ToAgent};
use crate::wire::{self, GatewayMessage, TrackName};

/// How much audio may be queued for the caller before the newest is dropped.
const MAX_QUEUE_MS: u32 = 600_000;

/// How much is gathered at the start of a talk-spurt.
const PREBUFFER_MS: u32 = 60;

/// Room for about 40 media messages; reused when the socket has taken them.
const BUFFER: usize = 16 * 1024;

/// More than a media message is long.
const MESSAGE: usize = 512;

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

/// What kind of stream a `start` opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind<'a> {
    /// The conversation: the agent hears the caller and speaks.
    Conversation,
    /// Both parties of a bridged call, to listen to; the parent is the conversation's streamSid.
    Bridged {
        /// The stream that the agent had before.
        parent: &'a str,
    },
}

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
        bytes_of(&GatewayMessage::Connected(wire::Connected::default()))
    }

    /// `start`, the second message, with two of the three copies of the inputContext (the third
    /// travels in a webhook).
    pub(super) fn start(
        &mut self,
        facts: &CallFacts,
        parameters: &[(String, String)],
        kind: StreamKind<'_>,
    ) -> Bytes {
        let sequence_number = self.number();
        let Identity {
            stream_sid,
            call_sid,
            account_sid,
        } = self.identity.clone();
        let mut custom_parameters = custom_parameters(facts);
        for (name, value) in parameters {
            custom_parameters.insert(free_name(name), value.clone());
        }
        let mut tracks = vec![TrackName::Inbound];
        if let StreamKind::Bridged { parent } = kind {
            tracks.push(TrackName::Outbound);
            custom_parameters.insert("parentStreamSid".to_owned(), parent.to_owned());
            custom_parameters.insert("phase".to_owned(), "bridged".to_owned());
        }
        let start = wire::StartBody {
            account_sid,
            call_sid,
            stream_sid: stream_sid.clone(),
            tracks,
            media_format: wire::MediaFormat::default(),
            custom_parameters,
        };
        bytes_of(&GatewayMessage::Start(wire::Start {
            sequence_number,
            start,
            hook: Some(hook_info(facts)),
            stream_sid,
        }))
    }

    /// One message of the call; `None` when the agent has not opted in to it.
    pub(super) fn message(&mut self, message: ToAgent, hello: Option<Features>) -> Option<Bytes> {
        let message = match message {
            ToAgent::Media {
                track,
                timestamp_ms,
                frame,
                ..
            } => return Some(self.media(track, timestamp_ms, &frame)),
            ToAgent::Dtmf { digit } => self.dtmf(digit),
            ToAgent::Mark {
                name,
                played,
                sample,
            } => self.mark(name, played, sample),
            ToAgent::Stop => self.stop(),
            ToAgent::Phase { phase, method } => {
                GatewayMessage::Phase(phase_said(phase, method, hello?))
            }
            ToAgent::TransferResult { outcome, code } => {
                hello?;
                let status = transfer_status(outcome);
                GatewayMessage::TransferResult(wire::TransferResult { status, code })
            }
            ToAgent::Completed {
                id,
                accepted,
                error,
            } => GatewayMessage::Completed(wire::Completed {
                id,
                accepted,
                error,
            }),
            ToAgent::Flow { hold, queued_ms } => flow(hold, queued_ms, hello?)?,
            ToAgent::Error { code, message } => {
                hello?;
                GatewayMessage::Error(wire::ErrorSaid {
                    code: code.to_owned(),
                    message: message.to_owned(),
                })
            }
            ToAgent::Welcome(features) => GatewayMessage::Welcome(wire::Welcome {
                version: wire::HOOK_VERSION.to_owned(),
                features: features.list(),
            }),
        };
        Some(self.numbered(&message))
    }

    /// 20 ms of audio. Chunk n has the timestamp 20·(n−1).
    fn media(&mut self, track: Track, timestamp_ms: u64, frame: &[u8; FRAME]) -> Bytes {
        let sequence = self.next();
        let buffer = &mut self.buffer;
        if buffer.capacity() < MESSAGE {
            buffer.reserve(BUFFER);
        }
        buffer.put_slice(br#"{"event":"media","sequenceNumber":""#);
        put_decimal(buffer, sequence);
        buffer.put_slice(match track {
            Track::Inbound => br#"","media":{"track":"inbound","chunk":""#,
            Track::Outbound => br#"","media":{"track":"outbound","chunk":""#,
        });
        put_decimal(buffer, timestamp_ms / 20 + 1);
        buffer.put_slice(br#"","timestamp":""#);
        put_decimal(buffer, timestamp_ms);
        buffer.put_slice(br#"","payload":""#);
        let payload = buffer.len();
        buffer.resize(payload + FRAME_BASE64, 0);
        // the slice is as long as the text, so this cannot fail
        let _ = STANDARD.encode_slice(frame, &mut buffer[payload..]);
        buffer.put_slice(br#""},"streamSid":""#);
        buffer.put_slice(self.identity.stream_sid.as_bytes());
        buffer.put_slice(br#""}"#);
        buffer.split().freeze()
    }

    fn dtmf(&mut self, digit: char) -> GatewayMessage {
        GatewayMessage::Dtmf(wire::GatewayDtmf {
            sequence_number: self.number(),
            dtmf: wire::DtmfBody {
                track: "inbound_track".to_owned(),
                digit: digit.to_string(),
            },
            stream_sid: self.identity.stream_sid.clone(),
        })
    }

    fn mark(&mut self, name: String, played: bool, sample: u64) -> GatewayMessage {
        GatewayMessage::Mark(wire::GatewayMark {
            sequence_number: self.number(),
            mark: wire::MarkBody {
                name,
                played: Some(played),
                sample: Some(sample),
            },
            stream_sid: self.identity.stream_sid.clone(),
        })
    }

    /// `stop`, the last message.
    fn stop(&mut self) -> GatewayMessage {
        let Identity {
            stream_sid,
            call_sid,
            account_sid,
        } = self.identity.clone();
        GatewayMessage::Stop(wire::Stop {
            sequence_number: self.number(),
            stop: wire::StopBody {
                account_sid,
                call_sid,
            },
            stream_sid,
        })
    }

    /// The message as text; `hook.*` messages get their number and stream here, as all others have
    /// theirs already.
    fn numbered(&mut self, message: &GatewayMessage) -> Bytes {
        let text = message.to_json();
        if !message.event().starts_with("hook.") {
            return text.into();
        }
        let sequence = self.next();
        let mut text = text;
        // the closing brace
        text.pop();
        text.push_str(&format!(
            r#","sequenceNumber":"{sequence}","streamSid":"{}"}}"#,
            self.identity.stream_sid
        ));
        text.into()
    }

    fn number(&mut self) -> String {
        self.next().to_string()
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

fn bytes_of(message: &GatewayMessage) -> Bytes {
    message.to_json().into()
}

/// Writes a number in decimal, without allocating.
fn put_decimal(buffer: &mut BytesMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    buffer.put_slice(&digits[at..]);
}

/// Strings only, as Twilio has it: the scalar variables under their own names, and the whole
/// inputContext as JSON text.
pub(crate) fn custom_parameters(facts: &CallFacts) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for (name, value) in facts.input.input_variables.iter().flatten() {
        if let Some(text) = scalar(value) {
            parameters.insert(free_name(name), text);
        }
    }
    let mut put = |name: &str, value: String| parameters.insert(name.to_owned(), value);
    if let Some(task) = &facts.input.task_name {
        put("taskName", task.clone());
    }
    let context = serde_json::to_string(&input_context(&facts.input));
    put("inputContext", context.unwrap_or_default());
    put("from_number", facts.from.clone());
    put("to_number", facts.to.clone());
    put("sipCallId", facts.sip_call_id.clone());
    put("hookVersion", "1".to_owned());
    put("hookToken", facts.token.expose().to_owned());
    put("resume", if facts.resume { "1" } else { "0" }.to_owned());
    parameters
}

/// A name that takes no fixed parameter's place.
fn free_name(name: &str) -> String {
    if FIXED.contains(&name) {
        format!("var_{name}")
    } else {
        name.to_owned()
    }
}

/// The typed copy for agents that know this gateway.
fn hook_info(facts: &CallFacts) -> wire::HookInfo {
    wire::HookInfo {
        version: wire::HOOK_VERSION.to_owned(),
        features: Features::ALL.list(),
        input_context: input_context(&facts.input),
        call: wire::HookCall {
            from: facts.from.clone(),
            to: facts.to.clone(),
            sip_call_id: facts.sip_call_id.clone(),
            referred_by: facts.referred_by.clone(),
            transfer_id: facts.transfer.as_str().to_owned(),
            external_conversation_id: facts.conversation.clone(),
            headers: facts.headers.clone(),
            bodies: facts.bodies.clone(),
        },
        limits: wire::HookLimits {
            max_queue_ms: MAX_QUEUE_MS,
            prebuffer_ms: PREBUFFER_MS,
        },
        update: facts.checkpoint.as_ref().map(checkpoint),
        earlier: facts.earlier.clone(),
    }
}

fn input_context(input: &InputContext) -> wire::InputContext {
    wire::InputContext {
        task_name: input.task_name.clone(),
        input_variables: input.input_variables.clone().unwrap_or_default(),
    }
}

fn checkpoint(checkpoint: &Checkpoint) -> wire::Checkpoint {
    wire::Checkpoint {
        current_task_name: checkpoint.current_task_name.clone(),
        reference_variables: checkpoint.reference_variables.clone(),
        transfer_variables: checkpoint.transfer_variables.clone(),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn phase_said(phase: Phase, method: Option<&str>, features: Features) -> wire::PhaseSaid {
    let mut tracks = vec![TrackName::Inbound];
    if features.tracks && phase == Phase::Bridged {
        tracks.push(TrackName::Outbound);
    }
    wire::PhaseSaid {
        phase: match phase {
            Phase::Agent => wire::PhaseName::Agent,
            Phase::HandingBack => wire::PhaseName::HandingBack,
            Phase::Bridged => wire::PhaseName::Bridged,
            Phase::Ended => wire::PhaseName::Ended,
        },
        method: method.map(str::to_owned),
        tracks,
    }
}

fn flow(hold: bool, queued_ms: u64, features: Features) -> Option<GatewayMessage> {
    let state = if hold {
        wire::FlowState::Xoff
    } else {
        wire::FlowState::Xon
    };
    features
        .flow
        .then_some(GatewayMessage::Flow(wire::Flow { state, queued_ms }))
}

const fn transfer_status(outcome: TransferOutcome) -> wire::TransferStatus {
    match outcome {
        TransferOutcome::Trying => wire::TransferStatus::Trying,
        TransferOutcome::Answered => wire::TransferStatus::Answered,
        TransferOutcome::Failed => wire::TransferStatus::Failed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let _start = encoder.start(&facts(), &[], StreamKind::Conversation);
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
            let typed = GatewayMessage::parse(&message.to_string()).unwrap();
            assert_eq!(typed.event(), "media");
        }
    }

    #[test]
    fn stream_of_a_bridged_call_names_its_parent_and_both_tracks() {
        let parent = StreamKind::Bridged { parent: "MZ0" };
        let message = parsed(&encoder().start(&facts(), &[], parent));
        assert_eq!(message["start"]["tracks"], json!(["inbound", "outbound"]));
        let parameters = &message["start"]["customParameters"];
        assert_eq!(parameters["parentStreamSid"], "MZ0");
        assert_eq!(parameters["phase"], "bridged");
    }

    #[test]
    fn everything_that_is_written_is_a_message_of_the_wire() {
        let mut encoder = encoder();
        let messages = [
            ToAgent::Dtmf { digit: '#' },
            ToAgent::Mark {
                name: "a\"b".to_owned(),
                played: false,
                sample: 7,
            },
            ToAgent::Phase {
                phase: Phase::HandingBack,
                method: None,
            },
            ToAgent::TransferResult {
                outcome: TransferOutcome::Failed,
                code: Some(486),
            },
            ToAgent::Completed {
                id: None,
                accepted: true,
                error: None,
            },
            ToAgent::Flow {
                hold: true,
                queued_ms: 30_000,
            },
            ToAgent::Error {
                code: "bad_fields",
                message: "no",
            },
            ToAgent::Welcome(Features::ALL),
            ToAgent::Stop,
        ];
        for (n, message) in messages.into_iter().enumerate() {
            let text = encoder.message(message, Some(Features::ALL)).unwrap();
            let text = std::str::from_utf8(&text).unwrap();
            GatewayMessage::parse(text).unwrap();
            assert_eq!(
                parsed(text.as_bytes())["sequenceNumber"],
                (n + 1).to_string()
            );
        }
    }

    #[test]
    fn flow_is_told_only_to_agents_that_asked_for_it() {
        let flow = || ToAgent::Flow {
            hold: true,
            queued_ms: 30_000,
        };
        let plain = Features::default();
        assert_eq!(encoder().message(flow(), Some(plain)), None);
        assert!(encoder().message(flow(), Some(Features::ALL)).is_some());
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
        let message = parsed(&encoder().start(&facts, &[], StreamKind::Conversation));
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
