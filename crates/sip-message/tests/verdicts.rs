//! Messages and what is to become of them: one of our own for each section of RFC 4475 that a
//! gateway meets, and for the smuggling tricks that are known.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::too_many_lines, reason = "tables")]

use bytes::Bytes;
use sip_message::{Limits, Message, ParseError, find_part};

fn judge(text: &[u8]) -> Result<Message, ParseError> {
    let message = Message::parse(Bytes::copy_from_slice(text), &Limits::default())?;
    message.validate()?;
    Ok(message)
}

/// A request that is accepted, with lines replaced: `("CSeq", "CSeq: 1 BYE")`; an empty
/// replacement takes the line out.
fn invite_with(changes: &[(&str, &str)]) -> String {
    let lines = [
        "INVITE sip:agent@gw.example.com SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc",
        "Max-Forwards: 70",
        "From: \"Caller\" <sip:caller@example.net>;tag=f1",
        "To: <sip:agent@gw.example.com>",
        "Call-ID: one@192.0.2.1",
        "CSeq: 7 INVITE",
        "Contact: <sip:caller@192.0.2.1>",
        "Content-Length: 0",
    ];
    let mut text = String::new();
    for line in lines {
        let change = changes.iter().find(|(start, _)| line.starts_with(start));
        match change {
            Some((_, "")) => {}
            Some((_, new)) => text += &format!("{new}\r\n"),
            None => text += &format!("{line}\r\n"),
        }
    }
    text + "\r\n"
}

fn status_of(text: &str) -> u16 {
    judge(text.as_bytes()).map_or_else(|error| error.status, |_| 0)
}

#[test]
fn the_plain_request_is_accepted() {
    assert_eq!(status_of(&invite_with(&[])), 0);
}

