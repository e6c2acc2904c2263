//! `Via` (RFC 3261 section 20.42; `rport` of RFC 3581).

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use bytes::Bytes;
use nom::IResult;

use super::{Params, params_noting};
use crate::grammar::{after_sws, decimal, host, lws, no_match, number, separator, sws, token};
use crate::{Param, ParseError};

/// One Via value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    raw: Bytes,
    transport: Range<usize>,
    host: Range<usize>,
    port: Option<u16>,
    params: usize,
    /// The value of `branch`, empty without one.
    branch: Range<usize>,
}

struct Head<'a> {
    transport: &'a [u8],
    host: &'a [u8],
    port: Option<u16>,
}

/// `sent-protocol LWS sent-by`.
#[inline]
fn head(input: &[u8]) -> IResult<&[u8], Head<'_>> {
    let slash = separator(b'/');
    let rest = match input.strip_prefix(b"SIP/2.0/") {
        // As nearly all write it; white space may still follow.
        Some(rest) => after_sws(rest),
        None => {
            let (rest, _name) = token(input)?;
            let (rest, _) = slash(rest)?;
            let (rest, _version) = token(rest)?;
            slash(rest)?.0
        }
    };
    let (rest, transport) = token(rest)?;
    let (rest, _) = lws(rest)?;
    let (rest, host) = host(rest)?;
    let (rest, port) = sent_by_port(rest)?;
    let (rest, _) = sws(rest)?;
    let head = Head {
        transport,
        host,
        port,
    };
    Ok((rest, head))
}

/// `[ COLON port ]`.
#[inline]
fn sent_by_port(input: &[u8]) -> IResult<&[u8], Option<u16>> {
    let port = separator(b':')(input).and_then(|(rest, _)| number(rest));
    let Ok((rest, port)) = port else {
        return Ok((input, None));
    };
    match u16::try_from(port) {
        Ok(port) => Ok((rest, Some(port))),
        Err(_) => no_match(input),
    }
}

impl Via {
    /// Reads one value, folds allowed.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        let (rest, found) = head(&raw).map_err(|_| ParseError::new("Via malformed", 0))?;
        let params = raw.len() - rest.len();
        let branch = params_noting(rest, b"branch", "Via parameter malformed", params)?;
        let branch = value_in(&raw, branch);
        let transport = range_in(&raw, found.transport);
        let host = range_in(&raw, found.host);
        let port = found.port;
        Ok(Self {
            transport,
            host,
            port,
            params,
            branch,
            raw,
        })
    }

    /// The value, byte for byte.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }

    /// The transport as spelled: `UDP`, `TCP`, `TLS`, …
    pub fn transport(&self) -> &[u8] {
        &self.raw[self.transport.clone()]
    }

    /// The host of sent-by as spelled, an IPv6 address with its brackets.
    pub fn host(&self) -> &[u8] {
        &self.raw[self.host.clone()]
    }

    /// The port of sent-by, if given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address of sent-by when it is a literal.
    pub fn host_ip(&self) -> Option<IpAddr> {
        literal(self.host())
    }

    /// The parameters.
    pub fn params(&self) -> Params<'_> {
        Params::new(&self.raw[self.params..])
    }

    /// The transaction's branch (section 8.1.1.7).
    pub fn branch(&self) -> Option<&[u8]> {
        Some(&self.raw[self.branch.clone()]).filter(|branch| !branch.is_empty())
    }

    /// The source address that the next hop noted.
    pub fn received(&self) -> Option<IpAddr> {
        self.params().get("received").and_then(literal)
    }

    /// `None` without `rport`, `Some(None)` for the bare request for it, else the source port noted.
    pub fn rport(&self) -> Option<Option<u16>> {
        let value = self.params().get("rport")?;
        Some(decimal(value).and_then(|port| u16::try_from(port).ok()))
    }

    /// The address that responses go to instead of sent-by (section 18.2.2).
    pub fn maddr(&self) -> Option<&[u8]> {
        self.params().get("maddr")
    }

    /// The multicast time to live.
    pub fn ttl(&self) -> Option<u8> {
        self.params()
            .get("ttl")
            .and_then(decimal)
            .and_then(|ttl| u8::try_from(ttl).ok())
    }

    /// The value with the source it came from noted: `received` where the host differs or `rport`
    /// was asked for, and `rport` filled in (RFC 3261 section 18.2.1, RFC 3581 section 4).
    pub fn with_source(&self, source: SocketAddr) -> Bytes {
        let ip = source.ip().to_canonical();
        let asked = self.rport().is_some();
        let noted = asked || self.host_ip().map(|host| host.to_canonical()) != Some(ip);
        let mut text = Vec::with_capacity(self.raw.len() + 64);
        text.extend_from_slice(&self.raw[..self.params]);
        for param in self.params().iter() {
            let dropped = param.name.eq_ignore_ascii_case(b"received")
                || param.name.eq_ignore_ascii_case(b"rport");
            if !dropped {
                text.push(b';');
                text.extend_from_slice(param.name);
                if let Some(value) = param.value {
                    text.push(b'=');
                    text.extend_from_slice(value);
                }
            }
        }
        if noted {
            text.extend_from_slice(format!(";received={ip}").as_bytes());
        }
        if asked {
            text.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
        }
        text.into()
    }
}

/// An IPv4 address, or an IPv6 address with or without brackets.
pub(crate) fn literal(host: &[u8]) -> Option<IpAddr> {
    let bare = host
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"))
        .unwrap_or(host);
    std::str::from_utf8(bare).ok()?.parse().ok()
}

/// Where `part`, a slice of `whole`, lies in it.
pub(crate) fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// Where the value of a parameter lies in `whole`; nowhere without one.
#[inline]
pub(crate) fn value_in(whole: &[u8], param: Option<Param<'_>>) -> Range<usize> {
    param
        .and_then(|param| param.value)
        .map_or(0..0, |value| range_in(whole, value))
}
