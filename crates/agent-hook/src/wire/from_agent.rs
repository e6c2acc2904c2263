//! What an agent says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Feature, TrackName, Variables, WireError, fields, messages, open};

messages! {
    /// A message of an agent.
    AgentMessage {
        /// Audio for the caller.
        "media" => Media(AgentMedia),
        /// Asks to be told when the audio before it has played.
        "mark" => Mark(AgentMark),
        /// Empties the play-out queue.
        "clear" => Clear(Clear),
        /// Opts in to features.
        "hook.hello" => Hello(Hello),
        /// The outputContext as far as it has got.
        "hook.update" => Update(Checkpoint),
        /// The agent is done.
        "hook.complete" => Complete(Complete),
        /// What was said.
        "hook.transcript" => Transcript(Transcript),
        /// Keys to send to the caller.
        "hook.sendDtmf" => SendDtmf(SendDtmf),
    }
}

/// `media` of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentMedia {
    /// The stream of `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_sid: Option<String>,
    /// The audio.
    pub media: MediaPayload,
}

/// The audio of an agent's `media`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaPayload {
    /// µ-law at 8 kHz in base64, of any length.
    pub payload: String,
}

/// `mark` of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentMark {
    /// The stream of `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_sid: Option<String>,
    /// The mark.
    pub mark: MarkName,
}

/// A mark by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MarkName {
    /// Given back when the audio before it has played, at most 1024 bytes.
    #[schemars(length(max = 1024))]
    pub name: String,
}

/// `clear` of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clear {
    /// The stream of `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_sid: Option<String>,
}

/// `hook.hello`: the agent knows this gateway, and opts in to features.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// The version that the agent speaks, `major.minor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Names of features; unknown ones are passed over.
    #[serde(default)]
    pub features: Vec<String>,
    /// The agent's name, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

impl Hello {
    /// A hello of this version that opts in to features.
    #[must_use]
    pub fn new(agent: &str, features: &[Feature]) -> Self {
        let name = |feature: &Feature| match feature {
            Feature::Tracks => "tracks".to_owned(),
            Feature::Transcript => "transcript".to_owned(),
            Feature::Flow => "flow".to_owned(),
            Feature::Marks2 => "marks2".to_owned(),
        };
        Self {
            version: Some(super::HOOK_VERSION.to_owned()),
            features: features.iter().map(name).collect(),
            agent: Some(agent.to_owned()),
        }
    }
}

/// `hook.update`: the outputContext as far as the agent has got with it, for the case that it is lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The task the agent is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_task_name: Option<String>,
    /// Variables that refer to something the customer knows. All variables are 64 kB at most.
    #[serde(default)]
    pub reference_variables: Variables,
    /// Variables that the agent collected.
    #[serde(default)]
    pub transfer_variables: Variables,
}

/// Who the caller is to speak with next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TransferTo {
    /// A human agent.
    Agent,
    /// The customer's system.
    System,
}

/// What the agent made of the call; the customer fetches it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputContext {
    /// Who takes the caller next.
    pub transfer_type: TransferTo,
    /// The task the agent was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_task_name: Option<String>,
    /// Variables that refer to something the customer knows. All variables are 64 kB at most.
    #[serde(default)]
    pub reference_variables: Variables,
    /// Variables that the agent collected.
    #[serde(default)]
    pub transfer_variables: Variables,
}

/// When a completion takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// When the audio queued before it has been played.
    #[default]
    Drained,
    /// At once.
    Now,
}

/// `hook.complete`: the agent is done. `hook.completed` answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Complete {
    /// The agent's name for this completion, given back in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The result.
    pub output_context: OutputContext,
    /// When it takes effect.
    #[serde(default)]
    pub when: When,
}

/// `hook.transcript`: what was said, kept with the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transcript {
    /// The agent's id of the utterance; a later text of the same id replaces an interim one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utterance: Option<String>,
    /// Whose words.
    #[serde(default = "inbound")]
    pub track: TrackName,
    /// False for an interim text.
    #[serde(rename = "final", default = "yes")]
    pub is_final: bool,
    /// The words, at most 16 kB.
    pub text: String,
    /// Start on the media timeline, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// End on the media timeline, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<u64>,
}

const fn inbound() -> TrackName {
    TrackName::Inbound
}

const fn yes() -> bool {
    true
}

/// `hook.sendDtmf`: keys to send to the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SendDtmf {
    /// `0`–`9`, `*`, `#`, `A`–`D`, and `,` for a pause; at most 64.
    #[schemars(regex(pattern = r"^[0-9*#A-Da-d,]{1,64}$"))]
    pub digits: String,
    /// How long each is held, 40 to 5000 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u32>,
}
