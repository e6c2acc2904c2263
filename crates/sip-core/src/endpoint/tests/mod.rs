//! The endpoint on virtual time: one against scripted messages, and two against each other.

mod arrival;
mod calls;
mod early;
mod keys;
mod names;
mod outgoing;
mod pings;
mod property;
mod races;
mod refer;
mod reliable;
mod restore;
mod return_uris;
mod session_timer;
mod torture;
mod update;

use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Limits, Message};
use timebase::Now;
use zeroize::Zeroizing;

use crate::{
    Algorithm, Command, Credentials, DigestUser, Ended, Endpoint, EndpointConfig, Flow, Header,
    Input, Invitation, LegEvent, LegId, Output, Place, Response, TrunkRule,
};

pub(super) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

pub(super) fn trunk(allow: &[&str]) -> TrunkRule {
    TrunkRule {
        name: "sbc".to_owned(),
        allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
        require_all: false,
        digest: None,
        outbound_auth: None,
        header_optional: false,
        reliable_where_supported: false,
    }
}

pub(super) fn with_digest(mut rule: TrunkRule, algorithms: &[Algorithm]) -> TrunkRule {
    rule.digest = Some(DigestUser {
        username: "sbc".to_owned(),
        password: Zeroizing::new("secret".to_owned()),
        algorithms: algorithms.to_vec(),
    });
    rule
}

pub(super) fn credentials(realm: Option<&str>) -> Credentials {
    Credentials {
        realm: realm.map(str::to_owned),
        username: "sbc".to_owned(),
        password: Zeroizing::new("secret".to_owned()),
    }
}

pub(super) fn gateway() -> EndpointConfig {
    EndpointConfig {
        users: vec!["agent".to_owned()],
        trunks: vec![trunk(&["192.0.2.0/24"])],
        required_header: Some("X-ASAPP-CallTransferId".to_owned()),
        ..EndpointConfig::default()
    }
}

/// One endpoint and what it did.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) endpoint: Endpoint,
    pub(super) now: Now,
    pub(super) sent: Vec<(Flow, Message)>,
    pub(super) events: Vec<(LegId, LegEvent)>,
    pub(super) invited: Vec<Invitation>,
    pub(super) pinged: Vec<(u64, u16)>,
    /// Admits every invitation by itself.
    pub(super) admits: bool,
    pub(super) flow: Flow,
}

impl Bench {
    pub(super) fn new(config: EndpointConfig) -> Self {
        Self::at("192.0.2.1:5060", "192.0.2.9:5070", config, 1)
    }

    pub(super) fn at(local: &str, remote: &str, config: EndpointConfig, seed: u8) -> Self {
        Self {
            endpoint: Endpoint::new(config, [seed; 32]),
            now: Now::ZERO,
            sent: Vec::new(),
            events: Vec::new(),
            invited: Vec::new(),
            pinged: Vec::new(),
            admits: true,
            flow: Flow::udp(local.parse().unwrap(), remote.parse().unwrap()),
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.endpoint.handle_input(self.now, input);
        self.drain();
    }

    pub(super) fn command(&mut self, leg: LegId, command: Command) {
        self.input(Input::Command { leg, command });
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, payload } => {
                    let message = Message::parse(payload, &Limits::default()).unwrap();
                    if message.status() != Some(400) {
                        message.validate().unwrap();
                    }
                    self.sent.push((flow, message));
                }
                Output::Invited(invitation) => {
                    self.invited.push(*invitation.clone());
                    if self.admits {
                        self.endpoint
                            .handle_input(self.now, Input::Admit(invitation));
                    }
                }
                Output::Leg { leg, event } => self.events.push((leg, event)),
                Output::Pinged { ping, status } => self.pinged.push((ping.0, status)),
                Output::Close(_) => {}
            }
        }
    }

    /// Lets time pass, with every deadline on its way.
    pub(super) fn pass(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.endpoint.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// A message as text, from the usual flow; lines without CR.
    pub(super) fn hear(&mut self, text: &str) {
        self.hear_from(self.flow, text);
    }

    pub(super) fn hear_from(&mut self, flow: Flow, text: &str) {
        let message = Message::parse(Bytes::from(crlf(text)), &Limits::default());
        self.input(Input::Received { flow, message });
    }

    /// The messages sent since the last look: `200 INVITE` or `BYE`.
    pub(super) fn said(&mut self) -> Vec<String> {
        self.sent
            .drain(..)
            .map(|(_, message)| label(&message))
            .collect()
    }

    /// The events since the last look, by their names.
    pub(super) fn told(&mut self) -> Vec<LegEvent> {
        self.events.drain(..).map(|(_, event)| event).collect()
    }

    pub(super) fn last(&self) -> &Message {
        &self.sent.last().unwrap().1
    }

    /// The leg of the latest invitation.
    pub(super) fn leg(&self) -> LegId {
        self.invited.last().unwrap().leg
    }
}

pub(super) fn label(message: &Message) -> String {
    match message.status() {
        Some(status) => format!("{status} {}", message.method()),
        None => message.method().to_string(),
    }
}

pub(super) fn field(message: &Message, name: &str) -> String {
    String::from_utf8(
        message
            .header(HeaderName::from(name))
            .unwrap_or_default()
            .into_owned(),
    )
    .unwrap()
}

fn crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// A request of the scripted peer: method, branch, CSeq, To tag, further lines, body.
#[derive(Clone, Debug)]
pub(super) struct Req<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) branch: &'a str,
    pub(super) cseq: u32,
    pub(super) to_tag: String,
    pub(super) lines: Vec<String>,
    pub(super) body: &'a str,
}

