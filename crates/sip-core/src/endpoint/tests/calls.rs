//! Calls that come to us: answering, ACK, CANCEL, BYE, re-INVITE, and the races between them.

use super::*;

#[test]
fn a_call_is_rung_answered_acknowledged_and_ended_by_the_caller() {
    let mut bench = Bench::new(gateway());
    bench.hear(
        &Req::invite()
            .line("Record-Route: <sip:192.0.2.9:5070;lr>")
            .text(),
    );
    let leg = bench.leg();
    bench.command(
        leg,
        Command::Ring {
            status: 180,
            sdp: None,
        },
    );
    bench.command(leg, accept());
    let answer = bench.last();
    assert_eq!(field(answer, "Contact"), "<sip:agent@192.0.2.1:5060>");
    assert_eq!(field(answer, "Record-Route"), "<sip:192.0.2.9:5070;lr>");
    assert!(!field(answer, "Allow").is_empty() && !field(answer, "Supported").is_empty());
    let tag = our_tag(answer);
    assert_eq!(
        our_tag(&bench.sent[1].1),
        tag,
        "180 and 200 make one dialog"
    );
    bench.hear(&Req::new("ACK", "a", 1).to(&tag).text());
    bench.hear(
        &Req::new("BYE", "b", 2)
            .to(&tag)
            .line("Reason: Q.850;cause=16;text=\"bye\"")
            .text(),
    );
    assert_eq!(
        bench.said(),
        ["100 INVITE", "180 INVITE", "200 INVITE", "200 BYE"]
    );
    let told = bench.told();
    assert_eq!(told[0], LegEvent::Confirmed { answer: None });
    let LegEvent::HungUp { reasons } = &told[1] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (reasons[0].protocol.as_str(), reasons[0].cause),
        ("Q.850", Some(16))
    );
    assert_eq!(told[2..], [ended(Ended::HungUp)]);
}

#[test]
fn everything_is_forgotten_some_time_after_a_call() {
    let (mut bench, _, tag) = standing();
    bench.hear(&Req::new("BYE", "b", 2).to(&tag).text());
    assert_eq!(bench.endpoint.census().dialogs, 1);
    bench.pass(40.0);
    assert_eq!(bench.endpoint.census(), crate::Census::default());
    assert_eq!(bench.endpoint.poll_timeout(), None);
}

#[test]
fn the_200_is_repeated_until_its_ack_and_without_it_the_call_ends() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(bench.leg(), accept());
    bench.pass(4.0);
    assert_eq!(
        bench.said(),
        [
            "100 INVITE",
            "200 INVITE",
            "200 INVITE",
            "200 INVITE",
            "200 INVITE"
        ]
    );
    assert_eq!(bench.endpoint.counters().retransmitted, 3);
    bench.pass(28.5);
    assert_eq!(bench.told(), [ended(Ended::NoAck)]);
    assert_eq!(bench.said().last().unwrap(), "BYE");
}

#[test]
fn an_invite_without_offer_gets_ours_and_its_answer_comes_in_the_ack() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().without("Content-Type").body("").text());
    assert_eq!(bench.invited[0].offer, None);
    bench.command(bench.leg(), accept());
    let tag = our_tag(bench.last());
    bench.hear(
        &Req::new("ACK", "a", 1)
            .to(&tag)
            .line("Content-Type: application/sdp")
            .body(SDP)
            .text(),
    );
    assert_eq!(
        bench.told(),
        [LegEvent::Confirmed {
            answer: Some(Bytes::from(crlf(SDP)))
        }]
    );
}

#[test]
fn cancel_ends_a_call_that_is_not_answered() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(
        bench.leg(),
        Command::Ring {
            status: 180,
            sdp: None,
        },
    );
    bench.hear(
        &Req::new("CANCEL", "one", 1)
            .line("Reason: SIP;cause=200")
            .text(),
    );
    assert_eq!(bench.said()[2..], ["200 CANCEL"]);
    let told = bench.told();
    assert!(matches!(&told[0], LegEvent::Cancelled { reasons } if reasons[0].cause == Some(200)));
    assert_eq!(told.len(), 1);
    bench.command(bench.leg(), Command::Refuse(Response::new(487)));
    assert_eq!(bench.said().last().unwrap(), "487 INVITE");
    assert_eq!(bench.told().last(), Some(&ended(Ended::Cancelled)));
}

