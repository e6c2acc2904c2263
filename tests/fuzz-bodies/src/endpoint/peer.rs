//! The peer: it knows what was sent to it, and answers and asks whatever the choices say.

use std::collections::VecDeque;

use sip_core::Flow;
use sip_message::{HeaderName, Message, Method};

use super::SDP;
use crate::choices::Choices;

const METHODS: [&str; 16] = [
    "INVITE",
    "INVITE",
    "INVITE",
    "ACK",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "UPDATE",
    "PRACK",
    "INFO",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "FLY",
];
const STATUSES: [u16; 20] = [
    100, 180, 183, 199, 200, 200, 200, 202, 302, 400, 401, 404, 408, 420, 422, 481, 487, 491, 500,
    603,
];
/// Lines that a request may have.
const LINES: [&str; 24] = [
    "X-ASAPP-CallTransferId: t-1",
    "Contact: <sip:sbc@192.0.2.9:5070>",
    "Contact: <sip:sbc@192.0.2.9:5070;transport=tcp>",
    "Content-Type: application/sdp",
    "Content-Type: message/sipfrag",
    "Content-Type: application/dtmf-relay",
    "Supported: 100rel, timer",
    "Require: 100rel",
    "Require: timer",
    "Require: unheard-of",
    "Session-Expires: 90;refresher=uas",
    "Session-Expires: 1800",
    "Session-Expires: 30",
    "Min-SE: 90",
    "RAck: 1 1 INVITE",
    "Refer-To: <sip:desk@example.com>",
    "Event: refer",
    "Subscription-State: terminated;reason=noresource",
    "Subscription-State: active;expires=60",
    "Record-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.7>",
    "Allow: INVITE, ACK, BYE, CANCEL",
    "Replaces: call-1;to-tag=a;from-tag=b",
    "Reason: SIP;cause=200;text=\"elsewhere\"",
    "Content-Encoding: gzip",
];
const BODIES: [&str; 6] = [
    SDP,
    "",
    "SIP/2.0 200 OK\r\n",
    "SIP/2.0 100 Trying",
    "Signal=5\r\nDuration=160\r\n",
    "v=0\r\nnonsense",
];
/// How many of our requests are remembered.
const MEMORY: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Requests of ours.
    requests: VecDeque<(Flow, Message)>,
    /// To tags of ours, with the Call-ID.
    tags: VecDeque<(String, String)>,
}

impl Peer {
    /// Where something comes from: mostly the trunk.
    pub(crate) fn flow(choices: &mut Choices<'_>) -> Flow {
        match choices.byte() % 16 {
            0..=9 => super::flow("192.0.2.9:5070", None),
            10 => super::flow("192.0.2.77:5060", None),
            11 => super::flow("198.51.100.66:5060", None),
            number => super::flow(super::PEER_STREAM, Some(u64::from(number % 3))),
        }
    }

    pub(crate) fn gets(&mut self, flow: Flow, message: &Message) {
        let call_id = String::from_utf8_lossy(message.call_id().unwrap_or_default()).into_owned();
        let ours = if message.is_request() {
            message.from()
        } else {
            message.to()
        };
        if let Some(tag) = ours.ok().as_ref().and_then(|address| address.tag()) {
            let pair = (call_id, String::from_utf8_lossy(tag).into_owned());
            if !self.tags.contains(&pair) {
                self.tags.push_front(pair);
                self.tags.truncate(MEMORY);
            }
        }
        if message.is_request() && message.method() != Method::Ack {
            self.requests.push_front((flow, message.clone()));
            self.requests.truncate(MEMORY);
        }
    }

