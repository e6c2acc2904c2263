//! One call at the far end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use call_control::transfer::{Checkpoint, InputContext};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use timebase::{Clock, Now};
use tokio::net::TcpStream;
use tokio::time::sleep_until;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::agent::{
    Agent, AgentEvent, AgentInput, AgentOutput, Phase, Track, TransferOutcome, When,
};
use crate::audiohook::SessionLog;
use crate::builtin::Builtin;
use crate::facts::{CallFacts, HookToken};
use crate::wire::{
    self, AgentMark, AgentMedia, AgentMessage, Clear, Complete, Feature, FlowState, GatewayMessage,
    Hello, MarkName, MediaPayload, PhaseName, SendDtmf, Start, TrackName, Transcript,
    TransferStatus, TransferTo,
};

/// Bytes of audio in one message: two seconds.
const CHUNK: usize = 16_000;

/// A call that has started.
pub(super) struct Conversation {
    socket: WebSocketStream<TcpStream>,
    agent: Box<dyn Agent>,
    stream_sid: String,
    clock: Clock,
}

/// What a message comes to.
enum Heard {
    Nothing,
    Input(AgentInput<'static>),
    Media(Track, u64, Vec<u8>),
    Over,
}

impl Conversation {
    /// Reads `connected` and `start`, says hello to a gateway that has a `hook` object, and starts the agent.
    pub(super) async fn open(
        mut socket: WebSocketStream<TcpStream>,
        agent: &Builtin,
    ) -> Result<Self, String> {
        let start = loop {
            match next_text(&mut socket).await? {
                None => return Err("closed before start".to_owned()),
                Some(text) => match GatewayMessage::parse(&text) {
                    Ok(GatewayMessage::Connected(_)) => {}
                    Ok(GatewayMessage::Start(start)) => break start,
                    Ok(other) => return Err(format!("{} before start", other.event())),
                    Err(error) => return Err(error.to_string()),
                },
            }
        };
        let facts = facts(&start);
        tracing::info!(
            call_sid = start.start.call_sid,
            resume = facts.resume,
            "call started"
        );
        let agent = agent.start(&facts)?;
        let mut conversation = Self {
            socket,
            agent,
            stream_sid: start.stream_sid,
            clock: Clock::start(),
        };
        if start.hook.is_some() {
            let name = concat!("handback agent ", env!("CARGO_PKG_VERSION"));
            let hello = Hello::new(name, &[Feature::Tracks, Feature::Flow, Feature::Marks2]);
            conversation.say(&AgentMessage::Hello(hello)).await?;
        }
        Ok(conversation)
    }

    /// Carries messages to the agent and back until the call is over.
    pub(super) async fn run(mut self) -> Result<(), String> {
        loop {
            self.speak().await?;
            let due = self
                .agent
                .poll_timeout()
                .map(|due| self.clock.instant(due.max(Now::ZERO)));
            tokio::select! {
                text = next_text(&mut self.socket) => match text? {
                    None => break,
                    Some(text) => match self.hear(&text) {
                        Heard::Over => break,
                        Heard::Nothing => {}
                        Heard::Input(input) => self.agent.handle_input(self.clock.now(), input),
                        Heard::Media(track, timestamp_ms, audio) => {
                            for (n, frame) in audio.chunks(160).enumerate() {
                                let timestamp_ms = timestamp_ms + n as u64 * 20;
                                let heard = AgentInput::Heard { track, timestamp_ms, frame };
                                self.agent.handle_input(self.clock.now(), heard);
                            }
                        }
                    },
                },
                () = wait(due) => self.agent.handle_timeout(self.clock.now()),
            }
        }
        self.agent.handle_input(self.clock.now(), AgentInput::Stop);
        tracing::info!(stream_sid = self.stream_sid, "call over");
        // the gateway may be gone already
        let _ = self.socket.close(None).await;
        Ok(())
    }

    fn hear(&self, text: &str) -> Heard {
        match GatewayMessage::parse(text) {
            Ok(message) => heard(message),
            Err(error) => {
                tracing::warn!(%error, "message not understood");
                Heard::Nothing
            }
        }
    }