#[test]
fn cancel_from_elsewhere_than_the_call_is_of_no_effect() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    let elsewhere = Flow::udp(
        "192.0.2.1:5060".parse().unwrap(),
        "203.0.113.66:5060".parse().unwrap(),
    );
    bench.hear_from(elsewhere, &Req::new("CANCEL", "one", 1).text());
    assert_eq!(bench.said(), ["100 INVITE", "481 CANCEL"]);
    assert_eq!(bench.told(), []);
}

#[test]
fn cancelled_call_that_nobody_refuses_gets_its_487_after_five_seconds() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.hear(&Req::new("CANCEL", "one", 1).text());
    bench.pass(4.9);
    assert_eq!(bench.said(), ["100 INVITE", "200 CANCEL"]);
    bench.pass(0.2);
    assert_eq!(bench.said().last().unwrap(), "487 INVITE");
    assert_eq!(bench.told().last(), Some(&ended(Ended::Cancelled)));
}

#[test]
fn cancel_that_crosses_the_200_changes_nothing() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(bench.leg(), accept());
    let tag = our_tag(bench.last());
    bench.hear(&Req::new("CANCEL", "one", 1).text());
    bench.hear(&Req::new("ACK", "a", 1).to(&tag).text());
    assert_eq!(bench.said(), ["100 INVITE", "200 INVITE", "200 CANCEL"]);
    assert_eq!(bench.told(), [LegEvent::Confirmed { answer: None }]);
}

#[test]
fn a_refused_call_ends_and_its_answer_is_repeated_until_the_ack() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(
        bench.leg(),
        Command::Refuse(refusal(486).with_header("Warning", "399 x \"y\"")),
    );
    assert_eq!(bench.told(), [ended(Ended::Refused(486))]);
    bench.pass(0.6);
    let tag = our_tag(bench.last());
    bench.hear(&Req::new("ACK", "one", 1).to(&tag).text());
    bench.pass(10.0);
    assert_eq!(bench.said(), ["100 INVITE", "486 INVITE", "486 INVITE"]);
}

#[test]
fn hanging_up_before_the_answer_refuses_with_480() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(bench.leg(), hang_up());
    assert_eq!(field(bench.last(), "Reason"), "Q.850;cause=16");
    assert_eq!(bench.said(), ["100 INVITE", "480 INVITE"]);
    assert_eq!(bench.told(), [ended(Ended::Refused(480))]);
}

#[test]
fn our_bye_waits_for_the_ack_of_our_200() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(bench.leg(), accept());
    let tag = our_tag(bench.last());
    bench.command(bench.leg(), hang_up());
    assert_eq!(bench.said(), ["100 INVITE", "200 INVITE"]);
    bench.hear(&Req::new("ACK", "a", 1).to(&tag).text());
    assert_eq!(field(bench.last(), "Reason"), "Q.850;cause=16");
    let bye = bench.last().clone();
    bench.hear(&answer_to(&bye, 200, "", "", ""));
    assert_eq!(bench.said(), ["BYE"]);
    assert_eq!(bench.told(), [ended(Ended::ByeAnswered(200))]);
}

#[test]
fn the_peers_bye_before_its_ack_ends_the_call() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(bench.leg(), accept());
    let tag = our_tag(bench.last());
    bench.hear(&Req::new("BYE", "b", 2).to(&tag).text());
    assert_eq!(bench.said(), ["100 INVITE", "200 INVITE", "200 BYE"]);
    bench.pass(60.0);
    assert!(bench.said().is_empty(), "the 200 is not repeated any more");
    assert_eq!(bench.told().last(), Some(&ended(Ended::HungUp)));
}

#[test]
fn byes_that_cross_are_both_answered() {
    let (mut bench, leg, tag) = standing();
    bench.command(leg, hang_up());
    let bye = bench.last().clone();
    bench.hear(&Req::new("BYE", "b", 2).to(&tag).text());
    bench.hear(&answer_to(&bye, 481, "", "", ""));
    assert_eq!(bench.said(), ["BYE", "200 BYE"]);
    assert_eq!(
        bench.told(),
        [LegEvent::HungUp { reasons: vec![] }, ended(Ended::HungUp)]
    );
}

