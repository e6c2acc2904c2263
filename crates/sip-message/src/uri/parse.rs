//! Reading of URIs.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::Uri;
use crate::grammar::{decimal, is_scheme_byte, run};
use crate::{Param, ParseError};

/// Bytes that may stand nowhere in a URI.
fn is_forbidden(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f || matches!(byte, b'<' | b'>' | b'"')
}

pub(super) fn uri(raw: Bytes) -> Result<Uri, ParseError> {
    let (scheme, _) = run(&raw, is_scheme_byte);
    let starts_well = scheme.first().is_some_and(u8::is_ascii_alphabetic);
    let scheme = scheme.len();
    if !starts_well || raw.get(scheme) != Some(&b':') || scheme + 1 == raw.len() {
        return Err(malformed(&raw, "URI scheme malformed", 0));
    }
    if raw[..scheme].eq_ignore_ascii_case(b"sip") || raw[..scheme].eq_ignore_ascii_case(b"sips") {
        return sip(raw, scheme);
    }
    if raw.iter().any(|&byte| is_forbidden(byte)) {
        return Err(malformed(&raw, "URI malformed", 0));
    }
    Ok(opaque(raw, scheme))
}

/// The error, or the one for a forbidden character where there is one.
#[cold]
fn malformed(raw: &[u8], what: &'static str, at: usize) -> ParseError {
    match raw.iter().position(|&byte| is_forbidden(byte)) {
        Some(at) => ParseError::new("URI with a forbidden character", at),
        None => ParseError::new(what, at),
    }
}

fn opaque(raw: Bytes, scheme: usize) -> Uri {
    let end = raw.len();
    let tel = raw[..scheme].eq_ignore_ascii_case(b"tel");
    let params = if tel {
        memchr::memchr(b';', &raw).unwrap_or(end)
    } else {
        end
    };
    let user = tel.then_some(scheme + 1..params);
    Uri {
        scheme,
        user,
        host: end..end,
        port: None,
        params: params..end,
        raw,
    }
}

/// Where the parts of a sip URI meet.
struct Marks {
    /// The first `@`.
    at_sign: Option<usize>,
    /// The first `;` of the host part, or where it would be.
    params: usize,
    /// The first `?` of the host part, or the end.
    headers: usize,
}

const MARKS: [bool; 256] = marks();

/// The bytes that [`Marks`] are found by, and those that are forbidden.
const fn marks() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte <= 0x7f {
        table[byte] = byte <= b' ' as usize
            || matches!(byte as u8, b'<' | b'>' | b'"' | b'@' | b';' | b'?' | 0x7f);
        byte += 1;
    }
    table
}

/// Finds the marks in one pass; `None` if there is a forbidden character.
#[inline]
fn find_marks(raw: &[u8], from: usize) -> Option<Marks> {
    let (mut at_sign, mut params, mut headers) = (None, None, None);
    let mut rest = &raw[from..];
    while let (_, [mark, after @ ..]) = run(rest, |byte| !MARKS[usize::from(byte)]) {
        let at = raw.len() - after.len() - 1;
        rest = after;
        match mark {
            b'@' if at_sign.is_none() => (at_sign, params, headers) = (Some(at), None, None),
            b';' if headers.is_none() => params = params.or(Some(at)),
            b'?' => headers = headers.or(Some(at)),
            b'@' | b';' => {}
            _ => return None,
        }
    }
    let headers = headers.unwrap_or(raw.len());
    let params = params.unwrap_or(headers);
    Some(Marks {
        at_sign,
        params,
        headers,
    })
}

fn sip(raw: Bytes, scheme: usize) -> Result<Uri, ParseError> {
    let from = scheme + 1;
    let Some(marks) = find_marks(&raw, from) else {
        return Err(malformed(&raw, "URI malformed", from));
    };
    let host_start = marks.at_sign.map_or(from, |at| at + 1);
    let Some((host, port)) = host_port(&raw[host_start..marks.params]) else {
        return Err(ParseError::new("URI host malformed", host_start));
    };
    let user = marks.at_sign.map(|at| from..at);
    if user.as_ref().is_some_and(Range::is_empty) {
        return Err(ParseError::new("URI with an empty user", from));
    }
    Ok(Uri {
        scheme,
        user,
        host: host_start..host_start + host,
        port,
        params: marks.params..marks.headers,
        raw,
    })
}

/// The length of the host, and the port.
#[inline]
fn host_port(text: &[u8]) -> Option<(usize, Option<u16>)> {
    let (rest, host) = crate::grammar::host(text).ok()?;
    let port = match rest {
        [] => None,
        [b':', digits @ ..] => Some(u16::try_from(decimal(digits)?).ok()?),
        _ => return None,
    };
    Some((host.len(), port))
}

/// The parameters of `;name=value;flag`.
pub(super) fn params(raw: &[u8]) -> impl Iterator<Item = Param<'_>> {
    raw.split(|&byte| byte == b';')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = split_at_byte(part, b'=');
            Param { name, value }
        })
}

pub(super) fn split_at_byte(text: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(mark, text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Replaces each `%HH` by its byte; a `%` without two digits stays.
pub(super) fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let decoded = if *first == b'%' { hex_pair(tail) } else { None };
        plain.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(plain)
}

pub(super) fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    Some(digit(text.first()?)? << 4 | digit(text.get(1)?)?)
}

pub(super) fn without_param(uri: &Uri, name: &str) -> Uri {
    let mut raw = uri.raw[..uri.params.start].to_vec();
    for param in uri.raw[uri.params.clone()]
        .split(|&byte| byte == b';')
        .skip(1)
    {
        let (spelled, _) = split_at_byte(param, b'=');
        if !spelled.eq_ignore_ascii_case(name.as_bytes()) {
            raw.push(b';');
            raw.extend_from_slice(param);
        }
    }
    let params = uri.params.start..raw.len();
    raw.extend_from_slice(&uri.raw[uri.params.end..]);
    Uri {
        raw: raw.into(),
        params,
        ..uri.clone()
    }
}
