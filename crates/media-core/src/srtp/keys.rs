//! The keys of SRTP and what is done with them: derivation, encryption, tags.

use super::{MasterKey, Suite};
use aes::{Aes128, Aes256};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit as _};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// RTP or RTCP: each has keys of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rtp,
    Rtcp,
}

/// The keys of one kind and direction.
pub(super) enum Keys {
    Counter {
        key: [u8; 16],
        salt: [u8; 14],
        auth: Hmac<Sha1>,
    },
    Gcm128(Box<Aes128Gcm>, [u8; 12]),
    Gcm256(Box<Aes256Gcm>, [u8; 12]),
}

impl Keys {
    /// Derived from a master key (RFC 3711 §4.3.1, RFC 7714 §11).
    pub(super) fn derive(suite: Suite, kind: Kind, master: &MasterKey) -> Self {
        let (length, salt_length) = suite.lengths();
        let (key, salt) = master.0.split_at(length);
        let mut padded = [0; 14];
        padded[..salt_length].copy_from_slice(&salt[..salt_length]);
        let base = if kind == Kind::Rtp { 0 } else { 3 };
        let derived = |label: u8, out: &mut [u8]| derived(key, padded, base + label, out);
        let (mut short, mut long, mut session_salt) = ([0; 16], [0; 32], [0; 14]);
        derived(2, &mut session_salt[..salt_length]);
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&session_salt[..12]);
        match suite {
            Suite::AesCm128HmacSha1Tag80 | Suite::AesCm128HmacSha1Tag32 => {
                let mut auth = [0; 20];
                derived(0, &mut short);
                derived(1, &mut auth);
                Self::counter(short, session_salt, auth)
            }
            Suite::AeadAes128Gcm => {
                derived(0, &mut short);
                Self::Gcm128(Box::new(Aes128Gcm::new(&short.into())), nonce)
            }
            Suite::AeadAes256Gcm => {
                derived(0, &mut long);
                Self::Gcm256(Box::new(Aes256Gcm::new(&long.into())), nonce)
            }
        }
    }

    fn counter(key: [u8; 16], salt: [u8; 14], auth: [u8; 20]) -> Self {
        let mut padded = [0; 64];
        padded[..20].copy_from_slice(&auth);
        // a key of a whole block is what HMAC makes of a shorter one (RFC 2104 §2)
        let auth = Hmac::<Sha1>::new(&padded.into());
        Self::Counter { key, salt, auth }
    }

    /// Encrypts `packet[clear..end]` in place and writes the tag behind it; for RTCP the index word
    /// comes in between or after (RFC 3711 §3.4, RFC 7714 §9). Gives the length of all.
    pub(super) fn seal(&self, packet: &mut [u8], at: Place, suite: Suite) -> Option<usize> {
        let word = at.word();
        let tag = match self {
            Self::Counter { key, salt, auth } => {
                stream(key, salt, &at, packet.get_mut(at.clear..at.end)?);
                let trailer = at.end + if at.kind == Kind::Rtcp { 4 } else { 0 };
                if at.kind == Kind::Rtcp {
                    packet.get_mut(at.end..trailer)?.copy_from_slice(&word);
                }
                let mut mac = auth.clone();
                mac.update(packet.get(..trailer)?);
                if at.kind == Kind::Rtp {
                    mac.update(&at.rollover());
                }
                let tag = mac.finalize().into_bytes();
                let length = at.tag(suite);
                packet
                    .get_mut(trailer..trailer + length)?
                    .copy_from_slice(&tag[..length]);
                return Some(trailer + length);
            }
            Self::Gcm128(cipher, salt) => at.aead(cipher.as_ref(), salt, packet)?,
            Self::Gcm256(cipher, salt) => at.aead(cipher.as_ref(), salt, packet)?,
        };
        packet.get_mut(at.end..at.end + 16)?.copy_from_slice(&tag);
        if at.kind == Kind::Rtp {
            return Some(at.end + 16);
        }
        packet
            .get_mut(at.end + 16..at.end + 20)?
            .copy_from_slice(&word);
        Some(at.end + 20)
    }

    /// Checks the tag and decrypts `packet[clear..end]` in place; nothing is decrypted that is not
    /// authentic.
    pub(super) fn open(&self, packet: &mut [u8], at: Place, tag: &[u8]) -> Option<()> {
        match self {
            Self::Counter { key, salt, auth } => {
                let mut mac = auth.clone();
                mac.update(packet.get(..at.end)?);
                if at.kind == Kind::Rtp {
                    mac.update(&at.rollover());
                } else {
                    mac.update(&at.word());
                }
                mac.verify_truncated_left(tag).ok()?;
                stream(key, salt, &at, packet.get_mut(at.clear..at.end)?);
                Some(())
            }
            Self::Gcm128(cipher, salt) => at.opened(cipher.as_ref(), salt, packet, tag),
            Self::Gcm256(cipher, salt) => at.opened(cipher.as_ref(), salt, packet, tag),
        }
    }
}

