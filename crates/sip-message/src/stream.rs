//! Messages out of a byte stream (RFC 3261 section 18.3; keep-alives of RFC 5626 section 4.4.1).

use bytes::{Bytes, BytesMut};

use crate::message::Fields;
use crate::scan::{self, Head};
use crate::{Limits, Message, ParseError};

/// Cuts a byte stream into messages, however the bytes arrive.
///
/// A stream needs Content-Length (section 18.3): where it is missing nobody can say where the next
/// message begins, and a body read as a request would be a smuggled one.
#[derive(Debug)]
pub struct StreamDecoder {
    limits: Limits,
    buffer: BytesMut,
    /// Start of the line that is being looked at.
    line: usize,
    /// How far line ends have been looked for.
    scanned: usize,
    head: Option<(Head, Fields)>,
    failed: Option<FramingError>,
}

/// What comes out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "messages are the rule, pings the exception"
)]
pub enum Frame {
    /// A message, or what is wrong with one whose end is known: the stream goes on after it.
    Message(Result<Message, ParseError>),
    /// A keep-alive (double CRLF), to be answered by one CRLF.
    Ping,
}

/// The end of a message cannot be known: answer `error.salvage` with `error.status`, then close.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream cannot be framed: {error}")]
pub struct FramingError {
    /// What is wrong, with the request to answer when one could be read.
    pub error: ParseError,
}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            line: 0,
            scanned: 0,
            head: None,
            failed: None,
        }
    }

    /// Adds bytes as they came; drain [`StreamDecoder::next`] after each push.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes held for a message that is not complete.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next complete frame; `Ok(None)` when more bytes are needed. An error is final.
    #[allow(
        clippy::should_implement_trait,
        reason = "the outer Result is not an item"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, FramingError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.advance();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        }
        result
    }

    fn advance(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.head.is_none() {
            if let Some(ping) = self.skip_blank_lines() {
                return Ok(Some(ping));
            }
            let Some(end) = self.head_end()? else {
                return Ok(None);
            };
            let head = self.read_head(end)?;
            self.head = Some(head);
        }
        let needed = self
            .head
            .as_ref()
            .map_or(0, |(head, _)| head.len() + head.length.unwrap_or(0));
        if self.buffer.len() < needed {
            return Ok(None);
        }
        let bytes = self.take(needed);
        Ok(self
            .head
            .take()
            .map(|(head, fields)| Frame::Message(Ok(head.into_message(fields, bytes)))))
    }

    fn take(&mut self, len: usize) -> Bytes {
        (self.line, self.scanned) = (0, 0);
        self.buffer.split_to(len).freeze()
    }

    /// Drops CRLFs between messages; two in a row are a ping.
    fn skip_blank_lines(&mut self) -> Option<Frame> {
        if self.buffer.starts_with(b"\r\n\r\n") {
            self.take(4);
            return Some(Frame::Ping);
        }
        if self.buffer.starts_with(b"\r\n") && self.buffer.get(2).is_some_and(|byte| *byte != b'\r')
        {
            self.take(2);
        }
        None
    }

    /// Length of the head once its empty line is there.
    fn head_end(&mut self) -> Result<Option<usize>, FramingError> {
        if self.buffer.starts_with(b"\r")
            && self.buffer.len() <= 3
            && b"\r\n\r".starts_with(&self.buffer[..])
        {
            return Ok(None);
        }
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) {
            let end = self.scanned + found;
            self.scanned = end + 1;
            if end == self.line || self.buffer[end - 1] != b'\r' {
                return Err(self.fail(ParseError::new("line not ended by CRLF", end)));
            }
            if end == self.line + 1 {
                return Ok(Some(self.scanned));
            }
            self.line = self.scanned;
        }
        self.scanned = self.buffer.len();
        if self.scanned > self.limits.message_bytes {
            return Err(self.fail(ParseError::with_status(
                513,
                "message too large",
                self.scanned,
            )));
        }
        Ok(None)
    }

    fn read_head(&mut self, end: usize) -> Result<(Head, Fields), FramingError> {
        let mut fields = Fields::new();
        let head = match scan::head(&self.buffer[..end], &self.limits, &mut fields) {
            Ok(head) => head,
            Err(bad) => {
                let bytes = self.buffer.split_to(end).freeze();
                return Err(FramingError {
                    error: bad.into_error(fields, bytes),
                });
            }
        };
        let Some(length) = head.length else {
            return Err(self.fail(ParseError::new("Content-Length missing on a stream", end)));
        };
        let needed = head.len().saturating_add(length);
        if needed > self.limits.message_bytes {
            return Err(self.fail(ParseError::with_status(513, "message too large", end)));
        }
        Ok((head, fields))
    }

    /// The error, with what can be read of the request so far.
    fn fail(&mut self, error: ParseError) -> FramingError {
        let bytes = self.buffer.split().freeze();
        let mut fields = Fields::new();
        let found = scan::head(&bytes, &self.limits, &mut fields);
        FramingError {
            error: scan::wrong(error, found, fields, bytes),
        }
    }
}
