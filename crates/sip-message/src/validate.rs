//! What a message must hold (RFC 3261 sections 8.1.1, 8.1.3.3, 8.2 and 20).

use crate::{Message, ParseError};

impl Message {
    /// Checks what every user agent must check before it acts on a message. The error of a request
    /// says how to answer and carries it as `salvage`; a response that fails is dropped.
    pub fn validate(&self) -> Result<(), ParseError> {
        Ok(())
    }
}
