//! Challenges and their verification, RFC 3261 §22.4 and RFC 7616 §3.3.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use sip_message::Credentials;
use subtle::ConstantTimeEq;
use thiserror::Error;
use timebase::Now;

use super::{Algorithm, Proof, Qop, hex, quote};
use crate::config::DigestUser;
use crate::ids::mac;

/// Length of a nonce: 8 bytes of time, 8 of serial number and 16 of proof, in hexadecimal.
const NONCE_LEN: usize = 64;

/// How far a nonce count may lag behind the highest seen and still be new: requests overtake each
/// other.
const WINDOW: u32 = 64;

/// Challenges with nonces that prove themselves, and remembers only the nonces that someone who
/// knew the password has used.
///
/// That memory is bounded. When it is full, the oldest nonce in it is retired together with all
/// that were issued before: their holders are challenged again with `stale=true`, which costs
/// them a round trip. No replay succeeds because of it.
#[derive(Debug)]
pub struct Server {
    realm: String,
    secret: Secret,
    /// What the credentials of users who do not exist are compared with.
    decoy: Secret,
    life: Duration,
    memory: usize,
    serial: u64,
    /// Nonces below this serial number are retired unless they are in `used`.
    retired: u64,
    used: BTreeMap<u64, Used>,
}

struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// The counts seen with one nonce.
#[derive(Debug)]
struct Used {
    /// Who used it first; nobody else can.
    user: String,
    expires: Now,
    highest: u32,
    /// Bit n: `highest - n` was seen.
    seen: u64,
}

/// Why credentials were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// Another scheme than Digest.
    #[error("the scheme is not Digest")]
    NotDigest,
    /// A parameter is missing or not readable: 400.
    #[error("{0} is missing or malformed")]
    Malformed(&'static str),
    /// Credentials for somebody else's realm.
    #[error("the realm is not ours")]
    ForeignRealm,
    /// Nobody has the user name, or not the user to verify with.
    #[error("the user is unknown")]
    UnknownUser,
    /// An algorithm that was not offered, so that nobody can talk us down to a weaker one.
    #[error("the algorithm was not offered")]
    AlgorithmNotOffered,
    /// A quality of protection that was not offered.
    #[error("the quality of protection was not offered")]
    QopNotOffered,
    /// The response does not prove knowledge of the password.
    #[error("the response is wrong")]
    Wrong,
    /// The password is right, the nonce too old, retired, or not ours.
    #[error("the nonce is stale")]
    Stale,
    /// The password is right, the nonce count was used before.
    #[error("the nonce count was used before")]
    Replayed,
}

impl Denied {
    /// Whether a new challenge carries `stale=true`: the password was right, only the nonce was
    /// not.
    #[must_use]
    pub const fn is_stale(self) -> bool {
        match self {
            Self::Stale | Self::Replayed => true,
            Self::NotDigest
            | Self::Malformed(_)
            | Self::ForeignRealm
            | Self::UnknownUser
            | Self::AlgorithmNotOffered
            | Self::QopNotOffered
            | Self::Wrong => false,
        }
    }
}

/// A nonce of ours, read.
struct Nonce {
    issued: Now,
    serial: u64,
}

impl Server {
    /// A server for one realm. `secret` proves its nonces, each good for `life`; `memory` is how
    /// many used nonces it remembers.
    #[must_use]
    pub fn new(realm: &str, secret: [u8; 32], life: Duration, memory: usize) -> Self {
        Self {
            realm: realm.to_owned(),
            decoy: Secret(mac(&secret, "decoy", &[])),
            secret: Secret(secret),
            life,
            memory: memory.max(1),
            serial: 0,
            retired: 0,
            used: BTreeMap::new(),
        }
    }

    /// Another realm and life, with the same secret and the same memory: no nonce count becomes
    /// good again.
    pub fn reconfigure(&mut self, realm: &str, life: Duration) {
        realm.clone_into(&mut self.realm);
        self.life = life;
    }

