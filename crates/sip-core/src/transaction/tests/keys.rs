use super::*;

const OLD: &str = "INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP a.example:5060\r\n\
    From: <sip:alice@a.example>;tag=f1\r\nTo: <sip:bob@b.example>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\
    Content-Length: 0\r\n\r\n";

fn edited(text: &str, from: &str, to: &str) -> Message {
    assert!(text.contains(from), "{from} is not in the text");
    parse(&text.replace(from, to))
}

fn text(message: &Message) -> String {
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

#[test]
fn requests_match_by_branch_sent_by_and_method() {
    let invite = request("INVITE", "z9hG4bKa");
    let key = Key::server(&invite).unwrap();
    let same = [
        ("ACK in place of INVITE", request("ACK", "z9hG4bKa")),
        (
            "host in capitals",
            edited(
                &text(&invite),
                "SIP/2.0/UDP a.example",
                "SIP/2.0/UDP A.EXAMPLE",
            ),
        ),
        ("another Call-ID", edited(&text(&invite), "c1", "c2")),
        (
            "a parameter more in Via",
            edited(
                &text(&invite),
                ";branch=z9hG4bKa",
                ";rport;branch=z9hG4bKa;x=y",
            ),
        ),
        (
            "a hop more below",
            edited(
                &text(&invite),
                "Max-",
                "Via: SIP/2.0/UDP z;branch=z9hG4bKz\r\nMax-",
            ),
        ),
    ];
    for (what, message) in same {
        assert_eq!(Key::server(&message), Some(key.clone()), "{what}");
    }
    let other = [
        ("another branch", request("INVITE", "z9hG4bKb")),
        ("the branch in other case", request("INVITE", "z9hG4bKA")),
        ("another method", request("OPTIONS", "z9hG4bKa")),
        ("CANCEL", request("CANCEL", "z9hG4bKa")),
        (
            "another host",
            edited(
                &text(&invite),
                "SIP/2.0/UDP a.example",
                "SIP/2.0/UDP b.example",
            ),
        ),
        ("another port", edited(&text(&invite), ":5060", ":5061")),
        ("no port", edited(&text(&invite), ":5060", "")),
    ];
    for (what, message) in other {
        assert_ne!(Key::server(&message), Some(key.clone()), "{what}");
    }
    assert_eq!(Key::cancelled(&request("CANCEL", "z9hG4bKa")), Some(key));
}

#[test]
fn requests_of_rfc_2543_match_by_their_identity() {
    let invite = parse(OLD);
    let key = Key::server(&invite).unwrap();
    let ack = OLD
        .replace("INVITE", "ACK")
        .replace("<sip:bob@b.example>", "<sip:bob@b.example>;tag=t1");
    let foreign_branch = OLD.replace("a.example:5060", "a.example:5060;branch=1");
    assert_eq!(Key::server(&parse(&ack)), Some(key.clone()));
    assert_eq!(
        Key::cancelled(&parse(&OLD.replace("INVITE", "CANCEL"))),
        Some(key.clone())
    );
    for (from, to) in [
        ("sip:bob@b.example SIP", "sip:carol@b.example SIP"),
        ("tag=f1", "tag=f2"),
        ("Call-ID: c1", "Call-ID: C1"),
        ("CSeq: 7", "CSeq: 8"),
        ("a.example:5060", "a.example:5062"),
        ("INVITE", "OPTIONS"),
    ] {
        assert_ne!(
            Key::server(&edited(OLD, from, to)),
            Some(key.clone()),
            "{from} made {to}"
        );
    }
    assert_ne!(Key::server(&parse(&foreign_branch)), Some(key));
    let bare_cookie = OLD.replace("a.example:5060", "a.example:5060;branch=z9hG4bK");
    let another_call = bare_cookie.replace("c1", "c2");
    assert_ne!(
        Key::server(&parse(&bare_cookie)),
        Key::server(&parse(&another_call)),
        "the cookie alone is no branch"
    );
}

#[test]
fn responses_match_by_branch_and_method_of_cseq() {
    let key = Key::client(&request("INVITE", "z9hG4bKa"));
    assert!(key.is_some());
    assert_eq!(Key::client(&response(200, "INVITE", "z9hG4bKa")), key);
    assert_ne!(
        Key::client(&response(200, "CANCEL", "z9hG4bKa")),
        key,
        "CANCEL shares the branch of its INVITE"
    );
    assert_ne!(Key::client(&response(200, "INVITE", "z9hG4bKb")), key);
    assert_eq!(
        Key::client(&parse(OLD)),
        None,
        "a message without branch has no client transaction"
    );
}

#[test]
fn keys_of_the_two_sides_never_meet() {
    let invite = request("INVITE", "z9hG4bKa");
    assert_ne!(Key::client(&invite), Key::server(&invite));
}

#[test]
fn request_by_another_path_is_known_by_from_tag_call_id_and_cseq() {
    let key = MergeKey::of(&request("INVITE", "z9hG4bKa"));
    assert!(key.is_some());
    assert_eq!(MergeKey::of(&request("INVITE", "z9hG4bKb")), key);
    let text = text(&request("INVITE", "z9hG4bKb"));
    for (from, to) in [("tag=f1", "tag=f2"), ("c1", "c2"), ("CSeq: 7", "CSeq: 8")] {
        assert_ne!(
            MergeKey::of(&edited(&text, from, to)),
            key,
            "{from} made {to}"
        );
    }
    let inside = edited(
        &text,
        "To: <sip:bob@b.example>",
        "To: <sip:bob@b.example>;tag=t",
    );
    assert_eq!(
        MergeKey::of(&inside),
        None,
        "requests inside a dialog are never merged"
    );
    assert_eq!(MergeKey::of(&request("ACK", "z9hG4bKa")), None);
    assert_eq!(MergeKey::of(&request("CANCEL", "z9hG4bKa")), None);
}
