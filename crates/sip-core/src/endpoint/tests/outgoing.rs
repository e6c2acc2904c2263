//! Calls that we place: answers, forks, challenges, CANCEL, and the races between them.

use super::*;

const ANSWER: &str = "Contact: <sip:pbx@192.0.2.9:5070>\nContent-Type: application/sdp\n";

fn calling() -> (Bench, Message) {
    calling_with(None)
}

fn calling_with(credentials: Option<Credentials>) -> (Bench, Message) {
    let mut bench = Bench::new(gateway());
    bench.input(Input::Place(Box::new(place(credentials, Some(SDP)))));
    let invite = bench.sent.remove(0).1;
    (bench, invite)
}

fn challenge(realm: &str, nonce: &str, stale: bool) -> String {
    let stale = if stale { ", stale=true" } else { "" };
    format!(
        "Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"{stale}\n"
    )
}

#[test]
fn the_invite_says_who_calls_and_its_target_byte_for_byte() {
    let (_, invite) = calling();
    assert_eq!(
        invite.request_uri(),
        Some(&b"sip:+1555;ext=%41@pbx.example.net:5070;user=phone"[..])
    );
    assert!(field(&invite, "From").starts_with("\"Ann\" <sip:ann@example.com>;tag="));
    assert_eq!(field(&invite, "To"), "<sip:+1555@pbx.example.net>");
    assert_eq!(field(&invite, "Max-Forwards"), "69");
    assert_eq!(field(&invite, "X-ASAPP-CallTransferId"), "t-1");
    assert_eq!(field(&invite, "Contact"), "<sip:ann@192.0.2.1:5060>");
    assert!(!field(&invite, "Allow").is_empty() && !field(&invite, "Supported").is_empty());
}

#[test]
fn a_call_is_answered_acknowledged_at_the_contact_and_ended() {
    let (mut bench, invite) = calling();
    bench.hear(&answer_to(&invite, 100, "", "", ""));
    bench.hear(&answer_to(&invite, 180, "p", "", ""));
    let route = format!("Record-Route: <sip:192.0.2.9:5080;lr>\n{ANSWER}");
    bench.hear(&answer_to(&invite, 200, "p", &route, SDP));
    assert_eq!(
        bench.told(),
        [
            LegEvent::Progress {
                status: 180,
                sdp: None
            },
            LegEvent::Answered {
                sdp: Some(Bytes::from(crlf(SDP))),
                allow_refer: true
            },
        ]
    );
    let (flow, ack) = bench.sent.pop().unwrap();
    assert_eq!(ack.request_uri(), Some(&b"sip:pbx@192.0.2.9:5070"[..]));
    assert_eq!(
        (field(&ack, "Route").as_str(), flow.remote.port()),
        ("<sip:192.0.2.9:5080;lr>", 5080)
    );
    assert_eq!(field(&ack, "CSeq"), "1 ACK");
    bench.hear(&answer_to(&invite, 200, "p", &route, SDP));
    assert_eq!(bench.said(), ["ACK"], "a repeated 200 means a lost ACK");
    bench.command(OUT, hang_up());
    let bye = bench.last().clone();
    assert_eq!(field(&bye, "CSeq"), "2 BYE");
    bench.hear(&answer_to(&bye, 200, "", "", ""));
    assert_eq!(bench.told(), [ended(Ended::ByeAnswered(200))]);
}

#[test]
fn a_strict_route_goes_into_the_request_line() {
    let (mut bench, invite) = calling();
    let route = format!("Record-Route: <sip:192.0.2.9:5080>\n{ANSWER}");
    bench.hear(&answer_to(&invite, 200, "p", &route, SDP));
    assert_eq!(bench.last().request_uri(), Some(&b"sip:192.0.2.9:5080"[..]));
    assert_eq!(field(bench.last(), "Route"), "<sip:pbx@192.0.2.9:5070>");
}

