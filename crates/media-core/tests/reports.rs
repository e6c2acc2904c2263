//! RTCP of a session, and its figures, on virtual time.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod common;

use common::{World, address, media, rtp, speech};
use media_core::{Control, Input, LegMedia, Output, Side};
use std::net::SocketAddr;

/// Where the caller takes RTCP.
const CONTROL: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)),
    4001,
);

fn with_control(muxed: bool, voip_metrics: bool) -> LegMedia {
    let to = if muxed {
        address(Side::Caller)
    } else {
        CONTROL
    };
    LegMedia {
        control: Control {
            to: Some(to),
            muxed,
            voip_metrics,
        },
        ..media(Side::Caller)
    }
}

fn world(muxed: bool, voip_metrics: bool) -> World {
    let mut world = World::new();
    world.input(Input::Connect {
        side: Side::Caller,
        media: with_control(muxed, voip_metrics),
    });
    world
}

fn reports(outputs: Vec<Output>) -> Vec<(Vec<u8>, SocketAddr, bool)> {
    let report = |output| match output {
        Output::Rtcp {
            data, to, muxed, ..
        } => Some((data.to_vec(), to, muxed)),
        _ => None,
    };
    outputs.into_iter().filter_map(report).collect()
}

/// Runs for a time with a packet in every slot but each tenth; gives the reports.
fn run(world: &mut World, seconds: u64) -> Vec<(u64, Vec<u8>, SocketAddr, bool)> {
    let said = speech(160 * 50);
    let mut all = Vec::new();
    let end = world.millis + seconds * 1000;
    while world.millis < end {
        let number = world.millis / 20;
        if number % 10 != 9 {
            let at = (number % 50) as usize * 160;
            let packet = rtp(0, number as u16, number as u32 * 160, &said[at..at + 160]);
            world.packet(Side::Caller, &packet);
        }
        let outputs = world.slot();
        let millis = world.millis;
        all.extend(
            reports(outputs)
                .into_iter()
                .map(|(d, t, m)| (millis, d, t, m)),
        );
    }
    all
}

fn word(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(data[at..at + 4].try_into().unwrap())
}

#[test]
fn sender_reports_with_a_block_and_a_name_go_to_the_port_for_rtcp() {
    let mut world = world(false, false);
    let all = run(&mut world, 60);
    assert!((9..=16).contains(&all.len()), "{}", all.len());
    let (at, data, to, muxed) = &all[all.len() - 1];
    assert_eq!((*to, *muxed), (CONTROL, false));
    assert_eq!((data[0], data[1], word(data, 28)), (0x81, 200, 7));
    assert_eq!(word(data, 20) as u64, at / 20, "packets sent");
    assert_eq!(word(data, 24), word(data, 20) * 160, "octets sent");
    assert_eq!(
        u64::from(word(data, 8)),
        at / 1000,
        "seconds since the origin"
    );
    let lost = world.session.figures(Side::Caller).lost;
    let in_report = u64::from(word(data, 32) & 0xFF_FFFF);
    assert!(lost.abs_diff(in_report) <= 60, "{lost} {in_report}");
    assert!(
        (20..=30).contains(&data[32]),
        "a tenth of 256: {}",
        data[32]
    );
    assert_eq!(data[53], 202, "and a description");
    assert_eq!(
        world.session.figures(Side::Caller).rtcp_out,
        all.len() as u64
    );
}

#[test]
fn peer_that_asks_for_voip_metrics_gets_them() {
    let all = run(&mut world(false, true), 60);
    let data = &all[all.len() - 1].1;
    let at = data.len() - 44;
    assert_eq!((data[at + 1], data[at + 8]), (207, 7));
    assert_eq!(word(data, at + 12), 7, "its source");
    assert!(
        (20..=27).contains(&data[at + 16]),
        "loss rate {}",
        data[at + 16]
    );
    let opinion = data[at + 34];
    assert!((30..=40).contains(&opinion), "MOS times ten: {opinion}");
    let level = data[at + 28].cast_signed();
    assert!((-30..=-5).contains(&level), "{level} dBm0");
}

