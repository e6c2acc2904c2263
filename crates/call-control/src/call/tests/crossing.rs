//! Offers that cross between bridged legs.

use std::time::Duration;

use bytes::Bytes;
use media_core::Side;
use sip_core::{Command, Ended, LegEvent, LegId, ReasonValue};

use super::world::{CALLER, TARGET, World, ended, leg};
use crate::io::{Input, MediaSaid, Output};
use crate::{Outcome, Phase, StepResult};

const NOTHING: [&str; 0] = [];

/// A description of the caller's or the target's: its audio port, formats and direction.
fn sdp(port: u16, formats: &str, direction: &str) -> Bytes {
    let text = format!(
        "v=0\r\no=x 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {formats}\r\na={direction}\r\n"
    );
    text.into()
}

/// The caller's first offer again, but for its direction.
fn callers(direction: &str) -> Bytes {
    sdp(
        4000,
        "8 0 101\r\na=rtpmap:101 telephone-event/8000",
        direction,
    )
}

fn targets(direction: &str) -> Bytes {
    let text = String::from_utf8(sdp(6000, "8", direction).to_vec()).unwrap();
    text.replace("192.0.2.1", "192.0.2.9").into()
}

fn asks(of: LegId, sdp: Bytes) -> Input {
    leg(of, LegEvent::Reoffered { sdp: Some(sdp) })
}

fn answers(of: LegId, sdp: Bytes) -> Input {
    leg(of, LegEvent::OfferAnswered { sdp: Some(sdp) })
}

fn refuses(of: LegId, status: u16) -> Input {
    leg(of, LegEvent::OfferRefused { status })
}

/// Bridged, and the caller has put the target on hold.
fn held() -> World {
    let mut world = World::bridged();
    world.on(asks(CALLER, callers("sendonly")));
    world.on(answers(TARGET, targets("recvonly")));
    world
}

#[test]
fn hold_and_resume_of_the_caller_cross_to_the_target_and_the_watchdog_rests_meanwhile() {
    let mut world = World::bridged();
    let wants = world.on(asks(CALLER, callers("sendonly")));
    assert_eq!(wants, ["target offer sendonly"]);
    let wants = world.on(answers(TARGET, targets("recvonly")));
    let held = [
        "connect Target",
        "do not watch media",
        "answer recvonly",
        "connect Caller",
        "do not watch media",
    ];
    assert_eq!(wants, held);
    let wants = world.on(asks(CALLER, callers("sendrecv")));
    assert_eq!(wants, ["target offer sendrecv"]);
    let wants = world.on(answers(TARGET, targets("sendrecv")));
    assert_eq!(wants[2..4], ["answer sendrecv", "connect Caller"]);
    assert_eq!(wants.last().unwrap(), "watch media 30");
}

#[test]
fn hold_and_resume_of_the_target_cross_to_the_caller() {
    let mut world = World::bridged();
    let wants = world.on(asks(TARGET, targets("inactive")));
    assert_eq!(wants, ["offer inactive"]);
    let wants = world.on(answers(CALLER, callers("inactive")));
    assert_eq!(wants[2], "target answer inactive");
    assert_eq!(
        world.on(asks(TARGET, targets("sendrecv"))),
        ["offer sendrecv"]
    );
    let wants = world.on(answers(CALLER, callers("sendrecv")));
    assert_eq!(wants[2], "target answer sendrecv");
}

#[test]
fn target_that_is_held_and_holds_itself_is_answered_with_what_both_allow() {
    let mut world = held();
    let wants = world.on(asks(TARGET, targets("inactive")));
    assert_eq!(wants, ["offer inactive"]);
    let wants = world.on(answers(CALLER, callers("inactive")));
    assert_eq!(wants[2], "target answer inactive");
    // The caller resumes; the target still holds.
    assert_eq!(
        world.on(asks(CALLER, callers("sendrecv"))),
        ["target offer sendrecv"]
    );
    let wants = world.on(answers(TARGET, targets("inactive")));
    assert_eq!(wants[2], "answer inactive");
    // The target resumes: the caller is asked and wants it too.
    assert_eq!(
        world.on(asks(TARGET, targets("sendrecv"))),
        ["offer sendrecv"]
    );
    let wants = world.on(answers(CALLER, callers("sendrecv")));
    assert_eq!(wants[2], "target answer sendrecv");
}

