use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sip_core::{Ended, LegEvent};

use media_core::Side;

use super::world::{
    CALLER, OFFER, World, complete, ended, facts, leg, output, policy, port, transfer,
};
use crate::io::{AgentSaid, Input, MediaSaid, Output, StoreReply, StoreRequest};
use crate::transfer::{Checkpoint, OutputContext, ReturnType, TransferType};
use crate::{Outcome, Phase};

fn hung_up() -> Input {
    leg(
        CALLER,
        LegEvent::HungUp {
            reasons: Vec::new(),
        },
    )
}

fn lost(reason: &str) -> Input {
    Input::Agent(AgentSaid::Closed {
        clean: false,
        reason: reason.to_owned(),
    })
}

fn stored_output(world: &mut World, input: Input) -> Box<OutputContext> {
    world.call.handle_input(world.now, input);
    let outputs = std::iter::from_fn(|| world.call.poll_output());
    let stored = outputs.filter_map(|wanted| {
        if let Output::Store(StoreRequest::Complete { output, .. }) = wanted {
            output
        } else {
            None
        }
    });
    stored.last().expect("a completion with an output")
}

#[test]
fn caller_hanging_up_completes_the_transfer_without_output_and_returns_nothing() {
    let mut world = World::talking(policy(), ReturnType::Refer);
    let wants = world.on(hung_up());
    assert_eq!(
        wants,
        ["store nothing", "hang up", "stop agent", "close media"]
    );
    assert_eq!(world.on(ended(CALLER, Ended::HungUp)), Vec::<String>::new());
    let outcome = world.outcome(Input::Store(StoreReply::Completed));
    assert_eq!(outcome, Outcome::CallerHungUp);
}

#[test]
fn answer_that_nobody_acknowledges_ends_the_call_without_output() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let wants = world.on(ended(CALLER, Ended::NoAck));
    assert_eq!(wants, ["store nothing", "stop agent", "close media"]);
    assert_eq!(
        world.outcome(Input::Store(StoreReply::Completed)),
        Outcome::NoAck
    );
}

#[test]
fn hand_back_waits_for_the_last_words_and_for_the_store() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    assert_eq!(
        world.on(complete()),
        ["tell agent accepted", "drain", "store SYSTEM"]
    );
    assert_eq!(
        world.on(Input::Store(StoreReply::Completed)),
        Vec::<String>::new()
    );
    assert_eq!(world.call.phase(), Phase::WithAgent);
    let wants = world.on(Input::Media(MediaSaid::Drained));
    assert_eq!(wants[0], "stop agent");
    assert!(wants[1].starts_with("hang up SIP;cause=200;text=\"completed\", Q.850;cause=16"));
}

#[test]
fn last_words_are_cut_after_ten_seconds() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    world.on(complete());
    world.on(Input::Store(StoreReply::Completed));
    assert_eq!(
        world.after(Duration::from_millis(9_999)),
        Vec::<String>::new()
    );
    assert!(!world.after(Duration::from_millis(1)).is_empty());
    assert_eq!(world.call.phase(), Phase::HandingBack);
}

#[test]
fn completion_that_asks_for_now_does_not_wait_for_the_queue() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let now = AgentSaid::Complete {
        id: None,
        output: Ok(output()),
        drain: false,
    };
    assert_eq!(
        world.on(Input::Agent(now)),
        ["tell agent accepted", "store SYSTEM"]
    );
    assert_eq!(
        world.on(Input::Store(StoreReply::Completed))[0],
        "stop agent"
    );
}

#[test]
fn second_completion_is_refused_and_a_bad_one_may_be_tried_again() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let bad = Input::Agent(AgentSaid::Complete {
        id: None,
        output: Err("transferType: must be AGENT or SYSTEM".to_owned()),
        drain: true,
    });
    assert_eq!(
        world.on(bad),
        ["tell agent transferType: must be AGENT or SYSTEM"]
    );
    assert_eq!(world.on(complete())[0], "tell agent accepted");
    assert_eq!(world.on(complete()), ["tell agent already completed"]);
}

