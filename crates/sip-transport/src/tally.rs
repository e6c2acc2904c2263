//! What the sockets have counted, and the log lines of what is refused: one per source and minute.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use timebase::Now;

/// Sources remembered; beyond that the memory starts anew.
const REMEMBERED: usize = 4096;
/// How long a source's next line waits.
const QUIET: Duration = Duration::from_secs(60);

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Connections made to us.
    Accepted,
    /// Connections turned away, or given up for a newer one, for want of room.
    Refused,
    /// Connections whose first message, or a started one, did not come in time.
    Slow,
    /// Connections that nobody used.
    Idle,
    /// Connections whose peer did not take what was written.
    Stuck,
    /// TLS handshakes that failed or took too long, in either role.
    Handshake,
    /// Broken datagrams beyond what is answered.
    Broken,
    /// Failures to accept.
    Accept,
}

const COUNTS: usize = 8;

/// What the sockets hold now, and have counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportFigures {
    /// Connections open now.
    pub connections: u64,
    /// Connections made to us.
    pub accepted: u64,
    /// Connections turned away, or given up for a newer one, for want of room.
    pub refused: u64,
    /// Connections closed since a message did not come in time.
    pub slow: u64,
    /// Connections closed since nobody used them.
    pub idle: u64,
    /// Connections closed since the peer did not take what was written.
    pub stuck: u64,
    /// TLS handshakes that failed or took too long, in either role.
    pub handshakes_failed: u64,
    /// Broken datagrams that were not even answered.
    pub datagrams_dropped: u64,
    /// Times that the system had no room for a connection.
    pub accept_failed: u64,
}

/// The counters, shared between the tasks around the sockets.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    connections: AtomicU64,
    counts: [AtomicU64; COUNTS],
}

impl Tally {
    pub(crate) fn count(&self, what: Count) {
        if let Some(count) = self.counts.get(what as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn connections(&self, open: usize) {
        self.connections.store(open as u64, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> TransportFigures {
        let of = |what: Count| {
            self.counts
                .get(what as usize)
                .map_or(0, |count| count.load(Ordering::Relaxed))
        };
        TransportFigures {
            connections: self.connections.load(Ordering::Relaxed),
            accepted: of(Count::Accepted),
            refused: of(Count::Refused),
            slow: of(Count::Slow),
            idle: of(Count::Idle),
            stuck: of(Count::Stuck),
            handshakes_failed: of(Count::Handshake),
            datagrams_dropped: of(Count::Broken),
            accept_failed: of(Count::Accept),
        }
    }
}

/// One source: an IPv4 address, or the network of 64 bits that an IPv6 host can choose from.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Says which sources may have another log line.
#[derive(Debug, Default)]
pub(crate) struct Lines(HashMap<IpAddr, Now>);

impl Lines {
    pub(crate) fn may(&mut self, now: Now, source: IpAddr) -> bool {
        let source = source_of(source);
        if self.0.get(&source).is_some_and(|last| now - *last < QUIET) {
            return false;
        }
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(source, now);
        true
    }
}

/// How many answers each source is still given: a bucket that fills with time.
#[derive(Debug)]
pub(crate) struct Allowance {
    most: f64,
    per_second: f64,
    left: HashMap<IpAddr, (f64, Now)>,
}

impl Allowance {
    pub(crate) fn new((most, per_second): (u32, u32)) -> Self {
        Self {
            most: most.into(),
            per_second: per_second.into(),
            left: HashMap::new(),
        }
    }

    /// Takes one answer of a source.
    pub(crate) fn take(&mut self, now: Now, source: IpAddr) -> bool {
        if self.left.len() >= REMEMBERED {
            self.left.clear();
        }
        let (left, since) = self
            .left
            .entry(source_of(source))
            .or_insert((self.most, now));
        *left = ((now - *since).as_secs_f64().mul_add(self.per_second, *left)).min(self.most);
        *since = now;
        let may = *left >= 1.0;
        if may {
            *left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_gets_a_line_a_minute_and_another_source_its_own() {
        let mut lines = Lines::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!(lines.may(Now::ZERO, one));
        assert!(!lines.may(Now::from_millis(59_999), one));
        assert!(lines.may(Now::from_millis(59_999), other));
        assert!(lines.may(Now::from_millis(60_000), one));
    }

    #[test]
    fn answers_run_out_at_once_and_come_back_with_time() {
        let mut allowance = Allowance::new((3, 2));
        let source = "192.0.2.1".parse().unwrap();
        let taken = |allowance: &mut Allowance, at| {
            (0..10)
                .filter(|_| allowance.take(Now::from_millis(at), source))
                .count()
        };
        assert_eq!(taken(&mut allowance, 0), 3);
        assert_eq!(taken(&mut allowance, 1000), 2);
        assert_eq!(taken(&mut allowance, 60_000), 3);
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_source_and_mapped_addresses_are_ipv4() {
        let source = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }
}
