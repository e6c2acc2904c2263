//! Prebuffer, underrun, marks, clear, drain.

use super::*;

const SILENCE: Frame = [0xFF; FRAME];

fn pulled(playout: &mut Playout, slots: usize) -> Vec<Frame> {
    (0..slots).map(|_| playout.pull().frame).collect()
}

fn marks(playout: &mut Playout) -> Vec<(String, bool, u64)> {
    playout
        .reached
        .drain(..)
        .map(|mark| (mark.name, mark.played, mark.sample))
        .collect()
}

#[test]
fn talk_spurt_waits_for_60_ms() {
    let mut playout = Playout::new();
    playout.push(&[1; 320]);
    assert_eq!(pulled(&mut playout, 2), [SILENCE; 2]);
    playout.push(&[1; 160]);
    let start = playout.pull();
    assert!(start.spurt && start.frame == [1; FRAME]);
    assert!(!playout.pull().spurt);
}

#[test]
fn talk_spurt_waits_no_longer_than_100_ms_for_more() {
    let mut playout = Playout::new();
    playout.push(&[1; 160]);
    assert_eq!(pulled(&mut playout, 5), [SILENCE; 5]);
    assert_eq!(playout.pull().frame, [1; FRAME]);
}

#[test]
fn following_mark_starts_the_talk_spurt() {
    let mut playout = Playout::new();
    playout.push(&[1; 160]);
    playout.mark("a".into());
    assert_eq!(playout.pull().frame, [1; FRAME]);
    assert_eq!(marks(&mut playout), [("a".into(), true, 160)]);
}

#[test]
fn mark_names_the_sample_inside_the_frame() {
    let mut playout = Playout::new();
    playout.push(&[1; 500]);
    playout.mark("a".into());
    playout.push(&[2; 500]);
    playout.mark("b".into());
    pulled(&mut playout, 3);
    assert_eq!(marks(&mut playout), []);
    pulled(&mut playout, 1);
    assert_eq!(marks(&mut playout), [("a".into(), true, 500)]);
    let rest = pulled(&mut playout, 3);
    assert_eq!(marks(&mut playout), [("b".into(), true, 1000)]);
    assert_eq!(rest[2][..40], [2; 40]);
    assert_eq!(rest[2][40..], [0xFF; 120]);
}

#[test]
fn mark_on_an_empty_queue_comes_with_the_next_frame() {
    let mut playout = Playout::new();
    pulled(&mut playout, 3);
    playout.mark("now".into());
    playout.pull();
    assert_eq!(marks(&mut playout), [("now".into(), true, 480)]);
}

#[test]
fn clear_takes_effect_at_once_and_gives_marks_back_in_order() {
    let mut playout = Playout::new();
    playout.push(&[1; 1600]);
    playout.mark("a".into());
    playout.mark("b".into());
    playout.pull();
    playout.clear();
    assert_eq!(
        marks(&mut playout),
        [("a".into(), false, 160), ("b".into(), false, 160)]
    );
    assert_eq!(playout.pull().frame, SILENCE);
    playout.push(&[2; 480]);
    playout.mark("c".into());
    assert_eq!(playout.pull().frame, [2; FRAME]);
    pulled(&mut playout, 2);
    assert_eq!(marks(&mut playout), [("c".into(), true, 800)]);
}

#[test]
fn underrun_is_silence_and_is_buffered_for_once_only() {
    let mut playout = Playout::new();
    playout.push(&[1; 480]);
    pulled(&mut playout, 3);
    assert_eq!(playout.pull().frame, SILENCE);
    // The first underrun of the talk-spurt waits for 60 ms again.
    playout.push(&[2; 160]);
    assert_eq!(playout.pull().frame, SILENCE);
    playout.push(&[2; 320]);
    assert_eq!(pulled(&mut playout, 3), [[2; FRAME]; 3]);
    assert_eq!(playout.pull().frame, SILENCE);
    // The second does not.
    playout.push(&[3; 160]);
    assert_eq!(playout.pull().frame, [3; FRAME]);
}

#[test]
fn half_a_second_of_nothing_ends_the_talk_spurt() {
    let mut playout = Playout::new();
    playout.push(&[1; 480]);
    pulled(&mut playout, 3 + 26);
    playout.push(&[2; 160]);
    assert_eq!(playout.pull().frame, SILENCE);
    playout.push(&[2; 320]);
    assert!(playout.pull().spurt);
}

#[test]
fn bytes_come_out_as_they_went_in_whatever_the_chunks() {
    let audio: Vec<u8> = (0..16_000_u32).map(|at| (at % 200) as u8).collect();
    for size in [1, 7, 160, 333, 4000, 16_000] {
        let mut playout = Playout::new();
        audio.chunks(size).for_each(|chunk| {
            playout.push(chunk);
        });
        assert_eq!(
            pulled(&mut playout, 100).concat(),
            audio,
            "chunks of {size}"
        );
    }
}

#[test]
fn queue_is_bounded_and_says_so_once() {
    let mut playout = Playout::new();
    assert!(!playout.push(&vec![1; MAX_BYTES]));
    assert!(playout.push(&[2; 160]));
    assert!(!playout.push(&[2; 160]));
    assert_eq!(playout.audio.len(), MAX_BYTES);
    for number in 0..=MAX_MARKS {
        playout.mark(number.to_string());
    }
    assert_eq!(marks(&mut playout), [(MAX_MARKS.to_string(), false, 0)]);
}

#[test]
fn drain_is_reported_once_when_the_last_sample_has_left() {
    let mut playout = Playout::new();
    playout.push(&[1; 200]);
    playout.drain(false);
    assert!(!playout.drained());
    playout.pull();
    assert!(!playout.drained());
    playout.pull();
    assert!(playout.drained());
    assert!(!playout.drained());
}

#[test]
fn trailing_silence_need_not_be_played_but_its_marks_are_kept() {
    let mut playout = Playout::new();
    playout.push(&[1; 160]);
    playout.push(&[0xFF; 16_000]);
    playout.mark("end".into());
    playout.drain(true);
    assert_eq!(playout.pull().frame, [1; FRAME]);
    assert_eq!(marks(&mut playout), [("end".into(), true, 160)]);
    assert!(playout.drained());
}

#[test]
fn drain_of_a_full_queue_is_told_when_the_queue_is_emptied() {
    let mut playout = Playout::new();
    assert!(
        playout.push(&vec![0x20; MAX_BYTES + 1]),
        "the rest is dropped"
    );
    playout.mark("end".to_owned());
    playout.drain(true);
    for _ in 0..500 {
        playout.pull();
        assert!(!playout.drained(), "ten seconds of ten minutes");
    }
    playout.clear();
    assert!(playout.drained(), "nothing is left to wait for");
    assert_eq!(
        playout.reached.pop_front().map(|mark| mark.played),
        Some(false)
    );
}

#[test]
fn gap_in_a_talk_spurt_is_told_once_and_a_pause_between_two_is_none() {
    let mut playout = Playout::new();
    playout.push(&[1; 480]);
    pulled(&mut playout, 3 + 4);
    assert_eq!(playout.take_gap(), None, "it may be the end");
    playout.push(&[1; 160]);
    playout.push(&[1; 160]);
    assert_eq!((playout.take_gap(), playout.take_gap()), (Some(4), None));
    pulled(&mut playout, 40);
    playout.push(&[1; 480]);
    assert_eq!(playout.take_gap(), None, "another talk-spurt");
}