    /// A request, inside a dialog or outside, well-formed but for a rare byte.
    pub(crate) fn request(&self, choices: &mut Choices<'_>) -> (Flow, Vec<u8>) {
        let flow = Self::flow(choices);
        let method = choices.of(&METHODS);
        let branch = choices.byte() % 16;
        let cseq = choices.byte() % 8;
        let inside = choices.byte();
        let (call_id, tag) = match self.tags.get(usize::from(inside) % MEMORY) {
            Some((call_id, tag)) if inside & 0x80 == 0 => (call_id.clone(), format!(";tag={tag}")),
            _ if inside & 0xC0 == 0xC0 => ("call-0".to_owned(), ";tag=invented".to_owned()),
            _ => (format!("call-{}", inside % 4), String::new()),
        };
        let via = if flow.connection.is_some() {
            "TCP"
        } else {
            "UDP"
        };
        let mut text = format!(
            "{method} sip:agent@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/{via} 192.0.2.9:5070;branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"Ann\" <sip:ann@example.com>;tag={}\r\nTo: <sip:agent@192.0.2.1>{tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n",
            self.their_tag(&call_id),
        );
        if method == "INVITE" {
            text += "X-ASAPP-CallTransferId: t-1\r\nContact: <sip:sbc@192.0.2.9:5070>\r\nContent-Type: application/sdp\r\n";
        }
        for _ in 0..choices.byte() % 4 {
            text += &format!("{}\r\n", choices.of(&LINES));
        }
        let body = choices.of(&BODIES);
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        (flow, spoilt(text, choices))
    }

    /// The tag by which our requests in a call know the peer, else the one it always uses.
    fn their_tag(&self, call_id: &str) -> String {
        let ours = self
            .requests
            .iter()
            .find(|(_, request)| request.call_id().ok() == Some(call_id.as_bytes()));
        let to = ours.and_then(|(_, request)| request.to().ok());
        to.as_ref().and_then(|to| to.tag()).map_or_else(
            || "theirs".to_owned(),
            |tag| String::from_utf8_lossy(tag).into_owned(),
        )
    }

    /// A response to one of our latest requests.
    pub(crate) fn response(&self, choices: &mut Choices<'_>) -> Option<(Flow, Vec<u8>)> {
        let (flow, request) = self
            .requests
            .get(choices.below(self.requests.len().max(1)))?;
        let status = choices.of(&STATUSES);
        let value = |name| {
            let found = request.header(name).unwrap_or_default();
            String::from_utf8_lossy(&found).into_owned()
        };
        let mut to = value(HeaderName::To);
        if !to.contains(";tag=") && status > 100 {
            to += choices.of(&[";tag=theirs", ";tag=theirs", ";tag=fork", ""]);
        }
        let mut text = format!(
            "SIP/2.0 {status} Whatever\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:desk@192.0.2.9:5070>\r\n",
            value(HeaderName::Via),
            value(HeaderName::From),
            value(HeaderName::CallId),
            value(HeaderName::CSeq),
        );
        if matches!(status, 401 | 407) {
            text += &format!(
                "WWW-Authenticate: Digest realm=\"there\", nonce=\"{}\"\r\n",
                choices.byte()
            );
        }
        if choices.byte() & 1 == 0 {
            text += "Content-Type: application/sdp\r\n";
        }
        for _ in 0..choices.byte() % 3 {
            let line = choices.of(&LINES);
            if !line.starts_with("Con") {
                text += &format!("{line}\r\n");
            }
        }
        if status < 200 && choices.byte() & 1 == 1 {
            text += &format!("Require: 100rel\r\nRSeq: {}\r\n", choices.byte() % 4);
        }
        let body = choices.of(&BODIES);
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let elsewhere = choices.rarely(16);
        let flow = if elsewhere {
            super::flow("198.51.100.66:5060", None)
        } else {
            *flow
        };
        Some((flow, spoilt(text, choices)))
    }
}

/// Rarely a byte is another one.
fn spoilt(text: String, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut text = text.into_bytes();
    if choices.rarely(16) {
        let at = usize::from(choices.number()) % text.len();
        text[at] = choices.byte();
    }
    text
}
