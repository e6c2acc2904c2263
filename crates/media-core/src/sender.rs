//! What goes to one leg: frames packed to the leg's packet time, events, one sequence.

use crate::codec::Audio;
use crate::dtmf::EventPacket;
use crate::rtp::{Packet, Writer};
use crate::{FRAME, LegMedia};
use bytes::Bytes;

/// Samples that may wait for their packet: the largest packet time and a frame.
const PENDING: usize = 480 + FRAME;

/// The sending half of a leg. Timestamps run with the slots whether or not packets leave.
#[derive(Debug)]
pub(crate) struct Sender {
    ssrc: u32,
    sequence: u16,
    /// The timestamp of the first pending sample.
    timestamp: u32,
    pending: [u8; PENDING],
    length: usize,
    /// The next audio packet starts a talk-spurt.
    marker: bool,
    /// The timestamp of the event being sent.
    event: u32,
    writer: Writer,
}

impl Sender {
    /// A sender whose numbers start at random.
    pub(crate) fn new(random: u64) -> Self {
        #[allow(clippy::cast_possible_truncation)]
        let (ssrc, rest) = (random as u32, (random >> 32) as u32);
        Self {
            ssrc,
            sequence: (rest >> 16) as u16,
            timestamp: rest.wrapping_mul(0x9E37_79B9),
            pending: [0; PENDING],
            length: 0,
            marker: true,
            event: 0,
            writer: Writer::default(),
        }
    }

    /// The source that this end is.
    pub(crate) const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The timestamp of this moment.
    pub(crate) const fn timestamp(&self) -> u32 {
        self.timestamp.wrapping_add(self.length as u32)
    }

    /// A report as a datagram.
    pub(crate) fn report(&mut self, bytes: &[u8]) -> Bytes {
        self.writer.copy(bytes)
    }

    /// Packs a frame; packets that are full go to `sent`.
    pub(crate) fn audio(
        &mut self,
        audio: Audio,
        spurt: bool,
        media: &LegMedia,
        mut sent: impl FnMut(Bytes),
    ) {
        let packet_time = usize::from(media.ptime_ms.clamp(10, 60)) * 8;
        self.marker |= spurt;
        self.pending[self.length..self.length + FRAME].copy_from_slice(&audio.to(media.codec));
        self.length += FRAME;
        let mut from = 0;
        while self.length - from >= packet_time {
            let packet = Packet {
                payload_type: media.payload_type,
                marker: std::mem::take(&mut self.marker),
                sequence: self.sequence,
                timestamp: self.timestamp,
                ssrc: self.ssrc,
                payload: &self.pending[from..from + packet_time],
            };
            self.writer.write(&packet).into_iter().for_each(&mut sent);
            self.sequence = self.sequence.wrapping_add(1);
            self.advance(packet_time);
            from += packet_time;
        }
        self.pending.copy_within(from..self.length, 0);
        self.length -= from;
    }

    /// Sends an event packet in place of a frame (RFC 4733 §2.5.1).
    pub(crate) fn event(&mut self, event: EventPacket, payload_type: u8) -> Option<Bytes> {
        if event.first {
            self.drop_pending();
            self.event = self.timestamp;
        }
        let packet = Packet {
            payload_type,
            marker: event.first,
            sequence: self.sequence,
            timestamp: self.event,
            ssrc: self.ssrc,
            payload: &event.payload,
        };
        let bytes = self.writer.write(&packet);
        self.sequence = self.sequence.wrapping_add(1);
        self.advance(FRAME);
        self.marker = true;
        bytes
    }

    /// Lets a slot pass without sending.
    pub(crate) fn pass(&mut self) {
        self.drop_pending();
        self.advance(FRAME);
        self.marker = true;
    }

    fn drop_pending(&mut self) {
        self.advance(self.length);
        self.length = 0;
    }

    const fn advance(&mut self, samples: usize) {
        #[allow(clippy::cast_possible_truncation)]
        let samples = samples as u32;
        self.timestamp = self.timestamp.wrapping_add(samples);
    }
}

#[cfg(test)]
mod tests;
