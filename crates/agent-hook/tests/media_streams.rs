//! The gateway's part of Twilio Media Streams, against a server that plays an unmodified agent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail tests"
)]

use std::net::SocketAddr;
use std::time::Duration;

use agent_hook::{
    Agent, AgentEvent, AgentInput, AgentOutput, CallFacts, ConnectError, HookConfig, HookToken,
    Hooks, Phase, Track, When,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call_control::transfer::{InputContext, TransferType};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use timebase::Now;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

const PATIENCE: Duration = Duration::from_secs(10);

fn facts() -> CallFacts {
    let input = r#"{ "taskName": "pay", "inputVariables": { "amount": 12.50, "name": "Ann" } }"#;
    CallFacts {
        call: "call-1".to_owned(),
        account: "lab".into(),
        transfer: "t-1".into(),
        conversation: "c-1".to_owned(),
        from: "+15550100".to_owned(),
        to: "agent".to_owned(),
        sip_call_id: "abc@sbc".to_owned(),
        referred_by: None,
        input: serde_json::from_str::<InputContext>(input).unwrap(),
        token: HookToken::random(),
        resume: false,
        checkpoint: None,
        earlier: Vec::new(),
        headers: std::collections::BTreeMap::new(),
        bodies: Vec::new(),
        sessions: Default::default(),
    }
}

/// The agent's side of one connection.
struct Server {
    socket: WebSocketStream<TcpStream>,
    stream_sid: String,
    authorization: Option<String>,
}

impl Server {
    #[allow(
        clippy::result_large_err,
        reason = "the callback's type is tungstenite's"
    )]
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let mut authorization = None;
        let note = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            authorization = request
                .headers()
                .get("authorization")
                .map(|value| value.to_str().unwrap().to_owned());
            assert!(request.headers().get("sec-websocket-protocol").is_none());
            Ok(response)
        };
        let socket = accept_hdr_async(stream, note).await.unwrap();
        Self {
            socket,
            stream_sid: String::new(),
            authorization,
        }
    }

    async fn next(&mut self) -> Value {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
                Message::Ping(_) => {}
                other @ (Message::Binary(_)
                | Message::Pong(_)
                | Message::Close(_)
                | Message::Frame(_)) => panic!("{other:?}"),
            }
        }
    }

    /// The next message but audio.
    async fn next_control(&mut self) -> Value {
        loop {
            let message = self.next().await;
            if message["event"] != "media" {
                return message;
            }
        }
    }

    async fn say(&mut self, message: Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    async fn play(&mut self, audio: &[u8]) {
        let media = json!({ "event": "media", "streamSid": self.stream_sid, "media": { "payload": STANDARD.encode(audio) } });
        self.say(media).await;
    }
}

/// Connects an agent and reads `connected` and `start`.
async fn connected() -> (Box<dyn Agent>, Server, Value) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hooks = hooks(listener.local_addr().unwrap());
    let facts = facts();
    let (agent, mut server) =
        tokio::join!(hooks.connect(&facts, PATIENCE), Server::accept(&listener));
    assert_eq!(
        server.next().await,
        json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" })
    );
    let start = server.next().await;
    server.stream_sid = start["streamSid"].as_str().unwrap().to_owned();
    (agent.unwrap(), server, start)
}

fn hooks(address: SocketAddr) -> Hooks {
    let urls = vec![format!("ws://{address}/agent?x=1")];
    Hooks::new(HookConfig {
        urls,
        token: Some("t0ken".to_owned()),
        ..HookConfig::default()
    })
    .unwrap()
}

