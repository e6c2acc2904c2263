//! `Content-Type` and media ranges (RFC 3261 section 20.15).

use bytes::Bytes;
use nom::Parser;
use nom::sequence::separated_pair;

use super::{Params, params_end};
use crate::ParseError;
use crate::grammar::{separator, token};

/// A media type with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    raw: Bytes,
    slash: usize,
    subtype: std::ops::Range<usize>,
    params: usize,
}

impl MediaType {
    /// Reads the value, folds allowed.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        let parsed = separated_pair(token, separator(b'/'), token).parse(&raw[..]);
        let Ok((rest, (kind, subtype))) = parsed else {
            return Err(ParseError::new("media type malformed", 0));
        };
        let params = raw.len() - rest.len();
        params_end(rest, "media type parameter malformed", params)?;
        let (slash, subtype) = (kind.len(), super::via::range_in(&raw, subtype));
        Ok(Self {
            raw,
            slash,
            subtype,
            params,
        })
    }

    /// The value, byte for byte.
    pub fn as_bytes(&self) -> &Bytes {
        &self.raw
    }

    /// Whether this is that type, such as `application/sdp`, in any case and whatever its parameters.
    pub fn is(&self, essence: &str) -> bool {
        essence.split_once('/').is_some_and(|(kind, subtype)| {
            self.raw[..self.slash].eq_ignore_ascii_case(kind.as_bytes())
                && self.raw[self.subtype.clone()].eq_ignore_ascii_case(subtype.as_bytes())
        })
    }

    /// The type before the slash, as spelled.
    pub fn kind(&self) -> &[u8] {
        &self.raw[..self.slash]
    }

    /// The subtype after the slash, as spelled.
    pub fn subtype(&self) -> &[u8] {
        &self.raw[self.subtype.clone()]
    }

    /// The parameters.
    pub fn params(&self) -> Params<'_> {
        Params::new(&self.raw[self.params..])
    }
}
