use std::time::Duration;

use bytes::Bytes;
use media_core::Side;
use sip_core::{Ended, LegEvent, LegId, ReasonValue};

use super::world::{
    ANSWER, CALLER, RETURN_URI, SECOND_TARGET, TARGET, World, complete, ended, hop, leg, policy,
    port,
};
use crate::io::{AgentSaid, Input, MediaSaid, Output, StoreReply};
use crate::policy::{Fallback, Policy};
use crate::transfer::ReturnType;
use crate::{Outcome, Phase};

/// A target's leg that ends without a reason of its own.
const CLEARED: &str = "target hang up Q.850;cause=16;text=\"Normal call clearing\"";

fn refer_answered(status: u16) -> Input {
    let answered = LegEvent::ReferAnswered {
        status,
        reason: String::new(),
        refer_sub: None,
        answered: true,
    };
    leg(CALLER, answered)
}

fn notified(status: u16, terminated: bool) -> Input {
    let (reason, fragment) = (String::new(), Bytes::new());
    leg(
        CALLER,
        LegEvent::Notified {
            latest: true,
            status: Some(status),
            reason,
            fragment,
            terminated,
        },
    )
}

fn hung_up(of: LegId) -> Input {
    leg(
        of,
        LegEvent::HungUp {
            reasons: Vec::new(),
        },
    )
}

fn refused(of: LegId, status: u16, contact: Option<&'static str>) -> Input {
    let contacts = contact.map(Bytes::from_static_str).into_iter().collect();
    let (reason, reasons) = (String::new(), Vec::new());
    leg(
        of,
        LegEvent::Refused {
            status,
            reason,
            contacts,
            reasons,
            retry_after: None,
            answered: true,
        },
    )
}

