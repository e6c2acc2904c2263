//! RTP packets (RFC 3550 §5.1): the only module that names `rtp-rs`.

use bytes::{Bytes, BytesMut};
use rtp_rs::{RtpPacketBuilder, RtpReader, Seq};

/// Bytes of the fixed header.
const HEADER: usize = 12;
/// Packets are cut from blocks of this size, which are taken up again once all their packets are gone.
const BLOCK: usize = 4096;

/// A packet as read: CSRC list, header extension and padding are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: &'a [u8],
}

/// Reads a datagram; `None` if it is not RTP version 2 or its lengths do not fit.
pub(crate) fn read(datagram: &[u8]) -> Option<Packet<'_>> {
    let reader = RtpReader::new(datagram).ok()?;
    Some(Packet {
        payload_type: reader.payload_type(),
        marker: reader.mark(),
        sequence: u16::from(reader.sequence_number()),
        timestamp: reader.timestamp(),
        ssrc: reader.ssrc(),
        payload: reader.payload(),
    })
}

/// Writes packets without an allocation of their own.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    block: BytesMut,
}

impl Writer {
    /// Bytes as a datagram.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.block.capacity() < bytes.len() {
            self.block.reserve(BLOCK.max(bytes.len()));
        }
        self.block.extend_from_slice(bytes);
        self.block.split().freeze()
    }

    /// The packet as a datagram; `None` for a payload type beyond seven bits.
    pub(crate) fn write(&mut self, packet: &Packet<'_>) -> Option<Bytes> {
        let length = HEADER + packet.payload.len();
        if self.block.capacity() < length {
            self.block.reserve(BLOCK.max(length));
        }
        self.block.resize(length, 0);
        let built = RtpPacketBuilder::new()
            .payload_type(packet.payload_type)
            .marked(packet.marker)
            .sequence(Seq::from(packet.sequence))
            .timestamp(packet.timestamp)
            .ssrc(packet.ssrc)
            .payload(packet.payload)
            .build_into(&mut self.block);
        let datagram = self.block.split().freeze();
        built.is_ok().then_some(datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csrc_extension_and_padding_are_skipped() {
        let mut datagram = vec![0xB2, 0x80, 0, 7, 0, 0, 0, 9, 0, 0, 0, 5];
        datagram.extend_from_slice(&[1; 8]);
        datagram.extend_from_slice(&[0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
        datagram.extend_from_slice(&[0xAA, 0xBB, 0, 0, 3]);
        let packet = read(&datagram).unwrap();
        assert_eq!(packet.payload, [0xAA, 0xBB]);
        assert_eq!(
            (
                packet.marker,
                packet.sequence,
                packet.timestamp,
                packet.ssrc
            ),
            (true, 7, 9, 5)
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let packet = Packet {
            payload_type: 8,
            marker: true,
            sequence: 65_535,
            timestamp: u32::MAX,
            ssrc: 3,
            payload: &[1, 2],
        };
        let bytes = Writer::default().write(&packet).unwrap();
        let again = read(&bytes).unwrap();
        assert_eq!(
            (again.payload_type, again.sequence, again.payload),
            (8, 65_535, &[1_u8, 2][..])
        );
    }
}
