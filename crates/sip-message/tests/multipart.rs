//! Bodies in several parts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use sip_message::{Limits, Message, find_part, parts};

fn message(content_type: &str, body: &str) -> Message {
    let text = format!(
        "INVITE sip:a@b SIP/2.0\r\nc: {content_type}\r\nl: {}\r\n\r\n{body}",
        body.len()
    );
    Message::parse(text.into(), &Limits::default()).unwrap()
}

fn sdp_in(content_type: &str, body: &str) -> Option<String> {
    let found = find_part(&message(content_type, body), "application/sdp")?;
    Some(String::from_utf8_lossy(&found).into_owned())
}

#[test]
fn a_body_of_one_type_is_its_only_part() {
    assert_eq!(
        sdp_in("Application/SDP;charset=x", "v=0\r\n").as_deref(),
        Some("v=0\r\n")
    );
    assert_eq!(sdp_in("text/plain", "v=0\r\n"), None);
    assert_eq!(parts(&message("application/sdp", "")), []);
}

#[test]
fn the_sdp_among_several_parts_is_found() {
    let body = "preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\n--b1 is not here\r\n--b10\r\n--b1  \r\ncontent-type: application/sdp\r\nContent-Disposition: session\r\n\r\nv=0\r\ns=-\r\n\r\n--b1--\r\nepilogue\r\n--b1\r\n\r\n";
    let message = message("multipart/mixed; boundary=\"b1\"", body);
    let found = parts(&message);
    assert_eq!(found.len(), 2);
    assert_eq!(&found[0].body[..], b"--b1 is not here\r\n--b10");
    assert_eq!(&found[1].body[..], b"v=0\r\ns=-\r\n");
}

#[test]
fn parts_may_have_no_fields_no_body_or_be_nested() {
    let inner = "--in\r\nc: application/sdp\r\n\r\nv=1\r\n--in--";
    let body = format!(
        "--o\r\n\r\nplain\r\n--o\r\nContent-Type: text/x\r\n\r\n\r\n--o\r\nContent-Type: multipart/alternative;boundary=in\r\n\r\n{inner}\r\n--o--\r\n"
    );
    let found = parts(&message("multipart/mixed;boundary=o", &body));
    let bodies: Vec<_> = found
        .iter()
        .map(|part| String::from_utf8_lossy(&part.body).into_owned())
        .collect();
    assert_eq!(bodies, ["plain", "", "v=1"]);
    assert!(found[0].content_type.is_none());
}

#[test]
fn an_encoded_part_is_not_taken() {
    let body = "--b\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--b\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: binary\r\n\r\nv=0\r\n--b--";
    assert_eq!(
        sdp_in("multipart/mixed;boundary=b", body).as_deref(),
        Some("v=0")
    );
}

#[test]
fn broken_multipart_bodies_give_what_can_be_read() {
    let table = [
        (
            "multipart/mixed;boundary=b",
            "--b\r\nContent-Type: application/sdp\r\n\r\nv=0",
            Some("v=0"),
        ),
        ("multipart/mixed;boundary=b", "no delimiter", None),
        ("multipart/mixed;boundary=b", "--b--\r\n", None),
        ("multipart/mixed;boundary=b", "--b\r\n", None),
        (
            "multipart/mixed;boundary=b",
            "--b\r\nContent-Type: application/sdp",
            None,
        ),
        (
            "multipart/mixed",
            "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--",
            None,
        ),
        (
            "multipart/mixed;boundary=\"\"",
            "--\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n----",
            None,
        ),
    ];
    for (content_type, body, expected) in table {
        assert_eq!(
            sdp_in(content_type, body).as_deref(),
            expected,
            "{content_type} {body:?}"
        );
    }
}

#[test]
fn very_many_parts_and_levels_are_bounded() {
    let many = "--b\r\n\r\nx\r\n".repeat(5_000);
    assert_eq!(
        parts(&message("multipart/mixed;boundary=b", &many)).len(),
        32
    );
    let deep = "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n".repeat(1_000);
    assert!(parts(&message("multipart/mixed;boundary=b", &deep)).len() <= 32);
}
