//! One AudioHook session.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue};

use super::sign::{Terms, sign};
use super::words::{derived_uuid, duration, events, interleaved, millis, reason};
use super::{AudioHookConfig, Continued, context};
use crate::agent::{AgentOutput, Phase, Track};
use crate::dial::Opening;
use crate::facts::CallFacts;
use crate::link::{FRAME, Heard, Ignored, ToAgent, Wire};
use crate::transport::{Stream, Url};
use crate::twilio::{StreamKind, custom_parameters};

/// How long the handshake's signature is good for.
const SIGNATURE_LIFE_SECS: i64 = 10;

/// A pause of the agent after which what it played is taken to be all: as long as the play-out
/// waits for more at the start of a talk-spurt.
const ALL_AFTER: Duration = Duration::from_millis(100);

/// The name of our own mark behind what the agent played last.
const PLAYED: &str = "audiohook:played";

/// µ-law for no sound.
const QUIET: u8 = 0xff;

/// A session, from its `open` to its `closed`.
#[derive(Debug)]
pub(crate) struct AudioHookWire {
    config: AudioHookConfig,
    facts: CallFacts,
    id: String,
    seq: u64,
    serverseq: u64,
    /// Samples sent, of one channel.
    samples: u64,
    /// The session takes both channels.
    stereo: bool,
    /// The other party is heard: the call is bridged.
    bridged: bool,
    /// What the agent plays reaches nobody.
    listens: bool,
    /// The caller's frame of this slot, while the other party's may come.
    waiting: Option<[u8; FRAME]>,
    /// Since which sample nothing is sent, by the agent's wish.
    paused_at: Option<u64>,
    /// Samples at the beginning that the agent does not want.
    discard_to: u64,
    playback: Playback,
    /// Marks of ours that stand in the play-out queue.
    marks: u32,
    pinged: Option<Instant>,
    round_trip_ms: Option<u128>,
    closing: bool,
}

/// What the agent plays, as it is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Playback {
    Idle,
    /// Audio came; a mark behind it follows when no more does.
    Playing {
        last: Instant,
    },
    /// A mark stands behind the last audio.
    Marked,
}

/// A message of the agent.
#[derive(Debug, Deserialize)]
struct ServerMessage {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    parameters: Map<String, Value>,
}

impl AudioHookWire {
    pub(crate) fn new(config: &AudioHookConfig, opening: Opening<'_>) -> Self {
        let listens = opening.kind != StreamKind::Conversation;
        Self {
            config: config.clone(),
            facts: opening.facts.clone(),
            id: uuid::Uuid::new_v4().to_string(),
            seq: 0,
            serverseq: 0,
            samples: 0,
            stereo: false,
            bridged: listens,
            listens,
            waiting: None,
            paused_at: None,
            discard_to: 0,
            playback: Playback::Idle,
            marks: 0,
            pinged: None,
            round_trip_ms: None,
            closing: false,
        }
    }

