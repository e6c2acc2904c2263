//! The message: its bytes, and where in them the start line, the fields and the body are.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::name::Id;
use crate::{HeaderName, Limits, Method, ParseError, list, scan};

/// A SIP message: the bytes as they came and a table of ranges into them. Cloning copies no text.
#[derive(Clone)]
pub struct Message {
    pub(crate) bytes: Bytes,
    pub(crate) start: Start,
    pub(crate) fields: Fields,
    /// Where the empty line after the fields begins.
    pub(crate) head_end: u32,
    pub(crate) body: u32,
}

pub(crate) type Fields = SmallVec<[Entry; 32]>;

/// Where one header field is; its line ends where the next begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) line: u32,
    pub(crate) value: u32,
    pub(crate) value_end: u32,
    pub(crate) name_len: u16,
    pub(crate) id: Id,
}

/// The start line, with ranges for what is kept as bytes.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    Request { method: Method, uri: Range<u32> },
    Response { status: u16, reason: Range<u32> },
}

/// The first line of a message (RFC 3261 sections 7.1 and 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// `INVITE sip:bob@example.com SIP/2.0`.
    Request {
        /// The method.
        method: &'a Method,
        /// The Request-URI, byte for byte.
        uri: &'a [u8],
    },
    /// `SIP/2.0 200 OK`.
    Response {
        /// The status code, 100 to 699.
        status: u16,
        /// The reason phrase, byte for byte.
        reason: &'a [u8],
    },
}

/// One header field as it stands in the message.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// The name as spelled by the sender.
    pub name: &'a [u8],
    /// The value without white space at its ends; folds are still in it.
    pub raw: &'a [u8],
    id: Id,
}

impl<'a> Field<'a> {
    /// Whether this is a field of that name, in long or compact form and any case.
    pub fn is(&self, name: impl Into<HeaderName<'a>>) -> bool {
        matches_name(self.id, self.name, &name.into())
    }

    /// The name in its long form and usual spelling, where it is a known one.
    pub fn long_name(&self) -> &'a [u8] {
        let spelled = std::str::from_utf8(self.name).unwrap_or_default();
        HeaderName::from(spelled).as_str().as_bytes()
    }

    /// The value with each fold replaced by one space.
    pub fn value(&self) -> Cow<'a, [u8]> {
        list::unfold(self.raw)
    }
}

fn matches_name(id: Id, spelled: &[u8], name: &HeaderName<'_>) -> bool {
    id == name.id() && (id != Id::Other || spelled.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

fn usize_range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

impl Message {
    /// Parses one datagram, or one message framed from a stream. Bytes past Content-Length are
    /// dropped (RFC 3261 section 18.3); empty lines before the start line are skipped (7.5).
    pub fn parse(datagram: Bytes, limits: &Limits) -> Result<Self, ParseError> {
        scan::datagram(datagram, limits)
    }

    /// The message as it came or was built, start line to end of body.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The start line.
    pub fn start(&self) -> StartLine<'_> {
        match &self.start {
            Start::Request { method, uri } => StartLine::Request {
                method,
                uri: &self.bytes[usize_range(uri)],
            },
            Start::Response { status, reason } => StartLine::Response {
                status: *status,
                reason: &self.bytes[usize_range(reason)],
            },
        }
    }

    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The status code of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// The reason phrase of a response.
    pub fn reason_phrase(&self) -> Option<&[u8]> {
        match &self.start {
            Start::Response { reason, .. } => Some(&self.bytes[usize_range(reason)]),
            Start::Request { .. } => None,
        }
    }

    /// The method of the request line, or of CSeq for a response (`Other("")` when that is unreadable).
    pub fn method(&self) -> Method {
        match &self.start {
            Start::Request { method, .. } => method.clone(),
            Start::Response { .. } => self
                .cseq()
                .map_or_else(|_| Method::Other("".into()), |cseq| cseq.method),
        }
    }

    /// The Request-URI of a request, byte for byte.
    pub fn request_uri(&self) -> Option<&[u8]> {
        match &self.start {
            Start::Request { uri, .. } => Some(&self.bytes[usize_range(uri)]),
            Start::Response { .. } => None,
        }
    }

    /// The body, shared with the message.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body as usize..)
    }

    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.fields.iter().map(|entry| self.field_at(entry))
    }

    /// The fields of one name in order.
    pub fn fields_named<'a>(
        &'a self,
        name: impl Into<HeaderName<'a>>,
    ) -> impl Iterator<Item = Field<'a>> + Clone {
        let name = name.into();
        let id = name.id();
        self.fields
            .iter()
            .filter(move |entry| entry.id == id)
            .map(|entry| self.field_at(entry))
            .filter(move |field| id != Id::Other || matches_name(id, field.name, &name))
    }

    /// The value of the first field of that name, long or compact, trimmed and unfolded.
    pub fn header<'a>(&'a self, name: impl Into<HeaderName<'a>>) -> Option<Cow<'a, [u8]>> {
        self.fields_named(name).next().map(|field| field.value())
    }

    /// How many fields of that name there are.
    pub fn count(&self, name: HeaderName<'_>) -> usize {
        self.fields_named(name).count()
    }

    /// The values of all fields of that name, comma lists split outside quotes and angle brackets,
    /// each trimmed and unfolded. Empty elements are skipped.
    pub fn values<'a>(
        &'a self,
        name: impl Into<HeaderName<'a>>,
    ) -> impl Iterator<Item = Cow<'a, [u8]>> {
        self.raw_values(name).map(list::unfold)
    }

    /// As [`Message::values`], with folds left in.
    pub(crate) fn raw_values<'a>(
        &'a self,
        name: impl Into<HeaderName<'a>>,
    ) -> impl Iterator<Item = &'a [u8]> {
        self.fields_named(name)
            .flat_map(|field| list::split(field.raw))
    }

    /// Shares a part of the message; `part` must be a slice of it.
    #[inline]
    pub(crate) fn share(&self, part: &[u8]) -> Bytes {
        self.bytes.slice_ref(part)
    }

    fn field_at(&self, entry: &Entry) -> Field<'_> {
        let line = entry.line as usize;
        Field {
            name: &self.bytes[line..line + usize::from(entry.name_len)],
            raw: self.value_of(entry),
            id: entry.id,
        }
    }

    /// The raw value of a field.
    #[inline]
    pub(crate) fn value_of(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.value as usize..entry.value_end as usize]
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Message").field(&self.bytes).finish()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Message {}
