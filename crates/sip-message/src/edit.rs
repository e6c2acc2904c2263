//! Changes to an existing message that keep every other byte.

use std::net::SocketAddr;
use std::ops::Range;

use bytes::BytesMut;

use crate::builder::{put_field, put_value, trim_value};
use crate::grammar::trim;
use crate::message::{Entry, Fields};
use crate::{HeaderName, Message, ParseError, list};

impl Message {
    /// The message with the value of the first field of that name replaced; without such a field
    /// one is added below all others. CR, LF and NUL in the value become spaces.
    #[must_use]
    pub fn replaced<'a>(&self, name: impl Into<HeaderName<'a>>, value: &[u8]) -> Self {
        let name = name.into();
        let Some(index) = self.index_of(name) else {
            return self.appended(name, value);
        };
        let field = self.fields[index];
        self.with_value(index, field.value as usize..field.value_end as usize, value)
    }

    /// The message with a field added above the first of that name, or above all fields.
    #[must_use]
    pub fn prepended<'a>(&self, name: impl Into<HeaderName<'a>>, value: &[u8]) -> Self {
        let name = name.into();
        self.inserted(self.index_of(name).unwrap_or(0), name, value)
    }

    /// The message with a field added below all others.
    #[must_use]
    pub fn appended<'a>(&self, name: impl Into<HeaderName<'a>>, value: &[u8]) -> Self {
        self.inserted(self.fields.len(), name.into(), value)
    }

    /// The message without the fields of that name.
    #[must_use]
    pub fn without<'a>(&self, name: impl Into<HeaderName<'a>>) -> Self {
        let name = name.into();
        let mut message = self.clone();
        while let Some(index) = message.index_of(name) {
            let line = message.line_of(index)..message.line_of(index + 1);
            message = message.spliced(line, &[]);
            message.fields.remove(index);
        }
        message
    }

    /// The message with the first value of a comma list replaced and the others kept.
    #[must_use]
    pub fn with_first_value<'a>(&self, name: impl Into<HeaderName<'a>>, value: &[u8]) -> Self {
        let name = name.into();
        let Some(index) = self.index_of(name) else {
            return self.appended(name, value);
        };
        let field = self.fields[index];
        let (from, to) = (field.value as usize, field.value_end as usize);
        let element = trim(&self.bytes[from..from + list::element_end(&self.bytes[from..to])]);
        self.with_value(index, from..from + element.len(), value)
    }

    /// The request with the address that it came from noted in the top Via (RFC 3261 section
    /// 18.2.1, RFC 3581 section 4); unchanged when there is nothing to note.
    pub fn with_source(&self, source: SocketAddr) -> Result<Self, ParseError> {
        let via = self.via()?;
        let noted = via.with_source(source);
        if noted == via.as_bytes() {
            return Ok(self.clone());
        }
        Ok(self.with_first_value(HeaderName::Via, &noted))
    }

    fn index_of(&self, name: HeaderName<'_>) -> Option<usize> {
        self.fields().position(|field| field.is(name))
    }

    /// Where the line of a field begins; for the index after the last, where the empty line does.
    fn line_of(&self, index: usize) -> usize {
        self.fields
            .get(index)
            .map_or(self.head_end, |field| field.line) as usize
    }

    fn with_value(&self, index: usize, range: Range<usize>, value: &[u8]) -> Self {
        let mut text = BytesMut::with_capacity(value.len());
        put_value(&mut text, trim_value(value));
        let begins = self.fields[index].value;
        let mut message = self.spliced(range, &text);
        message.fields[index].value = begins;
        message
    }

    fn inserted(&self, index: usize, name: HeaderName<'_>, value: &[u8]) -> Self {
        let (mut text, mut fields) = (BytesMut::new(), Fields::new());
        put_field(&mut text, &mut fields, name.as_str().as_bytes(), value);
        let Some(written) = fields.first().copied() else {
            return self.clone();
        };
        let at = self.line_of(index);
        let mut message = self.spliced(at..at, &text);
        message.fields.insert(index, shifted(written, 0, at, 0));
        message
    }

    /// Replaces a range of the head's bytes and moves what lies behind it.
    fn spliced(&self, range: Range<usize>, text: &[u8]) -> Self {
        let bytes = [&self.bytes[..range.start], text, &self.bytes[range.end..]].concat();
        let fields = self
            .fields
            .iter()
            .map(|field| shifted(*field, range.end, text.len(), range.len()));
        let moved = |at: u32| offset_after(at, range.end, text.len(), range.len());
        Self {
            start: self.start.clone(),
            fields: fields.collect(),
            head_end: moved(self.head_end),
            body: moved(self.body),
            bytes: bytes.into(),
        }
    }
}

/// The entry with its offsets from `from` on moved by what was put in and taken out before them.
fn shifted(field: Entry, from: usize, put_in: usize, taken_out: usize) -> Entry {
    let moved = |at: u32| offset_after(at, from, put_in, taken_out);
    Entry {
        line: moved(field.line),
        value: moved(field.value),
        value_end: moved(field.value_end),
        ..field
    }
}

fn offset_after(at: u32, from: usize, put_in: usize, taken_out: usize) -> u32 {
    let place = at as usize;
    let place = if place >= from {
        place + put_in - taken_out
    } else {
        place
    };
    u32::try_from(place).unwrap_or(u32::MAX)
}
