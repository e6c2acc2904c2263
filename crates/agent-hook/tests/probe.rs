//! The probe that people who build hooks look at a connection with.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use agent_hook::lint::Linter;
use agent_hook::{
    AgentEvent, AgentInput, AgentOutput, AgentServer, CallFacts, HookConfig, HookToken, Hooks,
    LineState, Probe, Seen, Speaker, Track,
};
use timebase::Now;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

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
        input: Default::default(),
        token: HookToken::random(),
        resume: false,
        checkpoint: None,
        earlier: Vec::new(),
        headers: Default::default(),
        bodies: Vec::new(),
        sessions: Default::default(),
    }
}

#[tokio::test]
async fn every_message_is_seen_and_keeps_to_the_protocol_and_a_cut_line_is_a_lost_agent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(AgentServer::new("builtin:echo").unwrap().serve(listener));
    let (seen, messages) = mpsc::channel(4096);
    let (line, watched) = watch::channel(LineState::Open);
    let hooks = Hooks::new(HookConfig {
        urls: vec![url],
        probe: Some(Probe::new(seen, watched)),
        ..HookConfig::default()
    })
    .unwrap();
    let mut agent = hooks
        .connect(&facts(), Duration::from_secs(5))
        .await
        .unwrap();
    let (mut echoed, mut lost) = (0, false);
    for n in 0..400_u64 {
        let (track, timestamp_ms) = (Track::Inbound, n * 20);
        let frame = &[0x10; 160];
        agent.handle_input(
            Now::from_millis(timestamp_ms),
            AgentInput::Heard {
                track,
                timestamp_ms,
                frame,
            },
        );
        sleep(Duration::from_millis(2)).await;
        while let Some(output) = agent.poll_output() {
            match output {
                AgentOutput::Audio(_) => echoed += 1,
                AgentOutput::Event(AgentEvent::Closed { clean, .. }) => {
                    assert!(!clean);
                    lost = true;
                }
                AgentOutput::Mark(_) | AgentOutput::Clear | AgentOutput::Event(_) => {}
            }
        }
        if n == 200 {
            line.send(LineState::Cut).unwrap();
        }
        if lost {
            break;
        }
    }
    assert!(lost && echoed > 100, "{echoed} frames came back");
    drop((agent, hooks));
    judge(messages).await;
}

/// Holds what was seen against the protocol.
async fn judge(mut messages: mpsc::Receiver<Seen>) {
    let mut linter = Linter::new();
    let mut said = (0, 0);
    while let Some(message) = timeout(Duration::from_secs(5), messages.recv())
        .await
        .unwrap()
    {
        match message.from {
            Speaker::Gateway => said.0 += 1,
            Speaker::Agent => said.1 += 1,
        }
        linter.line(&message.text);
    }
    let (count, findings) = linter.finish();
    assert!(said.0 > 100 && said.1 > 100, "{said:?}");
    assert_eq!(count, said.0 + said.1);
    assert!(
        findings.is_empty(),
        "{:?}",
        &findings[..findings.len().min(5)]
    );
}
