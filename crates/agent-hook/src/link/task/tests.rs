//! The link on virtual time, over an in-memory stream.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::super::{FRAME, WireAgent};
use super::*;
use crate::agent::{Agent, AgentInput, Track};
use crate::audiohook::{AudioHookConfig, AudioHookWire};
use crate::dial::Opening;
use crate::facts::tests::facts;
use crate::twilio::{StreamKind, TwilioWire};
use serde_json::{Value, json};
use timebase::Now;

fn wire() -> TwilioWire {
    TwilioWire::open(&facts(), &[], StreamKind::Conversation).0
}

/// A running link: the shard's end and the agent's end.
async fn linked(bytes_on_the_way: usize) -> (WireAgent, WebSocketStream<DuplexStream>) {
    linked_by(wire(), bytes_on_the_way).await
}

async fn linked_by(
    wire: impl Wire,
    bytes_on_the_way: usize,
) -> (WireAgent, WebSocketStream<DuplexStream>) {
    let (near, far) = tokio::io::duplex(bytes_on_the_way);
    let socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let (agent, ends) = WireAgent::new("MZ1");
    tokio::spawn(Link::new(Pump::new(socket, wire), ends).run());
    (
        agent,
        WebSocketStream::from_raw_socket(far, Role::Server, None).await,
    )
}

