//! The arrival table, row by row, in its order.

use super::*;
use crate::{Bounds, Unauthenticated};

fn status_of(request: &Req<'_>) -> Option<u16> {
    verdict(gateway(), &request.text()).0
}

#[test]
fn a_good_invite_is_offered_to_the_shell_and_gets_100_on_admission() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    let invitation = &bench.invited[0];
    assert_eq!(invitation.correlation.as_deref(), Some("t-1"));
    assert_eq!(invitation.offer.as_deref(), Some(crlf(SDP).as_bytes()));
    assert_eq!(invitation.caller.user.as_deref(), Some("ann"));
    assert_eq!(invitation.caller.display.as_deref(), Some("Ann"));
    assert_eq!(
        invitation.caller.x_headers,
        [("X-ASAPP-CallTransferId".to_owned(), "t-1".to_owned())]
    );
    assert!(invitation.allow_refer && invitation.leg.is_arriving());
    assert_eq!(bench.said(), ["100 INVITE"]);
}

#[test]
fn conflicting_content_lengths_get_400() {
    let text = Req::invite()
        .text()
        .replace("Content-Length:", "Content-Length: 3\nContent-Length:");
    assert_eq!(verdict(gateway(), &text).0, Some(400));
    let text = Req::invite()
        .text()
        .replace("Content-Length: ", "Content-Length: -");
    assert_eq!(verdict(gateway(), &text).0, Some(400));
}

#[test]
fn a_request_without_from_gets_400() {
    let text = Req::invite().text().replace("From:", "X-From:");
    assert_eq!(verdict(gateway(), &text).0, Some(400));
}

#[test]
fn another_version_gets_505() {
    let text = Req::invite().text().replacen(" SIP/2.0\n", " SIP/7.0\n", 1);
    assert_eq!(verdict(gateway(), &text).0, Some(505));
}

#[test]
fn too_many_headers_get_513() {
    let mut request = Req::invite();
    request.lines.extend((0..300).map(|n| format!("X-{n}: y")));
    assert_eq!(status_of(&request), Some(513));
}

#[test]
fn strangers_get_403_without_digest_and_a_challenge_with_it() {
    let mut config = gateway();
    config.trunks = vec![trunk(&["198.51.100.0/24"])];
    assert_eq!(verdict(config.clone(), &Req::invite().text()).0, Some(403));
    config.trunks.push(with_digest(
        trunk(&[]),
        &[Algorithm::Sha256, Algorithm::Md5],
    ));
    let (status, answer) = verdict(config.clone(), &Req::invite().text());
    let challenges: Vec<String> = answer
        .unwrap()
        .fields_named("WWW-Authenticate")
        .map(|field| String::from_utf8(field.value().into_owned()).unwrap())
        .collect();
    assert_eq!(status, Some(401));
    assert!(
        challenges[0].contains("algorithm=SHA-256") && challenges[1].contains("algorithm=MD5"),
        "{challenges:?}"
    );
    config.unauthenticated = Unauthenticated::Silence;
    assert_eq!(verdict(config, &Req::invite().text()).0, None);
}

#[test]
fn garbage_in_authorization_is_challenged_like_nothing() {
    let mut config = gateway();
    config.trunks = vec![with_digest(trunk(&[]), &[Algorithm::Md5])];
    for garbage in [
        "Digest",
        "Digest ,,,=",
        "Digest username=\"sbc\"",
        "Digest username=\"sbc\", realm=\"gw\", nonce=\"\", uri=\"\", response=\"\"",
        "Digest username=\"sbc, realm",
        "Basic c2JjOnNlY3JldA==",
        "Bearer x.y.z",
        "\"\"",
        "",
    ] {
        let request = Req::invite().line(&format!("Authorization: {garbage}"));
        let (status, answer) = verdict(config.clone(), &request.text());
        assert_eq!(status, Some(401), "{garbage}");
        let challenge = field(&answer.unwrap(), "WWW-Authenticate");
        assert!(!challenge.contains("stale"), "{garbage}");
    }
}

