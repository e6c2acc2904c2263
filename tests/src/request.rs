//! SIP requests and responses as scripts write them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use sip_core::Transport;
use sip_message::{HeaderName, Message};

/// A request as text, field by field.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line.
    pub line: String,
    fields: Vec<(String, String)>,
    body: String,
}

impl Request {
    /// A request without any field.
    #[must_use]
    pub fn new(method: &str, uri: &str) -> Self {
        Self {
            line: format!("{method} {uri} SIP/2.0"),
            fields: Vec::new(),
            body: String::new(),
        }
    }

    /// Another request line.
    #[must_use]
    pub fn with_line(mut self, line: impl Into<String>) -> Self {
        self.line = line.into();
        self
    }

    /// The field has this value, once, where its first was.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        match self.fields.iter().position(|field| is(field, name)) {
            None => self.fields.push((name.to_owned(), value)),
            Some(at) => {
                self.fields[at].1 = value;
                let mut index = 0;
                self.fields.retain(|field| {
                    index += 1;
                    index - 1 <= at || !is(field, name)
                });
            }
        }
        self
    }

    /// One more field.
    #[must_use]
    pub fn and(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// None of these fields.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|field| !is(field, name));
        self
    }

    /// A body.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<String>) -> Self {
        self.body = body.into();
        self.with("Content-Type", content_type)
    }

    /// The first value of a field.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        let mut fields = self.fields.iter();
        fields
            .find(|field| is(field, name))
            .map_or("", |(_, value)| value)
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The Request-URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The same request as a new transaction: the next CSeq and another branch.
    #[must_use]
    pub fn again(self) -> Self {
        let (number, method) = self.value("CSeq").split_once(' ').unwrap();
        let cseq = format!("{} {method}", number.parse::<u32>().unwrap() + 1);
        let (before, _) = self.value("Via").split_once("branch=").unwrap();
        let via = format!("{before}branch={}", branch());
        self.with("CSeq", cseq).with("Via", via)
    }

    /// The ACK of a final response that refuses, or the CANCEL of this request: same branch.
    #[must_use]
    pub fn beside(&self, method: &str, to: &str) -> Self {
        let (number, _) = self.value("CSeq").split_once(' ').unwrap();
        Self::new(method, self.uri())
            .with("Via", self.value("Via"))
            .with("Max-Forwards", "70")
            .with("From", self.value("From"))
            .with("To", to)
            .with("Call-ID", self.value("Call-ID"))
            .with("CSeq", format!("{number} {method}"))
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self
            .fields
            .iter()
            .any(|field| is(field, "Content-Length") || is(field, "l"))
        {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text
    }
}

fn is(field: &(String, String), name: &str) -> bool {
    field.0.eq_ignore_ascii_case(name)
}

/// A name that no other has: branches, tags, Call-IDs.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{:x}-{count}", std::process::id())
}

pub(crate) fn branch() -> String {
    unique("z9hG4bK")
}

pub(crate) fn via(transport: Transport, address: SocketAddr) -> String {
    let transport = match transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
    };
    format!("SIP/2.0/{transport} {address};rport;branch={}", branch())
}

/// The first value of a field, as text.
#[must_use]
pub fn text<'a>(message: &'a Message, name: impl Into<HeaderName<'a>>) -> String {
    let value = message.header(name);
    String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
}

/// A response to a request, with fields of its own and a body of SDP if that is not empty.
#[must_use]
pub fn respond(
    request: &Message,
    status: &str,
    tag: &str,
    fields: &[(&str, &str)],
    sdp: &str,
) -> String {
    let mut answer = Request::new("", "").with_line(format!("SIP/2.0 {status}"));
    for name in [HeaderName::Via, HeaderName::RecordRoute] {
        for value in request.fields_named(name) {
            answer = answer.and(name.as_str(), String::from_utf8_lossy(&value.value()));
        }
    }
    let mut to = text(request, HeaderName::To);
    if !to.contains(";tag=") && !status.starts_with("100") {
        to = format!("{to};tag={tag}");
    }
    answer = answer
        .and("From", text(request, HeaderName::From))
        .and("To", to)
        .and("Call-ID", text(request, HeaderName::CallId))
        .and("CSeq", text(request, HeaderName::CSeq));
    for (name, value) in fields {
        answer = answer.and(name, *value);
    }
    if !sdp.is_empty() {
        answer = answer.with_body("application/sdp", sdp);
    }
    answer.to_text()
}

/// One end of a dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// The transport and the address of this end.
    pub here: (Transport, SocketAddr),
    /// The Call-ID.
    pub call_id: String,
    /// From of our requests.
    pub local: String,
    /// To of our requests.
    pub remote: String,
    /// The remote target.
    pub target: String,
    /// The last CSeq number that we used.
    pub cseq: u32,
}

impl Dialog {
    /// The calling end.
    #[must_use]
    pub fn calling(here: (Transport, SocketAddr), answer: &Message) -> Self {
        Self {
            here,
            call_id: text(answer, HeaderName::CallId),
            local: text(answer, HeaderName::From),
            remote: text(answer, HeaderName::To),
            target: contact_uri(answer),
            cseq: answer.cseq().unwrap().number,
        }
    }

    /// The end that was called.
    #[must_use]
    pub fn called(here: (Transport, SocketAddr), invite: &Message, tag: &str) -> Self {
        Self {
            here,
            call_id: text(invite, HeaderName::CallId),
            local: format!("{};tag={tag}", text(invite, HeaderName::To)),
            remote: text(invite, HeaderName::From),
            target: contact_uri(invite),
            cseq: 100,
        }
    }

    /// The next request inside the dialog.
    pub fn request(&mut self, method: &str) -> Request {
        if method != "ACK" {
            self.cseq += 1;
        }
        let (transport, address) = self.here;
        Request::new(method, &self.target)
            .with("Via", via(transport, address))
            .with("Max-Forwards", "70")
            .with("From", self.local.as_str())
            .with("To", self.remote.as_str())
            .with("Call-ID", self.call_id.as_str())
            .with("CSeq", format!("{} {method}", self.cseq))
            .with("Contact", format!("<sip:peer@{address}>"))
    }
}

fn contact_uri(message: &Message) -> String {
    let contact = message.contact().unwrap().unwrap();
    String::from_utf8_lossy(contact.uri().as_bytes()).into_owned()
}
