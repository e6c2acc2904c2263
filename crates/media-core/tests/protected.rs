//! SRTP and symmetric RTP of a session: what comes through, and what strangers cannot do.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod common;

use bytes::Bytes;
use common::{World, address, media, rtp, speech};
use media_core::{Control, Input, LegMedia, MasterKey, Output, Protection, Side, Suite};
use std::net::SocketAddr;

fn protection(suite: Suite, ours: u8, theirs: u8) -> Protection {
    Protection {
        suite,
        ours: MasterKey::new(&[ours; 46]),
        theirs: MasterKey::new(&[theirs; 46]),
    }
}

fn protected(suite: Suite, ours: u8, theirs: u8) -> LegMedia {
    LegMedia {
        protection: Some(protection(suite, ours, theirs)),
        control: Control {
            to: Some(address(Side::Caller)),
            muxed: true,
            voip_metrics: true,
        },
        ..media(Side::Caller)
    }
}

fn connect(world: &mut World, media: LegMedia) {
    let side = Side::Caller;
    world.input(Input::Connect { side, media });
}

/// A slot of one end: its packets go to the other, changed on the way; gives what it heard.
fn slot(from: &mut World, to: &mut World, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut heard = Vec::new();
    for output in from.slot() {
        match output {
            Output::Rtp { data, .. } | Output::Rtcp { data, .. } => {
                let mut data = data.to_vec();
                change(&mut data);
                to.packet(Side::Caller, &data);
            }
            Output::Heard { frame, .. } => heard.extend(frame),
            _ => {}
        }
    }
    heard
}

fn ends(suite: Suite) -> [World; 2] {
    let mut ends = [World::new(), World::new()];
    connect(&mut ends[0], protected(suite, 1, 2));
    connect(&mut ends[1], protected(suite, 2, 1));
    ends
}

#[test]
fn voice_and_reports_come_through_every_suite() {
    for suite in [
        Suite::AesCm128HmacSha1Tag80,
        Suite::AesCm128HmacSha1Tag32,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ] {
        let [mut one, mut two] = ends(suite);
        let said = speech(160 * 500);
        one.input(Input::Play(Bytes::from(said.clone())));
        let mut heard = Vec::new();
        for _ in 0..700 {
            slot(&mut one, &mut two, |_| {});
            heard.extend(slot(&mut two, &mut one, |_| {}));
        }
        let begin = heard.windows(160).position(|frame| frame == &said[..160]);
        let heard = &heard[begin.unwrap()..];
        assert_eq!(heard[..said.len()], said, "{suite:?}");
        let figures = two.session.figures(Side::Caller);
        assert_eq!((figures.unauthentic, figures.rtcp_refused), (0, 0));
        assert!(
            figures.rtcp_in >= 1 && figures.remote.is_some(),
            "{suite:?}"
        );
    }
}

#[test]
fn packets_that_are_not_authentic_are_counted_and_the_call_goes_on() {
    let [mut one, mut two] = ends(Suite::AesCm128HmacSha1Tag80);
    for _ in 0..50 {
        slot(&mut one, &mut two, |data| *data.last_mut().unwrap() ^= 1);
        two.packet(Side::Caller, &rtp(0, 1, 160, &[0x55; 160]));
    }
    let figures = two.session.figures(Side::Caller);
    assert_eq!((figures.unauthentic, figures.packets_in), (100, 0));
    for _ in 0..50 {
        slot(&mut one, &mut two, |_| {});
    }
    assert_eq!(two.session.figures(Side::Caller).packets_in, 50);
    assert_eq!(two.sent(Side::Caller, 5).len(), 5);
}

#[test]
fn new_keys_of_a_re_invite_take_over_without_a_gap() {
    let [mut one, mut two] = ends(Suite::AesCm128HmacSha1Tag80);
    let run = |one: &mut World, two: &mut World| {
        for _ in 0..50 {
            slot(one, two, |_| {});
            slot(two, one, |_| {});
        }
    };
    run(&mut one, &mut two);
    connect(&mut one, protected(Suite::AeadAes128Gcm, 3, 4));
    connect(&mut two, protected(Suite::AeadAes128Gcm, 4, 3));
    run(&mut one, &mut two);
    for end in [&one, &two] {
        let figures = end.session.figures(Side::Caller);
        assert_eq!((figures.unauthentic, figures.lost), (0, 0));
        assert_eq!(figures.packets_in, 100);
    }
}

/// The caller behind its NAT, and somebody who guessed the port.
const NAT: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 5)),
    33_333,
);
const STRANGER: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66)),
    4444,
);

fn latching() -> World {
    let mut world = World::new();
    let media = LegMedia {
        latch: true,
        ..media(Side::Caller)
    };
    connect(&mut world, media);
    world
}

fn come(world: &mut World, from: SocketAddr, sequence: u16, byte: u8) {
    let data = rtp(0, sequence, u32::from(sequence) * 160, &[byte; 160]);
    world.input(Input::Packet {
        side: Side::Caller,
        from,
        data: &data,
    });
}

#[test]
fn caller_behind_a_nat_is_sent_to_where_its_packets_come_from() {
    let mut world = latching();
    assert_eq!(world.sent(Side::Caller, 1)[0].to, address(Side::Caller));
    for sequence in 0..10 {
        come(&mut world, NAT, sequence, 0x22);
        world.slot();
    }
    assert_eq!(world.sent(Side::Caller, 1)[0].to, NAT);
    assert!(world.session.figures(Side::Caller).packets_in >= 8);
}

#[test]
fn stranger_is_neither_heard_nor_sent_to_however_much_it_sends() {
    let mut world = latching();
    for sequence in 0..5 {
        come(&mut world, NAT, sequence, 0x22);
        world.slot();
    }
    let before = world.session.figures(Side::Caller).packets_in;
    for sequence in 5..200 {
        for noise in 0..3 {
            come(&mut world, STRANGER, sequence * 3 + noise, 0x77);
        }
        let outputs = world.slot();
        for output in &outputs {
            if let Output::Heard { frame, .. } = output {
                assert!(!frame.contains(&0x77), "the stranger is heard");
            }
            if let Some(sent) = common::sent(output, Side::Caller) {
                assert_eq!(sent.to, NAT, "the stranger gets the audio");
            }
        }
    }
    let figures = world.session.figures(Side::Caller);
    assert_eq!((figures.packets_in, figures.foreign), (before, 2 + 195 * 3));
}

#[test]
fn flood_from_the_right_address_is_cut() {
    let mut world = World::with_caller();
    for sequence in 0..2000_u16 {
        world.packet(
            Side::Caller,
            &rtp(0, sequence, u32::from(sequence) * 160, &[1; 160]),
        );
    }
    let figures = world.session.figures(Side::Caller);
    assert_eq!((figures.packets_in, figures.excess), (150, 1850));
}