#[test]
fn caller_hanging_up_during_the_last_words_keeps_the_result_and_returns_nothing() {
    let mut world = World::talking(policy(), ReturnType::Refer);
    world.on(complete());
    assert_eq!(
        world.on(hung_up()),
        ["hang up", "stop agent", "close media"]
    );
    world.on(ended(CALLER, Ended::HungUp));
    assert_eq!(
        world.outcome(Input::Store(StoreReply::Completed)),
        Outcome::CallerHungUp
    );
}

#[test]
fn caller_who_hangs_up_between_completion_and_refer_is_not_referred() {
    // before the last words are over, before the result is written, and between these two
    for steps in [
        vec![],
        vec![Input::Media(MediaSaid::Drained)],
        vec![Input::Store(StoreReply::Completed)],
    ] {
        let mut world = World::talking(policy(), ReturnType::Refer);
        world.on(complete());
        let stored = matches!(steps[..], [Input::Store(_)]);
        steps.into_iter().for_each(|step| drop(world.on(step)));
        let mut wants = world.on(hung_up());
        if !stored {
            wants.extend(world.on(Input::Store(StoreReply::Completed)));
        }
        assert!(wants.contains(&"stop agent".to_owned()), "{wants:?}");
        assert!(!wants.iter().any(|it| it.starts_with("refer")), "{wants:?}");
        let record = world.record(ended(CALLER, Ended::HungUp));
        assert_eq!(record.results.len(), 1, "the result stays");
    }
}

#[test]
fn completion_after_the_hang_up_is_not_acted_on() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    world.on(hung_up());
    assert_eq!(
        world.on(complete()),
        ["tell agent the agent does not have the call"]
    );
    world.on(Input::Store(StoreReply::Completed));
    let record = world.record(ended(CALLER, Ended::HungUp));
    let told = |what: &str| record.timeline.iter().any(|moment| moment.what == what);
    assert!(told("completion too late"), "{:?}", record.timeline);
    assert!(record.results.is_empty(), "{:?}", record.results);
}

#[test]
fn lost_agent_that_comes_back_goes_on() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    assert_eq!(world.on(lost("reset")), ["comfort", "connect agent again"]);
    assert_eq!(
        world.after(Duration::from_millis(4_900)),
        Vec::<String>::new()
    );
    assert_eq!(
        world.on(Input::Agent(AgentSaid::Connected)),
        ["attach agent"]
    );
    assert_eq!(world.after(Duration::from_secs(60)), Vec::<String>::new());
    assert_eq!(world.call.phase(), Phase::WithAgent);
}

#[test]
fn agent_that_stays_lost_is_handed_back_to_a_human_with_its_last_checkpoint() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let transfer_variables = json!({"amount": 12}).as_object().cloned().unwrap();
    world.on(Input::Agent(AgentSaid::Update(Checkpoint {
        current_task_name: Some("refund".to_owned()),
        transfer_variables,
        ..Checkpoint::default()
    })));
    world.on(lost("reset"));
    let refused = Input::Agent(AgentSaid::NotReached("refused".to_owned()));
    let output = stored_output(&mut world, refused);
    assert_eq!(output.transfer_type, TransferType::Agent);
    assert_eq!(output.current_task_name.as_deref(), Some("refund"));
    let variables = serde_json::to_value(&output.transfer_variables).unwrap();
    assert_eq!(variables, json!({"amount": 12, "hookFailure": "refused"}));
}

#[test]
fn agent_lost_before_any_checkpoint_is_handed_back_with_the_inputs_task() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    world.on(lost("reset"));
    let wants = world.after(Duration::from_secs(5));
    assert_eq!(wants, ["store AGENT"]);
    assert_eq!(
        world.on(Input::Store(StoreReply::Completed))[0],
        "stop agent"
    );
}

