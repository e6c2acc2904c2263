//! Caller and target hear each other: what is said comes out as it went in, and how soon.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::print_stdout)]

mod common;

use Side::{Caller, Target};
use audio_codec_algorithms::{decode_alaw, decode_ulaw};
use common::{World, media, rtp, sent, speech};

use media_core::{Codec, FRAME, Input, LegMedia, Side};

/// The jitter buffer's delay of a path without jitter, in milliseconds.
const JITTER_BUFFER: u64 = 40;
/// What may come on top of it.
const ADDED: u64 = 20;
const FRAMES: usize = 500;

/// What one side heard, with the millisecond in which each frame of it left.
struct Heard {
    audio: Vec<u8>,
    left: Vec<u64>,
}

fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
    }
}

/// Both sides speak at once, each at its own phase of the gateway's slots; gives what each heard.
fn talk(codecs: [Codec; 2], phases: [u64; 2], said: &[Vec<u8>; 2]) -> [Heard; 2] {
    let mut world = World::new();
    for (side, codec) in [Caller, Target].into_iter().zip(codecs) {
        let media = LegMedia {
            codec,
            payload_type: payload_type(codec),
            ..media(side)
        };
        world.input(Input::Connect { side, media });
    }
    world.input(Input::Bridge(true));
    let mut heard = [(); 2].map(|()| Heard {
        audio: Vec::new(),
        left: Vec::new(),
    });
    for millis in 0..(FRAMES as u64 + 20) * 20 {
        world.millis = millis;
        for (at, side) in [Caller, Target].into_iter().enumerate() {
            let number = (millis / 20) as usize;
            if millis % 20 == phases[at] && number < FRAMES {
                let frame = &said[at][number * FRAME..][..FRAME];
                let timestamp = u32::try_from(number * FRAME).unwrap();
                let sequence = u16::try_from(number).unwrap();
                world.packet(
                    side,
                    &rtp(payload_type(codecs[at]), sequence, timestamp, frame),
                );
            }
        }
        while world.is_due() {
            world.session.handle_timeout(world.now());
            for output in world.outputs() {
                for (at, side) in [Caller, Target].into_iter().enumerate() {
                    if let Some(packet) = sent(&output, side) {
                        assert_eq!(packet.payload_type, payload_type(codecs[at]));
                        heard[at].audio.extend(packet.payload);
                        heard[at].left.push(millis);
                    }
                }
            }
        }
    }
    heard
}

/// Where in what was heard a text of bytes begins.
fn begins(heard: &[u8], said: &[u8]) -> Option<usize> {
    heard.windows(said.len()).position(|window| window == said)
}

/// Where what was heard stops being what was said.
fn differs(heard: &[u8], said: &[u8]) -> String {
    let Some(from) = begins(heard, &said[..FRAME]) else {
        return "its first frame was never heard".to_owned();
    };
    let same = heard[from..].iter().zip(said).take_while(|(a, b)| a == b);
    format!("the same for {} samples of {}", same.count(), said.len())
}

fn a_law(audio: &[u8]) -> Vec<u8> {
    let convert = |byte: &u8| audio_codec_algorithms::convert_ulaw_to_alaw(*byte);
    audio.iter().map(convert).collect()
}

/// The longest that a sample took from the arrival of its packet until it left, in milliseconds.
fn slowest(heard: &Heard, begins: usize, phase: u64) -> u64 {
    let delay = |sample: usize| {
        let came = (sample / FRAME) as u64 * 20 + phase;
        heard.left[(begins + sample) / FRAME] - came
    };
    (0..FRAMES * FRAME).map(delay).max().unwrap()
}

#[test]
fn payloads_of_one_codec_cross_bit_for_bit_and_no_more_than_a_slot_after_the_jitter_buffer() {
    let mu = [
        speech(FRAMES * FRAME),
        speech(2 * FRAMES * FRAME).split_off(FRAMES * FRAME),
    ];
    let a = [a_law(&mu[0]), a_law(&mu[1])];
    for (codec, said) in [(Codec::Pcmu, &mu), (Codec::Pcma, &a)] {
        for phase in 0..20 {
            let phases = [phase, (phase * 7 + 3) % 20];
            let heard = talk([codec; 2], phases, said);
            for (listener, speaker) in [(0, 1), (1, 0)] {
                let heard = &heard[listener];
                let from = begins(&heard.audio, &said[speaker]);
                let from = from.unwrap_or_else(|| {
                    panic!(
                        "{codec:?} at {phases:?}: {}",
                        differs(&heard.audio, &said[speaker])
                    )
                });
                let slowest = slowest(heard, from, phases[speaker]);
                assert!(
                    slowest <= JITTER_BUFFER + ADDED,
                    "{slowest} ms at {phases:?}"
                );
            }
        }
    }
}

/// Signal to noise, in decibels, of what was heard against what was said.
fn signal_to_noise(said: &[i16], heard: &[i16]) -> f64 {
    let pairs = said.iter().zip(heard);
    let noise: f64 = pairs
        .map(|(said, heard)| (f64::from(*said) - f64::from(*heard)).powi(2))
        .sum();
    let signal: f64 = said.iter().map(|said| f64::from(*said).powi(2)).sum();
    10.0 * (signal / noise).log10()
}

#[test]
fn transcoded_speech_is_within_a_decibel_of_the_best_of_the_other_law_and_takes_no_longer() {
    let mu = [
        speech(FRAMES * FRAME),
        speech(2 * FRAMES * FRAME).split_off(FRAMES * FRAME),
    ];
    let said = [mu[0].clone(), a_law(&mu[1])];
    let phases = [4, 13];
    let heard = talk([Codec::Pcmu, Codec::Pcma], phases, &said);
    let laws: [fn(u8) -> i16; 2] = [decode_ulaw, decode_alaw];
    for (listener, speaker) in [(0, 1), (1, 0)] {
        let said: Vec<i16> = said[speaker]
            .iter()
            .map(|byte| laws[speaker](*byte))
            .collect();
        let decode = laws[listener];
        let came: Vec<i16> = heard[listener]
            .audio
            .iter()
            .map(|byte| decode(*byte))
            .collect();
        // The slot in which the first of it left is that in which it is likest.
        let offsets = (0..10 * FRAME).step_by(FRAME);
        let best = offsets.map(|offset| (signal_to_noise(&said, &came[offset..]), offset));
        let (decibels, offset) = best.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        let nearest = |sample: &i16| {
            let codes = (0..=255).map(decode);
            codes.min_by_key(|code| (i32::from(*code) - i32::from(*sample)).abs())
        };
        let ideal: Vec<i16> = said.iter().filter_map(nearest).collect();
        let ideal = signal_to_noise(&said, &ideal);
        println!("{speaker} to {listener}: {decibels:.1} dB of {ideal:.1} dB");
        // The laws' steps do not coincide: 34 to 45 dB by level is all that two of them in a row keep.
        assert!(
            decibels >= 34.0 && decibels >= ideal - 1.0,
            "{decibels} dB of {ideal} dB"
        );

        let slowest = slowest(&heard[listener], offset, phases[speaker]);
        assert!(slowest <= JITTER_BUFFER + ADDED, "{slowest} ms");
    }
}
