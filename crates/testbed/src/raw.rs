//! Messages of parties that have no endpoint of ours: written by hand, so that they may be wrong.

use std::net::SocketAddr;

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Limits, Message};

/// One end of a dialog, as far as a rough party keeps it.
#[derive(Clone, Debug)]
pub(crate) struct RawDialog {
    pub(crate) own: SocketAddr,
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
            call_id,
            local,
            remote,
            target,
            cseq,
            ..
        } = self;
        let length = body.len();
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch={branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:rough@{own}>\r\n{extra}Content-Length: {length}\r\n\r\n{body}"
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