    /// The headers of the handshake, signed when there is a secret.
    pub(crate) fn headers(&self, url: &Url) -> Result<HeaderMap, String> {
        let organization = self.organization();
        let correlation = derived_uuid("correlation", &self.facts.call);
        let components = [
            ("@request-target", url.target()),
            ("@authority", url.authority()),
            ("audiohook-organization-id", organization.as_str()),
            ("audiohook-session-id", self.id.as_str()),
            ("audiohook-correlation-id", correlation.as_str()),
            ("x-api-key", self.config.api_key.as_str()),
        ];
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| format!("{name} would hold what no header may"))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
            Ok::<(), String>(())
        };
        put("audiohook-organization-id", &organization)?;
        put("audiohook-session-id", &self.id)?;
        put("audiohook-correlation-id", &correlation)?;
        put("x-api-key", &self.config.api_key)?;
        if let Some(secret) = &self.config.client_secret {
            let created = timebase::wall_now().0 / 1000;
            let nonce = format!("{:032x}", rand::random::<u128>());
            let terms = Terms {
                key_id: &self.config.api_key,
                nonce: &nonce,
                created,
                expires: created + SIGNATURE_LIFE_SECS,
            };
            let (input, signature) = sign(secret, &components, terms);
            put("signature-input", &input)?;
            put("signature", &signature)?;
        }
        Ok(headers)
    }

    fn organization(&self) -> String {
        if self.config.organization.is_empty() {
            derived_uuid("organization", self.facts.account.as_str())
        } else {
            self.config.organization.clone()
        }
    }

    /// `open`, the first message.
    pub(crate) fn open_message(&mut self) -> Message {
        let facts = &self.facts;
        let channels = |names: &[&str]| json!({ "type": "audio", "format": "PCMU", "channels": names, "rate": 8000 });
        let mut media = vec![channels(&["external"])];
        if self.config.stereo || self.listens {
            media.insert(0, channels(&["external", "internal"]));
        }
        let conversation = match uuid::Uuid::parse_str(&facts.conversation) {
            Ok(uuid) => uuid.to_string(),
            Err(_) => derived_uuid("conversation", &facts.conversation),
        };
        let mut variables = custom_parameters(facts);
        if let Some(checkpoint) = &facts.checkpoint {
            let text = serde_json::to_string(checkpoint).unwrap_or_default();
            variables.insert("checkpoint".to_owned(), text);
        }
        let mut parameters = json!({
            "organizationId": self.organization(),
            "conversationId": conversation,
            "participant": {
                "id": derived_uuid("participant", facts.transfer.as_str()),
                "ani": facts.from,
                "aniName": "",
                "dnis": facts.to,
            },
            "media": media,
            "inputVariables": variables,
        });
        let continued = facts.sessions.all();
        if !continued.is_empty() {
            parameters["continuedSessions"] = json!(continued);
        }
        if !self.config.language.is_empty() {
            parameters["language"] = json!(self.config.language);
        }
        self.message("open", parameters)
    }

    /// Waits for `opened`; the error says why it did not come.
    pub(crate) async fn await_opened(
        &mut self,
        socket: &mut WebSocketStream<Stream>,
    ) -> Result<(), String> {
        while let Some(message) = socket.next().await {
            let message = message.map_err(|error| error.to_string())?;
            let Message::Text(text) = message else {
                continue;
            };
            let Ok(message) = serde_json::from_str::<ServerMessage>(text.as_str()) else {
                continue;
            };
            self.serverseq = message.seq;
            match message.kind.as_str() {
                "opened" => return self.opened(&message.parameters),
                "disconnect" | "closed" => return Err(reason(&message.parameters)),
                _ => {}
            }
        }
        Err("closed before it was opened".to_owned())
    }

    fn opened(&mut self, parameters: &Map<String, Value>) -> Result<(), String> {
        let chosen = parameters.get("media").and_then(Value::as_array);
        let chosen = chosen.and_then(|media| media.first());
        let Some(media) = chosen else {
            return Err("opened without any of the media offered".to_owned());
        };
        if media.get("format").and_then(Value::as_str) != Some("PCMU") {
            return Err("opened with media that were not offered".to_owned());
        }
        let channels = media.get("channels").and_then(Value::as_array);
        self.stereo = channels.is_some_and(|channels| channels.len() == 2);
        let paused = parameters.get("startPaused").and_then(Value::as_bool);
        self.paused_at = (paused == Some(true)).then_some(0);
        let discard = parameters.get("discardTo").and_then(Value::as_str);
        self.discard_to = discard.and_then(millis).map_or(0, |ms| ms * 8);
        Ok(())
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for the call")]
    fn message(&mut self, kind: &str, parameters: Value) -> Message {
        self.seq += 1;
        let message = json!({
            "version": "2",
            "id": self.id,
            "type": kind,
            "seq": self.seq,
            "serverseq": self.serverseq,
            "position": duration(self.samples),
            "parameters": parameters,
        });
        Message::text(message.to_string())
    }

    fn media(&mut self, track: Track, frame: &[u8; FRAME]) -> Option<Message> {
        if !self.stereo {
            return match track {
                Track::Inbound => self.audio(Bytes::copy_from_slice(frame)),
                Track::Outbound => None,
            };
        }
        match track {
            Track::Inbound if self.bridged => {
                let before = self.waiting.replace(*frame)?;
                self.audio(interleaved(&before, &[QUIET; FRAME]))
            }
            Track::Inbound => self.audio(interleaved(frame, &[QUIET; FRAME])),
            Track::Outbound => {
                let external = self.waiting.take().unwrap_or([QUIET; FRAME]);
                self.audio(interleaved(&external, frame))
            }
        }
    }

    /// One frame further on the session's timeline; nothing is sent while paused. What the agent
    /// did not want of the beginning is told when it is over.
    fn audio(&mut self, audio: Bytes) -> Option<Message> {
        self.samples += FRAME as u64;
        if self.paused_at.is_some() {
            return None;
        }
        if self.discard_to == 0 {
            return Some(Message::Binary(audio));
        }
        if self.samples < self.discard_to {
            return None;
        }
        self.discard_to = 0;
        Some(self.discarded(0))
    }

    fn discarded(&mut self, start: u64) -> Message {
        let discarded = duration(self.samples.saturating_sub(start));
        let told = json!({ "start": duration(start), "discarded": discarded });
        self.message("discarded", told)
    }

    fn heard_audio(&mut self, audio: Bytes) -> Heard {
        if self.listens || audio.is_empty() {
            return Heard::Nothing;
        }
        let begins = self.playback == Playback::Idle;
        self.playback = Playback::Playing {
            last: Instant::now(),
        };
        if begins {
            let started = self.message("playback_started", json!({}));
            Heard::Reply(vec![started], vec![AgentOutput::Audio(audio)])
        } else {
            Heard::Output(AgentOutput::Audio(audio))
        }
    }

    fn heard_text(&mut self, text: &str) -> Heard {
        let message: ServerMessage = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(_) => return Heard::Ignored(Ignored::BadJson),
        };
        self.serverseq = self.serverseq.max(message.seq);
        let parameters = message.parameters;
        match message.kind.as_str() {
            "pong" => {
                let asked = self.pinged.take();
                self.round_trip_ms = asked.map(|at| at.elapsed().as_millis());
                Heard::Pong
            }
            "event" => Heard::Outputs(events(&parameters)),
            "pause" => self.pause(),
            "resume" => self.resume(),
            "reconnect" => self.ended("reconnect", false, &parameters, Map::new()),
            "disconnect" => self.disconnected(parameters),
            "closed" => self.closed(parameters),
            "opened" | "updated" => Heard::Nothing,
            _ => Heard::Ignored(Ignored::UnknownEvent),
        }
    }

    fn pause(&mut self) -> Heard {
        self.paused_at.get_or_insert(self.samples);
        Heard::Reply(vec![self.message("paused", json!({}))], Vec::new())
    }

    fn resume(&mut self) -> Heard {
        let mut replies = vec![self.message("resumed", json!({}))];
        if let Some(start) = self.paused_at.take() {
            self.discard_to = 0;
            replies.push(self.discarded(start));
        }
        Heard::Reply(replies, Vec::new())
    }

    fn disconnected(&mut self, mut parameters: Map<String, Value>) -> Heard {
        let variables = match parameters.remove("outputVariables") {
            Some(Value::Object(variables)) => variables,
            Some(_) | None => Map::new(),
        };
        let completed = parameters.get("reason").and_then(Value::as_str) == Some("completed");
        self.ended("disconnect", completed, &parameters, variables)
    }

    fn closed(&mut self, mut parameters: Map<String, Value>) -> Heard {
        let variables = match parameters.remove("outputVariables") {
            Some(Value::Object(variables)) => variables,
            Some(_) | None => Map::new(),
        };
        Heard::Ended {
            reply: None,
            outputs: context::outputs(variables),
            clean: true,
            reason: reason(&parameters),
        }
    }

    fn ended(
        &mut self,
        why: &str,
        clean: bool,
        parameters: &Map<String, Value>,
        variables: Map<String, Value>,
    ) -> Heard {
        self.closing = true;
        Heard::Ended {
            reply: Some(self.message("close", json!({ "reason": why }))),
            outputs: context::outputs(variables),
            clean,
            reason: format!("{why}: {}", reason(parameters)),
        }
    }
}

