//! Sequences of events at one endpoint: messages of a peer that keeps no rule, commands of an
//! owner that keeps none either, time, and connections that close.

mod peer;
mod watch;

use std::time::Duration;

use bytes::Bytes;
use sip_core::{
    Bounds, Command, ConnectionId, Endpoint, EndpointConfig, Flow, Header, Input, Invitation,
    LegId, Output, Place, Response, Transport, TrunkRule,
};
use sip_message::{Limits, Message};
use timebase::Now;

use crate::choices::Choices;
use peer::Peer;
use watch::Watch;

/// How many events a sequence has at most.
const STEPS: usize = 200;
const BOUNDS: Bounds = Bounds {
    legs: 8,
    transactions: 64,
    strangers: (200, 50),
};
const PEER_STREAM: &str = "192.0.2.9:40000";
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// Plays the events that the bytes stand for. What must hold whatever comes:
/// no request has two final answers, no response and no ACK is answered, every leg ends once and
/// says nothing afterwards, no bound is passed, deadlines lie ahead, everything sent is a message,
/// and nothing is left in the end.
pub fn endpoint(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut run = Run::new(choices.byte());
    for _ in 0..STEPS {
        if choices.is_over() {
            break;
        }
        run.step(&mut choices);
    }
    run.finish();
}

struct Run {
    endpoint: Endpoint,
    now: Now,
    peer: Peer,
    watch: Watch,
    invited: Vec<Invitation>,
    legs: Vec<LegId>,
    /// The last thing sent.
    sent: Option<(Flow, Bytes)>,
    placed: u64,
    admits: bool,
}

impl Run {
    fn new(kind: u8) -> Self {
        Self {
            endpoint: Endpoint::new(config(kind), [3; 32]),
            now: Now::ZERO,
            peer: Peer::default(),
            watch: Watch::default(),
            invited: Vec::new(),
            legs: Vec::new(),
            sent: None,
            placed: 0,
            admits: kind & 1 == 0,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 16 {
            0..=4 => self.hear_request(choices),
            5..=7 => self.hear_response(choices),
            8 | 9 => self.pass(Duration::from_millis(u64::from(choices.number()))),
            10 | 11 => self.command(choices),
            12 => self.place(choices),
            13 => self.closed(choices),
            14 => self.decide(choices),
            _ => self.turn(choices),
        }
    }

    fn input(&mut self, input: Input) {
        self.endpoint.handle_input(self.now, input);
        self.drain();
    }

    fn hear(&mut self, flow: Flow, text: Vec<u8>) {
        let message = Message::parse(Bytes::from(text), &Limits::default());
        self.watch.hears(self.now, flow, &message);
        self.input(Input::Received { flow, message });
        self.watch.heard();
    }

    fn hear_request(&mut self, choices: &mut Choices<'_>) {
        let (flow, text) = self.peer.request(choices);
        self.hear(flow, text);
    }

    fn hear_response(&mut self, choices: &mut Choices<'_>) {
        if let Some((flow, text)) = self.peer.response(choices) {
            self.hear(flow, text);
        }
    }

    /// Lets time pass, with every deadline on its way.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut turns = 0;
        while let Some(due) = self.endpoint.poll_timeout().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.endpoint.handle_timeout(self.now);
            self.drain();
            let next = self.endpoint.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a deadline that was served is due again"
            );
            turns += 1;
            assert!(turns < 20_000, "timers without end");
        }
        self.now = until;
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.endpoint.poll_output() {
            outputs += 1;
            assert!(outputs < 1000, "outputs without end");
            match output {
                Output::Transmit { flow, payload } => {
                    let message = Message::parse(payload.clone(), &Limits::default())
                        .expect("what is sent is a message");
                    self.watch.sends(self.now, flow, &message);
                    self.peer.gets(flow, &message);
                    self.sent = Some((flow, payload));
                }
                Output::Invited(invitation) if self.admits => {
                    self.legs.push(invitation.leg);
                    self.watch.begins(invitation.leg);
                    self.endpoint
                        .handle_input(self.now, Input::Admit(invitation));
                }
                Output::Invited(invitation) => self.invited.push(*invitation),
                Output::Leg { leg, event } => self.watch.tells(leg, &event),
                Output::Close(_) | Output::Pinged { .. } => {}
            }
        }
        let census = self.endpoint.census();
        assert!(census.legs <= BOUNDS.legs, "{census:?}");
        assert!(census.transactions <= BOUNDS.transactions, "{census:?}");
    }

    fn command(&mut self, choices: &mut Choices<'_>) {
        if self.legs.is_empty() {
            return;
        }
        let leg = self.legs[self.legs.len() - 1 - choices.below(self.legs.len().min(4))];
        let command = any_command(choices);
        self.input(Input::Command { leg, command });
    }

    fn place(&mut self, choices: &mut Choices<'_>) {
        if self.placed > 40 {
            return;
        }
        let leg = LegId(self.placed * 2 + 1);
        self.placed += 1;
        self.legs.push(leg);
        self.watch.begins(leg);
        let kind = choices.byte();
        let place = Place {
            leg,
            flow: Peer::flow(choices),
            uri: Bytes::from("sip:desk@192.0.2.9"),
            from: Bytes::from("<sip:ann@example.com>"),
            to: Bytes::from("<sip:desk@192.0.2.9>"),
            headers: Vec::new(),
            sdp: (kind & 1 == 0).then(|| Bytes::from(SDP)),
            credentials: (kind & 2 != 0).then(credentials),
            trunk: (kind & 8 != 0).then_some(sip_core::TrunkId(0)),
            max_forwards: 70,
            route: (kind & 4 != 0).then(|| Bytes::from("<sip:192.0.2.8;lr>")),
            sources: Vec::new(),
            patience: None,
        };
        self.input(Input::Place(Box::new(place)));
    }

    fn closed(&mut self, choices: &mut Choices<'_>) {
        if choices.byte() & 1 == 0 {
            let connection = ConnectionId(choices.below(3) as u64);
            let remote = PEER_STREAM.parse().unwrap();
            return self.input(Input::ConnectionClosed { connection, remote });
        }
        if let Some((flow, payload)) = self.sent.take() {
            self.input(Input::SendFailed { flow, payload });
        }
    }

    /// Admits or refuses an invitation that waits.
    fn decide(&mut self, choices: &mut Choices<'_>) {
        let Some(invitation) = self.invited.pop() else {
            return;
        };
        if choices.byte() & 1 == 0 {
            self.legs.push(invitation.leg);
            self.watch.begins(invitation.leg);
            return self.input(Input::Admit(Box::new(invitation)));
        }
        let refusal = Response::new(choices.of(&[403, 404, 486, 503, 603]));
        self.input(Input::Refuse {
            invitation: Box::new(invitation),
            refusal,
        });
    }

    fn turn(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 4 {
            0 => self.input(Input::Drain(true)),
            1 => self.input(Input::Drain(false)),
            _ => {
                let config = config(choices.byte());
                self.input(Input::Reconfigure(Box::new(config)));
            }
        }
    }

    /// Everything is hung up; after the longest timers nothing may be left.
    fn finish(mut self) {
        for invitation in std::mem::take(&mut self.invited) {
            self.input(Input::Refuse {
                invitation: Box::new(invitation),
                refusal: Response::new(480),
            });
        }
        self.pass(Duration::from_secs(40));
        for leg in self.legs.clone() {
            self.input(Input::Command {
                leg,
                command: Command::HangUp {
                    headers: Vec::new(),
                },
            });
        }
        self.pass(Duration::from_secs(600));
        let census = self.endpoint.census();
        assert_eq!(
            (census.legs, census.transactions, census.dialogs),
            (0, 0, 0),
            "{census:?}"
        );
        self.watch.all_ended();
    }
}

