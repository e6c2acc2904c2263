//! Agreement with the `rsip` crate on the messages that it reads rightly: long names, no folds,
//! IPv4, UTF-8, the methods of RFC 3261 and its first extensions.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use proptest::prelude::*;
use rsip::headers::UntypedHeader;
use rsip::message::HeadersExt;
use rsip::prelude::ToTypedHeader;
use sip_message::{Limits, Message, Uri};

#[derive(Debug, Clone)]
struct Plain {
    method: &'static str,
    host: String,
    user: String,
    port: u16,
    branch: String,
    tag: String,
    call_id: String,
    cseq: u32,
    hops: u8,
}

impl Plain {
    fn text(&self) -> String {
        let Self {
            method,
            host,
            user,
            port,
            branch,
            tag,
            call_id,
            cseq,
            hops,
        } = self;
        format!(
            "{method} sip:{user}@{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{branch}\r\nMax-Forwards: {hops}\r\nFrom: \"{user}\" <sip:{user}@{host}>;tag={tag}\r\nTo: <sip:{user}@{host}>\r\nCall-ID: {call_id}@{host}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{user}@{host}:{port}>\r\nContent-Length: 4\r\n\r\nv=0\n"
        )
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let method = prop::sample::select(vec![
        "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REFER", "NOTIFY", "INFO",
    ]);
    let names = (
        "[a-z]{1,8}\\.[a-z]{2,5}",
        "[a-z0-9]{1,10}",
        "[a-zA-Z0-9]{1,12}",
        "[a-z0-9]{1,9}",
        "[a-zA-Z0-9]{1,20}",
    );
    (method, names, 1024..u16::MAX, 1..1_u32 << 31, any::<u8>()).prop_map(
        |(method, (host, user, branch, tag, call_id), port, cseq, hops)| Plain {
            method,
            host,
            user,
            port,
            branch,
            tag,
            call_id,
            cseq,
            hops,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_read_the_same_from_a_plain_request(plain in plain()) {
        let text = plain.text();
        let ours = Message::parse(text.clone().into(), &Limits::default()).unwrap();
        let theirs = rsip::Request::try_from(text).unwrap();
        assert_eq!(ours.validate(), Ok(()));
        assert_eq!(ours.method().to_string(), theirs.method.to_string());
        assert_eq!(ours.request_uri().unwrap(), theirs.uri.to_string().as_bytes());
        let via = theirs.via_header().unwrap().typed().unwrap();
        assert_eq!(ours.via().unwrap().branch().unwrap(), via.branch().unwrap().value().as_bytes());
        assert_eq!(ours.via().unwrap().port(), via.uri.port().map(|port| *port.value()));
        let from = theirs.from_header().unwrap().typed().unwrap();
        assert_eq!(ours.from().unwrap().tag().unwrap(), from.tag().unwrap().value().as_bytes());
        assert_eq!(ours.from().unwrap().uri(), &Uri::parse(from.uri.to_string().as_bytes()).unwrap());
        assert_eq!(ours.call_id().unwrap(), theirs.call_id_header().unwrap().value().as_bytes());
        let cseq = theirs.cseq_header().unwrap().typed().unwrap();
        assert_eq!(ours.cseq().unwrap().number, cseq.seq);
        let contact = theirs.contact_header().unwrap().typed().unwrap();
        assert_eq!(ours.contact().unwrap().unwrap().uri().as_bytes(), contact.uri.to_string().as_bytes());
        assert_eq!(&ours.body()[..], &theirs.body[..]);
        assert_eq!(ours.fields().count(), theirs.headers.iter().count());
    }
}

#[cfg(feature = "rsip")]
mod conversions {
    use super::*;
    use rsip::SipMessage;

    #[test]
    fn messages_go_to_rsip_and_come_back() {
        let text = "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a.example.com\r\n ;branch=z9hG4bK1\r\nf: <sip:a@b.example>;tag=1\r\nt: <sip:c@d.example>;tag=2\r\ni: x\r\nCSeq: 1 INVITE\r\nl: 4\r\n\r\nv=0\n";
        let ours = Message::parse(text.into(), &Limits::default()).unwrap();
        let theirs = SipMessage::try_from(&ours).unwrap();
        let back = Message::try_from(&theirs).unwrap();
        assert_eq!(back.status(), Some(200));
        assert_eq!(back.via().unwrap().branch(), ours.via().unwrap().branch());
        assert_eq!((back.call_id(), back.cseq()), (ours.call_id(), ours.cseq()));
        assert_eq!(back.body(), ours.body());
    }

    #[test]
    fn what_rsip_cannot_read_is_an_error() {
        let ours = Message::parse(
            "INVITE urn:service:sos SIP/2.0\r\n\r\n\u{1f4de}".into(),
            &Limits::default(),
        )
        .unwrap();
        let theirs = SipMessage::try_from(&ours);
        assert!(theirs.is_err() || Message::try_from(&theirs.unwrap()).is_err());
    }
}
