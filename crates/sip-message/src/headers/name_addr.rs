//! `name-addr` and `addr-spec` with parameters: From, To, Contact, Route, Refer-To, … (RFC 3261 section 20.10).

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use nom::IResult;

use super::via::{range_in, value_in};
use super::{Params, params_noting};
use crate::grammar::{
    after_sws, is_lws, is_token_byte, mark, no_match, quoted_string, run, run1, trim, until,
};
use crate::{ParseError, Uri, list};

/// A display name, a URI and parameters.
#[derive(Debug, Clone)]
pub struct NameAddr {
    /// Lies in the bytes of the whole value.
    uri: Uri,
    display: Range<usize>,
    params: usize,
    /// The value of `tag`, empty without one.
    tag: Range<usize>,
}

impl PartialEq for NameAddr {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for NameAddr {}

impl NameAddr {
    /// Reads one value, folds allowed. Without angle brackets, parameters belong to the header and
    /// the URI may hold no comma, question mark or semicolon (section 20).
    #[inline]
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        let parsed = bracketed(&raw).or_else(|_| bare(&raw));
        let (rest, (display, uri)) = parsed.map_err(|_| ParseError::new("address malformed", 0))?;
        let params = raw.len() - rest.len();
        let tag = params_noting(rest, b"tag", "address parameter malformed", params)?;
        let (display, tag) = (range_in(&raw, display), value_in(&raw, tag));
        let place = range_in(&raw, uri);
        Ok(Self {
            uri: Uri::within(raw, place)?,
            display,
            params,
            tag,
        })
    }

    /// The value, byte for byte.
    pub fn as_bytes(&self) -> &Bytes {
        self.uri.around()
    }

    /// The display name without quotes and escapes; absent or empty gives `None`.
    pub fn display(&self) -> Option<Cow<'_, [u8]>> {
        let text = list::unquote(&self.as_bytes()[self.display.clone()]);
        (!text.is_empty()).then_some(text)
    }

    /// The URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The header parameters (those of the URI belong to it).
    pub fn params(&self) -> Params<'_> {
        Params::new(&self.as_bytes()[self.params..])
    }

    /// The `tag` parameter of From and To (section 19.3).
    pub fn tag(&self) -> Option<&[u8]> {
        Some(&self.as_bytes()[self.tag.clone()]).filter(|tag| !tag.is_empty())
    }

    /// The value without its `tag` parameter, the rest byte for byte.
    pub fn without_tag(&self) -> Bytes {
        let Some(tag) = self.params().find("tag") else {
            return self.as_bytes().clone();
        };
        let name = range_in(self.as_bytes(), tag.name);
        let end = tag
            .value
            .map_or(name.end, |value| range_in(self.as_bytes(), value).end);
        let start = memchr::memrchr(b';', &self.as_bytes()[..name.start]).unwrap_or(name.start);
        [&self.as_bytes()[..start], &self.as_bytes()[end..]]
            .concat()
            .into()
    }
}

/// `[ display-name ] LAQUOT addr-spec RAQUOT`.
#[inline]
fn bracketed(input: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    let (rest, display) = display_name(input)?;
    let [b'<', rest @ ..] = after_sws(rest) else {
        return no_match(rest);
    };
    let (rest, address) = until(b'>')(rest)?;
    let (rest, _) = mark(b'>')(rest)?;
    Ok((rest, (trim(display), address)))
}

/// A quoted string or words, which may hold UTF-8; nothing at all, too.
#[inline]
fn display_name(input: &[u8]) -> IResult<&[u8], &[u8]> {
    if input.first() == Some(&b'"') {
        return quoted_string(input);
    }
    let (words, rest) = run(input, |byte| {
        is_token_byte(byte) || is_lws(byte) || !byte.is_ascii()
    });
    Ok((rest, words))
}

/// `addr-spec` alone, up to the header's parameters.
fn bare(input: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    let ends = |byte: u8| is_lws(byte) || matches!(byte, b';' | b',' | b'?' | b'<' | b'>' | b'"');
    let (rest, address) = run1(|byte| !ends(byte))(input)?;
    Ok((rest, (&input[..0], address)))
}
