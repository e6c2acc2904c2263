//! The admin API: live calls, recent transfers, one call in full, and orders to calls and to the node.
//!
//! It reads snapshots and rows and posts orders; it never touches live state.

mod cursor;
#[allow(unused_qualifications, reason = "utoipa's expansion of params")]
mod lists;
mod quality;
mod shown;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use call_control::transfer::{AccountId, TransferId};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot};
use transfer_store::{CallFilter, Store};
use utoipa::OpenApi;

use crate::failure::{ErrorBody, Failure};
pub use quality::{CallMedia, LegMedia, RemoteMedia};
pub use shown::{Ladder, LadderLine, LiveCall, TrunkShown, whole_milliseconds};
use shown::{OneTransfer, Shown};

/// Transfers of a conversation among which that one is looked for that the transcript is of.
const OF_A_CONVERSATION: u32 = 100;
/// Calls of one transfer that are shown with it.
const CALLS_OF_A_TRANSFER: u32 = 50;
/// How long a reload may take.
const RELOAD_WITHIN: Duration = Duration::from_secs(30);

/// The calls of this node: snapshots out, orders in.
pub trait LiveCalls: fmt::Debug + Send + Sync {
    /// Snapshots of all of them.
    fn all(&self) -> Vec<LiveCall>;
    /// The snapshot of one.
    fn one(&self, call: &str) -> Option<LiveCall>;
    /// The trunks as they stand.
    fn trunks(&self) -> Vec<TrunkShown>;
    /// What was said in SIP for the call whose INVITE had this Call-ID; none where it is not known any more.
    fn ladder(&self, sip_call_id: &str) -> Option<Ladder>;
    /// Posts an order; false where the call is over or has an order waiting.
    fn order(&self, call: &str, order: CallOrder) -> bool;
}

/// What an operator asks of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOrder {
    /// End it on both sides.
    HangUp,
    /// Hand it back as if its agent were lost.
    HandBack,
}

/// What an operator asks of the node.
#[derive(Debug)]
pub enum NodeOrder {
    /// Take no more calls, let those that are there end, then end.
    Drain,
    /// Read the configuration anew; the answer says what is wrong with it.
    Reload(oneshot::Sender<Result<(), String>>),
}

/// What the admin API works with.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Where transfers and records of calls are kept.
    pub store: Store,
    /// The calls of this node.
    pub live: Arc<dyn LiveCalls>,
    /// Where orders to the node go.
    pub node: mpsc::Sender<NodeOrder>,
    /// The bearer token; none on loopback only.
    pub token: Option<Arc<SecretString>>,
}

/// The part of the OpenAPI document that describes the admin listener.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(
        lists::live,
        lists::trunks,
        one_call,
        ladder,
        hang_up,
        hand_back,
        lists::records,
        lists::transfers,
        one_transfer,
        drain,
        reload
    ),
    components(schemas(ErrorBody)),
    tags((name = "admin", description = "On the admin listener, with its bearer token"))
)]
pub(crate) struct AdminDocument;

/// The admin API, ready to be served on a listener of its own.
pub fn admin_router(state: AdminState) -> Router {
    Router::new()
        .route("/calls", get(lists::live))
        .route("/calls/{call}", get(one_call))
        .route("/calls/{call}/ladder", get(ladder))
        .route("/calls/{call}/hang-up", post(hang_up))
        .route("/calls/{call}/hand-back", post(hand_back))
        .route("/records", get(lists::records))
        .route("/transfers", get(lists::transfers))
        .route("/trunks", get(lists::trunks))
        .route("/transfers/{account}/{id}", get(one_transfer))
        .route("/drain", post(drain))
        .route("/reload", post(reload))
        .layer(from_fn_with_state(state.clone(), authorized))
        .with_state(state)
}

async fn authorized(State(admin): State<AdminState>, request: Request, next: Next) -> Response {
    if is_authorized(&admin, request.headers()) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (challenge, Failure::NoToken).into_response()
}

fn is_authorized(admin: &AdminState, headers: &HeaderMap) -> bool {
    let Some(token) = &admin.token else {
        return true;
    };
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    given
        .as_bytes()
        .ct_eq(token.expose_secret().as_bytes())
        .into()
}

/// One call in full: live, or over.
#[utoipa::path(
    get,
    tag = "admin",
    path = "/calls/{call}",
    params(("call" = String, Path, description = "The gateway's id of the call")),
    responses(
        (status = 200, description = "The call", body = Shown),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "No such call", body = ErrorBody),
        (status = 503, description = "Not possible at this time", body = ErrorBody),
    )
)]
async fn one_call(
    State(admin): State<AdminState>,
    Path(call): Path<String>,
) -> Result<Json<Shown>, Failure> {
    if let Some(live) = admin.live.one(&call) {
        return Ok(Json(Shown::Live(Box::new(live))));
    }
    let record = admin.store.call(&call).await?;
    let record = record.ok_or(Failure::UnknownCall)?;
    Ok(Json(Shown::over(record)))
}

