//! What a test call is to do.

use std::time::Duration;

use bytes::Bytes;
use sip_core::{Credentials, Transport};

/// The header that ties a call to its transfer.
pub const TRANSFER_HEADER: &str = "X-ASAPP-CallTransferId";

/// A call to place.
#[derive(Clone, Debug)]
pub struct Order {
    /// The URI to call.
    pub to: String,
    /// The URI to call as.
    pub from: String,
    /// What to call over, unless the URI says so itself.
    pub transport: Transport,
    /// The transfer's id.
    pub transfer: Option<String>,
    /// What digest challenges are answered with.
    pub credentials: Option<Credentials>,
    /// What is done in the call.
    pub script: Script,
}

/// What is done in a call, placed or taken.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// µ-law audio to say as soon as the call is answered.
    pub say: Bytes,
    /// Keys to press after that.
    pub digits: Option<String>,
    /// µ-law audio to say after the keys.
    pub then_say: Bytes,
    /// Hold the call for a second, this long after the answer.
    pub hold_after: Option<Duration>,
    /// Hang up this long after the answer.
    pub hangup_after: Option<Duration>,
    /// Offer and take SRTP only.
    pub srtp: bool,
    /// What becomes of a REFER.
    pub on_refer: OnRefer,
}

/// What becomes of a REFER; it is accepted in any case.
#[derive(Clone, Debug, Default)]
pub enum OnRefer {
    /// Success is reported, and nobody called.
    #[default]
    Pretend,
    /// The Refer-To URI is called, and what becomes of that call is reported.
    Call(Box<Script>),
}
