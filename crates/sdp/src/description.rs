//! The typed view of a description.

use crate::SdpError;

/// A description of the peer's.
#[derive(Clone, Debug)]
pub struct Description {
    pub(crate) streams: Vec<Stream>,
}

/// One `m=` line with what belongs to it.
#[derive(Clone, Debug)]
pub struct Stream {}

impl Description {
    /// Reads a description (RFC 8866), tolerant of what the field sends.
    ///
    /// # Errors
    /// When the bytes are not a description, or exceed the bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        let _ = bytes;
        Err(SdpError::TooLarge)
    }

    /// The streams in the order of their `m=` lines.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }
}
