//! One leg's two sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use crate::ports::{Lease, Pair};

/// Datagrams taken from one socket in one slot; ten times what a peer that behaves can send.
const PER_SLOT: usize = 32;

/// The sockets of a leg. They stand before the lease, so that they are closed before the ports are
/// free again.
///
/// RTP's is looked at in every slot and so not registered with the runtime: each of its packets would
/// wake the shard between two ticks (`docs/adr/0006`). RTCP's is, since it is idle in nearly all slots.
#[derive(Debug)]
pub(crate) struct LegSockets {
    rtp: UdpSocket,
    rtcp: tokio::net::UdpSocket,
    _lease: Lease,
}

impl LegSockets {
    /// Must be called on the shard's runtime.
    pub(crate) fn new(pair: Pair) -> io::Result<Self> {
        Ok(Self {
            rtp: pair.rtp,
            rtcp: tokio::net::UdpSocket::from_std(pair.rtcp)?,
            _lease: pair.lease,
        })
    }

    /// Takes the RTP datagrams that wait, without waiting.
    pub(crate) fn receive(&self, buffer: &mut [u8], take: impl FnMut(SocketAddr, &[u8])) -> u64 {
        drain(|into| self.rtp.recv_from(into), buffer, take)
    }

    /// Takes the RTCP datagrams that wait.
    pub(crate) fn receive_rtcp(&self, buffer: &mut [u8], take: impl FnMut(SocketAddr, &[u8])) {
        drain(|into| self.rtcp.try_recv_from(into), buffer, take);
    }

    /// Sends an RTCP packet if the socket takes it now.
    pub(crate) fn send_rtcp(&self, to: SocketAddr, data: &[u8], muxed: bool) {
        // a report that is lost is made up for by the next
        let _ = if muxed {
            self.rtp.send_to(data, to)
        } else {
            self.rtcp.try_send_to(data, to)
        };
    }

    /// Sends a packet if the socket takes it now.
    pub(crate) fn send(&self, to: SocketAddr, data: &[u8]) -> bool {
        self.rtp.send_to(data, to).is_ok()
    }
}

fn drain(
    mut receive: impl FnMut(&mut [u8]) -> io::Result<(usize, SocketAddr)>,
    buffer: &mut [u8],
    mut take: impl FnMut(SocketAddr, &[u8]),
) -> u64 {
    let mut taken = 0;
    for _ in 0..PER_SLOT {
        match receive(buffer) {
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
