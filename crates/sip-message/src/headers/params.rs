//! `;name=value` parameters of header values (RFC 3261 section 25.1, `generic-param`).

use std::borrow::Cow;

use nom::IResult;

use crate::grammar::{after_sws, generic_param, same_name, separator};
use crate::{ParseError, list};

/// The parameters after a header value, read from their bytes when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params<'a> {
    raw: &'a [u8],
}

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name as spelled; names are case-insensitive.
    pub name: &'a [u8],
    /// The value as spelled, quotes included; absent for a flag such as `lr`.
    pub value: Option<&'a [u8]>,
}

impl<'a> Param<'a> {
    /// The value without quotes and escapes; empty for a flag.
    pub fn text(&self) -> Cow<'a, [u8]> {
        list::unquote(self.value.unwrap_or_default())
    }
}

impl<'a> Params<'a> {
    /// `raw` has been accepted by [`params_end`].
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The parameters from the first `;` on, byte for byte.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut rest = self.raw;
        std::iter::from_fn(move || {
            let (after, param) = param(rest).ok()?;
            rest = after;
            Some(param)
        })
    }

    /// The first parameter of that name, in any case.
    pub fn find(&self, name: &str) -> Option<Param<'a>> {
        self.iter()
            .find(|param| same_name(param.name, name.as_bytes()))
    }

    /// The value as spelled of the first parameter of that name; empty for a flag.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.find(name).map(|param| param.value.unwrap_or_default())
    }

    /// Whether there is a parameter of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}

/// Checks that `input` is parameters and nothing else.
#[inline]
pub(crate) fn params_end(input: &[u8], what: &'static str, at: usize) -> Result<(), ParseError> {
    params_noting(input, b"", what, at).map(|_| ())
}

/// As [`params_end`], with the first parameter of that name.
#[inline]
pub(crate) fn params_noting<'a>(
    input: &'a [u8],
    name: &[u8],
    what: &'static str,
    at: usize,
) -> Result<Option<Param<'a>>, ParseError> {
    let (mut rest, mut noted) = (input, None);
    while !rest.is_empty()
        && let Ok((after, param)) = param(rest)
    {
        if noted.is_none() && same_name(param.name, name) {
            noted = Some(param);
        }
        rest = after;
    }
    match after_sws(rest) {
        [] => Ok(noted),
        rest => Err(ParseError::new(what, at + input.len() - rest.len())),
    }
}

/// `SEMI generic-param`.
#[inline]
fn param(input: &[u8]) -> IResult<&[u8], Param<'_>> {
    let (rest, _) = separator(b';')(input)?;
    generic_param(rest)
}
