//! Records of calls that are over, and the lists that operators look through.

use call_control::transfer::{AccountId, Status, TransferId};
use timebase::UnixMillis;

/// What became of one call, as it is kept beside its transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The gateway's id of the call, unique.
    pub call: String,
    /// Whose call it was.
    pub account: AccountId,
    /// The transfer that it came for.
    pub transfer: TransferId,
    /// The trunk that it came over.
    pub trunk: String,
    /// The short name of its outcome, to look for.
    pub outcome: String,
    /// When its INVITE came.
    pub arrived_at: UnixMillis,
    /// When it was over.
    pub ended_at: UnixMillis,
    /// Everything else, as a JSON object.
    pub record: String,
}

/// Which calls to list, the latest first. Empty fields ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this transfer; only together with the account.
    pub transfer: Option<TransferId>,
    /// Over this trunk.
    pub trunk: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Those behind this one in the list: its end and its id.
    pub after: Option<(UnixMillis, String)>,
    /// How many at most.
    pub limit: u32,
}

/// Which transfers to list, the latest first. Empty fields ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferFilter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this conversation; only together with the account.
    pub conversation: Option<String>,
    /// In this status.
    pub status: Option<Status>,
    /// Those behind this one in the list: its registration, account and id.
    pub after: Option<(UnixMillis, AccountId, TransferId)>,
    /// How many at most.
    pub limit: u32,
}
