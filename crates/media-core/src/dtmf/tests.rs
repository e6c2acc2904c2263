//! Digits in and out.

use super::*;

fn packet(timestamp: u32, payload: &[u8]) -> Packet<'_> {
    Packet {
        payload_type: 101,
        marker: false,
        sequence: 0,
        timestamp,
        ssrc: 1,
        payload,
    }
}

fn event(code: u8, end: bool, duration: u16) -> [u8; 4] {
    let [high, low] = duration.to_be_bytes();
    [code, u8::from(end) << 7 | 10, high, low]
}

/// Feeds (time, timestamp, code, end, duration); gives what was reported.
fn heard(packets: &[(u64, u32, u8, bool, u16)]) -> Vec<Digit> {
    let mut receiver = DigitReceiver::default();
    let mut digits = Vec::new();
    for &(millis, timestamp, code, end, duration) in packets {
        let now = Now::from_millis(millis);
        digits.extend(receiver.overdue(now));
        digits.extend(receiver.take(now, &packet(timestamp, &event(code, end, duration))));
    }
    digits.extend(receiver.overdue(Now::from_millis(1_000_000)));
    digits
}

const fn digit(digit: char, duration_ms: u32) -> Digit {
    Digit { digit, duration_ms }
}

#[test]
fn digit_is_reported_once_on_its_end() {
    let digits = heard(&[
        (0, 1000, 5, false, 160),
        (20, 1000, 5, false, 320),
        (40, 1000, 5, false, 480),
        (60, 1000, 5, true, 640),
        (60, 1000, 5, true, 640),
        (60, 1000, 5, true, 640),
    ]);
    assert_eq!(digits, [digit('5', 80)]);
}

#[test]
fn one_packet_of_all_is_enough() {
    assert_eq!(heard(&[(0, 1000, 11, true, 800)]), [digit('#', 100)]);
    assert_eq!(heard(&[(0, 1000, 10, false, 800)]), [digit('*', 100)]);
}

#[test]
fn same_digit_twice_is_two_digits() {
    let digits = heard(&[(0, 1000, 1, true, 800), (200, 2600, 1, true, 800)]);
    assert_eq!(digits, [digit('1', 100), digit('1', 100)]);
}

#[test]
fn lost_end_is_made_up_by_the_next_event_or_by_time() {
    let digits = heard(&[
        (0, 1000, 1, false, 160),
        (20, 1000, 1, false, 320),
        (100, 2000, 2, false, 160),
    ]);
    assert_eq!(digits, [digit('1', 40), digit('2', 20)]);
}

#[test]
fn straggler_of_an_earlier_digit_is_nothing_new() {
    let digits = heard(&[
        (0, 1000, 1, true, 800),
        (100, 3000, 2, false, 160),
        (110, 1000, 1, true, 800),
        (120, 3000, 2, true, 320),
        (130, 3000, 2, false, 160),
    ]);
    assert_eq!(digits, [digit('1', 100), digit('2', 40)]);
}

#[test]
fn press_longer_than_one_segment_is_one_digit() {
    let digits = heard(&[
        (0, 1000, 3, false, 0xFFFF),
        (20, 1000 + 0xFFFF, 3, false, 160),
        (40, 1000 + 0xFFFF, 3, true, 320),
    ]);
    assert_eq!(digits, [digit('3', (0xFFFF + 320) / 8)]);
}

#[test]
fn flash_and_tones_and_stumps_are_no_digits() {
    assert_eq!(
        heard(&[(0, 1000, 16, true, 800), (100, 2600, 66, true, 800)]),
        []
    );
    let mut receiver = DigitReceiver::default();
    assert_eq!(receiver.take(Now::ZERO, &packet(1, &[1, 0x80])), None);
}

#[test]
fn sender_sends_the_duration_up_and_the_end_three_times() {
    let mut sender = DigitSender::default();
    sender.queue("7", 100);
    let packets: Vec<_> = std::iter::from_fn(|| sender.next_slot()).collect();
    let durations: Vec<_> = packets
        .iter()
        .map(|sent| {
            (
                sent.payload[1] >> 7,
                u16::from_be_bytes([sent.payload[2], sent.payload[3]]),
            )
        })
        .collect();
    assert_eq!(
        durations,
        [
            (0, 160),
            (0, 320),
            (0, 480),
            (0, 640),
            (1, 800),
            (1, 800),
            (1, 800)
        ]
    );
    assert_eq!(packets.iter().filter(|sent| sent.first).count(), 1);
    assert!(packets[0].first && packets[6].last);
}

#[test]
fn digits_are_spaced_and_commas_pause() {
    let mut sender = DigitSender::default();
    sender.queue("1,2x", 40);
    let slots: Vec<bool> = (0..60).map(|_| sender.next_slot().is_some()).collect();
    let starts: Vec<usize> = (1..60).filter(|at| slots[*at] && !slots[at - 1]).collect();
    assert!(slots[0] && starts.len() == 1);
    let silent = slots[..starts[0]]
        .iter()
        .filter(|sending| !**sending)
        .count();
    assert!((26..=32).contains(&silent), "{silent}");
}

#[test]
fn queue_of_digits_is_bounded() {
    let mut sender = DigitSender::default();
    sender.queue(&"1".repeat(10_000), 100);
    assert_eq!(sender.queue.len(), MAX_QUEUE);
}
