//! Messages of parties that have no endpoint of ours: written by hand, so that they may be wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use sip_core::{ConnectionId, Flow, Transport};
use sip_message::{Builder, Frame, HeaderName, Limits, Message, StreamDecoder};

use crate::network::Arrival;
use crate::plan::GATEWAY;

/// When a request without an answer is sent again, in milliseconds after the first time.
pub(crate) const AGAIN: [u64; 5] = [500, 1_500, 3_500, 7_500, 11_500];

/// What reaches a party that has no endpoint, as messages: a datagram each, or framed in a stream.
#[derive(Debug, Default)]
pub(crate) struct Inbox(BTreeMap<ConnectionId, StreamDecoder>);

impl Inbox {
    /// The messages that are whole now. What is none is passed over.
    pub(crate) fn messages(&mut self, arrival: &Arrival) -> Vec<Message> {
        // An error is final: what follows it on the connection is passed over.
        let Some(connection) = arrival.flow.connection else {
            return parse(&arrival.bytes).into_iter().collect();
        };
        let decoder = self.0.entry(connection);
        let decoder = decoder.or_insert_with(|| StreamDecoder::new(Limits::default()));
        decoder.push(&arrival.bytes);
        let frames = std::iter::from_fn(|| decoder.next().ok().flatten());
        let message = |frame| match frame {
            Frame::Message(message) => message.ok(),
            Frame::Ping => None,
        };
        frames.filter_map(message).collect()
    }

    /// What was begun on a connection never comes to its end.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        self.0.remove(&connection);
    }
}

/// The way from a party without an endpoint to the gateway; a stream is opened when there is none.
pub(crate) const fn flow(own: SocketAddr, stream: bool) -> Flow {
    let flow = Flow::udp(own, GATEWAY);
    if stream {
        Flow {
            transport: Transport::Tcp,
            ..flow
        }
    } else {
        flow
    }
}

/// One end of a dialog, as far as a rough party keeps it.
#[derive(Clone, Debug)]
pub(crate) struct RawDialog {
    pub(crate) own: SocketAddr,
    /// Whether it is on a stream rather than datagrams.
    pub(crate) stream: bool,
    pub(crate) call_id: String,
    /// Our From value in requests, with the tag.
    pub(crate) local: String,
    /// The peer's value, with its tag once there is one.
    pub(crate) remote: String,
    /// The Request-URI of requests in the dialog.
    pub(crate) target: String,
    pub(crate) cseq: u32,
}

impl RawDialog {
    /// A request with this CSeq and branch. `extra` are whole lines with their line ends.
    pub(crate) fn request(&self, method: &str, branch: &str, extra: &str, body: &str) -> Bytes {
        let Self {
            own,
            stream,
            call_id,
            local,
            remote,
            target,
            cseq,
            ..
        } = self;
        let length = body.len();
        let (transport, suffix) = if *stream {
            ("TCP", ";transport=tcp")
        } else {
            ("UDP", "")
        };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{transport} {own};branch={branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:rough@{own}{suffix}>\r\n{extra}Content-Length: {length}\r\n\r\n{body}"
        )
        .into()
    }

    /// The ACK of a 2xx with this CSeq.
    pub(crate) fn ack(&self, cseq: u32, branch: &str, body: &str) -> Bytes {
        let at = Self {
            cseq,
            ..self.clone()
        };
        let extra = if body.is_empty() { "" } else { SDP };
        at.request("ACK", branch, extra, body)
    }

    /// Takes the peer's tag and Contact from a message of its.
    pub(crate) fn learn(&mut self, message: &Message, field: HeaderName<'static>) {
        self.remote = text(message, field);
        if let Ok(Some(contact)) = message.contact() {
            self.target = String::from_utf8_lossy(contact.uri().as_bytes()).into_owned();
        }
    }
}

/// The Content-Type line of a session description.
pub(crate) const SDP: &str = "Content-Type: application/sdp\r\n";

/// A session description with this connection address, port, payload types and direction.
pub(crate) fn sdp(address: &str, version: u32, payloads: &str, direction: &str) -> String {
    format!(
        "v=0\r\no=rough 7 {version} IN IP4 10.0.0.5\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
         m=audio 31000 RTP/AVP {payloads}\r\na=ptime:20\r\na={direction}\r\n"
    )
}

/// A response to a request, with this To tag where it has none.
pub(crate) fn response(
    request: &Message,
    status: u16,
    tag: &str,
    lines: &[(&'static str, String)],
    body: &str,
) -> Bytes {
    let to = text(request, HeaderName::To);
    let to = if to.contains("tag=") || status == 100 {
        to
    } else {
        format!("{to};tag={tag}")
    };
    let mut builder = Builder::response(status, "Rough")
        .copy(request, HeaderName::Via)
        .copy(request, HeaderName::From)
        .field(HeaderName::To, to)
        .copy(request, HeaderName::CallId)
        .copy(request, HeaderName::CSeq);
    for (name, value) in lines {
        builder = builder.field(*name, value);
    }
    if !body.is_empty() {
        builder = builder.body("application/sdp", body.as_bytes());
    }
    builder.build().bytes().clone()
}

/// A field's value as text; empty where there is none.
pub(crate) fn text(message: &Message, name: HeaderName<'static>) -> String {
    let value = message.header(name).unwrap_or_default();
    String::from_utf8_lossy(&value).into_owned()
}

/// The message that some bytes are.
pub(crate) fn parse(bytes: &Bytes) -> Option<Message> {
    Message::parse(bytes.clone(), &Limits::default()).ok()
}
