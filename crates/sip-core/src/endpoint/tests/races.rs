//! Requests that cross, RFC 5407: what is told here besides the races of BYE, CANCEL and offers in the other files.

use super::*;

fn re_invite(branch: &'static str, cseq: u32, tag: &str) -> String {
    let request = Req::new("INVITE", branch, cseq).to(tag);
    let request = request.line("Content-Type: application/sdp").body(SDP);
    request.line("Contact: <sip:sbc@192.0.2.9:5070>").text()
}

/// A call that is answered and not yet acknowledged.
fn answered(invite: &Req<'_>) -> (Bench, LegId, String) {
    let mut bench = Bench::new(gateway());
    bench.hear(&invite.text());
    let leg = bench.leg();
    bench.command(leg, accept());
    let tag = our_tag(bench.last());
    bench.said();
    (bench, leg, tag)
}

#[test]
fn re_invite_that_overtakes_the_ack_is_answered_and_the_ack_still_counts() {
    let (mut bench, leg, tag) = answered(&Req::invite());
    bench.hear(&re_invite("two", 2, &tag));
    let answer = Command::Answer {
        sdp: Bytes::from(SDP),
    };
    bench.command(leg, answer);
    assert_eq!(bench.said(), ["100 INVITE", "200 INVITE"]);
    bench.hear(&Req::new("ACK", "a", 1).to(&tag).text());
    bench.hear(&Req::new("ACK", "b", 2).to(&tag).text());
    bench.pass(40.0);
    assert_eq!(bench.said(), [] as [&str; 0], "neither 200 is repeated");
    assert_eq!(bench.endpoint.census().legs, 1);
}

#[test]
fn re_invite_that_overtakes_the_answer_to_our_offer_is_refused_for_now() {
    let offerless = Req::invite().without("Content-Type").body("");
    let (mut bench, _, tag) = answered(&offerless);
    bench.hear(&re_invite("two", 2, &tag));
    assert_eq!(bench.said(), ["491 INVITE"]);
    let ack = Req::new("ACK", "a", 1).to(&tag);
    bench.hear(&ack.line("Content-Type: application/sdp").body(SDP).text());
    bench.hear(&Req::new("ACK", "two", 2).to(&tag).text());
    assert!(matches!(
        bench.told()[..],
        [LegEvent::Confirmed { answer: Some(_) }]
    ));
}

#[test]
fn requests_that_cross_our_bye_find_no_call_and_only_the_bye_is_answered_well() {
    for method in ["INVITE", "UPDATE", "REFER"] {
        let (mut bench, leg, tag) = standing();
        bench.command(leg, hang_up());
        let bye = bench.last().clone();
        let request = Req::new(method, "x", 2)
            .to(&tag)
            .line("Refer-To: <sip:x@y>");
        let request = request.line("Contact: <sip:sbc@192.0.2.9:5070>");
        let described = matches!(method, "INVITE" | "UPDATE");
        let request = if described {
            request.line("Content-Type: application/sdp").body(SDP)
        } else {
            request
        };
        bench.hear(&request.text());
        let status = bench.last().status().unwrap();
        assert!(matches!(status, 481 | 491), "{method}: {status}");
        bench.hear(&Req::new("BYE", "y", 3).to(&tag).text());
        assert_eq!(bench.last().status(), Some(200));
        bench.hear(&answer_to(&bye, 481, "", "", ""));
        assert_eq!(bench.endpoint.census().legs, 0, "{method}");
        let told = bench.told();
        assert_eq!(
            told.iter()
                .filter(|event| matches!(event, LegEvent::Ended { .. }))
                .count(),
            1
        );
    }
}

#[test]
fn bye_that_crosses_our_re_invite_ends_the_call_and_its_late_200_is_acknowledged() {
    let (mut bench, leg, tag) = standing();
    bench.command(
        leg,
        Command::Reoffer {
            sdp: Bytes::from(SDP),
        },
    );
    let ours = bench.last().clone();
    bench.hear(&Req::new("BYE", "y", 2).to(&tag).text());
    let lines = "Contact: <sip:sbc@192.0.2.9:5070>\nContent-Type: application/sdp\n";
    bench.hear(&answer_to(&ours, 200, "", lines, SDP));
    assert_eq!(bench.said(), ["INVITE", "200 BYE", "ACK"]);
    assert_eq!(bench.endpoint.census().legs, 0);
}
