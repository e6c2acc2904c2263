//! How a call's media are to be protected, and where the keys of its legs come from.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use sdp::{Codec, Keys};
use sha2::Sha256;

use crate::call::Facts;
use crate::media_leg::MediaLeg;

/// Whether a trunk's media are SRTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Srtp {
    /// Never: an offer of SRTP alone is refused.
    #[default]
    Off,
    /// Where the peer offers it; our own offers are of plain RTP.
    Optional,
    /// Always: an offer of plain RTP is refused.
    Required,
}

/// The rules of a call's media.
#[derive(Clone, Default)]
pub struct MediaRules {
    /// Whether they are SRTP.
    pub srtp: Srtp,
    /// Whether RTP is sent to where RTP comes from (RFC 4961).
    pub latch: bool,
    /// What the keys of its legs are made of: 32 bytes that nobody can guess.
    pub seed: [u8; 32],
    /// Legs that have been given keys.
    legs: u32,
}

impl std::fmt::Debug for MediaRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaRules")
            .field("srtp", &self.srtp)
            .field("latch", &self.latch)
            .finish_non_exhaustive()
    }
}

impl MediaRules {
    /// Rules with a seed.
    #[must_use]
    pub const fn new(srtp: Srtp, latch: bool, seed: [u8; 32]) -> Self {
        Self {
            srtp,
            latch,
            seed,
            legs: 0,
        }
    }

    /// The descriptions of the next leg.
    pub(crate) fn leg(
        &mut self,
        address: SocketAddr,
        session_id: u64,
        codecs: Vec<Codec>,
    ) -> MediaLeg {
        MediaLeg::new(address, session_id, codecs).with(self.next_keys(), self.latch)
    }

    /// The keys of the next leg, like no other's; none where there is no SRTP.
    pub(crate) fn next_keys(&mut self) -> Option<Keys> {
        let required = match self.srtp {
            Srtp::Off => return None,
            Srtp::Optional => false,
            Srtp::Required => true,
        };
        self.legs += 1;
        let mut material = [0; Keys::MATERIAL];
        for (number, block) in (0_u32..).zip(material.chunks_mut(32)) {
            // a key of a whole block is what HMAC makes of a shorter one (RFC 2104 §2)
            let mut key = [0; 64];
            key[..32].copy_from_slice(&self.seed);
            let mut mac = Hmac::<Sha256>::new(&key.into());
            mac.update(b"srtp");
            mac.update(&self.legs.to_be_bytes());
            mac.update(&number.to_be_bytes());
            let bytes = mac.finalize().into_bytes();
            block.copy_from_slice(&bytes[..block.len()]);
        }
        Some(Keys::new(required, &material))
    }
}

impl Facts {
    /// The descriptions of the caller's leg.
    pub(crate) fn caller_leg(&mut self, address: SocketAddr) -> MediaLeg {
        let codecs = self.codecs.clone();
        self.media.leg(address, self.session_id, codecs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_legs_have_the_same_keys_and_none_are_shown() {
        let mut rules = MediaRules::new(Srtp::Required, false, [7; 32]);
        let (first, second) = (rules.next_keys().unwrap(), rules.next_keys().unwrap());
        assert_ne!(first, second);
        assert!(first.required());
        assert!(!format!("{rules:?}").contains('7'));
        assert_eq!(MediaRules::default().next_keys(), None);
    }
}
