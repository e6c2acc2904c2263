//! Typed values of header fields.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use bytes::Bytes;
use sip_message::{Challenge, Credentials, HeaderName, Limits, Message, Method, NameAddr, Via};

fn message(lines: &str) -> Message {
    let text = format!("NOTIFY sip:a@b SIP/2.0\r\n{lines}\r\n");
    Message::parse(text.into(), &Limits::default()).unwrap()
}

fn via(text: &'static str) -> Via {
    Via::parse(Bytes::from_static(text.as_bytes())).unwrap()
}

fn address(text: &str) -> NameAddr {
    NameAddr::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).into_owned()
}

#[test]
fn via_gives_its_parts() {
    let via = via(
        "SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bK1;received=192.0.2.7;RPORT=4000;ttl=16;maddr=224.2.0.1;x",
    );
    assert_eq!(
        (via.transport(), via.host(), via.port()),
        (&b"TLS"[..], &b"[2001:db8::1]"[..], Some(5061))
    );
    assert_eq!(via.host_ip(), "2001:db8::1".parse().ok());
    assert_eq!(via.branch(), Some(&b"z9hG4bK1"[..]));
    assert_eq!(via.received(), "192.0.2.7".parse().ok());
    assert_eq!(
        (via.rport(), via.ttl(), via.maddr()),
        (Some(Some(4000)), Some(16), Some(&b"224.2.0.1"[..]))
    );
    assert!(via.params().contains("X"));
}

#[test]
fn via_notes_the_source_that_a_request_came_from() {
    let table = [
        (
            "SIP/2.0/UDP 192.0.2.1;branch=a",
            "192.0.2.1:5060",
            "SIP/2.0/UDP 192.0.2.1;branch=a",
        ),
        (
            "SIP/2.0/UDP 192.0.2.1;branch=a",
            "192.0.2.2:9",
            "SIP/2.0/UDP 192.0.2.1;branch=a;received=192.0.2.2",
        ),
        (
            "SIP/2.0/UDP host;rport;branch=a",
            "192.0.2.2:9",
            "SIP/2.0/UDP host;branch=a;received=192.0.2.2;rport=9",
        ),
        (
            "SIP/2.0/UDP 192.0.2.2;rport",
            "192.0.2.2:9",
            "SIP/2.0/UDP 192.0.2.2;received=192.0.2.2;rport=9",
        ),
        (
            "SIP/2.0/UDP [2001:db8::1];received=9.9.9.9",
            "[2001:db8::1]:5060",
            "SIP/2.0/UDP [2001:db8::1]",
        ),
        (
            "SIP/2.0/UDP 192.0.2.1",
            "[::ffff:192.0.2.1]:5060",
            "SIP/2.0/UDP 192.0.2.1",
        ),
    ];
    for (before, source, after) in table {
        let noted = via(before).with_source(source.parse().unwrap());
        assert_eq!(text(noted), after, "{before} from {source}");
    }
}

#[test]
fn lists_of_vias_are_split_and_kept_in_order() {
    let message =
        message("v: SIP/2.0/UDP a;branch=1 , SIP/2.0/UDP b\r\nSubject: x\r\nVia:SIP/2.0/TCP c\r\n");
    let hosts: Vec<_> = message
        .vias()
        .map(|via| text(via.unwrap().host()))
        .collect();
    assert_eq!(hosts, ["a", "b", "c"]);
}