#[test]
fn the_peer_may_hang_up_from_its_contacts_address_and_nowhere_else() {
    let (mut bench, invite) = calling();
    bench.hear(&answer_to(
        &invite,
        200,
        "p",
        "Contact: <sip:x@192.0.2.33>\nContent-Type: application/sdp\n",
        SDP,
    ));
    bench.said();
    let bye = |branch: &str| {
        format!(
            "BYE sip:ann@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{branch}\nMax-Forwards: 70\nFrom: {}\nTo: {}\nCall-ID: {}\nCSeq: 1 BYE\nContent-Length: 0\n\n",
            field(&invite, "To") + ";tag=p",
            field(&invite, "From"),
            field(&invite, "Call-ID"),
        )
    };
    let from = |ip: &str| {
        Flow::udp(
            "192.0.2.1:5060".parse().unwrap(),
            format!("{ip}:5060").parse().unwrap(),
        )
    };
    bench.hear_from(from("192.0.2.34"), &bye("x"));
    bench.hear_from(from("192.0.2.33"), &bye("y"));
    assert_eq!(bench.said(), ["403 BYE", "200 BYE"]);
}

#[test]
fn the_first_of_several_forks_wins_and_the_others_are_acknowledged_and_ended() {
    let (mut bench, invite) = calling();
    bench.hear(&answer_to(&invite, 180, "p", "", ""));
    bench.hear(&answer_to(&invite, 183, "q", "", ""));
    bench.hear(&answer_to(&invite, 200, "q", ANSWER, SDP));
    bench.hear(&answer_to(&invite, 200, "p", ANSWER, SDP));
    assert_eq!(
        field(bench.last(), "Reason"),
        "SIP;cause=200;text=\"Call completed elsewhere\""
    );
    bench.hear(&answer_to(&invite, 200, "p", ANSWER, SDP));
    assert_eq!(bench.said(), ["ACK", "ACK", "BYE", "ACK"]);
    let answered = bench
        .told()
        .into_iter()
        .filter(|event| matches!(event, LegEvent::Answered { .. }))
        .count();
    assert_eq!(answered, 1);
}

#[test]
fn refusals_and_redirections_end_the_leg() {
    let (mut bench, invite) = calling();
    bench.hear(&answer_to(
        &invite,
        302,
        "p",
        "Contact: <sip:a@h>;q=0.2, <sip:b@h>;q=0.9\n",
        "",
    ));
    let told = bench.told();
    let LegEvent::Refused {
        status: 302,
        contacts,
        ..
    } = &told[0]
    else {
        panic!("{told:?}")
    };
    assert_eq!(contacts, &["sip:b@h", "sip:a@h"]);
    assert_eq!(told[1], ended(Ended::Refused(302)));
    assert_eq!(bench.said(), ["ACK"]);
}

#[test]
fn a_peer_is_waited_for_only_so_long_where_another_one_waits() {
    let mut bench = Bench::new(gateway());
    let call = Place {
        patience: Some(Duration::from_secs(4)),
        ..place(None, Some(SDP))
    };
    bench.input(Input::Place(Box::new(call)));
    bench.pass(3.9);
    assert!(bench.told().is_empty());
    bench.pass(0.2);
    let told = bench.told();
    let Some(LegEvent::Refused {
        status: 408,
        answered: false,
        ..
    }) = told.first()
    else {
        panic!("{told:?}")
    };
}

#[test]
fn a_silent_peer_counts_as_408_and_a_failed_transport_as_503() {
    let (mut bench, _) = calling();
    bench.pass(32.1);
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(408))));
    assert_eq!(bench.said().len(), 6);
    let (mut bench, invite) = calling();
    bench.input(Input::SendFailed {
        flow: bench.flow,
        payload: invite.bytes().clone(),
    });
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(503))));
}

