//! What the gateway says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Checkpoint, Feature, OutputContext, TrackName, Transcript, Variables, WireError, fields,
    messages, open,
};

messages! {
    /// A message of the gateway.
    GatewayMessage {
        /// The first message.
        "connected" => Connected(Connected),
        /// The second message; nothing stands between them.
        "start" => Start(Start),
        /// 20 ms of audio.
        "media" => Media(GatewayMedia),
        /// A key that was pressed.
        "dtmf" => Dtmf(GatewayDtmf),
        /// A mark of the agent was reached or cleared.
        "mark" => Mark(GatewayMark),
        /// The last message.
        "stop" => Stop(Stop),
        /// The answer to `hook.hello`.
        "hook.welcome" => Welcome(Welcome),
        /// The call moved on.
        "hook.phase" => Phase(PhaseSaid),
        /// News of the hand-back.
        "hook.transferResult" => TransferResult(TransferResult),
        /// The answer to `hook.complete`.
        "hook.completed" => Completed(Completed),
        /// The play-out queue is long, or short again.
        "hook.flow" => Flow(Flow),
        /// A message of the agent that could not be used.
        "hook.error" => Error(ErrorSaid),
    }
}

/// `connected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connected {
    /// Always `Call`.
    pub protocol: String,
    /// Always `1.0.0`.
    pub version: String,
}

impl Default for Connected {
    fn default() -> Self {
        Self {
            protocol: "Call".to_owned(),
            version: "1.0.0".to_owned(),
        }
    }
}

/// `start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// `1`.
    pub sequence_number: String,
    /// Twilio's part.
    pub start: StartBody,
    /// The typed part, for agents that know this gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookInfo>,
    /// `MZ` and 32 hexadecimal digits.
    pub stream_sid: String,
}

/// Twilio's part of `start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartBody {
    /// `AC` and 32 hexadecimal digits, the same for all calls of an account.
    pub account_sid: String,
    /// `CA` and 32 hexadecimal digits, the same for all streams of a call.
    pub call_sid: String,
    /// As outside.
    pub stream_sid: String,
    /// What will be heard.
    pub tracks: Vec<TrackName>,
    /// How audio is coded.
    pub media_format: MediaFormat,
    /// The inputContext and the call, as text.
    pub custom_parameters: BTreeMap<String, String>,
}

/// How audio is coded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MediaFormat {
    /// `audio/x-mulaw`.
    pub encoding: String,
    /// In hertz.
    pub sample_rate: u32,
    /// How many channels.
    pub channels: u8,
}

impl Default for MediaFormat {
    fn default() -> Self {
        Self {
            encoding: "audio/x-mulaw".to_owned(),
            sample_rate: 8000,
            channels: 1,
        }
    }
}

/// The typed part of `start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookInfo {
    /// The version of the `hook.*` messages.
    pub version: String,
    /// What may be opted in to.
    pub features: Vec<Feature>,
    /// What the customer gave for the agent.
    pub input_context: InputContext,
    /// The call.
    pub call: HookCall,
    /// How much the gateway holds.
    pub limits: HookLimits,
    /// The last `hook.update`, when an agent had the call before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Checkpoint>,
    /// The finished transfers of the same externalConversationId, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierTransfer>,
}

/// What the customer gave for the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputContext {
    /// The task to begin with.
    pub task_name: Option<String>,
    /// Variables as they came.
    #[serde(default)]
    pub input_variables: Variables,
}

/// The call, in `start`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookCall {
    /// The caller.
    pub from: String,
    /// The number called.
    pub to: String,
    /// Call-ID of the INVITE.
    pub sip_call_id: String,
    /// Referred-By of the INVITE.
    pub referred_by: Option<String>,
    /// The transfer.
    pub transfer_id: String,
    /// The customer's conversation.
    pub external_conversation_id: String,
    /// Header fields of the INVITE that carry context (User-to-User, Diversion, History-Info,
    /// P-Asserted-Identity, Referred-By, Reason, X-…), each with its values in their order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Vec<String>>,
    /// The bodies of the INVITE beside its session description.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bodies: Vec<CallBody>,
}

