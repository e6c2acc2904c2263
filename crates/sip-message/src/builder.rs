//! New messages.

use bytes::{BufMut, Bytes, BytesMut};

use crate::grammar::{is_lws, is_token_byte};
use crate::message::{Entry, Fields, Start};
use crate::name::classify;
use crate::{HeaderName, Message, Method};

/// Writes a message field by field; Content-Length is written at the end.
///
/// Injection is impossible: CR, LF and NUL in values and reason phrases become spaces, bytes that
/// may not stand in a name are left out (and a field without a name altogether), and a
/// Request-URI has its spaces and control characters percent-encoded.
#[derive(Debug)]
pub struct Builder {
    text: BytesMut,
    start: Start,
    fields: Fields,
    body: Bytes,
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Builder {
    /// Begins a request; the URI is written byte for byte.
    pub fn request(method: &Method, uri: &[u8]) -> Self {
        let mut text = BytesMut::with_capacity(1024);
        text.extend(method.as_str().bytes().filter(|byte| is_token_byte(*byte)));
        let name = Method::parse(&text).unwrap_or(Method::Options);
        text.put_u8(b' ');
        let from = offset(text.len());
        for &byte in uri {
            if byte <= b' ' || byte == 0x7f {
                text.extend_from_slice(format!("%{byte:02X}").as_bytes());
            } else {
                text.put_u8(byte);
            }
        }
        let uri = from..offset(text.len());
        text.extend_from_slice(b" SIP/2.0\r\n");
        let start = Start::Request { method: name, uri };
        Self {
            text,
            start,
            fields: Fields::new(),
            body: Bytes::new(),
        }
    }

    /// Begins a response; a status outside 100 to 699 becomes 500.
    pub fn response(status: u16, reason: &str) -> Self {
        let status = if (100..700).contains(&status) {
            status
        } else {
            500
        };
        let mut text = BytesMut::with_capacity(1024);
        text.extend_from_slice(format!("SIP/2.0 {status} ").as_bytes());
        let from = offset(text.len());
        put_value(&mut text, reason.as_bytes());
        let reason = from..offset(text.len());
        text.extend_from_slice(b"\r\n");
        let start = Start::Response { status, reason };
        Self {
            text,
            start,
            fields: Fields::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a field. Content-Length is ignored here.
    #[must_use]
    pub fn field<'a>(mut self, name: impl Into<HeaderName<'a>>, value: impl AsRef<[u8]>) -> Self {
        self.push(name.into(), value.as_ref());
        self
    }

    /// Adds a field if there is a value.
    #[must_use]
    pub fn optional<'a>(
        self,
        name: impl Into<HeaderName<'a>>,
        value: Option<impl AsRef<[u8]>>,
    ) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Adds a field to a builder that is borrowed.
    pub fn push(&mut self, name: HeaderName<'_>, value: &[u8]) {
        if name == HeaderName::ContentLength {
            return;
        }
        put_field(
            &mut self.text,
            &mut self.fields,
            name.as_str().as_bytes(),
            value,
        );
    }

    /// Adds all fields of that name of another message, byte for byte and in order. Where a line of
    /// it ended in a CR or LF alone, which is an error, that is a space here.
    #[must_use]
    pub fn copy<'a>(mut self, from: &'a Message, name: impl Into<HeaderName<'a>>) -> Self {
        let name = name.into();
        if name == HeaderName::ContentLength {
            return self;
        }
        for field in from.fields_named(name) {
            let line = offset(self.text.len());
            self.text.extend_from_slice(field.name);
            self.text.extend_from_slice(b": ");
            let value = offset(self.text.len());
            if breaks_only_in_folds(field.raw) {
                self.text.extend_from_slice(field.raw);
            } else {
                put_value(&mut self.text, field.raw);
            }
            self.fields
                .push(entry(line, field.name, value, offset(self.text.len())));
            self.text.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Sets the body and its Content-Type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: &[u8]) -> Self {
        self.push(HeaderName::ContentType, content_type.as_bytes());
        self.body = Bytes::copy_from_slice(body);
        self
    }

    /// Writes Content-Length, the empty line and the body.
    pub fn build(mut self) -> Message {
        let length = self.body.len().to_string();
        put_field(
            &mut self.text,
            &mut self.fields,
            b"Content-Length",
            length.as_bytes(),
        );
        let head_end = offset(self.text.len());
        self.text.extend_from_slice(b"\r\n");
        let body = offset(self.text.len());
        self.text.extend_from_slice(&self.body);
        Message {
            bytes: self.text.freeze(),
            start: self.start,
            fields: self.fields,
            head_end,
            body,
        }
    }
}

pub(crate) fn entry(line: u32, name: &[u8], value: u32, value_end: u32) -> Entry {
    let name_len = u16::try_from(name.len()).unwrap_or(u16::MAX);
    Entry {
        line,
        value,
        value_end,
        name_len,
        id: classify(name),
    }
}

/// Writes `name: value CRLF` with everything taken out that could begin another line.
pub(crate) fn put_field(text: &mut BytesMut, fields: &mut Fields, name: &[u8], value: &[u8]) {
    let line = text.len();
    text.extend(
        name.iter()
            .copied()
            .filter(|byte| is_token_byte(*byte))
            .take(usize::from(u16::MAX)),
    );
    let colon = text.len();
    if colon == line {
        return;
    }
    text.extend_from_slice(b": ");
    let from = text.len();
    put_value(text, trim_value(value));
    fields.push(entry(
        offset(line),
        &text[line..colon],
        offset(from),
        offset(text.len()),
    ));
    text.extend_from_slice(b"\r\n");
}

/// The value without what will be white space at its ends.
pub(crate) fn trim_value(value: &[u8]) -> &[u8] {
    let kept = |byte: &u8| *byte != 0 && !is_lws(*byte);
    let start = value.iter().position(kept).unwrap_or(value.len());
    let end = value.iter().rposition(kept).map_or(start, |last| last + 1);
    &value[start..end]
}

/// Whether every CR and LF of a value belongs to a fold: CRLF and white space (RFC 3261 section 7.3.1).
fn breaks_only_in_folds(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        let [b'\r', b'\n', b' ' | b'\t', after @ ..] = &rest[at..] else {
            return false;
        };
        rest = after;
    }
    true
}

/// Writes a value, CR, LF and NUL as spaces.
pub(crate) fn put_value(text: &mut BytesMut, value: &[u8]) {
    text.extend(value.iter().map(|&byte| {
        if matches!(byte, b'\r' | b'\n' | 0) {
            b' '
        } else {
            byte
        }
    }));
}
