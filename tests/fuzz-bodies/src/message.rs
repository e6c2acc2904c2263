//! One message, one URI, one sipfrag.

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Limits, Message, Uri, parts};

/// Parses a datagram, reads every header of it, and answers it.
pub fn message(data: &[u8]) {
    match Message::parse(Bytes::copy_from_slice(data), &Limits::default()) {
        Ok(message) => {
            let blank = data.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2;
            assert!(data[blank..].starts_with(message.bytes()), "bytes are kept");
            read_everything(&message);
            edits_read_back(&message);
        }
        Err(error) => {
            assert!(matches!(error.status, 400 | 413 | 416 | 505 | 513));
            if let Some(salvage) = error.salvage {
                assert!(salvage.is_request() && salvage.via().is_ok());
                read_everything(&salvage);
                answer_reads_back(&salvage);
            }
        }
    }
}

/// Parses a URI, and compares and edits it.
pub fn uri(data: &[u8]) {
    let Ok(uri) = Uri::parse(data) else { return };
    assert_eq!(&uri.as_bytes()[..], data, "a URI keeps its bytes");
    let _ = (uri.host_ip(), uri.port(), uri.user_decoded(), uri.is_sips());
    let _ = (uri.params().count(), uri.headers().count(), uri.param("lr"));
    if uri.is_sip() {
        assert!(uri == uri.clone(), "a URI equals itself");
    }
    let bare = uri.without_headers().without_param("method");
    let again = Uri::parse(bare.as_bytes()).expect("a shortened URI is one");
    assert_eq!(again.headers().count(), 0);
    assert!(again.param("method").is_none() || !again.is_sip());
    let formed = sip_core::form_request(&Bytes::copy_from_slice(data));
    for header in formed.headers {
        let name = header.name.to_ascii_lowercase();
        assert!(
            !["from", "to", "via", "call-id", "cseq", "route", "contact"].contains(&name.as_str())
        );
    }
}

/// Reads the status line of a `message/sipfrag` body.
pub fn sipfrag(data: &[u8]) {
    if let Some(line) = sip_message::sipfrag::status_line(data) {
        assert!((100..700).contains(&line.status));
        assert!(!line.reason.contains(&b'\n'));
    }
}

/// Calls every accessor; what they find does not matter.
pub(crate) fn read_everything(message: &Message) {
    let _ = (
        message.via().is_ok(),
        message.from().is_ok(),
        message.to().is_ok(),
    );
    let _ = (
        message.cseq().is_ok(),
        message.method(),
        message.call_id().is_ok(),
    );
    let _ = (
        message.max_forwards().is_ok(),
        message.expires().is_ok(),
        message.rseq().is_ok(),
    );
    let _ = (
        message.rack().is_ok(),
        message.session_expires().is_ok(),
        message.min_se().is_ok(),
    );
    let _ = (
        message.event().is_ok(),
        message.replaces().is_ok(),
        message.refer_to().is_ok(),
    );
    let _ = (
        message.referred_by().is_ok(),
        message.subscription_state().is_ok(),
    );
    let _ = (
        message.content_type().is_ok(),
        message.retry_after(),
        message.refer_sub(),
    );
    let _ = (message.content_disposition(), message.validate().is_ok());
    read_lists(message);
}

/// The accessors that give more than one value.
fn read_lists(message: &Message) {
    for via in message.vias().flatten() {
        let noted = via.with_source(([192, 0, 2, 1], 5060).into());
        assert!(
            sip_message::Via::parse(noted).is_ok(),
            "a Via with its source is one"
        );
    }
    let addresses = message
        .contacts()
        .chain(message.routes())
        .chain(message.record_routes());
    for address in addresses.chain(message.asserted_identities()).flatten() {
        let _ = (address.display(), address.tag(), address.without_tag());
        uri(address.uri().as_bytes());
    }
    let challenges = message
        .www_authenticate()
        .chain(message.proxy_authenticate());
    for challenge in challenges.flatten() {
        let _ = challenge.param("nonce");
    }
    let credentials = message.authorization().chain(message.proxy_authorization());
    for given in credentials.flatten() {
        let _ = given.param("response");
    }
    let _ = (
        message.reason().count(),
        message.warning().count(),
        message.accept().count(),
    );
    let _ = (
        message.allow().count(),
        message.supported().count(),
        message.require().count(),
    );
    let _ = parts(message);
    for field in message.fields() {
        let _ = (field.value(), field.long_name());
    }
}

/// An edited message is what its bytes say.
fn edits_read_back(message: &Message) {
    let edited = message.prepended("X-Probe", b"1");
    let read = Message::parse(
        edited.bytes().clone(),
        &Limits {
            headers: 300,
            message_bytes: 70_000,
        },
    )
    .expect("an edited message is one");
    assert_eq!(read.header("X-Probe").as_deref(), Some(&b"1"[..]));
    assert_eq!(read.fields().count(), message.fields().count() + 1);
    assert_eq!(edited.without("X-Probe").bytes(), message.bytes());
}

/// Nothing that is copied into an answer adds a line to it.
fn answer_reads_back(request: &Message) {
    let mut builder = Builder::response(400, "Bad Request");
    for name in [
        HeaderName::Via,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
    ] {
        builder = builder.copy(request, name);
    }
    let answer = builder.build();
    let read = Message::parse(
        answer.bytes().clone(),
        &Limits {
            headers: 300,
            message_bytes: 140_000,
        },
    )
    .expect("an answer is a message");
    assert_eq!(read.fields().count(), answer.fields().count());
    assert_eq!(read.status(), Some(400));
}