#[test]
fn agent_that_closes_normally_without_completing_goes_by_the_configured_default() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let closed = Input::Agent(AgentSaid::Closed {
        clean: true,
        reason: "1000".to_owned(),
    });
    let output = stored_output(&mut world, closed);
    assert_eq!(output.transfer_type, TransferType::System);
    assert_eq!(output.current_task_name.as_deref(), Some("billing"));
    assert!(output.transfer_variables.is_empty());
}

#[test]
fn call_longer_than_the_limit_is_handed_back_like_one_whose_agent_died() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    assert_eq!(world.after(Duration::from_secs(4 * 3600)), ["store AGENT"]);
    assert_eq!(
        world.call.poll_timeout(),
        None,
        "only the store is waited for"
    );
}

#[test]
fn silence_ends_the_call_as_if_the_caller_had_hung_up() {
    let mut world = World::talking(policy(), ReturnType::Refer);
    let wants = world.on(Input::Media(MediaSaid::Silent { side: Side::Caller }));
    assert_eq!(wants[0], "store nothing");
    assert!(wants[1].starts_with("hang up SIP;cause=408;text=\"no media\""));
    world.on(Input::Store(StoreReply::Completed));
    let outcome = world.outcome(ended(CALLER, Ended::ByeAnswered(200)));
    assert_eq!(outcome, Outcome::MediaTimeout);
}

#[test]
fn hold_is_answered_from_the_offer_and_silence_then_means_nothing() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let mut reoffer = |direction: &str| {
        let offer = format!("{OFFER}a={direction}\r\n").replace("sbc 1 1", "sbc 1 2");
        world.on(leg(
            CALLER,
            LegEvent::Reoffered {
                sdp: Some(offer.into()),
            },
        ))
    };
    let held = ["answer recvonly", "connect Caller", "do not watch media"];
    assert_eq!(reoffer("sendonly"), held);
    assert_eq!(reoffer("inactive")[0], "answer inactive");
    let resumed = ["answer sendrecv", "connect Caller", "watch media 30"];
    assert_eq!(reoffer("sendrecv"), resumed);
}

#[test]
fn unusable_reoffer_is_refused_and_the_call_goes_on() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let video = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=video 4000 RTP/AVP 96\r\n";
    let sdp = Some(Bytes::from_static(video.as_bytes()));
    let wants = world.on(leg(CALLER, LegEvent::Reoffered { sdp }));
    assert_eq!(wants, ["refuse offer 488"]);
    assert_eq!(world.call.phase(), Phase::WithAgent);
}

#[test]
fn operators_hang_up_ends_the_call_once() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let wants = world.on(Input::HangUp);
    assert_eq!(
        wants[1],
        "hang up Q.850;cause=31;text=\"ended by operator\""
    );
    assert_eq!(world.on(Input::HangUp), Vec::<String>::new());
    assert_eq!(world.on(hung_up()), Vec::<String>::new());
    world.on(Input::Store(StoreReply::Completed));
    assert_eq!(
        world.outcome(ended(CALLER, Ended::HungUp)),
        Outcome::HungUpByOperator
    );
}

#[test]
fn record_is_made_although_a_leg_never_ends() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    world.on(Input::HangUp);
    assert_eq!(
        world.after(Duration::from_secs(40)),
        ["ended: operator_hangup"]
    );
}

#[test]
fn result_that_comes_before_the_ack_waits_for_it() {
    let mut world = World::claimed(facts(), policy(), transfer(Some(ReturnType::Bye)));
    world.on(port(Side::Caller));
    world.on(Input::Agent(AgentSaid::Connected));
    assert_eq!(world.on(complete()), ["tell agent accepted", "drain"]);
    world.on(Input::Media(MediaSaid::Drained));
    let confirmed = LegEvent::Confirmed { answer: None };
    let wants = world.on(leg(CALLER, confirmed));
    assert_eq!(wants, ["watch media 30", "store SYSTEM"]);
    assert_eq!(
        world.on(Input::Store(StoreReply::Completed))[0],
        "stop agent"
    );
}