#[test]
fn refresh_is_answered_here_and_never_crosses_on_hold_or_off() {
    let mut world = World::bridged();
    let wants = world.on(asks(CALLER, callers("sendrecv")));
    assert_eq!(
        wants,
        ["answer sendrecv", "connect Caller", "watch media 30"]
    );
    let wants = world.on(asks(TARGET, targets("sendrecv")));
    assert_eq!(wants[0], "target answer sendrecv");
    let mut world = held();
    assert_eq!(
        world.on(asks(CALLER, callers("sendonly")))[0],
        "answer recvonly"
    );
    // The one that is held may repeat what it said, or what it would have (RFC 3264 §8.4).
    for direction in ["recvonly", "sendrecv"] {
        let wants = world.on(asks(TARGET, targets(direction)));
        assert_eq!(wants[0], "target answer sendonly", "{direction}");
    }
    let wants = world.on(asks(CALLER, callers("sendrecv")));
    assert_eq!(
        wants,
        ["target offer sendrecv"],
        "the refreshes changed nothing"
    );
}

#[test]
fn new_address_is_served_at_once_and_only_the_target_hears_of_it() {
    let mut world = World::bridged();
    let moved = sdp(
        4100,
        "8 0 101\r\na=rtpmap:101 telephone-event/8000",
        "sendrecv",
    );
    let wants = world.on(asks(CALLER, moved));
    assert_eq!(wants[..2], ["answer sendrecv", "connect Caller"]);
    assert_eq!(wants.last().unwrap(), "target offer sendrecv");
    assert_eq!(world.on(refuses(TARGET, 488)), NOTHING);
    let wants = world.on(asks(TARGET, sdp(6100, "8", "sendrecv")));
    let served = ["target answer sendrecv", "connect Target", "watch media 30"];
    assert_eq!(wants, served);
}

#[test]
fn codec_that_one_side_changes_to_is_offered_to_the_other_first() {
    let mut world = World::bridged();
    world
        .call
        .handle_input(world.now, asks(CALLER, sdp(4000, "0", "sendrecv")));
    let Some(Output::Sip {
        leg: TARGET,
        command: Command::Reoffer { sdp: offer },
    }) = world.call.poll_output()
    else {
        panic!("no offer to the target")
    };
    let offer = String::from_utf8(offer.to_vec()).unwrap();
    assert!(offer.contains(" RTP/AVP 0 8 101\r\n"), "{offer}");
    // It does not follow: the gateway transcodes.
    let wants = world.on(answers(TARGET, targets("sendrecv")));
    assert_eq!(wants[2], "answer sendrecv");
}

#[test]
fn codec_of_the_other_sides_answer_is_taken_where_the_asker_offers_it() {
    let mut world = World::bridged();
    world.on(asks(CALLER, sdp(4000, "0 8", "sendrecv")));
    world
        .call
        .handle_input(world.now, answers(TARGET, targets("sendrecv")));
    let outputs: Vec<Output> = std::iter::from_fn(|| world.call.poll_output()).collect();
    let Output::Sip {
        command: Command::Answer { sdp },
        ..
    } = &outputs[2]
    else {
        panic!("{outputs:?}")
    };
    let answer = String::from_utf8(sdp.to_vec()).unwrap();
    assert!(answer.contains(" RTP/AVP 8\r\n"), "{answer}");
}

#[test]
fn refusal_of_the_other_side_is_the_askers_and_both_sessions_stand() {
    let refused = [
        (488, 488),
        (491, 491),
        (500, 500),
        (503, 500),
        (403, 488),
        (603, 603),
    ];
    for (theirs, ours) in refused {
        let mut world = World::bridged();
        world.on(asks(CALLER, callers("sendonly")));
        let wants = world.on(refuses(TARGET, theirs));
        assert_eq!(wants, [format!("refuse offer {ours}")]);
        assert_eq!(world.call.phase(), Phase::Bridged);
        let again = world.on(asks(CALLER, callers("sendrecv")));
        assert_eq!(again[0], "answer sendrecv", "as if nothing had been asked");
    }
}

