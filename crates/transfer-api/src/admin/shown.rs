//! Calls and transfers as the admin API shows them: times are UTC with milliseconds.

use std::net::SocketAddr;

use call_control::transfer::{
    AccountId, InputContext, OutputContext, SipReturn, Status, Transfer, TransferId,
};
use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::macros::format_description;
use timebase::UnixMillis;
use transfer_store::CallRecord;
use utoipa::ToSchema;

use super::quality::CallMedia;
use crate::document;

/// A live call.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveCall {
    /// The gateway's id of the call.
    pub call: String,
    /// The transfer it came for.
    #[schema(value_type = String)]
    pub transfer: TransferId,
    /// Whose.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// The trunk it came over.
    pub trunk: String,
    /// Call-ID of the INVITE.
    pub sip_call_id: String,
    /// The caller's user part or URI.
    pub from: String,
    /// The URI that was called.
    pub to: String,
    /// When the INVITE came.
    #[serde(serialize_with = "milliseconds")]
    #[schema(value_type = String, format = "date-time", example = "2025-01-15T13:06:00.123Z")]
    pub arrived_at: UnixMillis,
    /// Where it is: `arriving`, `answering`, `with_agent`, `handing_back`, `bridged`, `ending`.
    pub phase: &'static str,
    /// How its media are, once there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub media: Option<CallMedia>,
}

/// The SIP messages of a call, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ladder {
    /// The messages.
    pub lines: Vec<LadderLine>,
    /// How many more there were than are kept of one call.
    pub dropped: u32,
}

/// A SIP message of a call.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LadderLine {
    /// Milliseconds since the first one.
    pub at_ms: u64,
    /// `in` or `out`, seen from the gateway.
    pub direction: &'static str,
    /// The gateway's address.
    #[schema(value_type = String)]
    pub local: SocketAddr,
    /// The peer's.
    #[schema(value_type = String)]
    pub remote: SocketAddr,
    /// Its method or status, and what it is about.
    pub what: String,
}

/// The Call-ID that a record holds.
pub(super) fn sip_call_id(record: &CallRecord) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(&record.record).ok()?;
    Some(record.get("sipCallId")?.as_str()?.to_owned())
}

/// A trunk as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Trunk)]
pub struct TrunkShown {
    /// Whose.
    #[schema(value_type = String)]
    pub account: AccountId,
    /// Its name.
    pub trunk: String,
    /// Its calls now.
    pub calls: u32,
    /// Its calls at most.
    pub max_calls: u32,
    /// Where requests to it go.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub outbound_proxy: Option<String>,
    /// Whether its outbound proxy answers; absent where it is not watched.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub health: serde_json::Map<String, serde_json::Value>,
}

/// A call, live or over.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Call)]
pub(super) enum Shown {
    /// It is live.
    Live(Box<LiveCall>),
    /// It is over.
    Over(OverCall),
}

impl Shown {
    pub(super) fn over(record: CallRecord) -> Self {
        Self::Over(OverCall::of(record))
    }
}

/// A call that is over.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OverCall {
    call: String,
    account: String,
    transfer: String,
    trunk: String,
    /// The short name of its outcome.
    outcome: String,
    #[schema(format = "date-time")]
    arrived_at: String,
    #[schema(format = "date-time")]
    ended_at: String,
    /// Legs, hand-back steps, causes, agent, media figures, results and timeline.
    #[schema(value_type = Object)]
    record: Box<RawValue>,
}

impl OverCall {
    pub(super) fn of(record: CallRecord) -> Self {
        Self {
            call: record.call,
            account: record.account.0,
            transfer: record.transfer.0,
            trunk: record.trunk,
            outcome: record.outcome,
            arrived_at: whole_milliseconds(record.arrived_at),
            ended_at: whole_milliseconds(record.ended_at),
            record: RawValue::from_string(record.record)
                .unwrap_or_else(|_| RawValue::NULL.to_owned()),
        }
    }
}

/// A transfer as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransferShown {
    account: String,
    id: String,
    external_conversation_id: String,
    #[schema(value_type = document::Status)]
    status: Status,
    #[serde(rename = "returnURI", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    return_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<document::ReturnTransferType>, nullable = false)]
    return_transfer_type: Option<call_control::transfer::ReturnType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<document::InputContext>, nullable = false)]
    input_context: Option<InputContext>,
    #[schema(format = "date-time")]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    call_received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<document::OutputContext>, nullable = false)]
    output_context: Option<OutputContext>,
}

impl TransferShown {
    pub(super) fn of(transfer: Transfer) -> Self {
        let registered = transfer.registered;
        let sip: SipReturn = registered.sip.unwrap_or_default();
        Self {
            account: registered.account.0,
            id: registered.id.0,
            external_conversation_id: registered.external_conversation_id,
            status: transfer.status,
            return_uri: sip.return_uri,
            return_transfer_type: sip.return_type,
            input_context: registered.input,
            created_at: whole_milliseconds(transfer.created_at),
            call_received_at: transfer.call_received_at.map(whole_milliseconds),
            completed_at: transfer.completed_at.map(whole_milliseconds),
            output_context: transfer.output,
        }
    }
}

/// A transfer with its calls, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OneTransfer {
    #[serde(flatten)]
    transfer: TransferShown,
    /// What was said, as far as the agent told, once the transfer is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript: Option<serde_json::Value>,
    calls: Vec<Shown>,
}

impl OneTransfer {
    pub(super) fn of(transfer: Transfer, transcript: Option<&str>, calls: Vec<Shown>) -> Self {
        Self {
            transfer: TransferShown::of(transfer),
            transcript: transcript.and_then(|text| serde_json::from_str(text).ok()),
            calls,
        }
    }
}

/// UTC with milliseconds: `2025-01-15T13:06:00.123Z`.
#[must_use]
pub fn whole_milliseconds(at: UnixMillis) -> String {
    let nanos = i128::from(at.0) * 1_000_000;
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos);
    time.ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_default()
}

fn milliseconds<S: serde::Serializer>(at: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&whole_milliseconds(*at))
}