/// Polls the agent as a shard does until it says something.
async fn output(agent: &mut Box<dyn Agent>) -> AgentOutput {
    let said = async {
        loop {
            match agent.poll_output() {
                Some(output) => return output,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, said).await.unwrap()
}

fn hear(agent: &mut Box<dyn Agent>, n: u64) {
    let frame = &[n as u8; 160];
    agent.handle_input(
        Now::ZERO,
        AgentInput::Heard {
            track: Track::Inbound,
            timestamp_ms: 1000 + n * 20,
            frame,
        },
    );
}

#[tokio::test]
async fn connected_and_start_come_first_and_name_the_call() {
    let (mut agent, mut server, start) = connected().await;
    assert_eq!(server.authorization.as_deref(), Some("Bearer t0ken"));
    assert_eq!(start["event"], "start");
    assert_eq!(start["sequenceNumber"], "1");
    for (sid, prefix) in [("streamSid", "MZ"), ("callSid", "CA"), ("accountSid", "AC")] {
        let sid = start["start"][sid].as_str().unwrap();
        assert!(sid.starts_with(prefix) && sid.len() == 34, "{sid}");
    }
    assert_eq!(start["start"]["tracks"], json!(["inbound"]));
    let format = json!({ "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 });
    assert_eq!(start["start"]["mediaFormat"], format);
    assert_eq!(start["start"]["customParameters"]["amount"], "12.50");
    assert_eq!(start["hook"]["call"]["sipCallId"], "abc@sbc");
    for n in 0..50 {
        hear(&mut agent, n);
        let message = server.next().await;
        assert_eq!(message["media"]["chunk"], (n + 1).to_string());
        assert_eq!(message["media"]["timestamp"], (n * 20).to_string());
        assert_eq!(message["sequenceNumber"], (n + 2).to_string());
        let payload = STANDARD
            .decode(message["media"]["payload"].as_str().unwrap())
            .unwrap();
        assert_eq!(payload, [n as u8; 160]);
    }
}

#[tokio::test]
async fn agent_speaks_marks_clears_and_hears_keys_and_marks() {
    let (mut agent, mut server, _) = connected().await;
    let sid = server.stream_sid.clone();
    server.play(&[7; 1000]).await;
    server
        .say(json!({ "event": "mark", "streamSid": sid, "mark": { "name": "one" } }))
        .await;
    server
        .say(json!({ "event": "clear", "streamSid": sid }))
        .await;
    assert_eq!(
        output(&mut agent).await,
        AgentOutput::Audio(vec![7; 1000].into())
    );
    assert_eq!(
        output(&mut agent).await,
        AgentOutput::Mark("one".to_owned())
    );
    assert_eq!(output(&mut agent).await, AgentOutput::Clear);
    agent.handle_input(
        Now::ZERO,
        AgentInput::MarkPlayed {
            name: "one".to_owned(),
            played: false,
            sample: 1234,
        },
    );
    agent.handle_input(Now::ZERO, AgentInput::Dtmf { digit: '#' });
    let mark = server.next().await;
    assert_eq!(
        mark["mark"],
        json!({ "name": "one", "played": false, "sample": 1234 })
    );
    assert_eq!(
        (mark["event"].as_str(), mark["streamSid"].as_str()),
        (Some("mark"), Some(&sid[..]))
    );
    let dtmf = server.next().await;
    assert_eq!(
        dtmf["dtmf"],
        json!({ "track": "inbound_track", "digit": "#" })
    );
    assert_eq!(dtmf["sequenceNumber"], "3");
}

#[tokio::test]
async fn wrong_completion_is_answered_and_the_right_one_passed_on() {
    let (mut agent, mut server, _) = connected().await;
    let wrong = json!({ "transferType": "agent" });
    server
        .say(json!({ "event": "hook.complete", "id": "a", "outputContext": wrong }))
        .await;
    let right = json!({ "transferType": "SYSTEM", "transferVariables": { "n": 1.0 } });
    server
        .say(json!({ "event": "hook.complete", "id": "b", "when": "now", "outputContext": right }))
        .await;
    let AgentOutput::Event(AgentEvent::Complete {
        id,
        output: Err(error),
        ..
    }) = output(&mut agent).await
    else {
        panic!("the first is wrong")
    };
    let refusal = AgentInput::Completed {
        id,
        accepted: false,
        error: Some(error),
    };
    agent.handle_input(Now::ZERO, refusal);
    let AgentOutput::Event(AgentEvent::Complete {
        id,
        output: Ok(context),
        when: When::Now,
    }) = output(&mut agent).await
    else {
        panic!("the second is right")
    };
    assert_eq!(context.transfer_type, TransferType::System);
    agent.handle_input(
        Now::ZERO,
        AgentInput::Completed {
            id,
            accepted: true,
            error: None,
        },
    );
    let refused = server.next().await;
    assert_eq!(
        (refused["id"].as_str(), refused["accepted"].as_bool()),
        (Some("a"), Some(false))
    );
    assert!(refused["error"].as_str().unwrap().contains("transferType"));
    let accepted = server.next().await;
    assert_eq!(
        (accepted["id"].as_str(), accepted["accepted"].as_bool()),
        (Some("b"), Some(true))
    );
    assert_eq!(accepted["event"], "hook.completed");
}

#[tokio::test]
async fn stopped_agent_gets_stop_and_a_clean_close_after_all_that_waits() {
    let (mut agent, mut server, start) = connected().await;
    hear(&mut agent, 0);
    agent.handle_input(Now::ZERO, AgentInput::Stop);
    assert_eq!(server.next().await["event"], "media");
    let stop = server.next().await;
    let start = &start["start"];
    let sids = json!({ "accountSid": start["accountSid"], "callSid": start["callSid"] });
    assert_eq!(
        (stop["event"].as_str(), &stop["stop"]),
        (Some("stop"), &sids)
    );
    let Some(Ok(Message::Close(Some(CloseFrame { code, .. })))) = server.socket.next().await else {
        panic!("no close")
    };
    assert_eq!(u16::from(code), 1000);
    assert_eq!(agent.poll_output(), None, "a stopped agent spoke");
}

#[tokio::test]
async fn hello_opts_in_to_what_both_sides_know() {
    let (mut agent, mut server, _) = connected().await;
    server.say(json!({ "event": "hook.hello", "version": "1.0", "features": ["flow", "tracks", "juggling"], "agent": "t" })).await;
    let welcome = server.next().await;
    assert_eq!(
        (&welcome["version"], &welcome["features"]),
        (&json!("1.0"), &json!(["tracks", "flow"]))
    );
    let outbound = |agent: &mut Box<dyn Agent>| {
        let input = AgentInput::Heard {
            track: Track::Outbound,
            timestamp_ms: 0,
            frame: &[1; 160],
        };
        agent.handle_input(Now::ZERO, input);
    };
    outbound(&mut agent);
    agent.handle_input(
        Now::ZERO,
        AgentInput::Phase {
            phase: Phase::Bridged,
            method: Some("INVITE"),
        },
    );
    outbound(&mut agent);
    let phase = server.next().await;
    assert_eq!(
        (phase["phase"].as_str(), &phase["tracks"]),
        (Some("bridged"), &json!(["inbound", "outbound"]))
    );
    assert_eq!(server.next().await["media"]["track"], "outbound");
}

#[tokio::test]
async fn messages_that_make_no_sense_are_passed_over() {
    let (mut agent, mut server, _) = connected().await;
    server
        .socket
        .send(Message::Binary(Bytes::from_static(&[1, 2, 3])))
        .await
        .unwrap();
    server
        .socket
        .send(Message::text("{ not json"))
        .await
        .unwrap();
    server.say(json!({ "event": "party" })).await;
    server
        .say(json!({ "event": "media", "streamSid": server.stream_sid }))
        .await;
    server
        .say(json!({ "event": "media", "streamSid": "MZother", "media": { "payload": "AAAA" } }))
        .await;
    server.play(&[5; 160]).await;
    assert_eq!(
        output(&mut agent).await,
        AgentOutput::Audio(vec![5; 160].into())
    );
    hear(&mut agent, 0);
    assert_eq!(server.next().await["event"], "media");
}

#[tokio::test]
async fn clean_close_and_crash_are_told_apart_and_come_after_the_audio() {
    let (mut agent, mut server, _) = connected().await;
    server.play(&[9; 16_000]).await;
    server
        .socket
        .close(Some(CloseFrame {
            code: 1000.into(),
            reason: "bye".into(),
        }))
        .await
        .unwrap();
    assert_eq!(
        output(&mut agent).await,
        AgentOutput::Audio(vec![9; 16_000].into())
    );
    let closed = AgentEvent::Closed {
        code: Some(1000),
        clean: true,
        reason: "bye".to_owned(),
    };
    assert_eq!(output(&mut agent).await, AgentOutput::Event(closed));

    let (mut agent, mut server, _) = connected().await;
    server
        .socket
        .close(Some(CloseFrame {
            code: 1012.into(),
            reason: "".into(),
        }))
        .await
        .unwrap();
    let closed = AgentEvent::Closed {
        code: Some(1012),
        clean: false,
        reason: String::new(),
    };
    assert_eq!(output(&mut agent).await, AgentOutput::Event(closed));

    let (mut agent, server, _) = connected().await;
    drop(server);
    assert!(matches!(
        output(&mut agent).await,
        AgentOutput::Event(AgentEvent::Closed {
            code: None,
            clean: false,
            ..
        })
    ));
    hear(&mut agent, 1);
    assert_eq!(agent.poll_output(), None);
}

#[tokio::test]
async fn dropped_agent_says_good_bye_too() {
    let (agent, mut server, _) = connected().await;
    drop(agent);
    assert_eq!(server.next_control().await["event"], "stop");
    assert!(matches!(
        server.socket.next().await,
        Some(Ok(Message::Close(Some(_))))
    ));
}

#[tokio::test]
async fn refused_handshake_is_tried_again_until_time_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hooks = hooks(listener.local_addr().unwrap());
    let refuse = async {
        for _ in 0..100 {
            let (stream, _) = listener.accept().await.unwrap();
            #[allow(
                clippy::result_large_err,
                reason = "the callback's type is tungstenite's"
            )]
            let forbid = |_: &Request, _: Response| -> Result<Response, ErrorResponse> {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = StatusCode::FORBIDDEN;
                Err(refusal)
            };
            assert!(accept_hdr_async(stream, forbid).await.is_err());
        }
    };
    let facts = facts();
    tokio::select! {
        connected = hooks.connect(&facts, Duration::from_millis(600)) => {
            let ConnectError::TimedOut { last, .. } = connected.unwrap_err() else {
                panic!("not a time-out")
            };
            assert!(last.contains("403"), "{last}");
        }
        () = refuse => panic!("retried without a pause"),
    }
}

#[tokio::test]
async fn next_url_is_taken_when_the_first_does_not_answer_and_late_servers_are_found() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = vec![
        format!("ws://{closed}"),
        format!("ws://{}", listener.local_addr().unwrap()),
    ];
    let hooks = Hooks::new(HookConfig {
        urls,
        ..HookConfig::default()
    })
    .unwrap();
    let facts = facts();
    let (agent, server) = tokio::join!(hooks.connect(&facts, PATIENCE), Server::accept(&listener));
    assert!(agent.is_ok());
    assert_eq!(server.authorization, None);

    let address = {
        TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let hooks = Hooks::new(HookConfig {
        urls: vec![format!("ws://{address}")],
        ..HookConfig::default()
    })
    .unwrap();
    let late = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let listener = TcpListener::bind(address).await.unwrap();
        Server::accept(&listener).await
    };
    let (agent, _server) = tokio::join!(hooks.connect(&facts, PATIENCE), late);
    assert!(agent.is_ok());
}

#[tokio::test]
async fn plain_text_to_the_world_needs_leave() {
    let config = |allow_plaintext| HookConfig {
        urls: vec!["ws://192.0.2.1:9/".to_owned()],
        allow_plaintext,
        ..HookConfig::default()
    };
    let facts = facts();
    let refused = Hooks::new(config(false))
        .unwrap()
        .connect(&facts, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("allow_plaintext"), "{refused}");
    let tried = Hooks::new(config(true))
        .unwrap()
        .connect(&facts, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(!tried.to_string().contains("allow_plaintext"), "{tried}");
}

#[tokio::test]
async fn built_in_agents_are_there_at_once() {
    for url in [
        "builtin:echo",
        "builtin:lab",
        "builtin:silence",
        "builtin:tone",
    ] {
        let hooks = Hooks::new(HookConfig {
            urls: vec![url.to_owned()],
            ..HookConfig::default()
        })
        .unwrap();
        assert!(
            hooks.connect(&facts(), Duration::ZERO).await.is_ok(),
            "{url}"
        );
    }
}
