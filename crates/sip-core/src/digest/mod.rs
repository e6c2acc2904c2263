//! Digest authentication: RFC 3261 §22 with the algorithms of RFC 8760, after RFC 7616.
//!
//! [`Server`] challenges and verifies, without keeping anything for those who do not know the
//! password; [`Client`] answers the challenges of others.

mod client;
mod server;

#[cfg(test)]
mod tests;

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use zeroize::Zeroizing;

pub use client::{Authorization, Client, NoAnswer, Request};
pub use server::{Denied, Server};

/// A hash algorithm of digest authentication, RFC 8760 §2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// MD5, for peers that know nothing else.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512 truncated to 256 bits.
    Sha512_256,
}

impl Algorithm {
    /// The name in the `algorithm` parameter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// Reads an `algorithm` parameter, but for the session variants (`MD5-sess`), which only the
    /// client speaks.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        [Self::Md5, Self::Sha256, Self::Sha512_256]
            .into_iter()
            .find(|algorithm| name.eq_ignore_ascii_case(algorithm.name().as_bytes()))
    }

    /// The hash of the parts joined by colons, in lower-case hexadecimal.
    fn hash(self, parts: &[&[u8]]) -> Zeroizing<String> {
        match self {
            Self::Md5 => hash_with::<Md5>(parts),
            Self::Sha256 => hash_with::<Sha256>(parts),
            Self::Sha512_256 => hash_with::<Sha512_256>(parts),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The quality of protection, RFC 7616 §3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Qop<'a> {
    /// None: the form of RFC 2069.
    None,
    /// `auth`, with the nonce count as written and the client's nonce.
    Auth { count: &'a [u8], cnonce: &'a [u8] },
    /// `auth-int`, which protects the body too.
    AuthInt {
        count: &'a [u8],
        cnonce: &'a [u8],
        body: &'a [u8],
    },
}

/// What a response is computed from, RFC 7616 §3.4.1, each part without quotes.
#[derive(Clone, Copy)]
struct Proof<'a> {
    algorithm: Algorithm,
    username: &'a [u8],
    realm: &'a [u8],
    password: &'a [u8],
    nonce: &'a [u8],
    method: &'a [u8],
    uri: &'a [u8],
    qop: Qop<'a>,
    /// A session variant (`-sess`): the client's nonce of the session, which `qop` carries too.
    session: Option<&'a [u8]>,
}

impl Proof<'_> {
    /// The `response` parameter.
    fn response(&self) -> Zeroizing<String> {
        let hash = |parts: &[&[u8]]| self.algorithm.hash(parts);
        let mut who = hash(&[self.username, self.realm, self.password]);
        if let Some(cnonce) = self.session {
            who = hash(&[who.as_bytes(), self.nonce, cnonce]);
        }
        match self.qop {
            Qop::None => {
                let what = hash(&[self.method, self.uri]);
                hash(&[who.as_bytes(), self.nonce, what.as_bytes()])
            }
            Qop::Auth { count, cnonce } => {
                let what = hash(&[self.method, self.uri]);
                hash(&[
                    who.as_bytes(),
                    self.nonce,
                    count,
                    cnonce,
                    b"auth",
                    what.as_bytes(),
                ])
            }
            Qop::AuthInt {
                count,
                cnonce,
                body,
            } => {
                let what = hash(&[self.method, self.uri, hash(&[body]).as_bytes()]);
                hash(&[
                    who.as_bytes(),
                    self.nonce,
                    count,
                    cnonce,
                    b"auth-int",
                    what.as_bytes(),
                ])
            }
        }
    }
}

fn hash_with<D: Digest>(parts: &[&[u8]]) -> Zeroizing<String> {
    let mut hasher = D::new();
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            hasher.update(b":");
        }
        hasher.update(part);
    }
    Zeroizing::new(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Appends `value` as a quoted string, RFC 3261 §25.1. Line ends, which no value may hold, are
/// left out.
fn quote(text: &mut Vec<u8>, value: &[u8]) {
    text.push(b'"');
    for &byte in value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
}