#[test]
fn asker_that_the_other_side_keeps_waiting_gets_504_and_the_late_answer_is_made_good() {
    let mut world = World::bridged();
    world.on(asks(CALLER, callers("sendonly")));
    let wants = world.after(Duration::from_secs(15));
    assert_eq!(wants, ["refuse offer 504", "target withdraw offer"]);
    assert_eq!(world.call.poll_timeout(), None);
    let wants = world.on(answers(TARGET, targets("recvonly")));
    assert_eq!(wants.last().unwrap(), "target offer sendrecv");
    world.on(answers(TARGET, targets("sendrecv")));
    assert_eq!(world.call.phase(), Phase::Bridged);
}

#[test]
fn asker_that_takes_its_offer_back_is_not_answered() {
    let mut world = World::bridged();
    world.on(asks(TARGET, targets("sendonly")));
    let wants = world.on(leg(TARGET, LegEvent::ReofferCancelled));
    assert_eq!(wants, ["withdraw offer"]);
    assert_eq!(world.on(refuses(CALLER, 487)), NOTHING);
    assert_eq!(world.call.poll_timeout(), None);
}

#[test]
fn sides_that_ask_at_once_are_each_others_answer() {
    let mut world = World::bridged();
    world.on(asks(CALLER, callers("sendonly")));
    // Our re-INVITE met the target's (491) and waits; the target's comes again first.
    let wants = world.on(asks(TARGET, targets("sendonly")));
    let commands: Vec<&str> = wants
        .iter()
        .map(String::as_str)
        .filter(|want| want.contains("answer") || want.contains("offer"))
        .collect();
    assert_eq!(
        commands,
        [
            "target withdraw offer",
            "target answer inactive",
            "answer inactive"
        ]
    );
    assert_eq!(world.on(refuses(TARGET, 487)), NOTHING);
    assert_eq!(world.call.poll_timeout(), None);
}

#[test]
fn request_without_offer_gets_what_the_other_side_wants_and_its_answer_crosses() {
    let mut world = held();
    let wants = world.on(leg(CALLER, LegEvent::Reoffered { sdp: None }));
    assert_eq!(wants, ["answer sendrecv"]);
    let wants = world.on(answers(CALLER, callers("sendrecv")));
    assert_eq!(wants[0], "connect Caller");
    assert_eq!(wants.last().unwrap(), "target offer sendrecv");
    let wants = world.on(answers(TARGET, targets("sendrecv")));
    assert_eq!(wants, ["connect Target", "watch media 30"]);
}

#[test]
fn request_without_offer_of_one_side_answers_the_other_sides() {
    let mut world = World::bridged();
    world.on(asks(CALLER, callers("sendonly")));
    let wants = world.on(leg(TARGET, LegEvent::Reoffered { sdp: None }));
    assert_eq!(wants, ["target withdraw offer", "target answer sendonly"]);
    assert_eq!(world.on(refuses(TARGET, 487)), NOTHING);
    let wants = world.on(answers(TARGET, targets("recvonly")));
    assert_eq!(wants[2], "answer recvonly");
}

#[test]
fn caller_that_held_the_agent_holds_the_target_too_once_it_answers() {
    let mut world = World::dialing(super::world::policy());
    world.on(asks(CALLER, callers("sendonly")));
    let sdp = Some(targets("sendrecv"));
    let answered = LegEvent::Answered {
        sdp,
        allow_refer: true,
    };
    let wants = world.on(leg(TARGET, answered));
    assert_eq!(wants.last().unwrap(), "target offer sendonly");
}

#[test]
fn target_that_only_talks_from_the_start_brings_no_re_invite_to_the_caller() {
    let mut world = World::dialing(super::world::policy());
    let sdp = Some(targets("sendonly"));
    let answered = LegEvent::Answered {
        sdp,
        allow_refer: true,
    };
    let wants = world.on(leg(TARGET, answered));
    assert_eq!(wants.last().unwrap(), "listen");
    assert_eq!(
        world.on(asks(CALLER, callers("sendrecv")))[0],
        "answer sendonly"
    );
}

