//! One RTP packet received and one sent: the unit of the media plane's cost.

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use media_core::{Codec, Control, Input, LegMedia, Output, Session, Side};
use std::hint::black_box;
use timebase::Now;

struct Call {
    session: Session,
    packet: Vec<u8>,
    sequence: u16,
    timestamp: u32,
    millis: u64,
    codec: Codec,
}

impl Call {
    fn new(codec: Codec, bridged: bool) -> Self {
        let mut session = Session::new(Now::ZERO, 1);
        for side in [Side::Caller, Side::Target]
            .into_iter()
            .take(1 + usize::from(bridged))
        {
            let media = LegMedia {
                remote: ([127, 0, 0, 1], 4000).into(),
                codec,
                payload_type: 0,
                dtmf: Some(101),
                ptime_ms: 20,
                send: true,
                receive: true,
                control: Control::default(),
                latch: false,
                protection: None,
            };
            session.handle_input(Now::ZERO, Input::Connect { side, media });
        }
        session.handle_input(Now::ZERO, Input::Bridge(bridged));
        Self {
            session,
            packet: vec![0x55; 172],
            sequence: 0,
            timestamp: 0,
            millis: 0,
            codec,
        }
    }

    fn receive(&mut self, side: Side) {
        self.packet[0] = 0x80;
        self.packet[1] = 0;
        self.packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        self.packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        let input = Input::Packet {
            side,
            from: ([127, 0, 0, 1], 4000).into(),
            data: &self.packet,
        };
        self.session
            .handle_input(Now::from_millis(self.millis), input);
    }

    fn slot(&mut self, audio: Option<&Bytes>) {
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        self.millis += 20;
        if let Some(audio) = audio {
            self.session
                .handle_input(Now::from_millis(self.millis), Input::Play(audio.clone()));
        }
        self.session.handle_timeout(Now::from_millis(self.millis));
        while let Some(output) = self.session.poll_output() {
            assert!(!matches!(output, Output::QueueFull), "{:?}", self.codec);
            black_box(output);
        }
    }
}

fn pairs(criterion: &mut Criterion) {
    let audio = Bytes::from_static(&[0x44; 160]);
    for (name, codec) in [
        ("agent, u-law leg", Codec::Pcmu),
        ("agent, A-law leg", Codec::Pcma),
    ] {
        let mut call = Call::new(codec, false);
        criterion.bench_function(name, |bench| {
            bench.iter(|| {
                call.receive(Side::Caller);
                call.slot(Some(&audio));
            });
        });
    }
    let mut call = Call::new(Codec::Pcmu, true);
    criterion.bench_function("bridged, two packets each way", |bench| {
        bench.iter(|| {
            call.receive(Side::Caller);
            call.receive(Side::Target);
            call.slot(None);
        });
    });
}

/// The jitter buffer at work: packets that are missing and made up for, and packets that come behind later ones.
fn rough(criterion: &mut Criterion) {
    let mut call = Call::new(Codec::Pcmu, false);
    criterion.bench_function("agent, u-law leg, every tenth packet lost", |bench| {
        bench.iter(|| {
            if !call.sequence.is_multiple_of(10) {
                call.receive(Side::Caller);
            }
            call.slot(None);
        });
    });
    let mut call = Call::new(Codec::Pcmu, false);
    criterion.bench_function(
        "agent, u-law leg, two slots whose packets changed places",
        |bench| {
            bench.iter(|| {
                let (sequence, timestamp) = (call.sequence, call.timestamp);
                call.slot(None);
                call.receive(Side::Caller);
                let later = (call.sequence, call.timestamp);
                (call.sequence, call.timestamp) = (sequence, timestamp);
                call.receive(Side::Caller);
                (call.sequence, call.timestamp) = later;
                call.slot(None);
            });
        },
    );
}

criterion_group!(benches, pairs, rough);
criterion_main!(benches);
