//! The finished transfers of a conversation, in SQLite.

use call_control::transfer::{AccountId, TransferId};
use sqlx::SqliteConnection;

use super::rows::Row;
use super::work::{Key, Work};
use super::{Sqlite, unreadable};
use crate::conversation::Earlier;
use crate::types::Unavailable;

const CONVERSATION: &str = "
    SELECT account, id, conversation, sip, credentials, input, status, created_at, expires_at,
           call_received_at, completed_at, output, fence, transcript
    FROM transfer
    WHERE account = $1 AND conversation = $2 AND status = 'COMPLETED'
          AND (output IS NOT NULL OR transcript IS NOT NULL)
    ORDER BY created_at DESC LIMIT $3";

const PUT_TRANSCRIPT: &str = "UPDATE transfer SET transcript = $3 WHERE account = $1 AND id = $2";

#[derive(sqlx::FromRow)]
struct EarlierRow {
    #[sqlx(flatten)]
    row: Row,
    transcript: Option<String>,
}

impl Sqlite {
    pub(crate) async fn conversation(
        &self,
        account: &AccountId,
        conversation: &str,
        most: u32,
    ) -> Result<Vec<Earlier>, Unavailable> {
        let query = sqlx::query_as::<_, EarlierRow>(CONVERSATION)
            .bind(&account.0)
            .bind(conversation)
            .bind(i64::from(most))
            .fetch_all(&self.readers);
        let rows = self.read(query).await?;
        let earlier = |row: EarlierRow| {
            let transfer = row.row.transfer(&self.key).map_err(unreadable)?;
            Ok(Earlier {
                transfer,
                transcript: row.transcript,
            })
        };
        rows.into_iter().map(earlier).collect()
    }

    pub(crate) async fn put_transcript(
        &self,
        account: &AccountId,
        id: &TransferId,
        transcript: String,
    ) -> Result<(), Unavailable> {
        let key = Key::of(account, id);
        self.write(Work::Transcript { key, transcript })
            .await
            .map(|_| ())
    }
}

pub(super) async fn put(
    db: &mut SqliteConnection,
    at: &Key,
    transcript: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(PUT_TRANSCRIPT)
        .bind(&at.account)
        .bind(&at.id)
        .bind(transcript)
        .execute(db)
        .await
        .map(|_| ())
}
