//! Our own client of the wire against our own agent behind it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use agent_hook::{
    Agent, AgentEvent, AgentInput, AgentOutput, AgentServer, CallFacts, HookConfig, HookToken,
    Hooks, Track,
};
use call_control::transfer::{InputContext, OutputContext, TransferType};
use timebase::Now;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

const SILENCE: [u8; 160] = [0xff; 160];

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
        headers: std::collections::BTreeMap::new(),
        bodies: Vec::new(),
        sessions: Default::default(),
    }
}

/// A client of a server of this agent.
async fn connected(agent: &str) -> Box<dyn Agent> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(AgentServer::new(agent).unwrap().serve(listener));
    connect(&url).await
}

async fn connect(url: &str) -> Box<dyn Agent> {
    let hooks = Hooks::new(HookConfig {
        urls: vec![url.to_owned()],
        ..HookConfig::default()
    })
    .unwrap();
    hooks
        .connect(&facts(), Duration::from_secs(5))
        .await
        .unwrap()
}

fn hear(agent: &mut dyn Agent, n: u64, frame: &[u8]) {
    let (track, timestamp_ms) = (Track::Inbound, n * 20);
    agent.handle_input(
        Now::from_millis(timestamp_ms),
        AgentInput::Heard {
            track,
            timestamp_ms,
            frame,
        },
    );
}

#[tokio::test]
async fn echo_behind_the_wire_gives_back_every_byte_in_order() {
    let mut agent = connected("builtin:echo").await;
    let mut said = Vec::new();
    for n in 0..500 {
        hear(agent.as_mut(), n, &[(n % 251) as u8; 160]);
        sleep(Duration::from_millis(1)).await;
        while let Some(AgentOutput::Audio(audio)) = agent.poll_output() {
            said.extend_from_slice(&audio);
        }
    }
    let rest = async {
        while said.len() < 500 * 160 {
            sleep(Duration::from_millis(5)).await;
            while let Some(AgentOutput::Audio(audio)) = agent.poll_output() {
                said.extend_from_slice(&audio);
            }
        }
    };
    timeout(Duration::from_secs(10), rest).await.unwrap();
    let expected: Vec<u8> = (0..500).flat_map(|n| [(n % 251) as u8; 160]).collect();
    assert!(said == expected);
}

/// Runs the example flow with the keys `1` and `1234#`, playing at a hundred times the speed.
async fn run_flow(mut agent: Box<dyn Agent>) -> (usize, OutputContext) {
    let (mut queue, mut bytes) = (VecDeque::new(), 0);
    let mut keys = "11234".chars().collect::<VecDeque<char>>();
    for n in 0.. {
        assert!(n < 20_000, "the flow does not end");
        let now = Now::from_millis(n * 20);
        hear(agent.as_mut(), n, &SILENCE);
        if agent.poll_timeout().is_some_and(|at| at <= now) {
            agent.handle_timeout(now);
        }
        while let Some(output) = agent.poll_output() {
            match output {
                AgentOutput::Audio(audio) => bytes += audio.len(),
                AgentOutput::Mark(name) => queue.push_back(name),
                AgentOutput::Clear => panic!("nothing interrupts"),
                AgentOutput::Event(AgentEvent::Complete { output, .. }) => {
                    return (bytes, output.unwrap());
                }
                AgentOutput::Event(_) => {}
            }
        }
        if let Some(name) = queue.pop_front() {
            let (played, sample) = (true, n * 160);
            agent.handle_input(
                now,
                AgentInput::MarkPlayed {
                    name: name.clone(),
                    played,
                    sample,
                },
            );
            // the menu is the second prompt, the account the third
            if name == "flow-2" || name == "flow-3" {
                let pressed = if name == "flow-2" { 1 } else { 4 };
                for digit in keys.drain(..pressed) {
                    agent.handle_input(now, AgentInput::Dtmf { digit });
                }
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    unreachable!()
}

#[tokio::test]
async fn flow_behind_the_wire_and_flow_built_in_say_the_same() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/flow/ivr.yaml");
    let name = format!("builtin:flow?file={}", file.display());
    let built_in = run_flow(connect(&name).await).await;
    let wired = run_flow(connected(&name).await).await;
    assert_eq!(wired.0, built_in.0, "bytes of prompts");
    assert_eq!(wired.1, built_in.1);
    assert_eq!(wired.1.transfer_type, TransferType::System);
    assert_eq!(wired.1.reference_variables["account"], "1234");
}

#[tokio::test]
async fn server_of_an_agent_that_does_not_exist_is_refused() {
    assert!(
        AgentServer::new("builtin:parrot")
            .unwrap_err()
            .contains("parrot")
    );
}
