//! How an agent is reached: webhooks, proofs, subprotocols, readiness, reconnection, listening links.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail tests"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_hook::{
    Agent, AgentInput, AudioHookConfig, CallFacts, ConnectError, Credentials, HookConfig,
    HookToken, Hooks, Phase, Protocol, ReadyWhen, SessionLog, Track, account_sid, call_sid,
    verify_hook_signature,
};
use call_control::transfer::InputContext;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use timebase::Now;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderMap;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

const PATIENCE: Duration = Duration::from_secs(10);

fn facts() -> CallFacts {
    CallFacts {
        call: "call-1".to_owned(),
        account: "lab".into(),
        transfer: "t-1".into(),
        conversation: "c-1".to_owned(),
        from: "+15550100".to_owned(),
        to: "agent".to_owned(),
        sip_call_id: "abc@sbc".to_owned(),
        referred_by: None,
        input: InputContext {
            task_name: Some("pay".to_owned()),
            input_variables: None,
        },
        token: HookToken::random(),
        resume: false,
        checkpoint: None,
        earlier: Vec::new(),
        sessions: SessionLog::default(),
        headers: BTreeMap::new(),
        bodies: Vec::new(),
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn hooks(config: HookConfig) -> Hooks {
    Hooks::new(config).unwrap()
}

/// A connection to the agent with the headers of its handshake.
struct Server {
    socket: WebSocketStream<TcpStream>,
    headers: HeaderMap,
}

impl Server {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        Self::upgrade(stream).await.unwrap()
    }

    #[allow(
        clippy::result_large_err,
        reason = "the callback's type is tungstenite's"
    )]
    async fn upgrade(stream: TcpStream) -> Option<Self> {
        let mut headers = HeaderMap::new();
        let note = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            headers = request.headers().clone();
            Ok(response)
        };
        let socket = accept_hdr_async(stream, note).await.ok()?;
        Some(Self { socket, headers })
    }

    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    async fn next(&mut self) -> Value {
        let next = async {
            loop {
                if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                    return serde_json::from_str(text.as_str()).unwrap();
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.unwrap()
    }

    /// Reads `connected` and gives `start`.
    async fn start(&mut self) -> Value {
        assert_eq!(self.next().await["event"], "connected");
        self.next().await
    }

    async fn say(&mut self, message: Value) {
        let message = Message::text(message.to_string());
        self.socket.send(message).await.unwrap();
    }
}

/// Takes one HTTP request, answers it, and gives its head and body.
async fn answer_http(listener: &TcpListener, status: &str, body: &str) -> (String, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    let (head, length) = loop {
        let read = stream.read(&mut buffer).await.unwrap();
        received.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&received).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse::<usize>()
                    .ok()
            });
            break (head.to_owned(), length.unwrap_or(0));
        }
    };
    while received.len() < head.len() + 4 + length {
        let read = stream.read(&mut buffer).await.unwrap();
        received.extend_from_slice(&buffer[..read]);
    }
    let form = String::from_utf8_lossy(&received[head.len() + 4..]).into_owned();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    (head, form)
}

#[tokio::test]
async fn webhook_says_where_the_agent_is_and_what_it_is_told() {
    let (webhook, webhook_at) = listen().await;
    let (agent, agent_at) = listen().await;
    let twiml = format!(
        "<Response><Say>Hi</Say><Connect><Stream url=\"ws://{agent_at}/media\">\
         <Parameter name=\"tenant\" value=\"acme\"/><Parameter name=\"resume\" value=\"x\"/>\
         </Stream></Connect></Response>"
    );
    let hooks = hooks(HookConfig {
        urls: vec![format!("http://{webhook_at}/voice?a=1")],
        credentials: Credentials {
            twilio_token: Some("12345".to_owned()),
            ..Credentials::default()
        },
        ..HookConfig::default()
    });
    let facts = facts();
    let (connected, (head, form), start) = tokio::join!(
        hooks.connect(&facts, PATIENCE),
        answer_http(&webhook, "200 OK", &twiml),
        async {
            let mut server = Server::accept(&agent).await;
            assert!(server.headers.contains_key("x-twilio-signature"));
            server.start().await
        }
    );
    connected.unwrap();
    assert!(head.starts_with("POST /voice?a=1 HTTP/1.1"), "{head}");
    assert!(head.to_ascii_lowercase().contains("x-twilio-signature: "));
    for field in [
        format!("CallSid={}", call_sid(&facts.call)),
        format!("AccountSid={}", account_sid(&facts.account)),
        "From=%2B15550100".to_owned(),
        "Direction=inbound".to_owned(),
        "Hook_taskName=pay".to_owned(),
    ] {
        assert!(form.split('&').any(|it| it == field), "{field} in {form}");
    }
    assert!(!form.contains(facts.token.expose()), "the token is told");
    let parameters = &start["start"]["customParameters"];
    assert_eq!(parameters["tenant"], "acme");
    assert_eq!(parameters["resume"], "0");
    assert_eq!(parameters["var_resume"], "x");
}

