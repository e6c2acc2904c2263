//! New messages, and changes to existing ones that keep every other byte.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Limits, Message, Method};

const RAW: &str = "INVITE sip:agent@gw SIP/2.0\r\nv:  SIP/2.0/UDP 192.0.2.1;branch=a ,SIP/2.0/UDP b\r\nVia: SIP/2.0/TCP c\r\nsubject :\r\nFROM: \"x\"\r\n  <sip:a@b>;tag=1\r\nX-A: 1\r\nContent-Length:4\r\n\r\nbody";

fn parse(text: &str) -> Message {
    Message::parse(text.to_owned().into(), &Limits::default()).unwrap()
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.bytes()).into_owned()
}

/// The message reads the same as one parsed from its bytes.
fn assert_consistent(message: &Message) {
    let again = Message::parse(message.bytes().clone(), &Limits::default()).unwrap();
    assert_eq!(again.bytes(), message.bytes());
    assert_eq!(
        (again.start(), again.body()),
        (message.start(), message.body())
    );
    let fields = |message: &Message| -> Vec<_> {
        message
            .fields()
            .map(|field| (field.name.to_vec(), field.raw.to_vec()))
            .collect()
    };
    assert_eq!(fields(&again), fields(message));
}

#[test]
fn a_request_is_built_field_by_field() {
    let message = Builder::request(&Method::Bye, b"sip:a@b;lr")
        .field(HeaderName::CSeq, "2 BYE")
        .field("X-Own", b"value")
        .optional(HeaderName::Reason, None::<&str>)
        .build();
    assert_eq!(
        text(&message),
        "BYE sip:a@b;lr SIP/2.0\r\nCSeq: 2 BYE\r\nX-Own: value\r\nContent-Length: 0\r\n\r\n"
    );
    assert_consistent(&message);
}

#[test]
fn a_response_is_built_with_body_and_copied_fields() {
    let message = Builder::response(200, "OK")
        .copy(&parse(RAW), HeaderName::Via)
        .copy(&parse(RAW), HeaderName::From)
        .copy(&parse(RAW), HeaderName::ContentLength)
        .field(HeaderName::ContentLength, "77")
        .body("application/sdp", b"v=0\r\n")
        .build();
    assert_eq!(
        text(&message),
        "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 192.0.2.1;branch=a ,SIP/2.0/UDP b\r\nVia: SIP/2.0/TCP c\r\nFROM: \"x\"\r\n  <sip:a@b>;tag=1\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
    );
    assert_consistent(&message);
}

#[test]
fn nothing_can_be_injected() {
    let message = Builder::request(
        &Method::Other("BYE sip:x SIP/2.0\r\nX: ".into()),
        b"sip:a b\r\nX: 1@c",
    )
    .field("Subject", "a\r\nVia: evil\r\n\r\nbody\0")
    .field(HeaderName::Other("X\r\nY: z"), "1")
    .field(HeaderName::Other(": "), "no name")
    .build();
    assert_eq!(
        text(&message),
        "BYEsipxSIP2.0X sip:a%20b%0D%0AX:%201@c SIP/2.0\r\nSubject: a  Via: evil    body\r\nXYz: 1\r\nContent-Length: 0\r\n\r\n"
    );
    let response = Builder::response(1000, "O\r\nK").build();
    assert_eq!(
        text(&response),
        "SIP/2.0 500 O  K\r\nContent-Length: 0\r\n\r\n"
    );
    assert_consistent(&response);
    let edited = parse(RAW)
        .replaced("X-A", b"1\r\nVia: evil")
        .appended("X-B", b"\r\n\r\n");
    assert_eq!(edited.vias().count(), 3);
    assert_consistent(&edited);
}

#[test]
fn a_value_is_replaced_and_the_rest_kept() {
    let table = [
        ("X-A", "2", RAW.replace("X-A: 1", "X-A: 2")),
        ("s", "now", RAW.replace("subject :", "subject :now")),
        (
            "f",
            "<sip:z@z>",
            RAW.replace("\"x\"\r\n  <sip:a@b>;tag=1", "<sip:z@z>"),
        ),
        (
            "Via",
            "SIP/2.0/UDP z",
            RAW.replace(
                "SIP/2.0/UDP 192.0.2.1;branch=a ,SIP/2.0/UDP b",
                "SIP/2.0/UDP z",
            ),
        ),
        (
            "X-New",
            "n",
            RAW.replace("Length:4\r\n", "Length:4\r\nX-New: n\r\n"),
        ),
    ];
    for (name, value, after) in table {
        let edited = parse(RAW).replaced(name, value.as_bytes());
        assert_eq!(text(&edited), after);
        assert_consistent(&edited);
    }
}

#[test]
fn fields_are_put_in_and_taken_out() {
    let message = parse(RAW);
    let table = [
        (
            message.prepended("Via", b"SIP/2.0/UDP new"),
            RAW.replace("v:  ", "Via: SIP/2.0/UDP new\r\nv:  "),
        ),
        (
            message.prepended("Route", b"<sip:r;lr>"),
            RAW.replace("v:  ", "Route: <sip:r;lr>\r\nv:  "),
        ),
        (
            message.prepended("X-A", b"0"),
            RAW.replace("X-A", "X-A: 0\r\nX-A"),
        ),
        (
            message.appended("X-A", b"0"),
            RAW.replace("\r\n\r\n", "\r\nX-A: 0\r\n\r\n"),
        ),
        (
            message.without("From"),
            RAW.replace("FROM: \"x\"\r\n  <sip:a@b>;tag=1\r\n", ""),
        ),
        (message.without("X-Absent"), RAW.into()),
        (message.without("Via"), {
            let from = RAW.find("v: ").unwrap();
            let to = RAW.find("subject").unwrap();
            format!("{}{}", &RAW[..from], &RAW[to..])
        }),
    ];
    for (edited, after) in table {
        assert_eq!(text(&edited), after);
        assert_consistent(&edited);
    }
}

#[test]
fn the_source_is_noted_in_the_first_of_several_vias() {
    let noted = parse(RAW)
        .with_source("198.51.100.7:5".parse().unwrap())
        .unwrap();
    assert_eq!(
        text(&noted),
        RAW.replace("branch=a ,", "branch=a;received=198.51.100.7 ,")
    );
    assert_consistent(&noted);
    let same = parse(RAW)
        .with_source("192.0.2.1:5".parse().unwrap())
        .unwrap();
    assert_eq!(text(&same), RAW);
}

#[test]
fn a_bare_line_end_of_a_broken_request_does_not_get_into_its_answer() {
    for bare in ["\r", "\n", "\r\r", "\n\r\n\t"] {
        let text = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c.example.org\r\nTo: <sip:a@b>{bare} ;x=y\r\nl: 0\r\n\r\n"
        );
        let error = Message::parse(Bytes::from(text), &Limits::default()).unwrap_err();
        let request = error.salvage.unwrap();
        let answer = Builder::response(400, "Bad Request")
            .copy(&request, HeaderName::To)
            .build();
        let read = Message::parse(answer.bytes().clone(), &Limits::default());
        assert_eq!(
            read.map(|read| read.count(HeaderName::To)),
            Ok(1),
            "{bare:?}"
        );
    }
}