#[test]
fn a_bye_that_nobody_answers_ends_the_leg_with_408() {
    let (mut bench, leg, _) = standing();
    bench.command(leg, hang_up());
    bench.pass(32.1);
    assert_eq!(bench.told(), [ended(Ended::ByeAnswered(408))]);
    assert_eq!(
        bench.said().len(),
        11,
        "timer E: 0, 0.5, 1.5, 3.5, 7.5, then every 4 s"
    );
}

#[test]
fn a_lower_sequence_number_gets_500() {
    let (mut bench, _, tag) = standing();
    bench.hear(&Req::new("INFO", "i", 9).to(&tag).text());
    bench.hear(&Req::new("INFO", "j", 8).to(&tag).text());
    assert_eq!(bench.said(), ["200 INFO", "500 INFO"]);
}

#[test]
fn requests_inside_the_dialog_come_from_its_trunk_or_get_403() {
    let (mut bench, _, tag) = standing();
    let elsewhere = Flow::udp(
        "192.0.2.1:5060".parse().unwrap(),
        "203.0.113.5:5060".parse().unwrap(),
    );
    bench.hear_from(elsewhere, &Req::new("BYE", "b", 2).to(&tag).text());
    assert_eq!(bench.said(), ["403 BYE"]);
    let same_trunk = Flow {
        remote: "192.0.2.200:9".parse().unwrap(),
        ..elsewhere
    };
    bench.hear_from(same_trunk, &Req::new("BYE", "c", 3).to(&tag).text());
    assert_eq!(bench.said(), ["200 BYE"]);
}

#[test]
fn info_and_options_inside_the_dialog_are_answered() {
    let (mut bench, _, tag) = standing();
    let info = Req::new("INFO", "i", 2)
        .to(&tag)
        .line("Content-Type: application/dtmf-relay")
        .body("Signal=5");
    bench.hear(&info.text());
    bench.hear(&Req::new("OPTIONS", "o", 3).to(&tag).text());
    bench.hear(&Req::new("MESSAGE", "m", 4).to(&tag).text());
    bench.hear(&Req::new("FLY", "f", 5).to(&tag).text());
    bench.hear(
        &Req::new("INFO", "q", 6)
            .to(&tag)
            .line("Require: xyz")
            .text(),
    );
    assert_eq!(
        bench.said(),
        [
            "200 INFO",
            "200 OPTIONS",
            "405 MESSAGE",
            "501 FLY",
            "420 INFO"
        ]
    );
    assert_eq!(
        bench.told(),
        [LegEvent::Pressed {
            key: '5',
            duration_ms: None
        }]
    );
}

