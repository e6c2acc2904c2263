//! What holds whatever comes.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod common;

use bytes::Bytes;
use common::{World, address, media, rtp};
use media_core::{Input, LegMedia, Output, Side};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Slot,
    Bytes(bool, Vec<u8>),
    Rtp(bool, u8, u16, u32, usize),
    Play(usize),
    Mark,
    Clear,
    Bridge(bool),
    Digits,
    Connect(bool, u16, bool, bool),
    Disconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let payload_type =
        prop_oneof![4 => Just(0_u8), 2 => Just(101), 1 => Just(13), 1 => any::<u8>()];
    prop_oneof![
        8 => Just(Step::Slot),
        2 => (any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(s, b)| Step::Bytes(s, b)),
        6 => (any::<bool>(), payload_type, any::<u16>(), any::<u32>(), 0_usize..1400)
            .prop_map(|(s, p, q, t, l)| Step::Rtp(s, p, q, t, l)),
        4 => (any::<bool>(), 0_u16..40, 0_u32..8000, 0_usize..500)
            .prop_map(|(s, q, t, l)| Step::Rtp(s, 0, q, t, l)),
        3 => (0_usize..3000).prop_map(Step::Play),
        1 => Just(Step::Mark),
        1 => Just(Step::Clear),
        1 => any::<bool>().prop_map(Step::Bridge),
        1 => Just(Step::Digits),
        1 => (any::<bool>(), any::<u16>(), any::<bool>(), any::<bool>())
            .prop_map(|(s, p, a, b)| Step::Connect(s, p, a, b)),
        1 => Just(Step::Disconnect),
    ]
}

const fn side(target: bool) -> Side {
    if target { Side::Target } else { Side::Caller }
}

fn apply(world: &mut World, step: &Step) -> Vec<Output> {
    match step {
        Step::Slot => return world.slot(),
        Step::Bytes(target, data) => world.packet(side(*target), data),
        Step::Rtp(target, payload_type, sequence, timestamp, length) => {
            world.packet(
                side(*target),
                &rtp(*payload_type, *sequence, *timestamp, &vec![5; *length]),
            );
        }
        Step::Play(length) => world.input(Input::Play(Bytes::from(vec![7; *length]))),
        Step::Mark => world.input(Input::Mark("m".into())),
        Step::Clear => world.input(Input::Clear),
        Step::Bridge(bridge) => world.input(Input::Bridge(*bridge)),
        Step::Digits => {
            world.input(Input::SendDtmf {
                side: Side::Caller,
                digits: "12,#".into(),
                duration_ms: 80,
            });
        }
        Step::Connect(target, ptime_ms, send, receive) => {
            let side = side(*target);
            let media = LegMedia {
                ptime_ms: *ptime_ms,
                send: *send,
                receive: *receive,
                ..media(side)
            };
            world.input(Input::Connect { side, media });
        }
        Step::Disconnect => world.input(Input::Disconnect { side: Side::Target }),
    }
    world.outputs()
}

proptest! {
    #[test]
    fn nothing_that_comes_makes_a_session_panic(steps in prop::collection::vec(step(), 0..200)) {
        let mut world = World::with_caller();
        for step in &steps {
            apply(&mut world, step);
        }
    }

    #[test]
    fn every_slot_sends_the_caller_one_packet_and_the_agent_one_frame(
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut world = World::with_caller();
        let mut sequence: Option<u16> = None;
        for step in steps.iter().filter(|step| !matches!(step, Step::Connect(false, ..))) {
            let outputs = apply(&mut world, step);
            let sent: Vec<_> = outputs.iter().filter_map(|output| common::sent(output, Side::Caller)).collect();
            let heard = outputs.iter().filter(|output| matches!(output, Output::Heard { side: Side::Caller, .. }));
            let expected = usize::from(matches!(step, Step::Slot));
            prop_assert_eq!(sent.len(), expected);
            prop_assert_eq!(heard.count(), expected);
            for packet in sent {
                prop_assert!(sequence.is_none_or(|before| packet.sequence == before.wrapping_add(1)));
                prop_assert_eq!(packet.to, address(Side::Caller));
                sequence = Some(packet.sequence);
            }
        }
    }

    #[test]
    fn every_mark_comes_back_once_and_in_order(steps in prop::collection::vec(step(), 0..200)) {
        let mut world = World::with_caller();
        let (mut given, mut back, mut samples) = (0, 0, 0);
        let mut count = |outputs: Vec<Output>| {
            for output in outputs {
                if let Output::MarkPlayed { name, sample, .. } = output {
                    assert_eq!(name, back.to_string());
                    assert!(sample >= samples);
                    (back, samples) = (back + 1, sample);
                }
            }
            back
        };
        for step in &steps {
            if matches!(step, Step::Mark) {
                world.input(Input::Mark(given.to_string()));
                given += 1;
            } else {
                count(apply(&mut world, step));
            }
        }
        world.input(Input::Clear);
        prop_assert_eq!(count(world.outputs()), given);
    }
}
