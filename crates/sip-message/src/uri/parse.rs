//! Reading of URIs.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::Uri;
use crate::grammar::decimal;
use crate::{Param, ParseError};

pub(super) fn uri(raw: Bytes) -> Result<Uri, ParseError> {
    if let Some(at) = raw
        .iter()
        .position(|&byte| byte <= b' ' || byte == 0x7f || matches!(byte, b'<' | b'>' | b'"'))
    {
        return Err(ParseError::new("URI with a forbidden character", at));
    }
    let scheme = memchr::memchr(b':', &raw).ok_or(ParseError::new("URI without scheme", 0))?;
    let valid = raw[0..scheme].first().is_some_and(u8::is_ascii_alphabetic)
        && raw[..scheme]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !valid || scheme + 1 == raw.len() {
        return Err(ParseError::new("URI scheme malformed", 0));
    }
    let is_sip =
        raw[..scheme].eq_ignore_ascii_case(b"sip") || raw[..scheme].eq_ignore_ascii_case(b"sips");
    if is_sip {
        sip(raw, scheme)
    } else {
        Ok(opaque(raw, scheme))
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

fn sip(raw: Bytes, scheme: usize) -> Result<Uri, ParseError> {
    let from = scheme + 1;
    let at_sign = memchr::memchr(b'@', &raw[from..]).map(|at| from + at);
    let user = at_sign.map(|at| from..at);
    let host_start = at_sign.map_or(from, |at| at + 1);
    let headers = memchr::memchr(b'?', &raw[host_start..]).map_or(raw.len(), |at| host_start + at);
    let params =
        memchr::memchr(b';', &raw[host_start..headers]).map_or(headers, |at| host_start + at);
    let (host, port) = host_port(&raw, host_start..params)?;
    if user.as_ref().is_some_and(Range::is_empty) {
        return Err(ParseError::new("URI with an empty user", from));
    }
    Ok(Uri {
        scheme,
        user,
        host,
        port,
        params: params..headers,
        raw,
    })
}

fn host_port(raw: &[u8], range: Range<usize>) -> Result<(Range<usize>, Option<u16>), ParseError> {
    let text = &raw[range.clone()];
    let malformed = ParseError::new("URI host malformed", range.start);
    let Ok((rest, host)) = crate::grammar::host(text) else {
        return Err(malformed);
    };
    let host = range.start..range.start + host.len();
    match rest {
        [] => Ok((host, None)),
        [b':', digits @ ..] => match decimal(digits).map(u16::try_from) {
            Some(Ok(port)) => Ok((host, Some(port))),
            _ => Err(malformed),
        },
        _ => Err(malformed),
    }
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
