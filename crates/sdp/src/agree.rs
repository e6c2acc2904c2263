//! Offer and answer.

use crate::{Agreement, Description, Direction, Local, Unacceptable};
use bytes::Bytes;

/// Answers an offer.
///
/// # Errors
/// When there is nothing in it to agree on: refuse with 488.
pub fn answer(offer: &Description, local: &Local) -> Result<(Bytes, Agreement), Unacceptable> {
    let _ = (offer, local);
    Err(Unacceptable::NoAudio)
}

/// Writes an offer.
#[must_use]
pub fn offer(local: &Local, direction: Direction) -> Bytes {
    let _ = (local, direction);
    Bytes::new()
}

/// Reads the answer to our [`offer`] made with the same `local` and `direction`.
///
/// # Errors
/// When the answer refuses the stream or does not fit the offer.
pub fn accept(
    local: &Local,
    direction: Direction,
    answer: &Description,
) -> Result<Agreement, Unacceptable> {
    let _ = (local, direction, answer);
    Err(Unacceptable::NoAudio)
}
