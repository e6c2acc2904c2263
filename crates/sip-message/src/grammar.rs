//! The basic rules of RFC 3261 section 25.1, as nom parsers over raw header values.
//!
//! A fold (CRLF and white space) is linear white space, so folded values need no unfolding first.

use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{map_opt, opt, recognize};
use nom::multi::many0_count;
use nom::sequence::{delimited, pair, preceded};
use nom::{IResult, Parser};

use crate::Param;

const fn class(text: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = b'0';
    while byte <= b'z' {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < text.len() {
        table[text[at] as usize] = true;
        at += 1;
    }
    table
}

const TOKEN: [bool; 256] = class(b"-.!%*_+`'~");
const WORD: [bool; 256] = class(b"-.!%*_+`'~()<>:\\\"/[]?{}");

/// Whether the byte may stand in a `token`.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether the byte may stand in a `word`.
pub(crate) fn is_word_byte(byte: u8) -> bool {
    WORD[usize::from(byte)]
}

/// Whether the bytes are one `token`.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether the byte is part of linear white space (folds included).
pub(crate) fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The bytes without linear white space at either end.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_lws(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_lws(*last)
    {
        bytes = rest;
    }
    bytes
}

/// `SWS`: optional white space, folds included.
pub(crate) fn sws(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while(is_lws).parse(input)
}

/// `LWS`: at least one white space, folds included.
pub(crate) fn lws(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(is_lws).parse(input)
}

/// `token`.
pub(crate) fn token(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while1(is_token_byte).parse(input)
}

/// A separator with optional white space on both sides: `SEMI`, `EQUAL`, `SLASH`, `COLON`.
pub(crate) fn separator<'a>(
    mark: char,
) -> impl Parser<&'a [u8], Output = char, Error = nom::error::Error<&'a [u8]>> {
    delimited(sws, char(mark), sws)
}

/// `quoted-string`, with its quotes.
pub(crate) fn quoted_string(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let plain = take_while1(|byte| byte != b'"' && byte != b'\\');
    let escaped = recognize(pair(char('\\'), nom::bytes::complete::take(1usize)));
    recognize(delimited(
        char('"'),
        many0_count(nom::branch::alt((plain, escaped))),
        char('"'),
    ))
    .parse(input)
}

/// `gen-value`: a quoted string or a text without separators, which takes in tokens, hosts and
/// what peers put unquoted in spite of the grammar (`tag=a=b`).
pub(crate) fn gen_value(input: &[u8]) -> IResult<&[u8], &[u8]> {
    nom::branch::alt((
        quoted_string,
        take_while1(|byte| !matches!(byte, 0..=b' ' | b';' | b',' | b'"' | b'<' | b'>' | 0x7f)),
    ))
    .parse(input)
}

/// `generic-param`: `token [ EQUAL gen-value ]`.
pub(crate) fn generic_param(input: &[u8]) -> IResult<&[u8], Param<'_>> {
    let (rest, name) = token(input)?;
    let (rest, value) = opt(preceded(separator('='), gen_value)).parse(rest)?;
    Ok((rest, Param { name, value }))
}

/// Decimal digits that fit an unsigned 32-bit number.
pub(crate) fn number(input: &[u8]) -> IResult<&[u8], u32> {
    map_opt(take_while1(|byte: u8| byte.is_ascii_digit()), decimal).parse(input)
}

/// The value of a non-empty string of digits, if it fits.
pub(crate) fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        value.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    })
}

/// A host of sent-by: a name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn host(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let address = take_while1(|byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
    let name =
        take_while1(|byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    nom::branch::alt((recognize(delimited(char('['), address, char(']'))), name)).parse(input)
}

/// Whether the bytes are a `callid`: a word, or two around an `@`.
pub(crate) fn is_call_id(bytes: &[u8]) -> bool {
    let word = |part: &[u8]| !part.is_empty() && part.iter().all(|&byte| is_word_byte(byte));
    match memchr::memchr(b'@', bytes) {
        Some(at) => word(&bytes[..at]) && word(&bytes[at + 1..]),
        None => word(bytes),
    }
}
