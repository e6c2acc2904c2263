//! Packets at once, stalls, and whose frame is dropped or repeated.

use super::*;
use crate::codec::ulaw;

const LOUD: u32 = 1000;
/// A pause awaited, two periods that are alike awaited.
const LONGEST_WAIT: usize = 251;

/// A frame of speech: no two of a thousand are equal, and all are loud.
fn word(number: usize) -> Frame {
    let pitch = 0.05 + 0.0002 * (number % 1000) as f64;
    std::array::from_fn(|at| ulaw(((at as f64 * pitch).sin() * 8000.0) as i16 + 100))
}

/// Noise of a line on which nobody speaks.
const HUSH: Frame = [0xFB; FRAME];

fn is_speech(frame: &Frame) -> bool {
    loudness(Codec::Pcmu, frame) > LOUD
}

/// A sender of samples, and the slots that hear them.
struct Stream {
    buffer: JitterBuffer,
    said: Vec<u8>,
    heard: Vec<u8>,
    sent: usize,
    /// The slots in which the clock was followed.
    corrected: Vec<usize>,
}

impl Stream {
    fn of(said: impl IntoIterator<Item = Frame>) -> Self {
        Self {
            buffer: JitterBuffer::new(Codec::Pcmu),
            said: said.into_iter().flatten().collect(),
            heard: Vec::new(),
            sent: 0,
            corrected: Vec::new(),
        }
    }

    /// Sends whole packets of `size` up to a sample.
    fn send(&mut self, size: usize, up_to: usize) {
        while self.sent + size <= up_to.min(self.said.len()) {
            let payload = &self.said[self.sent..self.sent + size];
            let timestamp = u32::try_from(self.sent).unwrap();
            assert_eq!(self.buffer.put(timestamp, payload), Stored::InTime);
            self.sent += size;
        }
    }

    fn pull(&mut self) {
        let before = self.buffer.corrections;
        self.heard.extend(self.buffer.pull().frame);
        if self.buffer.corrections > before {
            self.corrected.push(self.heard.len() / FRAME);
        }
    }

    /// Sends frame by frame, a frame a slot.
    fn run(&mut self, slots: usize) {
        for _ in 0..slots {
            self.send(FRAME, self.sent + FRAME);
            self.pull();
        }
    }

    /// Runs on a sender's clock that is off.
    fn run_off(&mut self, slots: usize, parts_per_million: i64) {
        for slot in 1..=slots as i64 {
            let samples = (slot * 160 - 80) * (1_000_000 + parts_per_million) / 1_000_000;
            self.send(FRAME, samples as usize + FRAME);
            self.pull();
        }
    }

    /// Samples from the start until the first of the speech was heard.
    fn delay(&self) -> usize {
        let first = &self.said[..FRAME];
        let windows = self.heard.windows(FRAME);
        windows
            .take(20_000)
            .position(|heard| heard == first)
            .unwrap()
    }

    /// Asserts that all that was said came, sample for sample, but for what is still in the buffer.
    fn assert_exact(&self, what: &str) {
        let heard = &self.heard[self.delay()..];
        let different = self
            .said
            .iter()
            .zip(heard)
            .position(|(said, heard)| said != heard);
        assert_eq!(different, None, "{what}");
        assert_eq!(self.buffer.concealed(), 0, "{what}");
    }
}

fn frames(samples: &[u8]) -> Vec<Frame> {
    let (frames, _) = samples.as_chunks::<FRAME>();
    frames.to_vec()
}

#[test]
fn packets_that_come_at_once_at_the_start_cost_nothing_and_stay_no_delay() {
    for burst in 1..=3 {
        let mut stream = Stream::of((0..1500).map(word));
        stream.send(FRAME, burst * FRAME);
        stream.pull();
        stream.run(1400);
        stream.assert_exact(&format!("{burst} at once"));
        assert_eq!(stream.delay(), (3 - burst) * FRAME, "{burst} at once");
        assert_eq!(stream.corrected, [0; 0], "{burst} at once");
    }
}