#[test]
fn muxed_reports_leave_from_the_port_of_rtp_and_come_in_there() {
    let mut world = world(true, false);
    let all = run(&mut world, 10);
    let (at, data, to, muxed) = &all[0];
    assert_eq!((*to, *muxed), (address(Side::Caller), true));
    // the peer answers 100 ms later; 60 ms of that were its own
    let ours = word(data, 4);
    let middle = word(data, 8) << 16 | word(data, 12) >> 16;
    let mut answer = vec![0x81, 201, 0, 7, 0, 0, 0, 7];
    answer.extend(ours.to_be_bytes());
    answer.extend([51, 0, 0, 25]);
    answer.extend(1000_u32.to_be_bytes());
    answer.extend(96_u32.to_be_bytes());
    answer.extend(middle.to_be_bytes());
    answer.extend((65_536_u32 * 60 / 1000).to_be_bytes());
    world.millis = world.millis.max(*at);
    let late = u32::try_from(world.millis - at).unwrap();
    let delay = 65_536_u32 / 1000 * 60 + 65_536 * (late.saturating_sub(100)) / 1000;
    answer.truncate(28);
    answer.extend(delay.to_be_bytes());
    world.packet(Side::Caller, &answer);
    let figures = world.session.figures(Side::Caller);
    let trip = figures.round_trip_ms.unwrap();
    assert!((30.0..50.0).contains(&trip), "{trip}");
    let remote = figures.remote.unwrap();
    assert_eq!((remote.lost, remote.highest), (25, 1000));
    assert!((remote.jitter_ms - 12.0).abs() < 0.01);
    assert_eq!(figures.rtcp_in, 1);
    assert!(world.session.last_control(Side::Caller).is_some());
}

#[test]
fn broken_and_foreign_rtcp_is_counted_and_changes_nothing() {
    let mut world = world(false, false);
    run(&mut world, 5);
    let stranger: SocketAddr = ([203, 0, 113, 9], 4001).into();
    let good = [0x80, 201, 0, 1, 0, 0, 0, 9];
    for (from, data) in [
        (stranger, &good[..]),
        (CONTROL, &[0x80, 203, 0, 1, 0, 0, 0, 9]),
        (CONTROL, &[0x80, 201, 0, 200, 0, 0, 0, 9]),
        (CONTROL, &[]),
    ] {
        let side = Side::Caller;
        world.input(Input::Control { side, from, data });
    }
    let figures = world.session.figures(Side::Caller);
    assert_eq!((figures.rtcp_refused, figures.rtcp_in), (4, 0));
    assert!(world.session.last_control(Side::Caller).is_none());
    assert_eq!(world.sent(Side::Caller, 10).len(), 10, "the call goes on");
}

#[test]
fn leg_that_ends_says_bye_once() {
    let mut world = world(false, false);
    run(&mut world, 5);
    for expected in [1, 0] {
        world.input(Input::Disconnect { side: Side::Caller });
        let all = reports(world.outputs());
        assert_eq!(all.len(), expected);
        if let Some((data, ..)) = all.first() {
            let bye = &data[data.len() - 8..];
            assert_eq!((bye[0], bye[1]), (0x81, 203));
        }
    }
}

#[test]
fn nothing_is_reported_to_a_leg_that_takes_no_rtcp() {
    let mut world = World::with_caller();
    assert_eq!(run(&mut world, 30).len(), 0);
}

#[test]
fn figures_tell_levels_both_ways_the_delay_and_an_opinion() {
    let mut world = world(false, false);
    assert_eq!(world.session.figures(Side::Caller).mos, None);
    run(&mut world, 20);
    let figures = world.session.figures(Side::Caller);
    let mos = figures.mos.unwrap();
    assert!((2.9..3.6).contains(&mos), "a tenth is lost: {mos}");
    assert!(
        (40..=60).contains(&figures.delay_ms),
        "{}",
        figures.delay_ms
    );
    assert!(figures.level_in.is_some());
    assert_eq!(figures.level_out, None, "the agent is silent");
}
