//! Changing a standing session: UPDATE and re-INVITE, refusals and what they leave, lost connections.

use super::*;

fn described(request: Req<'static>, tag: &str) -> String {
    let contact = "Contact: <sip:sbc@192.0.2.9:5070>";
    let named = request.lines.iter().any(|line| line.starts_with("Contact"));
    let request = if named {
        request
    } else {
        request.line(contact)
    };
    request
        .to(tag)
        .line("Content-Type: application/sdp")
        .body(SDP)
        .text()
}

fn answer() -> Command {
    Command::Answer {
        sdp: Bytes::from(SDP),
    }
}

fn reoffer() -> Command {
    Command::Reoffer {
        sdp: Bytes::from(SDP),
    }
}

#[test]
fn remote_target_of_a_refused_re_invite_does_not_count() {
    let (mut bench, leg, tag) = standing();
    let moved = Req::new("INVITE", "i", 2).line("Contact: <sip:moved@192.0.2.9:5099>");
    bench.hear(&described(moved, &tag));
    bench.command(leg, Command::RefuseOffer { status: 488 });
    bench.command(leg, hang_up());
    let (flow, bye) = bench.sent.last().unwrap();
    assert_eq!(
        (flow.remote.port(), bye.request_uri().unwrap()),
        (5070, &b"sip:sbc@192.0.2.9:5070"[..])
    );
}

#[test]
fn remote_target_of_an_accepted_update_counts() {
    let (mut bench, leg, tag) = standing();
    let moved = Req::new("UPDATE", "u", 2).line("Contact: <sip:moved@192.0.2.9:5099>");
    bench.hear(&described(moved, &tag));
    bench.command(leg, answer());
    bench.command(leg, hang_up());
    let (flow, bye) = bench.sent.last().unwrap();
    assert_eq!(
        (flow.remote.port(), bye.request_uri().unwrap()),
        (5099, &b"sip:moved@192.0.2.9:5099"[..])
    );
}

#[test]
fn update_during_our_re_invite_gets_491_and_one_during_another_500() {
    let (mut bench, leg, tag) = standing();
    bench.command(leg, reoffer());
    bench.hear(&described(Req::new("UPDATE", "u", 2), &tag));
    assert_eq!(bench.said(), ["INVITE", "491 UPDATE"]);
    let (mut bench, _, tag) = standing();
    bench.hear(&described(Req::new("UPDATE", "u", 2), &tag));
    bench.hear(&described(Req::new("UPDATE", "v", 3), &tag));
    assert!(!field(bench.last(), "Retry-After").is_empty());
    assert_eq!(bench.said(), ["500 UPDATE"]);
}

#[test]
fn our_offer_comes_again_after_500_with_retry_after_and_at_last_counts_as_refused() {
    let (mut bench, leg, _) = standing();
    bench.command(leg, reoffer());
    for _ in 0..10 {
        let invite = bench.last().clone();
        bench.hear(&answer_to(&invite, 500, "", "Retry-After: 3\n", ""));
        bench.pass(2.9);
        assert_eq!(bench.said().last().unwrap(), "ACK");
        bench.pass(0.2);
    }
    let invite = bench.last().clone();
    assert_eq!(bench.told(), []);
    bench.hear(&answer_to(&invite, 500, "", "Retry-After: 3\n", ""));
    assert_eq!(bench.told(), [LegEvent::OfferRefused { status: 500 }]);
}

#[test]
fn refused_offer_leaves_the_session_as_it_was_and_the_next_may_be_made() {
    let (mut bench, leg, tag) = standing();
    bench.command(leg, reoffer());
    let invite = bench.last().clone();
    bench.hear(&answer_to(&invite, 488, "", "", ""));
    assert_eq!(bench.told(), [LegEvent::OfferRefused { status: 488 }]);
    bench.hear(&described(Req::new("INVITE", "i", 2), &tag));
    bench.command(leg, answer());
    bench.hear(&Req::new("ACK", "k", 2).to(&tag).text());
    bench.command(leg, reoffer());
    assert_eq!(
        bench.said(),
        ["INVITE", "ACK", "100 INVITE", "200 INVITE", "INVITE"]
    );
}

#[test]
fn our_offer_waits_for_the_end_of_the_peers() {
    let (mut bench, leg, tag) = standing();
    bench.hear(&described(Req::new("INVITE", "i", 2), &tag));
    bench.command(leg, reoffer());
    bench.command(leg, answer());
    assert_eq!(bench.said(), ["100 INVITE", "200 INVITE"]);
    bench.hear(&Req::new("ACK", "k", 2).to(&tag).text());
    assert_eq!(bench.said(), ["INVITE"]);
}

#[test]
fn cancelled_re_invite_gets_487_and_the_call_goes_on() {
    let (mut bench, leg, tag) = standing();
    bench.hear(&described(Req::new("INVITE", "i", 2), &tag));
    bench.hear(&Req::new("CANCEL", "i", 2).to(&tag).text());
    assert_eq!(bench.said(), ["100 INVITE", "200 CANCEL", "487 INVITE"]);
    assert_eq!(bench.told().last(), Some(&LegEvent::ReofferCancelled));
    bench.command(leg, answer());
    bench.command(leg, reoffer());
    assert_eq!(bench.said(), ["INVITE"]);
}