    /// The realm.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The values of WWW-Authenticate, one for each algorithm in the order given (RFC 8760 §2.3).
    pub fn challenge(&mut self, now: Now, algorithms: &[Algorithm], stale: bool) -> Vec<Bytes> {
        algorithms
            .iter()
            .map(|algorithm| self.one_challenge(now, *algorithm, stale))
            .collect()
    }

    /// Whether credentials are meant for this server's realm; those of other realms are passed
    /// over (RFC 3261 §22.3).
    #[must_use]
    pub fn is_for_us(&self, credentials: &Credentials) -> bool {
        credentials.is_digest()
            && credentials.param("realm").as_deref() == Some(self.realm.as_bytes())
    }

    /// Verifies credentials against the one user whom their name was found to mean; `None` where
    /// it means nobody, which costs the same. The digest `uri` is taken as it stands
    /// (RFC 3261 §22.4).
    pub fn verify(
        &mut self,
        now: Now,
        credentials: &Credentials,
        method: &str,
        user: Option<&DigestUser>,
    ) -> Result<(), Denied> {
        let parts = Parts::read(credentials)?;
        let password = user.map_or(&self.decoy.0[..], |user| user.password.as_bytes());
        let expected = parts
            .proof(self.realm.as_bytes(), method.as_bytes(), password)
            .response();
        let given = parts.response.to_ascii_lowercase();
        let right = bool::from(expected.as_bytes().ct_eq(&given));
        let user = user.ok_or(Denied::UnknownUser)?;
        self.check_claims(&parts, user)?;
        if !right {
            return Err(Denied::Wrong);
        }
        let nonce = self.read_nonce(&parts.nonce).ok_or(Denied::Stale)?;
        if now > nonce.issued + self.life {
            return Err(Denied::Stale);
        }
        self.note(now, &nonce, parts.count(), &user.username)
    }

    /// How many used nonces are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.used.len()
    }

    fn check_claims(&self, parts: &Parts<'_>, user: &DigestUser) -> Result<(), Denied> {
        if *parts.realm != *self.realm.as_bytes() {
            Err(Denied::ForeignRealm)
        } else if *parts.username != *user.username.as_bytes() {
            Err(Denied::UnknownUser)
        } else if !may_use(user, parts.algorithm) {
            Err(Denied::AlgorithmNotOffered)
        } else {
            Ok(())
        }
    }

    fn one_challenge(&mut self, now: Now, algorithm: Algorithm, stale: bool) -> Bytes {
        let mut text = b"Digest realm=".to_vec();
        quote(&mut text, self.realm.as_bytes());
        text.extend_from_slice(b", nonce=\"");
        text.extend_from_slice(self.issue(now).as_bytes());
        text.extend_from_slice(b"\", algorithm=");
        text.extend_from_slice(algorithm.name().as_bytes());
        text.extend_from_slice(b", qop=\"auth\"");
        if stale {
            text.extend_from_slice(b", stale=true");
        }
        text.into()
    }

    fn issue(&mut self, now: Now) -> String {
        self.serial += 1;
        let mut nonce = [0; NONCE_LEN / 2];
        nonce[..8].copy_from_slice(&now.as_millis().to_be_bytes());
        nonce[8..16].copy_from_slice(&self.serial.to_be_bytes());
        let proof = mac(&self.secret.0, "nonce", &[&nonce[..16]]);
        nonce[16..].copy_from_slice(&proof[..16]);
        hex(&nonce)
    }

    fn read_nonce(&self, text: &[u8]) -> Option<Nonce> {
        let nonce = unhex(text)?;
        let proof = mac(&self.secret.0, "nonce", &[&nonce[..16]]);
        if !bool::from(proof[..16].ct_eq(&nonce[16..])) {
            return None;
        }
        let (issued, serial) = (number(&nonce[..8]), number(&nonce[8..16]));
        Some(Nonce {
            issued: Now::from_millis(issued),
            serial,
        })
    }

    /// Accepts a nonce count once.
    fn note(&mut self, now: Now, nonce: &Nonce, count: u32, user: &str) -> Result<(), Denied> {
        if let Some(used) = self.used.get_mut(&nonce.serial) {
            return if used.user != user {
                Err(Denied::Stale)
            } else if used.is_new(count) {
                Ok(())
            } else {
                Err(Denied::Replayed)
            };
        }
        if nonce.serial < self.retired {
            return Err(Denied::Stale);
        }
        while self.used.len() >= self.memory {
            let Some((serial, oldest)) = self.used.pop_first() else {
                break;
            };
            // Serial numbers rise with time, so whatever came before an expired nonce has expired.
            if oldest.expires >= now {
                self.retired = self.retired.max(serial + 1);
            }
        }
        if nonce.serial < self.retired {
            return Err(Denied::Stale);
        }
        self.used.insert(
            nonce.serial,
            Used {
                user: user.to_owned(),
                expires: nonce.issued + self.life,
                highest: count,
                seen: 1,
            },
        );
        Ok(())
    }
}

