//! REFER both ways, with its subscription.

use super::*;

const TARGET: &str = "sip:+1555;x=%41@pbx.example.net;user=phone?X-A=b";

fn referring() -> (Bench, LegId, String, Message) {
    let (mut bench, leg, tag) = standing();
    let headers = vec![Header::new("Referred-By", "<sip:us@192.0.2.1>")];
    bench.command(
        leg,
        Command::Refer {
            target: Bytes::from(TARGET),
            headers,
        },
    );
    let refer = bench.sent.remove(0).1;
    (bench, leg, tag, refer)
}

fn notify(tag: &str, cseq: u32, event: &str, state: &str, fragment: &str) -> String {
    let branch = format!("n{cseq}");
    Req::new("NOTIFY", &branch, cseq)
        .to(tag)
        .line(&format!("Event: {event}"))
        .line(&format!("Subscription-State: {state}"))
        .line("Content-Type: message/sipfrag")
        .body(fragment)
        .text()
}

fn notified(status: u16, reason: &str, terminated: bool) -> LegEvent {
    let fragment = Bytes::from(format!("SIP/2.0 {status} {reason}"));
    LegEvent::Notified {
        latest: true,
        status: Some(status),
        reason: reason.to_owned(),
        fragment,
        terminated,
    }
}

#[test]
fn a_refer_is_followed_to_its_last_notify() {
    let (mut bench, _, tag, refer) = referring();
    assert_eq!(field(&refer, "Refer-To"), format!("<{TARGET}>"));
    assert_eq!(field(&refer, "Referred-By"), "<sip:us@192.0.2.1>");
    bench.hear(&answer_to(&refer, 202, "", CONTACT, ""));
    bench.hear(&notify(
        &tag,
        2,
        "refer",
        "active;expires=60",
        "SIP/2.0 180 Ringing",
    ));
    bench.hear(&notify(
        &tag,
        3,
        "refer;id=1",
        "terminated;reason=noresource",
        "SIP/2.0 200 OK",
    ));
    assert_eq!(bench.said(), ["200 NOTIFY", "200 NOTIFY"]);
    let LegEvent::ReferAnswered {
        status: 202,
        refer_sub: None,
        ..
    } = bench.events[0].1
    else {
        panic!()
    };
    assert_eq!(
        bench.told()[1..],
        [notified(180, "Ringing", false), notified(200, "OK", true)]
    );
}

#[test]
fn a_notify_may_overtake_the_202() {
    let (mut bench, _, tag, refer) = referring();
    bench.hear(&notify(&tag, 2, "refer", "active", "SIP/2.0 100 Trying"));
    bench.hear(&answer_to(&refer, 202, "", CONTACT, ""));
    assert_eq!(bench.said(), ["200 NOTIFY"]);
    assert_eq!(bench.told()[0], notified(100, "Trying", false));
}

#[test]
fn a_refused_refer_leaves_the_call_up_and_481_ends_it() {
    let (mut bench, _, _, refer) = referring();
    bench.hear(&answer_to(&refer, 603, "", "", ""));
    assert!(matches!(
        bench.told()[..],
        [LegEvent::ReferAnswered { status: 603, .. }]
    ));
    let (mut bench, _, _, refer) = referring();
    bench.hear(&answer_to(&refer, 481, "", "", ""));
    assert_eq!(bench.told()[1..], [ended(Ended::Gone(481))]);
    let (mut bench, _, _, _) = referring();
    bench.pass(33.0);
    assert!(
        matches!(
            bench.told()[..],
            [LegEvent::ReferAnswered { status: 408, .. }]
        ),
        "silence leaves it up"
    );
}

#[test]
fn the_last_notify_is_still_reported_after_the_peers_bye() {
    let (mut bench, _, tag, refer) = referring();
    bench.hear(&answer_to(&refer, 202, "", CONTACT, ""));
    bench.hear(&notify(&tag, 2, "refer", "active", "SIP/2.0 100 Trying"));
    bench.hear(&Req::new("BYE", "b", 3).to(&tag).text());
    bench.hear(&notify(&tag, 4, "refer", "terminated", "SIP/2.0 200 OK"));
    let told = bench.told();
    assert_eq!(
        told[2..],
        [
            LegEvent::HungUp { reasons: vec![] },
            notified(200, "OK", true),
            ended(Ended::HungUp)
        ]
    );
    bench.hear(&notify(&tag, 5, "refer", "terminated", "SIP/2.0 200 OK"));
    bench.hear(&Req::new("INFO", "late", 6).to(&tag).text());
    assert_eq!(
        bench.said(),
        [
            "200 NOTIFY",
            "200 BYE",
            "200 NOTIFY",
            "200 NOTIFY",
            "481 INFO"
        ]
    );
}

