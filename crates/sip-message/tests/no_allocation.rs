//! The parse path allocates nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use bytes::{Bytes, BytesMut};
use sip_message::{HeaderName, Limits, Message, find_part};

fn invite() -> Bytes {
    let text = "INVITE sip:agent@gw.example.com SIP/2.0\r\n\
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
        Content-Length: 12\r\n\r\nv=0\r\ns=-\r\n\r\n";
    BytesMut::from(text.as_bytes()).split().freeze()
}

fn read_everything(datagram: Bytes) -> bool {
    let Ok(message) = Message::parse(datagram, &Limits::default()) else {
        return false;
    };
    message.validate().is_ok()
        && message.via().is_ok_and(|via| via.branch().is_some())
        && message.from().is_ok_and(|from| from.tag().is_some())
        && message.to().is_ok_and(|to| to.tag().is_none())
        && message.call_id().is_ok()
        && message.cseq().is_ok_and(|cseq| cseq.number == 314_159)
        && message.contact().is_ok_and(|contact| contact.is_some())
        && message
            .header(HeaderName::Other("x-asapp-calltransferid"))
            .is_some()
        && message.body().len() == 12
}

#[test]
fn parsing_an_invite_and_reading_its_fields_allocates_nothing() {
    let bytes = invite();
    let mut read = false;
    let info = allocation_counter::measure(|| read = read_everything(bytes.clone()));
    assert!(
        read,
        "the message must be readable for the count to mean anything"
    );
    assert_eq!(info.count_total, 0);
}

#[test]
fn the_counter_sees_an_allocation() {
    let message = Message::parse(invite(), &Limits::default()).unwrap();
    let info = allocation_counter::measure(|| {
        let _ = find_part(&message, "application/sdp");
    });
    assert!(info.count_total > 0);
}
