//! Comparison of URIs (RFC 3261 section 19.1.4).

use super::{Uri, parse};
use crate::Param;

/// Parameters that must be in both URIs or in neither.
const NEVER_IGNORED: [&[u8]; 5] = [b"transport", b"user", b"ttl", b"method", b"maddr"];

impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        if !self.is_sip() || !other.is_sip() {
            return self.scheme().eq_ignore_ascii_case(other.scheme())
                && self.text()[self.parts.scheme..] == other.text()[other.parts.scheme..];
        }
        if self.text() == other.text() {
            return true;
        }
        self.is_sips() == other.is_sips()
            && is_comparable(self)
            && is_comparable(other)
            && self.parts.port == other.parts.port
            && same_host(self, other)
            && same_user(self, other)
            && params_match(self, other)
            && params_match(other, self)
            && same_headers(self, other)
    }
}

impl Eq for Uri {}

fn same_host(one: &Uri, other: &Uri) -> bool {
    match (one.host_ip(), other.host_ip()) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.host().eq_ignore_ascii_case(other.host()),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The user information is compared with its case, and with its password.
fn same_user(one: &Uri, other: &Uri) -> bool {
    match (&one.parts.user, &other.parts.user) {
        (Some(a), Some(b)) => {
            Unescaped(&one.text()[a.clone()]).eq(Unescaped(&other.text()[b.clone()]))
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether each parameter of `one` is the same in `other`, or is missing there and may be ignored.
fn params_match(one: &Uri, other: &Uri) -> bool {
    one.params().all(|param| {
        match other
            .params()
            .find(|found| same_text(found.name, param.name))
        {
            Some(found) => same_value(&found, &param),
            None => !NEVER_IGNORED
                .iter()
                .any(|name| param.name.eq_ignore_ascii_case(name)),
        }
    })
}

fn same_value(one: &Param<'_>, other: &Param<'_>) -> bool {
    same_text(
        one.value.unwrap_or_default(),
        other.value.unwrap_or_default(),
    )
}

/// Headers are compared as a set; none is ever ignored.
fn same_headers(one: &Uri, other: &Uri) -> bool {
    let count = |uri: &Uri, name: &[u8], value: &[u8]| {
        let same = |header: &super::EmbeddedHeader<'_>| {
            header.name.eq_ignore_ascii_case(name) && *header.value == *value
        };
        uri.headers().filter(same).count()
    };
    one.headers().count() == other.headers().count()
        && one.headers().all(|header| {
            count(one, &header.name, &header.value) == count(other, &header.name, &header.value)
        })
}

/// Most parameters, and most headers, of a URI that is compared part by part.
const PARTS: usize = 64;

/// Bounds the quadratic comparison: larger URIs are the same only byte for byte.
fn is_comparable(uri: &Uri) -> bool {
    uri.params().count() <= PARTS && uri.headers().count() <= PARTS
}

fn same_text(one: &[u8], other: &[u8]) -> bool {
    let lower = |(byte, escaped): (u8, bool)| (byte.to_ascii_lowercase(), escaped);
    Unescaped(one).map(lower).eq(Unescaped(other).map(lower))
}

/// Bytes with escapes resolved; an escaped reserved character differs from the character itself.
struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let (&first, rest) = self.0.split_first()?;
        let decoded = if first == b'%' {
            parse::hex_pair(rest)
        } else {
            None
        };
        match decoded {
            Some(byte) => {
                self.0 = &rest[2..];
                Some((byte, b";/?:@&=+$,".contains(&byte)))
            }
            None => {
                self.0 = rest;
                Some((first, false))
            }
        }
    }
}