impl Used {
    fn is_new(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = if behind < WINDOW {
            1 << behind
        } else {
            return false;
        };
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

/// The parameters of credentials, unquoted.
struct Parts<'a> {
    algorithm: Algorithm,
    username: Text<'a>,
    realm: Text<'a>,
    nonce: Text<'a>,
    uri: Text<'a>,
    response: Text<'a>,
    /// Nonce count as written, its value, and the client's nonce; absent in the form of RFC 2069.
    qop: Option<(Text<'a>, u32, Text<'a>)>,
}

type Text<'a> = std::borrow::Cow<'a, [u8]>;

impl<'a> Parts<'a> {
    fn read(credentials: &'a Credentials) -> Result<Self, Denied> {
        if !credentials.is_digest() {
            return Err(Denied::NotDigest);
        }
        let need = |name: &'static str| credentials.param(name).ok_or(Denied::Malformed(name));
        let algorithm = match credentials.param("algorithm") {
            None => Algorithm::Md5,
            Some(name) => Algorithm::parse(&name).ok_or(Denied::AlgorithmNotOffered)?,
        };
        let qop = match credentials.param("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case(b"auth") => {
                let count = need("nc")?;
                let value = nonce_count(&count).ok_or(Denied::Malformed("nc"))?;
                Some((count, value, need("cnonce")?))
            }
            Some(_) => return Err(Denied::QopNotOffered),
        };
        // Only peers as old as MD5 know no `qop` (RFC 7616 §3.4, RFC 8760 §2.6).
        if qop.is_none() && algorithm != Algorithm::Md5 {
            return Err(Denied::Malformed("qop"));
        }
        Ok(Self {
            algorithm,
            username: need("username")?,
            realm: need("realm")?,
            nonce: need("nonce")?,
            uri: need("uri")?,
            response: need("response")?,
            qop,
        })
    }

    fn proof<'b>(&'b self, realm: &'b [u8], method: &'b [u8], password: &'b [u8]) -> Proof<'b> {
        let qop = match &self.qop {
            None => Qop::None,
            Some((count, _, cnonce)) => Qop::Auth { count, cnonce },
        };
        Proof {
            algorithm: self.algorithm,
            username: &self.username,
            realm,
            password,
            nonce: &self.nonce,
            method,
            uri: &self.uri,
            qop,
            session: None,
        }
    }

    /// The nonce count; a nonce used in the form of RFC 2069, which has none, is good once.
    fn count(&self) -> u32 {
        self.qop.as_ref().map_or(1, |(_, value, _)| *value)
    }
}

/// Whether a user may prove itself so: by what its trunk offers, or, where that includes MD5, by
/// what is better, since trunks that share an address are challenged with all that any of them offers.
fn may_use(user: &DigestUser, algorithm: Algorithm) -> bool {
    user.algorithms.contains(&algorithm)
        || (algorithm != Algorithm::Md5 && user.algorithms.contains(&Algorithm::Md5))
}

/// `8LHEX`, not zero.
fn nonce_count(text: &[u8]) -> Option<u32> {
    if text.len() != 8 || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let count = u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()?;
    (count > 0).then_some(count)
}

fn unhex(text: &[u8]) -> Option<[u8; NONCE_LEN / 2]> {
    if text.len() != NONCE_LEN {
        return None;
    }
    let mut bytes = [0; NONCE_LEN / 2];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
