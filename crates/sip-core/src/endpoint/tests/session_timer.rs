//! Session timers on both sides and in both roles, RFC 4028.

use super::*;

const ALLOWS_UPDATE: &str = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE";

/// A call from a peer whose INVITE has these lines, our 200, and our tag.
fn timed(lines: &[&str]) -> (Bench, Message, String) {
    let mut bench = Bench::new(gateway());
    let invite = lines
        .iter()
        .fold(Req::invite(), |invite, line| invite.line(line));
    bench.hear(&invite.text());
    bench.command(bench.leg(), accept());
    let answer = bench.last().clone();
    let tag = our_tag(&answer);
    bench.hear(&Req::new("ACK", "ack", 1).to(&tag).text());
    bench.said();
    bench.told();
    (bench, answer, tag)
}

fn interval(message: &Message) -> String {
    field(message, "Session-Expires")
}

#[test]
fn refresher_is_chosen_by_table_2_of_rfc_4028() {
    let table = [
        (vec!["Session-Expires: 600"], "600;refresher=uas", ""),
        (
            vec!["Session-Expires: 600;refresher=uac"],
            "600;refresher=uas",
            "",
        ),
        (
            vec!["Supported: timer", "Session-Expires: 600"],
            "600;refresher=uas",
            "timer",
        ),
        (
            vec!["Supported: timer", "Session-Expires: 600;refresher=uac"],
            "600;refresher=uac",
            "timer",
        ),
        (
            vec!["Require: timer", "x: 600;refresher=uas"],
            "600;refresher=uas",
            "timer",
        ),
        (
            vec!["Supported: timer", "Min-SE: 2000"],
            "2000;refresher=uas",
            "timer",
        ),
        (vec!["Supported: timer"], "1800;refresher=uas", "timer"),
        (vec![], "", ""),
    ];
    for (lines, expires, require) in table {
        let (_, answer, _) = timed(&lines);
        assert_eq!(
            (interval(&answer), field(&answer, "Require")),
            (expires.to_owned(), require.to_owned()),
            "{lines:?}"
        );
    }
}

#[test]
fn interval_that_is_too_small_gets_422_with_min_se() {
    let small = Req::invite()
        .line("Supported: timer")
        .line("Session-Expires: 89");
    let (status, answer) = verdict(gateway(), &small.text());
    assert_eq!(status, Some(422));
    assert_eq!(field(&answer.unwrap(), "Min-SE"), "90");
    let unaware = Req::invite().line("Session-Expires: 89");
    assert_eq!(verdict(gateway(), &unaware.text()).0, Some(100));
}

#[test]
fn re_invite_and_update_with_a_small_interval_get_422_and_the_session_stands() {
    let (mut bench, _, tag) = timed(&["Supported: timer", "Session-Expires: 600"]);
    for (method, cseq) in [("INVITE", 2), ("UPDATE", 3)] {
        let request = Req::new(method, method, cseq).to(&tag);
        let request = request.line("Contact: <sip:sbc@192.0.2.9:5070>");
        let request = request.line("Supported: timer").line("Session-Expires: 30");
        bench.hear(&request.text());
        assert_eq!(bench.said(), [format!("422 {method}")]);
    }
    assert_eq!(bench.told(), []);
}

#[test]
fn we_refresh_at_half_the_interval_by_update() {
    let (mut bench, ..) = timed(&["Supported: timer", "Session-Expires: 600", ALLOWS_UPDATE]);
    bench.pass(299.9);
    assert_eq!(bench.said(), [] as [&str; 0]);
    bench.pass(0.2);
    let update = bench.last().clone();
    assert_eq!(bench.said(), ["UPDATE"]);
    assert!(update.body().is_empty());
    assert_eq!(interval(&update), "600;refresher=uac");
    bench.hear(&answer_to(
        &update,
        200,
        "",
        "Session-Expires: 400;refresher=uac\n",
        "",
    ));
    bench.pass(199.8);
    assert_eq!(bench.said(), [] as [&str; 0]);
    bench.pass(0.4);
    assert_eq!(bench.said(), ["UPDATE"], "half of the new interval");
    assert_eq!(bench.told(), []);
}

