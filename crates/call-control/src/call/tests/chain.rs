use std::time::Duration;

use bytes::Bytes;
use media_core::Side;
use sip_core::{Ended, LegEvent, ReasonValue};

use super::world::{CALLER, RETURN_URI, TARGET, World, complete, ended, hop, leg, policy, port};
use crate::io::{Input, MediaSaid, StoreReply};
use crate::outcome::{Cause, Ender};
use crate::policy::{ByeRule, Fallback, Notifies, Policy};
use crate::transfer::ReturnType;
use crate::{Outcome, Phase, StepResult};

fn referring(policy: Policy) -> World {
    let (world, wants) = World::handing_back(policy, ReturnType::Refer);
    assert_eq!(wants.last().unwrap(), &format!("refer {RETURN_URI}"));
    world
}

fn refer_answered(status: u16, silence: bool) -> Input {
    let reason = "As It Is".to_owned();
    let answered = LegEvent::ReferAnswered {
        status,
        reason,
        refer_sub: None,
        answered: !silence,
    };
    leg(CALLER, answered)
}

fn notified(status: u16, terminated: bool) -> Input {
    notified_of(true, status, terminated)
}

fn notified_of(latest: bool, status: u16, terminated: bool) -> Input {
    let notified = LegEvent::Notified {
        latest,
        status: Some(status),
        reason: "Said So".to_owned(),
        fragment: Bytes::new(),
        terminated,
    };
    leg(CALLER, notified)
}

fn hung_up() -> Input {
    let reasons = Vec::new();
    leg(CALLER, LegEvent::HungUp { reasons })
}

fn outcome_of(world: &mut World) -> String {
    world
        .outcome(ended(CALLER, Ended::ByeAnswered(200)))
        .to_string()
}

#[test]
fn refer_that_is_never_answered_goes_on_to_the_next_step_while_the_caller_is_heard() {
    let mut world = referring(policy());
    assert_eq!(
        world.on(refer_answered(408, true)),
        ["ask whether the caller is heard"]
    );
    let wants = world.on(Input::Media(MediaSaid::Heard(true)));
    assert!(
        wants.contains(&format!("resolve {RETURN_URI}")),
        "{wants:?}"
    );
}

#[test]
fn refer_that_is_never_answered_ends_the_chain_when_the_caller_is_not_heard() {
    let mut world = referring(policy());
    world.on(refer_answered(408, true));
    let wants = world.on(Input::Media(MediaSaid::Heard(false)));
    assert!(wants[0].starts_with("hang up SIP;cause=408"), "{wants:?}");
    assert_eq!(outcome_of(&mut world), "REFER dialog_gone 408");
}

#[test]
fn answered_408_to_refer_ends_the_chain_at_once() {
    let mut world = referring(policy());
    let wants = world.on(refer_answered(408, false));
    assert!(wants[0].starts_with("hang up SIP;cause=408"), "{wants:?}");
}