#[test]
fn the_peers_offer_is_answered_or_refused_and_changes_the_remote_target() {
    let (mut bench, leg, tag) = standing();
    let offer = |branch, cseq| {
        Req::new("INVITE", branch, cseq)
            .to(&tag)
            .line("Contact: <sip:moved@192.0.2.50:5090>")
            .line("Content-Type: application/sdp")
            .body(SDP)
            .text()
    };
    bench.hear(&offer("r1", 2));
    assert_eq!(
        bench.told(),
        [LegEvent::Reoffered {
            sdp: Some(Bytes::from(crlf(SDP)))
        }]
    );
    bench.command(
        leg,
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    bench.hear(&Req::new("ACK", "ra", 2).to(&tag).text());
    bench.hear(&offer("r2", 3));
    bench.command(leg, Command::RefuseOffer { status: 488 });
    bench.hear(&Req::new("ACK", "r2", 3).to(&tag).text());
    assert_eq!(
        bench.said(),
        ["100 INVITE", "200 INVITE", "100 INVITE", "488 INVITE"]
    );
    bench.command(leg, hang_up());
    let (flow, bye) = bench.sent.pop().unwrap();
    assert_eq!(flow.remote, "192.0.2.50:5090".parse().unwrap());
    assert_eq!(bye.request_uri(), Some(&b"sip:moved@192.0.2.50:5090"[..]));
}

#[test]
fn an_update_is_answered_without_ack_and_one_without_offer_at_once() {
    let (mut bench, leg, tag) = standing();
    let update = Req::new("UPDATE", "u", 2)
        .to(&tag)
        .line("Content-Type: application/sdp")
        .body(SDP);
    bench.hear(&update.text());
    bench.hear(&Req::new("UPDATE", "v", 3).to(&tag).text());
    bench.hear(
        &Req::new("UPDATE", "w", 4)
            .to(&tag)
            .line("Content-Type: application/sdp")
            .body(SDP)
            .text(),
    );
    assert_eq!(bench.said(), ["200 UPDATE", "500 UPDATE"]);
    bench.command(
        leg,
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    assert_eq!(bench.said(), ["200 UPDATE"]);
}

#[test]
fn a_reinvite_without_offer_gets_ours_and_its_ack_the_answer() {
    let (mut bench, leg, tag) = standing();
    bench.hear(
        &Req::new("INVITE", "r", 2)
            .to(&tag)
            .line("Contact: <sip:sbc@192.0.2.9:5070>")
            .text(),
    );
    assert_eq!(bench.told(), [LegEvent::Reoffered { sdp: None }]);
    bench.command(
        leg,
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    bench.hear(
        &Req::new("ACK", "ra", 2)
            .to(&tag)
            .line("Content-Type: application/sdp")
            .body(SDP)
            .text(),
    );
    assert_eq!(
        bench.told(),
        [LegEvent::OfferAnswered {
            sdp: Some(Bytes::from(crlf(SDP)))
        }]
    );
}

#[test]
fn offers_that_meet_get_491_and_ours_is_sent_again_by_itself() {
    let (mut bench, leg, tag) = standing();
    bench.command(
        leg,
        Command::Reoffer {
            sdp: Bytes::from(SDP),
        },
    );
    let ours = bench.last().clone();
    let theirs = Req::new("INVITE", "r", 2)
        .to(&tag)
        .line("Contact: <sip:sbc@192.0.2.9:5070>")
        .line("Content-Type: application/sdp")
        .body(SDP);
    bench.hear(&theirs.text());
    bench.hear(&answer_to(&ours, 491, "", "", ""));
    assert_eq!(bench.said(), ["INVITE", "491 INVITE", "ACK"]);
    bench.hear(&Req::new("ACK", "r", 2).to(&tag).text());
    bench.pass(2.1);
    let again = bench.last().clone();
    assert_eq!(bench.said()[0], "INVITE");
    bench.hear(&answer_to(
        &again,
        200,
        "",
        "Contact: <sip:sbc@192.0.2.9:5070>\nContent-Type: application/sdp\n",
        SDP,
    ));
    assert_eq!(bench.said().last().unwrap(), "ACK");
    assert_eq!(
        bench.told(),
        [LegEvent::OfferAnswered {
            sdp: Some(Bytes::from(crlf(SDP)))
        }]
    );
}

#[test]
fn an_open_reinvite_is_answered_487_when_the_call_ends() {
    let (mut bench, leg, tag) = standing();
    let theirs = Req::new("INVITE", "r", 2)
        .to(&tag)
        .line("Contact: <sip:sbc@192.0.2.9:5070>")
        .line("Content-Type: application/sdp")
        .body(SDP);
    bench.hear(&theirs.text());
    bench.command(leg, hang_up());
    assert_eq!(bench.said(), ["100 INVITE", "487 INVITE", "BYE"]);
}

#[test]
fn a_reinvite_of_ours_that_nobody_answers_any_more_is_given_up_after_the_call() {
    for provisional_first in [true, false] {
        let (mut bench, leg, tag) = standing();
        bench.command(
            leg,
            Command::Reoffer {
                sdp: Bytes::from(SDP),
            },
        );
        let ours = bench.last().clone();
        let trying = answer_to(&ours, 100, "", "", "");
        let bye = Req::new("BYE", "b", 2).to(&tag).text();
        if provisional_first {
            bench.hear(&trying);
            bench.hear(&bye);
        } else {
            bench.hear(&bye);
            bench.hear(&trying);
        }
        bench.pass(70.0);
        assert_eq!(bench.endpoint.census(), crate::Census::default());
    }
}

#[test]
fn digest_lets_a_stranger_in_and_its_password_is_needed() {
    let mut config = gateway();
    config.trunks = vec![with_digest(
        trunk(&[]),
        &[Algorithm::Sha256, Algorithm::Md5],
    )];
    let mut bench = Bench::new(config);
    bench.hear(&Req::invite().text());
    let challenge = bench.last().clone();
    let mut ids = crate::ids::Ids::new([9; 32]);
    let mut answer = |password: &str| {
        let credentials = Credentials {
            password: Zeroizing::new(password.to_owned()),
            ..credentials(None)
        };
        let mut client = crate::digest::Client::default();
        client.challenged(&challenge, &credentials).unwrap();
        let request = crate::digest::Request {
            method: "INVITE",
            uri: b"sip:elsewhere@h",
            body: b"",
        };
        let value = client.authorize(&credentials, &mut ids, request)[0]
            .value
            .clone();
        format!("Authorization: {}", String::from_utf8_lossy(&value))
    };
    let (wrong, right) = (answer("guess"), answer("secret"));
    let mut request = Req::invite().line(&wrong);
    (request.branch, request.cseq) = ("two", 2);
    bench.hear(&request.text());
    assert_eq!(bench.said(), ["401 INVITE", "401 INVITE"]);
    assert_eq!(bench.endpoint.counters().bad_credentials, 1);
    let mut request = Req::invite().line(&right);
    (request.branch, request.cseq) = ("three", 3);
    bench.hear(&request.text());
    assert_eq!(bench.said(), ["100 INVITE"]);
    let mut replay = request.clone();
    (replay.branch, replay.cseq) = ("four", 4);
    bench.hear(&replay.text());
    assert!(
        field(bench.last(), "WWW-Authenticate").contains("stale=true"),
        "a nonce count is good once"
    );
}

#[test]
fn a_call_goes_on_over_a_new_connection_when_its_own_is_closed() {
    let mut bench = Bench::new(gateway());
    let tcp = Flow {
        transport: crate::Transport::Tcp,
        connection: Some(crate::ConnectionId(7)),
        remote: "192.0.2.9:40000".parse().unwrap(),
        ..bench.flow
    };
    let over_tcp = |text: String| text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    bench.hear_from(tcp, &over_tcp(Req::invite().text()));
    bench.command(bench.leg(), accept());
    let (flow, answer) = bench.sent.pop().unwrap();
    assert_eq!(
        (flow, field(&answer, "Contact").as_str()),
        (tcp, "<sip:agent@192.0.2.1:5060;transport=tcp>")
    );
    bench.hear_from(
        tcp,
        &over_tcp(Req::new("ACK", "a", 1).to(&our_tag(&answer)).text()),
    );
    bench.input(closed(7));
    bench.command(bench.leg(), hang_up());
    let (flow, _) = bench.sent.pop().unwrap();
    assert_eq!(
        (flow.connection, flow.remote),
        (None, "192.0.2.9:5070".parse().unwrap())
    );
    assert!(flow.transport.reliable());
}

#[test]
fn a_bye_that_its_connection_lost_is_sent_over_a_new_one() {
    let mut bench = Bench::new(gateway());
    let tcp = Flow {
        transport: crate::Transport::Tcp,
        connection: Some(crate::ConnectionId(7)),
        remote: "192.0.2.9:40000".parse().unwrap(),
        ..bench.flow
    };
    let over_tcp = |text: String| text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    bench.hear_from(tcp, &over_tcp(Req::invite().text()));
    bench.command(bench.leg(), accept());
    let tag = our_tag(bench.last());
    bench.hear_from(tcp, &over_tcp(Req::new("ACK", "a", 1).to(&tag).text()));
    bench.command(bench.leg(), hang_up());
    let (flow, bye) = bench.sent.pop().unwrap();
    bench.input(Input::SendFailed {
        flow,
        payload: bye.bytes().clone(),
    });
    let (again, bye) = bench.sent.pop().unwrap();
    assert_eq!(
        (again.connection, again.remote, label(&bye).as_str()),
        (None, "192.0.2.9:5070".parse().unwrap(), "BYE")
    );
    bench.input(Input::SendFailed {
        flow: again,
        payload: bye.bytes().clone(),
    });
    assert_eq!(bench.told().last(), Some(&ended(Ended::ByeAnswered(503))));
}

#[test]
fn a_bye_that_its_connection_lost_is_not_sent_again_once_the_peers_was_answered() {
    for crosses in [false, true] {
        let mut bench = Bench::new(gateway());
        let flow = Flow {
            transport: crate::Transport::Tcp,
            ..bench.flow
        };
        let call = Place {
            flow,
            ..place(None, Some(SDP))
        };
        bench.input(Input::Place(Box::new(call)));
        let invite = bench.sent.remove(0).1;
        bench.hear(&answer_to(&invite, 200, "p", CONTACT, SDP));
        bench.said();
        bench.command(OUT, hang_up());
        assert_eq!(bench.said(), ["BYE"]);
        if crosses {
            let ours = field(&invite, "From");
            let bye = Req::new("BYE", "b", 7).text();
            let bye = bye.replace(&field_line(&bye, "Call-ID"), &call_id_of(&invite));
            let bye = bye.replace(&field_line(&bye, "To"), &format!("To: {ours}"));
            let bye = bye.replace(
                &field_line(&bye, "From"),
                "From: <sip:+1555@pbx.example.net>;tag=p",
            );
            bench.hear(&bye);
            assert_eq!(bench.said(), ["200 BYE"]);
        }
        bench.input(Input::ConnectionClosed {
            connection: crate::ConnectionId(3),
            remote: flow.remote,
        });
        let again: &[&str] = if crosses { &[] } else { &["BYE"] };
        assert_eq!(bench.said(), again, "crosses: {crosses}");
    }
}

/// A header field's line in a text.
fn field_line(text: &str, name: &str) -> String {
    let mut lines = text.lines();
    let found = lines.find(|line| line.starts_with(&format!("{name}:")));
    found.unwrap_or_default().to_owned()
}

fn call_id_of(message: &Message) -> String {
    format!("Call-ID: {}", field(message, "Call-ID"))
}

#[test]
fn a_reinvite_that_its_connection_lost_is_given_up_with_the_call() {
    let mut bench = Bench::new(gateway());
    let tcp = Flow {
        transport: crate::Transport::Tcp,
        connection: Some(crate::ConnectionId(7)),
        remote: "192.0.2.9:40000".parse().unwrap(),
        ..bench.flow
    };
    let over_tcp = |text: String| text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    bench.hear_from(tcp, &over_tcp(Req::invite().text()));
    bench.command(bench.leg(), accept());
    let tag = our_tag(bench.last());
    bench.hear_from(tcp, &over_tcp(Req::new("ACK", "a", 1).to(&tag).text()));
    let sdp = Bytes::from(SDP);
    bench.command(bench.leg(), Command::Reoffer { sdp });
    bench.input(closed(7));
    let (again, reinvite) = bench.sent.pop().unwrap();
    assert_eq!(
        (again.connection, label(&reinvite).as_str()),
        (None, "INVITE")
    );
    bench.hear_from(again, &answer_to(&reinvite, 100, "", "", ""));
    bench.command(bench.leg(), hang_up());
    bench.pass(120.0);
    assert_eq!(bench.endpoint.census(), crate::Census::default());
}

#[test]
fn a_call_keeps_its_trunks_addresses_when_the_configuration_changes() {
    let (mut bench, _, tag) = standing();
    let config = EndpointConfig {
        trunks: vec![trunk(&["198.51.100.0/24"])],
        ..gateway()
    };
    bench.input(Input::Reconfigure(Box::new(config)));
    let from = |ip: &str| {
        Flow::udp(
            "192.0.2.1:5060".parse().unwrap(),
            format!("{ip}:5060").parse().unwrap(),
        )
    };
    bench.hear_from(
        from("198.51.100.7"),
        &Req::new("INFO", "i", 2).to(&tag).text(),
    );
    bench.hear_from(
        from("192.0.2.77"),
        &Req::new("INFO", "j", 3).to(&tag).text(),
    );
    assert_eq!(bench.said(), ["403 INFO", "200 INFO"]);
}

#[test]
fn a_call_that_hears_bye_before_its_answer_is_cancelled() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(
        bench.leg(),
        Command::Ring {
            status: 180,
            sdp: None,
        },
    );
    let tag = our_tag(bench.last());
    bench.hear(&Req::new("BYE", "b", 2).to(&tag).text());
    bench.command(bench.leg(), Command::Refuse(Response::new(487)));
    assert_eq!(
        bench.said(),
        ["100 INVITE", "180 INVITE", "200 BYE", "487 INVITE"]
    );
    assert_eq!(bench.told().last(), Some(&ended(Ended::Cancelled)));
}

#[test]
fn ringing_is_repeated_every_minute() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(
        bench.leg(),
        Command::Ring {
            status: 180,
            sdp: None,
        },
    );
    bench.pass(121.0);
    assert_eq!(
        bench.said(),
        ["100 INVITE", "180 INVITE", "180 INVITE", "180 INVITE"]
    );
}

fn stream(bench: &Bench) -> Flow {
    Flow {
        transport: crate::Transport::Tcp,
        remote: "192.0.2.9:40000".parse().unwrap(),
        connection: Some(crate::ConnectionId(7)),
        ..bench.flow
    }
}

/// The flow that the bench was called by is closed.
fn close(bench: &mut Bench) {
    let connection = crate::ConnectionId(7);
    let remote = "192.0.2.9:40000".parse().unwrap();
    bench.input(Input::ConnectionClosed { connection, remote });
}

#[test]
fn a_200_is_repeated_to_the_address_in_the_via_when_its_connection_is_gone() {
    let mut bench = Bench::new(gateway());
    bench.hear_from(stream(&bench), &Req::invite().text());
    let leg = bench.leg();
    let headers = Vec::new();
    let sdp = Some(Bytes::from(SDP));
    bench.command(leg, Command::Accept { sdp, headers });
    close(&mut bench);
    bench.sent.clear();
    bench.pass(0.6);
    let (flow, again) = bench.sent.last().unwrap();
    assert_eq!(label(again), "200 INVITE");
    assert_eq!(flow.connection, None);
    assert_eq!(flow.remote.to_string(), "192.0.2.9:5070");
}

#[test]
fn an_ack_is_repeated_to_the_contact_when_its_connection_is_gone() {
    let mut bench = Bench::new(gateway());
    bench.hear_from(stream(&bench), &Req::invite().text());
    let leg = bench.leg();
    let headers = Vec::new();
    let sdp = Some(Bytes::from(SDP));
    bench.command(leg, Command::Accept { sdp, headers });
    let tag = bench.last().to().unwrap().tag().unwrap().to_vec();
    let tag = String::from_utf8(tag).unwrap();
    bench.hear_from(stream(&bench), &Req::new("ACK", "a", 1).to(&tag).text());
    let sdp = Bytes::from(SDP);
    bench.command(leg, Command::Reoffer { sdp });
    let ours = bench.last().clone();
    let contact = "Contact: <sip:sbc@192.0.2.9:5070;transport=tcp>\n";
    let success = answer_to(&ours, 200, "", contact, SDP);
    bench.hear_from(stream(&bench), &success);
    assert_eq!(bench.sent.last().unwrap().0, stream(&bench));
    close(&mut bench);
    let anew = Flow {
        connection: Some(crate::ConnectionId(8)),
        ..stream(&bench)
    };
    bench.hear_from(anew, &success);
    let (flow, ack) = bench.sent.last().unwrap();
    assert_eq!(label(ack), "ACK");
    assert_eq!(flow.connection, None);
    assert_eq!(flow.remote.to_string(), "192.0.2.9:5070");
}

#[test]
fn a_200_to_a_reinvite_of_a_call_that_is_over_gets_its_ack_and_no_second_bye() {
    let (mut bench, leg, tag) = standing();
    let sdp = Bytes::from(SDP);
    bench.command(leg, Command::Reoffer { sdp });
    let ours = bench.last().clone();
    bench.hear(&Req::new("BYE", "b", 2).to(&tag).text());
    bench.said();
    bench.hear(&answer_to(
        &ours,
        200,
        "",
        "Contact: <sip:sbc@192.0.2.9:5070>\n",
        SDP,
    ));
    assert_eq!(bench.said(), ["ACK"]);
}