#[test]
fn we_refresh_by_re_invite_with_the_same_description_where_update_is_not_allowed() {
    let (mut bench, answer, _) = timed(&["Supported: timer", "Session-Expires: 600"]);
    bench.pass(300.2);
    let invite = bench.last().clone();
    assert_eq!(bench.said(), ["INVITE"]);
    assert_eq!(invite.body(), answer.body(), "not even the version differs");
    bench.hear(&answer_to(
        &invite,
        200,
        "",
        "Contact: <sip:sbc@192.0.2.9:5070>\nSession-Expires: 600;refresher=uac\nContent-Type: application/sdp\n",
        SDP,
    ));
    assert_eq!(bench.said(), ["ACK"]);
    assert_eq!(bench.told(), [], "nothing changed");
    bench.pass(300.2);
    assert_eq!(bench.said(), ["INVITE"]);
}

#[test]
fn refresh_by_re_invite_that_changes_the_peers_description_is_told() {
    let (mut bench, ..) = timed(&["Supported: timer", "Session-Expires: 600"]);
    bench.pass(300.2);
    let invite = bench.last().clone();
    let other = SDP.replace("4000", "4002");
    bench.hear(&answer_to(
        &invite,
        200,
        "",
        "Contact: <sip:sbc@192.0.2.9:5070>\nContent-Type: application/sdp\n",
        &other,
    ));
    assert!(matches!(
        &bench.told()[..],
        [LegEvent::OfferAnswered { sdp: Some(_) }]
    ));
}

#[test]
fn peer_that_does_not_refresh_is_sent_bye_before_the_interval_is_over() {
    let (mut bench, ..) = timed(&["Supported: timer", "Session-Expires: 90;refresher=uac"]);
    bench.pass(59.9);
    assert_eq!(bench.said(), [] as [&str; 0]);
    bench.pass(0.2);
    assert_eq!(
        field(bench.last(), "Reason"),
        "SIP;cause=408;text=\"Session timer expired\""
    );
    assert_eq!(bench.said(), ["BYE"]);
    assert_eq!(bench.told(), [ended(Ended::Expired)]);
}

