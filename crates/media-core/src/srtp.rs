//! SRTP and SRTCP (RFC 3711, RFC 7714): no MKI, no key derivation rate, a replay window of 64.
//!
//! The primitives are libraries'. The packet format is written here, so that nothing is allocated for
//! a packet and nothing is remembered of one that is not authentic.

mod keys;

use keys::{Keys, Kind, LARGEST_HEADER, Place};

/// Bytes of the largest packet that is protected or opened.
pub(crate) const LARGEST: usize = 2048;
/// Bytes that protection adds at most: the tag of GCM and the index of SRTCP.
const GROWTH: usize = 20;
/// Sources whose sequence is followed; of more, the one heard longest ago is forgotten.
const SOURCES: usize = 4;
/// Bytes of the longest master key with its salt: 256 bits and 112.
const LONGEST_KEY: usize = 46;

/// How a leg's packets are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The ciphers.
    pub suite: Suite,
    /// What we send with.
    pub ours: MasterKey,
    /// What the peer sends with.
    pub theirs: MasterKey,
}

/// The ciphers of a leg (RFC 4568 §6.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`.
    AesCm128HmacSha1Tag80,
    /// `AES_CM_128_HMAC_SHA1_32`.
    AesCm128HmacSha1Tag32,
    /// `AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM`.
    AeadAes256Gcm,
}

impl Suite {
    /// Bytes of the master key and of its salt.
    #[must_use]
    pub const fn lengths(self) -> (usize, usize) {
        match self {
            Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 => (16, 14),
            Self::AeadAes128Gcm => (16, 12),
            Self::AeadAes256Gcm => (32, 12),
        }
    }

    /// Bytes of the tag behind RTP and RTCP.
    const fn tags(self) -> (usize, usize) {
        match self {
            Self::AesCm128HmacSha1Tag80 => (10, 10),
            Self::AesCm128HmacSha1Tag32 => (4, 10),
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => (16, 16),
        }
    }
}

/// A master key and its salt, one behind the other. It is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterKey([u8; LONGEST_KEY]);

impl MasterKey {
    /// The key and salt in these bytes; more than the longest suite's are not looked at.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut key = [0; LONGEST_KEY];
        for (byte, given) in key.iter_mut().zip(bytes) {
            *byte = *given;
        }
        Self(key)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// The sending half of a leg's protection.
pub(crate) struct Sealer {
    suite: Suite,
    rtp: Keys,
    rtcp: Keys,
    /// The last index of RTP: 32 bits of rollovers, 16 of the sequence number.
    last: Option<u64>,
    control: u32,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    pub(crate) fn new(suite: Suite, master: &MasterKey) -> Self {
        Self {
            suite,
            rtp: Keys::derive(suite, Kind::Rtp, master),
            rtcp: Keys::derive(suite, Kind::Rtcp, master),
            last: None,
            control: 0,
        }
    }

    /// New keys; the rollovers of the sequence number go on (RFC 3711 §3.3.1).
    pub(crate) fn rekey(&mut self, suite: Suite, master: &MasterKey) {
        let (last, control) = (self.last, self.control);
        *self = Self {
            last,
            control,
            ..Self::new(suite, master)
        };
    }

    /// A packet of ours, protected; `None` if it is none or too long.
    pub(crate) fn rtp<'a>(
        &mut self,
        plain: &[u8],
        room: &'a mut [u8; LARGEST],
    ) -> Option<&'a [u8]> {
        let (sequence, ssrc, clear) = header(plain)?;
        let index = match self.last {
            None => u64::from(sequence),
            Some(last) => guessed(last, sequence),
        };
        self.last = Some(self.last.map_or(index, |last| last.max(index)));
        sealed(
            &self.rtp,
            self.suite,
            Kind::Rtp,
            (ssrc, index, clear),
            plain,
            room,
        )
    }

    /// A report of ours, protected.
    pub(crate) fn rtcp<'a>(
        &mut self,
        plain: &[u8],
        room: &'a mut [u8; LARGEST],
    ) -> Option<&'a [u8]> {
        let ssrc = u32::from_be_bytes(*plain.get(4..)?.first_chunk::<4>()?);
        self.control = (self.control + 1) & 0x7FFF_FFFF;
        let place = (ssrc, u64::from(self.control), 8);
        sealed(&self.rtcp, self.suite, Kind::Rtcp, place, plain, room)
    }
}

fn sealed<'a>(
    keys: &Keys,
    suite: Suite,
    kind: Kind,
    (ssrc, index, clear): (u32, u64, usize),
    plain: &[u8],
    room: &'a mut [u8; LARGEST],
) -> Option<&'a [u8]> {
    if plain.len() + GROWTH > LARGEST {
        return None;
    }
    room[..plain.len()].copy_from_slice(plain);
    let place = Place {
        kind,
        ssrc,
        index,
        clear,
        end: plain.len(),
    };
    let length = keys.seal(room, place, suite)?;
    room.get(..length)
}

/// The indices that have come of one source.
#[derive(Clone, Copy, Debug)]
struct Seen {
    ssrc: u32,
    highest: u64,
    /// Bit n: the index n before the highest has come.
    window: u64,
}

impl Seen {
    /// Whether an index may be new (RFC 3711 §3.3.2).
    const fn is_fresh(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        let behind = self.highest - index;
        behind < 64 && self.window >> behind & 1 == 0
    }

    fn note(&mut self, index: u64) {
        if index > self.highest {
            let ahead = u32::try_from(index - self.highest).unwrap_or(u32::MAX);
            self.window = self.window.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = index;
        } else {
            self.window |= 1 << (self.highest - index).min(63);
        }
    }
}

