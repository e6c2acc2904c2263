//! Calls that outlive their process: what is kept of them, and how another process ends them.

use std::time::Duration;

use bytes::Bytes;
use media_core::Side;
use sip_core::{Ended, LegEvent};
use timebase::{Now, UnixMillis};

use super::world::{
    ANSWER, CALLER, RETURN_URI, TARGET, World, complete, ended, facts, leg, output, policy, port,
    transfer,
};
use crate::io::{AgentSaid, Input, MediaSaid, Output, StoreReply, StoreRequest};
use crate::transfer::{Checkpoint, ReturnType, Status};
use crate::{Call, Outcome, Phase, Progress, Recovered, Stage};

const LOST: &str = "SIP;cause=500;text=\"node lost\", Q.850;cause=41;text=\"Temporary failure\"";

fn told() -> Checkpoint {
    let transfer_variables = serde_json::json!({"digits": "12"});
    Checkpoint {
        current_task_name: Some("identify".to_owned()),
        transfer_variables: transfer_variables.as_object().cloned().unwrap_or_default(),
        ..Checkpoint::default()
    }
}

fn recovered(return_type: ReturnType, stage: Stage) -> Recovered {
    Recovered {
        transfer: transfer(Some(return_type)),
        fence: 5,
        stage,
        agent: told(),
        target: (stage == Stage::Bridged).then_some(TARGET),
    }
}

/// The call in another process, and the first things that it wants.
fn taken_over(recovered: Recovered) -> (World, Vec<String>) {
    let now = Now::from_millis(1_000);
    let mut world = World {
        call: Call::recovered(now, facts(), policy(), recovered),
        now,
    };
    let wants = world.after(Duration::ZERO);
    (world, wants)
}

fn completed(mut recovered: Recovered, with_output: bool) -> Recovered {
    recovered.transfer.status = Status::Completed;
    recovered.transfer.completed_at = Some(UnixMillis(9));
    recovered.transfer.output = with_output.then(|| *output());
    recovered
}

/// The BYE to the caller, by its reason.
fn bye(wants: &[String]) -> &str {
    let bye = wants.iter().find_map(|want| want.strip_prefix("hang up "));
    bye.unwrap_or_else(|| panic!("no BYE in {wants:?}"))
}

fn offer_answered() -> Input {
    let sdp = Some(Bytes::from_static(ANSWER.as_bytes()));
    leg(CALLER, LegEvent::OfferAnswered { sdp })
}

#[test]
fn return_by_bye_goes_straight_to_the_bye_once_the_result_is_stored() {
    let (mut world, wants) = taken_over(recovered(ReturnType::Bye, Stage::WithAgent));
    assert_eq!(wants, ["store AGENT"]);
    let wants = world.on(Input::Store(StoreReply::Completed));
    assert!(
        bye(&wants).starts_with("SIP;cause=200;text=\"completed\""),
        "{wants:?}"
    );
    let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(
        (outcome.name(), outcome.to_string().as_str()),
        ("node_lost", "BYE succeeded 200")
    );
}

#[test]
fn the_result_has_what_the_agent_had_told_of_and_why() {
    let now = Now::from_millis(1_000);
    let lost = recovered(ReturnType::Bye, Stage::WithAgent);
    let mut call = Call::recovered(now, facts(), policy(), lost);
    let Some(Output::Store(StoreRequest::Complete {
        output: Some(output),
        ..
    })) = call.poll_output()
    else {
        panic!("nothing is stored")
    };
    assert_eq!(output.current_task_name.as_deref(), Some("identify"));
    assert_eq!(output.transfer_variables["digits"], "12");
    assert_eq!(output.transfer_variables["hookFailure"], "node lost");
}

#[test]
fn return_by_refer_comes_after_a_target_refresh() {
    let (mut world, wants) = taken_over(recovered(ReturnType::Refer, Stage::WithAgent));
    assert_eq!(wants, ["store AGENT", "open Caller"]);
    assert_eq!(world.on(port(Side::Caller)), ["offer sendrecv"]);
    assert_eq!(
        world.on(Input::Store(StoreReply::Completed)),
        Vec::<String>::new()
    );
    let wants = world.on(offer_answered());
    assert_eq!(wants[0], "connect Caller");
    assert_eq!(wants.last().unwrap(), &format!("refer {RETURN_URI}"));
    assert_eq!(world.call.phase(), Phase::HandingBack);
}

#[test]
fn a_result_that_is_stored_already_is_handed_back_as_it_is() {
    let lost = completed(recovered(ReturnType::Invite, Stage::HandingBack), true);
    let (mut world, wants) = taken_over(lost);
    assert_eq!(wants, ["open Caller"]);
    world.on(port(Side::Caller));
    let wants = world.on(offer_answered());
    assert!(
        wants.contains(&format!("resolve {RETURN_URI}")),
        "{wants:?}"
    );
}

