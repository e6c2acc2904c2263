//! What the databases share: statements, rows, and the work that is done inside a transaction.

mod conversation;
mod db;
mod lists;
mod live;
mod rows;
mod statements;
mod work;

pub(crate) use conversation::conversation;
pub(crate) use db::Db;
pub(crate) use lists::{call, calls, transfers};
pub(crate) use rows::{BadColumn, NewRow, output_json};
pub(crate) use work::{Done, Key, Owner, PORTION, Work, WorkError, fetch};

use crate::vault::EncryptionKey;

const KEY_CHECK: &str = "key-check";

/// Whether a database knows its key already: not the first time it is opened.
pub(crate) async fn has_key(db: &mut Db<'_>) -> Result<bool, sqlx::Error> {
    Ok(db.fact(KEY_CHECK).await?.is_some())
}

/// Whether this is the key that the database was made with: a text sealed with it tells. A new
/// database takes it.
pub(crate) async fn is_its_key(db: &mut Db<'_>, key: &EncryptionKey) -> Result<bool, sqlx::Error> {
    if db.fact(KEY_CHECK).await?.is_none()
        && let Some(sealed) = key.seal(KEY_CHECK.as_bytes(), KEY_CHECK.as_bytes())
    {
        db.set_fact(KEY_CHECK, sealed).await?;
    }
    // Read again: another node may have been quicker.
    let sealed = db.fact(KEY_CHECK).await?;
    Ok(sealed.is_some_and(|sealed| key.open(&sealed, KEY_CHECK.as_bytes()).is_some()))
}