#[test]
fn unusual_but_valid_forms_are_accepted() {
    let table: &[(&str, &[(&str, &str)])] = &[
        (
            "compact names (3.1.1.1)",
            &[
                ("Via", "v:SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa"),
                ("From", "f: <sip:a@b>;tag=1"),
                ("To", "t: <sip:c@d>"),
                ("Call-ID", "i: x"),
                ("Contact", "m: <sip:a@192.0.2.1>"),
                ("Content-Length", "l: 0"),
            ],
        ),
        (
            "names in any case",
            &[
                ("Via", "VIA: SIP/2.0/UDP a.example.com;branch=z9hG4bKa"),
                ("CSeq", "cSEQ: 7 INVITE"),
                ("Max-", "MAX-forwards: 70"),
            ],
        ),
        (
            "white space before the colon (3.1.1.1)",
            &[
                ("To", "TO : <sip:agent@gw.example.com>"),
                ("Max-", "Max-Forwards\t:\t0068"),
            ],
        ),
        (
            "folds (3.1.1.1)",
            &[
                ("CSeq", "CSeq: 0009\r\n  INVITE"),
                (
                    "Via",
                    "Via: SIP / 2.0\r\n  / UDP\r\n    192.0.2.2;branch=z9hG4bK390",
                ),
                (
                    "To",
                    "To:\r\n sip:vivekg@chair.example.com ;   tag    = 1918181833n",
                ),
            ],
        ),
        (
            "several Vias in one field (3.1.1.1)",
            &[(
                "Via",
                "Via: SIP / 2.0 / TCP  spindle.example.com  ;  branch = z9hG4bK9 ,\r\n SIP/2.0/UDP 192.0.2.9 ; branch=z9hG4bK30239",
            )],
        ),
        (
            "escaped quotes in a display name (3.1.1.1)",
            &[(
                "From",
                "From: \"J Rosenberg \\\\\\\"\" <sip:jdrosen@example.com> ; tag = 98asjd8",
            )],
        ),
        (
            "all token characters in a method (3.1.1.2)",
            &[
                ("INVITE", "!odd-Method019_*+`.%indeed'~ sip:a@b SIP/2.0"),
                ("CSeq", "CSeq: 1 !odd-Method019_*+`.%indeed'~"),
            ],
        ),
        (
            "escapes in a Request-URI (3.1.1.3)",
            &[(
                "INVITE",
                "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
            )],
        ),
        (
            "escaped NUL (3.1.1.4)",
            &[("Contact", "Contact: <sip:%00@host5.example.com>")],
        ),
        (
            "a percent sign that escapes nothing (3.1.1.5)",
            &[
                ("INVITE", "RE%47IST%45R sip:a.example.com SIP/2.0"),
                ("CSeq", "CSeq: 1 RE%47IST%45R"),
            ],
        ),
        (
            "no space before the angle bracket (3.1.1.6)",
            &[("From", "From: caller<sip:caller@example.com>;tag=323")],
        ),
        ("long values (3.1.1.7)", &[("From", &LONG_FROM)]),
        (
            "semicolon in the user part (3.1.1.9)",
            &[(
                "INVITE",
                "INVITE sip:user;par=u%40example.net@example.com SIP/2.0",
            )],
        ),
        (
            "transports of any name (3.1.1.10)",
            &[(
                "Via",
                "Via: SIP/2.0/UNKNOWN t5.example.com;branch=z9hG4bKa,SIP/2.0/SCTP t2.example.com;branch=z9hG4bKb",
            )],
        ),
        (
            "a Via without branch value (3.2.1)",
            &[("Via", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK")],
        ),
        (
            "a scheme that nobody knows is no syntax error (3.3.3)",
            &[("INVITE", "INVITE nobodyKnows:opaque SIP/2.0")],
        ),
        (
            "an unknown scheme in From and To (3.3.4)",
            &[
                ("From", "From: <http://example.net/a>;tag=4"),
                ("To", "To: isbn:2983792873"),
            ],
        ),
        ("Max-Forwards 0 (3.3.11)", &[("Max-", "Max-Forwards: 0")]),
        ("Max-Forwards missing", &[("Max-", "")]),
        (
            "two equal Content-Lengths",
            &[("Content-Length", "Content-Length: 0\r\nl: 0")],
        ),
        (
            "an unreadable Date (3.1.2.12)",
            &[("Max-", "Date: Fri, 01 Jan 2010 16:00:00 EST")],
        ),
        (
            "IPv6 in Request-URI, Via and Contact (RFC 5118 4.1)",
            &[
                ("INVITE", "INVITE sip:[2001:db8::10] SIP/2.0"),
                (
                    "Via",
                    "Via: SIP/2.0/UDP [2001:db8::9:1]:5070;branch=z9hG4bKa",
                ),
                ("Contact", "Contact: <sip:a@[2001:db8::9:1]:5070>"),
            ],
        ),
        (
            "received without brackets (RFC 5118 4.5)",
            &[(
                "Via",
                "Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKa",
            )],
        ),
        (
            "tel URIs",
            &[(
                "From",
                "From: <tel:+12125550123;phone-context=example.com>;tag=1",
            )],
        ),
        (
            "UTF-8 in a display name without quotes",
            &[("From", "From: Jürgen <sip:j@example.net>;tag=1")],
        ),
        (
            "a tag with an equals sign",
            &[("From", "From: <sip:j@example.net>;tag=a=b==")],
        ),
        (
            "empty lines before the request (7.5)",
            &[("INVITE", "\r\n\r\nINVITE sip:agent@gw.example.com SIP/2.0")],
        ),
        ("an empty value", &[("Max-", "Subject:\r\nk:")]),
    ];
    for (what, changes) in table {
        let text = invite_with(changes);
        assert_eq!(judge(text.as_bytes()).map(|_| ()), Ok(()), "{what}");
    }
}

static LONG_FROM: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    format!(
        "From: \"I have {} words\" <sip:a{}@example.net>;tag={}",
        "very ".repeat(300),
        "b".repeat(500),
        "9".repeat(900)
    )
});

