//! Reliable provisional responses of ours, RFC 3262.

use super::*;

fn ring(sdp: Option<&'static str>) -> Command {
    Command::Ring {
        status: 183,
        sdp: sdp.map(Bytes::from),
    }
}

fn plain_accept() -> Command {
    Command::Accept {
        sdp: None,
        headers: Vec::new(),
    }
}

/// A gateway that rings reliably, our tag, and the RAck of the first response.
fn ringing(invite: &Req<'_>, command: Command) -> (Bench, String, u32) {
    let mut config = gateway();
    config.trunks[0].reliable_where_supported = true;
    let mut bench = Bench::new(config);
    bench.hear(&invite.text());
    bench.command(bench.leg(), command);
    let response = bench.last();
    assert!(field(response, "Require").contains("100rel"));
    let (tag, rseq) = (our_tag(response), response.rseq().unwrap().unwrap());
    bench.said();
    (bench, tag, rseq)
}

fn prack(branch: &str, cseq: u32, tag: &str, rseq: u32) -> Req<'static> {
    let branch = Box::leak(branch.to_owned().into_boxed_str());
    Req::new("PRACK", branch, cseq)
        .to(tag)
        .line(&format!("RAck: {rseq} 1 INVITE"))
}

fn with_sdp(request: Req<'static>) -> Req<'static> {
    request.line("Content-Type: application/sdp").body(SDP)
}

fn offerless() -> Req<'static> {
    Req::invite().without("Content-Type").body("")
}

#[test]
fn required_provisional_response_is_repeated_until_its_prack() {
    let required = Req::invite().line("Require: 100rel");
    let (mut bench, tag, rseq) = ringing(&required, ring(None));
    bench.pass(3.6);
    assert_eq!(bench.said(), ["183 INVITE", "183 INVITE", "183 INVITE"]);
    bench.hear(&prack("p", 2, &tag, rseq).text());
    bench.pass(10.0);
    assert_eq!(bench.said(), ["200 PRACK"]);
    assert_eq!(bench.told(), []);
}

#[test]
fn retransmissions_double_without_the_cap_of_t2() {
    let required = Req::invite().line("Require: 100rel");
    let (mut bench, ..) = ringing(&required, ring(None));
    bench.pass(31.9);
    assert_eq!(bench.said().len(), 6, "0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s");
}

#[test]
fn call_whose_provisional_response_nobody_acknowledges_is_refused_with_504() {
    let required = Req::invite().line("Require: 100rel");
    let (mut bench, ..) = ringing(&required, ring(None));
    bench.pass(32.1);
    assert_eq!(bench.told(), [LegEvent::NoPrack]);
    bench.command(bench.leg(), Command::Refuse(refusal(504)));
    assert_eq!(bench.said().last().unwrap(), "504 INVITE");
    assert_eq!(bench.told(), [ended(Ended::Refused(504))]);
}

#[test]
fn call_that_lacks_its_prack_is_refused_without_the_shell_after_five_seconds() {
    let required = Req::invite().line("Require: 100rel");
    let (mut bench, ..) = ringing(&required, ring(None));
    bench.pass(37.1);
    assert_eq!(bench.said().last().unwrap(), "504 INVITE");
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(504))));
}

#[test]
fn prack_that_acknowledges_nothing_open_gets_481() {
    let required = Req::invite().line("Require: 100rel");
    let (mut bench, tag, rseq) = ringing(&required, ring(None));
    bench.hear(&prack("p1", 2, &tag, rseq + 1).text());
    bench.hear(
        &Req::new("PRACK", "p2", 3)
            .to(&tag)
            .line(&format!("RAck: {rseq} 9 INVITE"))
            .text(),
    );
    bench.hear(&prack("p3", 4, &tag, rseq).text());
    bench.hear(&prack("p4", 5, &tag, rseq).text());
    assert_eq!(
        bench.said(),
        ["481 PRACK", "481 PRACK", "200 PRACK", "481 PRACK"]
    );
}

