//! What SBC and target have in common: session descriptions, and who is in a call.

use std::net::SocketAddr;

use bytes::Bytes;
use sdp::{Agreement, Codec, Description, Direction, Local};

use crate::voice::{Datagram, Voice};

/// One leg's side of offer and answer.
#[derive(Clone, Debug)]
pub(crate) struct Phone {
    local: Local,
    pub(crate) direction: Direction,
    agreed: Option<Agreement>,
    voice: Voice,
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
            keys: None,
        };
        Self {
            local,
            direction: Direction::SendRecv,
            agreed: None,
            voice: Voice::new(number as u32),
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
    pub(crate) fn answer(&mut self, offer: Option<&Bytes>) -> Option<Bytes> {
        let Some(offer) = offer else {
            return Some(self.offer());
        };
        let offer = Description::parse(offer).ok()?;
        let (answer, agreed) = sdp::answer(&offer, &self.local).ok()?;
        self.agreed = Some(agreed);
        Some(answer)
    }

    /// The answer to the phone's offer.
    pub(crate) fn accept(&mut self, answer: Option<&Bytes>) {
        let answer = answer.and_then(|answer| Description::parse(answer).ok());
        let agreed =
            answer.and_then(|answer| sdp::accept(&self.local, self.direction, &answer).ok());
        self.agreed = agreed.or(self.agreed.take());
    }

    /// The next packet of what is said, if the phone may speak.
    pub(crate) fn speak(&mut self) -> Option<Datagram> {
        let agreed = self
            .agreed
            .as_ref()
            .filter(|agreed| agreed.direction.sends())?;
        Some(Datagram {
            from: SocketAddr::new(self.local.address, self.local.port),
            to: agreed.remote,
            bytes: self.voice.packet(agreed.payload_type),
        })
    }
}
