use std::time::Duration;

use bytes::Bytes;
use media_core::Side;
use sip_core::{Ended, LegEvent};

use super::world::{CALLER, World, ended, facts, leg, policy, port, transfer};
use crate::io::{AgentSaid, Input, MediaSaid, NotClaimed, StoreReply};
use crate::{Outcome, Phase};

#[test]
fn call_is_answered_once_agent_and_port_are_ready_whichever_is_first() {
    for agent_first in [true, false] {
        let mut world = World::claimed(facts(), policy(), transfer(None));
        let (first, second) = if agent_first {
            (Input::Agent(AgentSaid::Connected), port(Side::Caller))
        } else {
            (port(Side::Caller), Input::Agent(AgentSaid::Connected))
        };
        assert_eq!(world.on(first), Vec::<String>::new());
        assert_eq!(
            world.on(second),
            ["accept", "connect Caller", "attach agent"]
        );
        assert_eq!(world.call.phase(), Phase::WithAgent);
    }
}

#[test]
fn ringing_is_signalled_when_the_trunk_wants_it() {
    let mut policy = policy();
    policy.ringing = true;
    let mut world = World::new(facts(), policy);
    let reply = StoreReply::Claimed {
        transfer: transfer(None),
        fence: 5,
    };
    assert_eq!(
        world.on(Input::Store(reply)),
        ["ring 180", "open Caller", "connect agent"]
    );
}

#[test]
fn transfer_that_cannot_be_claimed_is_refused_as_the_table_says() {
    let table = [
        (StoreReply::NotClaimed(NotClaimed::Unknown), "refuse 404"),
        (StoreReply::NotClaimed(NotClaimed::Ongoing), "refuse 486"),
        (StoreReply::NotClaimed(NotClaimed::Over), "refuse 410"),
        (StoreReply::Unavailable, "refuse 503 Retry-After: 5"),
    ];
    for (reply, refusal) in table {
        let mut world = World::new(facts(), policy());
        let wants = world.on(Input::Store(reply));
        assert_eq!(wants, [refusal, "stop agent", "close media"]);
        let status: u16 = refusal[7..10].parse().unwrap();
        let outcome = world.outcome(ended(CALLER, Ended::Refused(status)));
        assert_eq!(outcome, Outcome::Refused(status));
    }
}

#[test]
fn claim_is_undone_before_the_refusal_leaves_when_the_agent_is_not_reached() {
    let mut world = World::claimed(facts(), policy(), transfer(None));
    let wants = world.on(Input::Agent(AgentSaid::NotReached("refused".to_owned())));
    assert_eq!(wants, ["release", "stop agent", "close media"]);
    let wants = world.on(Input::Store(StoreReply::Released));
    assert_eq!(wants[0], "refuse 503");
    assert_eq!(
        world.outcome(ended(CALLER, Ended::Refused(503))),
        Outcome::Refused(503)
    );
}

#[test]
fn agent_that_takes_longer_than_the_connect_timeout_is_not_waited_for() {
    let mut world = World::claimed(facts(), policy(), transfer(None));
    assert_eq!(
        world.after(Duration::from_millis(4_999)),
        Vec::<String>::new()
    );
    assert_eq!(
        world.after(Duration::from_millis(1)),
        ["release", "stop agent", "close media"]
    );
    // The agent that comes after all is sent away.
    assert_eq!(world.on(Input::Agent(AgentSaid::Connected)), ["stop agent"]);
}

#[test]
fn call_without_a_port_is_told_to_come_again() {
    let mut world = World::claimed(facts(), policy(), transfer(None));
    let wants = world.on(Input::Media(MediaSaid::NoPort { side: Side::Caller }));
    assert_eq!(wants, ["release", "stop agent", "close media"]);
    let wants = world.on(Input::Store(StoreReply::Released));
    assert_eq!(wants[0], "refuse 503 Retry-After: 1");
}

