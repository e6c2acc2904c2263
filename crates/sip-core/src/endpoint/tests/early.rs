//! Early dialogs of our INVITEs: PRACK, forks, UPDATE before the answer.

use super::*;

fn calling(sdp: Option<&'static str>) -> (Bench, Message) {
    let mut bench = Bench::new(EndpointConfig::default());
    bench.input(Input::Place(Box::new(place(None, sdp))));
    let invite = bench.last().clone();
    bench.said();
    (bench, invite)
}

fn reliable(rseq: u32) -> String {
    format!("{CONTACT}Require: 100rel\nRSeq: {rseq}\n")
}

fn described(rseq: u32) -> String {
    format!("{}Content-Type: application/sdp\n", reliable(rseq))
}

fn progress(status: u16, sdp: Option<&str>) -> LegEvent {
    LegEvent::Progress {
        status,
        sdp: sdp.map(|sdp| Bytes::from(crlf(sdp))),
    }
}

#[test]
fn reliable_provisional_response_gets_its_prack_and_a_repetition_gets_nothing() {
    let (mut bench, invite) = calling(Some(SDP));
    let ringing = answer_to(&invite, 180, "a", &reliable(7), "");
    bench.hear(&ringing);
    let prack = bench.last().clone();
    assert_eq!(field(&prack, "RAck"), "7 1 INVITE");
    assert_eq!(field(&prack, "CSeq"), "2 PRACK");
    bench.hear(&ringing);
    assert_eq!(bench.said(), ["PRACK"]);
    assert_eq!(bench.told(), [progress(180, None)]);
}

#[test]
fn reliable_responses_are_taken_in_the_order_of_their_numbers() {
    let (mut bench, invite) = calling(Some(SDP));
    bench.hear(&answer_to(&invite, 180, "a", &reliable(7), ""));
    bench.hear(&answer_to(&invite, 182, "a", &reliable(9), ""));
    assert_eq!(bench.said(), ["PRACK"], "8 is missing");
    bench.hear(&answer_to(&invite, 181, "a", &reliable(8), ""));
    bench.hear(&answer_to(&invite, 182, "a", &reliable(9), ""));
    assert_eq!(bench.said(), ["PRACK", "PRACK"]);
    assert_eq!(bench.told().len(), 3);
}