#[test]
fn user_of_one_trunk_is_nobody_on_the_address_of_another() {
    let mut here = with_digest(trunk(&["192.0.2.9/32"]), &[Algorithm::Md5]);
    here.require_all = true;
    if let Some(user) = &mut here.digest {
        user.username = "here".to_owned();
    }
    let elsewhere = with_digest(trunk(&[]), &[Algorithm::Md5]);
    let mut config = gateway();
    config.trunks = vec![here, elsewhere];
    let mut bench = Bench::new(config);
    let invite = |branch, cseq, line: &str| {
        let mut request = Req::invite().line(line);
        (request.branch, request.cseq) = (branch, cseq);
        request.text()
    };
    bench.hear(&invite("a", 1, "Subject: first"));
    let challenge = bench.last().clone();
    for (branch, cseq, username) in [("b", 2, "elsewhere"), ("c", 3, "nobody")] {
        let who = Credentials {
            username: username.replace("elsewhere", "sbc"),
            ..credentials(None)
        };
        let mut client = crate::digest::Client::default();
        client.challenged(&challenge, &who).unwrap();
        let request = crate::digest::Request {
            method: "INVITE",
            uri: b"sip:agent@192.0.2.1:5060",
            body: b"",
        };
        let mut ids = crate::ids::Ids::new([9; 32]);
        let value = client.authorize(&who, &mut ids, request).remove(0).value;
        let line = format!("Authorization: {}", String::from_utf8_lossy(&value));
        bench.hear(&invite(branch, cseq, &line));
        assert_eq!(bench.last().status(), Some(401), "{username}");
        assert!(!field(bench.last(), "WWW-Authenticate").contains("stale"));
    }
    assert_eq!(bench.endpoint.counters().bad_credentials, 2);
}

#[test]
fn an_address_that_needs_digest_too_is_challenged() {
    let mut config = gateway();
    config.trunks = vec![with_digest(trunk(&["192.0.2.0/24"]), &[Algorithm::Md5])];
    config.trunks[0].require_all = true;
    assert_eq!(verdict(config.clone(), &Req::invite().text()).0, Some(401));
    // A stranger cannot satisfy it, so there is nothing to challenge for.
    config.trunks[0].allow = vec!["198.51.100.0/24".parse().unwrap()];
    assert_eq!(verdict(config, &Req::invite().text()).0, Some(403));
}

#[test]
fn a_mapped_address_is_an_ipv4_address() {
    let mut bench = Bench::new(gateway());
    let flow = Flow::udp(
        "[::1]:5060".parse().unwrap(),
        "[::ffff:192.0.2.9]:5070".parse().unwrap(),
    );
    bench.hear_from(flow, &Req::invite().text());
    assert_eq!(bench.said(), ["100 INVITE"]);
}

#[test]
fn methods_get_501_or_405_with_allow() {
    for (method, expected) in [
        ("FLY", 501),
        ("REGISTER", 405),
        ("SUBSCRIBE", 405),
        ("MESSAGE", 405),
        ("PUBLISH", 405),
    ] {
        let (status, answer) = verdict(gateway(), &Req::new(method, "m", 1).text());
        assert_eq!(status, Some(expected), "{method}");
        assert!(field(&answer.unwrap(), "Allow").contains("INVITE"));
    }
}

#[test]
fn requests_of_dialogs_that_are_unknown_get_481() {
    for method in ["BYE", "INFO", "UPDATE", "NOTIFY", "PRACK"] {
        assert_eq!(status_of(&Req::new(method, "m", 1)), Some(481), "{method}");
        assert_eq!(
            status_of(&Req::new(method, "m", 1).to("nobody")),
            Some(481),
            "{method}"
        );
    }
    assert_eq!(status_of(&Req::invite().to("nobody")), Some(481));
    assert_eq!(status_of(&Req::new("CANCEL", "m", 1)), Some(481));
}

#[test]
fn refer_outside_a_dialog_gets_405() {
    assert_eq!(
        status_of(&Req::new("REFER", "r", 1).line("Refer-To: <sip:x@example.com>")),
        Some(405)
    );
}

#[test]
fn the_scheme_is_judged_before_the_user() {
    assert_eq!(status_of(&Req::invite().uri("tel:+1555")), Some(416));
    assert_eq!(
        status_of(&Req::invite().uri("sip:stranger@192.0.2.1")),
        Some(404)
    );
    assert_eq!(status_of(&Req::invite().uri("sip:192.0.2.1")), Some(404));
    assert_eq!(
        status_of(&Req::invite().uri("sips:agent@whoever.example")),
        Some(100)
    );
}

#[test]
fn extensions_that_we_lack_get_420_and_are_named() {
    let (status, answer) = verdict(
        gateway(),
        &Req::invite()
            .line("Require: 100rel, timer, norefersub, replaces, explicitsub")
            .text(),
    );
    assert_eq!(
        (status, field(&answer.unwrap(), "Unsupported").as_str()),
        (Some(420), "replaces, explicitsub")
    );
}

