//! Transfers as rows and back.

use call_control::transfer::{
    AccountId, NewTransfer, OutputContext, ReturnCredentials, SipReturn, Status, Transfer,
    TransferId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use timebase::UnixMillis;
use zeroize::Zeroizing;

use crate::vault::EncryptionKey;

/// A row cannot be written or makes no sense: the named column is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("column {0}")]
pub(crate) struct BadColumn(&'static str);

/// What a registration writes.
#[derive(Debug)]
pub(crate) struct NewRow {
    pub account: String,
    pub id: String,
    pub conversation: String,
    pub sip: Option<String>,
    pub credentials: Option<String>,
    pub input: Option<String>,
    pub created_at: i64,
    pub expires_at: i64,
}

impl NewRow {
    pub(crate) fn of(
        new: &NewTransfer,
        created: UnixMillis,
        expires: UnixMillis,
        key: &EncryptionKey,
    ) -> Result<Self, BadColumn> {
        let credentials = new.sip.as_ref().and_then(|sip| sip.credentials.as_ref());
        let bare = new.sip.as_ref().map(|sip| SipReturn {
            credentials: None,
            ..sip.clone()
        });
        Ok(Self {
            account: new.account.0.clone(),
            id: new.id.0.clone(),
            conversation: new.external_conversation_id.clone(),
            sip: bare.map(|sip| to_json("sip", &sip)).transpose()?,
            credentials: credentials
                .map(|it| seal(it, &new.account, &new.id, key))
                .transpose()?,
            input: new
                .input
                .as_ref()
                .map(|input| to_json("input", input))
                .transpose()?,
            created_at: created.0,
            expires_at: expires.0,
        })
    }
}

/// A stored transfer.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    account: String,
    id: String,
    conversation: String,
    sip: Option<String>,
    credentials: Option<String>,
    input: Option<String>,
    status: String,
    created_at: i64,
    expires_at: i64,
    call_received_at: Option<i64>,
    completed_at: Option<i64>,
    output: Option<String>,
    pub fence: i64,
}

impl Row {
    pub(super) fn transfer(self, key: &EncryptionKey) -> Result<Transfer, BadColumn> {
        let (account, id) = (AccountId(self.account), TransferId(self.id));
        let credentials = self
            .credentials
            .map(|sealed| open(&sealed, &account, &id, key))
            .transpose()?;
        let sip: Option<SipReturn> = self.sip.map(|json| from_json("sip", &json)).transpose()?;
        let input = self
            .input
            .map(|json| from_json("input", &json))
            .transpose()?;
        Ok(Transfer {
            registered: NewTransfer {
                account,
                id,
                external_conversation_id: self.conversation,
                sip: sip.map(|sip| SipReturn { credentials, ..sip }),
                input,
            },
            status: status(&self.status)?,
            created_at: UnixMillis(self.created_at),
            call_received_at: self.call_received_at.map(UnixMillis),
            completed_at: self.completed_at.map(UnixMillis),
            output: self
                .output
                .map(|json| from_json("output", &json))
                .transpose()?,
        })
    }

    /// The transfer as it reads at `now`: one past its time to live is EXPIRED, swept or not.
    pub(super) fn transfer_at(
        self,
        now: UnixMillis,
        key: &EncryptionKey,
    ) -> Result<Transfer, BadColumn> {
        let past = now.0 >= self.expires_at;
        let mut transfer = self.transfer(key)?;
        if past && transfer.status == Status::Active {
            transfer.status = Status::Expired;
        }
        Ok(transfer)
    }
}

pub(crate) fn output_json(output: &OutputContext) -> Result<String, BadColumn> {
    to_json("output", output)
}

pub(super) fn status(text: &str) -> Result<Status, BadColumn> {
    match text {
        "ACTIVE" => Ok(Status::Active),
        "ONGOING" => Ok(Status::Ongoing),
        "COMPLETED" => Ok(Status::Completed),
        "EXPIRED" => Ok(Status::Expired),
        _ => Err(BadColumn("status")),
    }
}

fn to_json(column: &'static str, value: &impl Serialize) -> Result<String, BadColumn> {
    serde_json::to_string(value).map_err(|_| BadColumn(column))
}

fn from_json<T: DeserializeOwned>(column: &'static str, json: &str) -> Result<T, BadColumn> {
    serde_json::from_str(json).map_err(|_| BadColumn(column))
}

/// Binds sealed credentials to their transfer; neither id can hold the separator.
fn context(account: &AccountId, id: &TransferId) -> Vec<u8> {
    [account.0.as_bytes(), b"\0", id.0.as_bytes()].concat()
}

fn seal(
    credentials: &ReturnCredentials,
    account: &AccountId,
    id: &TransferId,
    key: &EncryptionKey,
) -> Result<String, BadColumn> {
    let plain = serde_json::to_vec(credentials)
        .map(Zeroizing::new)
        .map_err(|_| BadColumn("credentials"))?;
    key.seal(&plain, &context(account, id))
        .ok_or(BadColumn("credentials"))
}

fn open(
    sealed: &str,
    account: &AccountId,
    id: &TransferId,
    key: &EncryptionKey,
) -> Result<ReturnCredentials, BadColumn> {
    let plain = key
        .open(sealed, &context(account, id))
        .ok_or(BadColumn("credentials"))?;
    serde_json::from_slice(&plain).map_err(|_| BadColumn("credentials"))
}
