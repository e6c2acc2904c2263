//! What configuration, account and trunk say about one call, resolved when it arrives.

use std::time::Duration;

use media_core::Tone;

use crate::transfer::{AccountId, ReturnCredentials, ReturnType, TransferType};

/// An entry of the fall-back list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Try this return type.
    Return(ReturnType),
    /// Give the call back to the agent, which completes anew.
    Agent,
}

/// Who ends the call after a REFER that worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByeRule {
    /// We, after [`Policy::refer_bye_after`], unless the peer is first.
    Ours,
    /// We, as soon as the subscription is terminated: the peer waits for it.
    OursAtOnce,
    /// The peer; we only when it has not for this long.
    Theirs {
        /// From the final NOTIFY to our BYE after all.
        patience: Duration,
    },
}

/// What a peer tells of an accepted REFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notifies {
    /// NOTIFYs, the last one with the result.
    Always,
    /// Nothing, or nothing that can be relied on: without a NOTIFY in time the outcome is unknown.
    Never,
}

/// What a peer does at a hand-back: data of its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who ends the call after a REFER that worked.
    pub bye: ByeRule,
    /// What it tells of an accepted REFER.
    pub notifies: Notifies,
    /// From the acceptance of a REFER to the first NOTIFY; later is noted, or, where the peer never
    /// notifies, the end.
    pub first_notify: Duration,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            bye: ByeRule::Ours,
            notifies: Notifies::Always,
            first_notify: Duration::from_secs(5),
        }
    }
}

/// The rules that one call goes by.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The account of the trunk that the call came by.
    pub account: AccountId,
    /// The account's default return type; a transfer may override it.
    pub return_type: ReturnType,
    /// The account's credentials for INVITE returns; a transfer may override them.
    pub return_credentials: Option<ReturnCredentials>,
    /// Tried in order when a REFER or INVITE return fails; BYE is always the last.
    pub fallback: Vec<Fallback>,
    /// REFER even if the peer's Allow lacks it.
    pub refer_always: bool,
    /// From REFER to its final NOTIFY.
    pub refer_timeout: Duration,
    /// From the final NOTIFY to our BYE, unless the peer sends one first.
    pub refer_bye_after: Duration,
    /// What the peer does at a hand-back.
    pub peer: Peer,
    /// From the first step of a chain to its BYE, whatever the steps still wait for.
    pub hand_back_timeout: Duration,
    /// From the INVITE of a return to its final answer.
    pub invite_timeout: Duration,
    /// How many 3xx answers an INVITE return follows.
    pub max_redirects: u8,
    /// What the caller hears while the target rings; none: silence.
    pub tone: Option<Tone>,
    /// 180 before the 200.
    pub ringing: bool,
    /// How long the agent may take to connect before the call is refused.
    pub connect_timeout: Duration,
    /// How long a lost agent may take to come back before the call is handed back.
    pub reconnect_timeout: Duration,
    /// Answer before the agent is reached, for peers that cannot wait.
    pub answer_first: bool,
    /// Who takes the caller when the agent is lost.
    pub agent_lost: TransferType,
    /// Who takes the caller when the agent closed cleanly without completing.
    pub closed_without_complete: TransferType,
    /// Whether the agent goes on hearing both sides once an INVITE return is answered.
    pub transcribe: bool,
    /// Neither RTP nor RTCP for this long ends the call; zero: never.
    pub media_timeout: Duration,
    /// The longest that an agent may keep a call.
    pub call_duration: Duration,
}