#[test]
fn after_the_peers_bye_the_last_notify_is_awaited_for_a_second() {
    let (mut bench, _, tag, refer) = referring();
    bench.hear(&answer_to(&refer, 202, "", CONTACT, ""));
    bench.hear(&Req::new("BYE", "b", 2).to(&tag).text());
    bench.pass(0.9);
    assert!(!bench.told().contains(&ended(Ended::HungUp)));
    bench.pass(0.2);
    assert_eq!(bench.told(), [ended(Ended::HungUp)]);
}

#[test]
fn status_line_in_a_body_of_another_type_says_nothing() {
    let (mut bench, _, tag, refer) = referring();
    bench.hear(&answer_to(&refer, 202, "", CONTACT, ""));
    let notify = notify(&tag, 2, "refer", "active", "SIP/2.0 200 OK");
    bench.hear(&notify.replace("message/sipfrag", "text/plain"));
    assert!(matches!(
        bench.told().last(),
        Some(LegEvent::Notified { status: None, .. })
    ));
}

#[test]
fn refer_sub_false_means_that_no_notify_comes() {
    let (mut bench, _, tag, refer) = referring();
    bench.hear(&answer_to(&refer, 200, "", "Refer-Sub: false\n", ""));
    bench.hear(&Req::new("BYE", "b", 2).to(&tag).text());
    assert_eq!(bench.told().last(), Some(&ended(Ended::HungUp)));
}

#[test]
fn a_notify_of_nothing_gets_481_and_of_another_package_489() {
    let (mut bench, _, tag) = standing();
    bench.hear(&notify(&tag, 2, "refer", "active", "SIP/2.0 100 Trying"));
    bench.hear(&notify(&tag, 3, "presence", "active", ""));
    assert_eq!(bench.said(), ["481 NOTIFY", "489 NOTIFY"]);
}

#[test]
fn the_peers_refer_is_accepted_and_its_progress_notified() {
    let (mut bench, leg, tag) = standing();
    let refer = |branch, cseq| {
        Req::new("REFER", branch, cseq)
            .to(&tag)
            .line(&format!("Refer-To: <{TARGET}>"))
    };
    bench.hear(&refer("r", 2).line("Referred-By: <sip:x@y>").text());
    assert!(
        matches!(&bench.told()[..], [LegEvent::Referred { uri, referred_by: Some(_), .. }] if uri == TARGET)
    );
    bench.command(leg, Command::AnswerRefer { status: 202 });
    bench.command(
        leg,
        Command::Notify {
            fragment: "SIP/2.0 100 Trying".to_owned(),
            terminated: false,
        },
    );
    let first = bench.last().clone();
    bench.command(
        leg,
        Command::Notify {
            fragment: "SIP/2.0 200 OK".to_owned(),
            terminated: true,
        },
    );
    let last = bench.last().clone();
    bench.command(
        leg,
        Command::Notify {
            fragment: "SIP/2.0 200 OK".to_owned(),
            terminated: true,
        },
    );
    assert_eq!(bench.said(), ["202 REFER", "NOTIFY", "NOTIFY"]);
    assert_eq!(
        (
            field(&first, "Event").as_str(),
            field(&first, "Content-Type").as_str()
        ),
        ("refer", "message/sipfrag;version=2.0")
    );
    assert!(field(&first, "Subscription-State").starts_with("active"));
    assert!(field(&last, "Subscription-State").starts_with("terminated"));
    assert_eq!(last.body(), "SIP/2.0 200 OK\r\n");
    bench.hear(&answer_to(&last, 200, "", "", ""));
    assert_eq!(bench.told(), [LegEvent::NotifyAnswered { status: 200 }]);
    bench.hear(&refer("s", 3).line("Refer-Sub: false").text());
    bench.command(leg, Command::AnswerRefer { status: 200 });
    assert_eq!(field(bench.last(), "Refer-Sub"), "false");
}

