//! URIs that keep their bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use sip_message::Uri;

fn uri(text: &str) -> Uri {
    Uri::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).into_owned()
}

#[test]
fn a_uri_is_written_as_it_was_read() {
    for form in [
        "sip:a@b",
        "SIPS:%61:p%20w@[2001:DB8::1]:5061;lr;X=%7e?b=c&b=",
        "tel:+1-201-555-0123;phone-context=x",
        "urn:service:sos",
        "http://a/b?c",
        "sip:host;;x",
        "sip:a@b?",
    ] {
        assert_eq!(
            (text(uri(form).as_bytes()), uri(form).to_string()),
            (form.into(), form.into())
        );
    }
}

#[test]
fn a_sip_uri_gives_its_parts() {
    let uri = uri(
        "sip:user;par=x:secret@Example.com:5070;transport=tcp;LR;maddr=1.2.3.4?Subject=a%20b&Route=%3Csip:x%3E&Subject=2",
    );
    assert_eq!(
        (text(uri.scheme()), uri.user().map(text)),
        ("sip".into(), Some("user;par=x".into()))
    );
    assert_eq!(
        (text(uri.host()), uri.port()),
        ("Example.com".into(), Some(5070))
    );
    assert_eq!(
        (uri.param("Transport"), uri.param("lr"), uri.param("ob")),
        (Some(&b"tcp"[..]), Some(&b""[..]), None)
    );
    let headers: Vec<_> = uri
        .headers()
        .map(|header| (text(header.name), text(header.value)))
        .collect();
    assert_eq!(
        headers,
        [
            ("Subject".into(), "a b".into()),
            ("Route".into(), "<sip:x>".into()),
            ("Subject".into(), "2".into())
        ]
    );
}

#[test]
fn other_schemes_are_kept_whole() {
    assert_eq!(
        uri("tel:+12125550123;ext=1").user().map(text).as_deref(),
        Some("+12125550123")
    );
    assert_eq!(uri("tel:+12125550123;ext=1").param("ext"), Some(&b"1"[..]));
    let urn = uri("urn:service:sos.fire");
    assert_eq!(
        (urn.user(), text(urn.host()), urn.is_sip()),
        (None, String::new(), false)
    );
}

#[test]
fn malformed_uris_are_refused() {
    for form in [
        "",
        "sip:",
        "sip",
        ":a@b",
        "1sip:a@b",
        "sip:@b",
        "sip:a@",
        "sip:a@b:",
        "sip:a@b:x",
        "sip:a@b:99999",
        "sip:a@[::1",
        "sip:a@b c",
        "sip:a@b@c",
        "<sip:a@b>",
        "sip:a@b\r\n",
        "sip:2001:db8::1",
        "si p:a",
    ] {
        assert!(Uri::parse(form.as_bytes()).is_err(), "{form:?}");
    }
}

#[test]
fn uris_that_rfc_3261_calls_the_same_are_the_same() {
    let table = [
        (
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtLanTa.CoM;Transport=tcp",
        ),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;newparam=5",
        ),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]"),
        ("SIP:a@b", "sip:a@b"),
        ("TEL:+1", "tel:+1"),
    ];
    for (one, other) in table {
        assert_eq!(uri(one), uri(other));
        assert_eq!(uri(other), uri(one));
    }
}

#[test]
fn uris_that_rfc_3261_tells_apart_differ() {
    let table = [
        (
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
        ),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        (
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com:6000;transport=tcp",
        ),
        (
            "sip:carol@chicago.com",
            "sip:carol@chicago.com?Subject=next%20meeting",
        ),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        (
            "sip:carol@chicago.com;newparam=5",
            "sip:carol@chicago.com;newparam=6",
        ),
        ("sip:a@b", "sips:a@b"),
        ("sip:a@b", "sip:b"),
        ("sip:a%3Bb@c", "sip:a;b@c"),
        ("sip:a@b;maddr=1.1.1.1", "sip:a@b"),
        ("sip:a@b?x=1&x=1&x=2", "sip:a@b?x=1&x=2&x=2"),
        ("tel:+1", "tel:+2"),
        ("tel:1", "sip:1"),
    ];
    for (one, other) in table {
        assert_ne!(uri(one), uri(other));
        assert_ne!(uri(other), uri(one));
    }
}

#[test]
fn the_target_of_a_hand_back_is_cut_out_byte_for_byte() {
    let table = [
        (
            "sip:a@b;method=INVITE;x=Y?h=1",
            "sip:a@b;x=Y?h=1",
            "sip:a@b;x=Y",
        ),
        ("sip:a@b;x;METHOD=BYE", "sip:a@b;x", "sip:a@b;x"),
        (
            "sip:a;method=no@b?method=h",
            "sip:a;method=no@b?method=h",
            "sip:a;method=no@b",
        ),
        (
            "sip:a@b;methods=x;;y",
            "sip:a@b;methods=x;;y",
            "sip:a@b;methods=x;;y",
        ),
        ("tel:+1;method=x;y", "tel:+1;y", "tel:+1;y"),
    ];
    for (before, without_method, bare) in table {
        let cut = uri(before).without_param("method");
        assert_eq!(cut.to_string(), without_method);
        assert_eq!(cut.without_headers().to_string(), bare);
        assert_eq!(cut.headers().count(), uri(before).headers().count());
    }
}

#[test]
fn a_uri_with_very_many_parameters_is_compared_quickly() {
    let one = format!("sip:a@b{}", ";p".repeat(20_000));
    let other = format!("sip:a@b{}", ";q".repeat(20_000));
    assert_eq!(uri(&one), uri(&one));
    assert_ne!(uri(&one), uri(&other));
}
