//! What holds for any bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use sip_message::{
    Builder, Frame, HeaderName, Limits, Message, Method, StreamDecoder, parts, sipfrag,
};

const SEEDS: [&str; 4] = [
    "INVITE sip:agent@gw.example.com;x=1 SIP/2.0\r\nVia: SIP/2.0/UDP a:5060;branch=z9hG4bK7;rport, SIP/2.0/TCP [::1]\r\nMax-Forwards: 69\r\nFrom: \"A \\\"b\" <sip:+1@b>;tag=19\r\nTo: <sip:agent@gw>\r\nCall-ID: a84@b\r\nCSeq: 314 INVITE\r\nm: <sip:a@b;transport=udp?X=%20>, *\r\nContent-Type: multipart/mixed;boundary=q\r\nContent-Length: 46\r\n\r\n--q\r\nContent-Type: application/sdp\r\n\r\nv\r\n--q--\r\n",
    "SIP/2.0 401 No\r\nv: SIP/2.0/UDP a\r\nf: sip:a@b\r\nt: sip:a@b;tag=1\r\ni: 1\r\nCSeq: 1\r\n REGISTER\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"a\\\"\", Digest realm=y\r\nWarning: 399 a \"b\"\r\nl: 0\r\n\r\n",
    "REFER sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nFrom: sip:a@b\r\nTo: sip:a@b\r\nCall-ID: 1\r\nCSeq: 1 REFER\r\nRefer-To: <sip:c@d?Replaces=1%3Bto-tag>\r\nReplaces: 1;to-tag=2;from-tag=3\r\nReason: SIP;cause=200;text=\"a\"\r\nSession-Expires: 90;refresher=uac\r\nContent-Length: 0\r\n\r\n",
    "\r\n\r\nOPTIONS tel:1 SIP/2.0\r\nVia: SIP/2.0/TLS a\r\nAuthorization: Digest username=\"u\",nc=1\r\nEvent: refer;id=1\r\nSubscription-State: active;expires=5\r\nRAck: 1 2 INVITE\r\nRetry-After: 5\r\n\r\n",
];

/// Calls every accessor; the results do not matter.
fn read_everything(message: &Message) {
    let _ = (
        message.via(),
        message.from(),
        message.to(),
        message.cseq(),
        message.method(),
    );
    let _ = (
        message.call_id(),
        message.max_forwards(),
        message.expires(),
        message.rseq(),
        message.rack(),
    );
    let _ = (
        message.session_expires(),
        message.min_se(),
        message.event(),
        message.replaces(),
    );
    let _ = (
        message.refer_to(),
        message.referred_by(),
        message.subscription_state(),
        message.content_type(),
    );
    let _ = (
        message.retry_after(),
        message.refer_sub(),
        message.content_disposition(),
        message.validate(),
    );
    for via in message.vias().flatten() {
        let _ = via.with_source(([192, 0, 2, 1], 5060).into());
    }
    for address in message.contacts().chain(message.routes()).flatten() {
        let _ = (address.display(), address.tag(), address.without_tag());
        let _ = (
            address.uri().headers().count(),
            address.uri().without_param("x"),
        );
    }
    for found in message.www_authenticate().flatten() {
        let _ = found.param("nonce");
    }
    let _ = message
        .authorization()
        .flatten()
        .filter_map(|found| found.param("nc").map(|_| ()))
        .count();
    let _ = (
        message.reason().count(),
        message.warning().count(),
        message.accept().count(),
        parts(message),
    );
    for field in message.fields() {
        let _ = (field.value(), message.values(HeaderName::Via).count());
    }
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let bytes = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\r\n \t:;,=<>\"\\@%?[]-0".to_vec())
    ];
    prop_oneof![
        (any::<usize>(), bytes.clone()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<usize>(), vec(bytes, 1..5)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (any::<usize>(), 1..40_usize).prop_map(|(at, len)| Mutation::Cut(at, len)),
    ]
}

