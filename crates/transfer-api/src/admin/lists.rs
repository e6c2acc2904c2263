//! The lists of the admin API, with their filters and pages.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use call_control::transfer::{AccountId, Status, TransferId};
use serde::{Deserialize, Serialize};
use timebase::UnixMillis;
use transfer_store::{CallFilter, TransferFilter};
use utoipa::{IntoParams, ToSchema};

use super::shown::{LiveCall, OverCall, TransferShown, TrunkShown};
use super::{AdminState, cursor};
use crate::document;
use crate::failure::{ErrorBody, Failure};

const USUAL_LIMIT: u32 = 100;
const MOST: u32 = 1000;

/// Which live calls.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LiveQuery {
    /// Of this account.
    account: Option<String>,
    /// Over this trunk.
    trunk: Option<String>,
    /// In this phase.
    phase: Option<String>,
    /// How many at most; without it, all.
    limit: Option<u32>,
    /// How many of the oldest to leave out.
    skip: Option<u32>,
}

/// The live calls of this node, the oldest first.
#[utoipa::path(
    get,
    tag = "admin",
    path = "/calls",
    params(LiveQuery),
    responses(
        (status = 200, description = "The calls", body = [LiveCall]),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
    )
)]
pub(super) async fn live(
    State(admin): State<AdminState>,
    query: Result<Query<LiveQuery>, QueryRejection>,
) -> Result<Json<Vec<LiveCall>>, Failure> {
    let query = read(query)?;
    let asked = |call: &LiveCall| {
        is(query.account.as_deref(), call.account.as_str())
            && is(query.trunk.as_deref(), &call.trunk)
            && is(query.phase.as_deref(), call.phase)
    };
    let mut calls: Vec<LiveCall> = admin.live.all().into_iter().filter(asked).collect();
    calls.sort_by(|a, b| (a.arrived_at, &a.call).cmp(&(b.arrived_at, &b.call)));
    let skip = usize::try_from(query.skip.unwrap_or(0)).unwrap_or(usize::MAX);
    let limit = query.limit.map_or(Ok(usize::MAX), usize::try_from);
    let page = calls.into_iter().skip(skip);
    Ok(Json(page.take(limit.unwrap_or(usize::MAX)).collect()))
}

/// The trunks, with their calls and whether their outbound proxies answer.
#[utoipa::path(
    get,
    tag = "admin",
    path = "/trunks",
    responses(
        (status = 200, description = "The trunks", body = [TrunkShown]),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
    )
)]
pub(super) async fn trunks(State(admin): State<AdminState>) -> Json<Vec<TrunkShown>> {
    Json(admin.live.trunks())
}

/// Which calls that are over.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordQuery {
    /// Of this account.
    account: Option<String>,
    /// Of this transfer; only together with the account.
    transfer: Option<String>,
    /// Over this trunk.
    trunk: Option<String>,
    /// With this outcome: `handed_back`, `caller_hangup`, …
    outcome: Option<String>,
    /// How many at most, 1 to 1000; 100 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// A page of calls that are over.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordPage {
    records: Vec<OverCall>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Calls that are over, the latest first.
#[utoipa::path(
    get,
    tag = "admin",
    path = "/records",
    params(RecordQuery),
    responses(
        (status = 200, description = "A page of calls", body = RecordPage),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 503, description = "Not possible at this time", body = ErrorBody),
    )
)]
pub(super) async fn records(
    State(admin): State<AdminState>,
    query: Result<Query<RecordQuery>, QueryRejection>,
) -> Result<Json<RecordPage>, Failure> {
    let query = read(query)?;
    let limit = limit(query.limit)?;
    let after: Option<(i64, String)> = place(query.after.as_deref())?;
    let filter = CallFilter {
        account: query.account.map(AccountId),
        transfer: query.transfer.map(TransferId),
        trunk: query.trunk,
        outcome: query.outcome,
        after: after.map(|(ended, call)| (UnixMillis(ended), call)),
        limit,
    };
    let found = admin.store.calls(&filter).await?;
    let last = found
        .last()
        .filter(|_| is_full(found.len(), limit))
        .and_then(|last| cursor::write(&(last.ended_at.0, &last.call)));
    Ok(Json(RecordPage {
        records: found.into_iter().map(OverCall::of).collect(),
        next: last,
    }))
}

/// Which transfers.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TransferQuery {
    /// Of this account.
    account: Option<String>,
    /// Of this conversation; only together with the account.
    conversation: Option<String>,
    /// In this status.
    #[param(value_type = Option<document::Status>)]
    status: Option<Status>,
    /// How many at most, 1 to 1000; 100 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// A page of transfers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TransferPage {
    transfers: Vec<TransferShown>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Transfers of all accounts, the latest registration first.
#[utoipa::path(
    get,
    tag = "admin",
    path = "/transfers",
    params(TransferQuery),
    responses(
        (status = 200, description = "A page of transfers", body = TransferPage),
        (status = 400, description = "A parameter is wrong", body = ErrorBody),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 503, description = "Not possible at this time", body = ErrorBody),
    )
)]
pub(super) async fn transfers(
    State(admin): State<AdminState>,
    query: Result<Query<TransferQuery>, QueryRejection>,
) -> Result<Json<TransferPage>, Failure> {
    let query = read(query)?;
    let limit = limit(query.limit)?;
    let after: Option<(i64, String, String)> = place(query.after.as_deref())?;
    let filter = TransferFilter {
        account: query.account.map(AccountId),
        conversation: query.conversation,
        status: query.status,
        after: after.map(|(created, account, id)| {
            (UnixMillis(created), AccountId(account), TransferId(id))
        }),
        limit,
    };
    let found = admin.store.transfers(&filter).await?;
    let next = found
        .last()
        .filter(|_| is_full(found.len(), limit))
        .and_then(|last| {
            let registered = &last.registered;
            cursor::write(&(last.created_at.0, &registered.account, &registered.id))
        });
    Ok(Json(TransferPage {
        transfers: found.into_iter().map(TransferShown::of).collect(),
        next,
    }))
}

fn read<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Failure> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(why) => Err(Failure::Malformed(why.body_text())),
    }
}

fn limit(asked: Option<u32>) -> Result<u32, Failure> {
    match asked.unwrap_or(USUAL_LIMIT) {
        limit @ 1..=MOST => Ok(limit),
        _ => Err(Failure::Malformed(format!("limit: not 1 to {MOST}"))),
    }
}

fn place<T: serde::de::DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, Failure> {
    text.map(|text| {
        cursor::read(text).ok_or_else(|| Failure::Malformed("after: no `next` of ours".to_owned()))
    })
    .transpose()
}

fn is_full(found: usize, limit: u32) -> bool {
    usize::try_from(limit).is_ok_and(|limit| found >= limit)
}

fn is(asked: Option<&str>, value: &str) -> bool {
    asked.is_none_or(|asked| asked == value)
}