#[test]
fn broken_requests_are_answered_with_400() {
    let table: &[(&str, &[(&str, &str)])] = &[
        (
            "Contact parameters in angle brackets missing (3.1.2.1)",
            &[("Contact", "Contact: \"Joe\" <sip:joe@example.org>;;;;")],
        ),
        (
            "letters in Content-Length",
            &[("Content-Length", "Content-Length: 1O")],
        ),
        (
            "negative Content-Length (3.1.2.3)",
            &[("Content-Length", "Content-Length: -999")],
        ),
        (
            "body shorter than Content-Length (3.1.2.2)",
            &[("Content-Length", "Content-Length: 9999")],
        ),
        (
            "Content-Length past 32 bits",
            &[("Content-Length", "Content-Length: 4294967296")],
        ),
        (
            "empty Content-Length",
            &[("Content-Length", "Content-Length:")],
        ),
        (
            "Content-Lengths that disagree (3.3.9)",
            &[("Content-Length", "Content-Length: 0\r\nl: 5")],
        ),
        (
            "two Content-Lengths in one field",
            &[("Content-Length", "Content-Length: 0, 0")],
        ),
        (
            "CSeq past 31 bits (3.1.2.4)",
            &[("CSeq", "CSeq: 36893488147419103232 INVITE")],
        ),
        ("CSeq of 2^31", &[("CSeq", "CSeq: 2147483648 INVITE")]),
        ("negative CSeq", &[("CSeq", "CSeq: -1 INVITE")]),
        (
            "Max-Forwards past 255 (3.1.2.4)",
            &[("Max-", "Max-Forwards: 300")],
        ),
        ("Max-Forwards of letters", &[("Max-", "Max-Forwards: many")]),
        (
            "Expires past 32 bits (3.1.2.4)",
            &[("Max-", "Expires: 10000000000")],
        ),
        (
            "a quote that is not closed (3.1.2.6)",
            &[("To", "To: \"Mr. J. User <sip:j.user@example.com>")],
        ),
        (
            "Request-URI in angle brackets (3.1.2.7)",
            &[("INVITE", "INVITE <sip:user@example.com> SIP/2.0")],
        ),
        (
            "spaces inside the Request-URI (3.1.2.8)",
            &[("INVITE", "INVITE sip:user@example.com; lr SIP/2.0")],
        ),
        (
            "several spaces in the request line (3.1.2.9)",
            &[("INVITE", "INVITE  sip:user@example.com  SIP/2.0")],
        ),
        (
            "space after the version (3.1.2.10)",
            &[("INVITE", "INVITE sip:user@example.com SIP/2.0 ")],
        ),
        (
            "headers in the Request-URI (3.1.2.11)",
            &[(
                "INVITE",
                "INVITE sip:user@example.com?Route=%3Csip:x%3E SIP/2.0",
            )],
        ),
        (
            "spaces in an addr-spec (3.1.2.14)",
            &[("To", "To: \"Watson, Thomas\" < sip:t.watson@example.org >")],
        ),
        (
            "a comma in a name without quotes (3.1.2.15)",
            &[(
                "From",
                "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43",
            )],
        ),
        (
            "CSeq of another method (3.1.2.17)",
            &[("CSeq", "CSeq: 8 OPTIONS")],
        ),
        (
            "CSeq of an unknown method (3.1.2.18)",
            &[("INVITE", "NEWMETHOD sip:a@b SIP/2.0")],
        ),
        ("method of other case", &[("CSeq", "CSeq: 8 invite")]),
        ("From missing (3.3.1)", &[("From", "")]),
        ("To missing (3.3.1)", &[("To", "")]),
        ("Call-ID missing (3.3.1)", &[("Call-ID", "")]),
        ("CSeq missing (3.3.1)", &[("CSeq", "")]),
        ("Contact missing", &[("Contact", "")]),
        (
            "From twice (3.3.8)",
            &[("From", "From: <sip:a@b>;tag=1\r\nf: <sip:c@d>;tag=2")],
        ),
        (
            "To twice (3.3.8)",
            &[("To", "To: <sip:a@b>\r\nTo: <sip:c@d>")],
        ),
        (
            "Call-ID twice (3.3.8)",
            &[("Call-ID", "Call-ID: a\r\ni: a")],
        ),
        (
            "CSeq twice (3.3.8)",
            &[("CSeq", "CSeq: 7 INVITE\r\nCSeq: 8 INVITE")],
        ),
        (
            "Max-Forwards twice (3.3.8)",
            &[("Max-", "Max-Forwards: 7\r\nMax-Forwards: 7")],
        ),
        ("Call-ID with a space", &[("Call-ID", "Call-ID: a b")]),
        (
            "an address with ? and no brackets (3.1.2.13)",
            &[(
                "Contact",
                "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E",
            )],
        ),
        (
            "brackets of IPv6 missing (RFC 5118 4.2)",
            &[("INVITE", "INVITE sip:2001:db8::10 SIP/2.0")],
        ),
        (
            "port past 65535",
            &[("INVITE", "INVITE sip:a@b:65536 SIP/2.0")],
        ),
        (
            "Request-URI without scheme",
            &[("INVITE", "INVITE agent SIP/2.0")],
        ),
        (
            "Request-URI with an empty user",
            &[("INVITE", "INVITE sip:@example.com SIP/2.0")],
        ),
        ("a line without colon", &[("Max-", "Max-Forwards 70")]),
        ("a name with a space in it", &[("Max-", "Max Forwards: 70")]),
        (
            "a continuation before the first field",
            &[(
                "Via",
                " folded\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc",
            )],
        ),
        (
            "a line ended by LF",
            &[("Max-", "Max-Forwards: 70\nSubject: a")],
        ),
        (
            "a line ended by CR",
            &[("Max-", "Max-Forwards: 70\rSubject: a")],
        ),
        (
            "a version that is none",
            &[("INVITE", "INVITE sip:a@b HTTP/1.1")],
        ),
    ];
    for (what, changes) in table {
        let error = judge(invite_with(changes).as_bytes()).expect_err(what);
        assert_eq!(error.status, 400, "{what}: {error}");
        assert!(
            error.salvage.is_some(),
            "{what}: {error}: there is a Via to answer to"
        );
    }
}