#[test]
fn a_challenge_is_answered_once_per_nonce() {
    let (mut bench, invite) = calling_with(Some(credentials(None)));
    bench.hear(&answer_to(
        &invite,
        407,
        "p",
        &challenge("pbx", "n1", false),
        "",
    ));
    assert_eq!(bench.sent.len(), 2, "ACK and a new INVITE");
    let again = bench.last().clone();
    assert_eq!(field(&again, "CSeq"), "2 INVITE");
    assert!(field(&again, "Proxy-Authorization").contains("nonce=\"n1\""));
    assert_eq!(
        ["Call-ID", "From", "To", "X-ASAPP-CallTransferId"].map(|name| field(&again, name)),
        ["Call-ID", "From", "To", "X-ASAPP-CallTransferId"].map(|name| field(&invite, name))
    );
    assert_ne!(field(&again, "Via"), field(&invite, "Via"));
    assert_eq!(again.body(), invite.body());
    bench.hear(&answer_to(
        &again,
        407,
        "q",
        &challenge("pbx", "n2", true),
        "",
    ));
    let third = bench.last().clone();
    assert_eq!(field(&third, "CSeq"), "3 INVITE");
    bench.hear(&answer_to(
        &third,
        407,
        "r",
        &challenge("pbx", "n3", false),
        "",
    ));
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(407))));
}

#[test]
fn a_foreign_realm_gets_nothing() {
    let (mut bench, invite) = calling_with(Some(credentials(Some("pbx"))));
    bench.hear(&answer_to(
        &invite,
        401,
        "p",
        &challenge("evil", "n", false).replace("Proxy", "WWW"),
        "",
    ));
    assert_eq!(bench.said(), ["ACK"]);
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(401))));
    let (mut bench, invite) = calling();
    bench.hear(&answer_to(
        &invite,
        407,
        "p",
        &challenge("pbx", "n", false),
        "",
    ));
    assert_eq!(bench.said(), ["ACK"], "no credentials, no answer");
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let (mut bench, invite) = calling();
    bench.command(OUT, hang_up());
    assert!(bench.said().is_empty());
    bench.hear(&answer_to(&invite, 100, "", "", ""));
    let cancel = bench.last().clone();
    assert_eq!(field(&cancel, "Via"), field(&invite, "Via"));
    assert_eq!(
        (
            field(&cancel, "CSeq").as_str(),
            field(&cancel, "Reason").as_str()
        ),
        ("1 CANCEL", "Q.850;cause=16")
    );
    bench.hear(&answer_to(&cancel, 200, "p", "", ""));
    bench.hear(&answer_to(&invite, 487, "p", "", ""));
    assert_eq!(bench.said(), ["CANCEL", "ACK"]);
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(487))));
}

#[test]
fn a_200_that_crosses_our_cancel_is_acknowledged_and_ended() {
    let (mut bench, invite) = calling();
    bench.hear(&answer_to(&invite, 180, "p", "", ""));
    bench.command(OUT, hang_up());
    bench.hear(&answer_to(&invite, 200, "p", ANSWER, SDP));
    assert_eq!(field(bench.last(), "Reason"), "Q.850;cause=16");
    bench.hear(&answer_to(&invite, 200, "q", ANSWER, SDP));
    assert_eq!(field(bench.last(), "Reason"), "Q.850;cause=16");
    assert_eq!(bench.said(), ["CANCEL", "ACK", "BYE", "ACK", "BYE"]);
    bench.pass(40.0);
    let told = bench.told();
    assert_eq!(told.last(), Some(&ended(Ended::ByeAnswered(408))));
    assert!(
        !told
            .iter()
            .any(|event| matches!(event, LegEvent::Answered { .. }))
    );
}

#[test]
fn an_invite_that_ignores_its_cancel_is_given_up() {
    let (mut bench, invite) = calling();
    bench.hear(&answer_to(&invite, 180, "p", "", ""));
    bench.command(OUT, hang_up());
    bench.pass(33.0);
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(408))));
}

