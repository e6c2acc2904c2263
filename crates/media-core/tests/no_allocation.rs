//! The packet path allocates nothing in steady state.

mod common;

use bytes::Bytes;
use common::{World, address, media, rtp};
use media_core::{Control, Input, LegMedia, Output, Side};

/// Runs slots with a packet in on each leg; gives the packets sent.
fn run(world: &mut World, packets: &[[Vec<u8>; 2]], audio: &Bytes) -> usize {
    let mut sent = 0;
    for [caller, target] in packets {
        world.packet(Side::Caller, caller);
        world.packet(Side::Target, target);
        world.input(Input::Play(audio.clone()));
        world.millis += 20;
        world.session.handle_timeout(world.now());
        while let Some(output) = world.session.poll_output() {
            sent += usize::from(matches!(output, Output::Rtp { .. }));
        }
    }
    sent
}

#[test]
fn a_thousand_slots_of_packets_in_and_out_allocate_nothing() {
    for bridged in [false, true] {
        let mut world = World::new();
        for side in [Side::Caller, Side::Target] {
            let control = Control {
                to: Some(address(side)),
                muxed: false,
                voip_metrics: true,
            };
            let media = LegMedia {
                control,
                ..media(side)
            };
            world.input(Input::Connect { side, media });
        }
        world.input(Input::Bridge(bridged));
        let packets: Vec<_> = (0..1400_u16)
            .map(|number| {
                [0x33, 0x44].map(|byte| rtp(0, number, u32::from(number) * 160, &[byte; 160]))
            })
            .collect();
        let audio = Bytes::from_static(&[0x55; 160]);
        run(&mut world, &packets[..400], &audio);
        let mut sent = 0;
        let used = allocation_counter::measure(|| sent = run(&mut world, &packets[400..], &audio));
        assert_eq!((sent, used.count_total), (2000, 0), "bridged: {bridged}");
    }
}