#[test]
fn peers_refresh_by_update_or_re_invite_begins_the_interval_anew() {
    let (mut bench, _, tag) = timed(&["Supported: timer", "Session-Expires: 90;refresher=uac"]);
    bench.pass(50.0);
    let update = Req::new("UPDATE", "u", 2).to(&tag);
    let update = update
        .line("Supported: timer")
        .line("Session-Expires: 90;refresher=uac");
    bench.hear(&update.text());
    assert_eq!(interval(bench.last()), "90;refresher=uac");
    assert_eq!(bench.said(), ["200 UPDATE"]);
    bench.pass(50.0);
    let invite = Req::new("INVITE", "i", 3)
        .to(&tag)
        .line("Contact: <sip:sbc@192.0.2.9:5070>")
        .line("Supported: timer")
        .line("Session-Expires: 120")
        .line("Content-Type: application/sdp")
        .body(SDP);
    bench.hear(&invite.text());
    bench.command(
        bench.leg(),
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    assert_eq!(
        interval(bench.last()),
        "120;refresher=uac",
        "who refreshes stays who it was"
    );
    bench.hear(&Req::new("ACK", "k", 3).to(&tag).text());
    bench.pass(79.0);
    assert_eq!(bench.told().len(), 1);
    bench.pass(10.0);
    assert_eq!(bench.told().last(), Some(&ended(Ended::Expired)));
}

#[test]
fn peers_request_without_timer_ends_the_interval() {
    let (mut bench, _, tag) = timed(&["Supported: timer", "Session-Expires: 90;refresher=uac"]);
    bench.hear(&Req::new("UPDATE", "u", 2).to(&tag).text());
    assert_eq!(interval(bench.last()), "");
    bench.pass(1000.0);
    assert_eq!(bench.told(), []);
}

#[test]
fn refresh_that_nobody_answers_ends_the_session() {
    let (mut bench, ..) = timed(&["Supported: timer", "Session-Expires: 600", ALLOWS_UPDATE]);
    bench.pass(340.0);
    assert_eq!(bench.said().last().unwrap(), "BYE");
    assert_eq!(bench.told(), [ended(Ended::Gone(408))]);
}

#[test]
fn refresh_answered_481_ends_the_session_at_once() {
    let (mut bench, ..) = timed(&["Supported: timer", "Session-Expires: 600", ALLOWS_UPDATE]);
    bench.pass(300.2);
    let update = bench.last().clone();
    bench.hear(&answer_to(&update, 481, "", "", ""));
    assert_eq!(bench.told(), [ended(Ended::Gone(481))]);
}

#[test]
fn update_that_is_not_implemented_after_all_is_followed_by_a_re_invite() {
    let (mut bench, ..) = timed(&["Supported: timer", "Session-Expires: 600", ALLOWS_UPDATE]);
    bench.pass(300.2);
    let update = bench.last().clone();
    bench.hear(&answer_to(&update, 501, "", "", ""));
    bench.pass(0.1);
    assert_eq!(bench.said(), ["UPDATE", "INVITE"]);
}

#[test]
fn refused_refreshes_are_tried_again_until_the_session_expires() {
    let (mut bench, ..) = timed(&["Supported: timer", "Session-Expires: 600", ALLOWS_UPDATE]);
    bench.pass(300.2);
    let mut tries = 0;
    for _ in 0..300 {
        for (_, request) in std::mem::take(&mut bench.sent) {
            tries += usize::from(label(&request) == "UPDATE");
            bench.hear(&answer_to(&request, 503, "", "", ""));
        }
        bench.pass(1.0);
    }
    assert!((3..20).contains(&tries), "{tries} tries");
    assert_eq!(bench.told(), [ended(Ended::Expired)]);
}

#[test]
fn refresh_that_meets_491_is_sent_again_after_the_back_off() {
    let (mut bench, ..) = timed(&["Supported: timer", "Session-Expires: 600", ALLOWS_UPDATE]);
    bench.pass(300.2);
    let update = bench.last().clone();
    bench.hear(&answer_to(&update, 491, "", "", ""));
    bench.pass(2.1);
    let numbers: Vec<String> = bench
        .sent
        .iter()
        .map(|(_, update)| field(update, "CSeq"))
        .collect();
    assert_eq!(numbers[0], "1 UPDATE");
    assert_eq!(numbers.last().unwrap(), "2 UPDATE");
}

#[test]
fn refresh_answered_422_is_sent_again_with_the_longer_interval() {
    let (mut bench, ..) = timed(&["Supported: timer", "Session-Expires: 600", ALLOWS_UPDATE]);
    bench.pass(300.2);
    let update = bench.last().clone();
    bench.hear(&answer_to(&update, 422, "", "Min-SE: 900\n", ""));
    bench.pass(2.1);
    let again = bench.last();
    assert_eq!(
        (interval(again), field(again, "Min-SE")),
        ("900;refresher=uac".to_owned(), "900".to_owned())
    );
}

#[test]
fn our_invite_asks_for_an_interval_and_obeys_422() {
    let mut bench = Bench::new(EndpointConfig::default());
    bench.input(Input::Place(Box::new(place(None, Some(SDP)))));
    let first = bench.last().clone();
    assert_eq!(interval(&first), "1800");
    assert!(field(&first, "Supported").contains("timer"));
    bench.hear(&answer_to(&first, 422, "a", "Min-SE: 3600\n", ""));
    let second = bench.last().clone();
    assert_eq!(
        (interval(&second), field(&second, "Min-SE")),
        ("3600".to_owned(), "3600".to_owned())
    );
    assert_eq!(field(&second, "Call-ID"), field(&first, "Call-ID"));
    assert_eq!(field(&second, "CSeq"), "2 INVITE");
    assert_eq!(bench.said(), ["INVITE", "ACK", "INVITE"]);
    assert_eq!(second.body(), first.body());
    bench.hear(&answer_to(&second, 422, "a", "Min-SE: 3600\n", ""));
    assert_eq!(
        bench.told().last(),
        Some(&ended(Ended::Refused(422))),
        "the same again is a refusal"
    );
}

#[test]
fn we_are_refresher_or_refreshee_of_a_placed_call_as_its_200_says() {
    for (lines, said) in [
        ("Session-Expires: 600;refresher=uac\n", vec!["INVITE"]),
        ("Session-Expires: 600\n", vec!["INVITE"]),
        ("Session-Expires: 332;refresher=uas\n", vec!["BYE"]),
        ("", vec![]),
    ] {
        let mut bench = Bench::new(EndpointConfig::default());
        bench.input(Input::Place(Box::new(place(None, Some(SDP)))));
        let invite = bench.last().clone();
        let lines = format!("{CONTACT}{lines}Content-Type: application/sdp\n");
        bench.hear(&answer_to(&invite, 200, "a", &lines, SDP));
        bench.said();
        bench.pass(300.2);
        assert_eq!(bench.said(), said, "{lines}");
    }
}
