//! The voice of a phone: RTP packets (RFC 3550 §5.1) with something to hear in them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

/// What a phone sends at a time.
pub(crate) const PTIME: Duration = Duration::from_millis(20);
const SAMPLES: u32 = 160;

/// One phone's stream of packets.
#[derive(Clone, Debug)]
pub(crate) struct Voice {
    ssrc: u32,
    sequence: u16,
}

impl Voice {
    pub(crate) const fn new(ssrc: u32) -> Self {
        Self { ssrc, sequence: 0 }
    }

    /// The next packet.
    pub(crate) fn packet(&mut self, payload_type: u8) -> Bytes {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = BytesMut::with_capacity(172);
        packet.put_u8(0x80);
        packet.put_u8(payload_type & 0x7f);
        packet.put_u16(self.sequence);
        packet.put_u32(u32::from(self.sequence) * SAMPLES);
        packet.put_u32(self.ssrc);
        packet.extend((0..SAMPLES).map(|sample| (sample * 7) as u8 | 0x80));
        packet.freeze()
    }
}

/// Whether nothing is to be heard in a packet: all its samples are the same.
pub(crate) fn is_silent(packet: &[u8]) -> bool {
    let payload = packet.get(12..).unwrap_or_default();
    payload.iter().all(|sample| Some(sample) == payload.first())
}

/// A datagram with media, from port to port.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Bytes,
}