#[test]
fn without_an_offer_of_ours_the_ack_carries_the_answer() {
    let mut bench = Bench::new(gateway());
    bench.input(Input::Place(Box::new(place(None, None))));
    let invite = bench.sent.remove(0).1;
    bench.hear(&answer_to(&invite, 200, "p", ANSWER, SDP));
    bench.hear(&answer_to(&invite, 200, "p", ANSWER, SDP));
    assert!(bench.said().is_empty());
    bench.command(
        OUT,
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    assert_eq!(bench.last().body(), Bytes::from(SDP));
    assert_eq!(bench.said(), ["ACK"]);
}

#[test]
fn bye_is_authorised_only_with_the_trunks_outbound_credentials_and_realm() {
    for (realm, expected) in [
        (Some("sbc-realm"), vec!["BYE"]),
        (Some("other"), vec![]),
        (None, vec!["BYE"]),
    ] {
        let mut config = gateway();
        config.trunks[0].outbound_auth = Some(credentials(realm));
        let (mut bench, leg, _) = standing_with(config);
        bench.command(leg, hang_up());
        let bye = bench.sent.remove(0).1;
        bench.hear(&answer_to(
            &bye,
            401,
            "",
            &challenge("sbc-realm", "n", false).replace("Proxy", "WWW"),
            "",
        ));
        assert_eq!(
            bench.sent.iter().map(|(_, m)| label(m)).collect::<Vec<_>>(),
            expected
        );
    }
    let (mut bench, leg, _) = standing();
    bench.command(leg, hang_up());
    let bye = bench.sent.remove(0).1;
    bench.hear(&answer_to(
        &bye,
        401,
        "",
        &challenge("sbc-realm", "n", false).replace("Proxy", "WWW"),
        "",
    ));
    assert_eq!(bench.told(), [ended(Ended::ByeAnswered(401))]);
}

/// The class of FreeSWITCH's advisory ES2021-05: whoever gets a request of ours asks for the
/// credentials of somebody else.
#[test]
fn challenge_from_elsewhere_than_the_trunk_gets_nothing() {
    let mut config = gateway();
    config.trunks[0].outbound_auth = Some(credentials(Some("sbc-realm")));
    let asks = challenge("sbc-realm", "n", false).replace("Proxy", "WWW");
    for (contact, answered) in [
        ("Contact: <sip:sbc@192.0.2.77:5070>", true),
        ("Contact: <sip:thief@198.51.100.66:5060>", false),
    ] {
        let mut bench = Bench::new(config.clone());
        bench.hear(&Req::invite().without("Contact").line(contact).text());
        let leg = bench.leg();
        bench.command(leg, accept());
        let tag = our_tag(bench.last());
        bench.hear(&Req::new("ACK", "ack", 1).to(&tag).text());
        bench.said();
        bench.command(leg, hang_up());
        let bye = bench.sent.remove(0).1;
        bench.hear(&answer_to(&bye, 401, "", &asks, ""));
        assert_eq!(bench.said().len(), usize::from(answered), "{contact}");
    }
}

#[test]
fn credentials_of_a_returned_call_answer_its_invite_and_nothing_after() {
    let mut config = gateway();
    config.trunks[0].outbound_auth = Some(credentials(Some("sbc-realm")));
    for (trunk, realm, answered) in [
        (None, "pbx", false),
        (None, "sbc-realm", false),
        (Some(crate::TrunkId(0)), "pbx", false),
        (Some(crate::TrunkId(0)), "sbc-realm", true),
    ] {
        let mut bench = Bench::new(config.clone());
        let call = Place {
            trunk,
            ..place(Some(credentials(None)), Some(SDP))
        };
        bench.input(Input::Place(Box::new(call)));
        let invite = bench.sent.remove(0).1;
        bench.hear(&answer_to(
            &invite,
            401,
            "p",
            &challenge("pbx", "n1", false),
            "",
        ));
        let again = bench.last().clone();
        assert_eq!(field(&again, "CSeq"), "2 INVITE");
        bench.hear(&answer_to(&again, 200, "q", ANSWER, SDP));
        bench.said();
        bench.command(OUT, hang_up());
        let bye = bench.sent.remove(0).1;
        for name in ["Authorization", "Proxy-Authorization"] {
            assert_eq!(bye.fields_named(name).count(), 0, "not asked for");
        }
        bench.hear(&answer_to(
            &bye,
            407,
            "",
            &challenge(realm, "n2", false),
            "",
        ));
        assert_eq!(
            bench.said().len(),
            usize::from(answered),
            "{trunk:?} {realm}"
        );
    }
}

#[test]
fn an_invite_fails_with_its_connection() {
    let mut bench = Bench::new(gateway());
    let flow = Flow {
        transport: crate::Transport::Tcp,
        connection: Some(crate::ConnectionId(3)),
        ..bench.flow
    };
    let call = Place {
        flow,
        ..place(None, Some(SDP))
    };
    bench.input(Input::Place(Box::new(call)));
    bench.input(closed(3));
    assert_eq!(bench.said(), ["INVITE"]);
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(503))));
}

