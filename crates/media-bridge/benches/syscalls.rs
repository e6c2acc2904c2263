//! What the system calls of one packet cost, by each way of making them: the ground of `docs/adr/0006`.
//!
//! A shard has a socket for each leg, and a leg brings a packet in 20 ms: so each round gives every socket one packet,
//! and then takes it and asks for another, or sends one.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot bind has nothing to say"
)]

use std::hint::black_box;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg};
use nix::time::{ClockId, clock_gettime};

/// Legs of a shard.
const LEGS: usize = 250;
/// An RTP packet of 20 ms of G.711.
const PACKET: [u8; 172] = [0x80; 172];
const PER_CALL: usize = 4;

/// CPU time of this thread, so that what else runs on the machine does not count.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

struct Legs {
    near: Vec<UdpSocket>,
    far: Vec<UdpSocket>,
    addresses: Vec<SocketAddr>,
}

impl Legs {
    fn new(connected: bool) -> Self {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let near: Vec<UdpSocket> = (0..LEGS).map(|_| bind()).collect();
        let far: Vec<UdpSocket> = (0..LEGS).map(|_| bind()).collect();
        let addresses = far.iter().map(|it| it.local_addr().unwrap()).collect();
        for (near, far) in near.iter().zip(&far) {
            far.connect(near.local_addr().unwrap()).unwrap();
            if connected {
                near.connect(far.local_addr().unwrap()).unwrap();
            }
        }
        Self {
            near,
            far,
            addresses,
        }
    }

    fn give(&self) {
        for far in &self.far {
            far.send(&PACKET).unwrap();
        }
    }

    fn drain(&self) {
        let mut buffer = [0; 2048];
        for far in &self.far {
            while far.recv(&mut buffer).is_ok() {}
        }
    }

    /// The time of `work` for one leg, each round after every leg was given a packet.
    fn time(&self, rounds: u64, mut work: impl FnMut()) -> Duration {
        let mut total = Duration::ZERO;
        for _ in 0..rounds {
            self.give();
            let began = cpu_time();
            work();
            total += cpu_time() - began;
        }
        total / LEGS as u32
    }
}

fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive a packet");
    let mut buffer = [0; 2048];
    let legs = Legs::new(false);
    group.bench_function("recv_from until it would block", |b| {
        b.iter_custom(|rounds| {
            legs.time(rounds, || {
                for near in &legs.near {
                    while near.recv_from(&mut buffer).is_ok() {}
                }
            })
        });
    });
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(PER_CALL, None);
    let mut buffers = [[0; 2048]; PER_CALL];
    group.bench_function("recvmmsg of four", |b| {
        b.iter_custom(|rounds| {
            legs.time(rounds, || {
                for near in &legs.near {
                    let mut slices = buffers.each_mut().map(|it| [IoSliceMut::new(it)]);
                    let (fd, flags) = (near.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
                    let got = recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None);
                    black_box(got.map(Iterator::count).unwrap());
                }
            })
        });
    });
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    for (n, near) in legs.near.iter().enumerate() {
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, n as u64);
        epoll.add(near, event).unwrap();
    }
    group.bench_function("epoll, then recv_from until it would block", |b| {
        b.iter_custom(|rounds| {
            legs.time(rounds, || {
                let mut events = [EpollEvent::empty(); LEGS];
                let ready = epoll.wait(&mut events, EpollTimeout::ZERO).unwrap();
                for event in &events[..ready] {
                    let near = &legs.near[event.data() as usize];
                    while near.recv_from(&mut buffer).is_ok() {}
                }
            })
        });
    });
    let connected = Legs::new(true);
    group.bench_function("recv on a connected socket until it would block", |b| {
        b.iter_custom(|rounds| {
            connected.time(rounds, || {
                for near in &connected.near {
                    while near.recv(&mut buffer).is_ok() {}
                }
            })
        });
    });
    group.finish();
}

fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("send a packet");
    for (name, connected) in [("send_to", false), ("send on a connected socket", true)] {
        let legs = Legs::new(connected);
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let mut total = Duration::ZERO;
                for _ in 0..rounds {
                    let began = cpu_time();
                    for (near, far) in legs.near.iter().zip(&legs.addresses) {
                        let sent = if connected {
                            near.send(&PACKET)
                        } else {
                            near.send_to(&PACKET, far)
                        };
                        black_box(sent.unwrap());
                    }
                    total += cpu_time() - began;
                    legs.drain();
                }
                total / LEGS as u32
            });
        });
    }
    group.finish();
}

criterion_group!(benches, receive, send);
criterion_main!(benches);
