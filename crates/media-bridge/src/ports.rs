//! The pairs of ports: which are free, which are kept, which are bound.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::vocabulary::{MediaAddress, MediaError};

/// The pairs of the configured range. A pair that comes back goes to the end of the queue, so
/// that the one least recently used is taken next; one that another program has bound goes there
/// as well.
#[derive(Debug)]
pub(crate) struct Ports {
    addresses: Vec<MediaAddress>,
    dscp: u8,
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
    /// The address that peers are told.
    pub(crate) told: IpAddr,
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
    pub(crate) fn new(
        addresses: Vec<MediaAddress>,
        range: &RangeInclusive<u16>,
        dscp: u8,
    ) -> io::Result<Self> {
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no address for media",
            ));
        }
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
            addresses,
            dscp,
            pairs,
            pool: Mutex::new(Pool {
                free,
                rights: 0,
                seconds: 0,
            }),
        })
    }

    /// Binds a pair for a new session and keeps another one for it.
    pub(crate) fn first(
        self: &Arc<Self>,
        toward: Option<IpAddr>,
    ) -> Result<(Pair, Right), MediaError> {
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
        Ok((self.bind(toward, false)?, right))
    }

    /// Binds the second pair of a session.
    pub(crate) fn second(self: &Arc<Self>, toward: IpAddr) -> Result<Pair, MediaError> {
        self.bind(Some(toward), true)
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

    /// The address of the family of `toward`, else the first one.
    fn address(&self, toward: Option<IpAddr>) -> Option<MediaAddress> {
        let is_ipv4 = toward.map(|toward| toward.to_canonical().is_ipv4());
        let fits = |own: &&MediaAddress| Some(own.listen.is_ipv4()) == is_ipv4;
        let found = self.addresses.iter().find(fits);
        found.or_else(|| self.addresses.first()).copied()
    }

    fn bind(self: &Arc<Self>, toward: Option<IpAddr>, second: bool) -> Result<Pair, MediaError> {
        let address = self.address(toward).ok_or(MediaError::NoPorts)?;
        for _ in 0..self.pairs {
            let Some(lease) = self.lease(second) else {
                break;
            };
            match bind_pair(address.listen, lease.port, self.dscp) {
                Ok((rtp, rtcp)) => {
                    return Ok(Pair {
                        rtp,
                        rtcp,
                        told: address.advertise.unwrap_or(address.listen),
                        lease,
                    });
                }
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

fn bind_pair(listen: IpAddr, port: u16, dscp: u8) -> io::Result<(UdpSocket, UdpSocket)> {
    let rtp = bind(SocketAddr::new(listen, port))?;
    let rtcp = bind(SocketAddr::new(listen, port + 1))?;
    for socket in [&rtp, &rtcp] {
        if let Err(error) = mark(socket, listen, dscp) {
            tracing::debug!(%error, "media packets are not marked");
        }
    }
    Ok((rtp, rtcp))
}

/// A socket of one family: `::` does not take IPv4, whose ports may be bound beside it.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Marks what a socket sends (RFC 2474 §3): the upper six bits of IPv4's TOS and IPv6's traffic class.
fn mark(socket: &UdpSocket, own: IpAddr, dscp: u8) -> io::Result<()> {
    let (socket, value) = (SockRef::from(socket), u32::from(dscp) << 2);
    match own {
        _ if dscp == 0 => Ok(()),
        IpAddr::V4(_) => socket.set_tos_v4(value),
        IpAddr::V6(_) => socket.set_tclass_v6(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn loopback() -> Vec<MediaAddress> {
        vec![MediaAddress {
            listen: Ipv4Addr::LOCALHOST.into(),
            advertise: None,
        }]
    }

    /// A range of so many pairs that nobody uses at the moment.
    fn ports(pairs: u16) -> Arc<Ports> {
        let start = (0..)
            .map(|n| 41_000 + n * 64)
            .find(|start| {
                (0..pairs * 2).all(|n| UdpSocket::bind((Ipv4Addr::LOCALHOST, start + n)).is_ok())
            })
            .unwrap();
        Arc::new(Ports::new(loopback(), &(start..=start + pairs * 2 - 1), 0).unwrap())
    }

    fn port(pair: &Pair) -> u16 {
        pair.rtp.local_addr().unwrap().port()
    }

    #[test]
    fn pairs_are_an_even_port_and_the_next() {
        let (pair, _right) = ports(2).first(None).unwrap();
        assert_eq!(port(&pair) % 2, 0);
        assert_eq!(pair.rtcp.local_addr().unwrap().port(), port(&pair) + 1);
    }

    #[test]
    fn every_session_can_have_its_second_pair() {
        let ports = ports(5);
        let first = ports.first(None).unwrap();
        let other = ports.first(None).unwrap();
        assert!(
            matches!(ports.first(None), Err(MediaError::NoPorts)),
            "one pair is left, and two are kept"
        );
        assert_eq!(ports.count(), (4, 4, 10));
        let (second, third) = (
            ports.second(Ipv4Addr::LOCALHOST.into()).unwrap(),
            ports.second(Ipv4Addr::LOCALHOST.into()).unwrap(),
        );
        assert_eq!(ports.count(), (8, 0, 10));
        drop((first, other, second, third));
        assert_eq!(ports.count(), (0, 0, 10));
    }

    #[test]
    fn pair_that_comes_back_is_used_last() {
        let ports = ports(4);
        let (first, right) = ports.first(None).unwrap();
        let (returned, _) = (port(&first), drop((first, right)));
        for _ in 0..3 {
            let (pair, _right) = ports.first(None).unwrap();
            assert_ne!(port(&pair), returned);
        }
        assert_eq!(port(&ports.first(None).unwrap().0), returned);
    }

    #[test]
    fn port_in_use_by_another_program_is_passed_over() {
        let ports = ports(3);
        let lowest = *ports.pool().free.front().unwrap();
        for taken in [lowest, lowest + 1] {
            let _other = UdpSocket::bind((Ipv4Addr::LOCALHOST, taken)).unwrap();
            let (pair, _right) = ports.first(None).unwrap();
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
        assert!(matches!(ports.first(None), Err(MediaError::NoPorts)));
        assert_eq!(ports.count(), (0, 0, 4));
    }

    #[test]
    fn range_without_a_pair_is_refused() {
        assert!(Ports::new(loopback(), &(20_001..=20_002), 0).is_err());
    }

    #[test]
    fn pair_is_of_the_family_of_the_peer_and_marked() {
        let both = [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ];
        let both = both.map(|listen| MediaAddress {
            listen,
            advertise: None,
        });
        let range = ports(2)
            .pool()
            .free
            .front()
            .map(|low| *low..=low + 3)
            .unwrap();
        let ports = Arc::new(Ports::new(both.into(), &range, 46).unwrap());
        let (first, _right) = ports.first(Some("2001:db8::1".parse().unwrap())).unwrap();
        assert_eq!(first.told, IpAddr::from(Ipv6Addr::LOCALHOST));
        assert_eq!(SockRef::from(&first.rtp).tclass_v6().unwrap(), 46 << 2);
        let second = ports.second("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(second.told, IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!(SockRef::from(&second.rtcp).tos_v4().unwrap(), 46 << 2);
    }
}
