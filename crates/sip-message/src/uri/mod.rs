//! URIs that keep their bytes (RFC 3261 section 19.1, RFC 3966, RFC 2396).

mod compare;
mod parse;
mod tel;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

pub use tel::tel_as_sip;

use crate::{Param, ParseError};

/// A URI of any scheme, byte for byte as it came. `==` compares as RFC 3261 section 19.1.4 says
/// for sip and sips, byte by byte for other schemes.
#[derive(Debug, Clone)]
pub struct Uri {
    /// The bytes that the URI lies in: itself alone, or the value of a header field.
    around: Bytes,
    /// Where in them it lies; the ranges of its parts count from there.
    place: Range<usize>,
    /// The URI's own bytes, made when asked for, where there are others around it.
    own: OnceLock<Bytes>,
    parts: Parts,
}

/// Where the parts of a URI are.
#[derive(Debug, Clone)]
struct Parts {
    scheme: usize,
    user: Option<Range<usize>>,
    host: Range<usize>,
    port: Option<u16>,
    params: Range<usize>,
}

/// A header embedded in a URI, percent-decoded (section 19.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedHeader<'a> {
    /// The header's name.
    pub name: Cow<'a, [u8]>,
    /// Its value.
    pub value: Cow<'a, [u8]>,
}

impl Uri {
    /// Reads a URI from a copy of the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::from_bytes(Bytes::copy_from_slice(bytes))
    }

    /// Reads a URI, sharing the bytes.
    pub fn from_bytes(raw: Bytes) -> Result<Self, ParseError> {
        let place = 0..raw.len();
        Self::within(raw, place)
    }

    /// Reads the URI that lies in other bytes.
    #[inline]
    pub(crate) fn within(around: Bytes, place: Range<usize>) -> Result<Self, ParseError> {
        let parts = parse::uri(&around[place.clone()])?;
        Ok(Self {
            around,
            place,
            own: OnceLock::new(),
            parts,
        })
    }

    /// The bytes that the URI lies in.
    pub(crate) fn around(&self) -> &Bytes {
        &self.around
    }

    fn text(&self) -> &[u8] {
        &self.around[self.place.clone()]
    }

    /// The URI, byte for byte.
    pub fn as_bytes(&self) -> &Bytes {
        if self.place.len() == self.around.len() {
            return &self.around;
        }
        self.own
            .get_or_init(|| self.around.slice(self.place.clone()))
    }

    /// The scheme as spelled.
    pub fn scheme(&self) -> &[u8] {
        &self.text()[..self.parts.scheme]
    }

    /// Whether the scheme is sip or sips.
    pub fn is_sip(&self) -> bool {
        self.scheme().eq_ignore_ascii_case(b"sip") || self.is_sips()
    }

    /// Whether the scheme is sips.
    pub fn is_sips(&self) -> bool {
        self.scheme().eq_ignore_ascii_case(b"sips")
    }

    /// The user part as spelled, with its parameters, without a password; the number of a tel URI.
    pub fn user(&self) -> Option<&[u8]> {
        let info = &self.text()[self.parts.user.clone()?];
        let end = if self.is_sip() {
            memchr::memchr(b':', info)
        } else {
            None
        };
        Some(&info[..end.unwrap_or(info.len())])
    }

    /// The user part percent-decoded.
    pub fn user_decoded(&self) -> Option<Cow<'_, [u8]>> {
        self.user().map(parse::percent_decode)
    }

    /// The host of a sip or sips URI as spelled, an IPv6 address with its brackets; else empty.
    pub fn host(&self) -> &[u8] {
        &self.text()[self.parts.host.clone()]
    }

    /// The host when it is a literal address.
    pub fn host_ip(&self) -> Option<IpAddr> {
        crate::headers::literal(self.host())
    }

    /// The port, if given.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The parameters in order, flags included.
    pub fn params(&self) -> impl Iterator<Item = Param<'_>> {
        parse::params(&self.text()[self.parts.params.clone()])
    }

    /// The value as spelled of the parameter of that name, in any case; empty for a flag.
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        self.params()
            .find(|param| param.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|param| param.value.unwrap_or_default())
    }

    /// The embedded headers percent-decoded, in order; names may repeat.
    pub fn headers(&self) -> impl Iterator<Item = EmbeddedHeader<'_>> {
        let raw = self
            .text()
            .get(self.parts.params.end + 1..)
            .unwrap_or_default();
        raw.split(|&byte| byte == b'&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = parse::split_at_byte(pair, b'=');
                EmbeddedHeader {
                    name: parse::percent_decode(name),
                    value: parse::percent_decode(value.unwrap_or_default()),
                }
            })
    }

    /// The URI without the parameters of that name, the rest byte for byte.
    pub fn without_param(&self, name: &str) -> Self {
        parse::without_param(self, name)
    }

    /// The URI without `?headers`, the rest byte for byte.
    pub fn without_headers(&self) -> Self {
        let start = self.place.start;
        Self {
            around: self.around.clone(),
            place: start..start + self.parts.params.end,
            own: OnceLock::new(),
            parts: self.parts.clone(),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.text()))
    }
}
