//! Framing of one message: start line, header lines, Content-Length (RFC 3261 sections 7, 18.3, 20.14).

use std::ops::Range;

use bytes::{Buf, Bytes};

use crate::grammar::{after_sws, decimal, is_lws, is_token_byte, run, trim_end};
use crate::message::{Entry, Fields, Start};
use crate::name::{Id, classify, known_name};
use crate::{Limits, Message, Method, ParseError};

/// The start line of a message and where its head ends; its fields are kept apart.
#[derive(Debug)]
pub(crate) struct Head {
    start: Start,
    /// Where the empty line begins.
    end: usize,
    /// Content-Length, if stated.
    pub(crate) length: Option<usize>,
}

impl Head {
    /// Length of the head with its empty line.
    pub(crate) fn len(&self) -> usize {
        self.end + 2
    }

    /// The message that the head belongs to.
    #[inline]
    pub(crate) fn into_message(self, fields: Fields, bytes: Bytes) -> Message {
        let body = self.len().min(bytes.len());
        let (head_end, body) = (offset(self.end), offset(body));
        Message {
            bytes,
            start: self.start,
            fields,
            head_end,
            body,
        }
    }
}

/// What is wrong with a head, and what could be read of it.
#[derive(Debug)]
pub(crate) struct BadHead {
    error: ParseError,
    head: Option<Head>,
}

impl BadHead {
    /// The error, with the request to answer in it when there is one with a readable Via.
    #[cold]
    pub(crate) fn into_error(self, fields: Fields, bytes: Bytes) -> ParseError {
        let salvage = self.head.map(|head| head.into_message(fields, bytes));
        with_salvage(self.error, salvage)
    }
}

/// Puts a request with a readable Via into the error.
pub(crate) fn with_salvage(mut error: ParseError, message: Option<Message>) -> ParseError {
    error.salvage = message
        .filter(|found| found.is_request() && found.via().is_ok())
        .map(Box::new);
    error
}

/// Ranges hold 32-bit offsets; messages are far smaller (see `Limits`).
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Parses one datagram or one framed message.
pub(crate) fn datagram(mut bytes: Bytes, limits: &Limits) -> Result<Message, ParseError> {
    let blank = bytes.chunks(2).take_while(|pair| *pair == b"\r\n").count() * 2;
    bytes.advance(blank);
    if bytes.is_empty() {
        return Err(ParseError::new("empty message", 0));
    }
    let mut fields = Fields::new();
    let found = head(&bytes, limits, &mut fields);
    if bytes.len() > limits.message_bytes.min(u32::MAX as usize) {
        let error = ParseError::with_status(513, "message too large", limits.message_bytes);
        return Err(wrong(error, found, fields, bytes));
    }
    let found = match found {
        Ok(found) => found,
        Err(bad) => return Err(bad.into_error(fields, bytes)),
    };
    let body = bytes.len() - found.len();
    match found.length {
        Some(length) if length > body => {
            let error = ParseError::new("body shorter than Content-Length", bytes.len());
            return Err(wrong(error, Ok(found), fields, bytes));
        }
        Some(length) => bytes.truncate(found.len() + length),
        None => {}
    }
    Ok(found.into_message(fields, bytes))
}

/// The error, with what could be read of the request in it.
#[cold]
pub(crate) fn wrong(
    error: ParseError,
    found: Result<Head, BadHead>,
    fields: Fields,
    bytes: Bytes,
) -> ParseError {
    let head = match found {
        Ok(head) => Some(head),
        Err(bad) => bad.head,
    };
    BadHead { error, head }.into_error(fields, bytes)
}

