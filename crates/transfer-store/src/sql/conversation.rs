//! The finished transfers of a conversation, as rows.

use call_control::transfer::AccountId;

use super::db::{Db, Statement};
use super::rows::Row;
use super::statements;
use super::work::{Key, WorkError};
use crate::conversation::Earlier;
use crate::vault::EncryptionKey;

#[derive(sqlx::FromRow)]
struct EarlierRow {
    #[sqlx(flatten)]
    row: Row,
    transcript: Option<String>,
}

pub(crate) async fn conversation(
    db: &mut Db<'_>,
    account: &AccountId,
    conversation: &str,
    most: u32,
    key: &EncryptionKey,
) -> Result<Vec<Earlier>, WorkError> {
    let found = Statement::new(statements::CONVERSATION)
        .bind(account.0.as_str())
        .bind(conversation)
        .bind(i64::from(most));
    let rows: Vec<EarlierRow> = db.all(found).await?;
    let earlier = |row: EarlierRow| {
        Ok(Earlier {
            transfer: row.row.transfer(key)?,
            transcript: row.transcript,
        })
    };
    rows.into_iter().map(earlier).collect()
}

pub(super) async fn put(db: &mut Db<'_>, at: &Key, transcript: &str) -> Result<(), sqlx::Error> {
    let put = Statement::new(statements::PUT_TRANSCRIPT)
        .bind(at.account.as_str())
        .bind(at.id.as_str())
        .bind(transcript);
    db.execute(put).await.map(|_| ())
}
