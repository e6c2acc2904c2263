//! The far sides: servers that speak a wire as an agent does.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::links::PATIENCE;

/// What an agent does, whatever its wire.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Play(Vec<u8>),
    Clear,
    /// A result: an outputContext.
    Complete(Value),
    /// Words of the caller.
    Transcript(&'static str),
    /// It opts in to hear both parties of a bridged call, where its wire wants that to be said.
    Hello,
    /// It ends the call, without a result.
    CloseCleanly,
    /// Its process dies.
    Crash,
}

/// What an agent sees, whatever its wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// 20 ms of the caller, and of the other party where that is heard too.
    Audio(Vec<u8>, Option<Vec<u8>>),
    Key(String),
    /// A completion was answered, where the wire has an answer.
    Answer(bool),
    /// The call is done with the agent.
    Bye,
}

pub(crate) enum Far {
    Twilio(TwilioFar),
    AudioHook(AudioHookFar),
}

impl Far {
    pub(crate) async fn act(&mut self, act: Act) {
        match self {
            Self::Twilio(far) => far.act(act).await,
            Self::AudioHook(far) => far.act(act).await,
        }
    }

    pub(crate) async fn see(&mut self) -> Seen {
        let seen = async {
            match self {
                Self::Twilio(far) => far.see().await,
                Self::AudioHook(far) => far.see().await,
            }
        };
        tokio::time::timeout(PATIENCE, seen)
            .await
            .expect("the agent sees nothing")
    }
}

type Socket = WebSocketStream<TcpStream>;

async fn accept(listener: &TcpListener) -> Socket {
    let (stream, _) = listener.accept().await.unwrap();
    accept_async(stream).await.unwrap()
}

async fn close_cleanly(socket: &mut Socket) {
    let frame = CloseFrame {
        code: 1000.into(),
        reason: "".into(),
    };
    socket.close(Some(frame)).await.unwrap();
}

/// An agent on the Twilio wire.
pub(crate) struct TwilioFar {
    socket: Option<Socket>,
    stream_sid: String,
    /// The caller's frame whose time the other party's may share.
    inbound: Option<(String, Vec<u8>)>,
    both: bool,
}