#[test]
fn another_version_is_answered_with_505() {
    let text = invite_with(&[
        ("INVITE", "INVITE sip:a@b SIP/7.0"),
        ("Via", "Via: SIP/7.0/UDP c.example.com;branch=z9hG4bKkdj"),
    ]);
    let error = judge(text.as_bytes()).unwrap_err();
    assert_eq!(error.status, 505);
    let salvage = error.salvage.unwrap();
    assert_eq!(salvage.call_id(), Ok(&b"one@192.0.2.1"[..]));
    assert_eq!(salvage.cseq().unwrap().number, 7);
}

#[test]
fn too_much_is_answered_with_513() {
    let fields = invite_with(&[("Max-", "X: 1\r\n".repeat(256).trim_end())]);
    assert_eq!(status_of(&fields), 513);
    let limits = Limits {
        message_bytes: 200,
        headers: 256,
    };
    let error = Message::parse(invite_with(&[]).into(), &limits).unwrap_err();
    assert_eq!((error.status, error.salvage.is_some()), (513, true));
}

#[test]
fn what_has_no_via_is_dropped() {
    let table: &[&[u8]] = &[
        b"",
        b"\r\n\r\n",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"INVITE sip:a@b SIP/2.0\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\nVia: nonsense\r\nFrom: <sip:a@b>\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n\r\n",
    ];
    for text in table {
        let error = judge(text).expect_err(&String::from_utf8_lossy(text));
        assert!(error.salvage.is_none(), "{error}");
    }
}

