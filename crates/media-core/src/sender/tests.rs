//! Sequence, timestamps, packet times.

use super::*;
use crate::Control;
use crate::{Codec, rtp};

fn media(ptime_ms: u16) -> LegMedia {
    LegMedia {
        remote: ([127, 0, 0, 1], 4000).into(),
        codec: Codec::Pcmu,
        payload_type: 0,
        dtmf: Some(101),
        ptime_ms,
        send: true,
        receive: true,
        control: Control::default(),
        latch: false,
        protection: None,
    }
}

/// What is sent in so many slots: (sequence, timestamp, length), relative to the first.
fn sent(ptime_ms: u16, slots: u8) -> Vec<(u16, u32, Vec<u8>)> {
    let mut sender = Sender::new(42);
    let (sequence, timestamp) = (sender.sequence, sender.timestamp);
    let mut packets = Vec::new();
    for slot in 0..slots {
        sender.audio(
            Audio::ulaw([slot; FRAME]),
            false,
            &media(ptime_ms),
            |data| {
                let packet = rtp::read(&data).unwrap();
                packets.push((
                    packet.sequence.wrapping_sub(sequence),
                    packet.timestamp.wrapping_sub(timestamp),
                    packet.payload.to_vec(),
                ));
            },
        );
    }
    packets
}

#[test]
fn every_packet_time_carries_the_same_audio_without_gaps() {
    for ptime_ms in [10, 20, 30, 40, 50, 60] {
        let packets = sent(ptime_ms, 60);
        let samples = usize::from(ptime_ms) * 8;
        assert_eq!(packets.len(), 60 * 160 / samples, "{ptime_ms}");
        for (at, (sequence, timestamp, payload)) in packets.iter().enumerate() {
            assert_eq!(
                (usize::from(*sequence), *timestamp as usize),
                (at, at * samples),
                "{ptime_ms}"
            );
            assert_eq!(payload.len(), samples);
        }
        let audio: Vec<u8> = packets.into_iter().flat_map(|packet| packet.2).collect();
        let expected: Vec<u8> = (0..60).flat_map(|slot| [slot; FRAME]).collect();
        assert_eq!(audio, expected, "{ptime_ms}");
    }
}

#[test]
fn timestamps_run_on_while_nothing_is_sent() {
    let mut sender = Sender::new(1);
    let mut seen = Vec::new();
    let mut audio = |sender: &mut Sender| {
        sender.audio(Audio::silence(Codec::Pcmu), false, &media(20), |data| {
            let packet = rtp::read(&data).unwrap();
            seen.push((packet.sequence, packet.timestamp, packet.marker));
        });
    };
    audio(&mut sender);
    audio(&mut sender);
    (0..5).for_each(|_| sender.pass());
    audio(&mut sender);
    assert_eq!(
        seen.iter().map(|packet| packet.2).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(seen[2].0, seen[0].0.wrapping_add(2));
    assert_eq!(seen[2].1, seen[0].1.wrapping_add(7 * 160));
}

#[test]
fn event_keeps_its_timestamp_and_audio_goes_on_behind_it() {
    let mut sender = Sender::new(9);
    let base = sender.timestamp;
    let first = EventPacket {
        payload: [1, 10, 0, 160],
        first: true,
        last: false,
    };
    let next = EventPacket {
        payload: [1, 10, 1, 64],
        first: false,
        last: false,
    };
    let one = sender.event(first, 101).unwrap();
    let two = sender.event(next, 101).unwrap();
    let (one, two) = (rtp::read(&one).unwrap(), rtp::read(&two).unwrap());
    assert_eq!((one.timestamp, two.timestamp), (base, base));
    assert_eq!((one.marker, two.marker), (true, false));
    assert_eq!(two.sequence, one.sequence.wrapping_add(1));
    sender.audio(Audio::silence(Codec::Pcmu), false, &media(20), |data| {
        let packet = rtp::read(&data).unwrap();
        assert_eq!(packet.timestamp, base.wrapping_add(320));
        assert!(packet.marker);
    });
}