/// The receiving half of a leg's protection.
pub(crate) struct Opener {
    suite: Suite,
    rtp: Keys,
    rtcp: Keys,
    /// The sources of RTP, the one heard last in front.
    sources: [Option<Seen>; SOURCES],
    control: [Option<Seen>; SOURCES],
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

impl Opener {
    pub(crate) fn new(suite: Suite, master: &MasterKey) -> Self {
        Self {
            suite,
            rtp: Keys::derive(suite, Kind::Rtp, master),
            rtcp: Keys::derive(suite, Kind::Rtcp, master),
            sources: [None; SOURCES],
            control: [None; SOURCES],
        }
    }

    /// New keys; the rollovers of the sequence numbers go on, and reports are counted anew.
    pub(crate) fn rekey(&mut self, suite: Suite, master: &MasterKey) {
        let sources = self.sources;
        *self = Self {
            sources,
            ..Self::new(suite, master)
        };
    }

    /// A packet of the peer's, opened; `None` if it is not authentic, or came before.
    pub(crate) fn rtp<'a>(
        &mut self,
        packet: &[u8],
        room: &'a mut [u8; LARGEST],
    ) -> Option<&'a [u8]> {
        let (sequence, ssrc, clear) = header(packet)?;
        let seen = known(&self.sources, ssrc);
        let index = seen.map_or(u64::from(sequence), |seen| guessed(seen.highest, sequence));
        if seen.is_some_and(|seen| !seen.is_fresh(index)) {
            return None;
        }
        let end = packet.len().checked_sub(self.suite.tags().0)?;
        let (body, tag) = packet.split_at(end);
        let place = Place {
            kind: Kind::Rtp,
            ssrc,
            index,
            clear,
            end,
        };
        let opened = opened(&self.rtp, place, body, tag, room)?;
        note(&mut self.sources, seen, ssrc, index);
        Some(opened)
    }

    /// A report of the peer's, opened.
    pub(crate) fn rtcp<'a>(
        &mut self,
        packet: &[u8],
        room: &'a mut [u8; LARGEST],
    ) -> Option<&'a [u8]> {
        let ssrc = u32::from_be_bytes(*packet.get(4..)?.first_chunk::<4>()?);
        let (tag_length, is_gcm) = (
            self.suite.tags().1,
            matches!(self.rtcp, Keys::Gcm128(..) | Keys::Gcm256(..)),
        );
        let end = packet.len().checked_sub(tag_length + 4)?;
        let (body, trailer) = packet.split_at(end);
        let (word, tag) = if is_gcm {
            let (tag, word) = trailer.split_at(tag_length);
            (word, tag)
        } else {
            trailer.split_at(4)
        };
        let word = u32::from_be_bytes(word.try_into().ok()?);
        let index = u64::from(word & 0x7FFF_FFFF);
        // one that is authentic and not encrypted is nothing that we agreed on
        if word >> 31 == 0 || end < 8 {
            return None;
        }
        let seen = known(&self.control, ssrc);
        if seen.is_some_and(|seen| !seen.is_fresh(index)) {
            return None;
        }
        let place = Place {
            kind: Kind::Rtcp,
            ssrc,
            index,
            clear: 8,
            end,
        };
        let opened = opened(&self.rtcp, place, body, tag, room)?;
        note(&mut self.control, seen, ssrc, index);
        Some(opened)
    }
}

fn opened<'a>(
    keys: &Keys,
    place: Place,
    body: &[u8],
    tag: &[u8],
    room: &'a mut [u8; LARGEST],
) -> Option<&'a [u8]> {
    room.get_mut(..body.len())?.copy_from_slice(body);
    keys.open(room, place, tag)?;
    room.get(..body.len())
}

fn known(sources: &[Option<Seen>; SOURCES], ssrc: u32) -> Option<Seen> {
    sources
        .iter()
        .flatten()
        .find(|seen| seen.ssrc == ssrc)
        .copied()
}

/// Notes an authentic packet; its source comes to the front.
fn note(sources: &mut [Option<Seen>; SOURCES], seen: Option<Seen>, ssrc: u32, index: u64) {
    let mut seen = seen.unwrap_or(Seen {
        ssrc,
        highest: index,
        window: 1,
    });
    seen.note(index);
    let place = sources
        .iter()
        .position(|known| known.is_none_or(|known| known.ssrc == ssrc));
    sources[..=place.unwrap_or(SOURCES - 1)].rotate_right(1);
    sources[0] = Some(seen);
}

/// The index of a sequence number near the last one (RFC 3711 §3.3.1).
fn guessed(last: u64, sequence: u16) -> u64 {
    #[allow(clippy::cast_possible_truncation)]
    let step = sequence.wrapping_sub(last as u16).cast_signed();
    last.checked_add_signed(step.into())
        .unwrap_or_else(|| u64::from(sequence))
        & 0xFFFF_FFFF_FFFF
}

/// Sequence number, SSRC and length of an RTP header with its CSRCs and extension.
fn header(packet: &[u8]) -> Option<(u16, u32, usize)> {
    let fixed = packet.first_chunk::<12>()?;
    if fixed[0] >> 6 != 2 {
        return None;
    }
    let mut length = 12 + 4 * usize::from(fixed[0] & 0x0F);
    if fixed[0] & 0x10 != 0 {
        let words = packet.get(length + 2..)?.first_chunk::<2>()?;
        length += 4 + 4 * usize::from(u16::from_be_bytes(*words));
    }
    if length > packet.len() || length > LARGEST_HEADER {
        return None;
    }
    let sequence = u16::from_be_bytes([fixed[2], fixed[3]]);
    let ssrc = u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
    Some((sequence, ssrc, length))
}

#[cfg(test)]
mod tests;
