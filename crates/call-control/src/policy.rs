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
    /// Who takes the caller when the agent closed cleanly without completing.
    pub closed_without_complete: TransferType,
    /// Whether the agent goes on hearing both sides once an INVITE return is answered.
    pub transcribe: bool,
    /// Neither RTP nor RTCP for this long ends the call; zero: never.
    pub media_timeout: Duration,
    /// The longest that an agent may keep a call.
    pub call_duration: Duration,
}
