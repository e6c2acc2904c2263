//! Where the gateway listens, and the sockets that do.

use crate::addresses::Addresses;
use crate::driver::{Driver, Wiring};
use crate::handle::{Gate, SipHandle};
use crate::options::TransportOptions;
use sip_core::{Endpoint, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use timebase::Clock;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

/// Kernel buffer of a UDP socket: a burst of a few thousand messages while the driver is busy.
const UDP_BUFFER: usize = 4 << 20;
/// Connections that the kernel may hold before they are accepted.
const BACKLOG: i32 = 1024;
/// Commands that may wait for the driver.
const REQUESTS: usize = 8192;

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What is spoken there.
    pub transport: Transport,
    /// Where; port 0 takes any free one.
    pub address: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// Bound sockets, not yet read from.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) udp: Vec<(Listen, Arc<UdpSocket>)>,
    pub(crate) streams: Vec<(Listen, TcpListener)>,
}

impl Sockets {
    /// Binds every address, or none.
    ///
    /// # Errors
    /// When an address cannot be bound.
    #[allow(
        clippy::unused_async,
        reason = "binding registers with the runtime, so it must be called inside one"
    )]
    pub async fn bind(listen: &[Listen]) -> io::Result<Self> {
        let mut sockets = Self {
            udp: Vec::new(),
            streams: Vec::new(),
        };
        for &wanted in listen {
            match wanted.transport {
                Transport::Udp => {
                    let socket = bind_udp(wanted.address)?;
                    let bound = Listen {
                        address: socket.local_addr()?,
                        ..wanted
                    };
                    sockets.udp.push((bound, Arc::new(socket)));
                }
                Transport::Tcp | Transport::Tls => {
                    let listener = bind_tcp(wanted.address)?;
                    let bound = Listen {
                        address: listener.local_addr()?,
                        ..wanted
                    };
                    sockets.streams.push((bound, listener));
                }
            }
        }
        Ok(sockets)
    }

    /// The bound addresses with their real ports, in the order given, UDP before streams.
    #[must_use]
    pub fn listeners(&self) -> Vec<Listen> {
        self.udp
            .iter()
            .map(|(listen, _)| *listen)
            .chain(self.streams.iter().map(|(listen, _)| *listen))
            .collect()
    }

    /// Starts the driver, which owns `endpoint` from here on, and returns the handle to it.
    #[must_use]
    pub fn run(
        self,
        endpoint: Endpoint,
        clock: Clock,
        gate: Gate,
        options: TransportOptions,
    ) -> SipHandle {
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let addresses = Arc::new(Addresses::new(self.listeners(), options.tls.is_some()));
        let handle = SipHandle::new(requests, Arc::clone(&addresses));
        let (driver, events) = Driver::new(
            self,
            endpoint,
            Wiring {
                clock,
                gate,
                options,
                addresses,
            },
        );
        tokio::spawn(driver.run(inbox, events));
        handle
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel may grant less than asked for; less is still a socket.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    let _ = socket.set_send_buffer_size(UDP_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