#[test]
fn addresses_give_name_uri_and_parameters() {
    let table: [(&str, Option<&str>, &str, Option<&str>); 9] = [
        (
            "\"A \\\"quoted\\\" name\" <sip:a@b;lr>;tag=1",
            Some("A \"quoted\" name"),
            "sip:a@b;lr",
            Some("1"),
        ),
        (
            "Plain Name <sip:a@b>; TAG = x",
            Some("Plain Name"),
            "sip:a@b",
            Some("x"),
        ),
        ("<sip:a@b>", None, "sip:a@b", None),
        ("\"\" <sip:a@b>", None, "sip:a@b", None),
        ("sip:a@b;tag=2", None, "sip:a@b", Some("2")),
        ("sip:a@b ; tag=2", None, "sip:a@b", Some("2")),
        (
            "name<tel:+1;ext=2>;x=\"a;tag=no\";tag=y",
            Some("name"),
            "tel:+1;ext=2",
            Some("y"),
        ),
        (
            "\"comma, <angle>\" <sip:a@b?x=1>;tag=z",
            Some("comma, <angle>"),
            "sip:a@b?x=1",
            Some("z"),
        ),
        (
            "\"folded\r\n name\" <sip:a@b>\r\n ;tag=1",
            Some("folded name"),
            "sip:a@b",
            Some("1"),
        ),
    ];
    for (raw, display, uri, tag) in table {
        let found = address(raw);
        assert_eq!(found.display().map(text).as_deref(), display, "{raw}");
        assert_eq!(
            (
                text(found.uri().as_bytes()),
                found.tag().map(text).as_deref()
            ),
            (uri.into(), tag),
            "{raw}"
        );
    }
}

#[test]
fn a_tag_is_taken_off_and_the_rest_kept() {
    let table = [
        ("\"A\" <sip:a@b>;x=1;tag=2;y", "\"A\" <sip:a@b>;x=1;y"),
        ("<sip:a@b>;tag=2", "<sip:a@b>"),
        ("<sip:a@b;tag=uri>", "<sip:a@b;tag=uri>"),
        ("<sip:a@b> ; tag = 2", "<sip:a@b> "),
    ];
    for (before, after) in table {
        assert_eq!(text(address(before).without_tag()), after);
    }
}

#[test]
fn malformed_addresses_are_refused() {
    for raw in [
        "",
        "<>",
        "<sip:a@b",
        "\"a <sip:a@b>",
        "sip:a@b>",
        "a, b <sip:a@b>",
        "<sip:a@b>x",
        "<sip:a@b>;=1",
        "<sip:a b>",
        "a@b",
    ] {
        assert!(
            NameAddr::parse(Bytes::copy_from_slice(raw.as_bytes())).is_err(),
            "{raw:?}"
        );
    }
}

#[test]
fn contacts_are_split_outside_quotes_and_brackets() {
    let message =
        message("Contact: \"a, b\" <sip:a@b;x=1,2>;q=0.5, <sip:c@d>,sip:e@f;expires=5\r\nm: *\r\n");
    let hosts: Vec<_> = message
        .contacts()
        .map(|contact| text(contact.unwrap().uri().host()))
        .collect();
    assert_eq!(hosts, ["b", "d", "f"]);
    assert_eq!(message.values("Contact").count(), 4);
}

#[test]
fn scalars_are_read() {
    let message = message(
        "CSeq: 00012\t REFER\r\nMax-Forwards: 0\r\nExpires: 4294967295\r\nRAck: 776 31 INVITE\r\nRSeq: 5\r\nRetry-After: 18 (busy);duration=3\r\nContent-Length: 0\r\n",
    );
    let cseq = message.cseq().unwrap();
    assert_eq!((cseq.number, cseq.method), (12, Method::Refer));
    assert_eq!(
        (message.max_forwards(), message.expires()),
        (Ok(Some(0)), Ok(Some(u32::MAX)))
    );
    let rack = message.rack().unwrap().unwrap();
    assert_eq!(
        (rack.rseq, rack.cseq, rack.method),
        (776, 31, Method::Invite)
    );
    assert_eq!(
        (
            message.rseq(),
            message.retry_after(),
            message.content_length()
        ),
        (Ok(Some(5)), Some(18), Ok(Some(0)))
    );
}

