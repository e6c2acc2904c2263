//! The pairs of ports: which are free, which are kept, which are bound.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vocabulary::MediaError;

/// The pairs of the configured range. A pair that comes back goes to the end of the queue, so
/// that the one least recently used is taken next; one that another program has bound goes there
/// as well.
#[derive(Debug)]
pub(crate) struct Ports {
    listen: IpAddr,
    pairs: usize,
    pool: Mutex<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// The even ports of the free pairs.
    free: VecDeque<u16>,
    /// Sessions, each with the right to a second pair.
    rights: usize,
    /// Second pairs in use.
    seconds: usize,
}

impl Pool {
    /// Pairs kept for sessions that have no second one yet.
    fn kept(&self) -> usize {
        self.rights.saturating_sub(self.seconds)
    }
}

/// A session's right to a second pair, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Right {
    ports: Arc<Ports>,
}

impl Drop for Right {
    fn drop(&mut self) {
        self.ports.pool().rights -= 1;
    }
}

/// A bound pair. The sockets stand before the lease, so that they are closed before the ports
/// are free again.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    pub(crate) lease: Lease,
}

/// The claim on a pair's ports.
#[derive(Debug)]
pub(crate) struct Lease {
    ports: Arc<Ports>,
    port: u16,
    second: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut pool = self.ports.pool();
        pool.free.push_back(self.port);
        pool.seconds -= usize::from(self.second);
        drop(pool);
    }
}

impl Ports {
    /// The pairs in a range: an even port and the odd one above it.
    pub(crate) fn new(listen: IpAddr, range: &RangeInclusive<u16>) -> io::Result<Self> {
        let even = range
            .clone()
            .filter(|port| port % 2 == 0 && *port != 0 && port < range.end());
        let free: VecDeque<u16> = even.collect();
        if free.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the media port range holds no pair of ports",
            ));
        }
        let pairs = free.len();
        Ok(Self {
            listen,
            pairs,
            pool: Mutex::new(Pool {
                free,
                rights: 0,
                seconds: 0,
            }),
        })
    }

    /// Binds a pair for a new session and keeps another one for it.
    pub(crate) fn first(self: &Arc<Self>) -> Result<(Pair, Right), MediaError> {
        {
            let mut pool = self.pool();
            if pool.free.len() < pool.kept() + 2 {
                return Err(MediaError::NoPorts);
            }
            pool.rights += 1;
        }
        let right = Right {
            ports: Arc::clone(self),
        };
        Ok((self.bind(false)?, right))
    }

    /// Binds the second pair of a session.
    pub(crate) fn second(self: &Arc<Self>) -> Result<Pair, MediaError> {
        self.bind(true)
    }

    /// Ports bound, ports kept, ports in all.
    pub(crate) fn count(&self) -> (usize, usize, usize) {
        let pool = self.pool();
        (
            2 * (self.pairs - pool.free.len()),
            2 * pool.kept(),
            2 * self.pairs,
        )
    }

    fn bind(self: &Arc<Self>, second: bool) -> Result<Pair, MediaError> {
        for _ in 0..self.pairs {
            let Some(lease) = self.lease(second) else {
                break;
            };
            match bind_pair(self.listen, lease.port) {
                Ok((rtp, rtcp)) => return Ok(Pair { rtp, rtcp, lease }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tracing::debug!(
                        port = lease.port,
                        "media port in use by another program, next"
                    );
                }
                Err(error) => return Err(MediaError::Bind(error)),
            }
        }
        Err(MediaError::NoPorts)
    }

    fn lease(self: &Arc<Self>, second: bool) -> Option<Lease> {
        let mut pool = self.pool();
        let port = pool.free.pop_front()?;
        pool.seconds += usize::from(second);
        drop(pool);
        Some(Lease {
            ports: Arc::clone(self),
            port,
            second,
        })
    }

    /// The lock is held for a few instructions and never across a system call; its holder cannot
    /// leave the pool half changed.
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind_pair(listen: IpAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
    let rtp = UdpSocket::bind(SocketAddr::new(listen, port))?;
    let rtcp = UdpSocket::bind(SocketAddr::new(listen, port + 1))?;
    rtp.set_nonblocking(true)?;
    rtcp.set_nonblocking(true)?;
    Ok((rtp, rtcp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// A range of so many pairs that nobody uses at the moment.
    fn ports(pairs: u16) -> Arc<Ports> {
        let start = (0..)
            .map(|n| 41_000 + n * 64)
            .find(|start| {
                (0..pairs * 2).all(|n| UdpSocket::bind((Ipv4Addr::LOCALHOST, start + n)).is_ok())
            })
            .unwrap();
        Arc::new(Ports::new(Ipv4Addr::LOCALHOST.into(), &(start..=start + pairs * 2 - 1)).unwrap())
    }

    fn port(pair: &Pair) -> u16 {
        pair.rtp.local_addr().unwrap().port()
    }

    #[test]
    fn pairs_are_an_even_port_and_the_next() {
        let (pair, _right) = ports(2).first().unwrap();
        assert_eq!(port(&pair) % 2, 0);
        assert_eq!(pair.rtcp.local_addr().unwrap().port(), port(&pair) + 1);
    }

    #[test]
    fn every_session_can_have_its_second_pair() {
        let ports = ports(5);
        let first = ports.first().unwrap();
        let other = ports.first().unwrap();
        assert!(
            matches!(ports.first(), Err(MediaError::NoPorts)),
            "one pair is left, and two are kept"
        );
        assert_eq!(ports.count(), (4, 4, 10));
        let (second, third) = (ports.second().unwrap(), ports.second().unwrap());
        assert_eq!(ports.count(), (8, 0, 10));
        drop((first, other, second, third));
        assert_eq!(ports.count(), (0, 0, 10));
    }

    #[test]
    fn pair_that_comes_back_is_used_last() {
        let ports = ports(4);
        let (first, right) = ports.first().unwrap();
        let (returned, _) = (port(&first), drop((first, right)));
        for _ in 0..3 {
            let (pair, _right) = ports.first().unwrap();
            assert_ne!(port(&pair), returned);
        }
        assert_eq!(port(&ports.first().unwrap().0), returned);
    }

    #[test]
    fn port_in_use_by_another_program_is_passed_over() {
        let ports = ports(3);
        let lowest = *ports.pool().free.front().unwrap();
        for taken in [lowest, lowest + 1] {
            let _other = UdpSocket::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
            let (pair, _right) = ports.first().unwrap();
            assert_ne!(port(&pair), lowest);
        }
        assert_eq!(ports.count(), (0, 0, 6));
    }

    #[test]
    fn all_ports_in_use_by_others_is_an_answer_and_not_a_loop() {
        let ports = ports(2);
        let lowest = *ports.pool().free.front().unwrap();
        let _others: Vec<_> = [0, 2]
            .map(|n| UdpSocket::bind((Ipv4Addr::LOCALHOST, lowest + n)).unwrap())
            .into();
        assert!(matches!(ports.first(), Err(MediaError::NoPorts)));
        assert_eq!(ports.count(), (0, 0, 4));
    }

    #[test]
    fn range_without_a_pair_is_refused() {
        assert!(Ports::new(Ipv4Addr::LOCALHOST.into(), &(20_001..=20_002)).is_err());
    }
}