#[test]
fn our_own_via_gets_482() {
    let text = Req::invite()
        .line("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx")
        .text();
    assert_eq!(verdict(gateway(), &text).0, Some(482));
}

#[test]
fn a_branch_of_ours_gets_482_whatever_address_it_has() {
    let mut bench = Bench::new(gateway());
    bench.input(Input::Place(Box::new(place(None, Some(SDP)))));
    let via = field(bench.last(), "Via").replace("192.0.2.1:5060", "203.0.113.7");
    bench.sent.clear();
    bench.hear(&Req::invite().line(&format!("Via: {via}")).text());
    assert_eq!(bench.said(), ["482 INVITE"]);
}

#[test]
fn the_same_invite_by_another_path_gets_482() {
    let mut bench = Bench::new(gateway());
    bench.admits = false;
    bench.hear(&Req::invite().text());
    let mut other = Req::invite();
    other.branch = "two";
    bench.hear(&other.text());
    assert_eq!(bench.said(), ["482 INVITE"]);
    bench.input(Input::Admit(Box::new(bench.invited[0].clone())));
    bench.hear(&other.text());
    assert_eq!(bench.said(), ["100 INVITE", "482 INVITE"]);
}

#[test]
fn a_body_that_is_not_sdp_gets_415_unless_it_may_be_ignored() {
    let text = Req::invite()
        .without("Content-Type")
        .line("Content-Type: text/plain")
        .body("hello");
    let (status, answer) = verdict(gateway(), &text.text());
    assert_eq!(status, Some(415));
    assert!(field(&answer.unwrap(), "Accept").contains("application/sdp"));
    assert_eq!(
        status_of(&text.line("Content-Disposition: session; handling = optional")),
        Some(100)
    );
    assert_eq!(
        status_of(&Req::invite().line("Content-Encoding: gzip")),
        Some(415)
    );
}

#[test]
fn sdp_is_found_in_a_multipart_body() {
    let body = format!(
        "--b\nContent-Type: text/plain\n\nhi\n--b\nContent-Type: application/sdp\n\n{SDP}\n--b--\n"
    );
    let mut bench = Bench::new(gateway());
    let request = Req::invite()
        .without("Content-Type")
        .line("Content-Type: multipart/mixed;boundary=b")
        .body(&body);
    bench.hear(&request.text());
    assert_eq!(
        bench.invited[0].offer.as_deref(),
        Some(crlf(SDP).as_bytes())
    );
}

#[test]
fn the_transfer_header_must_be_there_once() {
    let none = Req::invite().without("X-ASAPP");
    for request in [
        none.clone(),
        none.clone().line("X-ASAPP-CallTransferId:  "),
        none.clone()
            .line("X-ASAPP-CallTransferId: a")
            .line("x-asapp-calltransferid: b"),
    ] {
        let (status, answer) = verdict(gateway(), &request.text());
        let reason = String::from_utf8(answer.unwrap().reason_phrase().unwrap().to_vec()).unwrap();
        assert_eq!(status, Some(400));
        assert!(reason.contains("X-ASAPP-CallTransferId"), "{reason}");
    }
    let twice = none
        .line("X-ASAPP-CallTransferId: a")
        .line("x-asapp-calltransferid:  a ");
    assert_eq!(status_of(&twice), Some(100));
}

#[test]
fn earlier_rows_win_over_later_ones() {
    let worst = Req::invite()
        .without("X-ASAPP")
        .uri("tel:1")
        .line("Require: replaces");
    let mut strangers = gateway();
    strangers.trunks.clear();
    assert_eq!(verdict(strangers, &worst.text()).0, Some(403));
    assert_eq!(status_of(&worst), Some(416));
    assert_eq!(status_of(&worst.clone().uri("sip:x@h")), Some(404));
    assert_eq!(status_of(&worst.uri("sip:agent@h")), Some(420));
}

#[test]
fn a_full_node_says_503_with_retry_after() {
    let config = EndpointConfig {
        bounds: Bounds {
            legs: 0,
            transactions: 10,
            ..Bounds::default()
        },
        ..gateway()
    };
    let (status, answer) = verdict(config, &Req::invite().text());
    assert_eq!(
        (status, field(&answer.unwrap(), "Retry-After").as_str()),
        (Some(503), "1")
    );
}

