//! The few SIP messages that a caller writes and reads.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, SocketAddrV4};

/// What one call has to remember for its messages.
pub(crate) struct Dialogue {
    transfer: String,
    /// The To header's value, with the gateway's tag once there is one.
    to: String,
    /// The gateway's Contact.
    target: String,
}

impl Dialogue {
    pub(crate) fn new(transfer: &str) -> Self {
        Self {
            transfer: transfer.to_owned(),
            to: String::new(),
            target: String::new(),
        }
    }

    /// Takes To and Contact from an answer.
    pub(crate) fn learn(&mut self, answer: &str) {
        if let Some(to) = header(answer, "To") {
            to.clone_into(&mut self.to);
        }
        let contact = header(answer, "Contact").and_then(|it| it.split('<').nth(1));
        if let Some(uri) = contact.and_then(|it| it.split('>').next()) {
            uri.clone_into(&mut self.target);
        }
    }

    /// Frees what a call that is over does not need.
    pub(crate) fn forget(&mut self) {
        *self = Self::new("");
    }

    /// Where requests go: there are no names in these contacts.
    pub(crate) fn next_hop(&self, gateway: SocketAddrV4) -> SocketAddrV4 {
        let host = self.target.rsplit('@').next().unwrap_or_default();
        let host = host.trim_start_matches("sip:").split(';').next();
        host.and_then(|it| it.parse().ok()).unwrap_or(gateway)
    }

    pub(crate) fn invite(
        &self,
        out: &mut Vec<u8>,
        who: (u32, usize),
        own: SocketAddr,
        media: SocketAddr,
        gateway: SocketAddrV4,
    ) {
        let mut sdp = String::with_capacity(256);
        let (ip, port) = (media.ip(), media.port());
        let _ = write!(
            sdp,
            "v=0\r\no=load 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        head(
            out,
            ("INVITE", 1, 'i'),
            &format!("sip:agent@{gateway}"),
            who,
            own,
        );
        let _ = write!(
            out,
            "To: <sip:agent@{gateway}>\r\nContact: <sip:load@{own}>\r\n\
             Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE\r\nX-ASAPP-CallTransferId: {}\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            self.transfer,
            sdp.len()
        );
    }

    /// The ACK; that of a refusal belongs to the INVITE's transaction (RFC 3261 §17.1.1.3).
    pub(crate) fn ack(
        &self,
        out: &mut Vec<u8>,
        who: (u32, usize),
        own: SocketAddr,
        gateway: SocketAddrV4,
        accepted: bool,
    ) {
        let original = format!("sip:agent@{gateway}");
        let uri = if accepted && !self.target.is_empty() {
            &self.target
        } else {
            &original
        };
        head(
            out,
            ("ACK", 1, if accepted { 'a' } else { 'i' }),
            uri,
            who,
            own,
        );
        let _ = write!(out, "To: {}\r\nContent-Length: 0\r\n\r\n", self.to);
    }

    pub(crate) fn bye(
        &self,
        out: &mut Vec<u8>,
        who: (u32, usize),
        own: SocketAddr,
        gateway: SocketAddrV4,
    ) {
        let original = format!("sip:agent@{gateway}");
        let uri = if self.target.is_empty() {
            &original
        } else {
            &self.target
        };
        head(out, ("BYE", 2, 'b'), uri, who, own);
        let _ = write!(out, "To: {}\r\nContent-Length: 0\r\n\r\n", self.to);
    }
}

/// The start line and the headers that all requests have: method, sequence number, mark of the transaction.
fn head(
    out: &mut Vec<u8>,
    (method, sequence, mark): (&str, u32, char),
    uri: &str,
    (run, call): (u32, usize),
    own: SocketAddr,
) {
    let _ = write!(
        out,
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{run}{mark}{call}\r\n\
         Max-Forwards: 70\r\nFrom: \"Load\" <sip:load@{own}>;tag=f{run}{call}\r\n\
         Call-ID: {run}-{call}@load\r\nCSeq: {sequence} {method}\r\n"
    );
}

/// What came, as far as it is looked at.
pub(crate) enum Received {
    Response {
        status: u16,
        method: String,
        call_id: String,
    },
    Request {
        method: String,
        call_id: String,
    },
}

impl Received {
    pub(crate) fn read(text: &str) -> Option<Self> {
        let call_id = header(text, "Call-ID")?.to_owned();
        let line = text.lines().next()?;
        if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
            let status = rest.get(..3)?.parse().ok()?;
            let method = header(text, "CSeq")?.split(' ').nth(1)?.to_owned();
            Some(Self::Response {
                status,
                method,
                call_id,
            })
        } else {
            let method = line.split(' ').next()?.to_owned();
            Some(Self::Request { method, call_id })
        }
    }
}

/// The value of the first header of that name.
pub(crate) fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    for line in text.lines().skip(1) {
        if line.is_empty() {
            return None;
        }
        if let Some((found, value)) = line.split_once(':')
            && found.eq_ignore_ascii_case(name)
        {
            return Some(value.trim());
        }
    }
    None
}

/// Where an SDP answer wants its audio.
pub(crate) fn media_of(text: &str) -> Option<SocketAddrV4> {
    let ip = text.split("\nc=IN IP4 ").nth(1)?.lines().next()?;
    let port = text.split("\nm=audio ").nth(1)?.split(' ').next()?;
    Some(SocketAddrV4::new(
        ip.trim().parse().ok()?,
        port.parse().ok()?,
    ))
}

/// 200 to a request (RFC 3261 §8.2.6.2).
pub(crate) fn answer_to(request: &str) -> String {
    let mut answer = String::from("SIP/2.0 200 OK\r\n");
    let names = ["Via", "From", "To", "Call-ID", "CSeq"];
    for line in request.lines().skip(1).take_while(|line| !line.is_empty()) {
        let copied = line.split(':').next().is_some_and(|name| {
            names
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(name.trim()))
        });
        if copied {
            answer.push_str(line);
            answer.push_str("\r\n");
        }
    }
    answer.push_str("Content-Length: 0\r\n\r\n");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_read_and_the_dialogue_follows_it() {
        let text = "SIP/2.0 200 OK\r\nTo: <sip:a@b>;tag=x\r\nContact: <sip:127.0.0.1:5070>\r\nCall-ID: 1-2@load\r\n\
                    CSeq: 1 INVITE\r\n\r\nv=0\r\nc=IN IP4 127.0.0.9\r\nm=audio 4000 RTP/AVP 0\r\n";
        let Some(Received::Response {
            status,
            method,
            call_id,
        }) = Received::read(text)
        else {
            panic!("not read as a response");
        };
        assert_eq!(
            (status, method.as_str(), call_id.as_str()),
            (200, "INVITE", "1-2@load")
        );
        assert_eq!(media_of(text), "127.0.0.9:4000".parse().ok());
        let mut dialogue = Dialogue::new("t");
        dialogue.learn(text);
        let gateway: SocketAddrV4 = "127.0.0.1:5060".parse().unwrap();
        assert_eq!(dialogue.next_hop(gateway).port(), 5070);
        let mut ack = Vec::new();
        dialogue.ack(
            &mut ack,
            (1, 2),
            "127.0.0.2:9".parse().unwrap(),
            gateway,
            true,
        );
        let ack = String::from_utf8(ack).unwrap();
        assert!(
            ack.starts_with("ACK sip:127.0.0.1:5070 SIP/2.0\r\n"),
            "{ack}"
        );
        assert_eq!(header(&ack, "to"), Some("<sip:a@b>;tag=x"));
    }
}