fn mutated(seed: usize, mutations: &[Mutation]) -> Vec<u8> {
    let mut text = SEEDS[seed % SEEDS.len()].as_bytes().to_vec();
    for mutation in mutations {
        let place = |at: &usize| at % (text.len() + 1);
        match mutation {
            Mutation::Set(at, byte) => {
                let at = place(at);
                if let Some(old) = text.get_mut(at) {
                    *old = *byte;
                }
            }
            Mutation::Insert(at, bytes) => {
                let at = place(at);
                text.splice(at..at, bytes.iter().copied());
            }
            Mutation::Cut(at, len) => {
                let at = place(at);
                text.drain(at..(at + len).min(text.len()));
            }
        }
    }
    text
}

/// What a decoder says about a stream that comes in pieces.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(Frame::Ping)) => seen.push("ping".into()),
                Ok(Some(Frame::Message(message))) => seen.push(format!("{message:?}")),
                Err(error) => {
                    seen.push(format!("{} {}", error.error.status, error.error.what));
                    return seen;
                }
            }
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_parser_panic(seed in 0..4_usize, mutations in vec(mutation(), 0..8)) {
        let text = mutated(seed, &mutations);
        let _ = sipfrag::status_line(&text);
        match Message::parse(text.into(), &Limits::default()) {
            Ok(message) => read_everything(&message),
            Err(error) => {
                if let Some(salvage) = error.salvage {
                    read_everything(&salvage);
                }
            }
        }
    }

    #[test]
    fn random_bytes_do_not_make_the_parser_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Message::parse(bytes.clone().into(), &Limits::default());
        let _ = decode([&bytes[..]]);
    }

    #[test]
    fn a_stream_gives_the_same_messages_for_every_split(
        seeds in vec((0..4_usize, vec(mutation(), 0..2)), 1..4),
        cuts in vec(1..60_usize, 1..60),
    ) {
        let stream: Vec<u8> = seeds.iter().flat_map(|(seed, mutations)| mutated(*seed, mutations)).collect();
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        prop_assert_eq!(decode(pieces), decode([&stream[..]]));
        prop_assert_eq!(decode(stream.chunks(1)), decode([&stream[..]]));
    }

    #[test]
    fn an_untouched_message_is_written_byte_for_byte(seed in 0..4_usize, mutations in vec(mutation(), 0..3)) {
        let text = mutated(seed, &mutations);
        if let Ok(message) = Message::parse(Bytes::from(text.clone()), &Limits::default()) {
            let blank = text.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2;
            prop_assert!(text[blank..].starts_with(message.bytes()));
            prop_assert_eq!(&message.without("X-Absent"), &message);
            let edited = message.prepended("X-Probe", b"1").without("X-Probe");
            prop_assert_eq!(edited.bytes(), message.bytes());
        }
    }

    #[test]
    fn what_is_built_reads_back(
        fields in vec(("[A-Za-z0-9.!%*_+`'~-]{1,12}", vec(any::<u8>(), 0..30)), 0..40),
        body in vec(any::<u8>(), 0..50),
        uri in "[!-~]{1,30}",
    ) {
        let mut builder = Builder::request(&Method::Message, uri.as_bytes());
        for (name, value) in &fields {
            builder = builder.field(name.as_str(), value);
        }
        let built = builder.body("x/y", &body).build();
        let read = Message::parse(built.bytes().clone(), &Limits::default()).unwrap();
        prop_assert_eq!(read.request_uri(), Some(uri.as_bytes()));
        prop_assert_eq!(&read.body()[..], &body[..]);
        let of = |message: &Message| -> Vec<(Vec<u8>, Vec<u8>)> {
            message.fields().map(|field| (field.name.to_vec(), field.raw.to_vec())).collect()
        };
        prop_assert_eq!(of(&read), of(&built));
    }
}