#[test]
fn packets_held_up_before_the_first_word_is_played_are_followed() {
    let mut stream = Stream::of((0..1500).map(word));
    stream.send(FRAME, FRAME);
    stream.pull();
    stream.send(FRAME, 3 * FRAME);
    stream.pull();
    stream.run(1400);
    stream.assert_exact("second and third together");
    assert_eq!(stream.delay(), FRAME);
    assert_eq!(stream.corrected, [0; 0]);
}

#[test]
fn packets_of_any_size_may_come_three_at_once_at_the_start() {
    for size in [80, 160, 240] {
        for burst in 1..=3 {
            for phase in [0, 40, 80, 120] {
                let mut stream = Stream::of((0..1000).map(word));
                stream.send(size, burst * size);
                let ahead = stream.sent;
                for slot in 0..900 {
                    stream.send(size, ahead + slot * FRAME + phase);
                    stream.pull();
                }
                stream.assert_exact(&format!("{burst} of {size} at once, phase {phase}"));
                assert!(stream.delay() <= 320 + FRAME);
            }
        }
    }
}

#[test]
fn two_packets_of_40_or_60_ms_may_come_at_once_at_the_start() {
    for size in [320, 480] {
        let mut stream = Stream::of((0..1000).map(word));
        stream.send(size, 2 * size);
        for slot in 0..900 {
            stream.send(size, 2 * size + slot * FRAME);
            stream.pull();
        }
        stream.assert_exact(&format!("packets of {size}"));
    }
}

#[test]
fn three_packets_of_40_ms_at_once_at_the_start_are_followed_in_the_first_pause() {
    let said = (0..1000).map(|number| if number < 200 { word(number) } else { HUSH });
    let mut stream = Stream::of(said);
    stream.send(320, 960);
    for slot in 0..900 {
        stream.send(320, 960 + slot * FRAME);
        stream.pull();
    }
    assert!(stream.heard[..200 * FRAME] == stream.said[..200 * FRAME]);
    assert_eq!(stream.delay(), 0);
    assert!(!stream.corrected.is_empty());
}

#[test]
fn early_packet_behind_a_hole_at_the_start_does_not_make_the_missing_one_late() {
    let mut stream = Stream::of((0..100).map(word));
    let said = |number: u32| (number * 160, word(number as usize));
    for number in [0, 2, 3, 1] {
        let (timestamp, frame) = said(number);
        assert_eq!(stream.buffer.put(timestamp, &frame), Stored::InTime);
        if number != 2 {
            stream.pull();
        }
    }
    stream.sent = 4 * FRAME;
    stream.run(90);
    stream.assert_exact("reordered start");
}

#[test]
fn deep_start_gives_up_frames_of_silence_only() {
    // a second of words, a pause of 200 ms
    let said = || (0..3000).map(|number| if number % 60 < 50 { word(number) } else { HUSH });
    for burst in 4..=12 {
        let mut stream = Stream::of(said());
        stream.send(FRAME, burst * FRAME);
        stream.pull();
        stream.run(2900);
        let heard: Vec<_> = frames(&stream.heard)
            .into_iter()
            .filter(is_speech)
            .collect();
        let words: Vec<_> = said().filter(is_speech).take(heard.len()).collect();
        assert!(heard.len() > 2300);
        assert!(heard == words, "{burst} at once");
        assert_eq!(stream.corrected.len(), burst - 3, "{burst} at once");
    }
}

#[test]
fn frames_of_a_pause_are_given_up_60_ms_apart() {
    let mut stream =
        Stream::of((0..3000).map(|number| if number < 12 { word(number) } else { HUSH }));
    stream.send(FRAME, 12 * FRAME);
    stream.pull();
    stream.run(2900);
    assert_eq!(stream.corrected.len(), 9);
    for pair in stream.corrected.windows(2) {
        assert!(pair[1] - pair[0] >= 3, "{:?}", stream.corrected);
    }
}

