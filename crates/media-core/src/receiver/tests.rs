//! Sources and their statistics.

use super::*;
use crate::{Codec, Control};

fn media() -> LegMedia {
    LegMedia {
        remote: ([127, 0, 0, 1], 4000).into(),
        codec: Codec::Pcmu,
        payload_type: 0,
        dtmf: Some(101),
        ptime_ms: 20,
        send: true,
        receive: true,
        control: Control::default(),
        latch: false,
        protection: None,
    }
}

struct Bench {
    receiver: Receiver,
    figures: Figures,
    millis: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            receiver: Receiver::new(&media()),
            figures: Figures::default(),
            millis: 0,
        }
    }

    fn packet(&mut self, ssrc: u32, sequence: u16) {
        self.typed(0, ssrc, sequence);
    }

    fn typed(&mut self, payload_type: u8, ssrc: u32, sequence: u16) {
        let timestamp = u32::from(sequence) * 160;
        let packet = Packet {
            payload_type,
            marker: false,
            sequence,
            timestamp,
            ssrc,
            payload: &[0x11; 160],
        };
        self.receiver.take(
            Now::from_millis(self.millis),
            &packet,
            &media(),
            &mut self.figures,
        );
    }

    fn figures(&mut self) -> Figures {
        let mut figures = self.figures;
        self.receiver.report(&mut figures);
        figures
    }
}

#[test]
fn loss_duplicates_and_order_are_counted_over_the_wrap() {
    let mut bench = Bench::new();
    for sequence in [65_530, 65_531, 65_533, 65_532, 65_532, 65_535, 0, 3, 3] {
        bench.packet(1, sequence);
    }
    // Missing: 65534, 1, 2.
    let figures = bench.figures();
    assert_eq!((figures.lost, figures.duplicates), (3, 2));
}

#[test]
fn packet_before_the_first_is_no_gain() {
    let mut bench = Bench::new();
    for sequence in [10, 9, 11] {
        bench.packet(1, sequence);
    }
    assert_eq!(bench.figures().lost, 0);
}

#[test]
fn new_source_takes_over_and_stragglers_of_the_old_one_do_not_come_back() {
    let mut bench = Bench::new();
    for sequence in 0..10 {
        bench.packet(1, sequence);
        bench.receiver.jitter.pull();
    }
    bench.packet(2, 500);
    bench.packet(1, 10);
    bench.packet(2, 501);
    assert_eq!(bench.receiver.source.as_ref().unwrap().ssrc, 2);
    assert_eq!(bench.figures().late, 1);
    bench.millis += 100;
    bench.packet(1, 15);
    assert_eq!(bench.receiver.source.as_ref().unwrap().ssrc, 1);
}

#[test]
fn loss_survives_a_new_source_and_a_jump() {
    let mut bench = Bench::new();
    for (ssrc, sequence) in [(1, 1), (1, 3), (2, 100), (2, 103), (2, 40_000), (2, 40_001)] {
        bench.packet(ssrc, sequence);
    }
    assert_eq!(bench.figures().lost, 3);
}

#[test]
fn unknown_payload_types_are_counted_and_comfort_noise_is_not_one_of_them() {
    let mut bench = Bench::new();
    bench.typed(18, 1, 1);
    bench.typed(13, 1, 2);
    bench.typed(8, 1, 3);
    assert_eq!(bench.figures().wrong_payload, 2);
}

#[test]
fn jitter_is_zero_on_time_and_grows_with_uneven_arrival() {
    let mut even = Bench::new();
    let mut uneven = Bench::new();
    for sequence in 0..200 {
        even.millis = u64::from(sequence) * 20;
        even.packet(1, sequence);
        uneven.millis = u64::from(sequence) * 20 + u64::from(sequence % 2) * 10;
        uneven.packet(1, sequence);
    }
    assert!(even.figures().jitter_ms < 0.01);
    let jitter = uneven.figures().jitter_ms;
    assert!((9.0..=10.1).contains(&jitter), "{jitter}");
}

#[test]
fn deaf_leg_counts_but_stores_nothing() {
    let mut bench = Bench::new();
    let deaf = LegMedia {
        receive: false,
        ..media()
    };
    let packet = Packet {
        payload_type: 0,
        marker: false,
        sequence: 1,
        timestamp: 1,
        ssrc: 1,
        payload: &[0x11; 160],
    };
    bench
        .receiver
        .take(Now::ZERO, &packet, &deaf, &mut bench.figures);
    assert!(!bench.receiver.jitter.is_running());
    assert_eq!(bench.figures().wrong_payload, 0);
}

#[test]
fn one_straying_packet_does_not_begin_a_new_sequence() {
    let mut bench = Bench::new();
    for sequence in [1000, 1001, 1002, 900, 1003, 40_000, 1004] {
        bench.packet(1, sequence);
    }
    let figures = bench.figures();
    assert_eq!((figures.lost, figures.late), (0, 2));
}