#[test]
fn late_first_notify_is_noted_and_the_transfer_goes_on() {
    let mut world = referring(policy());
    world.on(refer_answered(202, false));
    assert_eq!(world.after(Duration::from_secs(5)), Vec::<String>::new());
    world.on(notified(200, true));
    world.after(Duration::from_secs(1));
    let record = world.record(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(record.outcome.to_string(), "REFER succeeded 200");
    let late = record.timeline.iter().find(|it| it.what.contains("late"));
    assert!(late.is_some(), "{:?}", record.timeline);
}

#[test]
fn peer_that_never_notifies_leaves_the_outcome_unknown_and_the_call_ends() {
    let mut policy = policy();
    policy.peer.notifies = Notifies::Never;
    let mut world = referring(policy);
    world.on(refer_answered(202, false));
    let wants = world.after(Duration::from_secs(5));
    assert!(wants[0].starts_with("hang up SIP;cause=200"), "{wants:?}");
    assert_eq!(outcome_of(&mut world), "REFER accepted_unknown");
}

#[test]
fn peer_that_waits_for_our_bye_gets_it_at_once_when_its_subscription_is_terminated() {
    let mut policy = policy();
    policy.peer.bye = ByeRule::OursAtOnce;
    let mut world = referring(policy);
    world.on(refer_answered(202, false));
    world.on(notified(200, true));
    let wants = world.after(Duration::ZERO);
    assert!(wants[0].starts_with("hang up SIP;cause=200"), "{wants:?}");
}

#[test]
fn peer_that_ends_the_call_itself_is_waited_for() {
    let mut policy = policy();
    let patience = Duration::from_secs(32);
    policy.peer.bye = ByeRule::Theirs { patience };
    let mut world = referring(policy);
    world.on(refer_answered(202, false));
    world.on(notified(200, true));
    assert_eq!(world.after(Duration::from_secs(31)), Vec::<String>::new());
    assert!(world.after(Duration::from_secs(1))[0].starts_with("hang up SIP;cause=200"));
}

#[test]
fn chain_has_a_time_of_its_own_after_which_bye_ends_the_call() {
    let mut policy = policy();
    policy.hand_back_timeout = Duration::from_secs(130);
    let mut world = referring(policy);
    world.on(refer_answered(202, false));
    world.on(notified(180, false));
    let wants = world.after(Duration::from_secs(120));
    assert!(
        wants.contains(&format!("resolve {RETURN_URI}")),
        "{wants:?}"
    );
    let wants = world.after(Duration::from_secs(10));
    assert!(
        wants.contains(&"hang up SIP;cause=408;text=\"return failed\"".to_owned()),
        "{wants:?}"
    );
    assert_eq!(
        outcome_of(&mut world),
        "REFER timed_out, INVITE timed_out, BYE succeeded 200"
    );
}

#[test]
fn transfer_that_works_after_it_was_given_up_lets_the_ringing_target_go() {
    let mut world = referring(policy());
    world.on(refer_answered(202, false));
    world.on(notified(180, false));
    world.after(Duration::from_secs(120));
    world.on(port(Side::Target));
    world.on(Input::Resolved(Ok(vec![hop(TARGET)])));
    let wants = world.on(notified(200, true));
    assert!(
        wants.iter().any(|want| want.contains("hang up")),
        "{wants:?}"
    );
    world.after(Duration::from_secs(1));
    world.on(ended(TARGET, Ended::Refused(487)));
    assert_eq!(
        outcome_of(&mut world),
        "REFER succeeded 200, INVITE abandoned"
    );
}

#[test]
fn record_tells_what_the_peer_said_of_each_step_and_who_ended_the_call() {
    let mut world = referring(policy());
    world.on(refer_answered(603, false));
    world.on(port(Side::Target));
    world.on(Input::Resolved(Ok(vec![hop(TARGET)])));
    let reasons = vec![ReasonValue::q850(17, "User busy")];
    let refused = LegEvent::Refused {
        status: 486,
        reason: "Busy Here".to_owned(),
        contacts: Vec::new(),
        reasons,
        retry_after: None,
        answered: true,
    };
    world.on(leg(TARGET, refused));
    world.on(ended(TARGET, Ended::Refused(486)));
    let record = world.record(ended(CALLER, Ended::ByeAnswered(200)));
    let Outcome::HandedBack(handed) = &record.outcome else {
        panic!("{}", record.outcome)
    };
    let [refer, invite, bye] = &handed.steps[..] else {
        panic!("{:?}", handed.steps)
    };
    assert_eq!((refer.answer, refer.status), (Some(603), Some(603)));
    assert_eq!(refer.reason.as_deref(), Some("As It Is"));
    assert_eq!(invite.tried, [hop(TARGET).flow.remote]);
    assert_eq!(invite.reason.as_deref(), Some("Busy Here"));
    let busy = Cause {
        protocol: "Q.850".to_owned(),
        cause: Some(17),
        text: Some("User busy".to_owned()),
    };
    assert_eq!(invite.causes, [busy]);
    assert_eq!(bye.result, StepResult::Succeeded);
    assert_eq!(record.ended_by, Ender::Gateway);
    assert_eq!(record.results.len(), 1);
}

#[test]
fn steps_of_a_chain_that_ended_with_the_agent_stay_in_the_record() {
    let mut policy = policy();
    policy.fallback = vec![Fallback::Agent];
    let mut world = referring(policy);
    world.on(refer_answered(486, false));
    assert_eq!(world.call.phase(), Phase::WithAgent);
    let hung_up = LegEvent::HungUp {
        reasons: vec![ReasonValue::q850(16, "bye")],
    };
    world.on(leg(CALLER, hung_up));
    let record = world.record(ended(CALLER, Ended::HungUp));
    assert_eq!(record.outcome, Outcome::CallerHungUp);
    assert_eq!(record.earlier_steps[0].status, Some(486));
    assert_eq!(record.ended_by, Ender::Caller);
    assert_eq!(record.causes[0].cause, Some(16));
}

#[test]
fn every_result_that_was_accepted_is_kept() {
    let mut policy = policy();
    policy.fallback = vec![Fallback::Agent];
    let mut world = referring(policy);
    world.on(refer_answered(486, false));
    world.on(complete());
    world.on(Input::Media(MediaSaid::Drained));
    world.on(Input::Store(StoreReply::Completed));
    world.on(refer_answered(202, false));
    world.on(notified(200, true));
    world.after(Duration::from_secs(1));
    let record = world.record(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(record.results.len(), 2);
}

#[test]
fn transfer_that_works_after_our_bye_is_recorded_as_the_success_it_is() {
    let mut policy = policy();
    policy.fallback = vec![Fallback::Return(ReturnType::Bye)];
    let mut world = referring(policy);
    world.on(refer_answered(202, false));
    let wants = world.after(Duration::from_secs(120));
    assert!(wants[1].starts_with("hang up SIP;cause=408"), "{wants:?}");
    assert_eq!(world.on(notified(200, true)), Vec::<String>::new());
    let record = world.record(ended(CALLER, Ended::ByeAnswered(200)));
    let outcome = record.outcome.to_string();
    assert_eq!(outcome, "REFER succeeded 200, BYE succeeded 200");
    assert_eq!(record.outcome.steps()[0].fragments.len(), 1);
}

#[test]
fn outcome_that_was_unknown_is_known_when_the_last_notify_comes_after_all() {
    for (status, expected) in [(200, "REFER succeeded 200"), (486, "REFER failed 486")] {
        let mut policy = policy();
        policy.peer.notifies = Notifies::Never;
        let mut world = referring(policy);
        world.on(refer_answered(202, false));
        world.after(Duration::from_secs(5));
        world.on(notified(status, true));
        assert_eq!(outcome_of(&mut world), expected);
    }
}

/// A chain that gave its REFER up and gave the call back to the agent.
fn with_the_agent_again() -> World {
    let mut policy = policy();
    policy.fallback = vec![Fallback::Agent];
    let mut world = referring(policy);
    world.on(refer_answered(202, false));
    world.after(Duration::from_secs(120));
    assert_eq!(world.call.phase(), Phase::WithAgent);
    world
}

#[test]
fn transfer_that_works_while_the_agent_has_the_call_again_ends_the_call() {
    let mut world = with_the_agent_again();
    let wants = world.on(notified(200, true));
    let bye = "hang up SIP;cause=200";
    assert!(wants.iter().any(|want| want.starts_with(bye)), "{wants:?}");
    assert_eq!(outcome_of(&mut world), "REFER succeeded 200");
}

#[test]
fn late_word_of_an_earlier_refer_decides_nothing_of_the_one_under_way() {
    let mut world = with_the_agent_again();
    world.on(complete());
    world.on(Input::Media(MediaSaid::Drained));
    world.on(Input::Store(StoreReply::Completed));
    world.on(refer_answered(202, false));
    assert_eq!(
        world.on(notified_of(false, 486, true)),
        Vec::<String>::new()
    );
    world.on(notified(200, true));
    world.after(Duration::from_secs(1));
    let record = world.record(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(record.outcome.to_string(), "REFER succeeded 200");
    let earlier = &record.earlier_steps[0];
    assert_eq!(earlier.result, StepResult::TimedOut);
    assert_eq!(earlier.fragments[0].status, 486);
}

#[test]
fn refer_that_is_refused_after_the_callers_bye_is_a_hang_up() {
    for status in [481, 487, 503] {
        let mut world = referring(policy());
        world.on(hung_up());
        assert_eq!(
            world.on(refer_answered(status, false)),
            Vec::<String>::new()
        );
        let outcome = world.outcome(ended(CALLER, Ended::HungUp)).to_string();
        assert_eq!(outcome, "REFER caller_hangup_during_transfer");
    }
}

#[test]
fn refer_of_the_callers_side_is_declined() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let referred = LegEvent::Referred {
        uri: Bytes::from("sip:x@example.com"),
        referred_by: None,
        x_headers: Vec::new(),
    };
    assert_eq!(
        world.on(leg(CALLER, referred)),
        ["AnswerRefer { status: 603 }"]
    );
}
