//! What SBC and target have in common: session descriptions, and who is in a call.

use std::net::SocketAddr;

use bytes::Bytes;
use sdp::{Codec, Description, Direction, Local};

/// One leg's side of offer and answer.
#[derive(Clone, Debug)]
pub(crate) struct Phone {
    local: Local,
    pub(crate) direction: Direction,
}

impl Phone {
    pub(crate) fn new(address: SocketAddr, number: u64) -> Self {
        let local = Local {
            address: address.ip(),
            port: 30_000 + (number % 10_000) as u16 * 2,
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            session_id: number + 1,
            version: 1,
            ptime_ms: 20,
        };
        Self {
            local,
            direction: Direction::SendRecv,
        }
    }

    pub(crate) fn offer(&self) -> Bytes {
        sdp::offer(&self.local, self.direction)
    }

    /// A new offer with another direction.
    pub(crate) fn reoffer(&mut self, direction: Direction) -> Bytes {
        self.direction = direction;
        self.local.version += 1;
        self.offer()
    }

    /// The answer to an offer, or an offer where none was made; none where they cannot agree.
    pub(crate) fn answer(&self, offer: Option<&Bytes>) -> Option<Bytes> {
        let Some(offer) = offer else {
            return Some(self.offer());
        };
        let offer = Description::parse(offer).ok()?;
        sdp::answer(&offer, &self.local)
            .ok()
            .map(|(answer, _)| answer)
    }
}