/// Polls the agent as a shard does until it says something.
async fn next_output(agent: &mut WireAgent) -> AgentOutput {
    loop {
        match agent.poll_output() {
            Some(output) => return output,
            None => sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silent_agent_is_dead_after_twenty_seconds() {
    let (mut agent, _far) = linked(1 << 20).await;
    let start = Instant::now();
    let late = next_output(&mut agent).await;
    assert_eq!(late, AgentOutput::Event(AgentEvent::Stalled));
    assert_eq!(start.elapsed().as_secs(), 8, "a ping after 5 s, and 3 s");
    let AgentOutput::Event(AgentEvent::Closed {
        code: None,
        clean: false,
        reason,
    }) = next_output(&mut agent).await
    else {
        panic!("not closed")
    };
    assert!(reason.contains("20 s"), "{reason}");
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn agent_that_answers_pings_lives_on() {
    let (mut agent, mut far) = linked(1 << 20).await;
    let pings = tokio::spawn(async move {
        let mut pings = 0;
        while let Some(Ok(message)) = far.next().await {
            pings += usize::from(message.is_ping());
            if pings == 12 {
                break;
            }
        }
        pings
    });
    sleep(Duration::from_secs(60)).await;
    assert_eq!(agent.poll_output(), None);
    assert_eq!(pings.await.unwrap(), 12);
}

#[tokio::test(start_paused = true)]
async fn agent_that_takes_nothing_loses_audio_and_is_dead_after_five_seconds_of_that() {
    let (mut agent, _far) = linked(16 * 1024).await;
    let start = Instant::now();
    for n in 0.. {
        let frame = &[0; FRAME];
        agent.handle_input(
            Now::ZERO,
            AgentInput::Heard {
                track: Track::Inbound,
                timestamp_ms: n * 20,
                frame,
            },
        );
        if let Some(output) = agent.poll_output() {
            assert!(
                matches!(
                    output,
                    AgentOutput::Event(AgentEvent::Closed { clean: false, .. })
                ),
                "{output:?}"
            );
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let took = start.elapsed().as_secs();
    assert!(
        (7..=10).contains(&took),
        "{took} s: 16 kB, then two seconds to fill the queue, then five"
    );
}

#[tokio::test(start_paused = true)]
async fn agent_that_does_not_close_is_left_after_two_seconds() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let (mut agent, ends) = WireAgent::new("MZ1");
    let link = tokio::spawn(Link::new(Pump::new(socket, wire()), ends).run());
    agent.handle_input(Now::ZERO, AgentInput::Stop);
    let start = Instant::now();
    link.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 2);
    drop(far);
}

#[tokio::test(start_paused = true)]
async fn agent_faster_than_the_shard_is_held_back_and_loses_nothing() {
    let (mut agent, mut far) = linked(4 * 1024).await;
    let sent = tokio::spawn(async move {
        for n in 0..2_000 {
            let mark = format!(r#"{{"event":"mark","mark":{{"name":"{n}"}}}}"#);
            far.send(Message::text(mark)).await.unwrap();
        }
        far
    });
    for n in 0..2_000 {
        assert_eq!(
            next_output(&mut agent).await,
            AgentOutput::Mark(n.to_string())
        );
    }
    drop(sent.await.unwrap());
}

fn session() -> AudioHookWire {
    let facts = facts();
    let opening = Opening {
        facts: &facts,
        parameters: &[],
        kind: StreamKind::Conversation,
    };
    AudioHookWire::new(&AudioHookConfig::default(), opening)
}

/// The type and parameters of the next text message.
async fn said(far: &mut WebSocketStream<DuplexStream>) -> (String, Value) {
    loop {
        if let Message::Text(text) = far.next().await.unwrap().unwrap() {
            let message: Value = serde_json::from_str(text.as_str()).unwrap();
            let kind = message["type"].as_str().unwrap().to_owned();
            return (kind, message["parameters"].clone());
        }
    }
}

fn played(name: String) -> AgentInput<'static> {
    AgentInput::MarkPlayed {
        name,
        played: true,
        sample: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn audiohook_is_told_of_playback_when_it_begins_and_when_the_last_sample_has_left() {
    let (mut agent, mut far) = linked_by(session(), 1 << 20).await;
    let audio = || Message::Binary(vec![1; 800].into());
    let start = Instant::now();
    far.send(audio()).await.unwrap();
    assert_eq!(said(&mut far).await.0, "playback_started");
    assert_eq!(
        next_output(&mut agent).await,
        AgentOutput::Audio(vec![1; 800].into())
    );
    let AgentOutput::Mark(first) = next_output(&mut agent).await else {
        panic!("no mark behind the audio")
    };
    let waited = start.elapsed().as_millis();
    assert!((100..=140).contains(&waited), "{waited} ms");
    // more comes before the mark is reached: it is no end
    far.send(audio()).await.unwrap();
    next_output(&mut agent).await;
    let AgentOutput::Mark(second) = next_output(&mut agent).await else {
        panic!("no mark behind the audio")
    };
    agent.handle_input(Now::ZERO, played(first));
    agent.handle_input(Now::ZERO, AgentInput::Dtmf { digit: '1' });
    assert_eq!(said(&mut far).await.0, "dtmf", "not yet completed");
    agent.handle_input(Now::ZERO, played(second));
    assert_eq!(said(&mut far).await.0, "playback_completed");
    assert!(start.elapsed().as_millis() < 400);
}

#[tokio::test(start_paused = true)]
async fn audiohook_pause_is_confirmed_and_what_was_not_sent_is_told() {
    let (mut agent, mut far) = linked_by(session(), 1 << 20).await;
    let text = |kind: &str| {
        Message::text(
            json!({ "version": "2", "type": kind, "seq": 1, "parameters": {} }).to_string(),
        )
    };
    far.send(text("pause")).await.unwrap();
    assert_eq!(said(&mut far).await.0, "paused");
    for n in 0..50 {
        agent.handle_input(
            Now::ZERO,
            AgentInput::Heard {
                track: Track::Inbound,
                timestamp_ms: n * 20,
                frame: &[0; FRAME],
            },
        );
    }
    agent.handle_input(Now::ZERO, AgentInput::Dtmf { digit: '1' });
    assert_eq!(said(&mut far).await.0, "dtmf");
    far.send(text("resume")).await.unwrap();
    assert_eq!(said(&mut far).await.0, "resumed");
    let (kind, parameters) = said(&mut far).await;
    assert_eq!(kind, "discarded");
    assert_eq!(parameters, json!({ "start": "PT0S", "discarded": "PT1S" }));
}

#[tokio::test(start_paused = true)]
async fn audiohook_is_told_once_what_it_said_that_is_not_understood() {
    let (_agent, mut far) = linked_by(session(), 1 << 20).await;
    for text in ["{", "{", r#"{"type":"whatever"}"#] {
        far.send(Message::text(text)).await.unwrap();
    }
    for code in [400, 405] {
        let (kind, parameters) = said(&mut far).await;
        assert_eq!(
            (kind.as_str(), &parameters["code"]),
            ("error", &json!(code))
        );
        assert!(parameters["message"].is_string());
    }
}