#[test]
fn peer_that_refuses_the_target_refresh_is_sent_bye_with_the_reason() {
    for refusal in [
        leg(CALLER, LegEvent::OfferRefused { status: 488 }),
        leg(CALLER, LegEvent::OfferAnswered { sdp: None }),
        Input::Media(MediaSaid::NoPort { side: Side::Caller }),
    ] {
        let (mut world, _) = taken_over(recovered(ReturnType::Refer, Stage::WithAgent));
        if !matches!(refusal, Input::Media(_)) {
            world.on(port(Side::Caller));
        }
        world.on(Input::Store(StoreReply::Completed));
        let wants = world.on(refusal);
        assert_eq!(bye(&wants), LOST);
        let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
        assert_eq!(outcome.name(), "node_lost");
    }
}

#[test]
fn neither_a_silent_peer_nor_a_silent_store_keeps_the_caller_waiting() {
    let (mut world, _) = taken_over(recovered(ReturnType::Refer, Stage::WithAgent));
    world.on(port(Side::Caller));
    let wants = world.after(Duration::from_secs(10));
    assert_eq!(bye(&wants), LOST);
}

#[test]
fn dialog_that_the_peer_does_not_know_any_more_ends_the_call() {
    let (mut world, _) = taken_over(recovered(ReturnType::Refer, Stage::WithAgent));
    world.on(port(Side::Caller));
    world.on(Input::Store(StoreReply::Completed));
    let outcome = world.outcome(ended(CALLER, Ended::Gone(481)));
    assert_eq!((outcome.name(), outcome.steps().len()), ("node_lost", 0));
}

#[test]
fn both_sides_of_a_bridged_call_are_sent_bye() {
    let lost = completed(recovered(ReturnType::Invite, Stage::Bridged), true);
    let (mut world, wants) = taken_over(lost);
    assert!(
        wants.contains(&format!("target hang up {LOST}")),
        "{wants:?}"
    );
    assert_eq!(bye(&wants), LOST);
    world.on(ended(TARGET, Ended::ByeAnswered(200)));
    let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(outcome.name(), "node_lost");
}

#[test]
fn refer_that_was_accepted_is_not_made_a_second_time() {
    let lost = completed(recovered(ReturnType::Refer, Stage::Referred), true);
    let (mut world, wants) = taken_over(lost);
    assert!(bye(&wants).starts_with("SIP;cause=200"), "{wants:?}");
    let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(outcome.to_string(), "REFER accepted_unknown");
}

#[test]
fn call_whose_caller_had_hung_up_is_not_handed_back() {
    let lost = completed(recovered(ReturnType::Refer, Stage::HandingBack), false);
    let (mut world, wants) = taken_over(lost);
    assert_eq!(bye(&wants), LOST);
    let outcome = world.outcome(ended(CALLER, Ended::Gone(481)));
    assert_eq!(outcome.name(), "node_lost");
}

#[test]
fn process_that_was_taken_for_dead_lets_go_of_its_call_and_writes_nothing() {
    let mut world = World::talking(policy(), ReturnType::Refer);
    world.on(complete());
    world.on(Input::Media(MediaSaid::Drained));
    let wants = world.on(Input::Store(StoreReply::TakenOver));
    assert_eq!(bye(&wants), LOST);
    assert!(
        !wants
            .iter()
            .any(|want| want.starts_with("store") || want.starts_with("refer"))
    );
    let mut world = World::talking(policy(), ReturnType::Refer);
    assert!(
        !world
            .on(Input::TakenOver)
            .iter()
            .any(|want| want.starts_with("store"))
    );
    let outcome = world.outcome(ended(CALLER, Ended::Gone(481)));
    assert_eq!(outcome, Outcome::TakenOver);
}

#[test]
fn what_is_kept_changes_with_the_agents_news_the_dialog_and_the_stage() {
    let mut world = World::claimed(facts(), policy(), transfer(Some(ReturnType::Invite)));
    assert_eq!(world.call.progress(), None, "nothing before the answer");
    world.on(port(Side::Caller));
    world.on(Input::Agent(AgentSaid::Connected));
    let answered = world.call.progress().unwrap();
    let expected = Progress {
        fence: 5,
        stage: Stage::WithAgent,
        agent: Checkpoint::default(),
        caller: CALLER,
        target: None,
        offers: 0,
    };
    assert_eq!(answered, expected);
    world.on(leg(CALLER, LegEvent::Confirmed { answer: None }));
    world.on(Input::Agent(AgentSaid::Update(told())));
    let updated = world.call.progress().unwrap();
    assert_eq!((&updated.agent, updated.offers), (&told(), 1));
    world.on(complete());
    assert_eq!(
        world.call.progress().unwrap().stage,
        Stage::WithAgent,
        "its last words are played"
    );
    let (referring, _) = World::handing_back(policy(), ReturnType::Refer);
    assert_eq!(referring.call.progress().unwrap().stage, Stage::Referred);
    let bridged = World::bridged().call.progress().unwrap();
    assert_eq!(
        (bridged.stage, bridged.target),
        (Stage::Bridged, Some(TARGET))
    );
}