#[test]
fn drifting_clock_is_followed_in_the_pauses() {
    let said = || {
        (0..30_100).map(|number| {
            if number % 200 < 180 {
                word(number)
            } else {
                HUSH
            }
        })
    };
    for parts_per_million in [-300, 300] {
        let mut stream = Stream::of(said());
        stream.run_off(30_000, parts_per_million);
        let heard: Vec<_> = frames(&stream.heard)
            .into_iter()
            .filter(is_speech)
            .collect();
        let words: Vec<_> = said().filter(is_speech).take(heard.len()).collect();
        assert!(heard.len() > 26_900);
        assert!(heard == words, "{parts_per_million}");
        assert!(stream.corrected.len().abs_diff(9) <= 1);
        assert_eq!(stream.buffer.concealed(), 0);
    }
}

#[test]
fn speaker_who_never_pauses_is_played_faster_by_periods_until_the_delay_is_right() {
    let mut stream = Stream::of((0..1500).map(word));
    stream.send(FRAME, 7 * FRAME);
    stream.pull();
    stream.run(1400);
    assert!(
        stream.corrected[0] <= LONGEST_WAIT,
        "{:?}",
        stream.corrected
    );
    for pair in stream.corrected.windows(2) {
        assert!(pair[1] - pair[0] >= 10, "{:?}", stream.corrected);
    }
    assert!(stream.buffer.position.unwrap().depth() < 640);
    assert_eq!(stream.buffer.concealed(), 0);
}

#[test]
fn steady_loudness_is_followed_without_a_click() {
    for (codec, parts_per_million) in [
        (Codec::Pcmu, -300_i64),
        (Codec::Pcmu, 300),
        (Codec::Pcma, 300),
    ] {
        let level = |byte: u8| i32::from(audio_codec_algorithms::decode_ulaw(byte));
        let tone = |at: usize| ulaw(((at as f64 * 0.3).sin() * 8000.0) as i16);
        let samples: Vec<u8> = (0..20_100 * FRAME).map(tone).collect();
        let mut stream = Stream::of(frames(&samples));
        if codec == Codec::Pcma {
            stream.said = stream
                .said
                .iter()
                .map(|byte| audio_codec_algorithms::convert_ulaw_to_alaw(*byte))
                .collect();
            stream.buffer = JitterBuffer::new(codec);
        }
        stream.run_off(20_000, parts_per_million);
        let heard: Vec<u8> = frames(&stream.heard)
            .into_iter()
            .flat_map(|frame| Audio { codec, frame }.to(Codec::Pcmu))
            .collect();
        let steepest = heard[3 * FRAME..]
            .windows(2)
            .map(|pair| level(pair[0]).abs_diff(level(pair[1])))
            .max()
            .unwrap();
        assert!(
            (8..=20).contains(&stream.corrected.len()),
            "{:?}",
            stream.corrected
        );
        assert!(steepest < 3000, "{parts_per_million}: a step of {steepest}");
    }
}

#[test]
fn slots_done_at_once_after_a_stall_lose_nothing() {
    for missed in 1..=10 {
        let mut stream = Stream::of((0..3000).map(word));
        stream.run(50);
        for _ in 0..20 {
            stream.send(FRAME, stream.sent + missed * FRAME);
            (0..missed).for_each(|_| stream.pull());
            stream.run(5);
        }
        stream.assert_exact(&format!("{missed} slots"));
        assert_eq!(stream.corrected, [0; 0]);
    }
}

#[test]
fn stall_on_top_of_a_deep_buffer_loses_nothing() {
    let mut stream = Stream::of((0..1000).map(word));
    stream.send(FRAME, 8 * FRAME);
    stream.pull();
    stream.run(20);
    stream.send(FRAME, stream.sent + 11 * FRAME);
    (0..10).for_each(|_| stream.pull());
    stream.run(20);
    stream.assert_exact("200 ms");
}

#[test]
fn depth_beyond_the_bound_is_cut_back_within_200_ms() {
    let mut stream = Stream::of((0..1000).map(word));
    stream.run(50);
    stream.send(FRAME, stream.sent + 13 * FRAME);
    stream.run(12);
    assert_eq!(stream.buffer.position.unwrap().depth(), TARGET);
    assert_eq!(stream.buffer.discarded, 13);
}
