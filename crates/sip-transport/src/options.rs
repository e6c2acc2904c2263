//! What an operator may tune, and what bounds the rest.

use crate::tls::Tls;
use sip_message::Limits;
use std::sync::Arc;
use std::time::Duration;

/// Bounds and timers of the sockets.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Out-of-dialog requests longer than this go over TCP first (RFC 3261 §18.1.1); 0 is never.
    pub udp_max: usize,
    /// TLS; without it no TLS connection is made or taken.
    pub tls: Option<Arc<Tls>>,
    /// The differentiated services code point of all SIP packets, 0 to 63 (RFC 2474).
    pub dscp: u8,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// A connection on which no message comes for this long is closed, unless a dialog or a
    /// transaction is on it.
    pub idle_timeout: Duration,
    /// A connection that was made to us and has not delivered its first whole message by then is closed.
    pub first_message_timeout: Duration,
    /// How long a message may take from its first byte to its last, and a write to be taken.
    pub message_timeout: Duration,
    /// How often a connection that we opened gets a keep-alive (RFC 5626 §4.4.1) while nothing
    /// else passes; zero is never.
    pub keep_alive: Duration,
    /// Open connections, in and out.
    pub max_connections: usize,
    /// Open connections from one source: an IPv4 address or an IPv6 network of 64 bits.
    pub max_connections_per_source: usize,
    /// Messages waiting to be written to one connection; one that cannot keep up is closed.
    pub write_queue: usize,
    /// Broken datagrams of one source that are answered at once, and per second from then on.
    pub broken_datagrams: (u32, u32),
    /// What a single message may hold.
    pub limits: Limits,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            udp_max: 1300,
            tls: None,
            dscp: 0,
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10 * 60),
            first_message_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(30),
            keep_alive: Duration::ZERO,
            max_connections: 4096,
            max_connections_per_source: 3072,
            write_queue: 512,
            broken_datagrams: (200, 20),
            limits: Limits::default(),
        }
    }
}
