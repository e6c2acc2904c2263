//! From whom a leg's media are taken: the signalled address, or, with symmetric RTP (RFC 4961), the
//! one that the first packets come from, and from then on nobody else.

use crate::rtp::Packet;
use std::net::SocketAddr;
use std::time::Duration;
use timebase::Now;

/// Packets in a row by which an address that was not signalled is believed.
const CONVINCING: u8 = 3;
/// Packets a second that a port takes: ten milliseconds each, and as many again.
const RATE: f32 = 200.0;
/// Packets that may come at once, as after a stall of the network.
const BURST: f32 = 150.0;

/// What is done with a datagram, judged by its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the peer's.
    Ours,
    /// It may be the peer's: the packet inside decides, by [`Latch::convince`].
    Candidate,
    /// It is a stranger's.
    Foreign,
}

/// Where a leg's packets come from.
#[derive(Debug)]
pub(crate) struct Latch {
    /// The signalled address; it outlives a hold with an unspecified one.
    signalled: SocketAddr,
    /// Packets came from this port of the signalled host, or this address was latched on to: those
    /// from elsewhere are somebody else's.
    locked: Option<SocketAddr>,
    /// Who may be latched on to: the address, source and sequence number, and how many came in a row.
    candidate: Option<(SocketAddr, u32, u16, u8)>,
    symmetric: bool,
}

impl Latch {
    /// A leg of which nothing has come.
    pub(crate) fn new(signalled: SocketAddr, symmetric: bool) -> Self {
        Self {
            signalled: canonical(signalled),
            locked: None,
            candidate: None,
            symmetric,
        }
    }

    /// Takes over an address that was signalled anew: one that has changed is latched on to anew.
    pub(crate) fn signalled(&mut self, address: SocketAddr, symmetric: bool) {
        let address = canonical(address);
        let is_new = !address.ip().is_unspecified() && address != self.signalled;
        if is_new || symmetric != self.symmetric {
            if is_new {
                self.signalled = address;
            }
            self.locked = None;
            self.candidate = None;
            self.symmetric = symmetric;
        }
    }

    /// Judges a datagram by its sender.
    pub(crate) fn judge(&self, from: SocketAddr) -> Verdict {
        let from = canonical(from);
        match self.locked {
            Some(locked) if locked == from => Verdict::Ours,
            Some(_) => Verdict::Foreign,
            None if from == self.signalled => Verdict::Ours,
            None if self.symmetric => Verdict::Candidate,
            None if from.ip() == self.signalled.ip() => Verdict::Ours,
            None => Verdict::Foreign,
        }
    }

    /// The peer's packet has come from there: with the signalled port it is that one for good.
    pub(crate) fn heard(&mut self, from: SocketAddr) {
        let from = canonical(from);
        if from == self.signalled {
            self.locked = Some(from);
        }
    }

    /// A packet that fits what was negotiated came from a candidate; whether it is believed now. The
    /// packets must follow each other: one that only guesses, or a second sender, begins anew.
    pub(crate) fn convince(&mut self, from: SocketAddr, packet: &Packet<'_>) -> bool {
        let from = canonical(from);
        let count = match self.candidate {
            Some((address, ssrc, sequence, count))
                if address == from
                    && ssrc == packet.ssrc
                    && (1..=8).contains(&packet.sequence.wrapping_sub(sequence)) =>
            {
                count + 1
            }
            Some(_) | None => 1,
        };
        self.candidate = Some((from, packet.ssrc, packet.sequence, count));
        if count < CONVINCING {
            return false;
        }
        self.locked = Some(from);
        self.candidate = None;
        true
    }

    /// Where to send: to the address that was latched on to, else to the signalled one.
    pub(crate) fn destination(&self, signalled: SocketAddr) -> SocketAddr {
        self.locked
            .filter(|_| self.symmetric && !signalled.ip().is_unspecified())
            .unwrap_or(signalled)
    }

    /// Whether control packets from this host are the peer's.
    pub(crate) fn is_peers_host(&self, from: SocketAddr) -> bool {
        let peer = self.locked.unwrap_or(self.signalled);
        canonical(from).ip() == peer.ip()
    }
}

/// Bounds the packets of a port.
#[derive(Debug)]
pub(crate) struct Rate {
    left: f32,
    at: Now,
}

impl Rate {
    pub(crate) const fn new() -> Self {
        Self {
            left: BURST,
            at: Now(Duration::ZERO),
        }
    }

