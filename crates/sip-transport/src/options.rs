//! What an operator may tune, and what bounds the rest.

use sip_message::Limits;
use std::time::Duration;

/// Bounds and timers of the sockets.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Out-of-dialog requests longer than this go over TCP first (RFC 3261 §18.1.1); 0 is never.
    pub udp_max: usize,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// A connection on which nothing arrives for this long is closed.
    pub idle_timeout: Duration,
    /// A connection that has not delivered its first whole message by then is closed.
    pub first_message_timeout: Duration,
    /// Open connections, in and out; further ones are closed as they come.
    pub max_connections: usize,
    /// Messages waiting to be written to one connection; one that cannot keep up is closed.
    pub write_queue: usize,
    /// What a single message may hold.
    pub limits: Limits,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            udp_max: 1300,
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(30 * 60),
            first_message_timeout: Duration::from_secs(32),
            max_connections: 4096,
            write_queue: 512,
            limits: Limits::default(),
        }
    }
}
