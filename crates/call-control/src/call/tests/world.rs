//! A call with nothing around it: the test is the shell.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use media_core::Side;
use serde_json::json;
use sip_core::{Command, Ended, Flow, Header, LegEvent, LegId};
use timebase::{Now, UnixMillis};

use crate::io::{
    AgentRequest, AgentSaid, Hop, Input, MediaRequest, MediaSaid, Output, StoreReply, StoreRequest,
};
use crate::policy::{Fallback, Policy};
use crate::transfer::{
    InputContext, NewTransfer, OutputContext, ReturnType, SipReturn, Status, Transfer,
    TransferType, Variables,
};
use crate::{Call, Facts, MediaRules, Outcome, Record};

pub(super) const CALLER: LegId = LegId(2);
pub(super) const TARGET: LegId = LegId(1);
pub(super) const SECOND_TARGET: LegId = LegId(3);
pub(super) const RETURN_URI: &str = "sip:back@sbc.example.com;User-to-User=UUI-12345";

pub(super) const OFFER: &str = "v=0\r\no=sbc 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n\
    t=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
pub(super) const ANSWER: &str = "v=0\r\no=t 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\n\
    t=0 0\r\nm=audio 6000 RTP/AVP 8\r\n";

pub(super) struct World {
    pub(super) call: Call,
    pub(super) now: Now,
}

pub(super) fn policy() -> Policy {
    Policy {
        account: "lab".into(),
        return_type: ReturnType::Bye,
        return_credentials: None,
        fallback: vec![
            Fallback::Return(ReturnType::Invite),
            Fallback::Return(ReturnType::Bye),
        ],
        refer_always: false,
        refer_timeout: Duration::from_secs(120),
        refer_bye_after: Duration::from_secs(1),
        peer: crate::Peer::default(),
        hand_back_timeout: Duration::from_secs(300),
        invite_timeout: Duration::from_secs(60),
        max_redirects: 5,
        tone: None,
        ringing: false,
        connect_timeout: Duration::from_secs(5),
        reconnect_timeout: Duration::from_secs(5),
        answer_first: false,
        agent_lost: TransferType::Agent,
        closed_without_complete: TransferType::System,
        transcribe: true,
        media_timeout: Duration::from_secs(30),
        call_duration: Duration::from_secs(4 * 3600),
    }
}

pub(super) fn facts() -> Facts {
    Facts {
        trunk: sip_core::TrunkId(0),
        leg: CALLER,
        transfer: "t-1".into(),
        offer: Some(Bytes::from_static(OFFER.as_bytes())),
        reliability: sip_core::Reliability::Unsupported,
        allow_refer: true,
        max_forwards: 70,
        caller_identity: Bytes::from_static(b"\"Ann\" <sip:100@gw>"),
        passed_on: vec![Header::new("P-Asserted-Identity", "<sip:100@sbc>")],
        on_refer: Vec::new(),
        on_bye: Vec::new(),
        in_refer_to: Vec::new(),
        refer_to_parameters: Vec::new(),
        refer_to_host: None,
        referred_by: Some(Bytes::from_static(b"<sip:agent@gw>")),
        brought: None,
        tel_host: None,
        session_id: 7,
        codecs: vec![sdp::Codec::Pcmu, sdp::Codec::Pcma],
        media: MediaRules::default(),
    }
}

pub(super) fn transfer(return_type: Option<ReturnType>) -> Box<Transfer> {
    let input_variables = json!({"account": "42"}).as_object().cloned();
    Box::new(Transfer {
        registered: NewTransfer {
            account: "lab".into(),
            id: "t-1".into(),
            external_conversation_id: "c-1".to_owned(),
            sip: Some(SipReturn {
                return_uri: Some(RETURN_URI.to_owned()),
                return_type,
                ..SipReturn::default()
            }),
            input: Some(InputContext {
                task_name: Some("billing".to_owned()),
                input_variables,
            }),
        },
        status: Status::Ongoing,
        created_at: UnixMillis(0),
        call_received_at: None,
        completed_at: None,
        output: None,
    })
}

pub(super) fn output() -> Box<OutputContext> {
    Box::new(OutputContext {
        transfer_type: TransferType::System,
        current_task_name: Some("done".to_owned()),
        reference_variables: Variables::new(),
        transfer_variables: Variables::new(),
    })
}

pub(super) fn complete() -> Input {
    Input::Agent(AgentSaid::Complete {
        id: None,
        output: Ok(output()),
        drain: true,
    })
}

pub(super) fn port(side: Side) -> Input {
    let number = match side {
        Side::Caller => 20_000,
        Side::Target => 20_002,
    };
    let address = SocketAddr::from(([192, 0, 2, 100], number));
    Input::Media(MediaSaid::Opened { side, address })
}

