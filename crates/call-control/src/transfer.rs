//! The transfer: what a customer registered, what became of it, what the agent made of it.
//!
//! The vocabulary that the store, the API, the agent hook and the call share.

use std::fmt;

use serde::{Deserialize, Serialize};
use timebase::UnixMillis;

/// JSON variables by name, in the order they came, numbers as they were written.
pub type Variables = serde_json::Map<String, serde_json::Value>;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id!(
    /// An account of ours: the owner of API keys, trunks and transfers.
    AccountId
);
text_id!(
    /// The customer's id of a transfer, unique in its account; also the value of the SIP header.
    TransferId
);

/// How a call is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReturnType {
    /// BYE: the call ends at us and the SBC takes the caller on.
    Bye,
    /// REFER to the return URI.
    Refer,
    /// A new INVITE to the return URI, bridged to the caller.
    Invite,
}

impl fmt::Display for ReturnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bye => "BYE",
            Self::Refer => "REFER",
            Self::Invite => "INVITE",
        })
    }
}

/// Where a transfer is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Registered, waiting for the call.
    Active,
    /// The agent has the call.
    Ongoing,
    /// Over.
    Completed,
    /// Nobody called in time.
    Expired,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "ACTIVE",
            Self::Ongoing => "ONGOING",
            Self::Completed => "COMPLETED",
            Self::Expired => "EXPIRED",
        })
    }
}

/// Who the caller is to speak with next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TransferType {
    /// A human agent.
    Agent,
    /// The customer's system.
    System,
}

/// What the customer gave for the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputContext {
    /// The task to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    /// Variables for the agent, kept as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_variables: Option<Variables>,
}

/// What the agent made of the call; the customer fetches it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputContext {
    /// Who takes the caller next.
    pub transfer_type: TransferType,
    /// The task the agent was on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_task_name: Option<String>,
    /// Variables that refer to something the customer knows.
    #[serde(default)]
    pub reference_variables: Variables,
    /// Variables that the agent collected.
    #[serde(default)]
    pub transfer_variables: Variables,
}

/// The outputContext as far as the agent has got with it (`hook.update`); kept for the failure path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The task the agent is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_task_name: Option<String>,
    /// See [`OutputContext::reference_variables`].
    #[serde(default)]
    pub reference_variables: Variables,
    /// See [`OutputContext::transfer_variables`].
    #[serde(default)]
    pub transfer_variables: Variables,
}

/// Digest credentials for an INVITE return. Debug shows neither field.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnCredentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for ReturnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReturnCredentials(hidden)")
    }
}

/// How the customer spelled the return URI's key; the answer uses the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UriSpelling {
    /// `returnURI`.
    #[default]
    ReturnURI,
    /// `returnUri`, as in the vendor's own OpenAPI document.
    ReturnUri,
}

/// The `sip` part of a transfer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipReturn {
    /// Where to hand back to, byte for byte.
    pub return_uri: Option<String>,
    /// How its key was spelled.
    #[serde(default)]
    pub spelling: UriSpelling,
    /// Overrides the account's default for this call.
    pub return_type: Option<ReturnType>,
    /// For an INVITE return that is challenged.
    pub credentials: Option<ReturnCredentials>,
}

/// A transfer as registered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTransfer {
    /// The account of the API key.
    pub account: AccountId,
    /// The customer's id.
    pub id: TransferId,
    /// Transfers that share it are one conversation.
    pub external_conversation_id: String,
    /// The `sip` object; absent when none was given.
    pub sip: Option<SipReturn>,
    /// The `inputContext` object; absent when none was given.
    pub input: Option<InputContext>,
}

/// A transfer as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    /// What was registered.
    pub registered: NewTransfer,
    /// Where it is in its life.
    pub status: Status,
    /// When it was registered.
    pub created_at: UnixMillis,
    /// When the INVITE was accepted.
    pub call_received_at: Option<UnixMillis>,
    /// When the agent first completed, or the call ended.
    pub completed_at: Option<UnixMillis>,
    /// The agent's result.
    pub output: Option<OutputContext>,
}