#[test]
fn a_strict_outbound_proxy_stands_in_the_request_line_and_the_target_in_the_route() {
    let mut bench = Bench::new(gateway());
    let target = place(None, Some(SDP)).uri;
    bench.input(Input::Place(Box::new(Place {
        route: Some(Bytes::from("<sip:old.example.net;transport=udp?X-A=b>")),
        ..place(None, Some(SDP))
    })));
    let invite = bench.last().clone();
    let proxy = &b"sip:old.example.net;transport=udp"[..];
    assert_eq!(invite.request_uri(), Some(proxy));
    let route = [b"<", &target[..], b">"].concat();
    assert_eq!(field(&invite, "Route").as_bytes(), route);
    bench.hear(&answer_to(&invite, 486, "p", "", ""));
    assert_eq!(bench.last().request_uri(), Some(proxy), "ACK follows");
    let mut bench = Bench::new(gateway());
    bench.input(Input::Place(Box::new(Place {
        route: Some(Bytes::from("<sip:new.example.net;lr>")),
        ..place(None, Some(SDP))
    })));
    assert_eq!(bench.last().request_uri(), Some(&target[..]));
    assert_eq!(field(bench.last(), "Route"), "<sip:new.example.net;lr>");
}

#[test]
fn requests_that_open_a_tls_connection_offer_it_backwards_and_no_others_do() {
    let via_of = |tls_alias: bool, flow: Flow| {
        let mut bench = Bench::new(EndpointConfig {
            tls_alias,
            ..gateway()
        });
        let call = Place {
            flow,
            ..place(None, Some(SDP))
        };
        bench.input(Input::Place(Box::new(call)));
        field(bench.last(), "Via")
    };
    let over = |transport| Flow {
        transport,
        ..place(None, None).flow
    };
    assert!(via_of(true, over(crate::Transport::Tls)).ends_with(";rport;alias"));
    let open = Flow {
        connection: Some(crate::ConnectionId(7)),
        ..over(crate::Transport::Tls)
    };
    for (alias, flow) in [
        (false, over(crate::Transport::Tls)),
        (true, open),
        (true, over(crate::Transport::Tcp)),
        (true, over(crate::Transport::Udp)),
    ] {
        assert!(via_of(alias, flow).ends_with(";rport"), "{flow:?}");
    }
}

#[test]
fn responses_with_our_branch_and_another_identity_are_dropped_and_counted() {
    let (mut bench, invite) = calling();
    let right = answer_to(&invite, 200, "p", ANSWER, SDP);
    let call_id = field(&invite, "Call-ID");
    let tag = our_from_tag(&invite);
    for forged in [
        right.replace(&call_id, "guessed"),
        right.replace(&tag, "guessed"),
        right.replace("CSeq: 1 INVITE", "CSeq: 2 INVITE"),
    ] {
        bench.hear(&forged);
    }
    assert_eq!(bench.endpoint.counters().foreign, 3);
    bench.hear(&right.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"));
    assert_eq!(bench.endpoint.counters().stray, 1, "no such transaction");
    assert!(bench.said().is_empty() && bench.told().is_empty());
    bench.hear(&right);
    assert_eq!(bench.said(), ["ACK"]);
}

fn our_from_tag(invite: &Message) -> String {
    let from = invite.from().unwrap();
    String::from_utf8(from.tag().unwrap().to_vec()).unwrap()
}
