//! Voices with holes.

use super::*;

/// A voice of 131 Hz, as a sample.
fn voice(at: usize) -> i16 {
    let phase = at as f64 * std::f64::consts::TAU / 61.0;
    (phase.sin() * 6000.0 + (3.0 * phase + 0.5).sin() * 3000.0) as i16
}

fn frame(number: usize) -> Frame {
    std::array::from_fn(|at| Codec::Pcmu.encode(voice(number * FRAME + at)))
}

/// What is heard, as samples, when these frames are missing.
fn heard(frames: usize, missing: std::ops::Range<usize>) -> Vec<i16> {
    let mut concealer = Concealer::new(Codec::Pcmu);
    (0..frames)
        .flat_map(|number| {
            if missing.contains(&number) {
                concealer.fill([0; FRAME], |_| false)
            } else {
                concealer.came(frame(number))
            }
        })
        .map(|byte| Codec::Pcmu.decode(byte))
        .collect()
}

fn steepest(samples: &[i16]) -> u32 {
    let steps = samples
        .windows(2)
        .map(|pair| i32::from(pair[0]).abs_diff(i32::from(pair[1])));
    steps.max().unwrap()
}

fn power(samples: &[i16]) -> f64 {
    let sum: f64 = samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum();
    sum / samples.len() as f64
}

#[test]
fn lost_frame_of_a_voice_is_made_up_so_that_it_is_hardly_missed() {
    let said = heard(20, 0..0);
    let heard = heard(20, 10..11);
    let hole = 10 * FRAME..11 * FRAME;
    let wrong: Vec<i16> = said[hole.clone()]
        .iter()
        .zip(&heard[hole.clone()])
        .map(|(said, heard)| said - heard)
        .collect();
    let signal_to_noise = 10.0 * (power(&said[hole]) / power(&wrong)).log10();
    assert!(signal_to_noise > 12.0, "{signal_to_noise}");
    assert!(
        steepest(&heard) <= steepest(&said) * 5 / 4,
        "{}",
        steepest(&heard)
    );
}

#[test]
fn long_loss_fades_out_within_60_ms_and_the_voice_comes_back_without_a_click() {
    let said = heard(30, 0..0);
    let heard = heard(30, 10..20);
    let of = |ms: usize| power(&heard[10 * FRAME + ms * 8..10 * FRAME + ms * 8 + 80]);
    assert!(of(20) < of(0) && of(40) < of(20) / 2.0);
    assert_eq!(heard[13 * FRAME..20 * FRAME], [0; 7 * FRAME]);
    assert_eq!(
        heard[21 * FRAME..],
        said[21 * FRAME..],
        "as said after 20 ms"
    );
    assert!(
        steepest(&heard) <= steepest(&said) * 5 / 4,
        "{}",
        steepest(&heard)
    );
}

#[test]
fn hole_in_the_middle_of_a_frame_is_closed() {
    let said = heard(20, 0..0);
    let mut concealer = Concealer::new(Codec::Pcmu);
    let heard: Vec<i16> = (0..20)
        .flat_map(|number| {
            let came = |at: usize| number != 10 || !(40..120).contains(&at);
            concealer.fill(frame(number), came)
        })
        .map(|byte| Codec::Pcmu.decode(byte))
        .collect();
    assert_eq!(heard[..10 * FRAME + 40], said[..10 * FRAME + 40]);
    assert!(
        steepest(&heard) <= steepest(&said) * 5 / 4,
        "{}",
        steepest(&heard)
    );
    assert_eq!(heard[11 * FRAME..], said[11 * FRAME..]);
}

#[test]
fn whatever_was_said_last_nothing_overflows() {
    for byte in [0x00, 0x80, 0xFF] {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let mut concealer = Concealer::new(codec);
            concealer.came(std::array::from_fn(
                |at| if at % 3 == 0 { byte } else { 0x80 },
            ));
            (0..5).for_each(|_| {
                concealer.fill([0; FRAME], |at| at % 7 == 0);
            });
        }
    }
}