    /// Whether one more packet is taken now.
    pub(crate) fn takes(&mut self, now: Now) -> bool {
        self.left = (self.left + now.since(self.at).as_secs_f32() * RATE).min(BURST);
        self.at = now;
        let takes = self.left >= 1.0;
        self.left -= f32::from(u8::from(takes));
        takes
    }
}

/// An IPv4 address that came mapped into IPv6 is the same address.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8, port: u16) -> SocketAddr {
        ([198, 51, 100, last], port).into()
    }

    fn packet(ssrc: u32, sequence: u16) -> Packet<'static> {
        Packet {
            payload_type: 0,
            marker: false,
            sequence,
            timestamp: 0,
            ssrc,
            payload: &[0x55; 160],
        }
    }

    #[test]
    fn address_behind_a_nat_is_latched_on_to_after_three_packets_and_nobody_else_is_followed() {
        let mut latch = Latch::new(at(1, 4000), true);
        let (nat, stranger) = (at(9, 55_555), at(66, 6666));
        for sequence in [10, 11] {
            assert_eq!(latch.judge(nat), Verdict::Candidate);
            assert!(!latch.convince(nat, &packet(7, sequence)));
        }
        assert!(latch.convince(nat, &packet(7, 12)));
        assert_eq!(latch.judge(nat), Verdict::Ours);
        assert_eq!(latch.destination(at(1, 4000)), nat);
        for other in [stranger, at(9, 55_556), at(1, 4000)] {
            assert_eq!(latch.judge(other), Verdict::Foreign);
        }
    }

    #[test]
    fn signalled_address_is_believed_at_once_and_for_good() {
        let mut latch = Latch::new(at(1, 4000), true);
        latch.convince(at(66, 6666), &packet(1, 1));
        assert_eq!(latch.judge(at(1, 4000)), Verdict::Ours);
        latch.heard(at(1, 4000));
        assert_eq!(latch.judge(at(66, 6666)), Verdict::Foreign);
        assert_eq!(latch.destination(at(1, 4000)), at(1, 4000));
    }

    #[test]
    fn packets_that_do_not_follow_each_other_convince_nobody() {
        let mut latch = Latch::new(at(1, 4000), true);
        for (ssrc, sequence) in [(1, 10), (1, 500), (2, 501), (3, 502), (1, 9000), (1, 20)] {
            assert!(!latch.convince(at(66, 6666), &packet(ssrc, sequence)));
        }
    }

    #[test]
    fn address_that_is_signalled_anew_is_latched_on_to_anew() {
        let mut latch = Latch::new(at(1, 4000), true);
        (1..=3).for_each(|sequence| {
            latch.convince(at(9, 5000), &packet(1, sequence));
        });
        latch.signalled(at(1, 4000), true);
        assert_eq!(latch.judge(at(9, 5000)), Verdict::Ours, "the same again");
        latch.signalled(([0, 0, 0, 0], 4000).into(), true);
        assert_eq!(latch.judge(at(9, 5000)), Verdict::Ours, "a hold");
        latch.signalled(at(2, 4000), true);
        assert_eq!(latch.judge(at(9, 5000)), Verdict::Candidate);
    }

    #[test]
    fn without_latching_other_ports_of_the_host_count_until_the_signalled_one_speaks() {
        let mut latch = Latch::new(at(1, 4000), false);
        assert_eq!(latch.judge(at(1, 4444)), Verdict::Ours);
        assert_eq!(latch.judge(at(2, 4000)), Verdict::Foreign);
        latch.heard(at(1, 4444));
        assert_eq!(latch.judge(at(1, 4000)), Verdict::Ours);
        latch.heard(at(1, 4000));
        assert_eq!(latch.judge(at(1, 4444)), Verdict::Foreign);
        assert_eq!(latch.destination(at(1, 4000)), at(1, 4000));
    }

    #[test]
    fn flood_is_cut_to_the_rate_and_a_stall_of_the_network_is_not_a_flood() {
        let mut rate = Rate::new();
        let taken = |rate: &mut Rate, at: u64, count: usize| {
            let now = Now::from_millis(at);
            (0..count).filter(|_| rate.takes(now)).count()
        };
        assert_eq!(taken(&mut rate, 10_000, 100), 100, "two seconds at once");
        let flood: usize = (0..50)
            .map(|slot| taken(&mut rate, 10_000 + slot * 20, 100))
            .sum();
        assert!((150..=260).contains(&flood), "{flood}");
        assert_eq!(taken(&mut rate, 20_000, 2), 2);
    }
}
