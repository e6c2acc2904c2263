use media_core::Side;
use sip_core::{Ended, LegEvent};

use super::world::{CALLER, TARGET, World, ended, leg, policy};
use crate::io::{AgentSaid, Input, MediaSaid};
use crate::transfer::ReturnType;

fn by_info(of: sip_core::LegId, key: char) -> Input {
    leg(
        of,
        LegEvent::Pressed {
            key,
            duration_ms: Some(80),
        },
    )
}

fn pressed(side: Side, key: char) -> Input {
    Input::Media(MediaSaid::Pressed {
        side,
        key,
        duration_ms: 80,
    })
}

#[test]
fn key_by_info_goes_the_way_of_all_keys() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    assert_eq!(world.on(by_info(CALLER, '5')), ["pressed Caller 5"]);
    assert!(world.on(pressed(Side::Caller, '5')).is_empty());
}

/// The caller's leg takes telephone events, the target's does not.
#[test]
fn bridged_leg_without_telephone_events_gets_keys_by_info() {
    let mut world = World::bridged();
    assert_eq!(world.on(by_info(TARGET, '7')), ["pressed Target 7"]);
    assert!(world.on(pressed(Side::Target, '7')).is_empty());
    assert_eq!(
        world.on(pressed(Side::Caller, '1')),
        ["target Press { key: '1', duration_ms: 80 }"]
    );
    world.on(ended(CALLER, Ended::HungUp));
    assert!(world.on(pressed(Side::Caller, '1')).is_empty());
}

#[test]
fn keys_of_the_agent_are_left_to_the_media_where_the_caller_takes_telephone_events() {
    let mut world = World::talking(policy(), ReturnType::Bye);
    let press = Input::Agent(AgentSaid::Press {
        keys: "12,3".to_owned(),
        duration_ms: 100,
    });
    assert!(world.on(press).is_empty());
}
