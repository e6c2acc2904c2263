//! One leg's two sockets.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

use crate::ports::{Lease, Pair};

/// Datagrams taken from one socket in one slot; ten times what a peer that behaves can send.
const PER_SLOT: usize = 32;

/// The sockets of a leg, registered with the shard's runtime. They stand before the lease, so
/// that they are closed before the ports are free again.
#[derive(Debug)]
pub(crate) struct LegSockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    _lease: Lease,
}

impl LegSockets {
    /// Must be called on the shard's runtime.
    pub(crate) fn new(pair: Pair) -> io::Result<Self> {
        Ok(Self {
            rtp: UdpSocket::from_std(pair.rtp)?,
            rtcp: UdpSocket::from_std(pair.rtcp)?,
            _lease: pair.lease,
        })
    }

    /// Takes the RTP datagrams that wait, without waiting. An idle socket costs no system call.
    pub(crate) fn receive(
        &self,
        buffer: &mut [u8],
        mut take: impl FnMut(SocketAddr, &[u8]),
    ) -> u64 {
        drain(&self.rtp, buffer, |from, data| take(from, data))
    }

    /// Takes the RTCP datagrams that wait.
    pub(crate) fn receive_rtcp(&self, buffer: &mut [u8], mut take: impl FnMut(SocketAddr, &[u8])) {
        drain(&self.rtcp, buffer, |from, data| take(from, data));
    }

    /// Sends an RTCP packet if the socket takes it now.
    pub(crate) fn send_rtcp(&self, to: SocketAddr, data: &[u8], muxed: bool) {
        let socket = if muxed { &self.rtp } else { &self.rtcp };
        // a report that is lost is made up for by the next
        let _ = socket.try_send_to(data, to);
    }

    /// Sends a packet if the socket takes it now.
    pub(crate) fn send(&self, to: SocketAddr, data: &[u8]) -> bool {
        self.rtp.try_send_to(data, to).is_ok()
    }
}

fn drain(socket: &UdpSocket, buffer: &mut [u8], mut take: impl FnMut(SocketAddr, &[u8])) -> u64 {
    let mut taken = 0;
    for _ in 0..PER_SLOT {
        match socket.try_recv_from(buffer) {
            Ok((len, from)) => {
                taken += 1;
                take(from, buffer.get(..len).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // an ICMP error of an earlier packet says nothing about the next datagram
            Err(_) => {}
        }
    }
    taken
}
