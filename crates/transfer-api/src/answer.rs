//! A transfer as the API shows it.

use call_control::transfer::{
    InputContext, OutputContext, ReturnType, SipReturn, Status, Transfer, UriSpelling,
};
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;
use timebase::UnixMillis;
use utoipa::ToSchema;

use crate::document;

/// A call transfer. Absent fields are absent, not null.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallTransfer)]
pub(crate) struct Answer {
    /// The customer's id of it.
    id: String,
    /// The conversation that it belongs to.
    external_conversation_id: String,
    /// Where it is in its life.
    #[schema(value_type = document::Status)]
    status: Status,
    /// How the call comes to us.
    #[serde(rename = "type")]
    #[schema(value_type = document::Kind)]
    kind: &'static str,
    /// As it was given, without the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    sip: Option<Sip>,
    /// As it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<document::InputContext>, nullable = false)]
    input_context: Option<InputContext>,
    /// When it was registered.
    #[schema(format = "date-time", example = "2025-01-15T13:06:00Z")]
    created_at: String,
    /// When the call was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    call_received_at: Option<String>,
    /// When the agent first completed, or the call ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    completed_at: Option<String>,
    /// The agent's result; only when the agent finished and the call was handed back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<document::OutputContext>, nullable = false)]
    output_context: Option<OutputContext>,
}

/// The `sip` object as it was given, without the credentials.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallTransferSip)]
pub(crate) struct Sip {
    /// Where the call is returned to.
    #[serde(rename = "returnURI", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    return_uri: Option<String>,
    /// The same, if it was given in this spelling.
    #[serde(rename = "returnUri", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    return_uri_alias: Option<String>,
    /// How the call is returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<document::ReturnTransferType>, nullable = false)]
    return_transfer_type: Option<ReturnType>,
}

impl Answer {
    pub(crate) fn of(transfer: Transfer) -> Self {
        let registered = transfer.registered;
        Self {
            id: registered.id.0,
            external_conversation_id: registered.external_conversation_id,
            status: transfer.status,
            kind: "SIP",
            sip: registered.sip.map(Sip::of),
            input_context: registered.input,
            created_at: whole_seconds(transfer.created_at),
            call_received_at: transfer.call_received_at.map(whole_seconds),
            completed_at: transfer.completed_at.map(whole_seconds),
            output_context: transfer.output,
        }
    }
}

impl Sip {
    fn of(sip: SipReturn) -> Self {
        let (return_uri, return_uri_alias) = match sip.spelling {
            UriSpelling::ReturnURI => (sip.return_uri, None),
            UriSpelling::ReturnUri => (None, sip.return_uri),
        };
        Self {
            return_uri,
            return_uri_alias,
            return_transfer_type: sip.return_type,
        }
    }
}

/// UTC in whole seconds, `2025-01-15T13:06:00Z`.
fn whole_seconds(at: UnixMillis) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let time = OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_in_whole_seconds() {
        assert_eq!(
            whole_seconds(UnixMillis(1_736_946_360_000)),
            "2025-01-15T13:06:00Z"
        );
        assert_eq!(
            whole_seconds(UnixMillis(1_736_946_360_999)),
            "2025-01-15T13:06:00Z"
        );
    }
}