#[test]
fn call_that_is_never_acknowledged_has_no_result_although_the_agent_completed() {
    let mut world = World::claimed(facts(), policy(), transfer(Some(ReturnType::Bye)));
    world.on(port(Side::Caller));
    world.on(Input::Agent(AgentSaid::Connected));
    world.on(complete());
    world.on(Input::Media(MediaSaid::Drained));
    let wants = world.on(ended(CALLER, Ended::NoAck));
    assert_eq!(wants, ["store nothing", "stop agent", "close media"]);
    assert_eq!(
        world.outcome(Input::Store(StoreReply::Completed)),
        Outcome::NoAck
    );
}

#[test]
fn agent_that_stalls_does_not_leave_the_caller_with_a_dead_line() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    assert_eq!(world.on(Input::Agent(AgentSaid::Stalled)), ["comfort"]);
    assert_eq!(world.call.phase(), Phase::WithAgent);
    world.on(complete());
    assert_eq!(
        world.on(Input::Agent(AgentSaid::Stalled)),
        Vec::<String>::new()
    );
}

#[test]
fn agent_that_ends_the_call_beside_its_link_is_drained_and_its_close_changes_nothing() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let wants = world.on(Input::Agent(AgentSaid::HungUp));
    assert_eq!(wants, ["drain", "store SYSTEM"]);
    let closed = Input::Agent(AgentSaid::Closed {
        clean: true,
        reason: String::new(),
    });
    assert_eq!(world.on(closed), Vec::<String>::new());
    assert_eq!(world.on(complete()), ["tell agent already completed"]);
}

#[test]
fn completion_for_an_agent_that_is_lost_counts_and_a_late_reconnection_is_stopped() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    world.on(lost("reset"));
    assert_eq!(
        world.on(complete()),
        ["tell agent accepted", "drain", "store SYSTEM"]
    );
    assert_eq!(world.on(Input::Agent(AgentSaid::Connected)), ["stop agent"]);
}

#[test]
fn call_is_answered_before_its_agent_where_peers_cannot_wait() {
    let mut policy = policy();
    policy.answer_first = true;
    let mut world = World::claimed(facts(), policy, transfer(Some(ReturnType::Bye)));
    assert_eq!(
        world.on(port(Side::Caller)),
        ["accept", "connect Caller", "comfort"]
    );
    world.on(leg(CALLER, LegEvent::Confirmed { answer: None }));
    assert_eq!(
        world.on(Input::Agent(AgentSaid::Connected)),
        ["attach agent"]
    );
    assert_eq!(world.call.phase(), Phase::WithAgent);
}

#[test]
fn call_answered_before_its_agent_is_handed_back_when_that_is_not_reached() {
    let mut policy = policy();
    policy.answer_first = true;
    let mut world = World::claimed(facts(), policy, transfer(Some(ReturnType::Bye)));
    world.on(port(Side::Caller));
    world.on(leg(CALLER, LegEvent::Confirmed { answer: None }));
    let refused = Input::Agent(AgentSaid::NotReached("refused".to_owned()));
    let output = stored_output(&mut world, refused);
    assert_eq!(output.transfer_type, TransferType::Agent);
    assert_eq!(output.transfer_variables["hookFailure"], json!("refused"));
}

#[test]
fn call_that_the_agent_refuses_is_refused_with_its_status_after_the_claim_is_undone() {
    let mut world = World::claimed(facts(), policy(), transfer(None));
    let wants = world.on(Input::Agent(AgentSaid::Refused(486)));
    assert!(wants.contains(&"release".to_owned()), "{wants:?}");
    let wants = world.on(Input::Store(StoreReply::Released));
    assert_eq!(wants[0], "refuse 486");
}
