//! Digest authentication by the book (RFC 7616, RFC 8760), for both parts.

use md5::Md5;
use sha2::{Digest as _, Sha256};
use sip_message::{HeaderName, Message};

/// The hash of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// MD5.
    Md5,
    /// SHA-256.
    Sha256,
}

impl Hash {
    /// Its name in a challenge.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn of(self, text: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// A challenge.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// Its realm.
    pub realm: String,
    /// Its nonce.
    pub nonce: String,
    /// Its hash.
    pub hash: Hash,
}

impl Challenge {
    /// The challenges of a 401, in order.
    #[must_use]
    pub fn all(response: &Message) -> Vec<Self> {
        let challenges = response.fields_named(HeaderName::WwwAuthenticate);
        challenges
            .map(|field| Self::read(&String::from_utf8_lossy(&field.value())))
            .collect()
    }

    /// The challenge of a 401 for this hash.
    #[must_use]
    pub fn of(response: &Message, hash: Hash) -> Self {
        let mut all = Self::all(response).into_iter();
        all.find(|challenge| challenge.hash == hash).unwrap()
    }

    fn read(value: &str) -> Self {
        assert!(value.starts_with("Digest "), "{value}");
        assert_eq!(parameter(value, "qop"), "auth");
        let algorithm = parameter(value, "algorithm");
        let mut hashes = [Hash::Md5, Hash::Sha256].into_iter();
        Self {
            realm: parameter(value, "realm"),
            nonce: parameter(value, "nonce"),
            hash: hashes.find(|hash| hash.name() == algorithm).unwrap(),
        }
    }

    /// An Authorization for a request with this nonce count.
    #[must_use]
    pub fn answer(&self, who: (&str, &str), method: &str, uri: &str, count: u32) -> String {
        let Self { realm, nonce, hash } = self;
        let (user, _) = who;
        let nc = format!("{count:08x}");
        let response = hash.response(who, (realm, nonce), (method, uri), (&nc, "c1ient"));
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={}, qop=auth, nc={nc}, cnonce=\"c1ient\"",
            hash.name()
        )
    }
}

impl Hash {
    fn response(
        self,
        (user, password): (&str, &str),
        (realm, nonce): (&str, &str),
        (method, uri): (&str, &str),
        (nc, cnonce): (&str, &str),
    ) -> String {
        let secret = self.of(&format!("{user}:{realm}:{password}"));
        let request = self.of(&format!("{method}:{uri}"));
        self.of(&format!("{secret}:{nonce}:{nc}:{cnonce}:auth:{request}"))
    }

    /// Whether an Authorization proves that its sender knows the password.
    #[must_use]
    pub fn proves(self, authorization: &str, password: &str, method: &str) -> bool {
        let of = |name: &str| parameter(authorization, name);
        let wanted = self.response(
            (&of("username"), password),
            (&of("realm"), &of("nonce")),
            (method, &of("uri")),
            (&of("nc"), &of("cnonce")),
        );
        of("response") == wanted
    }
}

/// A parameter of a challenge or an answer, without its quotes; empty if there is none.
fn parameter(value: &str, name: &str) -> String {
    let (_, parameters) = value.split_once(' ').unwrap();
    let mut parameters = parameters
        .split(',')
        .filter_map(|parameter| parameter.trim().split_once('='));
    let found = parameters.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map_or_else(String::new, |(_, value)| value.trim_matches('"').to_owned())
}
