//! What is wrong with the bytes of a peer, and how large they may be.

use crate::Message;

/// Upper bounds on what is accepted from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest message, start line to end of body, in bytes.
    pub message_bytes: usize,
    /// Largest number of header fields.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 65_536,
            headers: 256,
        }
    }
}

/// Bytes that are not the SIP they should be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} (byte {at})")]
pub struct ParseError {
    /// What is wrong, fit for a reason phrase.
    pub what: &'static str,
    /// Offset of the offending byte, in the message or in the header value that was parsed.
    pub at: usize,
    /// Status code to answer a request with: 400, 413, 416, 505 or 513.
    pub status: u16,
    /// A request with a readable Via that an answer can be built from; absent when the bytes are to be dropped.
    pub salvage: Option<Box<Message>>,
}

impl ParseError {
    /// An error answered with 400, without a message to answer.
    pub const fn new(what: &'static str, at: usize) -> Self {
        Self::with_status(400, what, at)
    }

    /// An error answered with `status`, without a message to answer.
    pub const fn with_status(status: u16, what: &'static str, at: usize) -> Self {
        Self {
            what,
            at,
            status,
            salvage: None,
        }
    }
}

impl PartialEq for ParseError {
    fn eq(&self, other: &Self) -> bool {
        (self.what, self.at, self.status) == (other.what, other.at, other.status)
    }
}

impl Eq for ParseError {}