#[test]
fn each_fork_has_numbers_of_its_own() {
    let (mut bench, invite) = calling(Some(SDP));
    bench.hear(&answer_to(&invite, 180, "a", &reliable(7), ""));
    bench.hear(&answer_to(&invite, 180, "b", &reliable(700), ""));
    bench.hear(&answer_to(&invite, 183, "a", &reliable(8), ""));
    let tags: Vec<String> = bench
        .sent
        .iter()
        .map(|(_, prack)| field(prack, "To"))
        .map(|to| to.split("tag=").nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(tags, ["a", "b", "a"]);
    let numbers: Vec<String> = bench
        .sent
        .iter()
        .map(|(_, prack)| field(prack, "CSeq"))
        .collect();
    assert_eq!(numbers, ["2 PRACK", "2 PRACK", "3 PRACK"]);
}

#[test]
fn dialog_of_the_200_goes_on_where_its_early_dialog_was() {
    let (mut bench, invite) = calling(Some(SDP));
    bench.hear(&answer_to(&invite, 183, "a", &described(7), SDP));
    let lines = format!("{CONTACT}Record-Route: <sip:192.0.2.9:5070;lr>\n");
    bench.hear(&answer_to(&invite, 200, "a", &lines, ""));
    assert_eq!(
        bench.told(),
        [
            progress(183, Some(SDP)),
            LegEvent::Answered {
                sdp: None,
                allow_refer: true
            }
        ]
    );
    bench.command(OUT, hang_up());
    let bye = bench.last();
    assert_eq!(field(bye, "CSeq"), "3 BYE", "after the PRACK");
    assert_eq!(field(bye, "Route"), "<sip:192.0.2.9:5070;lr>");
    assert_eq!(bench.said(), ["PRACK", "ACK", "BYE"]);
}

#[test]
fn description_of_the_200_is_ignored_after_a_reliable_one() {
    let (mut bench, invite) = calling(Some(SDP));
    bench.hear(&answer_to(&invite, 183, "a", &described(7), SDP));
    let lines = format!("{CONTACT}Content-Type: application/sdp\n");
    bench.hear(&answer_to(
        &invite,
        200,
        "a",
        &lines,
        &SDP.replace("4000", "9"),
    ));
    assert!(matches!(
        bench.told().last(),
        Some(LegEvent::Answered { sdp: None, .. })
    ));
}

#[test]
fn offer_in_a_reliable_183_is_answered_in_the_prack() {
    let (mut bench, invite) = calling(None);
    bench.hear(&answer_to(&invite, 183, "a", &described(7), SDP));
    assert_eq!(bench.told(), [progress(183, Some(SDP))]);
    assert_eq!(bench.said(), [] as [&str; 0]);
    bench.command(
        OUT,
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    let prack = bench.last();
    assert!(!prack.body().is_empty());
    assert_eq!(field(prack, "RAck"), "7 1 INVITE");
    bench.hear(&answer_to(&invite, 200, "a", CONTACT, ""));
    assert!(bench.last().body().is_empty());
    assert_eq!(bench.said(), ["PRACK", "ACK"]);
}

#[test]
fn update_in_an_early_dialog_is_answered_and_its_target_counts() {
    let (mut bench, invite) = calling(Some(SDP));
    bench.hear(&answer_to(&invite, 183, "a", &described(7), SDP));
    let tag = String::from_utf8(invite.from().unwrap().tag().unwrap().to_vec()).unwrap();
    let update = |cseq: u32, from: &str| {
        format!(
            "UPDATE sip:ann@192.0.2.1:5060 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKu{cseq}{from}\nMax-Forwards: 70\n\
             From: <sip:+1555@pbx.example.net>;tag={from}\nTo: <sip:ann@example.com>;tag={tag}\nCall-ID: {}\nCSeq: {cseq} UPDATE\n\
             Contact: <sip:moved@192.0.2.9:5071>\nContent-Type: application/sdp\nContent-Length: {}\n\n{SDP}",
            field(&invite, "Call-ID"),
            crlf(SDP).len()
        )
    };
    bench.hear(&update(1, "a"));
    bench.hear(&update(1, "stranger"));
    bench.command(
        OUT,
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    assert_eq!(bench.said(), ["PRACK", "481 UPDATE", "200 UPDATE"]);
    bench.hear(&answer_to(&invite, 200, "a", "", ""));
    bench.command(OUT, hang_up());
    assert_eq!(bench.said(), ["ACK", "BYE"]);
}

#[test]
fn later_2xx_of_another_fork_is_ended_behind_its_prack() {
    let (mut bench, invite) = calling(Some(SDP));
    bench.hear(&answer_to(&invite, 180, "a", &reliable(1), ""));
    bench.hear(&answer_to(&invite, 180, "b", &reliable(1), ""));
    let lines = format!("{CONTACT}Content-Type: application/sdp\n");
    bench.hear(&answer_to(&invite, 200, "a", &lines, SDP));
    bench.said();
    bench.hear(&answer_to(&invite, 200, "b", &lines, SDP));
    assert_eq!(field(bench.last(), "CSeq"), "3 BYE");
    assert_eq!(bench.said(), ["ACK", "BYE"]);
}

#[test]
fn cancelled_call_still_acknowledges_reliable_responses() {
    let (mut bench, invite) = calling(Some(SDP));
    bench.command(OUT, hang_up());
    assert_eq!(bench.said(), [] as [&str; 0]);
    bench.hear(&answer_to(&invite, 180, "a", &reliable(7), ""));
    assert_eq!(bench.said(), ["CANCEL", "PRACK"]);
    assert_eq!(bench.told(), []);
}

#[test]
fn peer_may_not_end_an_early_dialog_but_may_ask_for_our_capabilities() {
    let (mut bench, invite) = calling(Some(SDP));
    bench.hear(&answer_to(&invite, 180, "a", CONTACT, ""));
    let tag = String::from_utf8(invite.from().unwrap().tag().unwrap().to_vec()).unwrap();
    for (method, cseq) in [("OPTIONS", 1), ("BYE", 2)] {
        bench.hear(&format!(
            "{method} sip:ann@192.0.2.1:5060 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK{method}\nMax-Forwards: 70\n\
             From: <sip:+1555@pbx.example.net>;tag=a\nTo: <sip:ann@example.com>;tag={tag}\nCall-ID: {}\nCSeq: {cseq} {method}\nContent-Length: 0\n\n",
            field(&invite, "Call-ID"),
        ));
    }
    assert_eq!(bench.said(), ["200 OPTIONS", "481 BYE"]);
}