#[test]
fn offer_that_cannot_be_used_is_refused_here() {
    let mut world = World::bridged();
    let wants = world.on(asks(CALLER, sdp(4000, "18", "sendrecv")));
    assert_eq!(wants, ["refuse offer 488"]);
    let wants = world.on(asks(CALLER, Bytes::from_static(b"v=1\r\n")));
    assert_eq!(wants, ["refuse offer 400"]);
}

#[test]
fn answer_without_audio_to_a_crossing_offer_ends_both_legs() {
    let mut world = World::bridged();
    world.on(asks(CALLER, callers("sendonly")));
    let wants = world.on(answers(TARGET, sdp(0, "8", "recvonly")));
    let byes = wants.iter().filter(|want| want.contains("SIP;cause=488"));
    assert_eq!(byes.count(), 2, "{wants:?}");
}

#[test]
fn sides_that_never_agree_do_not_keep_each_other_busy() {
    let mut world = held();
    let mut wants = world.on(leg(CALLER, LegEvent::Reoffered { sdp: None }));
    let mut offers = 0;
    for turn in 0..20 {
        let (of, text) = match wants.last().map(String::as_str) {
            Some(want) if want.starts_with("target offer") => (TARGET, targets("sendonly")),
            Some(want) if want.starts_with("offer") => (CALLER, callers("recvonly")),
            _ if turn == 0 => (CALLER, callers("sendrecv")),
            _ => break,
        };
        wants = world.on(answers(of, text));
        offers += 1;
    }
    assert!(offers < 8, "{offers}");
    assert_eq!(world.call.phase(), Phase::Bridged);
}

#[test]
fn silence_of_either_leg_ends_both_with_its_causes() {
    for side in [Side::Caller, Side::Target] {
        let mut world = World::bridged();
        let wants = world.on(Input::Media(MediaSaid::Silent { side }));
        let byes = wants.iter().filter(|want| {
            want.contains("hang up SIP;cause=408;text=\"no media\", Q.850;cause=102")
        });
        assert_eq!(byes.count(), 2, "{wants:?}");
        world.on(ended(TARGET, Ended::ByeAnswered(200)));
        let record = world.record(ended(CALLER, Ended::ByeAnswered(200)));
        let told: Vec<&str> = record.timeline.iter().map(|it| it.what.as_str()).collect();
        let who = match side {
            Side::Caller => "caller's media stopped",
            Side::Target => "target's media stopped",
        };
        assert!(told.contains(&who), "{told:?}");
        let Outcome::HandedBack(handed) = &record.outcome else {
            panic!("{}", record.outcome)
        };
        assert_eq!(handed.steps[0].result, StepResult::Succeeded);
    }
}

#[test]
fn end_of_a_leg_that_nobody_hung_up_crosses_with_what_ended_it() {
    let ends = [
        (
            Ended::Expired,
            "SIP;cause=408;text=\"Session timer expired\"",
        ),
        (Ended::Gone(481), "SIP;cause=481"),
    ];
    for (why, reason) in ends {
        let mut world = World::bridged();
        let wants = world.on(ended(TARGET, why));
        let bye = wants.iter().find(|want| want.starts_with("hang up"));
        assert!(bye.is_some_and(|bye| bye.contains(reason)), "{wants:?}");
        let mut world = World::bridged();
        let wants = world.on(ended(CALLER, why));
        let bye = wants.iter().find(|want| want.starts_with("target hang up"));
        assert!(bye.is_some_and(|bye| bye.contains(reason)), "{wants:?}");
    }
}

#[test]
fn bye_crosses_with_its_sip_and_q850_causes_either_way() {
    let reasons = vec![
        ReasonValue::sip(487, "moved on"),
        ReasonValue::q850(17, "User busy"),
    ];
    for (from, to) in [(CALLER, "target hang up"), (TARGET, "hang up")] {
        let mut world = World::bridged();
        let reasons = reasons.clone();
        let wants = world.on(leg(from, LegEvent::HungUp { reasons }));
        let bye = wants.iter().find(|want| want.starts_with(to)).unwrap();
        let both = "SIP;cause=487;text=\"moved on\", Q.850;cause=17;text=\"User busy\"";
        assert!(bye.ends_with(both), "{bye}");
    }
}
