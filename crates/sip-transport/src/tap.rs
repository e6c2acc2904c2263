//! Copies of every packet, for ladders and captures.

use bytes::Bytes;
use sip_core::Flow;
use timebase::Now;
use tokio::sync::mpsc;

/// Which way a packet went, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It arrived.
    In,
    /// It was sent.
    Out,
}

/// One SIP message as it was on the wire.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When it was read or written.
    pub at: Now,
    /// Between which addresses.
    pub flow: Flow,
    /// Which way.
    pub direction: Direction,
    /// The message.
    pub bytes: Bytes,
}

/// The listeners to packets; one that is full misses packets, one that is gone is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Taps(Vec<mpsc::Sender<Packet>>);

impl Taps {
    pub(crate) fn add(&mut self, tap: mpsc::Sender<Packet>) {
        self.0.push(tap);
    }

    pub(crate) fn copy(&mut self, at: Now, flow: Flow, direction: Direction, bytes: &Bytes) {
        if self.0.is_empty() {
            return;
        }
        let packet = Packet {
            at,
            flow,
            direction,
            bytes: bytes.clone(),
        };
        self.0.retain(|tap| {
            !matches!(
                tap.try_send(packet.clone()),
                Err(mpsc::error::TrySendError::Closed(_))
            )
        });
    }
}