#[test]
fn withdrawn_offer_that_waits_is_never_sent() {
    let (mut bench, leg, tag) = standing();
    bench.hear(&described(Req::new("INVITE", "i", 2), &tag));
    bench.command(leg, reoffer());
    bench.command(leg, Command::WithdrawOffer);
    assert_eq!(
        bench.told().last(),
        Some(&LegEvent::OfferRefused { status: 487 })
    );
    bench.command(leg, answer());
    bench.hear(&Req::new("ACK", "k", 2).to(&tag).text());
    assert_eq!(bench.said(), ["100 INVITE", "200 INVITE"]);
}

#[test]
fn withdrawn_offer_that_met_another_one_does_not_come_again() {
    let (mut bench, leg, tag) = standing();
    bench.command(leg, reoffer());
    let invite = bench.last().clone();
    bench.hear(&answer_to(&invite, 491, "", "", ""));
    bench.command(leg, Command::WithdrawOffer);
    bench.pass(5.0);
    assert_eq!(bench.said(), ["INVITE", "ACK"]);
    bench.hear(&described(Req::new("INVITE", "i", 2), &tag));
    bench.command(leg, answer());
    assert_eq!(bench.said(), ["100 INVITE", "200 INVITE"]);
}

#[test]
fn withdrawn_offer_that_is_out_is_cancelled_and_its_end_is_told() {
    let (mut bench, leg, _) = standing();
    bench.command(leg, reoffer());
    let invite = bench.last().clone();
    bench.hear(&answer_to(&invite, 100, "", "", ""));
    bench.command(leg, Command::WithdrawOffer);
    assert_eq!(bench.said(), ["INVITE", "CANCEL"]);
    bench.hear(&answer_to(&invite, 487, "", "", ""));
    assert_eq!(bench.told(), [LegEvent::OfferRefused { status: 487 }]);
    bench.command(leg, reoffer());
    assert_eq!(bench.said(), ["ACK", "INVITE"]);
}

#[test]
fn re_invite_without_offer_whose_ack_has_no_answer_says_so() {
    let (mut bench, leg, tag) = standing();
    let invite = Req::new("INVITE", "i", 2).to(&tag);
    bench.hear(&invite.line("Contact: <sip:sbc@192.0.2.9:5070>").text());
    assert_eq!(bench.told(), [LegEvent::Reoffered { sdp: None }]);
    bench.command(leg, answer());
    bench.hear(&Req::new("ACK", "k", 2).to(&tag).text());
    assert_eq!(bench.told(), [LegEvent::OfferAnswered { sdp: None }]);
}

#[test]
fn parts_beside_the_offer_come_with_the_invitation() {
    let body = format!(
        "--b\nContent-Type: application/isup;version=x\n\n123\n--b\nContent-Type: application/sdp\n\n{SDP}\n--b--\n"
    );
    let mut bench = Bench::new(gateway());
    let body: &'static str = Box::leak(body.into_boxed_str());
    let invite = Req::invite()
        .without("Content-Type")
        .line("Content-Type: multipart/mixed;boundary=b")
        .body(body);
    bench.hear(&invite.text());
    let invitation = &bench.invited[0];
    assert!(invitation.offer.is_some());
    let kinds: Vec<&str> = invitation
        .bodies
        .iter()
        .map(|body| body.content_type.as_str())
        .collect();
    assert_eq!(kinds, ["application/isup;version=x"]);
}

/// A call over TCP that the gateway placed without naming a connection.
fn placed_over_tcp() -> Bench {
    let mut bench = Bench::new(EndpointConfig::default());
    let flow = Flow {
        transport: crate::Transport::Tcp,
        remote: "192.0.2.9:40000".parse().unwrap(),
        ..bench.flow
    };
    bench.flow = flow;
    let call = Place {
        flow,
        ..place(None, Some(SDP))
    };
    bench.input(Input::Place(Box::new(call)));
    bench
}

#[test]
fn new_call_fails_with_the_connection_that_it_reused() {
    let mut bench = placed_over_tcp();
    bench.input(closed(9));
    assert_eq!(bench.said(), ["INVITE"]);
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(503))));
}

#[test]
fn ringing_call_is_sent_again_over_a_new_connection_once() {
    let mut bench = placed_over_tcp();
    let invite = bench.last().clone();
    bench.hear(&answer_to(&invite, 180, "a", CONTACT, ""));
    bench.input(closed(9));
    assert_eq!(bench.last().bytes(), invite.bytes(), "the same transaction");
    assert_eq!(bench.said(), ["INVITE", "INVITE"]);
    bench.input(closed(10));
    assert_eq!(bench.told().last(), Some(&ended(Ended::Refused(503))));
}

#[test]
fn request_inside_a_dialog_is_sent_again_when_its_reused_connection_breaks() {
    let mut bench = placed_over_tcp();
    let invite = bench.last().clone();
    let lines = "Contact: <sip:pbx@192.0.2.9:40000;transport=tcp>\nContent-Type: application/sdp\n";
    bench.hear(&answer_to(&invite, 200, "a", lines, SDP));
    bench.command(OUT, hang_up());
    bench.said();
    bench.input(closed(9));
    let bye = bench.last().clone();
    assert_eq!(bench.said(), ["BYE"]);
    bench.hear(&answer_to(&bye, 200, "", "", ""));
    assert_eq!(bench.told().last(), Some(&ended(Ended::ByeAnswered(200))));
}
