//! Digest challenges and credentials (RFC 3261 sections 20.7, 20.27, 20.28, 20.44; RFC 7616).

use std::borrow::Cow;

use bytes::Bytes;
use nom::branch::alt;
use nom::bytes::complete::take_while1;
use nom::combinator::recognize;
use nom::multi::separated_list1;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

use crate::grammar::{is_lws, lws, quoted_string, separator, sws, token};
use crate::{Param, ParseError};

/// One challenge of WWW-Authenticate or Proxy-Authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge(Auth);

/// The credentials of an Authorization or Proxy-Authorization field.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Auth);

/// The value of an Authentication-Info or Proxy-Authentication-Info field (RFC 7616 section 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationInfo<'a> {
    raw: &'a [u8],
}

/// A scheme and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Auth {
    raw: Bytes,
    scheme: usize,
}

/// Most challenges that one field may hold.
const CHALLENGES: usize = 16;

impl Challenge {
    /// Reads all challenges of one field value, several joined by commas included; those past the
    /// first 16 are left out.
    pub fn parse_all(raw: &Bytes) -> Result<Vec<Self>, ParseError> {
        let mut found = Vec::new();
        let mut rest = &raw[..];
        while found.len() < CHALLENGES {
            let malformed = |_| ParseError::new("challenge malformed", raw.len() - rest.len());
            let (after, (text, scheme)) = challenge(rest).map_err(malformed)?;
            found.push(Self(Auth {
                raw: raw.slice_ref(text),
                scheme: scheme.len(),
            }));
            if after.is_empty() {
                break;
            }
            let comma: IResult<&[u8], u8> = separator(b',').parse(after);
            rest = comma.map_err(malformed)?.0;
        }
        Ok(found)
    }

    /// The scheme as spelled, `Digest` as a rule.
    pub fn scheme(&self) -> &[u8] {
        self.0.scheme()
    }

    /// Whether the scheme is Digest.
    pub fn is_digest(&self) -> bool {
        self.scheme().eq_ignore_ascii_case(b"Digest")
    }

    /// The parameter of that name, in any case, without quotes and escapes.
    pub fn param(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.param(name)
    }
}

impl Credentials {
    /// Reads the credentials of one field. A scheme other than Digest has no parameters that can be read.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        match challenge(&raw) {
            Ok(([], (_, scheme))) => {
                let scheme = scheme.len();
                Ok(Self(Auth { raw, scheme }))
            }
            _ => Err(ParseError::new("credentials malformed", 0)),
        }
    }

    /// The scheme as spelled, `Digest` as a rule.
    pub fn scheme(&self) -> &[u8] {
        self.0.scheme()
    }

    /// Whether the scheme is Digest.
    pub fn is_digest(&self) -> bool {
        self.scheme().eq_ignore_ascii_case(b"Digest")
    }

    /// The parameter of that name, in any case, without quotes and escapes.
    pub fn param(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.param(name)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = String::from_utf8_lossy(self.scheme());
        f.debug_tuple("Credentials")
            .field(&scheme)
            .finish_non_exhaustive()
    }
}

impl<'a> AuthenticationInfo<'a> {
    /// Reads the parameters of one field value.
    pub fn parse(raw: &'a [u8]) -> Result<Self, ParseError> {
        let mut params = separated_list1(separator(b','), auth_param);
        let parsed: IResult<&[u8], Vec<Param<'_>>> = params.parse(raw);
        match parsed {
            Ok(([], _)) => Ok(Self { raw }),
            _ => Err(ParseError::new("Authentication-Info malformed", 0)),
        }
    }

    /// The parameter of that name, in any case, without quotes and escapes.
    pub fn param(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        param_of(self.raw, name)
    }
}

impl Auth {
    fn scheme(&self) -> &[u8] {
        &self.raw[..self.scheme]
    }

    fn param(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        param_of(&self.raw[self.scheme..], name)
    }
}

/// The parameter of that name in a list.
fn param_of<'a>(mut rest: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    loop {
        let (after, param) = preceded(sws, auth_param).parse(rest).ok()?;
        if param.name.eq_ignore_ascii_case(name.as_bytes()) {
            return Some(param.text());
        }
        let comma: IResult<&[u8], u8> = separator(b',').parse(after);
        rest = comma.ok()?.0;
    }
}

/// `token EQUAL ( token / quoted-string )`.
fn auth_param(input: &[u8]) -> IResult<&[u8], Param<'_>> {
    let plain = take_while1(|byte: u8| !is_lws(byte) && byte != b',' && byte != b'"');
    let (rest, (name, _, value)) =
        (token, separator(b'='), alt((quoted_string, plain))).parse(input)?;
    Ok((
        rest,
        Param {
            name,
            value: Some(value),
        },
    ))
}

/// A scheme with its parameters, or with one text of another form; its bytes and its scheme.
fn challenge(input: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    let params = recognize(separated_list1(separator(b','), auth_param));
    let opaque = take_while1(|byte: u8| !is_lws(byte) && byte != b',' && byte != b'"');
    let (rest, scheme) = terminated(token, lws).parse(input)?;
    let (rest, _) = if scheme.eq_ignore_ascii_case(b"Digest") {
        let mut params = params;
        params.parse(rest)?
    } else {
        alt((params, opaque)).parse(rest)?
    };
    let end = input.len() - rest.len();
    Ok((rest, (&input[..end], scheme)))
}