    async fn speak(&mut self) -> Result<(), String> {
        while let Some(output) = self.agent.poll_output() {
            let sid = || Some(self.stream_sid.clone());
            match output {
                AgentOutput::Audio(audio) => self.say_audio(audio).await?,
                AgentOutput::Mark(name) => {
                    let (stream_sid, mark) = (sid(), MarkName { name });
                    self.say(&AgentMessage::Mark(AgentMark { stream_sid, mark }))
                        .await?;
                }
                AgentOutput::Clear => {
                    let stream_sid = sid();
                    self.say(&AgentMessage::Clear(Clear { stream_sid })).await?;
                }
                AgentOutput::Event(event) => {
                    if let Some(message) = message(event) {
                        self.say(&message).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn say_audio(&mut self, audio: Bytes) -> Result<(), String> {
        for chunk in audio.chunks(CHUNK) {
            let media = MediaPayload {
                payload: STANDARD.encode(chunk),
            };
            let stream_sid = Some(self.stream_sid.clone());
            self.say(&AgentMessage::Media(AgentMedia { stream_sid, media }))
                .await?;
        }
        Ok(())
    }

    async fn say(&mut self, message: &AgentMessage) -> Result<(), String> {
        let text = Message::text(message.to_json());
        self.socket
            .send(text)
            .await
            .map_err(|error| error.to_string())
    }
}

async fn wait(due: Option<std::time::Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// The next text message; none when the gateway closed.
async fn next_text(socket: &mut WebSocketStream<TcpStream>) -> Result<Option<String>, String> {
    loop {
        match socket.next().await {
            None | Some(Ok(Message::Close(_))) => return Ok(None),
            Some(Ok(Message::Text(text))) => return Ok(Some(text.to_string())),
            Some(Ok(Message::Binary(_))) => return Err("a binary message".to_owned()),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => return Err(error.to_string()),
        }
    }
}

fn heard(message: GatewayMessage) -> Heard {
    Heard::Input(match message {
        GatewayMessage::Media(media) => {
            let Ok(audio) = STANDARD.decode(&media.media.payload) else {
                return Heard::Nothing;
            };
            let timestamp = media.media.timestamp.parse().unwrap_or_default();
            return Heard::Media(track(media.media.track), timestamp, audio);
        }
        GatewayMessage::Stop(_) => return Heard::Over,
        GatewayMessage::Dtmf(dtmf) => match dtmf.dtmf.digit.chars().next() {
            Some(digit) => AgentInput::Dtmf { digit },
            None => return Heard::Nothing,
        },
        GatewayMessage::Mark(mark) => AgentInput::MarkPlayed {
            name: mark.mark.name,
            played: mark.mark.played.unwrap_or(true),
            sample: mark.mark.sample.unwrap_or_default(),
        },
        GatewayMessage::Phase(said) => AgentInput::Phase {
            phase: phase(said.phase),
            method: match said.method.as_deref() {
                Some("BYE") => Some("BYE"),
                Some("REFER") => Some("REFER"),
                Some("INVITE") => Some("INVITE"),
                Some(_) | None => None,
            },
        },
        GatewayMessage::TransferResult(result) => AgentInput::TransferResult {
            outcome: outcome(result.status),
            code: result.code,
        },
        GatewayMessage::Completed(completed) => AgentInput::Completed {
            id: completed.id,
            accepted: completed.accepted,
            error: completed.error,
        },
        GatewayMessage::Flow(flow) => AgentInput::Flow {
            hold: flow.state == FlowState::Xoff,
            queued_ms: flow.queued_ms,
        },
        GatewayMessage::Error(error) => {
            tracing::warn!(
                error.code,
                error.message,
                "the gateway could not use a message"
            );
            return Heard::Nothing;
        }
        GatewayMessage::Connected(_) | GatewayMessage::Start(_) | GatewayMessage::Welcome(_) => {
            return Heard::Nothing;
        }
    })
}

/// What an event is on the wire; a closed agent has nothing to say.
fn message(event: AgentEvent) -> Option<AgentMessage> {
    Some(match event {
        AgentEvent::Update(checkpoint) => AgentMessage::Update(wire::Checkpoint {
            current_task_name: checkpoint.current_task_name,
            reference_variables: checkpoint.reference_variables,
            transfer_variables: checkpoint.transfer_variables,
        }),
        AgentEvent::Complete { id, output, when } => {
            let output = output.ok()?;
            AgentMessage::Complete(Complete {
                id,
                output_context: wire::OutputContext {
                    transfer_type: match output.transfer_type {
                        call_control::transfer::TransferType::Agent => TransferTo::Agent,
                        call_control::transfer::TransferType::System => TransferTo::System,
                    },
                    current_task_name: output.current_task_name,
                    reference_variables: output.reference_variables,
                    transfer_variables: output.transfer_variables,
                },
                when: match when {
                    When::Drained => wire::When::Drained,
                    When::Now => wire::When::Now,
                },
            })
        }
        AgentEvent::SendDtmf {
            digits,
            duration_ms,
        } => AgentMessage::SendDtmf(SendDtmf {
            digits,
            duration_ms: Some(duration_ms),
        }),
        AgentEvent::Transcript {
            utterance,
            track,
            is_final,
            text,
            start_ms,
            end_ms,
        } => AgentMessage::Transcript(Transcript {
            utterance,
            track: match track {
                Track::Inbound => TrackName::Inbound,
                Track::Outbound => TrackName::Outbound,
            },
            is_final,
            text,
            start_ms,
            end_ms,
        }),
        AgentEvent::Hello { .. } | AgentEvent::Closed { .. } | AgentEvent::Stalled => return None,
    })
}

fn phase(name: PhaseName) -> Phase {
    match name {
        PhaseName::Agent => Phase::Agent,
        PhaseName::HandingBack => Phase::HandingBack,
        PhaseName::Bridged => Phase::Bridged,
        PhaseName::Ended => Phase::Ended,
    }
}

fn outcome(status: TransferStatus) -> TransferOutcome {
    match status {
        TransferStatus::Trying => TransferOutcome::Trying,
        TransferStatus::Answered => TransferOutcome::Answered,
        TransferStatus::Failed => TransferOutcome::Failed,
    }
}

fn track(name: TrackName) -> Track {
    match name {
        TrackName::Inbound => Track::Inbound,
        TrackName::Outbound => Track::Outbound,
    }
}

/// What `start` says of the call: its `hook` object, or the custom parameters of a gateway that has none.
fn facts(start: &Start) -> CallFacts {
    let parameter = |name: &str| start.start.custom_parameters.get(name).cloned();
    let hook = start.hook.as_ref();
    let call = hook.map(|hook| hook.call.clone()).unwrap_or_default();
    let input = match hook {
        Some(hook) => InputContext {
            task_name: hook.input_context.task_name.clone(),
            input_variables: Some(hook.input_context.input_variables.clone()),
        },
        None => parameter("inputContext")
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_else(|| InputContext {
                task_name: parameter("taskName"),
                input_variables: Some(
                    start
                        .start
                        .custom_parameters
                        .iter()
                        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
                        .collect(),
                ),
            }),
    };
    let update = hook.and_then(|hook| hook.update.clone());
    CallFacts {
        call: start.start.call_sid.clone(),
        account: start.start.account_sid.as_str().into(),
        transfer: call.transfer_id.as_str().into(),
        conversation: call.external_conversation_id,
        from: call.from,
        to: call.to,
        sip_call_id: call.sip_call_id,
        referred_by: call.referred_by,
        input,
        token: HookToken::random(),
        resume: parameter("resume").as_deref() == Some("1"),
        checkpoint: update.map(|update| Checkpoint {
            current_task_name: update.current_task_name,
            reference_variables: update.reference_variables,
            transfer_variables: update.transfer_variables,
        }),
        earlier: hook.map(|hook| hook.earlier.clone()).unwrap_or_default(),
        headers: call.headers,
        bodies: call.bodies,
        sessions: SessionLog::default(),
    }
}
