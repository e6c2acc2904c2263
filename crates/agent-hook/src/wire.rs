//! Every message of the WebSocket wire, typed: Twilio's own and the `hook.*` ones.
//!
//! [`GatewayMessage`] is what the gateway says, [`AgentMessage`] what an agent says. Their JSON
//! Schemas are derived from these types. The gateway itself is more lenient with what it reads
//! than these types are: a number may come as text, and the fields of a `hook.*` message may stand
//! in an object named `hook`.

mod from_agent;
mod from_gateway;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use from_agent::{
    AgentMark, AgentMedia, AgentMessage, Checkpoint, Clear, Complete, Hello, MarkName,
    MediaPayload, OutputContext, SendDtmf, Transcript, TransferTo, When,
};
pub use from_gateway::{
    CallBody, Completed, Connected, DtmfBody, EarlierTransfer, ErrorSaid, Flow, FlowState,
    GatewayDtmf, GatewayMark, GatewayMedia, GatewayMessage, HookCall, HookInfo, HookLimits,
    InputContext, MarkBody, MediaBody, MediaFormat, PhaseName, PhaseSaid, Start, StartBody, Stop,
    StopBody, TransferResult, TransferStatus, Welcome,
};

/// The version of the `hook.*` messages that this gateway speaks.
pub const HOOK_VERSION: &str = "1.0";

/// JSON variables by name, in the order they came, numbers as they were written.
pub type Variables = Map<String, Value>;

/// Whose voice a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrackName {
    /// The caller's.
    Inbound,
    /// The party reached by an INVITE hand-back.
    Outbound,
}

/// What an agent may opt in to with `hook.hello`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// Both tracks on the conversation's socket once the caller is bridged.
    Tracks,
    /// Transcripts will come.
    Transcript,
    /// `hook.flow` when the play-out queue is long.
    Flow,
    /// Marks with `played` and `sample`.
    Marks2,
}

/// The JSON Schemas of both directions, by name: `gateway-message` and `agent-message`.
#[must_use]
pub fn schemas() -> [(&'static str, Value); 2] {
    [
        (
            "gateway-message",
            Value::from(schemars::schema_for!(GatewayMessage)),
        ),
        (
            "agent-message",
            Value::from(schemars::schema_for!(AgentMessage)),
        ),
    ]
}

/// Why a text is no message of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// No JSON object.
    NotJson(String),
    /// No `event`, or one that is not text.
    NoEvent,
    /// An event that the protocol does not have.
    UnknownEvent(String),
    /// A field of the event is missing or wrong.
    Fields {
        /// The event.
        event: String,
        /// Which field, and what about it.
        problem: String,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(problem) => write!(f, "not a JSON object: {problem}"),
            Self::NoEvent => f.write_str("event is missing or not a string"),
            Self::UnknownEvent(event) => write!(f, "unknown event {event:?}"),
            Self::Fields { event, problem } => write!(f, "{event}: {problem}"),
        }
    }
}

impl std::error::Error for WireError {}

/// Takes a message apart into its event and the whole.
fn open(text: &str) -> Result<(String, Value), WireError> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| WireError::NotJson(error.to_string()))?;
    let event = match object.get("event") {
        Some(Value::String(event)) => event.clone(),
        Some(_) | None => return Err(WireError::NoEvent),
    };
    Ok((event, Value::Object(object)))
}

/// Reads the fields of an event.
fn fields<T: DeserializeOwned>(event: &str, message: Value) -> Result<T, WireError> {
    serde_json::from_value(message).map_err(|error| WireError::Fields {
        event: event.to_owned(),
        problem: error.to_string(),
    })
}

/// Lists the events of one direction once: the enum, its reader, its writer.
macro_rules! messages {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $event:literal => $variant:ident($body:ty),)* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
        #[serde(tag = "event")]
        #[allow(clippy::large_enum_variant, reason = "rare messages; audio does not come this way")]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $event)] $variant($body),)*
        }

        impl $name {
            /// The events there are.
            pub const EVENTS: &[&str] = &[$($event),*];

            /// Reads one text message.
            ///
            /// # Errors
            /// What is wrong with it, by event and field.
            pub fn parse(text: &str) -> Result<Self, WireError> {
                let (event, message) = open(text)?;
                match event.as_str() {
                    $($event => fields(&event, message).map(Self::$variant),)*
                    _ => Err(WireError::UnknownEvent(event)),
                }
            }

            /// The message as it stands on the wire.
            #[must_use]
            pub fn to_json(&self) -> String {
                // maps have text for keys, and no number is out of JSON's range
                serde_json::to_string(self).unwrap_or_default()
            }

            /// The event's name.
            #[must_use]
            pub fn event(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $event,)*
                }
            }
        }
    };
}

use messages;

#[cfg(test)]
mod tests;