#[test]
fn the_shells_refusal_has_the_same_tag_for_the_same_invite() {
    let mut bench = Bench::new(gateway());
    bench.admits = false;
    let mut tags = Vec::new();
    for _ in 0..2 {
        bench.hear(&Req::invite().text());
        let invitation = Box::new(bench.invited.last().unwrap().clone());
        bench.input(Input::Refuse {
            invitation,
            refusal: refusal(486),
        });
        tags.push(our_tag(bench.last()));
    }
    assert_eq!(bench.said(), ["486 INVITE", "486 INVITE"]);
    assert_eq!(tags[0], tags[1]);
    assert_eq!(bench.endpoint.census(), crate::Census::default());
}

#[test]
fn a_repeated_invite_is_offered_once_while_the_shell_decides() {
    let mut bench = Bench::new(gateway());
    bench.admits = false;
    bench.hear(&Req::invite().text());
    bench.hear(&Req::invite().text());
    assert_eq!((bench.invited.len(), bench.said().len()), (1, 0));
}

#[test]
fn options_is_answered_for_any_user_and_503_while_draining() {
    let request = Req::new("OPTIONS", "o", 1).uri("sip:192.0.2.1");
    let (status, answer) = verdict(gateway(), &request.text());
    let answer = answer.unwrap();
    assert_eq!(status, Some(200));
    assert!(
        ["Allow", "Accept", "Supported"]
            .iter()
            .all(|name| !field(&answer, name).is_empty())
    );
    let mut bench = Bench::new(gateway());
    bench.input(Input::Drain(true));
    bench.hear(&request.text());
    assert_eq!(bench.said(), ["503 OPTIONS"]);
}

#[test]
fn an_ack_is_never_answered_and_stray_responses_are_absorbed() {
    let mut bench = Bench::new(EndpointConfig {
        trunks: Vec::new(),
        ..gateway()
    });
    bench.hear(&Req::new("ACK", "a", 1).text());
    bench.hear(&Req::new("ACK", "a", 1).to("nobody").text());
    bench.hear("SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKno\nFrom: <sip:a@b>;tag=1\nTo: <sip:a@b>;tag=2\nCall-ID: c\nCSeq: 1 INVITE\nContent-Length: 0\n\n");
    assert!(bench.said().is_empty());
    assert_eq!(bench.endpoint.counters().stray, 3);
}

#[test]
fn answers_go_to_the_source_port_only_where_rport_asks_for_it() {
    let mut bench = Bench::new(gateway());
    let flow = Flow::udp(
        "192.0.2.1:5060".parse().unwrap(),
        "192.0.2.77:1234".parse().unwrap(),
    );
    bench.hear_from(flow, &Req::new("OPTIONS", "o", 1).text());
    let (to, answer) = bench.sent.pop().unwrap();
    assert_eq!(to.remote, "192.0.2.77:1234".parse().unwrap());
    assert!(
        field(&answer, "Via").contains("received=192.0.2.77")
            && field(&answer, "Via").contains("rport=1234")
    );
    bench.hear_from(
        flow,
        &Req::new("OPTIONS", "o", 1).text().replace(";rport", ""),
    );
    assert_eq!(
        bench.sent.pop().unwrap().0.remote,
        "192.0.2.77:5070".parse().unwrap()
    );
}

/// An INVITE with credentials for the challenge of the first one.
fn proven(challenge: &Message, branch: &'static str, call: &str) -> String {
    let who = credentials(None);
    let mut client = crate::digest::Client::default();
    client.challenged(challenge, &who).unwrap();
    let request = crate::digest::Request {
        method: "INVITE",
        uri: b"sip:agent@192.0.2.1:5060",
        body: b"",
    };
    let mut ids = crate::ids::Ids::new([9; 32]);
    let value = client.authorize(&who, &mut ids, request).remove(0).value;
    let line = format!("Authorization: {}", String::from_utf8_lossy(&value));
    let mut invite = Req::invite().line(&line);
    (invite.branch, invite.cseq) = (branch, 2);
    invite.text().replace("call-1", call)
}

fn digest_gateway(strangers: (u32, u32)) -> Bench {
    let trunks = vec![with_digest(trunk(&[]), &[Algorithm::Md5])];
    let bounds = Bounds {
        strangers,
        ..Bounds::default()
    };
    Bench::new(EndpointConfig {
        trunks,
        bounds,
        ..gateway()
    })
}

