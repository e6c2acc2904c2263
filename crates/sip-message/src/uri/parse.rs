//! Reading of URIs.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use super::{Parts, Uri};
use crate::grammar::{decimal, ends_user, is_forbidden_in_uri, is_scheme_byte, run};
use crate::{Param, ParseError};

#[inline]
pub(super) fn uri(raw: &[u8]) -> Result<Parts, ParseError> {
    if raw.starts_with(b"sip:") && raw.len() > 4 {
        return sip(raw, 3);
    }
    any_scheme(raw)
}

#[cold]
fn any_scheme(raw: &[u8]) -> Result<Parts, ParseError> {
    let (scheme, _) = run(raw, is_scheme_byte);
    let starts_well = scheme.first().is_some_and(u8::is_ascii_alphabetic);
    let scheme = scheme.len();
    if !starts_well || raw.get(scheme) != Some(&b':') || scheme + 1 == raw.len() {
        let what = match memchr::memchr(b':', raw) {
            Some(_) => "URI scheme malformed",
            None => "URI without scheme",
        };
        return Err(malformed(raw, what, 0));
    }
    if raw[..scheme].eq_ignore_ascii_case(b"sip") || raw[..scheme].eq_ignore_ascii_case(b"sips") {
        return sip(raw, scheme);
    }
    if raw.iter().any(|&byte| is_forbidden_in_uri(byte)) {
        return Err(malformed(raw, "URI malformed", 0));
    }
    let parts = opaque(raw, scheme);
    if parts.user.as_ref().is_some_and(Range::is_empty) {
        return Err(ParseError::new("URI without a number", scheme + 1));
    }
    Ok(parts)
}

/// The error, or the one for a forbidden character where there is one.
#[cold]
fn malformed(raw: &[u8], what: &'static str, at: usize) -> ParseError {
    match raw.iter().position(|&byte| is_forbidden_in_uri(byte)) {
        Some(at) => ParseError::new("URI with a forbidden character", at),
        None => ParseError::new(what, at),
    }
}

fn opaque(raw: &[u8], scheme: usize) -> Parts {
    let end = raw.len();
    let tel = raw[..scheme].eq_ignore_ascii_case(b"tel");
    let params = if tel {
        memchr::memchr(b';', raw).unwrap_or(end)
    } else {
        end
    };
    let user = tel.then_some(scheme + 1..params);
    Parts {
        scheme,
        user,
        host: end..end,
        port: None,
        params: params..end,
    }
}

fn sip(raw: &[u8], scheme: usize) -> Result<Parts, ParseError> {
    let from = scheme + 1;
    let (user, after) = run(&raw[from..], |byte| !ends_user(byte));
    let at_sign = matches!(after, [b'@', ..]).then_some(from + user.len());
    let host_start = at_sign.map_or(from, |at| at + 1);
    let Some((host, port, rest)) = host_port(&raw[host_start..]) else {
        return Err(malformed(raw, "URI host malformed", host_start));
    };
    let host = host_start..host_start + host.len();
    let (mut params, params_start) = (rest, raw.len() - rest.len());
    if !rest.is_empty() {
        if rest.iter().any(|&byte| is_forbidden_in_uri(byte)) {
            return Err(malformed(raw, "URI malformed", params_start));
        }
        params = split_at_byte(rest, b'?').0;
    }
    if at_sign == Some(from) {
        return Err(ParseError::new("URI with an empty user", from));
    }
    Ok(Parts {
        scheme,
        user: at_sign.map(|at| from..at),
        host,
        port,
        params: params_start..params_start + params.len(),
    })
}

/// A host that ends the bytes or goes before parameters or headers, its port, and what follows.
#[inline]
fn host_port(text: &[u8]) -> Option<(&[u8], Option<u16>, &[u8])> {
    let (rest, host) = crate::grammar::host(text).ok()?;
    let (port, rest) = match rest {
        [b':', rest @ ..] => {
            let (digits, rest) = run(rest, |byte| byte.is_ascii_digit());
            (Some(u16::try_from(decimal(digits)?).ok()?), rest)
        }
        _ => (None, rest),
    };
    matches!(rest, [] | [b';' | b'?', ..]).then_some((host, port, rest))
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
    let (text, old) = (uri.text(), uri.parts.params.clone());
    let mut raw = text[..old.start].to_vec();
    for param in text[old.clone()].split(|&byte| byte == b';').skip(1) {
        let (spelled, _) = split_at_byte(param, b'=');
        if !spelled.eq_ignore_ascii_case(name.as_bytes()) {
            raw.push(b';');
            raw.extend_from_slice(param);
        }
    }
    let params = old.start..raw.len();
    raw.extend_from_slice(&text[old.end..]);
    Uri {
        place: 0..raw.len(),
        around: raw.into(),
        own: OnceLock::new(),
        parts: Parts {
            params,
            ..uri.parts.clone()
        },
    }
}