impl TwilioFar {
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let mut far = Self {
            socket: Some(accept(listener).await),
            stream_sid: String::new(),
            inbound: None,
            both: false,
        };
        assert_eq!(far.next().await.unwrap()["event"], "connected");
        let start = far.next().await.unwrap();
        assert_eq!(start["event"], "start", "something stands between them");
        far.stream_sid = start["streamSid"].as_str().unwrap().to_owned();
        far
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            match self.socket.as_mut()?.next().await?.ok()? {
                Message::Text(text) => return serde_json::from_str(text.as_str()).ok(),
                Message::Close(_) => return None,
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    async fn say(&mut self, message: Value) {
        let socket = self.socket.as_mut().unwrap();
        socket
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    async fn act(&mut self, act: Act) {
        let sid = self.stream_sid.clone();
        match act {
            Act::Play(audio) => {
                let payload = STANDARD.encode(audio);
                let media = json!({ "payload": payload });
                self.say(json!({ "event": "media", "streamSid": sid, "media": media }))
                    .await;
            }
            Act::Clear => {
                self.say(json!({ "event": "clear", "streamSid": sid }))
                    .await
            }
            Act::Complete(context) => {
                self.say(json!({ "event": "hook.complete", "outputContext": context }))
                    .await;
            }
            Act::Transcript(text) => {
                self.say(json!({ "event": "hook.transcript", "text": text }))
                    .await;
            }
            Act::Hello => {
                self.say(json!({ "event": "hook.hello", "features": ["tracks"] }))
                    .await;
                self.both = true;
                assert_eq!(self.next().await.unwrap()["event"], "hook.welcome");
            }
            Act::CloseCleanly => close_cleanly(self.socket.as_mut().unwrap()).await,
            Act::Crash => self.socket = None,
        }
    }

    async fn see(&mut self) -> Seen {
        loop {
            let Some(message) = self.next().await else {
                return Seen::Bye;
            };
            match message["event"].as_str().unwrap() {
                "media" => {
                    let media = &message["media"];
                    let at = media["timestamp"].as_str().unwrap().to_owned();
                    let audio = STANDARD.decode(media["payload"].as_str().unwrap()).unwrap();
                    match (media["track"].as_str().unwrap(), self.both) {
                        ("inbound", false) => return Seen::Audio(audio, None),
                        ("inbound", true) => self.inbound = Some((at, audio)),
                        ("outbound", _) => {
                            let (beside, inbound) = self.inbound.take().unwrap();
                            assert_eq!(at, beside, "the tracks are not aligned");
                            return Seen::Audio(inbound, Some(audio));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                "dtmf" => return Seen::Key(message["dtmf"]["digit"].as_str().unwrap().to_owned()),
                "hook.completed" => return Seen::Answer(message["accepted"].as_bool().unwrap()),
                "stop" => return Seen::Bye,
                _ => {}
            }
        }
    }
}

/// An agent on the AudioHook wire.
pub(crate) struct AudioHookFar {
    socket: Option<Socket>,
    id: String,
    seq: u64,
    clientseq: u64,
    stereo: bool,
    pub(crate) open: Value,
    seen: VecDeque<Seen>,
}

impl AudioHookFar {
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let mut far = Self {
            socket: Some(accept(listener).await),
            id: String::new(),
            seq: 0,
            clientseq: 0,
            stereo: false,
            open: Value::Null,
            seen: VecDeque::new(),
        };
        let Some(Message::Text(text)) = far.next().await else {
            panic!("no open")
        };
        let open: Value = serde_json::from_str(text.as_str()).unwrap();
        assert_eq!(
            (&open["version"], &open["type"]),
            (&json!("2"), &json!("open"))
        );
        assert_eq!(
            (&open["seq"], &open["position"]),
            (&json!(1), &json!("PT0S"))
        );
        far.id = open["id"].as_str().unwrap().to_owned();
        far.clientseq = 1;
        let media = open["parameters"]["media"][0].clone();
        far.stereo = media["channels"].as_array().unwrap().len() == 2;
        far.open = open;
        far.say("opened", json!({ "startPaused": false, "media": [media] }))
            .await;
        far
    }

    async fn next(&mut self) -> Option<Message> {
        self.socket.as_mut()?.next().await?.ok()
    }

    async fn say(&mut self, kind: &str, parameters: Value) {
        self.seq += 1;
        let message = json!({
            "version": "2", "id": self.id, "type": kind, "seq": self.seq,
            "clientseq": self.clientseq, "parameters": parameters,
        });
        let socket = self.socket.as_mut().unwrap();
        socket
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Play(audio) => {
                let socket = self.socket.as_mut().unwrap();
                let audio = Bytes::from(audio);
                socket.send(Message::Binary(audio)).await.unwrap();
            }
            Act::Clear => {
                let barge_in = json!({ "entities": [{ "type": "barge_in", "data": {} }] });
                self.say("event", barge_in).await;
            }
            Act::Complete(context) => {
                let Value::Object(context) = context else {
                    panic!("no object")
                };
                // flat text, as the wire has it
                let flat = |value: Value| match value.as_str() {
                    Some(text) => json!(text),
                    None => json!(value.to_string()),
                };
                let variables: serde_json::Map<String, Value> = context
                    .into_iter()
                    .map(|(name, value)| (name, flat(value)))
                    .collect();
                let disconnect = json!({ "reason": "completed", "outputVariables": variables });
                self.say("disconnect", disconnect).await;
            }
            Act::Transcript(text) => {
                let interpretation = json!({ "transcript": text, "confidence": 1.0 });
                let data = json!({
                    "id": "u1", "channelId": 0, "isFinal": true, "offset": "PT1.5S",
                    "duration": "PT0.5S",
                    "alternatives": [{ "interpretations": [interpretation] }],
                });
                let entities = json!([{ "type": "transcript", "data": data }]);
                self.say("event", json!({ "entities": entities })).await;
            }
            Act::Hello => {}
            Act::CloseCleanly => {
                self.say("disconnect", json!({ "reason": "completed" }))
                    .await;
            }
            Act::Crash => self.socket = None,
        }
    }

    async fn see(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.seen.pop_front() {
                return seen;
            }
            match self.next().await {
                Some(Message::Binary(audio)) => return self.audio(&audio),
                Some(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(text.as_str()).unwrap();
                    let seq = message["seq"].as_u64().unwrap();
                    assert_eq!(seq, self.clientseq + 1, "numbers are left out");
                    self.clientseq = seq;
                    assert_eq!(message["serverseq"], self.seq, "{message}");
                    match message["type"].as_str().unwrap() {
                        "dtmf" => {
                            let digit = message["parameters"]["digit"].as_str().unwrap();
                            return Seen::Key(digit.to_owned());
                        }
                        "ping" => self.say("pong", json!({})).await,
                        "close" => {
                            self.say("closed", json!({})).await;
                            return Seen::Bye;
                        }
                        _ => {}
                    }
                }
                Some(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Some(Message::Close(_)) | None => return Seen::Bye,
            }
        }
    }

    fn audio(&self, audio: &[u8]) -> Seen {
        if self.stereo {
            let external = audio.iter().copied().step_by(2).collect();
            let internal = audio.iter().copied().skip(1).step_by(2).collect();
            Seen::Audio(external, Some(internal))
        } else {
            Seen::Audio(audio.to_vec(), None)
        }
    }
}