#[test]
fn a_repeated_invite_with_credentials_gets_its_stateless_refusal_again() {
    for by_shell in [true, false] {
        let mut bench = digest_gateway((200, 50));
        bench.admits = false;
        bench.hear(&Req::invite().text());
        let challenge = bench.last().clone();
        let mut invite = proven(&challenge, "two", "call-2");
        if !by_shell {
            invite = invite.replace("X-ASAPP-CallTransferId: t-1\n", "");
        }
        for _ in 0..3 {
            bench.hear(&invite);
            if let Some(invitation) = bench.invited.pop() {
                bench.input(Input::Refuse {
                    invitation: Box::new(invitation),
                    refusal: refusal(486),
                });
            }
        }
        let status = if by_shell { "486 INVITE" } else { "400 INVITE" };
        assert_eq!(bench.said(), ["401 INVITE", status, status, status]);
        bench.hear(&invite.replace("INVITE", "ACK"));
        assert_eq!(bench.said(), [] as [&str; 0]);
        let elsewhere = Flow::udp(bench.flow.local, "192.0.2.50:5060".parse().unwrap());
        bench.hear_from(elsewhere, &invite);
        assert_eq!(bench.said(), ["401 INVITE"], "a replay of somebody else's");
        bench.pass(33.0);
        bench.hear(&invite);
        assert_eq!(bench.said(), ["401 INVITE"], "it is forgotten");
    }
}

#[test]
fn strangers_are_answered_over_udp_only_so_often() {
    let bounds = Bounds {
        strangers: (3, 1),
        ..Bounds::default()
    };
    let flow = |remote: &str| Flow::udp("192.0.2.1:5060".parse().unwrap(), remote.parse().unwrap());
    let answered = |bench: &mut Bench, flow: Flow| {
        for kind in ["OPTIONS", "INVITE", "BYE", "REGISTER", "CANCEL"] {
            for n in 0..4 {
                let branch = format!("z9hG4bK{kind}{n}{}", bench.now.as_millis());
                let mut request = Req::new(kind, "s", n + 1);
                if kind == "BYE" {
                    request = request.to("guessed");
                }
                bench.hear_from(flow, &request.text().replace("z9hG4bKs", &branch));
            }
        }
        bench.said().len()
    };
    let mut bench = Bench::new(EndpointConfig {
        bounds,
        ..gateway()
    });
    let stranger = flow("198.51.100.7:5060");
    assert_eq!(answered(&mut bench, stranger), 3);
    assert_eq!(bench.endpoint.counters().unanswered, 17);
    let another = flow("198.51.100.8:5060");
    assert_eq!(answered(&mut bench, another), 3, "each has its own");
    bench.pass(2.0);
    assert_eq!(answered(&mut bench, stranger), 2);
    let tcp = Flow {
        transport: crate::Transport::Tcp,
        connection: Some(crate::ConnectionId(1)),
        ..stranger
    };
    assert_eq!(answered(&mut bench, tcp), 20, "proven by its handshake");
    bench.pass(1.0);
    let trunk = flow("192.0.2.9:5060");
    assert_eq!(answered(&mut bench, trunk), 20, "a trunk's own address");
}

#[test]
fn caller_who_has_proven_its_password_is_no_stranger() {
    let mut bench = digest_gateway((2, 0));
    bench.hear(&Req::invite().text());
    let challenge = bench.last().clone();
    bench.hear(&proven(&challenge, "two", "call-2"));
    for n in 0..10 {
        let branch = format!("z9hG4bK{n}");
        bench.hear(&Req::invite().text().replace("z9hG4bKone", &branch));
    }
    let said = bench.said();
    let challenges = said.iter().filter(|said| *said == "401 INVITE").count();
    assert_eq!(challenges, 11);
}

#[test]
fn an_invite_without_a_free_transaction_gets_503_with_retry_after_before_and_after_admission() {
    let mut bench = Bench::new(EndpointConfig {
        bounds: Bounds {
            transactions: 1,
            ..Bounds::default()
        },
        ..gateway()
    });
    let second = Req::invite().text().replace("call-1", "call-2");
    let second = second.replace("z9hG4bKone", "z9hG4bKtwo");
    bench.admits = false;
    bench.hear(&Req::invite().text());
    bench.hear(&second);
    for invitation in std::mem::take(&mut bench.invited) {
        bench.input(Input::Admit(Box::new(invitation)));
    }
    assert_eq!(field(bench.last(), "Retry-After"), "1");
    assert_eq!(bench.told(), [ended(Ended::Refused(503))]);
    bench.hear(&second);
    assert_eq!(field(bench.last(), "Retry-After"), "1");
    assert!(bench.invited.is_empty(), "nothing is claimed for it");
    assert_eq!(bench.said(), ["100 INVITE", "503 INVITE", "503 INVITE"]);
    assert_eq!(bench.endpoint.counters().overloaded, 2);
    assert_eq!(bench.endpoint.census().legs, 1);
}