fn credentials() -> sip_core::Credentials {
    sip_core::Credentials {
        realm: None,
        username: "desk".to_owned(),
        password: zeroize::Zeroizing::new("secret".to_owned()),
    }
}

fn config(kind: u8) -> EndpointConfig {
    let trunk = TrunkRule {
        name: "sbc".to_owned(),
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        require_all: false,
        digest: None,
        outbound_auth: (kind & 2 != 0).then(credentials),
        header_optional: kind & 16 != 0,
        reliable_where_supported: true,
    };
    EndpointConfig {
        trunks: vec![trunk],
        bounds: BOUNDS,
        required_header: (kind & 4 != 0).then(|| "X-ASAPP-CallTransferId".to_owned()),
        unauthenticated: if kind & 8 == 0 {
            sip_core::Unauthenticated::Answer
        } else {
            sip_core::Unauthenticated::Silence
        },
        ..EndpointConfig::default()
    }
}

/// What an owner may say at any time.
fn any_command(choices: &mut Choices<'_>) -> Command {
    let sdp = Bytes::from(SDP);
    match choices.byte() % 14 {
        0 => Command::Ring {
            status: 180,
            sdp: None,
        },
        1 => Command::Ring {
            status: 183,
            sdp: Some(sdp),
        },
        2..=4 => Command::Accept {
            sdp: (choices.byte() % 4 != 3).then_some(sdp),
            headers: Vec::new(),
        },
        5 => Command::Refuse(Response::new(choices.of(&[404, 480, 486, 487, 503]))),
        6 => Command::HangUp {
            headers: vec![Header::new("Reason", "Q.850;cause=16")],
        },
        7 => Command::Reoffer { sdp },
        8 => Command::Answer { sdp },
        9 => Command::RefuseOffer { status: 488 },
        10 => Command::Refer {
            target: Bytes::from("sip:x@example.com"),
            headers: Vec::new(),
        },
        11 => Command::AnswerRefer {
            status: choices.of(&[200, 202, 403, 603]),
        },
        12 => Command::Notify {
            fragment: "SIP/2.0 200 OK".to_owned(),
            terminated: choices.byte() & 1 == 0,
        },
        _ => Command::Press {
            key: '1',
            duration_ms: 100,
        },
    }
}

/// A flow of the peer: two addresses of the trunk and one of a stranger, datagrams and connections.
fn flow(remote: &str, connection: Option<u64>) -> Flow {
    let flow = Flow::udp("192.0.2.1:5060".parse().unwrap(), remote.parse().unwrap());
    match connection {
        None => flow,
        Some(number) => Flow {
            transport: Transport::Tcp,
            connection: Some(ConnectionId(number)),
            ..flow
        },
    }
}
