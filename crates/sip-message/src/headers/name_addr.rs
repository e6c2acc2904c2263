//! `name-addr` and `addr-spec` with parameters: From, To, Contact, Route, Refer-To, … (RFC 3261 section 20.10).

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::{Params, params_end};
use crate::grammar::{is_lws, is_token_byte, trim};
use crate::{ParseError, Uri, list};

/// A display name, a URI and parameters. `*` of a Contact is read as an empty URI of no scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    raw: Bytes,
    display: Range<usize>,
    uri: Uri,
    params: usize,
}

impl NameAddr {
    /// Reads one value, folds allowed. Without angle brackets, parameters belong to the header and
    /// the URI may hold no comma, question mark or semicolon (section 20.10).
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        let display = display_end(&raw)?;
        let name = trim_range(&raw, 0..display);
        let (uri, params) = if raw.get(display) == Some(&b'<') {
            let inner = display + 1;
            let close = memchr::memchr(b'>', &raw[inner..])
                .map(|len| inner + len)
                .ok_or(ParseError::new("angle bracket not closed", display))?;
            (inner..close, close + 1)
        } else {
            let end = memchr::memchr(b';', &raw).unwrap_or(raw.len());
            (trim_range(&raw, 0..end), end)
        };
        let bare = params == uri.end || raw.get(display) != Some(&b'<');
        if bare && memchr::memchr2(b'?', b',', &raw[uri.clone()]).is_some() {
            return Err(ParseError::new(
                "address with ? or , needs angle brackets",
                uri.start,
            ));
        }
        params_end(&raw[params..], "address parameter malformed", params)?;
        let uri = Uri::from_bytes(raw.slice(uri))?;
        Ok(Self {
            display: name,
            uri,
            params,
            raw,
        })
    }

    /// The value, byte for byte.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }

    /// The display name without quotes and escapes; absent or empty gives `None`.
    pub fn display(&self) -> Option<Cow<'_, [u8]>> {
        let text = list::unquote(&self.raw[self.display.clone()]);
        (!text.is_empty()).then_some(text)
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The header parameters (those of the URI belong to it).
    pub fn params(&self) -> Params<'_> {
        Params::new(&self.raw[self.params..])
    }

    /// The `tag` parameter of From and To (section 19.3).
    pub fn tag(&self) -> Option<&[u8]> {
        self.params().get("tag").filter(|tag| !tag.is_empty())
    }

    /// The value without its `tag` parameter, the rest byte for byte.
    pub fn without_tag(&self) -> Bytes {
        let Some(tag) = self.params().find("tag") else {
            return self.raw.clone();
        };
        let name = super::via::range_in(&self.raw, tag.name);
        let end = tag
            .value
            .map_or(name.end, |value| super::via::range_in(&self.raw, value).end);
        let start = memchr::memrchr(b';', &self.raw[..name.start]).unwrap_or(name.start);
        [&self.raw[..start], &self.raw[end..]].concat().into()
    }
}

/// Where the display name ends: at `<`, or 0 for an address without brackets.
fn display_end(raw: &[u8]) -> Result<usize, ParseError> {
    if raw.first() == Some(&b'"') {
        let end = list::quoted_len(raw);
        if end < 2 || raw.get(end - 1) != Some(&b'"') {
            return Err(ParseError::new("quoted string not closed", 0));
        }
        let gap = raw[end..].iter().take_while(|byte| is_lws(**byte)).count();
        return match raw.get(end + gap) {
            Some(b'<') => Ok(end + gap),
            _ => Err(ParseError::new("quoted name without <address>", end)),
        };
    }
    let Some(open) = memchr::memchr(b'<', raw) else {
        return Ok(0);
    };
    let plain = |byte: &u8| is_token_byte(*byte) || is_lws(*byte);
    match raw[..open]
        .iter()
        .position(|byte| !plain(byte) && byte.is_ascii())
    {
        Some(_) if raw[..open].contains(&b';') => Ok(0),
        Some(at) => Err(ParseError::new("display name needs quotes", at)),
        None => Ok(open),
    }
}

fn trim_range(raw: &[u8], range: Range<usize>) -> Range<usize> {
    super::via::range_in(raw, trim(&raw[range]))
}