/// What was said in SIP for a call, live or over; the latest calls of this node are remembered.
#[utoipa::path(
    get,
    tag = "admin",
    path = "/calls/{call}/ladder",
    params(("call" = String, Path, description = "The gateway's id of the call")),
    responses(
        (status = 200, description = "Its messages", body = Ladder),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "No such call, or too long ago", body = ErrorBody),
        (status = 503, description = "Not possible at this time", body = ErrorBody),
    )
)]
async fn ladder(
    State(admin): State<AdminState>,
    Path(call): Path<String>,
) -> Result<Json<Ladder>, Failure> {
    let sip_call_id = match admin.live.one(&call) {
        Some(live) => Some(live.sip_call_id),
        None => {
            let record = admin.store.call(&call).await?;
            record.as_ref().and_then(shown::sip_call_id)
        }
    };
    let ladder = sip_call_id.and_then(|id| admin.live.ladder(&id));
    ladder.map(Json).ok_or(Failure::UnknownCall)
}

/// Ends a live call on both sides.
#[utoipa::path(
    post,
    tag = "admin",
    path = "/calls/{call}/hang-up",
    params(("call" = String, Path, description = "The gateway's id of the call")),
    responses(
        (status = 202, description = "The call is told"),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "No such live call", body = ErrorBody),
        (status = 409, description = "The call is over or busy with another order", body = ErrorBody),
    )
)]
async fn hang_up(
    State(admin): State<AdminState>,
    Path(call): Path<String>,
) -> Result<StatusCode, Failure> {
    order(&admin, &call, CallOrder::HangUp)
}

/// Hands a live call back now, as if its agent were lost.
#[utoipa::path(
    post,
    tag = "admin",
    path = "/calls/{call}/hand-back",
    params(("call" = String, Path, description = "The gateway's id of the call")),
    responses(
        (status = 202, description = "The call is told"),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "No such live call", body = ErrorBody),
        (status = 409, description = "The call is over or busy with another order", body = ErrorBody),
    )
)]
async fn hand_back(
    State(admin): State<AdminState>,
    Path(call): Path<String>,
) -> Result<StatusCode, Failure> {
    order(&admin, &call, CallOrder::HandBack)
}

fn order(admin: &AdminState, call: &str, order: CallOrder) -> Result<StatusCode, Failure> {
    if admin.live.one(call).is_none() {
        return Err(Failure::UnknownCall);
    }
    if admin.live.order(call, order) {
        Ok(StatusCode::ACCEPTED)
    } else {
        Err(Failure::CallBusy)
    }
}

/// A transfer with every call that came for it.
#[utoipa::path(
    get,
    tag = "admin",
    path = "/transfers/{account}/{id}",
    params(
        ("account" = String, Path, description = "The account"),
        ("id" = String, Path, description = "The customer's id, percent-encoded once"),
    ),
    responses(
        (status = 200, description = "The transfer and its calls", body = OneTransfer),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 404, description = "No such transfer", body = ErrorBody),
        (status = 503, description = "Not possible at this time", body = ErrorBody),
    )
)]
async fn one_transfer(
    State(admin): State<AdminState>,
    Path((account, id)): Path<(String, String)>,
) -> Result<Json<OneTransfer>, Failure> {
    let (account, id) = (AccountId(account), TransferId(id));
    let transfer = admin.store.fetch(&account, &id).await?;
    let transfer = transfer.ok_or(Failure::UnknownTransfer)?;
    let conversation = &transfer.registered.external_conversation_id;
    let others = admin
        .store
        .conversation(&account, conversation, OF_A_CONVERSATION);
    let transcript = others
        .await?
        .into_iter()
        .find(|it| it.transfer.registered.id == id)
        .and_then(|it| it.transcript);
    let live = admin.live.all().into_iter();
    let live: Vec<Shown> = live
        .filter(|call| call.account == account && call.transfer == id)
        .map(|live| Shown::Live(Box::new(live)))
        .collect();
    let filter = CallFilter {
        account: Some(account),
        transfer: Some(id),
        limit: CALLS_OF_A_TRANSFER,
        ..CallFilter::default()
    };
    let over = admin.store.calls(&filter).await?;
    let calls = live
        .into_iter()
        .chain(over.into_iter().map(Shown::over))
        .collect();
    Ok(Json(OneTransfer::of(
        transfer,
        transcript.as_deref(),
        calls,
    )))
}

/// Drains the node, as SIGTERM does: it ends when its calls have.
#[utoipa::path(
    post,
    tag = "admin",
    path = "/drain",
    responses(
        (status = 202, description = "The node drains"),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
    )
)]
async fn drain(State(admin): State<AdminState>) -> Result<StatusCode, Failure> {
    admin
        .node
        .try_send(NodeOrder::Drain)
        .map(|()| StatusCode::ACCEPTED)
        .map_err(|_| Failure::Internal)
}

/// Reads the configuration anew, as SIGHUP does; a wrong one is refused and the old one stays.
#[utoipa::path(
    post,
    tag = "admin",
    path = "/reload",
    responses(
        (status = 204, description = "The new configuration is in force"),
        (status = 401, description = "The token is missing or wrong", body = ErrorBody),
        (status = 422, description = "The configuration is wrong; the message says where", body = ErrorBody),
    )
)]
async fn reload(State(admin): State<AdminState>) -> Result<StatusCode, Failure> {
    let (answer, answered) = oneshot::channel();
    admin
        .node
        .try_send(NodeOrder::Reload(answer))
        .map_err(|_| Failure::Internal)?;
    match tokio::time::timeout(RELOAD_WITHIN, answered).await {
        Ok(Ok(Ok(()))) => Ok(StatusCode::NO_CONTENT),
        Ok(Ok(Err(problems))) => Err(Failure::Refused(problems)),
        Ok(Err(_)) | Err(_) => Err(Failure::Internal),
    }
}