#[test]
fn tokens_of_lists_are_read() {
    let message = message(
        "Allow: INVITE,ACK , BYE\r\nAllow: REFER\r\nk: timer\r\nRequire: 100rel, x-y\r\nAccept: application/sdp;level=1, multipart/*\r\ne: gzip\r\n",
    );
    assert_eq!(
        message.allow().collect::<Vec<_>>(),
        ["INVITE", "ACK", "BYE", "REFER"]
    );
    assert_eq!(message.supported().collect::<Vec<_>>(), ["timer"]);
    assert_eq!(message.require().collect::<Vec<_>>(), ["100rel", "x-y"]);
    assert_eq!(message.content_encoding().collect::<Vec<_>>(), ["gzip"]);
    assert!(message.accept().next().unwrap().is("APPLICATION/sdp"));
}

#[test]
fn a_subscription_is_read() {
    let message = message(
        "o: refer;id=93809824\r\nSubscription-State: terminated ;reason=noresource;expires=60\r\nRefer-Sub: False\r\n",
    );
    let event = message.event().unwrap().unwrap();
    assert_eq!(
        (event.package(), event.id()),
        (&b"refer"[..], Some(&b"93809824"[..]))
    );
    let state = message.subscription_state().unwrap().unwrap();
    assert!(state.is_terminated());
    assert_eq!(
        (state.reason(), state.expires()),
        (Some(&b"noresource"[..]), Some(60))
    );
    assert_eq!(message.refer_sub(), Some(false));
}

#[test]
fn a_refer_is_read() {
    let message = message(
        "r: \"X\" <sip:c@d;method=INVITE?Replaces=a%3Bto-tag%3D1&x=%20>\r\nb: <sip:me@here>;cid=\"1@2\"\r\nReplaces: 98732@sip.example.com ;from-tag=r33th4x0r ;to-tag=ff87ff;early-only\r\n",
    );
    let target = message.refer_to().unwrap().unwrap();
    assert_eq!(target.uri().param("method"), Some(&b"INVITE"[..]));
    assert_eq!(
        text(message.referred_by().unwrap().unwrap().uri().as_bytes()),
        "sip:me@here"
    );
    let replaces = message.replaces().unwrap().unwrap();
    assert_eq!(
        (replaces.call_id(), replaces.to_tag(), replaces.from_tag()),
        (
            &b"98732@sip.example.com"[..],
            Some(&b"ff87ff"[..]),
            Some(&b"r33th4x0r"[..])
        )
    );
    assert!(replaces.early_only());
}

#[test]
fn reasons_and_warnings_are_read() {
    let message = message(
        "Reason: SIP;cause=200;text=\"Call completed, elsewhere\", Q.850 ;cause=16\r\nWarning: 307 isi.edu \"Session parameter 'foo' not \\\"understood\\\"\", 399 [::1]:5 \"x\"\r\n",
    );
    let reasons: Vec<_> = message
        .reason()
        .map(|reason| {
            (
                text(reason.protocol()),
                reason.cause(),
                reason.text().map(text),
            )
        })
        .collect();
    assert_eq!(
        reasons,
        [
            (
                "SIP".into(),
                Some(200),
                Some("Call completed, elsewhere".into())
            ),
            ("Q.850".into(), Some(16), None)
        ]
    );
    let warnings: Vec<_> = message
        .warning()
        .map(|warning| (warning.code, text(&warning.agent), text(&warning.text)))
        .collect();
    assert_eq!(
        warnings,
        [
            (
                307,
                "isi.edu".into(),
                "Session parameter 'foo' not \"understood\"".into()
            ),
            (399, "[::1]:5".into(), "x".into())
        ]
    );
}

#[test]
fn session_timers_are_read() {
    let message = message("x: 1800;refresher=uac\r\nMin-SE: 90\r\n");
    let expires = message.session_expires().unwrap().unwrap();
    assert_eq!(
        (expires.seconds(), expires.refresher()),
        (1800, Some(&b"uac"[..]))
    );
    assert_eq!(message.min_se().unwrap().unwrap().seconds(), 90);
}

