//! What an agent is told of the call it is connected to.

use std::collections::BTreeMap;
use std::fmt;

use call_control::transfer::{AccountId, Checkpoint, InputContext, TransferId};

use crate::audiohook::SessionLog;
use crate::wire::{CallBody, EarlierTransfer};

/// What is known of a call when its agent is connected.
#[derive(Clone, Debug)]
pub struct CallFacts {
    /// The gateway's own id of the call; the callSid is derived from it.
    pub call: String,
    /// Whose transfer; the accountSid is derived from it.
    pub account: AccountId,
    /// Which transfer.
    pub transfer: TransferId,
    /// The customer's conversation.
    pub conversation: String,
    /// The caller, as in the INVITE's From.
    pub from: String,
    /// The number called, as in the INVITE's To.
    pub to: String,
    /// Call-ID of the INVITE.
    pub sip_call_id: String,
    /// Referred-By of the INVITE.
    pub referred_by: Option<String>,
    /// What the customer gave for the agent.
    pub input: InputContext,
    /// The secret by which the agent names this call in requests beside the socket.
    pub token: HookToken,
    /// Whether an agent had the call before.
    pub resume: bool,
    /// How far that agent had got.
    pub checkpoint: Option<Checkpoint>,
    /// The finished transfers of the same conversation, the latest first.
    pub earlier: Vec<EarlierTransfer>,
    /// Header fields of the INVITE that carry context, each with its values in their order.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The bodies of the INVITE beside its session description.
    pub bodies: Vec<CallBody>,
    /// The AudioHook sessions that the call has had; a clone of the facts shares it.
    pub sessions: SessionLog,
}

/// A secret for one call. Debug does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct HookToken(String);

impl HookToken {
    /// Draws a new token: 32 hexadecimal digits.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HookToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookToken(hidden)")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A call to test with.
    pub(crate) fn facts() -> CallFacts {
        CallFacts {
            call: "call-1".to_owned(),
            account: "lab".into(),
            transfer: "t-1".into(),
            conversation: "c-1".to_owned(),
            from: "+15550100".to_owned(),
            to: "agent".to_owned(),
            sip_call_id: "abc@sbc".to_owned(),
            referred_by: None,
            input: InputContext {
                task_name: Some("pay".to_owned()),
                input_variables: None,
            },
            token: HookToken::random(),
            resume: false,
            checkpoint: None,
            earlier: Vec::new(),
            headers: BTreeMap::new(),
            bodies: Vec::new(),
            sessions: SessionLog::default(),
        }
    }

    #[test]
    fn token_is_not_shown_by_debug() {
        let facts = facts();
        assert!(!format!("{facts:?}").contains(facts.token.expose()));
    }
}