impl<'a> Req<'a> {
    pub(super) fn new(method: &'a str, branch: &'a str, cseq: u32) -> Self {
        let (uri, to_tag) = ("sip:agent@192.0.2.1:5060", String::new());
        Self {
            method,
            uri,
            branch,
            cseq,
            to_tag,
            lines: Vec::new(),
            body: "",
        }
    }

    pub(super) fn invite() -> Self {
        Self::new("INVITE", "one", 1)
            .line("X-ASAPP-CallTransferId: t-1")
            .line("Contact: <sip:sbc@192.0.2.9:5070>")
            .line("Content-Type: application/sdp")
            .body(SDP)
    }

    pub(super) fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.lines.retain(|line| !line.starts_with(name));
        self
    }

    pub(super) fn body(mut self, body: &'a str) -> Self {
        self.body = body;
        self
    }

    pub(super) fn uri(mut self, uri: &'a str) -> Self {
        self.uri = uri;
        self
    }

    pub(super) fn to(mut self, tag: &str) -> Self {
        self.to_tag = format!(";tag={tag}");
        self
    }

    pub(super) fn text(&self) -> String {
        let Self {
            method,
            uri,
            branch,
            cseq,
            to_tag,
            lines,
            body,
        } = self;
        let mut text = format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK{branch};rport\nMax-Forwards: 70\n\
             From: \"Ann\" <sip:ann@example.com>;tag=theirs\nTo: <sip:agent@192.0.2.1>{to_tag}\nCall-ID: call-1\n\
             CSeq: {cseq} {method}\n"
        );
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&format!("Content-Length: {}\n\n{body}", crlf(body).len()));
        text
    }
}

/// The status that a request from outside every dialog gets, with the whole answer.
pub(super) fn verdict(config: EndpointConfig, text: &str) -> (Option<u16>, Option<Message>) {
    let mut bench = Bench::new(config);
    bench.hear(text);
    assert!(
        bench.sent.len() <= 2,
        "one answer at most, and 100 where admitted"
    );
    let answer = bench.sent.last().map(|(_, message)| message.clone());
    assert_eq!(
        bench.endpoint.census().legs,
        bench.invited.len(),
        "refusals leave nothing behind"
    );
    (answer.as_ref().and_then(Message::status), answer)
}

/// A gateway whose call from the scripted peer stands, and our tag in it.
pub(super) fn standing() -> (Bench, LegId, String) {
    standing_with(gateway())
}

pub(super) fn standing_with(config: EndpointConfig) -> (Bench, LegId, String) {
    let mut bench = Bench::new(config);
    bench.hear(&Req::invite().text());
    let leg = bench.leg();
    bench.command(
        leg,
        Command::Accept {
            sdp: Some(Bytes::from(SDP)),
            headers: Vec::new(),
        },
    );
    let tag = our_tag(bench.last());
    bench.hear(&Req::new("ACK", "ack", 1).to(&tag).text());
    assert_eq!(bench.said(), ["100 INVITE", "200 INVITE"]);
    assert_eq!(bench.told(), [LegEvent::Confirmed { answer: None }]);
    (bench, leg, tag)
}

pub(super) fn our_tag(response: &Message) -> String {
    String::from_utf8(response.to().unwrap().tag().unwrap().to_vec()).unwrap()
}

/// A response of the scripted peer to a request of ours.
pub(super) fn answer_to(
    request: &Message,
    status: u16,
    tag: &str,
    lines: &str,
    body: &str,
) -> String {
    let to = field(request, "To");
    let to = if to.contains(";tag=") || tag.is_empty() {
        to
    } else {
        format!("{to};tag={tag}")
    };
    format!(
        "SIP/2.0 {status} Whatever\nVia: {}\nFrom: {}\nTo: {to}\nCall-ID: {}\nCSeq: {}\n{lines}Content-Length: {}\n\n{body}",
        field(request, "Via"),
        field(request, "From"),
        field(request, "Call-ID"),
        field(request, "CSeq"),
        crlf(body).len(),
    )
}

pub(super) const OUT: LegId = LegId(1);

/// A call placed to the scripted peer.
pub(super) fn place(credentials: Option<Credentials>, sdp: Option<&'static str>) -> Place {
    Place {
        leg: OUT,
        flow: Flow::udp(
            "192.0.2.1:5060".parse().unwrap(),
            "192.0.2.9:5070".parse().unwrap(),
        ),
        uri: Bytes::from("sip:+1555;ext=%41@pbx.example.net:5070;user=phone"),
        from: Bytes::from("\"Ann\" <sip:ann@example.com>"),
        to: Bytes::from("<sip:+1555@pbx.example.net>"),
        headers: vec![Header::new("X-ASAPP-CallTransferId", "t-1")],
        sdp: sdp.map(Bytes::from),
        credentials,
        trunk: None,
        max_forwards: 69,
        route: None,
        sources: Vec::new(),
        patience: None,
    }
}

pub(super) const CONTACT: &str = "Contact: <sip:pbx@192.0.2.9:5070>\n";

pub(super) fn ended(why: Ended) -> LegEvent {
    LegEvent::Ended { why }
}

pub(super) fn accept() -> Command {
    Command::Accept {
        sdp: Some(Bytes::from(SDP)),
        headers: Vec::new(),
    }
}

pub(super) fn hang_up() -> Command {
    Command::HangUp {
        headers: vec![Header::new("Reason", "Q.850;cause=16")],
    }
}

/// A connection of the scripted peer's is closed.
pub(super) fn closed(connection: u64) -> Input {
    Input::ConnectionClosed {
        connection: crate::ConnectionId(connection),
        remote: "192.0.2.9:40000".parse().unwrap(),
    }
}

pub(super) fn refusal(status: u16) -> Response {
    Response::new(status)
}