#[test]
fn challenges_joined_in_one_field_are_told_apart() {
    let message = message(
        "WWW-Authenticate: Digest realm=\"a, Digest b\", nonce=\"n\\\"1\", algorithm=SHA-256, qop=\"auth,auth-int\",\r\n Digest realm=c,nonce=\"2==\",stale=TRUE\r\nWWW-Authenticate: Basic realm=\"d\"\r\nProxy-Authenticate: Digest realm=\"p\"\r\n",
    );
    let found: Vec<_> = message.www_authenticate().map(Result::unwrap).collect();
    let part = |index: usize, name| found[index].param(name).map(text);
    assert_eq!(found.len(), 3);
    assert_eq!(
        (part(0, "realm"), part(0, "nonce")),
        (Some("a, Digest b".into()), Some("n\"1".into()))
    );
    assert_eq!(
        (part(0, "ALGORITHM"), part(0, "qop"), part(0, "stale")),
        (Some("SHA-256".into()), Some("auth,auth-int".into()), None)
    );
    assert_eq!(
        (part(1, "realm"), part(1, "nonce"), part(1, "stale")),
        (Some("c".into()), Some("2==".into()), Some("TRUE".into()))
    );
    assert!(!found[2].is_digest());
    assert_eq!(message.proxy_authenticate().count(), 1);
}

#[test]
fn credentials_are_read_and_not_shown() {
    let message = message(
        "Authorization: Digest username=\"Bob\", realm=\"biloxi.com\", nonce=\"84a4cc\", uri=\"sip:bob@biloxi.com\", qop=auth, nc=00000001, cnonce=\"0a4f\", response=\"6629fae4\", opaque=\"\"\r\nProxy-Authorization: nonsense\r\n",
    );
    let found = message.authorization().next().unwrap().unwrap();
    assert_eq!(found.param("username").map(text).as_deref(), Some("Bob"));
    assert_eq!(
        found.param("uri").map(text).as_deref(),
        Some("sip:bob@biloxi.com")
    );
    assert_eq!(found.param("nc").map(text).as_deref(), Some("00000001"));
    assert_eq!(found.param("opaque").map(text).as_deref(), Some(""));
    assert!(!format!("{found:?}").contains("6629fae4"));
    assert!(message.proxy_authorization().next().unwrap().is_err());
}

#[test]
fn malformed_credentials_are_refused() {
    for raw in [
        "",
        "Digest",
        "Digest realm",
        "Digest realm=\"a",
        "Digest =\"a\"",
        "Digest realm=\"a\" nonce=\"b\"",
    ] {
        let raw = Bytes::from_static(raw.as_bytes());
        assert!(Credentials::parse(raw.clone()).is_err(), "{raw:?}");
        assert!(Challenge::parse_all(&raw).is_err(), "{raw:?}");
    }
}

#[test]
fn names_are_the_same_in_any_form() {
    for (one, other) in [
        ("v", "Via"),
        ("VIA", "v"),
        ("call-id", "I"),
        ("x-own", "X-OWN"),
        ("X", "session-expires"),
    ] {
        assert_eq!(HeaderName::from(one), HeaderName::from(other));
        assert_eq!(HeaderName::Other(one), HeaderName::from(other));
    }
    assert_ne!(HeaderName::from("X-A"), HeaderName::from("X-B"));
    assert_ne!(HeaderName::from("Via"), HeaderName::from("To"));
}

#[test]
fn a_name_is_known_in_any_case_but_not_by_bytes_that_only_look_alike() {
    assert_eq!(HeaderName::from("cALL-id"), HeaderName::CallId);
    assert_eq!(
        HeaderName::from("content-TRANSFER-encoding"),
        HeaderName::ContentTransferEncoding
    );
    for other in [
        "Call\rID",
        "CSe1",
        "V\0",
        "Content-Transfer_Encoding",
        "Content-Tran-fer-Encoding",
    ] {
        assert!(matches!(HeaderName::from(other), HeaderName::Other(_)));
    }
}
