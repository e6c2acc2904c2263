//! Loss, order, pauses and clocks.

use super::*;

fn payload(number: u32) -> Vec<u8> {
    (0..160_u32)
        .map(|at| ((number * 37 + at * 7) % 120) as u8 + 1)
        .collect()
}

fn buffer() -> JitterBuffer {
    JitterBuffer::new(Codec::Pcmu)
}

fn put(buffer: &mut JitterBuffer, number: u32) -> Stored {
    buffer.put(number * 160, &payload(number))
}

/// Puts and pulls packet after packet; gives the frames.
fn run(buffer: &mut JitterBuffer, numbers: impl Iterator<Item = Option<u32>>) -> Vec<Frame> {
    numbers
        .map(|number| {
            if let Some(number) = number {
                put(buffer, number);
            }
            buffer.pull().frame
        })
        .collect()
}

const SILENCE: Frame = [0xFF; FRAME];

#[test]
fn regular_stream_comes_out_exact_after_40_ms() {
    let mut buffer = buffer();
    let frames = run(&mut buffer, (0..500).map(Some));
    assert_eq!(frames[..2], [SILENCE; 2]);
    for (number, frame) in (0..).zip(&frames[2..]) {
        assert_eq!(frame.to_vec(), payload(number));
    }
    assert_eq!((buffer.concealed(), buffer.corrections), (0, 0));
}

#[test]
fn timestamps_may_wrap() {
    let mut buffer = buffer();
    let start = u32::MAX - 500;
    for number in 0..10_u32 {
        buffer.put(start.wrapping_add(number * 160), &payload(number));
        let frame = buffer.pull().frame;
        if number >= 2 {
            assert_eq!(frame.to_vec(), payload(number - 2));
        }
    }
}

#[test]
fn reordered_packets_are_played_in_order() {
    let mut buffer = buffer();
    let frames = run(&mut buffer, [0, 2, 1, 4, 3, 5, 6, 7].into_iter().map(Some));
    for number in 0..6 {
        assert_eq!(frames[number as usize + 2].to_vec(), payload(number));
    }
    assert_eq!(buffer.concealed(), 0);
}

#[test]
fn lost_frame_is_made_up_and_counted() {
    let mut buffer = buffer();
    let numbers = (0..20).map(|number| (number != 5).then_some(number));
    let frames = run(&mut buffer, numbers);
    assert_ne!(frames[7], SILENCE);
    // what comes next is laid over the end of it, for 10 ms at most
    assert_eq!(frames[8][80..], payload(6)[80..]);
    assert_eq!(frames[9].to_vec(), payload(7));
    assert_eq!(buffer.concealed(), 1);
}

#[test]
fn long_loss_fades_to_silence() {
    let mut buffer = buffer();
    let numbers = (0..30).map(|number| (!(5..15).contains(&number)).then_some(number));
    let frames = run(&mut buffer, numbers);
    assert_ne!(frames[9], SILENCE);
    assert_eq!(frames[10..17], [SILENCE; 7]);
    assert_eq!(frames[17][80..], payload(15)[80..]);
    assert_eq!(frames[18].to_vec(), payload(16));
}

#[test]
fn straggler_is_late_and_not_played() {
    let mut buffer = buffer();
    run(
        &mut buffer,
        (0..10).map(|number| (number != 3).then_some(number)),
    );
    assert_eq!(put(&mut buffer, 3), Stored::Late);
    assert_eq!(put(&mut buffer, 10), Stored::InTime);
    assert_eq!(buffer.pull().frame.to_vec(), payload(8));
}

#[test]
fn persistently_late_stream_is_followed() {
    let mut buffer = buffer();
    run(&mut buffer, (0..20).map(Some));
    // The path becomes 200 ms longer.
    run(&mut buffer, (0..10).map(|_| None));
    let until_late = buffer.concealed();
    let frames = run(&mut buffer, (20..520).map(Some));
    assert_eq!(buffer.concealed(), until_late, "all that comes is heard");
    let heard = frames[500 - 20..].as_flattened();
    let said: Vec<u8> = (490..520).flat_map(payload).collect();
    let at = said.windows(160).position(|said| said == &heard[..160]);
    let delay = 480 + 20 - 490 - at.unwrap() / 160;
    assert!((1..=4).contains(&delay), "{delay} frames");
}

#[test]
fn pause_of_the_sender_is_a_pause_here() {
    let mut buffer = buffer();
    run(&mut buffer, (0..10).map(Some));
    buffer.quiet(10 * 160, None);
    let pause = run(&mut buffer, (10..50).map(|_| None));
    assert_eq!(pause[0].to_vec(), payload(8));
    assert_eq!(pause[1].to_vec(), payload(9));
    assert!(pause[2..].iter().all(|frame| *frame == SILENCE));
    assert_eq!(buffer.concealed(), 0);
    let frames = run(&mut buffer, (50..60).map(Some));
    assert_eq!(frames[2].to_vec(), payload(50));
}

#[test]
fn pause_with_a_level_is_heard_as_noise_of_that_level() {
    let mut buffer = buffer();
    run(&mut buffer, (0..10).map(Some));
    buffer.quiet(10 * 160, Some(50));
    let pause = run(&mut buffer, (10..50).map(|_| None));
    let loud = |frame: &Frame| loudness(Codec::Pcmu, frame);
    assert!(
        pause[2..]
            .iter()
            .all(|frame| (40..200).contains(&loud(frame)))
    );
    assert_eq!(buffer.concealed(), 0);
}

