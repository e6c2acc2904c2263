//! A voice through a bad network, seeded: what is late, what is lost, what is heard, each key once.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod common;

use common::{World, rtp, speech};
use media_core::{Figures, Output, Side};

/// The network: every number it draws follows from the seed.
struct Network {
    random: u64,
    /// Packets in flight, by the millisecond of their arrival.
    underway: Vec<(u64, Vec<u8>)>,
    loss_per_mille: u64,
    /// The delay is anything between nothing and this.
    spread_ms: u64,
    duplicates_per_mille: u64,
}

impl Network {
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn send(&mut self, now: u64, packet: &[u8]) {
        if self.draw(1000) < self.loss_per_mille {
            return;
        }
        let copies = 1 + u64::from(self.draw(1000) < self.duplicates_per_mille);
        for _ in 0..copies {
            let at = now + self.draw(self.spread_ms);
            self.underway.push((at, packet.to_vec()));
        }
    }

    /// What has arrived by now, in order of arrival: packets overtake each other.
    fn arrived(&mut self, now: u64) -> Vec<Vec<u8>> {
        self.underway.sort_by_key(|(at, _)| *at);
        let count = self.underway.partition_point(|(at, _)| *at <= now);
        self.underway
            .drain(..count)
            .map(|(_, packet)| packet)
            .collect()
    }
}

/// Plays two minutes of speech with a key every two seconds; gives the figures, what the agent
/// heard, and the keys.
fn two_minutes(mut network: Network, ptime_ms: u64) -> (Figures, Vec<u8>, String) {
    let mut world = World::with_caller();
    let samples = usize::try_from(ptime_ms * 8).unwrap();
    let said = speech(120 * 8000);
    let (mut sequence, mut sent) = (0_u16, 0_usize);
    let (mut heard, mut keys) = (Vec::new(), String::new());
    while world.millis < 120_000 {
        for millis in world.millis..world.millis + 20 {
            if millis % ptime_ms == 0 {
                let timestamp = u32::try_from(sent).unwrap();
                network.send(
                    millis,
                    &rtp(0, sequence, timestamp, &said[sent..sent + samples]),
                );
                sequence = sequence.wrapping_add(1);
                sent += samples;
            }
            // each key has 100 ms, five packets and its end three times, beside the audio
            let (into, number) = (millis % 2000, millis / 2000);
            if (1000..1160).contains(&into) && into % 20 == 0 {
                let key = u32::try_from((number * 2000 + 1000) * 8).unwrap();
                let step = (into - 1000) / 20 + 1;
                let end = u8::from(step >= 5) << 7;
                let duration = u16::try_from(step.min(5) * 160).unwrap().to_be_bytes();
                let event = [
                    u8::try_from(number % 10).unwrap(),
                    end | 10,
                    duration[0],
                    duration[1],
                ];
                network.send(millis, &rtp(101, sequence, key, &event));
                sequence = sequence.wrapping_add(1);
            }
        }
        let next = world.millis + 20;
        for packet in network.arrived(next - 1) {
            world.packet(Side::Caller, &packet);
        }
        for output in world.slot() {
            match output {
                Output::Heard { frame, .. } => heard.extend(frame),
                Output::Dtmf { digit, .. } => keys.push(digit),
                _ => {}
            }
        }
    }
    (world.session.figures(Side::Caller), heard, keys)
}

fn network(seed: u64, loss_per_mille: u64, spread_ms: u64) -> Network {
    Network {
        random: seed,
        underway: Vec::new(),
        loss_per_mille,
        spread_ms,
        duplicates_per_mille: 10,
    }
}

#[test]
fn at_5_percent_loss_and_40_ms_of_jitter_hardly_anything_is_late_and_each_key_comes_once() {
    for seed in 1..=5 {
        for (spread_ms, ptime_ms) in [(40, 20), (80, 20), (40, 10), (40, 30), (80, 60)] {
            let what = format!("seed {seed}, {spread_ms} ms, packets of {ptime_ms} ms");
            let (figures, heard, keys) = two_minutes(network(seed, 50, spread_ms), ptime_ms);
            let missed = figures.late + figures.discarded;
            assert!(missed * 100 <= figures.packets_in, "{what}: {missed} late");
            let mos = figures.mos.unwrap();
            assert!(mos >= 3.6, "{what}: MOS {mos}");
            // nobody is left without a voice: what is lost is made up
            let silent = heard[8000..]
                .chunks(160)
                .filter(|frame| frame.iter().all(|byte| *byte == 0xFF));
            let silent = silent.count();
            assert!(silent * 100 < 6000, "{what}: {silent} frames");
            let expected: String = "0123456789".chars().cycle().take(60).collect();
            assert_eq!(keys, expected, "{what}");
        }
    }
}