#[tokio::test]
async fn webhook_that_rejects_ends_the_attempt_with_a_status() {
    for (twiml, status) in [
        ("<Response><Reject reason=\"busy\"/></Response>", 486),
        ("<Response><Reject/></Response>", 603),
        ("<Response><Hangup/></Response>", 603),
    ] {
        let (webhook, at) = listen().await;
        let hooks = hooks(HookConfig {
            urls: vec![format!("http://{at}/")],
            ..HookConfig::default()
        });
        let facts = facts();
        let (connected, _) = tokio::join!(
            hooks.connect(&facts, PATIENCE),
            answer_http(&webhook, "200 OK", twiml)
        );
        assert_eq!(connected.unwrap_err(), ConnectError::Refused(status));
    }
}

#[tokio::test]
async fn webhook_that_answers_nonsense_is_an_error_with_its_reason() {
    for (status, body, what) in [
        ("500 Internal Server Error", "", "500"),
        ("200 OK", "<Response><Gather/></Response>", "<Gather>"),
        ("200 OK", "hello", "XML"),
        (
            "200 OK",
            "<Response><Connect><Stream url=\"http://x/\"/></Connect></Response>",
            "neither ws:// nor wss://",
        ),
    ] {
        let (webhook, at) = listen().await;
        let hooks = hooks(HookConfig {
            urls: vec![format!("http://{at}/")],
            ..HookConfig::default()
        });
        let facts = facts();
        let (connected, _) = tokio::join!(
            hooks.connect(&facts, Duration::from_millis(240)),
            answer_http(&webhook, status, body)
        );
        let error = connected.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[tokio::test]
async fn handshake_is_signed_for_this_call() {
    let (listener, at) = listen().await;
    let url = format!("ws://{at}/agent?x=1");
    let hooks = hooks(HookConfig {
        urls: vec![url.clone()],
        credentials: Credentials {
            jwt_secret: Some("j".to_owned()),
            hmac_secret: Some("h".to_owned()),
            ..Credentials::default()
        },
        ..HookConfig::default()
    });
    let facts = facts();
    let (connected, server) =
        tokio::join!(hooks.connect(&facts, PATIENCE), Server::accept(&listener));
    connected.unwrap();
    assert!(server.header("authorization").starts_with("Bearer ey"));
    let proof = (
        server.header("x-hook-timestamp"),
        server.header("x-hook-signature"),
    );
    let now = timebase::wall_now().0 / 1000;
    let call = call_sid(&facts.call);
    assert!(verify_hook_signature(&["h"], proof, (&url, &call), now));
    assert_eq!(server.header("x-hook-callsid"), call);
}

#[tokio::test]
async fn server_that_does_not_know_the_subprotocol_is_asked_without_it() {
    let (listener, at) = listen().await;
    let hooks = hooks(HookConfig {
        urls: vec![format!("ws://{at}/")],
        subprotocol: Some("agenthook.v1".to_owned()),
        ..HookConfig::default()
    });
    let facts = facts();
    let (connected, asked) = tokio::join!(hooks.connect(&facts, PATIENCE), async {
        let mut asked = Vec::new();
        for _ in 0..2 {
            let server = Server::accept(&listener).await;
            asked.push(server.headers.contains_key("sec-websocket-protocol"));
        }
        asked
    });
    connected.unwrap();
    assert_eq!(asked, [true, false]);
}

#[tokio::test]
async fn agent_counts_as_connected_when_it_has_shown_what_is_wanted() {
    let payload = json!({ "payload": "/////w==" });
    for (ready, word) in [
        (ReadyWhen::Hello, json!({ "event": "hook.hello" })),
        (
            ReadyWhen::Media,
            json!({ "event": "media", "media": payload }),
        ),
    ] {
        let (listener, at) = listen().await;
        let hooks = hooks(HookConfig {
            urls: vec![format!("ws://{at}/")],
            ready,
            ..HookConfig::default()
        });
        let facts = facts();
        let begun = Instant::now();
        let (connected, _server) = tokio::join!(hooks.connect(&facts, PATIENCE), async {
            let mut server = Server::accept(&listener).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.say(word).await;
            server
        });
        connected.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(300), "{ready:?}");

        let (connected, _server) = tokio::join!(
            hooks.connect(&facts, Duration::from_millis(240)),
            Server::accept(&listener)
        );
        assert!(connected.is_err(), "{ready:?}: it showed nothing");
    }
}

#[tokio::test]
async fn lost_agent_is_tried_at_once_and_then_ever_more_rarely() {
    let (listener, at) = listen().await;
    let hooks = hooks(HookConfig {
        urls: vec![format!("ws://{at}/")],
        ..HookConfig::default()
    });
    let mut facts = facts();
    facts.resume = true;
    let lost = Instant::now();
    let (connected, tries) = tokio::join!(
        hooks.reconnect(&facts, Duration::from_millis(2_900)),
        async {
            let mut tries = Vec::new();
            while tries.len() < 5 {
                // closed before it is a WebSocket
                let (stream, _) = listener.accept().await.unwrap();
                tries.push(lost.elapsed().as_millis());
                drop(stream);
            }
            tries
        }
    );
    assert!(connected.is_err());
    for (tried, planned) in tries.iter().zip([0, 250, 500, 1000, 2000]) {
        assert!((planned..planned + 200).contains(tried), "{tries:?}");
    }
}

#[tokio::test]
async fn listening_link_hears_both_parties_and_comes_back_with_a_jump_in_time() {
    let (listener, at) = listen().await;
    let hooks = hooks(HookConfig {
        urls: vec!["ws://127.0.0.1:1/".to_owned()],
        transcribe_urls: vec![format!("ws://{at}/listen")],
        ..HookConfig::default()
    });
    let mut agent = hooks.listen(&facts(), Some("MZparent".to_owned()));
    agent.handle_input(
        Now::ZERO,
        AgentInput::Phase {
            phase: Phase::Bridged,
            method: Some("INVITE"),
        },
    );
    let mut slot = 0;
    let mut first = Server::accept(&listener).await;
    let start = first.start().await;
    assert_eq!(start["start"]["tracks"], json!(["inbound", "outbound"]));
    let parameters = &start["start"]["customParameters"];
    assert_eq!(parameters["parentStreamSid"], "MZparent");
    assert_eq!(parameters["phase"], "bridged");
    assert_eq!(start["start"]["callSid"], call_sid("call-1"));
    for n in 0..10 {
        speak(&mut agent, &mut slot);
        for track in ["inbound", "outbound"] {
            let media = first.next().await;
            assert_eq!(media["media"]["track"], track);
            assert_eq!(media["media"]["timestamp"], (n * 20).to_string());
        }
    }
    drop(first);
    let begun = Instant::now();
    let accepting = Server::accept(&listener);
    tokio::pin!(accepting);
    let mut second = loop {
        tokio::select! {
            server = &mut accepting => break server,
            () = tokio::time::sleep(Duration::from_millis(20)) => speak(&mut agent, &mut slot),
        }
    };
    let away = begun.elapsed().as_millis();
    assert!((900..2_000).contains(&away), "back after {away} ms");
    let again = second.start().await;
    assert_ne!(again["streamSid"], start["streamSid"]);
    speak(&mut agent, &mut slot);
    let media = second.next().await;
    let at: u64 = media["media"]["timestamp"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(at >= 600, "the gap is not told: {at}");
    assert_eq!(agent.poll_output(), None, "the call hears of the loss");
    agent.handle_input(Now::ZERO, AgentInput::Stop);
    loop {
        let message = second.next().await;
        if message["event"] == "stop" {
            break;
        }
    }
}

fn speak(agent: &mut Box<dyn Agent>, slot: &mut u64) {
    for track in [Track::Inbound, Track::Outbound] {
        let heard = AgentInput::Heard {
            track,
            timestamp_ms: 5_000 + *slot * 20,
            frame: &[7; 160],
        };
        agent.handle_input(Now::ZERO, heard);
    }
    *slot += 1;
}

fn audiohook(at: &str) -> Hooks {
    hooks(HookConfig {
        urls: vec![format!("ws://{at}/audiohook")],
        protocol: Protocol::AudioHook,
        audiohook: AudioHookConfig {
            organization: "d7934305-0972-4844-938e-9060eef73d05".to_owned(),
            api_key: "key".to_owned(),
            client_secret: Some(b"secret".to_vec()),
            language: "en-US".to_owned(),
            ..AudioHookConfig::default()
        },
        ..HookConfig::default()
    })
}

async fn opened(listener: &TcpListener, paused: bool) -> (Server, Value) {
    let mut server = Server::accept(listener).await;
    let open = server.next().await;
    let media = open["parameters"]["media"][0].clone();
    server
        .say(json!({
            "version": "2", "id": open["id"], "type": "opened", "seq": 1, "clientseq": 1,
            "parameters": { "startPaused": paused, "media": [media] },
        }))
        .await;
    (server, open)
}

#[tokio::test]
async fn audiohook_session_opens_signed_and_the_next_one_continues_it() {
    let (listener, at) = listen().await;
    let hooks = audiohook(&at);
    let facts = facts();
    let (connected, (server, open)) =
        tokio::join!(hooks.connect(&facts, PATIENCE), opened(&listener, false));
    let mut agent = connected.unwrap();
    assert_eq!(agent.stream(), open["id"].as_str());
    assert_eq!(server.header("audiohook-session-id"), open["id"]);
    assert_eq!(server.header("x-api-key"), "key");
    assert!(server.header("signature").starts_with("sig1=:"));
    let input = server.header("signature-input");
    assert!(input.starts_with("sig1=(\"@request-target\" \"@authority\""));
    let parameters = &open["parameters"];
    assert_eq!(parameters["participant"]["ani"], "+15550100");
    assert_eq!(parameters["inputVariables"]["taskName"], "pay");
    assert_eq!(parameters["language"], "en-US");
    assert_eq!(parameters["continuedSessions"], Value::Null);
    drop(server);
    while agent.poll_output().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(agent);
    let again = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        hooks.reconnect(&facts, PATIENCE).await
    };
    let (connected, (_server, second)) = tokio::join!(again, opened(&listener, false));
    connected.unwrap();
    let continued = &second["parameters"]["continuedSessions"][0];
    assert_eq!(continued["id"], open["id"]);
    assert_eq!(continued["serverseq"], 1);
}

#[tokio::test]
async fn audiohook_agent_may_pause_what_it_hears_and_is_told_what_it_missed() {
    let (listener, at) = listen().await;
    let hooks = audiohook(&at);
    let facts = facts();
    let (connected, (mut server, open)) =
        tokio::join!(hooks.connect(&facts, PATIENCE), opened(&listener, true));
    let mut agent = connected.unwrap();
    let mut slot = 0;
    for _ in 0..5 {
        speak(&mut agent, &mut slot);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let resume = json!({
        "version": "2", "id": open["id"], "type": "resume", "seq": 2, "clientseq": 1,
        "parameters": {},
    });
    server.say(resume).await;
    assert_eq!(server.next().await["type"], "resumed");
    let discarded = server.next().await;
    assert_eq!(discarded["type"], "discarded");
    let told = json!({ "start": "PT0S", "discarded": "PT0.1S" });
    assert_eq!(discarded["parameters"], told);
    speak(&mut agent, &mut slot);
    let audio = server.socket.next().await.unwrap().unwrap();
    assert_eq!(audio.into_data().len(), 160);
}

#[tokio::test]
async fn audiohook_server_that_does_not_open_is_not_an_agent() {
    let (listener, at) = listen().await;
    let hooks = audiohook(&at);
    let facts = facts();
    let (connected, ()) = tokio::join!(hooks.connect(&facts, Duration::from_millis(240)), async {
        let mut server = Server::accept(&listener).await;
        let open = server.next().await;
        let parameters = json!({ "reason": "unauthorized", "info": "bad key" });
        server
            .say(json!({
                "version": "2", "id": open["id"], "type": "disconnect", "seq": 1, "clientseq": 1,
                "parameters": parameters,
            }))
            .await;
        let _ = server.socket.next().await;
    });
    let error = connected.unwrap_err().to_string();
    assert!(error.contains("unauthorized: bad key"), "{error}");
}