#[test]
fn packets_of_any_size_are_cut_into_frames() {
    let whole: Vec<u8> = (0..60).flat_map(payload).collect();
    for size in [80_usize, 240, 320, 400, 480, 100] {
        let mut buffer = buffer();
        let mut heard = Vec::new();
        let mut sent = 0;
        for slot in 1..=50 {
            while sent + size <= slot * 160 {
                buffer.put(u32::try_from(sent).unwrap(), &whole[sent..sent + size]);
                sent += size;
            }
            heard.extend_from_slice(&buffer.pull().frame);
        }
        let start = heard.iter().position(|byte| *byte != 0xFF).unwrap();
        assert!(heard.len() - start > 6000);
        assert_eq!(
            heard[start..],
            whole[..heard.len() - start],
            "packets of {size}"
        );
        assert_eq!(buffer.concealed(), 0);
    }
}

#[test]
fn jump_of_the_timestamps_restarts_with_40_ms() {
    let mut buffer = buffer();
    run(&mut buffer, (0..10).map(Some));
    let frames = run(&mut buffer, (9_000_000..9_000_010).map(Some));
    assert_eq!(frames[2].to_vec(), payload(9_000_000));
    let back = run(&mut buffer, (100..110).map(Some));
    assert_eq!(back[2].to_vec(), payload(100));
}

#[test]
fn burst_after_a_stall_does_not_stay_as_delay() {
    let mut buffer = buffer();
    run(&mut buffer, (0..10).map(Some));
    run(&mut buffer, (0..20).map(|_| None));
    (10..30).for_each(|number| {
        put(&mut buffer, number);
    });
    let frames = run(&mut buffer, (30..40).map(Some));
    let found = (0..40)
        .find(|number| frames[9].to_vec() == payload(*number))
        .unwrap();
    assert!(39 - found <= 13, "delay of {} frames", 39 - found);
}

/// Plays ten minutes of a sender whose clock is off; gives the buffer and the largest delay in samples.
fn ten_minutes(parts_per_million: i64) -> (JitterBuffer, u64, u32) {
    let mut buffer = buffer();
    let (mut sent, mut deepest, mut starved) = (0_i64, 0, 0);
    for slot in 1..=30_000_i64 {
        // Arrivals in the middle of a slot, on the sender's clock.
        let senders_time = (slot * 20_000 - 10_000) * (1_000_000 + parts_per_million) / 1_000_000;
        while sent * 20_000 <= senders_time {
            put(&mut buffer, u32::try_from(sent).unwrap());
            sent += 1;
        }
        let position = buffer.position.unwrap();
        deepest = deepest.max(position.newest.saturating_sub(position.head));
        starved += u32::from(position.newest <= position.head);
        buffer.pull();
    }
    (buffer, deepest, starved)
}

#[test]
fn ten_minutes_of_a_fast_or_slow_clock_are_followed_by_periods_and_nothing_is_missed() {
    for parts_per_million in [-300, -100, 100, 300] {
        let (buffer, deepest, starved) = ten_minutes(parts_per_million);
        let drift = u64::from(parts_per_million.unsigned_abs() as u32) * 600 / 20_000;
        // a period that is left out or put in has 2.5 to 15 ms
        assert!(
            (drift..=8 * drift).contains(&buffer.corrections),
            "{parts_per_million}: {}",
            buffer.corrections
        );
        assert!(deepest <= 960, "{parts_per_million}: {deepest}");
        assert_eq!((starved, buffer.concealed()), (0, 0), "{parts_per_million}");
    }
    assert_eq!(ten_minutes(0).0.corrections, 0);
}

#[test]
fn events_with_timestamps_of_their_own_leave_the_audio_alone() {
    let mut buffer = buffer();
    run(&mut buffer, (0..10).map(Some));
    for number in 10..20 {
        buffer.quiet(4_000_000, None);
        put(&mut buffer, number);
        assert_eq!(buffer.pull().frame.to_vec(), payload(number - 2));
    }
}

#[test]
fn five_minutes_of_uneven_arrival_are_smoothed() {
    for (spread_ms, allowed) in [(30_u64, 0), (60, 300)] {
        let mut buffer = buffer();
        let mut random = 1_u64;
        let mut arrivals: Vec<(u64, u32)> = (0..15_000_u32)
            .map(|number| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (u64::from(number) * 20 + (random >> 33) % spread_ms, number)
            })
            .collect();
        arrivals.sort_unstable();
        let mut coming = arrivals.into_iter().peekable();
        let mut deepest = 0;
        for slot in 1..=15_000_u64 {
            while let Some((_, number)) = coming.next_if(|(at, _)| *at < slot * 20) {
                put(&mut buffer, number);
            }
            buffer.pull();
            let depth = buffer
                .position
                .map_or(0, |position| position.newest.saturating_sub(position.head));
            deepest = deepest.max(depth);
        }
        assert!(
            buffer.concealed() <= allowed,
            "{spread_ms} ms: {} concealed",
            buffer.concealed()
        );
        assert!(deepest <= 1120, "{spread_ms} ms: {deepest}");
    }
}
