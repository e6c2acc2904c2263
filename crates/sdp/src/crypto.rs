//! SDES: the keys of SRTP in `a=crypto` (RFC 4568), without MKI and session parameters.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Bytes of the longest master key with its salt.
const LONGEST_KEY: usize = 46;

/// The crypto suites (RFC 4568 §6.2, RFC 7714 §14.2), the one we like best first.
pub(crate) const SUITES: [Suite; 4] = [
    Suite::AeadAes256Gcm,
    Suite::AeadAes128Gcm,
    Suite::AesCm128HmacSha1Tag80,
    Suite::AesCm128HmacSha1Tag32,
];

/// A crypto suite.
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
    /// Its name in `a=crypto`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Bytes of the master key with its salt.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::AesCm128HmacSha1Tag80 | Self::AesCm128HmacSha1Tag32 => 30,
            Self::AeadAes128Gcm => 28,
            Self::AeadAes256Gcm => 44,
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 0,
            Self::AeadAes128Gcm => 1,
            Self::AesCm128HmacSha1Tag80 => 2,
            Self::AesCm128HmacSha1Tag32 => 3,
        }
    }
}

/// A master key and its salt. It is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; LONGEST_KEY],
    length: usize,
}

impl Key {
    fn of(suite: Suite, given: &[u8]) -> Option<Self> {
        let length = suite.key_length();
        let mut bytes = [0; LONGEST_KEY];
        bytes
            .get_mut(..length)?
            .copy_from_slice(given.get(..length)?);
        (given.len() == length).then_some(Self { bytes, length })
    }

    /// The key and behind it the salt.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What this end brings to SRTP: whether it insists, and a key for each suite.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    required: bool,
    material: [[u8; LONGEST_KEY]; SUITES.len()],
}

impl Keys {
    /// Bytes that the keys are made of.
    pub const MATERIAL: usize = LONGEST_KEY * SUITES.len();

    /// Keys from bytes that nobody can guess; `required`: without SRTP there is no agreement.
    #[must_use]
    pub fn new(required: bool, material: &[u8; Self::MATERIAL]) -> Self {
        let mut keys = [[0; LONGEST_KEY]; SUITES.len()];
        keys.as_flattened_mut().copy_from_slice(material);
        Self {
            required,
            material: keys,
        }
    }

    /// Whether plain RTP is refused.
    #[must_use]
    pub const fn required(&self) -> bool {
        self.required
    }

    pub(crate) fn key(&self, suite: Suite) -> Key {
        let mut key = Key {
            bytes: self.material[suite.place()],
            length: suite.key_length(),
        };
        key.bytes[key.length..].fill(0);
        key
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

/// What was agreed on: the suite and both keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Security {
    /// The tag of the attribute that was chosen.
    pub tag: u32,
    /// The suite.
    pub suite: Suite,
    /// What we send with.
    pub ours: Key,
    /// What the peer sends with.
    pub theirs: Key,
}

/// One `a=crypto` that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crypto {
    pub(crate) tag: u32,
    pub(crate) suite: Suite,
    pub(crate) key: Key,
}

impl Crypto {
    /// Reads the attribute's value; none where it has a suite, an MKI, several keys or a session
    /// parameter that is not for us (RFC 4568 §6.3: all of these make it unusable, not the offer).
    pub(crate) fn read(value: &str) -> Option<Self> {
        let mut parts = value.split_ascii_whitespace();
        let tag = parts
            .next()?
            .parse()
            .ok()
            .filter(|tag| *tag <= 999_999_999)?;
        let name = parts.next()?;
        let suite = SUITES
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(name))?;
        let (method, key) = parts.next()?.split_once(':')?;
        // WSH is a hint, and what begins with a hyphen may be ignored (§6.3.6, §6.3.7)
        let is_harmless =
            |parameter: &str| parameter.starts_with("WSH=") || parameter.starts_with('-');
        if !method.eq_ignore_ascii_case("inline") || !parts.all(is_harmless) {
            return None;
        }
        let mut key = key.split('|');
        let encoded = key.next()?.trim_end_matches('=');
        if key.any(|part| part.contains(':')) {
            return None;
        }
        let bytes = STANDARD_NO_PAD.decode(encoded).ok()?;
        Some(Self {
            tag,
            suite,
            key: Key::of(suite, &bytes)?,
        })
    }

    /// The attribute's value.
    pub(crate) fn text(&self) -> String {
        let key = STANDARD.encode(self.key.expose());
        format!("{} {} inline:{key}", self.tag, self.suite.name())
    }
}

/// The attribute of the peer's that we like best.
pub(crate) fn best(offered: &[Crypto]) -> Option<Crypto> {
    let of = |suite: &Suite| offered.iter().find(|crypto| crypto.suite == *suite);
    SUITES.iter().find_map(of).copied()
}

/// The attributes that we offer, tagged from 1.
pub(crate) fn offered(keys: &Keys) -> Vec<Crypto> {
    let tagged = (1..).zip(SUITES);
    tagged
        .map(|(tag, suite)| Crypto {
            tag,
            suite,
            key: keys.key(suite),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    #[test]
    fn attribute_of_rfc_4568_is_read() {
        let crypto = Crypto::read(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20")).unwrap();
        assert_eq!(
            (crypto.tag, crypto.suite),
            (1, Suite::AesCm128HmacSha1Tag80)
        );
        assert_eq!(crypto.key.expose().len(), 30);
        assert_eq!(
            crypto.text(),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")
        );
    }

    #[test]
    fn attribute_that_asks_for_more_than_we_do_is_left_alone() {
        for value in [
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=3"),
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AEAD_AES_128_GCM inline:{KEY}"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:short".to_owned(),
            format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            String::new(),
        ] {
            assert_eq!(Crypto::read(&value), None, "{value}");
        }
        let harmless = format!("7 AES_CM_128_HMAC_SHA1_32 inline:{KEY} WSH=64 -x");
        assert_eq!(Crypto::read(&harmless).unwrap().tag, 7);
    }

    #[test]
    fn keys_differ_by_suite_and_are_never_shown() {
        let material = std::array::from_fn(|at| at as u8);
        let keys = Keys::new(true, &material);
        let all = offered(&keys);
        assert_eq!(all.len(), 4);
        assert_ne!(all[2].key, all[3].key);
        let shown = format!("{keys:?} {all:?}");
        assert!(!shown.contains("92, 93") && !shown.contains(&all[2].text()[30..]));
    }
}
