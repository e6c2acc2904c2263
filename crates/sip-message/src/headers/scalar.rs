//! Values that are numbers: CSeq, RAck, Max-Forwards, Expires, …

use nom::Parser;

use crate::grammar::{after_sws, decimal, lws, number, run, token};
use crate::{Method, ParseError};

/// `CSeq` (RFC 3261 section 20.16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CSeq {
    /// The sequence number, below 2^31.
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl CSeq {
    /// Reads the value, folds allowed.
    pub fn parse(raw: &[u8]) -> Result<Self, ParseError> {
        Self::read(raw).ok_or(ParseError::new("CSeq malformed", 0))
    }

    fn read(raw: &[u8]) -> Option<Self> {
        let (digits, rest) = run(raw, |byte| byte.is_ascii_digit());
        let number = decimal(digits).filter(|number| *number < 1 << 31)?;
        let method = after_sws(rest);
        if method.len() == rest.len() {
            return None;
        }
        let method = Method::parse(method)?;
        Some(Self { number, method })
    }
}

/// `RAck` (RFC 3262 section 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq number that is acknowledged.
    pub rseq: u32,
    /// The CSeq number of the response that is acknowledged.
    pub cseq: u32,
    /// The method of that response.
    pub method: Method,
}

impl RAck {
    /// Reads the value, folds allowed.
    pub fn parse(raw: &[u8]) -> Result<Self, ParseError> {
        let malformed = || ParseError::new("RAck malformed", 0);
        match (number, lws, number, lws, token).parse(raw) {
            Ok(([], (rseq, _, cseq, _, method))) => {
                let method = Method::parse(method).ok_or_else(malformed)?;
                Ok(Self { rseq, cseq, method })
            }
            _ => Err(malformed()),
        }
    }
}

/// A value that is one decimal number of 32 bits.
pub(crate) fn decimal_field(raw: &[u8], what: &'static str) -> Result<u32, ParseError> {
    decimal(raw).ok_or(ParseError::new(what, 0))
}