pub(super) fn hop(leg: LegId) -> Hop {
    let local = SocketAddr::from(([192, 0, 2, 100], 5060));
    let remote = SocketAddr::from(([192, 0, 2, 9], 5060));
    Hop {
        doubtful: false,
        leg,
        flow: Flow::udp(local, remote),
        route: None,
    }
}

pub(super) fn leg(leg: LegId, event: LegEvent) -> Input {
    Input::Leg { leg, event }
}

pub(super) fn ended(of: LegId, why: Ended) -> Input {
    leg(of, LegEvent::Ended { why })
}

impl World {
    pub(super) fn new(facts: Facts, policy: Policy) -> Self {
        let now = Now::ZERO;
        let mut world = Self {
            call: Call::new(now, facts, policy),
            now,
        };
        assert_eq!(world.wants(), ["claim"]);
        world
    }

    /// A call whose transfer is claimed.
    pub(super) fn claimed(facts: Facts, policy: Policy, transfer: Box<Transfer>) -> Self {
        let mut world = Self::new(facts, policy);
        let reply = StoreReply::Claimed { transfer, fence: 5 };
        assert_eq!(
            world.on(Input::Store(reply)),
            ["open Caller", "connect agent"]
        );
        world
    }

    /// A call that is answered and acknowledged, with its agent attached.
    pub(super) fn talking(policy: Policy, return_type: ReturnType) -> Self {
        let mut world = Self::claimed(facts(), policy, transfer(Some(return_type)));
        world.on(port(Side::Caller));
        let wants = world.on(Input::Agent(AgentSaid::Connected));
        assert_eq!(wants, ["accept", "connect Caller", "attach agent"]);
        let wants = world.on(leg(CALLER, LegEvent::Confirmed { answer: None }));
        assert_eq!(wants, ["watch media 30"]);
        world
    }

    /// A call whose agent completed and whose result is stored.
    pub(super) fn handing_back(policy: Policy, return_type: ReturnType) -> (Self, Vec<String>) {
        let mut world = Self::talking(policy, return_type);
        let wants = world.on(complete());
        assert_eq!(wants, ["tell agent accepted", "drain", "store SYSTEM"]);
        assert_eq!(
            world.on(Input::Media(MediaSaid::Drained)),
            Vec::<String>::new()
        );
        let wants = world.on(Input::Store(StoreReply::Completed));
        (world, wants)
    }

    /// A returned call that rings.
    pub(super) fn dialing(policy: Policy) -> Self {
        let (mut world, wants) = Self::handing_back(policy, ReturnType::Invite);
        let resolve = format!("resolve {RETURN_URI}");
        let last = &wants[wants.len() - 2..];
        assert_eq!(last, [resolve.as_str(), "open Target"]);
        assert_eq!(world.on(port(Side::Target)), Vec::<String>::new());
        let placed = world.on(Input::Resolved(Ok(vec![hop(TARGET)])));
        assert_eq!(placed, [format!("place {RETURN_URI}")]);
        world
    }

    pub(super) fn bridged() -> Self {
        let mut world = Self::dialing(policy());
        let sdp = Some(Bytes::from_static(ANSWER.as_bytes()));
        let wants = world.on(leg(
            TARGET,
            LegEvent::Answered {
                sdp,
                allow_refer: true,
            },
        ));
        let bridged = [
            "connect Target",
            "watch media 30",
            "tone None",
            "bridge",
            "listen",
        ];
        assert_eq!(wants, bridged);
        world
    }

    pub(super) fn on(&mut self, input: Input) -> Vec<String> {
        self.call.handle_input(self.now, input);
        self.wants()
    }

    pub(super) fn after(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.call.handle_timeout(self.now);
        self.wants()
    }

    fn wants(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.call.poll_output())
            .map(|output| describe(&output))
            .collect()
    }

    /// Lets the call end and returns how it did.
    pub(super) fn outcome(&mut self, input: Input) -> Outcome {
        self.record(input).outcome
    }

    /// Lets the call end and returns its record.
    pub(super) fn record(&mut self, input: Input) -> Record {
        self.call.handle_input(self.now, input);
        let last = std::iter::from_fn(|| self.call.poll_output()).last();
        let Some(Output::Ended(record)) = last else {
            panic!("the call is not over: {last:?}");
        };
        assert!(self.call.is_ended());
        assert_eq!(self.call.poll_timeout(), None);
        *record
    }
}

