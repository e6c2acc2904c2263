//! Where a message came from or goes to.

use std::fmt;
use std::net::SocketAddr;

/// A transport of SIP messages, RFC 3261 §18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams: messages can be lost, so that requests are retransmitted.
    Udp,
    /// A byte stream.
    Tcp,
    /// A byte stream inside TLS.
    Tls,
}

impl Transport {
    /// Whether the transport delivers by itself, so that nothing is retransmitted over it.
    #[must_use]
    pub const fn reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls => true,
        }
    }

    /// The token in a Via header's sent-protocol, RFC 3261 §20.42.
    #[must_use]
    pub const fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

/// A connection of a stream transport, numbered by the shell and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The domain name that the certificate of a TLS peer must carry (RFC 5922 §7.1): the one that was
/// resolved, not what it resolved to. Numbered by the shell, so that paths stay plain values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(pub u32);

/// The path of a message: transport and both addresses, for streams also the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// Our address: always one that the peer can reach, never a wildcard.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection. `None` on a stream transport means: use an open one to `remote`, or open one.
    pub connection: Option<ConnectionId>,
    /// Whom a TLS connection that is opened for this path must prove to lead to; the remote address
    /// itself where absent. Paths of messages that came have none.
    pub server_name: Option<ServerName>,
}

impl Flow {
    /// A flow of datagrams.
    #[must_use]
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            transport: Transport::Udp,
            local,
            remote,
            connection: None,
            server_name: None,
        }
    }

    /// The same flow without its connection: any connection to the remote address will do.
    #[must_use]
    pub const fn unconnected(self) -> Self {
        Self {
            connection: None,
            ..self
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.transport, self.local, self.remote)
    }
}
