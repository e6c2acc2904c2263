//! A capture file of SIP messages, as tcpdump would have written it.
//!
//! Classic pcap with raw IP packets. Every message becomes one UDP datagram, also those that went over TCP,
//! whose segments are not known here; ladders and filters work the same. RTP is not in it.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use timebase::UnixMillis;

/// Packets begin with their IP header.
const LINKTYPE_RAW: u32 = 101;
/// The longest packet: what an IPv4 length field can say.
const LONGEST: usize = 65_535;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;

/// Writes packets to a capture file.
#[derive(Debug)]
pub struct PcapWriter<W> {
    file: W,
}

impl<W: Write> PcapWriter<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut file: W) -> io::Result<Self> {
        let mut head = Vec::with_capacity(24);
        head.extend(0xa1b2_c3d4_u32.to_le_bytes());
        head.extend(2_u16.to_le_bytes());
        head.extend(4_u16.to_le_bytes());
        head.extend([0; 8]);
        head.extend((LONGEST as u32).to_le_bytes());
        head.extend(LINKTYPE_RAW.to_le_bytes());
        file.write_all(&head)?;
        Ok(Self { file })
    }

    /// Adds one message; one that is too long for a datagram is cut short, and said to be.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn message(
        &mut self,
        at: UnixMillis,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) -> io::Result<()> {
        let packet = packet(from, to, bytes);
        let millis = u64::try_from(at.0).unwrap_or(0);
        let seconds = u32::try_from(millis / 1000).unwrap_or(u32::MAX);
        let micros = u32::try_from(millis % 1000 * 1000).unwrap_or(0);
        let taken = packet.len().min(LONGEST);
        for word in [seconds, micros, taken as u32, packet.len() as u32] {
            self.file.write_all(&word.to_le_bytes())?;
        }
        self.file.write_all(&packet[..taken])
    }

    /// Writes what is left and gives the file back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.file.flush()?;
        Ok(self.file)
    }
}

/// An IP packet with a UDP datagram (RFC 791, 8200, 768).
fn packet(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let udp = datagram(from, to, payload);
    let length = u16::try_from(udp.len()).unwrap_or(u16::MAX);
    let mut packet = Vec::with_capacity(40 + udp.len());
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            packet.extend([0x45, 0]);
            packet.extend(length.saturating_add(20).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
            packet.extend(source.octets());
            packet.extend(target.octets());
            let sum = checksum(&packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (source, target) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([UDP, 64]);
            packet.extend(octets(source));
            packet.extend(octets(target));
        }
    }
    packet.extend(udp);
    packet
}

fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(UDP_HEADER + payload.len()).unwrap_or(u16::MAX);
    let mut udp = Vec::with_capacity(UDP_HEADER + payload.len());
    udp.extend(from.port().to_be_bytes());
    udp.extend(to.port().to_be_bytes());
    udp.extend(length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let mut pseudo = Vec::with_capacity(40 + udp.len());
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            pseudo.extend(source.octets());
            pseudo.extend(target.octets());
        }
        (source, target) => {
            pseudo.extend(octets(source));
            pseudo.extend(octets(target));
        }
    }
    pseudo.extend(u32::from(length).to_be_bytes());
    pseudo.extend(u32::from(UDP).to_be_bytes());
    pseudo.extend(&udp);
    let sum = match checksum(&pseudo) {
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    udp
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
    let mut sum: u32 = words.fold(0, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(from: &str, to: &str, bytes: &[u8]) -> Vec<u8> {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        writer
            .message(
                UnixMillis(1_700_000_000_123),
                from.parse().unwrap(),
                to.parse().unwrap(),
                bytes,
            )
            .unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn a_message_is_one_packet_with_its_time() {
        let file = capture("192.0.2.1:5060", "192.0.2.2:5070", b"OPTIONS");
        assert_eq!(file[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
        assert_eq!(file[20..24], 101_u32.to_le_bytes());
        assert_eq!(file[24..28], 1_700_000_000_u32.to_le_bytes());
        assert_eq!(file[28..32], 123_000_u32.to_le_bytes());
        assert_eq!(file[32..36], 35_u32.to_le_bytes());
        assert_eq!(&file[24 + 16 + 28..], b"OPTIONS");
    }

    #[test]
    fn headers_carry_right_checksums_and_ports() {
        let file = capture("192.0.2.1:5060", "192.0.2.2:5070", b"odd");
        let packet = &file[40..];
        assert_eq!(checksum(&packet[..20]), 0);
        assert_eq!(packet[20..24], [0x13, 0xc4, 0x13, 0xce]);
        let mut pseudo = packet[12..20].to_vec();
        pseudo.extend([0, 17, 0, 11]);
        pseudo.extend(&packet[20..]);
        assert_eq!(checksum(&pseudo), 0);
    }

    #[test]
    fn ipv6_packets_are_ipv6() {
        let file = capture("[2001:db8::1]:5060", "[2001:db8::2]:5060", b"x");
        let packet = &file[40..];
        assert_eq!((packet[0] >> 4, packet[6], packet.len()), (6, 17, 49));
    }

    #[test]
    fn a_message_too_long_for_a_datagram_is_cut_and_said_to_be() {
        let file = capture("192.0.2.1:5060", "192.0.2.2:5070", &vec![b'x'; 70_000]);
        assert_eq!(file[32..36], 65_535_u32.to_le_bytes());
        assert_eq!(file[36..40], 70_028_u32.to_le_bytes());
        assert_eq!(file.len(), 24 + 16 + 65_535);
    }
}