fn describe(output: &Output) -> String {
    match output {
        Output::Sip { leg, command } => describe_command(*leg, command),
        Output::Place(place) => format!("place {}", String::from_utf8_lossy(&place.uri)),
        Output::Store(StoreRequest::Claim) => "claim".to_owned(),
        Output::Store(StoreRequest::Bring(new)) => format!("bring {}", new.id),
        Output::Store(StoreRequest::Release { fence: 5 }) => "release".to_owned(),
        Output::Store(StoreRequest::Release { fence }) => panic!("fence {fence}"),
        Output::Store(StoreRequest::Complete { fence, output }) => {
            assert_eq!(*fence, 5);
            match output {
                Some(output) => format!("store {:?}", output.transfer_type).to_uppercase(),
                None => "store nothing".to_owned(),
            }
            .replace("STORE", "store")
        }
        Output::Agent(request) => describe_agent(request),
        Output::Media(request) => describe_media(request),
        Output::Resolve { uri } => format!("resolve {}", String::from_utf8_lossy(uri)),
        Output::Ended(record) => format!("ended: {}", record.outcome),
    }
}

fn describe_command(leg: LegId, command: &Command) -> String {
    let side = if leg == CALLER { "" } else { "target " };
    match command {
        Command::Accept { sdp: None, .. } => "accept without SDP".to_owned(),
        Command::Accept { .. } => "accept".to_owned(),
        Command::Refuse(response) => match response.headers.first() {
            Some(header) => format!(
                "refuse {} {}: {}",
                response.status,
                header.name,
                String::from_utf8_lossy(&header.value)
            ),
            None => format!("refuse {}", response.status),
        },
        Command::HangUp { headers } => match headers.first() {
            Some(reason) => {
                format!("{side}hang up {}", String::from_utf8_lossy(&reason.value))
            }
            None => format!("{side}hang up"),
        },
        Command::Ring { status, sdp: None } => format!("ring {status}"),
        Command::Ring { status, .. } => format!("ring {status} with SDP"),
        Command::Refer { target, .. } => format!("refer {}", String::from_utf8_lossy(target)),
        Command::Answer { sdp } => format!("{side}answer {}", direction_of(sdp)),
        Command::Reoffer { sdp } => format!("{side}offer {}", direction_of(sdp)),
        Command::WithdrawOffer => format!("{side}withdraw offer"),
        Command::RefuseOffer { status } => format!("{side}refuse offer {status}"),
        Command::AnswerRefer { .. }
        | Command::Notify { .. }
        | Command::Located { .. }
        | Command::Press { .. } => format!("{side}{command:?}"),
    }
}

fn direction_of(sdp: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(sdp);
    let names = ["sendonly", "recvonly", "inactive"];
    let said = names.into_iter().find(|name| text.contains(name));
    said.unwrap_or("sendrecv")
}

fn describe_agent(request: &AgentRequest) -> String {
    match request {
        AgentRequest::Connect { resume: None, .. } => "connect agent".to_owned(),
        AgentRequest::Connect {
            resume: Some(_), ..
        } => "connect agent again".to_owned(),
        AgentRequest::Attach => "attach agent".to_owned(),
        AgentRequest::Completed { error: None, .. } => "tell agent accepted".to_owned(),
        AgentRequest::Completed {
            error: Some(error), ..
        } => format!("tell agent {error}"),
        AgentRequest::Phase(phase, _) => format!("tell agent {phase:?}"),
        AgentRequest::TransferResult { progress, status } => {
            format!("tell agent {progress:?} {status:?}")
        }
        AgentRequest::Listen => "listen".to_owned(),
        AgentRequest::Stop => "stop agent".to_owned(),
    }
}

fn describe_media(request: &MediaRequest) -> String {
    match request {
        MediaRequest::Open { side } => format!("open {side:?}"),
        MediaRequest::Connect { side, .. } => format!("connect {side:?}"),
        MediaRequest::Disconnect { side } => format!("disconnect {side:?}"),
        MediaRequest::Clear => "clear".to_owned(),
        MediaRequest::Pressed { side, key, .. } => format!("pressed {side:?} {key}"),
        MediaRequest::Tone(tone) => format!("tone {tone:?}"),
        MediaRequest::Bridge(true) => "bridge".to_owned(),
        MediaRequest::Bridge(false) => "unbridge".to_owned(),
        MediaRequest::Drain => "drain".to_owned(),
        MediaRequest::Comfort => "comfort".to_owned(),
        MediaRequest::Watch(Some(limit)) => format!("watch media {}", limit.as_secs()),
        MediaRequest::Watch(None) => "do not watch media".to_owned(),
        MediaRequest::Ask => "ask whether the caller is heard".to_owned(),
        MediaRequest::Close => "close media".to_owned(),
    }
}