/// Reads the head that `bytes` begin with, its fields into `fields`.
pub(crate) fn head(bytes: &[u8], limits: &Limits, fields: &mut Fields) -> Result<Head, BadHead> {
    let mut lines = Lines {
        bytes,
        at: 0,
        error: None,
    };
    let Some(line) = lines.next_line() else {
        return Err(BadHead {
            error: ParseError::new("start line not ended", 0),
            head: None,
        });
    };
    let (start, version) = match start_line(bytes, line) {
        Ok(start) => (start, None),
        Err(BadStart {
            error,
            start: Some(start),
        }) => (start, Some(error)),
        Err(BadStart { error, start: None }) => return Err(BadHead { error, head: None }),
    };
    let result = collect(&mut lines, fields, limits);
    let end = result.as_ref().map_or(bytes.len(), |end| *end);
    let length = content_length(bytes, fields);
    let error = version
        .or(result.err())
        .or(lines.error)
        .or(length.as_ref().err().cloned());
    let head = Head {
        start,
        end,
        length: length.unwrap_or_default(),
    };
    match error {
        None => Ok(head),
        Some(error) => Err(BadHead {
            error,
            head: Some(head),
        }),
    }
}

/// Cuts lines at CRLF; a CR or LF alone ends a line too but is an error.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    error: Option<ParseError>,
}

impl Lines<'_> {
    fn next_line(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let end = start + memchr::memchr2(b'\r', b'\n', self.bytes.get(start..)?)?;
        if self.bytes[end..].starts_with(b"\r\n") {
            self.at = end + 2;
        } else {
            self.at = end + 1;
            self.error
                .get_or_insert(ParseError::new("line not ended by CRLF", end));
        }
        Some(start..end)
    }
}

/// Reads field lines up to the empty line, whose offset is returned.
fn collect(
    lines: &mut Lines<'_>,
    fields: &mut Fields,
    limits: &Limits,
) -> Result<usize, ParseError> {
    let mut error = None;
    loop {
        let Some(line) = lines.next_line() else {
            return Err(error.unwrap_or(ParseError::new(
                "header not ended by an empty line",
                lines.bytes.len(),
            )));
        };
        if line.is_empty() {
            return error.map_or(Ok(line.start), Err);
        }
        if fields.len() >= limits.headers {
            return Err(ParseError::with_status(
                513,
                "too many header fields",
                line.start,
            ));
        }
        if let Err(found) = field_line(lines.bytes, line, fields) {
            error.get_or_insert(found);
        }
    }
}

/// Adds one line: a field of its own, or the continuation of the one before (section 7.3.1).
fn field_line(bytes: &[u8], line: Range<usize>, fields: &mut Fields) -> Result<(), ParseError> {
    let text = &bytes[line.clone()];
    if matches!(text[0], b' ' | b'\t') {
        let Some(folded) = fields.last_mut() else {
            return Err(ParseError::new(
                "first header line is a continuation",
                line.start,
            ));
        };
        let value = trimmed(bytes, folded.value as usize..line.end);
        (folded.value, folded.value_end) = (offset(value.start), offset(value.end));
        return Ok(());
    }
    if let Some((name_len, id)) = known_name(text) {
        fields.push(entry(
            line,
            name_len,
            &text[usize::from(name_len) + 1..],
            id,
        ));
        return Ok(());
    }
    let (name, rest) = run(text, is_token_byte);
    let after_name = after_sws(rest);
    let (false, [b':', value @ ..]) = (name.is_empty(), after_name) else {
        let at = line.end - after_name.len();
        return Err(ParseError::new("header line without name and colon", at));
    };
    let Ok(name_len) = u16::try_from(name.len()) else {
        return Err(ParseError::new("header name too long", line.start));
    };
    fields.push(entry(line, name_len, value, classify(name)));
    Ok(())
}

/// The field of a line, of which `value` is what follows the colon.
#[inline]
fn entry(line: Range<usize>, name_len: u16, value: &[u8], id: Id) -> Entry {
    let value = after_sws(value);
    let value_start = line.end - value.len();
    Entry {
        line: offset(line.start),
        value: offset(value_start),
        value_end: offset(value_start + trim_end(value).len()),
        name_len,
        id,
    }
}

/// The range without white space at either end.
fn trimmed(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let text = &bytes[range.clone()];
    let lead = text.iter().take_while(|byte| is_lws(**byte)).count();
    let tail = text[lead..]
        .iter()
        .rev()
        .take_while(|byte| is_lws(**byte))
        .count();
    range.start + lead..range.end - tail
}