impl Wire for AudioHookWire {
    fn stream(&self) -> &str {
        &self.id
    }

    fn encode(&mut self, message: ToAgent) -> Option<Message> {
        match message {
            ToAgent::Media { track, frame, .. } => self.media(track, &frame),
            ToAgent::Dtmf { digit } => {
                Some(self.message("dtmf", json!({ "digit": digit.to_string() })))
            }
            ToAgent::Mark { name, .. } if name == PLAYED => {
                self.marks = self.marks.saturating_sub(1);
                if self.playback != Playback::Marked || self.marks > 0 {
                    return None;
                }
                self.playback = Playback::Idle;
                Some(self.message("playback_completed", json!({})))
            }
            ToAgent::Phase { phase, .. } => {
                self.bridged = self.listens || phase == Phase::Bridged;
                None
            }
            ToAgent::Stop if self.closing => None,
            ToAgent::Stop => {
                self.closing = true;
                Some(self.message("close", json!({ "reason": "end" })))
            }
            ToAgent::Error { code, message } => {
                let code = error_code(code);
                Some(self.message("error", json!({ "code": code, "message": message })))
            }
            ToAgent::Mark { .. }
            | ToAgent::TransferResult { .. }
            | ToAgent::Completed { .. }
            | ToAgent::Flow { .. }
            | ToAgent::Welcome(_) => None,
        }
    }

