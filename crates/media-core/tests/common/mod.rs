//! A session on virtual time, with hand-made packets.
#![allow(dead_code, clippy::unwrap_used)]

use media_core::{Codec, Control, Input, LegMedia, Output, Session, Side};
use std::net::SocketAddr;
use timebase::Now;

pub(crate) fn address(side: Side) -> SocketAddr {
    match side {
        Side::Caller => ([198, 51, 100, 1], 4000).into(),
        Side::Target => ([198, 51, 100, 2], 6000).into(),
    }
}

pub(crate) fn media(side: Side) -> LegMedia {
    LegMedia {
        remote: address(side),
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

pub(crate) fn rtp(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&7_u32.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// A packet that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn sent(output: &Output, wanted: Side) -> Option<Sent> {
    match output {
        Output::Rtp { side, to, data } if *side == wanted => Some(Sent {
            marker: data[1] & 0x80 != 0,
            payload_type: data[1] & 0x7F,
            sequence: u16::from_be_bytes([data[2], data[3]]),
            timestamp: u32::from_be_bytes([data[4], data[5], data[6], data[7]]),
            ssrc: u32::from_be_bytes([data[8], data[9], data[10], data[11]]),
            to: *to,
            payload: data[12..].to_vec(),
        }),
        Output::Rtp { .. }
        | Output::Rtcp { .. }
        | Output::Heard { .. }
        | Output::Dtmf { .. }
        | Output::MarkPlayed { .. }
        | Output::Drained
        | Output::QueueFull
        | Output::Underrun { .. } => None,
    }
}

pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) millis: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            session: Session::new(Now::ZERO, 1),
            millis: 0,
        }
    }

    pub(crate) fn with_caller() -> Self {
        let mut world = Self::new();
        world.input(Input::Connect {
            side: Side::Caller,
            media: media(Side::Caller),
        });
        world
    }

    pub(crate) fn now(&self) -> Now {
        Now::from_millis(self.millis)
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.session.handle_input(self.now(), input);
    }

    pub(crate) fn packet(&mut self, side: Side, data: &[u8]) {
        self.input(Input::Packet {
            side,
            from: address(side),
            data,
        });
    }

    /// 20 ms later: what is due; gives its outputs.
    pub(crate) fn slot(&mut self) -> Vec<Output> {
        self.millis += 20;
        let mut outputs = Vec::new();
        while self.is_due() {
            self.session.handle_timeout(self.now());
            outputs.extend(self.outputs());
        }
        outputs
    }

    pub(crate) fn is_due(&self) -> bool {
        let due = self.session.poll_timeout();
        due.is_some_and(|due| due <= self.now())
    }

    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll_output()).collect()
    }

    /// Slots with nothing coming in; gives what was sent to a side.
    pub(crate) fn sent(&mut self, side: Side, slots: usize) -> Vec<Sent> {
        (0..slots)
            .flat_map(|_| self.slot())
            .filter_map(|output| sent(&output, side))
            .collect()
    }
}

/// Audio like speech: swelling syllables of two harmonics, as µ-law without digital silence.
pub(crate) fn speech(samples: usize) -> Vec<u8> {
    (0..samples)
        .map(|at| {
            let time = at as f64 / 8000.0;
            let swell = (time * 9.0).sin().abs() * 9000.0;
            let voice = (time * 870.0).sin() + 0.5 * (time * 2610.0).sin();
            let byte = audio_codec_algorithms::encode_ulaw((swell * voice) as i16);
            if byte == 0xFF { 0xFE } else { byte }
        })
        .collect()
}