struct BadStart {
    error: ParseError,
    start: Option<Start>,
}

/// Reads `Method SP Request-URI SP SIP-Version` or `SIP-Version SP Status-Code SP Reason-Phrase`.
fn start_line(bytes: &[u8], line: Range<usize>) -> Result<Start, BadStart> {
    let text = &bytes[line.clone()];
    let fatal = |what| BadStart {
        error: ParseError::new(what, line.start),
        start: None,
    };
    let first = memchr::memchr(b' ', text).ok_or_else(|| fatal("start line without spaces"))?;
    if text
        .get(..4)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"SIP/"))
    {
        let (status, reason) = status_line(text).map_err(fatal)?;
        let reason = offset(line.start + reason)..offset(line.end);
        return Ok(Start::Response { status, reason });
    }
    let last = memchr::memrchr(b' ', text).filter(|last| *last > first);
    let last = last.ok_or_else(|| fatal("request line without version"))?;
    let method = Method::parse(&text[..first]).ok_or_else(|| fatal("method malformed"))?;
    let uri = offset(line.start + first + 1)..offset(line.start + last);
    let version = &text[last + 1..];
    let start = Start::Request { method, uri };
    let wrong = |status, what, at| BadStart {
        error: ParseError::with_status(status, what, line.start + at),
        start: Some(start.clone()),
    };
    match version.get(..4) {
        Some(name) if name.eq_ignore_ascii_case(b"SIP/") && is_version(&version[4..]) => {}
        _ => return Err(wrong(400, "request line malformed", last + 1)),
    }
    if &version[4..] != b"2.0" {
        return Err(wrong(505, "SIP version not supported", last + 1));
    }
    let spaced = text[first + 1..last].iter().any(|&byte| byte <= b' ');
    if spaced || first + 1 == last {
        return Err(wrong(400, "Request-URI malformed", first + 1));
    }
    Ok(start)
}

fn is_version(text: &[u8]) -> bool {
    let number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    memchr::memchr(b'.', text).is_some_and(|dot| number(&text[..dot]) && number(&text[dot + 1..]))
}

/// Reads a status line: the status code and where the reason phrase begins.
pub(crate) fn status_line(text: &[u8]) -> Result<(u16, usize), &'static str> {
    let malformed = "status line malformed";
    let (name, rest) = text.split_at_checked(8).ok_or(malformed)?;
    if !name.eq_ignore_ascii_case(b"SIP/2.0 ") {
        return Err("SIP version not supported");
    }
    let status = rest
        .get(..3)
        .and_then(decimal)
        .and_then(|status| u16::try_from(status).ok());
    let status = status
        .filter(|status| (100..700).contains(status))
        .ok_or(malformed)?;
    match rest.get(3) {
        None => Ok((status, text.len())),
        Some(b' ') => Ok((status, 12)),
        Some(_) => Err(malformed),
    }
}

/// Reads the fields of a part of a multipart body; its head may be missing, or end with the part.
pub(crate) fn part_head(bytes: &[u8]) -> (Fields, usize) {
    let limits = Limits {
        message_bytes: bytes.len(),
        headers: 32,
    };
    let mut lines = Lines {
        bytes,
        at: 0,
        error: None,
    };
    let mut fields = Fields::new();
    let end = match collect(&mut lines, &mut fields, &limits) {
        Ok(_) => lines.at,
        Err(_) => bytes.len(),
    };
    (fields, end)
}

/// The stated length; several fields must agree (section 20.14).
fn content_length(bytes: &[u8], fields: &Fields) -> Result<Option<usize>, ParseError> {
    let mut stated = None;
    for entry in fields.iter().filter(|entry| entry.id == Id::ContentLength) {
        let at = entry.value as usize;
        let length = decimal(&bytes[at..entry.value_end as usize]);
        let length = length.ok_or(ParseError::new("Content-Length malformed", at))? as usize;
        if stated.is_some_and(|before| before != length) {
            return Err(ParseError::new("Content-Length fields disagree", at));
        }
        stated = Some(length);
    }
    Ok(stated)
}