#[test]
fn one_provisional_response_is_open_at_a_time_and_the_next_has_the_next_number() {
    let required = Req::invite().line("Require: 100rel");
    let (mut bench, tag, rseq) = ringing(&required, ring(None));
    bench.command(
        bench.leg(),
        Command::Ring {
            status: 180,
            sdp: None,
        },
    );
    assert_eq!(bench.said(), [] as [&str; 0]);
    bench.hear(&prack("p", 2, &tag, rseq).text());
    assert_eq!(bench.last().rseq().unwrap(), Some(rseq + 1));
    assert_eq!(bench.said(), ["200 PRACK", "180 INVITE"]);
}

#[test]
fn ringing_is_reliable_where_required_and_where_supported_only_if_the_trunk_says_so() {
    let supported = Req::invite().line("Supported: 100rel");
    let (bench, ..) = ringing(&supported, ring(None));
    assert_eq!(bench.endpoint.census().legs, 1);
    for invite in [Req::invite(), supported] {
        let mut bench = Bench::new(gateway());
        bench.hear(&invite.text());
        bench.command(bench.leg(), ring(Some(SDP)));
        assert_eq!(bench.last().rseq().unwrap(), None);
        assert_eq!(field(bench.last(), "Require"), "");
        bench.command(bench.leg(), accept());
        assert_eq!(bench.said(), ["100 INVITE", "183 INVITE", "200 INVITE"]);
    }
}

#[test]
fn acceptance_waits_for_the_prack_of_a_described_response_and_repeats_no_description() {
    let supported = Req::invite().line("Supported: 100rel");
    let (mut bench, tag, rseq) = ringing(&supported, ring(Some(SDP)));
    bench.command(bench.leg(), accept());
    assert_eq!(bench.said(), [] as [&str; 0]);
    bench.hear(&prack("p", 2, &tag, rseq).text());
    assert!(bench.last().body().is_empty());
    assert_eq!(bench.said(), ["200 PRACK", "200 INVITE"]);
}

#[test]
fn acceptance_does_not_wait_for_the_prack_of_plain_ringing_which_may_come_later() {
    let supported = Req::invite().line("Supported: 100rel");
    let (mut bench, tag, rseq) = ringing(&supported, ring(None));
    bench.command(bench.leg(), accept());
    assert_eq!(bench.said(), ["200 INVITE"]);
    bench.hear(&Req::new("ACK", "a", 1).to(&tag).text());
    bench.pass(5.0);
    bench.hear(&prack("p", 2, &tag, rseq).text());
    assert_eq!(bench.said(), ["200 PRACK"]);
}

#[test]
fn an_invite_without_offer_gets_ours_in_the_183_and_its_answer_comes_in_the_prack() {
    let required = offerless().line("Require: 100rel");
    let (mut bench, tag, rseq) = ringing(&required, ring(Some(SDP)));
    bench.hear(&with_sdp(prack("p", 2, &tag, rseq)).text());
    assert_eq!(
        bench.told(),
        [LegEvent::OfferAnswered {
            sdp: Some(Bytes::from(crlf(SDP)))
        }]
    );
    bench.command(bench.leg(), plain_accept());
    assert!(bench.last().body().is_empty());
    bench.hear(&Req::new("ACK", "a", 1).to(&tag).text());
    assert_eq!(bench.said(), ["200 PRACK", "200 INVITE"]);
    assert_eq!(bench.told(), [LegEvent::Confirmed { answer: None }]);
}

#[test]
fn reliable_ringing_without_an_offer_is_not_sent_where_it_would_have_to_carry_one() {
    let mut bench = Bench::new(gateway());
    bench.hear(&offerless().line("Require: 100rel").text());
    bench.command(bench.leg(), ring(None));
    assert_eq!(bench.said(), ["100 INVITE"]);
}

#[test]
fn prack_without_the_answer_to_our_offer_says_so() {
    let required = offerless().line("Require: 100rel");
    let (mut bench, tag, rseq) = ringing(&required, ring(Some(SDP)));
    bench.hear(&prack("p", 2, &tag, rseq).text());
    assert_eq!(bench.told(), [LegEvent::OfferAnswered { sdp: None }]);
}

