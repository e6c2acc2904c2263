//! An agent behind a WebSocket, as a server of Twilio Media Streams that knows nothing of us, with
//! `hook.*` messages where it has something to say about the transfer.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::lab::PATIENCE;

const QUEUE: usize = 256;

/// What a pong is among the messages.
const PONG: &str = "(pong)";

/// Frames, the tracks that they came on, and where on the timeline.
type Heard = Arc<Mutex<Vec<(String, u64, Vec<u8>)>>>;

/// Where an agent waits for calls.
#[derive(Debug)]
pub struct AgentServer {
    listener: TcpListener,
}

impl AgentServer {
    /// On a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    /// What to set `agent.hook` to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/agent", self.listener.local_addr().unwrap())
    }

    /// Takes the next connection.
    pub async fn accept(&self) -> AgentSession {
        AgentSession::begin(self.connection().await).await
    }

    /// Refuses the next connection with 403.
    pub async fn refuse_next(&self) {
        let mut stream = self.connection().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    }

    /// Takes the next TCP connection, and says nothing.
    pub async fn connection(&self) -> TcpStream {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        accepted.expect("nobody called the agent").unwrap().0
    }
}

/// One stream.
#[derive(Debug)]
pub struct AgentSession {
    /// The `start` message.
    pub start: Value,
    out: SplitSink<WebSocketStream<TcpStream>, Message>,
    events: mpsc::Receiver<Value>,
    heard: Heard,
    reading: tokio::task::JoinHandle<()>,
}

impl AgentSession {
    /// The handshake, `connected` and `start`.
    async fn begin(stream: TcpStream) -> Self {
        let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let (out, mut messages) = socket.split();
        let connected = read(&mut messages).await.unwrap();
        assert_eq!(connected["event"], "connected");
        let start = read(&mut messages).await.unwrap();
        assert_eq!(start["event"], "start");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (sender, events) = mpsc::channel(QUEUE);
        let reading = tokio::spawn(listen(messages, Arc::clone(&heard), sender));
        Self {
            start,
            out,
            events,
            heard,
            reading,
        }
    }

    /// The audio of a track so far.
    #[must_use]
    pub fn heard(&self, track: &str) -> Vec<u8> {
        let heard = self.heard.lock().unwrap();
        let frames = heard.iter().filter(|(name, ..)| name == track);
        frames.flat_map(|(_, _, audio)| audio.clone()).collect()
    }

    /// Where on the timeline the frames of a track stood so far, in milliseconds.
    #[must_use]
    pub fn timestamps(&self, track: &str) -> Vec<u64> {
        let heard = self.heard.lock().unwrap();
        let frames = heard.iter().filter(|(name, ..)| name == track);
        frames.map(|(_, at, _)| *at).collect()
    }

    /// Waits until the gateway has read everything that was sent.
    pub async fn until_taken(&mut self) {
        let ping = Message::Ping(Vec::new().into());
        self.out.send(ping).await.unwrap();
        self.until_event(PONG).await;
    }

    /// The next message of this kind; others, but for audio, must not come before it.
    pub async fn event(&mut self, event: &str) -> Value {
        let next = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        let message = next.expect(event).expect(event);
        assert_eq!(message["event"], event, "{message}");
        message
    }

    /// The next message of this kind, whatever comes before it.
    pub async fn until_event(&mut self, event: &str) -> Value {
        let search = async {
            loop {
                let message = self.events.recv().await.expect(event);
                if message["event"] == event {
                    return message;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect(event)
    }

    /// The stream ends.
    pub async fn until_closed(&mut self) {
        let closed = async { while self.events.recv().await.is_some() {} };
        tokio::time::timeout(PATIENCE, closed).await.unwrap();
    }

    /// Sends a message of the stream.
    pub async fn send(&mut self, mut message: Value) {
        message["streamSid"] = self.start["start"]["streamSid"].clone();
        let message = Message::text(message.to_string());
        self.out.send(message).await.unwrap();
    }

    /// Says µ-law audio, all at once.
    pub async fn say(&mut self, audio: &[u8]) {
        let payload = STANDARD.encode(audio);
        self.send(json!({ "event": "media", "media": { "payload": payload } }))
            .await;
    }

    /// Closes with 1000.
    pub async fn close(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        self.out.send(Message::Close(Some(frame))).await.unwrap();
        self.until_closed().await;
    }

    /// Dies: the connection is gone without a word.
    pub async fn die(self) {
        self.reading.abort();
        // The other half of the socket goes with its task.
        let _ = self.reading.await;
        drop(self.out);
    }
}

async fn read(messages: &mut SplitStream<WebSocketStream<TcpStream>>) -> Option<Value> {
    loop {
        match messages.next().await?.ok()? {
            Message::Text(text) => return Some(serde_json::from_str(text.as_str()).unwrap()),
            Message::Close(_) => return None,
            Message::Pong(_) => return Some(json!({ "event": PONG })),
            Message::Ping(_) => {}
            other @ (Message::Binary(_) | Message::Frame(_)) => panic!("{other:?}"),
        }
    }
}

async fn listen(
    mut messages: SplitStream<WebSocketStream<TcpStream>>,
    heard: Heard,
    events: mpsc::Sender<Value>,
) {
    while let Some(message) = read(&mut messages).await {
        if message["event"] == "media" {
            let audio = STANDARD.decode(message["media"]["payload"].as_str().unwrap());
            let track = message["media"]["track"].as_str().unwrap().to_owned();
            let at = message["media"]["timestamp"].as_str().unwrap().parse();
            let mut heard = heard.lock().unwrap();
            heard.push((track, at.unwrap(), audio.unwrap()));
        } else if events.send(message).await.is_err() {
            return;
        }
    }
}