/// Which packet, and what of it is encrypted.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) ssrc: u32,
    /// 48 bits for RTP, 31 for RTCP.
    pub(super) index: u64,
    pub(super) clear: usize,
    pub(super) end: usize,
}

impl Place {
    #[allow(clippy::cast_possible_truncation)]
    const fn rollover(&self) -> [u8; 4] {
        ((self.index >> 16) as u32).to_be_bytes()
    }

    /// The index of SRTCP with the flag that says that it is encrypted.
    #[allow(clippy::cast_possible_truncation)]
    const fn word(&self) -> [u8; 4] {
        (self.index as u32 | 1 << 31).to_be_bytes()
    }

    const fn tag(&self, suite: Suite) -> usize {
        match self.kind {
            Kind::Rtp => suite.tags().0,
            Kind::Rtcp => suite.tags().1,
        }
    }

    /// RFC 7714 §8.1 and §9.1.
    fn nonce(&self, salt: &[u8; 12]) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&self.ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&self.index.to_be_bytes()[2..]);
        std::array::from_fn(|at| nonce[at] ^ salt[at])
    }

    /// What is authenticated beside the ciphertext: the header, and SRTCP's index word.
    fn beside(&self, packet: &[u8]) -> Option<([u8; LARGEST_HEADER], usize)> {
        let mut beside = [0; LARGEST_HEADER];
        beside
            .get_mut(..self.clear)?
            .copy_from_slice(packet.get(..self.clear)?);
        if self.kind == Kind::Rtp {
            return Some((beside, self.clear));
        }
        let end = self.clear + 4;
        beside
            .get_mut(self.clear..end)?
            .copy_from_slice(&self.word());
        Some((beside, end))
    }

    fn aead<C: AeadInOut>(
        &self,
        cipher: &C,
        salt: &[u8; 12],
        packet: &mut [u8],
    ) -> Option<[u8; 16]> {
        let (beside, length) = self.beside(packet)?;
        let body = InOutBuf::from(packet.get_mut(self.clear..self.end)?);
        let nonce = Nonce::<C>::try_from(self.nonce(salt).as_slice()).ok()?;
        let tag = cipher
            .encrypt_inout_detached(&nonce, &beside[..length], body)
            .ok()?;
        tag.as_slice().try_into().ok()
    }

    fn opened<C: AeadInOut>(
        &self,
        cipher: &C,
        salt: &[u8; 12],
        packet: &mut [u8],
        tag: &[u8],
    ) -> Option<()> {
        let (beside, length) = self.beside(packet)?;
        let body = InOutBuf::from(packet.get_mut(self.clear..self.end)?);
        let nonce = Nonce::<C>::try_from(self.nonce(salt).as_slice()).ok()?;
        let tag = Tag::<C>::try_from(tag).ok()?;
        cipher
            .decrypt_inout_detached(&nonce, &beside[..length], body, &tag)
            .ok()
    }
}

/// The longest header that is authenticated with GCM: RTP with all CSRCs and an extension.
pub(super) const LARGEST_HEADER: usize = 512;

/// The key stream of AES in counter mode over a packet (RFC 3711 §4.1.1).
fn stream(key: &[u8; 16], salt: &[u8; 14], at: &Place, body: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    for (byte, ssrc) in iv[4..8].iter_mut().zip(at.ssrc.to_be_bytes()) {
        *byte ^= ssrc;
    }
    for (byte, index) in iv[8..14].iter_mut().zip(&at.index.to_be_bytes()[2..]) {
        *byte ^= index;
    }
    Ctr128BE::<Aes128>::new(&(*key).into(), &iv.into()).apply_keystream(body);
}

/// The key derivation of RFC 3711 §4.3.3: AES in counter mode over nothing.
pub(super) fn derived(key: &[u8], salt: [u8; 14], label: u8, out: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(&salt);
    iv[7] ^= label;
    out.fill(0);
    if let Ok(key) = <[u8; 32]>::try_from(key) {
        Ctr128BE::<Aes256>::new(&key.into(), &iv.into()).apply_keystream(out);
    } else if let Ok(key) = <[u8; 16]>::try_from(key) {
        Ctr128BE::<Aes128>::new(&key.into(), &iv.into()).apply_keystream(out);
    }
}