#[test]
fn prack_with_a_new_offer_is_answered_with_the_answer() {
    let supported = Req::invite().line("Supported: 100rel");
    let (mut bench, tag, rseq) = ringing(&supported, ring(Some(SDP)));
    bench.hear(&with_sdp(prack("p", 2, &tag, rseq)).text());
    assert!(matches!(
        &bench.told()[..],
        [LegEvent::Reoffered { sdp: Some(_) }]
    ));
    bench.command(bench.leg(), accept());
    assert_eq!(bench.said(), [] as [&str; 0], "the PRACK comes first");
    bench.command(
        bench.leg(),
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    assert!(!bench.sent[0].1.body().is_empty());
    assert_eq!(bench.said(), ["200 PRACK", "200 INVITE"]);
}

#[test]
fn cancel_while_a_prack_is_awaited_ends_the_call_and_the_repetitions() {
    let required = Req::invite().line("Require: 100rel");
    let (mut bench, tag, rseq) = ringing(&required, ring(None));
    bench.hear(&Req::new("CANCEL", "one", 1).text());
    bench.command(bench.leg(), Command::Refuse(refusal(487)));
    bench.hear(&Req::new("ACK", "one", 1).to(&tag).text());
    assert_eq!(bench.said(), ["200 CANCEL", "487 INVITE"]);
    bench.pass(10.0);
    bench.hear(&prack("p", 2, &tag, rseq).text());
    assert_eq!(bench.said(), ["481 PRACK"]);
}

#[test]
fn update_in_the_early_dialog_is_answered_once_the_first_exchange_is_done() {
    let supported = Req::invite().line("Supported: 100rel");
    let (mut bench, tag, rseq) = ringing(&supported, ring(Some(SDP)));
    bench.hear(&prack("p", 2, &tag, rseq).text());
    let update = with_sdp(Req::new("UPDATE", "u", 3))
        .to(&tag)
        .line("Contact: <sip:moved@192.0.2.9:5099>");
    bench.hear(&update.text());
    assert!(matches!(&bench.told()[..], [LegEvent::Reoffered { .. }]));
    bench.command(
        bench.leg(),
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    assert_eq!(bench.said(), ["200 PRACK", "200 UPDATE"]);
}

#[test]
fn update_with_an_offer_before_our_answer_gets_500_with_retry_after() {
    let mut bench = Bench::new(gateway());
    bench.hear(&Req::invite().text());
    bench.command(bench.leg(), ring(None));
    let tag = our_tag(bench.last());
    bench.hear(&with_sdp(Req::new("UPDATE", "u", 2)).to(&tag).text());
    assert!(!field(bench.last(), "Retry-After").is_empty());
    assert_eq!(bench.said().last().unwrap(), "500 UPDATE");
}

#[test]
fn update_that_crosses_our_200_is_answered_and_the_200_is_still_repeated() {
    let supported = Req::invite().line("Supported: 100rel");
    let (mut bench, tag, rseq) = ringing(&supported, ring(Some(SDP)));
    bench.hear(&prack("p", 2, &tag, rseq).text());
    bench.command(bench.leg(), plain_accept());
    bench.hear(&with_sdp(Req::new("UPDATE", "u", 3)).to(&tag).text());
    bench.command(
        bench.leg(),
        Command::Answer {
            sdp: Bytes::from(SDP),
        },
    );
    bench.pass(0.6);
    assert_eq!(
        bench.said(),
        ["200 PRACK", "200 INVITE", "200 UPDATE", "200 INVITE"]
    );
    bench.hear(&Req::new("ACK", "a", 1).to(&tag).text());
    assert_eq!(
        bench.told().last(),
        Some(&LegEvent::Confirmed { answer: None })
    );
}

#[test]
fn our_offer_in_the_early_dialog_goes_by_update_where_the_peer_takes_it() {
    let supported = Req::invite()
        .line("Supported: 100rel")
        .line("Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK");
    let (mut bench, tag, rseq) = ringing(&supported, ring(Some(SDP)));
    bench.command(
        bench.leg(),
        Command::Reoffer {
            sdp: Bytes::from(SDP),
        },
    );
    assert_eq!(bench.said(), [] as [&str; 0], "not before the PRACK");
    bench.hear(&prack("p", 2, &tag, rseq).text());
    let update = bench.last().clone();
    assert_eq!(bench.said(), ["200 PRACK", "UPDATE"]);
    bench.hear(&answer_to(
        &update,
        200,
        "",
        "Contact: <sip:sbc@192.0.2.9:5070>\nContent-Type: application/sdp\n",
        SDP,
    ));
    assert!(matches!(
        &bench.told()[..],
        [LegEvent::OfferAnswered { sdp: Some(_) }]
    ));
}
