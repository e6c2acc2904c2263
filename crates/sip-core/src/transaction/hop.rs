//! Requests made from an INVITE for the same next hop: ACK for a refusal, and CANCEL.

use bytes::{BufMut, Bytes, BytesMut};
use sip_message::{HeaderName, Message};

/// The ACK for a final response other than 2xx, RFC 3261 §17.1.1.3: the INVITE's top Via (same
/// branch), From, Call-ID and Route, the response's To.
#[must_use]
pub fn ack_for(invite: &Message, response: &Message) -> Bytes {
    let to = response
        .header(HeaderName::To)
        .or_else(|| invite.header(HeaderName::To));
    derive(invite, "ACK", to.as_deref().unwrap_or_default())
}

/// The CANCEL of an INVITE, RFC 3261 §9.1: everything is the INVITE's, except the method.
#[must_use]
pub fn cancel_for(invite: &Message) -> Bytes {
    let to = invite.header(HeaderName::To);
    derive(invite, "CANCEL", to.as_deref().unwrap_or_default())
}

fn derive(invite: &Message, method: &str, to: &[u8]) -> Bytes {
    let mut text = BytesMut::with_capacity(512);
    text.put_slice(method.as_bytes());
    text.put_u8(b' ');
    text.put_slice(invite.request_uri().unwrap_or_default());
    text.put_slice(b" SIP/2.0\r\n");
    if let Some(via) = invite.values(HeaderName::Via).next() {
        put(&mut text, "Via", &via);
    }
    put(&mut text, "Max-Forwards", b"70");
    for route in invite.fields_named(HeaderName::Route) {
        put(&mut text, "Route", &route.value());
    }
    put(
        &mut text,
        "From",
        invite
            .header(HeaderName::From)
            .as_deref()
            .unwrap_or_default(),
    );
    put(&mut text, "To", to);
    put(
        &mut text,
        "Call-ID",
        invite
            .header(HeaderName::CallId)
            .as_deref()
            .unwrap_or_default(),
    );
    let cseq = invite.header(HeaderName::CSeq);
    text.put_slice(b"CSeq: ");
    text.put_slice(super::key::digits(cseq.as_deref().unwrap_or_default()));
    text.put_u8(b' ');
    text.put_slice(method.as_bytes());
    text.put_slice(b"\r\nContent-Length: 0\r\n\r\n");
    text.freeze()
}

fn put(text: &mut BytesMut, name: &str, value: &[u8]) {
    text.put_slice(name.as_bytes());
    text.put_slice(b": ");
    text.put_slice(value);
    text.put_slice(b"\r\n");
}
