//! Parse of an ordinary INVITE, and typed access to the six fields that every dialog needs.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use sip_message::{Limits, Message, StreamDecoder};

const INVITE: &str = "INVITE sip:agent@gw.example.com SIP/2.0\r\n\
Via: SIP/2.0/UDP sbc.example.net:5060;branch=z9hG4bK776asdhds;rport\r\n\
Max-Forwards: 69\r\n\
From: \"Alice Smith\" <sip:+12125550123@sbc.example.net>;tag=1928301774\r\n\
To: <sip:agent@gw.example.com>\r\n\
Call-ID: a84b4c76e66710@sbc.example.net\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:sbc@192.0.2.10:5060;transport=udp>\r\n\
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, UPDATE\r\n\
Supported: replaces, timer, 100rel\r\n\
User-Agent: Example SBC 7.4\r\n\
X-ASAPP-CallTransferId: 0b4d5a3c-7f53-4b6e-9a0d-6b1f2f3c4d5e\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 219\r\n\
\r\n\
v=0\r\n\
o=sbc 2890844526 2890844526 IN IP4 192.0.2.10\r\n\
s=-\r\n\
c=IN IP4 192.0.2.10\r\n\
t=0 0\r\n\
m=audio 49172 RTP/AVP 0 8 101\r\n\
a=rtpmap:0 PCMU/8000\r\n\
a=rtpmap:8 PCMA/8000\r\n\
a=rtpmap:101 telephone-event/8000\r\n\
a=ptime:20\r\n\
a=sendrecv\r\n";

/// Bytes as a socket hands them over: a slice of a shared buffer.
fn received() -> Bytes {
    BytesMut::from(INVITE.as_bytes()).split().freeze()
}

fn parse_and_read(datagram: Bytes, limits: &Limits) -> Option<usize> {
    let message = Message::parse(datagram, limits).ok()?;
    let via = message.via().ok()?;
    let from = message.from().ok()?;
    let to = message.to().ok()?;
    let call_id = message.call_id().ok()?.len();
    let cseq = message.cseq().ok()?;
    let contact = message.contact().ok()??;
    black_box((
        via.branch()?,
        from.tag()?,
        to.uri().host(),
        cseq.number,
        contact.uri().port(),
    ));
    Some(call_id)
}

fn benches(c: &mut Criterion) {
    let limits = Limits::default();
    let bytes = received();
    c.bench_function("parse", |b| {
        b.iter(|| Message::parse(black_box(bytes.clone()), &limits).is_ok())
    });
    c.bench_function("parse and read six fields", |b| {
        b.iter(|| parse_and_read(black_box(bytes.clone()), &limits))
    });
    c.bench_function("validate", |b| {
        let message = Message::parse(bytes.clone(), &limits).ok();
        b.iter(|| {
            message
                .as_ref()
                .map(|message| black_box(message).validate().is_ok())
        })
    });
    c.bench_function("from a stream", |b| {
        let mut decoder = StreamDecoder::new(limits);
        b.iter(|| {
            decoder.push(black_box(INVITE.as_bytes()));
            decoder.next().is_ok_and(|frame| frame.is_some())
        })
    });
}

criterion_group!(parse, benches);
criterion_main!(parse);
