//! Offers in provisional responses, later offers, and sessions that end for them.

use bytes::Bytes;
use media_core::Side;
use sip_core::{Ended, LegEvent, ReasonValue, Reliability};

use super::world::{ANSWER, CALLER, World, ended, facts, leg, policy, port, transfer};
use crate::io::{AgentSaid, Input, StoreReply};
use crate::transfer::ReturnType;
use crate::{Facts, Outcome, Phase};

const NOTHING: [&str; 0] = [];

/// A call without offer whose sender insists on reliable provisional responses.
fn late() -> Facts {
    Facts {
        offer: None,
        reliability: Reliability::Required,
        ..facts()
    }
}

fn offer_answered(sdp: Option<&'static str>) -> Input {
    let sdp = sdp.map(Bytes::from);
    leg(CALLER, LegEvent::OfferAnswered { sdp })
}

#[test]
fn offer_goes_in_the_first_reliable_response_and_the_200_waits_for_its_answer() {
    let mut world = World::claimed(late(), policy(), transfer(None));
    assert_eq!(world.on(port(Side::Caller)), ["ring 183 with SDP"]);
    assert_eq!(world.on(Input::Agent(AgentSaid::Connected)), NOTHING);
    assert_eq!(
        world.on(offer_answered(Some(ANSWER))),
        ["accept without SDP", "connect Caller", "attach agent"]
    );
    assert_eq!(
        world.on(leg(CALLER, LegEvent::Confirmed { answer: None })),
        ["watch media 30"]
    );
    assert_eq!(world.call.phase(), Phase::WithAgent);
}

#[test]
fn ringing_carries_the_offer_where_it_must() {
    let mut policy = policy();
    policy.ringing = true;
    let mut world = World::claimed(late(), policy, transfer(None));
    assert_eq!(world.on(port(Side::Caller)), ["ring 180 with SDP"]);
}

#[test]
fn prack_without_a_usable_answer_is_followed_by_488_once_the_claim_is_undone() {
    for answer in [None, Some("v=0\r\n")] {
        let mut world = World::claimed(late(), policy(), transfer(None));
        world.on(port(Side::Caller));
        let wants = world.on(offer_answered(answer));
        assert_eq!(wants, ["release", "stop agent", "close media"]);
        assert_eq!(
            world.on(Input::Store(StoreReply::Released))[0],
            "refuse 488"
        );
    }
}

#[test]
fn call_whose_provisional_response_is_never_acknowledged_is_undone_and_refused() {
    let mut world = World::claimed(late(), policy(), transfer(None));
    world.on(port(Side::Caller));
    let wants = world.on(leg(CALLER, LegEvent::NoPrack));
    assert_eq!(wants, ["release", "stop agent", "close media"]);
    assert_eq!(
        world.on(Input::Store(StoreReply::Released))[0],
        "refuse 504"
    );
    let outcome = world.outcome(ended(CALLER, Ended::Refused(504)));
    assert_eq!(outcome, Outcome::Refused(504));
}

#[test]
fn unusable_answer_to_a_later_offer_of_ours_ends_the_call_with_488() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let wants = world.on(leg(CALLER, LegEvent::Reoffered { sdp: None }));
    assert!(wants[0].starts_with("answer"), "{wants:?}");
    let wants = world.on(offer_answered(None));
    let bye = wants.iter().find(|want| want.contains("SIP;cause=488"));
    assert!(bye.is_some(), "{wants:?}");
}

#[test]
fn session_that_is_not_refreshed_ends_the_call() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    world.on(ended(CALLER, Ended::Expired));
    let outcome = world.outcome(Input::Store(StoreReply::Completed));
    assert_eq!(outcome, Outcome::SessionExpired);
}

#[test]
fn target_that_rings_is_cancelled_with_the_callers_reason() {
    let mut world = World::dialing(policy());
    let reasons = vec![ReasonValue::q850(16, "Normal call clearing")];
    let wants = world.on(leg(CALLER, LegEvent::HungUp { reasons }));
    let cancel = wants.iter().find(|want| want.starts_with("target "));
    assert!(
        cancel.is_some_and(|want| want.contains("Q.850;cause=16")),
        "{wants:?}"
    );
}