#[test]
fn broken_responses_are_dropped() {
    let rest = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\n";
    let table = [
        ("SIP/2.0 4294967301 better not", "CSeq: 1 INVITE"),
        ("SIP/2.0 099 low", "CSeq: 1 INVITE"),
        ("SIP/2.0 700 high", "CSeq: 1 INVITE"),
        ("SIP/3.0 200 OK", "CSeq: 1 INVITE"),
        ("SIP/2.0 503 large", "CSeq: 9292394834772304023312 OPTIONS"),
        ("SIP/2.0 200 OK", "X: no CSeq"),
    ];
    for (line, cseq) in table {
        let text = format!("{line}\r\n{rest}{cseq}\r\n\r\n");
        let error = judge(text.as_bytes()).expect_err(line);
        assert!(error.salvage.is_none(), "{line}");
    }
}

#[test]
fn responses_without_or_with_any_reason_phrase_are_accepted() {
    let rest = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n";
    let table: [(&str, &[u8]); 3] = [
        ("SIP/2.0 100 ", b""),
        ("SIP/2.0 100", b""),
        (
            "SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e}",
            "= 2**3 * 5**2 \u{43d}\u{43e}".as_bytes(),
        ),
    ];
    for (line, reason) in table {
        let message = judge(format!("{line}\r\n{rest}").as_bytes()).expect(line);
        assert_eq!(message.reason_phrase(), Some(reason));
        assert_eq!(message.method().as_str(), "INVITE");
    }
}

#[test]
fn bytes_behind_the_datagrams_message_are_dropped() {
    let first = invite_with(&[]);
    let both = first.clone() + &invite_with(&[("CSeq", "CSeq: 8 INVITE")]);
    assert_eq!(judge(both.as_bytes()).unwrap().bytes(), first.as_bytes());
}

#[test]
fn a_datagram_without_content_length_has_the_rest_as_body() {
    let text = invite_with(&[("Content-Length", "")]) + "v=0\r\n";
    assert_eq!(&judge(text.as_bytes()).unwrap().body()[..], b"v=0\r\n");
}

#[test]
fn a_field_found_behind_white_space_and_colon_has_its_value() {
    for line in [
        "X-ASAPP-CallTransferId : abc",
        "x-asapp-calltransferid\t:\tabc \t",
        "X-ASAPP-CallTransferId:\r\n abc",
    ] {
        let message = judge(invite_with(&[("Max-", line)]).as_bytes()).unwrap();
        assert_eq!(
            message.header("X-ASAPP-CallTransferId").as_deref(),
            Some(&b"abc"[..]),
            "{line:?}"
        );
    }
}

#[test]
fn nul_and_bytes_that_are_not_utf8_are_kept() {
    let mut text = invite_with(&[("Content-Length", "")]).into_bytes();
    let at = text
        .windows(9)
        .position(|part| part == b"Max-Forwa")
        .unwrap();
    text.splice(at..at, *b"Subject: a\0b\xff\xfe\r\n");
    text.extend_from_slice(b"\0\xff body");
    let message = judge(&text).unwrap();
    assert_eq!(message.header("s").as_deref(), Some(&b"a\0b\xff\xfe"[..]));
    assert_eq!(&message.body()[..], b"\0\xff body");
    assert_eq!(&message.bytes()[..], &text[..]);
}

#[test]
fn a_body_without_sdp_has_none() {
    let text = invite_with(&[(
        "Content-Length",
        "Content-Type: text/plain\r\nContent-Length: 3",
    )]) + "v=0";
    assert_eq!(
        find_part(&judge(text.as_bytes()).unwrap(), "application/sdp"),
        None
    );
}

#[test]
fn escaped_line_ends_in_a_value_stay_escaped() {
    let message = judge(invite_with(&[("Max-", "X-Id: a%0d%0aVia: b")]).as_bytes()).unwrap();
    assert_eq!(
        message.header("x-id").as_deref(),
        Some(&b"a%0d%0aVia: b"[..])
    );
    assert_eq!(message.vias().count(), 1);
}