#[test]
fn a_refer_without_one_target_gets_400() {
    let (mut bench, _, tag) = standing();
    bench.hear(&Req::new("REFER", "r", 2).to(&tag).text());
    bench.hear(
        &Req::new("REFER", "s", 3)
            .to(&tag)
            .line("Refer-To: <sip:a@b>")
            .line("Refer-To: <sip:c@d>")
            .text(),
    );
    assert_eq!(bench.said(), ["400 REFER", "400 REFER"]);
}

#[test]
fn the_peers_latest_allow_says_whether_refer_is_taken() {
    let (mut bench, _, tag) = standing();
    bench.hear(
        &Req::new("INFO", "i", 2)
            .to(&tag)
            .line("Allow: INVITE, ACK, BYE")
            .text(),
    );
    assert_eq!(bench.told()[0], LegEvent::AllowsRefer(false));
}

#[test]
fn notify_that_a_bye_overtook_is_answered_and_told() {
    let (mut bench, leg, tag) = standing();
    bench.command(
        leg,
        Command::Refer {
            target: Bytes::from("sip:x@example.com"),
            headers: Vec::new(),
        },
    );
    let refer = bench.last().clone();
    bench.hear(&answer_to(&refer, 202, "", "", ""));
    bench.told();
    bench.said();
    bench.hear(&Req::new("BYE", "b", 3).to(&tag).text());
    let notify = Req::new("NOTIFY", "n", 2)
        .to(&tag)
        .line("Event: refer")
        .line("Subscription-State: terminated;reason=noresource")
        .line("Content-Type: message/sipfrag")
        .body("SIP/2.0 200 OK\n");
    bench.hear(&notify.text());
    assert_eq!(bench.said(), ["200 BYE", "200 NOTIFY"]);
    let told = bench.told();
    assert!(matches!(told[0], LegEvent::HungUp { .. }));
    assert!(matches!(
        told[1],
        LegEvent::Notified {
            status: Some(200),
            terminated: true,
            ..
        }
    ));
    assert_eq!(told[2], ended(Ended::HungUp));
}

#[test]
fn the_last_notify_is_still_reported_after_our_own_bye() {
    let (mut bench, leg, tag, refer) = referring();
    bench.hear(&answer_to(&refer, 202, "", CONTACT, ""));
    bench.command(
        leg,
        Command::HangUp {
            headers: Vec::new(),
        },
    );
    let bye = bench.last().clone();
    bench.hear(&answer_to(&bye, 200, "", "", ""));
    bench.told();
    bench.pass(0.9);
    assert_eq!(bench.told(), [], "the last NOTIFY is awaited");
    bench.hear(&notify(&tag, 2, "refer", "terminated", "SIP/2.0 200 OK"));
    let end = ended(Ended::ByeAnswered(200));
    assert_eq!(bench.told(), [notified(200, "OK", true), end]);
}

#[test]
fn our_bye_ends_the_leg_at_once_where_no_result_is_awaited_or_the_dialog_is_gone() {
    for (told_before, answer) in [(true, 200), (false, 481)] {
        let (mut bench, leg, tag, refer) = referring();
        bench.hear(&answer_to(&refer, 202, "", CONTACT, ""));
        if told_before {
            bench.hear(&notify(&tag, 2, "refer", "active", "SIP/2.0 200 OK"));
        }
        bench.command(
            leg,
            Command::HangUp {
                headers: Vec::new(),
            },
        );
        let bye = bench.last().clone();
        bench.hear(&answer_to(&bye, answer, "", "", ""));
        let end = ended(Ended::ByeAnswered(answer));
        assert_eq!(bench.told().last(), Some(&end));
    }
}

#[test]
fn a_notify_tells_whether_it_is_of_the_latest_refer() {
    let (mut bench, leg, tag, first) = referring();
    bench.hear(&answer_to(&first, 202, "", CONTACT, ""));
    bench.command(
        leg,
        Command::Refer {
            target: Bytes::from(TARGET),
            headers: Vec::new(),
        },
    );
    let second = bench.last().clone();
    bench.hear(&answer_to(&second, 202, "", CONTACT, ""));
    bench.told();
    let ids = [&first, &second].map(|refer| refer.cseq().unwrap().number);
    for (id, of_latest) in ids.into_iter().zip([false, true]) {
        let event = format!("refer;id={id}");
        bench.hear(&notify(
            &tag,
            1 + id,
            &event,
            "active",
            "SIP/2.0 180 Ringing",
        ));
        let told = bench.told();
        let [LegEvent::Notified { latest, .. }] = told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(latest, of_latest);
    }
}
