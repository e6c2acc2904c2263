//! The header values that a call puts on its requests.

use bytes::Bytes;
use sip_core::{Header, ReasonValue};

/// The header that ties a SIP call to its transfer.
pub const TRANSFER_HEADER: &str = "X-ASAPP-CallTransferId";

/// Reason (RFC 3326) of a BYE that ends a call whose agent is done.
pub(super) fn completed() -> Vec<Header> {
    vec![header(
        "SIP;cause=200;text=\"completed\", Q.850;cause=16;text=\"Normal call clearing\"",
    )]
}

/// Reason of a BYE after a hand-back that failed with this status.
pub(super) fn return_failed(status: u16) -> Vec<Header> {
    vec![header(format!("SIP;cause={status};text=\"return failed\""))]
}

/// Reason of a BYE for an answer that cannot be used.
pub(super) fn bad_answer() -> Vec<Header> {
    vec![header("SIP;cause=488;text=\"Not Acceptable Here\"")]
}

/// Reason of a BYE after silence.
pub(super) fn media_timeout() -> Vec<Header> {
    vec![header(
        "SIP;cause=408;text=\"no media\", Q.850;cause=102;text=\"Recovery on timer expiry\"",
    )]
}

/// Reason of a BYE that an operator asked for.
pub(super) fn operator() -> Vec<Header> {
    vec![header("Q.850;cause=31;text=\"ended by operator\"")]
}

/// The same Reason values on the other leg's BYE.
pub(super) fn crossing(reasons: &[ReasonValue]) -> Vec<Header> {
    let values: Vec<String> = reasons.iter().map(value).collect();
    if values.is_empty() {
        Vec::new()
    } else {
        vec![header(values.join(", "))]
    }
}

fn value(reason: &ReasonValue) -> String {
    let mut value = reason.protocol.clone();
    if let Some(cause) = reason.cause {
        value.push_str(&format!(";cause={cause}"));
    }
    if let Some(text) = &reason.text {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        value.push_str(&format!(";text=\"{quoted}\""));
    }
    value
}

fn header(value: impl Into<Bytes>) -> Header {
    Header::new("Reason", value)
}
