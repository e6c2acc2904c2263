//! Many datagrams by one system call, with the instant at which the kernel took each.

use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBuf, ReceiveTimestampns, SndBuf};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt,
};
use nix::sys::time::TimeSpec;

/// Datagrams of one system call.
const BATCH: usize = 64;

/// The longest datagram that is read whole.
const DATAGRAM: usize = 4096;

/// What the kernel may hold for us while we do not run.
const KERNEL_BUFFER: usize = 4 << 20;

/// A socket that reads and writes in batches.
pub(crate) struct Batched {
    socket: UdpSocket,
    incoming: MultiHeaders<SockaddrIn>,
    outgoing: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; DATAGRAM]>,
    queue: Vec<(SockaddrIn, Vec<u8>)>,
    queued: usize,
    /// Datagrams that the kernel did not take.
    pub(crate) unsent: u64,
}

impl Batched {
    /// Binds an address of IPv4.
    pub(crate) fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, RcvBuf, &KERNEL_BUFFER)?;
        setsockopt(&socket, SndBuf, &KERNEL_BUFFER)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        Ok(Self {
            socket,
            incoming: MultiHeaders::preallocate(BATCH, Some(cmsg_space!(TimeSpec))),
            outgoing: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; DATAGRAM]; BATCH],
            queue: Vec::new(),
            queued: 0,
            unsent: 0,
        })
    }

    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket, to wait on.
    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Queues a datagram; `fill` writes it into an empty buffer.
    pub(crate) fn queue(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut Vec<u8>)) {
        if self.queued == self.queue.len() {
            self.queue
                .push((SockaddrIn::from(to), Vec::with_capacity(256)));
        }
        if let Some((address, data)) = self.queue.get_mut(self.queued) {
            *address = SockaddrIn::from(to);
            data.clear();
            fill(data);
            self.queued += 1;
        }
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self) {
        let queued = std::mem::take(&mut self.queued);
        let mut left = self.queue.get(..queued).unwrap_or_default();
        while !left.is_empty() {
            let some = left.get(..BATCH.min(left.len())).unwrap_or_default();
            let slices: Vec<[IoSlice<'_>; 1]> =
                some.iter().map(|(_, data)| [IoSlice::new(data)]).collect();
            let addresses: Vec<Option<SockaddrIn>> =
                some.iter().map(|(address, _)| Some(*address)).collect();
            let sent = sendmmsg(
                self.socket.as_raw_fd(),
                &mut self.outgoing,
                slices.iter(),
                &addresses,
                [],
                MsgFlags::MSG_DONTWAIT,
            )
            .map(Iterator::count);
            let done = match sent {
                Ok(count) => count,
                Err(Errno::EAGAIN) => {
                    // the receiver's buffer is on the same machine: it is full, not we
                    self.unsent += 1;
                    1
                }
                // an ICMP error of an earlier datagram
                Err(_) => 0,
            };
            left = left.get(done..).unwrap_or_default();
        }
    }

    /// Takes what is there: from whom, what, and when the kernel took it (time of day).
    pub(crate) fn receive(&mut self, mut take: impl FnMut(SocketAddrV4, &[u8], Duration)) -> usize {
        let mut total = 0;
        loop {
            let mut taken: [(Option<SocketAddrV4>, usize, Duration); BATCH] =
                [(None, 0, Duration::ZERO); BATCH];
            let count = self.receive_batch(&mut taken);
            let some = taken.iter().zip(&self.buffers).take(count);
            for ((from, len, at), buffer) in some {
                if let Some(from) = from {
                    take(*from, buffer.get(..*len).unwrap_or_default(), *at);
                }
            }
            total += count;
            if count < BATCH {
                return total;
            }
        }
    }

    fn receive_batch(
        &mut self,
        taken: &mut [(Option<SocketAddrV4>, usize, Duration); BATCH],
    ) -> usize {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let received = recvmmsg(
            self.socket.as_raw_fd(),
            &mut self.incoming,
            slices.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        );
        let Ok(received) = received else { return 0 };
        let mut count = 0;
        for (message, slot) in received.zip(taken) {
            let stamp = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|one| {
                    let ControlMessageOwned::ScmTimestampns(at) = one else {
                        return None;
                    };
                    Some(Duration::from(at))
                })
            });
            let from = message.address.map(SocketAddrV4::from);
            *slot = (from, message.bytes, stamp.unwrap_or_default());
            count += 1;
        }
        count
    }
}

/// The time of day, which the kernel's stamps are in.
pub(crate) fn time_of_day() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
