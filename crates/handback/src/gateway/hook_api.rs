//! What agents ask beside their link, on the API's listener: the outputContext over REST, for
//! frameworks that hide the socket, and the one request of Twilio's REST interface that ends a call.
//! Each is proved with the call's own secret, and good for this call only.

use std::sync::Arc;
use std::time::Duration;

use agent_hook::CallUpdate;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call_control::transfer::OutputContext;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use transfer_api::ApiState;

use super::live_calls::{CallHandle, Order};
use super::shared::Shared;

/// The longest body: 64 kB of variables with their escapes.
const MAX_BODY: usize = 256 * 1024;
/// How long a call may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The API's router, with what agents ask.
pub(super) fn beside(api: ApiState, shared: &Arc<Shared>) -> Router {
    transfer_api::router(api).merge(router(Arc::clone(shared)))
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/calls/{call}/output-context", post(output_context))
        .route(
            "/2010-04-01/Accounts/{account}/Calls/{call}",
            post(call_update),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(shared)
}

/// `POST /v1/calls/{callSid}/output-context`: the body is an outputContext.
async fn output_context(
    State(shared): State<Arc<Shared>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(call) = proved(&shared, &sid, &headers) else {
        return unauthorized();
    };
    let context: Map<String, Value> = match serde_json::from_slice(&body) {
        Ok(context) => context,
        Err(error) => {
            let problem = format!("not a JSON object: {error}");
            return answer(StatusCode::BAD_REQUEST, &problem);
        }
    };
    // the object itself, or as hook.complete has it
    let context = match context.get("outputContext") {
        Some(Value::Object(context)) => context.clone(),
        Some(_) | None => context,
    };
    match agent_hook::output_context(context) {
        Ok(output) => match complete(&call, output).await {
            Ok(()) => Json(json!({ "accepted": true })).into_response(),
            Err((status, problem)) => answer(status, &problem),
        },
        Err(problem) => answer(StatusCode::UNPROCESSABLE_ENTITY, &problem),
    }
}

/// `POST /2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}.json`.
async fn call_update(
    State(shared): State<Arc<Shared>>,
    Path((account, call)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(sid) = call.strip_suffix(".json") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let call = match proved(&shared, sid, &headers) {
        Some(call) if call.account_sid() == account => call,
        Some(_) | None => return unauthorized(),
    };
    let update = match CallUpdate::from_form(&form(&body)) {
        Ok(update) => update,
        Err(error) => return answer(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let done = match update {
        CallUpdate::Completed if call.order(Order::AgentHangUp) => Ok("completed"),
        CallUpdate::Completed => Err(busy()),
        CallUpdate::Transfer(output) => complete(&call, output).await.map(|()| "in-progress"),
    };
    match done {
        Ok(status) => {
            let body = json!({ "sid": sid, "account_sid": account, "status": status });
            Json(body).into_response()
        }
        Err((status, problem)) => answer(status, &problem),
    }
}

async fn complete(call: &CallHandle, output: OutputContext) -> Result<(), (StatusCode, String)> {
    let (told, answered) = oneshot::channel();
    let order = Order::Complete {
        output: Box::new(output),
        answer: told,
    };
    if !call.order(order) {
        return Err(busy());
    }
    match tokio::time::timeout(ANSWER_WITHIN, answered).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(problem))) => Err((StatusCode::CONFLICT, problem)),
        Ok(Err(_)) => Err((StatusCode::CONFLICT, "the call is over".to_owned())),
        Err(_elapsed) => Err(busy()),
    }
}

fn busy() -> (StatusCode, String) {
    let problem = "the call is busy, or over".to_owned();
    (StatusCode::SERVICE_UNAVAILABLE, problem)
}

/// The call, if the request proves to come from its agent: `Bearer hookToken`, or
/// `Basic AccountSid:hookToken`. A call that does not exist is not told from a wrong secret.
fn proved(shared: &Shared, sid: &str, headers: &HeaderMap) -> Option<CallHandle> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let call = shared.live.by_sid(sid)?;
    let (scheme, value) = given.split_once(' ')?;
    let good = if scheme.eq_ignore_ascii_case("bearer") {
        call.is_token(value.trim())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(value.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (user, token) = decoded.split_once(':')?;
        call.is_token(token) & (user == call.account_sid())
    } else {
        false
    };
    good.then_some(call)
}

fn form(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        let bytes = percent_encoding::percent_decode_str(&spaced);
        bytes.decode_utf8_lossy().into_owned()
    };
    text.split('&')
        .filter(|field| !field.is_empty())
        .map(|field| field.split_once('=').unwrap_or((field, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn unauthorized() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"handback\"")];
    let problem = "no such call, or not its token";
    (challenge, answer(StatusCode::UNAUTHORIZED, problem)).into_response()
}

/// Both as this gateway says it and under the name that Twilio's libraries look for.
fn answer(status: StatusCode, problem: &str) -> Response {
    let body = json!({ "accepted": false, "error": problem, "message": problem });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_fields_are_decoded() {
        let fields = form(b"Status=completed&Twiml=%3CResponse%3E+a&empty");
        assert_eq!(
            fields,
            [
                ("Status".to_owned(), "completed".to_owned()),
                ("Twiml".to_owned(), "<Response> a".to_owned()),
                ("empty".to_owned(), String::new()),
            ]
        );
    }
}