/// A body of the INVITE beside its session description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallBody {
    /// Its type, with parameters.
    pub content_type: String,
    /// `base64` where the content is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The content.
    pub content: String,
}

/// How much the gateway holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookLimits {
    /// Audio queued for the caller; beyond it the newest is dropped.
    pub max_queue_ms: u32,
    /// Audio gathered at the start of a talk-spurt.
    pub prebuffer_ms: u32,
}

/// An earlier transfer of the same conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarlierTransfer {
    /// Its id.
    pub transfer_id: String,
    /// When it was over, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at_ms: Option<i64>,
    /// What its agent made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_context: Option<OutputContext>,
    /// What was said, as far as its agent told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transcript: Vec<Transcript>,
}

/// `media` of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayMedia {
    /// Counts the messages from 1, as text.
    pub sequence_number: String,
    /// The audio.
    pub media: MediaBody,
    /// The stream of `start`.
    pub stream_sid: String,
}

/// The audio of the gateway's `media`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaBody {
    /// Whose voice.
    pub track: TrackName,
    /// Counts the 20 ms from 1, as text.
    pub chunk: String,
    /// Milliseconds since the stream began, as text: 20·(chunk−1).
    pub timestamp: String,
    /// 160 bytes of µ-law in base64.
    pub payload: String,
}

/// `dtmf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayDtmf {
    /// Counts the messages.
    pub sequence_number: String,
    /// The key.
    pub dtmf: DtmfBody,
    /// The stream of `start`.
    pub stream_sid: String,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DtmfBody {
    /// Always `inbound_track`.
    pub track: String,
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: String,
}

/// `mark` of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayMark {
    /// Counts the messages.
    pub sequence_number: String,
    /// The mark.
    pub mark: MarkBody,
    /// The stream of `start`.
    pub stream_sid: String,
}

/// A mark and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MarkBody {
    /// Its name.
    pub name: String,
    /// False when `clear` dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub played: Option<bool>,
    /// The play-out sample counter where it stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u64>,
}

/// `stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// Counts the messages.
    pub sequence_number: String,
    /// The call.
    pub stop: StopBody,
    /// The stream of `start`.
    pub stream_sid: String,
}

/// The call that stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StopBody {
    /// As in `start`.
    pub account_sid: String,
    /// As in `start`.
    pub call_sid: String,
}

/// `hook.welcome`: what both sides know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// The version in force.
    pub version: String,
    /// The features in force.
    pub features: Vec<Feature>,
}

/// `hook.phase`: the call moved on; what the agent plays outside `agent` is discarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseSaid {
    /// Where the call is now.
    pub phase: PhaseName,
    /// `BYE`, `REFER` or `INVITE`, once that is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What is heard on this socket.
    pub tracks: Vec<TrackName>,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// The agent has the caller.
    Agent,
    /// The caller is being handed back.
    HandingBack,
    /// The caller talks with the party reached; the agent listens.
    Bridged,
    /// The call is over.
    Ended,
}

/// `hook.transferResult`: news of the hand-back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransferResult {
    /// How far it is.
    pub status: TransferStatus,
    /// The SIP status that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

/// How far a hand-back is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransferStatus {
    /// Being tried.
    Trying,
    /// The other party answered.
    Answered,
    /// It failed.
    Failed,
}

/// `hook.completed`: the answer to `hook.complete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// The id of the completion that is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether it counts; if not, the agent may try again.
    pub accepted: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `hook.flow`: whether the agent should hold its audio back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// Whether to wait.
    pub state: FlowState,
    /// Audio that is queued, in milliseconds.
    pub queued_ms: u64,
}

/// Whether to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FlowState {
    /// Wait: 30 s are queued.
    Xoff,
    /// Go on: less than 20 s are queued.
    Xon,
}

/// `hook.error`: a message of the agent that could not be used, said once for each kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorSaid {
    /// The kind, as in the metrics: `bad_fields`, `bad_json`, `unknown_event`…
    pub code: String,
    /// What was wrong, for people.
    pub message: String,
}
