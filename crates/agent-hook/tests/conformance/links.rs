//! The links that the suite runs on.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_hook::{
    Agent, AgentEvent, AgentInput, AgentOutput, AudioHookConfig, CallFacts, HookConfig, HookToken,
    Hooks, Protocol, SessionLog, Track,
};
use call_control::transfer::InputContext;
use timebase::Now;
use tokio::net::TcpListener;

use crate::far::{AudioHookFar, Far, TwilioFar};
use crate::scratch::Scratch;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A link to test: by its name, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Twilio Media Streams over a WebSocket.
    Twilio,
    /// AudioHook over a WebSocket, one channel.
    AudioHook,
    /// AudioHook with both channels.
    Stereo,
    /// An agent built in.
    Builtin(&'static str),
}

pub(crate) const WIRES: [Link; 3] = [Link::Twilio, Link::AudioHook, Link::Stereo];

pub(crate) const ALL: [Link; 9] = [
    Link::Twilio,
    Link::AudioHook,
    Link::Stereo,
    Link::Builtin("builtin:echo"),
    Link::Builtin("builtin:lab"),
    Link::Builtin("builtin:record"),
    Link::Builtin("builtin:tone"),
    Link::Builtin("builtin:silence"),
    Link::Builtin("builtin:flow"),
];

pub(crate) const BUILTINS: [&str; 6] = [
    "builtin:echo",
    "builtin:lab",
    "builtin:record",
    "builtin:tone",
    "builtin:silence",
    "builtin:flow",
];

const FLOW: &str = "
version: 1
start: listen
states:
  listen:
    collect: {dtmf: {max: 1, timeout_ms: 60000}}
    on:
      \"0\": {complete: {transferType: AGENT}}
      timeout: {complete: {transferType: SYSTEM}}
";

pub(crate) fn facts() -> CallFacts {
    let input = r#"{ "taskName": "pay", "inputVariables": { "amount": 12.50 } }"#;
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
        sessions: SessionLog::default(),
        headers: BTreeMap::new(),
        bodies: Vec::new(),
    }
}

/// An agent of this link, and its far side where there is one.
pub(crate) async fn connected(link: Link) -> (Subject, Option<Far>) {
    let scratch = Scratch::new();
    let (agent, far) = match link {
        Link::Builtin(name) => (builtin(name, &scratch).await, None),
        Link::Twilio => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let hooks = hooks(&listener, Protocol::Twilio, false);
            let facts = facts();
            let (agent, far) = tokio::join!(
                hooks.connect(&facts, PATIENCE),
                TwilioFar::accept(&listener)
            );
            (agent.unwrap(), Some(Far::Twilio(far)))
        }
        Link::AudioHook | Link::Stereo => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let hooks = hooks(&listener, Protocol::AudioHook, link == Link::Stereo);
            let facts = facts();
            let (agent, far) = tokio::join!(
                hooks.connect(&facts, PATIENCE),
                AudioHookFar::accept(&listener)
            );
            (agent.unwrap(), Some(Far::AudioHook(far)))
        }
    };
    let subject = Subject {
        agent,
        slot: 0,
        scratch,
    };
    (subject, far)
}

/// The agent that needs no server, with what it needs in a folder of its own.
async fn builtin(name: &str, scratch: &Scratch) -> Box<dyn Agent> {
    let url = match name {
        "builtin:flow" => format!("{name}?file={}", scratch.write("flow.yaml", FLOW).display()),
        "builtin:record" => format!("{name}?dir={}", scratch.path().display()),
        other => other.to_owned(),
    };
    started(&url).await
}

/// A dialogue of this text, whose prompts are in the folder.
pub(crate) async fn dialogue(text: &str, scratch: Scratch) -> Subject {
    let file = scratch.write("flow.yaml", text);
    let agent = started(&format!("builtin:flow?file={}", file.display())).await;
    Subject {
        agent,
        slot: 0,
        scratch,
    }
}

async fn started(url: &str) -> Box<dyn Agent> {
    let config = HookConfig {
        urls: vec![url.to_owned()],
        ..HookConfig::default()
    };
    let hooks = Hooks::new(config).unwrap();
    hooks.connect(&facts(), PATIENCE).await.unwrap()
}

fn hooks(listener: &TcpListener, protocol: Protocol, stereo: bool) -> Hooks {
    let address = listener.local_addr().unwrap();
    Hooks::new(HookConfig {
        urls: vec![format!("ws://{address}/agent")],
        protocol,
        audiohook: AudioHookConfig {
            api_key: "key".to_owned(),
            client_secret: Some(b"secret".to_vec()),
            stereo,
            ..AudioHookConfig::default()
        },
        ..HookConfig::default()
    })
    .unwrap()
}

/// The agent as a media shard has it.
pub(crate) struct Subject {
    pub(crate) agent: Box<dyn Agent>,
    slot: u64,
    /// Goes with it.
    pub(crate) scratch: Scratch,
}

impl Subject {
    pub(crate) fn now(&self) -> Now {
        Now::from_millis(1000 + self.slot * 20)
    }

    pub(crate) fn tell(&mut self, input: AgentInput<'_>) {
        self.agent.handle_input(self.now(), input);
    }

    /// A slot: what each party says, and then what the agent wants.
    pub(crate) fn slot(&mut self, inbound: &[u8; 160], outbound: Option<&[u8; 160]>) {
        let timestamp_ms = 340 + self.slot * 20;
        let heard = |track, frame| AgentInput::Heard {
            track,
            timestamp_ms,
            frame,
        };
        self.tell(heard(Track::Inbound, inbound));
        if let Some(outbound) = outbound {
            self.tell(heard(Track::Outbound, outbound));
        }
        self.slot += 1;
        if self.agent.poll_timeout().is_some_and(|at| at <= self.now()) {
            let now = self.now();
            self.agent.handle_timeout(now);
        }
    }

    /// What the agent wants next, but its hello; polled as a shard does.
    pub(crate) async fn output(&mut self) -> AgentOutput {
        let said = async {
            loop {
                match self.agent.poll_output() {
                    Some(AgentOutput::Event(AgentEvent::Hello { .. })) => {}
                    Some(output) => return output,
                    None => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, said)
            .await
            .expect("the agent wants nothing")
    }

    pub(crate) async fn event(&mut self) -> AgentEvent {
        loop {
            if let AgentOutput::Event(event) = self.output().await {
                return event;
            }
        }
    }
}