#[test]
fn claim_is_undone_when_the_caller_cancels_at_any_moment_before_the_answer() {
    let cancelled = || {
        leg(
            CALLER,
            LegEvent::Cancelled {
                reasons: Vec::new(),
            },
        )
    };
    // While the claim is under way.
    let mut world = World::new(facts(), policy());
    assert_eq!(world.on(cancelled()), Vec::<String>::new());
    let reply = StoreReply::Claimed {
        transfer: transfer(None),
        fence: 5,
    };
    assert_eq!(
        world.on(Input::Store(reply)),
        ["release", "stop agent", "close media"]
    );
    assert_eq!(
        world.on(Input::Store(StoreReply::Released))[0],
        "refuse 487"
    );
    assert_eq!(
        world.outcome(ended(CALLER, Ended::Cancelled)),
        Outcome::Cancelled
    );
    // While the agent is being connected.
    let mut world = World::claimed(facts(), policy(), transfer(None));
    assert_eq!(
        world.on(cancelled()),
        ["release", "stop agent", "close media"]
    );
    assert_eq!(
        world.on(Input::Store(StoreReply::Released))[0],
        "refuse 487"
    );
    assert_eq!(
        world.outcome(ended(CALLER, Ended::Cancelled)),
        Outcome::Cancelled
    );
}

#[test]
fn refusal_leaves_although_the_store_cannot_undo_the_claim() {
    let mut world = World::claimed(facts(), policy(), transfer(None));
    world.on(Input::Agent(AgentSaid::NotReached("down".to_owned())));
    assert_eq!(world.after(Duration::from_secs(3))[0], "refuse 503");
}

#[test]
fn unusable_offer_is_refused_and_the_claim_undone() {
    let mut facts = facts();
    facts.offer = Some(Bytes::from_static(
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n",
    ));
    let mut world = World::claimed(facts, policy(), transfer(None));
    world.on(port(Side::Caller));
    let wants = world.on(Input::Agent(AgentSaid::Connected));
    assert_eq!(wants, ["release", "stop agent", "close media"]);
    assert_eq!(
        world.on(Input::Store(StoreReply::Released))[0],
        "refuse 488"
    );
}

#[test]
fn call_without_an_offer_gets_ours_and_its_answer_comes_in_the_ack() {
    let mut facts = facts();
    facts.offer = None;
    let mut world = World::claimed(facts, policy(), transfer(None));
    world.on(port(Side::Caller));
    let wants = world.on(Input::Agent(AgentSaid::Connected));
    assert_eq!(wants, ["accept", "attach agent"]);
    let answer = Some(Bytes::from_static(super::world::ANSWER.as_bytes()));
    let wants = world.on(leg(CALLER, LegEvent::Confirmed { answer }));
    assert_eq!(wants, ["connect Caller", "watch media 30"]);
}

#[test]
fn missing_answer_in_the_ack_ends_the_call_with_reason_488() {
    let mut facts = facts();
    facts.offer = None;
    let mut world = World::claimed(facts, policy(), transfer(None));
    world.on(port(Side::Caller));
    world.on(Input::Agent(AgentSaid::Connected));
    let wants = world.on(leg(CALLER, LegEvent::Confirmed { answer: None }));
    assert_eq!(wants[0], "store nothing");
    assert_eq!(
        wants[1],
        "hang up SIP;cause=488;text=\"Not Acceptable Here\""
    );
}

#[test]
fn port_that_is_not_to_be_had_after_the_cancel_changes_nothing() {
    let mut world = World::claimed(facts(), policy(), transfer(None));
    world.on(leg(
        CALLER,
        LegEvent::Cancelled {
            reasons: Vec::new(),
        },
    ));
    let late = Input::Media(MediaSaid::NoPort { side: Side::Caller });
    assert_eq!(world.on(late), Vec::<String>::new());
    assert_eq!(
        world.on(Input::Store(StoreReply::Released))[0],
        "refuse 487"
    );
}