    fn decode(&mut self, message: Message) -> Heard {
        match message {
            Message::Binary(audio) => self.heard_audio(audio),
            Message::Text(text) => self.heard_text(text.as_str()),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                Heard::Nothing
            }
        }
    }

    fn ping(&mut self) -> Message {
        self.pinged = Some(Instant::now());
        let rtt = self.round_trip_ms.map(|ms| duration(ms as u64 * 8));
        let parameters = rtt.map_or_else(|| json!({}), |rtt| json!({ "rtt": rtt }));
        self.message("ping", parameters)
    }

    fn pong_is_due_before_the_next_ping(&self) -> bool {
        true
    }

    fn look(&mut self) -> Option<AgentOutput> {
        match self.playback {
            Playback::Playing { last } if last.elapsed() >= ALL_AFTER => {
                self.playback = Playback::Marked;
                self.marks += 1;
                Some(AgentOutput::Mark(PLAYED.to_owned()))
            }
            Playback::Playing { .. } | Playback::Marked | Playback::Idle => None,
        }
    }

    fn due(&self) -> Option<Instant> {
        match self.playback {
            Playback::Playing { last } => Some(last + ALL_AFTER),
            Playback::Marked | Playback::Idle => None,
        }
    }

    fn awaits_farewell(&self) -> bool {
        true
    }

    fn tracks_at_start(&self) -> bool {
        self.stereo && !self.listens
    }
}

/// The code of an `error` for a message that was passed over: 405 for a type that does not exist,
/// 400 for all else.
fn error_code(kind: &str) -> u16 {
    if kind == Ignored::UnknownEvent.name() {
        405
    } else {
        400
    }
}

impl Drop for AudioHookWire {
    fn drop(&mut self) {
        self.facts.sessions.add(Continued {
            id: self.id.clone(),
            serverseq: self.serverseq,
            clientseq: self.seq,
        });
    }
}