trait FromStaticStr {
    fn from_static_str(text: &'static str) -> Self;
}

impl FromStaticStr for Bytes {
    fn from_static_str(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

fn steps(outcome: &Outcome) -> String {
    assert!(matches!(outcome, Outcome::HandedBack(_)), "{outcome}");
    outcome.to_string()
}

fn referring() -> World {
    let (world, wants) = World::handing_back(policy(), ReturnType::Refer);
    assert_eq!(wants.last().unwrap(), &format!("refer {RETURN_URI}"));
    world
}

#[test]
fn bye_carries_reason_and_ends_the_call_whatever_answers_it() {
    for status in [200, 408, 481, 500] {
        let (mut world, wants) = World::handing_back(policy(), ReturnType::Bye);
        assert_eq!(wants[0], "stop agent");
        assert!(wants[1].starts_with("hang up SIP;cause=200"));
        let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(status)));
        assert_eq!(steps(&outcome), format!("BYE succeeded {status}"));
    }
}

#[test]
fn crossing_bye_of_the_caller_is_a_success_too() {
    let (mut world, _) = World::handing_back(policy(), ReturnType::Bye);
    world.on(hung_up(CALLER));
    assert_eq!(
        steps(&world.outcome(ended(CALLER, Ended::HungUp))),
        "BYE succeeded"
    );
}

#[test]
fn refer_is_followed_to_its_final_notify_and_bye_comes_a_second_later() {
    let mut world = referring();
    assert_eq!(world.on(refer_answered(202)), Vec::<String>::new());
    assert_eq!(world.on(notified(100, false)), Vec::<String>::new());
    assert_eq!(world.on(notified(180, false)), Vec::<String>::new());
    assert_eq!(world.on(notified(200, true)), Vec::<String>::new());
    assert_eq!(
        world.after(Duration::from_millis(999)),
        Vec::<String>::new()
    );
    let wants = world.after(Duration::from_millis(1));
    assert!(wants[0].starts_with("hang up SIP;cause=200"), "{wants:?}");
    let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
    let Outcome::HandedBack(handed) = &outcome else {
        panic!("{outcome}")
    };
    let step = &handed.steps[0];
    let fragments: Vec<u16> = step.fragments.iter().map(|it| it.status).collect();
    assert_eq!((step.answer, fragments), (Some(202), vec![100, 180, 200]));
    assert_eq!(steps(&outcome), "REFER succeeded 200");
}

#[test]
fn notify_before_the_answer_to_refer_counts() {
    let mut world = referring();
    world.on(notified(200, true));
    world.on(refer_answered(202));
    assert!(!world.after(Duration::from_secs(1)).is_empty());
}

#[test]
fn bye_of_the_peer_after_the_final_notify_needs_none_of_ours() {
    let mut world = referring();
    world.on(refer_answered(200));
    world.on(notified(200, true));
    let wants = world.on(hung_up(CALLER));
    assert_eq!(wants, ["hang up", "stop agent", "close media"]);
    assert_eq!(
        steps(&world.outcome(ended(CALLER, Ended::HungUp))),
        "REFER succeeded 200"
    );
}

#[test]
fn media_to_the_caller_end_with_the_bye_and_not_with_its_answer() {
    let mut world = referring();
    world.on(refer_answered(202));
    world.on(notified(180, false));
    assert_eq!(world.on(hung_up(CALLER)), ["disconnect Caller"]);
    let mut world = referring();
    world.on(refer_answered(603));
    world.on(port(Side::Target));
    let wants = world.on(Input::Resolved(Ok(Vec::new())));
    let mut after_bye = wants.iter().skip_while(|want| !want.starts_with("hang up"));
    assert!(
        after_bye.any(|want| want == "disconnect Caller"),
        "{wants:?}"
    );
    let crossing = world.on(leg(CALLER, LegEvent::Reoffered { sdp: None }));
    assert_eq!(crossing.len(), 1, "an answer and no media: {crossing:?}");
}

#[test]
fn refusal_of_refer_goes_on_to_the_next_method_and_then_to_bye() {
    let mut world = referring();
    let wants = world.on(refer_answered(603));
    assert_eq!(
        wants,
        [format!("resolve {RETURN_URI}"), "open Target".to_owned()]
    );
    world.on(port(Side::Target));
    world.on(Input::Resolved(Ok(vec![hop(TARGET)])));
    let wants = world.on(refused(TARGET, 486, None));
    assert!(wants.contains(&"hang up SIP;cause=486;text=\"return failed\"".to_owned()));
    world.on(ended(TARGET, Ended::Refused(486)));
    let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(
        steps(&outcome),
        "REFER failed 603, INVITE failed 486, BYE succeeded 200"
    );
}

#[test]
fn failed_transfer_told_by_notify_goes_on_too() {
    let mut world = referring();
    world.on(refer_answered(202));
    let wants = world.on(notified(486, true));
    assert_eq!(wants[0], format!("resolve {RETURN_URI}"));
}

#[test]
fn refer_without_a_final_notify_in_time_goes_on() {
    let mut world = referring();
    world.on(refer_answered(202));
    assert_eq!(world.after(Duration::from_secs(119)), Vec::<String>::new());
    assert_eq!(
        world.after(Duration::from_secs(1))[0],
        format!("resolve {RETURN_URI}")
    );
}

#[test]
fn dialog_that_is_gone_ends_the_chain() {
    let mut world = referring();
    world.on(refer_answered(481));
    let outcome = world.outcome(ended(CALLER, Ended::Gone(481)));
    assert_eq!(steps(&outcome), "REFER dialog_gone 481");
}

#[test]
fn peer_that_hangs_up_without_any_notify_leaves_the_result_unknown() {
    let mut world = referring();
    world.on(refer_answered(202));
    world.on(hung_up(CALLER));
    let outcome = world.outcome(ended(CALLER, Ended::HungUp));
    assert_eq!(steps(&outcome), "REFER accepted_unknown");
}

#[test]
fn subscription_that_ends_with_100_claims_no_success() {
    let mut world = referring();
    world.on(refer_answered(202));
    let wants = world.on(notified(100, true));
    assert!(wants[0].starts_with("hang up"));
    let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(steps(&outcome), "REFER accepted_unknown");
}

#[test]
fn caller_who_hangs_up_while_the_transfer_rings_is_no_success() {
    let mut world = referring();
    world.on(refer_answered(202));
    world.on(notified(180, false));
    world.on(hung_up(CALLER));
    let outcome = world.outcome(ended(CALLER, Ended::HungUp));
    assert_eq!(steps(&outcome), "REFER caller_hangup_during_transfer");
}

#[test]
fn final_notify_after_the_peers_bye_still_counts() {
    let mut world = referring();
    world.on(refer_answered(202));
    world.on(notified(180, false));
    world.on(hung_up(CALLER));
    world.on(notified(200, true));
    assert_eq!(
        steps(&world.outcome(ended(CALLER, Ended::HungUp))),
        "REFER succeeded 200"
    );
}

#[test]
fn peer_whose_allow_lacks_refer_is_not_asked() {
    let mut world = World::talking(policy(), ReturnType::Refer);
    world.on(leg(CALLER, LegEvent::AllowsRefer(false)));
    world.on(complete());
    world.on(Input::Media(MediaSaid::Drained));
    let wants = world.on(Input::Store(StoreReply::Completed));
    assert!(
        !wants.iter().any(|want| want.starts_with("refer")),
        "{wants:?}"
    );
    assert!(wants.contains(&format!("resolve {RETURN_URI}")));
}

#[test]
fn refer_sub_false_means_success_without_a_notify() {
    let mut world = referring();
    let (status, reason) = (202, String::new());
    world.on(leg(
        CALLER,
        LegEvent::ReferAnswered {
            status,
            reason,
            refer_sub: Some(false),
            answered: true,
        },
    ));
    assert!(world.after(Duration::from_secs(1))[0].starts_with("hang up SIP;cause=200"));
}

#[test]
fn returned_invite_keeps_the_callers_identity_and_budget() {
    let (mut world, _) = World::handing_back(policy(), ReturnType::Invite);
    world.on(port(Side::Target));
    world
        .call
        .handle_input(world.now, Input::Resolved(Ok(vec![hop(TARGET)])));
    let Some(Output::Place(place)) = world.call.poll_output() else {
        panic!()
    };
    assert_eq!(place.uri, RETURN_URI.as_bytes());
    assert_eq!(place.from, "\"Ann\" <sip:100@gw>".as_bytes());
    assert_eq!(place.max_forwards, 69);
    let names: Vec<_> = place
        .headers
        .iter()
        .map(|header| header.name.as_str())
        .collect();
    assert_eq!(names, ["X-ASAPP-CallTransferId", "P-Asserted-Identity"]);
    let offer = String::from_utf8_lossy(place.sdp.as_ref().unwrap()).into_owned();
    assert!(
        offer.contains("RTP/AVP 8 0"),
        "the caller's codec first: {offer}"
    );
}

#[test]
fn answered_return_is_bridged_and_each_bye_crosses_with_its_reason() {
    let reasons = vec![ReasonValue {
        protocol: "Q.850".to_owned(),
        cause: Some(16),
        text: Some("Normal call clearing".to_owned()),
    }];
    for (from, wanted) in [(TARGET, "hang up Q.850"), (CALLER, "target hang up Q.850")] {
        let mut world = World::bridged();
        assert_eq!(world.call.phase(), Phase::Bridged);
        let wants = world.on(leg(
            from,
            LegEvent::HungUp {
                reasons: reasons.clone(),
            },
        ));
        assert!(
            wants.iter().any(|want| want.starts_with(wanted)),
            "{wants:?}"
        );
        world.on(ended(TARGET, Ended::ByeAnswered(200)));
        let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
        assert_eq!(steps(&outcome), "INVITE succeeded 200");
    }
}

#[test]
fn caller_hanging_up_while_the_target_rings_cancels_it() {
    let mut world = World::dialing(policy());
    let wants = world.on(hung_up(CALLER));
    assert!(wants.contains(&CLEARED.to_owned()), "{wants:?}");
    world.on(ended(CALLER, Ended::HungUp));
    let outcome = world.outcome(ended(TARGET, Ended::Refused(487)));
    assert_eq!(steps(&outcome), "INVITE caller_hangup_during_transfer");
}

#[test]
fn target_that_rings_too_long_is_cancelled_and_bye_follows() {
    let mut world = World::dialing(policy());
    let wants = world.after(Duration::from_secs(60));
    let no_answer = "target hang up SIP;cause=408;text=\"no answer\", Q.850;cause=19;text=\"No answer from user\"";
    assert!(wants.contains(&no_answer.to_owned()), "{wants:?}");
    assert!(wants.contains(&"hang up SIP;cause=408;text=\"return failed\"".to_owned()));
}

#[test]
fn early_media_reaches_the_media_plane_before_the_answer() {
    let mut world = World::dialing(policy());
    let sdp = Some(Bytes::from_static(ANSWER.as_bytes()));
    let wants = world.on(leg(TARGET, LegEvent::Progress { status: 183, sdp }));
    assert_eq!(wants, ["connect Target"]);
}

#[test]
fn redirect_is_followed_at_most_as_often_as_configured() {
    let mut policy = policy();
    policy.max_redirects = 1;
    let mut world = World::dialing(policy);
    let wants = world.on(refused(TARGET, 302, Some("sip:elsewhere@192.0.2.77")));
    assert_eq!(wants, ["resolve sip:elsewhere@192.0.2.77"]);
    let wants = world.on(Input::Resolved(Ok(vec![hop(SECOND_TARGET)])));
    assert_eq!(wants, ["place sip:elsewhere@192.0.2.77"]);
    let wants = world.on(refused(SECOND_TARGET, 302, Some("sip:again@192.0.2.78")));
    assert!(
        wants
            .iter()
            .any(|want| want.starts_with("hang up SIP;cause=302")),
        "{wants:?}"
    );
}

#[test]
fn hop_that_does_not_answer_is_followed_by_the_next() {
    let (mut world, _) = World::handing_back(policy(), ReturnType::Invite);
    world.on(port(Side::Target));
    world.on(Input::Resolved(Ok(vec![hop(TARGET), hop(SECOND_TARGET)])));
    assert_eq!(
        world.on(refused(TARGET, 503, None)),
        [format!("place {RETURN_URI}")]
    );
}

#[test]
fn server_that_has_rung_or_refused_is_not_followed_by_the_next() {
    let hops = || Input::Resolved(Ok(vec![hop(TARGET), hop(SECOND_TARGET)]));
    let progress = |status| leg(TARGET, LegEvent::Progress { status, sdp: None });
    for before in [
        vec![progress(180), refused(TARGET, 503, None)],
        vec![refused(TARGET, 408, None)],
    ] {
        let (mut world, _) = World::handing_back(policy(), ReturnType::Invite);
        world.on(port(Side::Target));
        world.on(hops());
        let mut wants = Vec::new();
        for input in before {
            wants = world.on(input);
        }
        assert!(
            wants.iter().any(|want| want.starts_with("hang up")),
            "{wants:?}"
        );
    }
}

#[test]
fn silence_is_followed_by_the_next_server_and_patience_is_shared() {
    let (mut world, _) = World::handing_back(policy(), ReturnType::Invite);
    world.on(port(Side::Target));
    world.call.handle_input(
        world.now,
        Input::Resolved(Ok(vec![hop(TARGET), hop(SECOND_TARGET)])),
    );
    let invite_timeout = policy().invite_timeout;
    assert_placed(&mut world, Some(invite_timeout / 2));
    let silence = LegEvent::Refused {
        status: 408,
        reason: String::new(),
        contacts: Vec::new(),
        reasons: Vec::new(),
        retry_after: None,
        answered: false,
    };
    world.call.handle_input(world.now, leg(TARGET, silence));
    assert_placed(&mut world, None);
}

#[test]
fn server_that_was_silent_lately_is_not_waited_for_long_even_alone() {
    let (mut world, _) = World::handing_back(policy(), ReturnType::Invite);
    world.on(port(Side::Target));
    let doubtful = crate::Hop {
        doubtful: true,
        ..hop(TARGET)
    };
    let found = Input::Resolved(Ok(vec![doubtful]));
    world.call.handle_input(world.now, found);
    assert_placed(&mut world, Some(Duration::from_secs(4)));
}

/// A leg is placed now, with this patience.
fn assert_placed(world: &mut World, patience: Option<Duration>) {
    let mut found = None;
    while let Some(output) = world.call.poll_output() {
        if let Output::Place(place) = output {
            found = Some(place.patience);
        }
    }
    assert_eq!(found, Some(patience));
}

#[test]
fn outcome_says_why_a_target_could_not_be_located() {
    let (mut world, _) = World::handing_back(policy(), ReturnType::Invite);
    world.on(port(Side::Target));
    world.on(Input::Resolved(Err(
        "return target does not resolve: x has no address".to_owned(),
    )));
    let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(steps(&outcome), "INVITE unreachable, BYE succeeded 200");
    let Outcome::HandedBack(handed) = &outcome else {
        panic!("{outcome:?}")
    };
    let reason = handed.steps[0].reason.as_deref();
    assert_eq!(
        reason,
        Some("return target does not resolve: x has no address")
    );
}

#[test]
fn return_that_leads_nowhere_ends_in_bye() {
    let (mut world, _) = World::handing_back(policy(), ReturnType::Invite);
    world.on(port(Side::Target));
    let wants = world.on(Input::Resolved(Ok(Vec::new())));
    assert!(wants.contains(&"hang up SIP;cause=503;text=\"return failed\"".to_owned()));
    let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(steps(&outcome), "INVITE unreachable, BYE succeeded 200");
}

#[test]
fn call_that_has_no_hops_left_is_not_returned_by_invite() {
    let mut facts = super::world::facts();
    facts.max_forwards = 1;
    let transfer = super::world::transfer(Some(ReturnType::Invite));
    let mut world = World::claimed(facts, policy(), transfer);
    world.on(port(Side::Caller));
    world.on(Input::Agent(AgentSaid::Connected));
    world.on(complete());
    world.on(Input::Media(MediaSaid::Drained));
    let wants = world.on(Input::Store(StoreReply::Completed));
    assert!(
        wants.contains(&"hang up SIP;cause=483;text=\"return failed\"".to_owned()),
        "{wants:?}"
    );
}

/// A hand-back of an agent that said hello.
fn handing_back_after_hello(
    policy: Policy,
    return_type: ReturnType,
    tracks: bool,
) -> (World, Vec<String>) {
    let mut world = World::talking(policy, return_type);
    world.on(Input::Agent(AgentSaid::Hello { tracks }));
    world.on(complete());
    world.on(Input::Media(MediaSaid::Drained));
    let wants = world.on(Input::Store(StoreReply::Completed));
    (world, wants)
}

#[test]
fn agent_that_said_hello_stays_and_gets_the_call_back_where_the_fallback_says_so() {
    let mut policy = policy();
    policy.fallback = vec![Fallback::Agent, Fallback::Return(ReturnType::Bye)];
    let (mut world, wants) = handing_back_after_hello(policy, ReturnType::Refer, false);
    assert!(wants.contains(&"tell agent HandingBack".to_owned()));
    assert!(wants.contains(&"tell agent Trying None".to_owned()));
    assert!(!wants.contains(&"stop agent".to_owned()), "{wants:?}");
    let wants = world.on(refer_answered(486));
    assert!(wants.contains(&"tell agent Failed Some(486)".to_owned()));
    assert!(wants.contains(&"tell agent Agent".to_owned()), "{wants:?}");
    assert_eq!(world.call.phase(), Phase::WithAgent);
    assert_eq!(
        world.on(complete()),
        ["tell agent accepted", "drain", "store SYSTEM"]
    );
    world.on(Input::Media(MediaSaid::Drained));
    let wants = world.on(Input::Store(StoreReply::Completed));
    assert!(wants.contains(&format!("refer {RETURN_URI}")), "{wants:?}");
}

#[test]
fn plain_agent_is_stopped_with_the_hand_back_and_connected_anew_when_the_call_comes_back() {
    let mut policy = policy();
    policy.fallback = vec![Fallback::Agent, Fallback::Return(ReturnType::Bye)];
    let (mut world, wants) = World::handing_back(policy, ReturnType::Refer);
    assert!(wants.contains(&"stop agent".to_owned()), "{wants:?}");
    let wants = world.on(refer_answered(486));
    assert!(wants.contains(&"comfort".to_owned()), "{wants:?}");
    assert!(wants.contains(&"connect agent again".to_owned()));
    let wants = world.on(Input::Agent(AgentSaid::Connected));
    assert_eq!(wants, ["attach agent"]);
    let hello = Input::Agent(AgentSaid::Hello { tracks: false });
    assert_eq!(world.on(hello), ["tell agent Failed Some(486)"]);
    assert_eq!(world.on(complete())[0], "tell agent accepted");
}

#[test]
fn socket_that_dies_during_the_hand_back_changes_nothing() {
    let mut policy = policy();
    policy.fallback = vec![Fallback::Agent, Fallback::Return(ReturnType::Bye)];
    let (mut world, _) = handing_back_after_hello(policy, ReturnType::Refer, false);
    let died = Input::Agent(AgentSaid::Closed {
        clean: false,
        reason: "reset".to_owned(),
    });
    assert_eq!(world.on(died), Vec::<String>::new());
    assert_eq!(world.call.phase(), Phase::HandingBack);
    let wants = world.on(refer_answered(486));
    assert!(wants.contains(&"connect agent again".to_owned()));
}

#[test]
fn agent_that_said_hello_is_told_that_the_call_is_over_before_it_is_stopped() {
    let (mut world, wants) = handing_back_after_hello(policy(), ReturnType::Bye, false);
    let at = |wants: &[String], what: &str| wants.iter().position(|it| it == what);
    let told = at(&wants, "tell agent Ended");
    assert!(
        told.is_some() && told < at(&wants, "stop agent"),
        "{wants:?}"
    );
    assert!(at(&wants, "stop agent") < wants.iter().position(|it| it.starts_with("hang up")));
    let wants = world.on(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(at(&wants, "tell agent Ended"), None, "told once: {wants:?}");
}

#[test]
fn agent_with_tracks_listens_on_its_own_link_and_another_takes_its_place_when_that_dies() {
    let (mut world, wants) = handing_back_after_hello(policy(), ReturnType::Invite, true);
    assert!(!wants.contains(&"stop agent".to_owned()), "{wants:?}");
    world.on(port(Side::Target));
    world.on(Input::Resolved(Ok(vec![hop(TARGET)])));
    let sdp = Some(Bytes::from_static(ANSWER.as_bytes()));
    let answered = LegEvent::Answered {
        sdp,
        allow_refer: true,
    };
    let wants = world.on(leg(TARGET, answered));
    assert!(wants.contains(&"tell agent Answered Some(200)".to_owned()));
    assert_eq!(wants.last().unwrap(), "tell agent Bridged");
    let died = Input::Agent(AgentSaid::Closed {
        clean: false,
        reason: "reset".to_owned(),
    });
    assert_eq!(world.on(died), ["listen"]);
    assert_eq!(world.call.phase(), Phase::Bridged);
}

#[test]
fn agent_does_not_get_a_call_back_that_has_lasted_too_long() {
    let mut policy = policy();
    policy.fallback = vec![Fallback::Agent];
    policy.call_duration = Duration::from_secs(5);
    let (mut world, _) = World::handing_back(policy, ReturnType::Refer);
    world.now += Duration::from_secs(6);
    let wants = world.on(refer_answered(486));
    assert!(
        wants.contains(&"hang up SIP;cause=486;text=\"return failed\"".to_owned()),
        "{wants:?}"
    );
}

#[test]
fn agent_hears_nothing_of_a_bridged_call_where_the_policy_says_stop() {
    let mut policy = policy();
    policy.transcribe = false;
    let mut world = World::dialing(policy);
    let sdp = Some(Bytes::from_static(ANSWER.as_bytes()));
    let wants = world.on(leg(
        TARGET,
        LegEvent::Answered {
            sdp,
            allow_refer: true,
        },
    ));
    assert_eq!(wants.last().unwrap(), "bridge");
}
