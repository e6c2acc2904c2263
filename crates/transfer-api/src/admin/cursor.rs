//! Where a list goes on: the place of its last entry, opaque to whoever carries it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The text of a place.
pub(super) fn write(place: &impl Serialize) -> Option<String> {
    serde_json::to_vec(place)
        .ok()
        .map(|json| URL_SAFE_NO_PAD.encode(json))
}

/// The place that a text was written for.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&json).ok()
}
