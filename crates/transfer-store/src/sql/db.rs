//! One way to speak to either database: a statement with its values, and rows that both can give.

use std::borrow::Cow;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, SqliteConnection};
use timebase::UnixMillis;

use super::statements;

/// A connection, or a transaction on one.
pub(crate) enum Db<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

/// SQL with numbered places, and what stands in them.
pub(crate) struct Statement {
    sql: Cow<'static, str>,
    values: Vec<Value>,
}

pub(crate) enum Value {
    Text(Option<String>),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl Statement {
    pub(crate) const fn new(sql: &'static str) -> Self {
        Self {
            sql: Cow::Borrowed(sql),
            values: Vec::new(),
        }
    }

    /// The value of the next place.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// More SQL of our own.
    pub(crate) fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.to_mut().push_str(sql);
        self
    }

    /// A place with its value.
    pub(crate) fn place(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let number = self.values.len();
        self.push(&format!("${number}"))
    }
}

/// A row that either database can give.
pub(crate) trait FromEither:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> FromEither for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

macro_rules! filled {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
            };
        }
        query
    }};
}

impl Db<'_> {
    /// How many rows it changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        let sql = AssertSqlSafe(statement.sql);
        Ok(match self {
            Self::Sqlite(db) => filled!(sqlx::query(sql), statement.values)
                .execute(&mut **db)
                .await?
                .rows_affected(),
            Self::Postgres(db) => filled!(sqlx::query(sql), statement.values)
                .execute(&mut **db)
                .await?
                .rows_affected(),
        })
    }

    pub(crate) async fn all<T: FromEither>(
        &mut self,
        statement: Statement,
    ) -> Result<Vec<T>, sqlx::Error> {
        let sql = AssertSqlSafe(statement.sql);
        match self {
            Self::Sqlite(db) => {
                let query = filled!(sqlx::query_as(sql), statement.values);
                query.fetch_all(&mut **db).await
            }
            Self::Postgres(db) => {
                let query = filled!(sqlx::query_as(sql), statement.values);
                query.fetch_all(&mut **db).await
            }
        }
    }

    pub(crate) async fn one<T: FromEither>(
        &mut self,
        statement: Statement,
    ) -> Result<Option<T>, sqlx::Error> {
        Ok(self.all(statement).await?.pop())
    }

    /// The time by which leases count: of several nodes' clocks none is right, so the database's is.
    pub(crate) async fn clock(&mut self, own: UnixMillis) -> Result<UnixMillis, sqlx::Error> {
        match self {
            Self::Sqlite(_) => Ok(own),
            Self::Postgres(_) => {
                let now: Option<(i64,)> = self.one(Statement::new(statements::CLOCK)).await?;
                Ok(now.map_or(own, |(now,)| UnixMillis(now)))
            }
        }
    }

    /// One node at a time takes over what others left. SQLite has one writer anyway.
    pub(crate) async fn take_turns(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(_) => {
                let turns = Statement::new(statements::TAKE_TURNS);
                self.execute(turns).await.map(|_| ())
            }
        }
    }

    /// Whether no other process can have the database open.
    pub(crate) const fn is_one_process(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// A statement that gives a claim its fence.
    pub(crate) const fn fencing(&self, sqlite: &'static str, postgres: &'static str) -> Statement {
        match self {
            Self::Sqlite(_) => Statement::new(sqlite),
            Self::Postgres(_) => Statement::new(postgres),
        }
    }

    pub(super) async fn fact(&mut self, name: &str) -> Result<Option<String>, sqlx::Error> {
        let value: Option<(String,)> = self
            .one(Statement::new(statements::FACT).bind(name))
            .await?;
        Ok(value.map(|(value,)| value))
    }

    pub(super) async fn set_fact(&mut self, name: &str, value: String) -> Result<(), sqlx::Error> {
        let set = Statement::new(statements::SET_FACT).bind(name).bind(value);
        self.execute(set).await.map(|_| ())
    }
}
