//! The requests of the contract.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use call_control::transfer::TransferId;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{debug, error};
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use crate::ApiState;
use crate::admin::AdminDocument;
use crate::answer::Answer;
use crate::auth::{Asker, Authenticator};
use crate::document::{Document, Registration};
use crate::failure::{ErrorBody, Failure};
use crate::{body, registration};

const COLLECTION: &str = "/generativeagent/v1/call-transfers";
const ONE: &str = "/generativeagent/v1/call-transfers/{id}";

#[derive(Debug)]
pub(crate) struct Api {
    state: ApiState,
    authenticator: Authenticator,
    rates: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
}

/// The API, ready to be served.
pub fn router(state: ApiState) -> Router {
    let api = Api {
        authenticator: Authenticator::new(state.accounts.clone()),
        rates: RateLimiter::keyed(Quota::per_second(state.rate_limit)),
        clock: DefaultClock::default(),
        state,
    };
    Router::new()
        .route(COLLECTION, post(register))
        .route(ONE, get(fetch))
        .with_state(Arc::new(api))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document()))
        .method_not_allowed_fallback(async || Failure::MethodNotAllowed)
        .fallback(async || Failure::UnknownPath)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(measure))
}

impl Api {
    /// Who asks, within its rate.
    async fn admit(&self, headers: &HeaderMap) -> Result<Asker, Failure> {
        let asker = self.authenticator.check(headers).await?;
        match self.rates.check_key(&asker.key_id) {
            Ok(()) => Ok(asker),
            Err(not_until) => Err(Failure::TooMany(not_until.wait_time_from(self.clock.now()))),
        }
    }
}

/// What both listeners serve, in one document.
fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.merge(AdminDocument::openapi());
    document
}

/// Registers a call transfer. When this is answered with 200, the transfer survives a crash.
#[utoipa::path(
    post,
    tag = "call transfers",
    path = "/generativeagent/v1/call-transfers",
    request_body = Registration,
    responses(
        (status = 200, description = "Stored, ACTIVE", body = Answer),
        (status = 400, description = "Not JSON, or a field is missing or of a wrong type", body = ErrorBody),
        (status = 401, description = "The key is missing or wrong", body = ErrorBody),
        (status = 403, description = "The API is not enabled for the key", body = ErrorBody),
        (status = 409, description = "The id is already persisted", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 422, description = "Well formed but against a rule", body = ErrorBody),
        (status = 429, description = "Too many requests with this key", body = ErrorBody),
        (status = 503, description = "Not possible at this time; nothing half done", body = ErrorBody),
    )
)]
pub(crate) async fn register(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<Answer>, Failure> {
    let asker = api.admit(request.headers()).await?;
    if *api.state.draining.borrow() {
        return Err(Failure::Draining);
    }
    let body = body::read(request.into_body(), api.state.body_limit).await?;
    let own = api.state.own.borrow().clone();
    let new = registration::read(&body, &asker.account, &own)?;
    let stored = api.state.store.register(new).await?;
    Ok(Json(Answer::of(stored)))
}

/// Fetches a call transfer and, when there is one, its result.
#[utoipa::path(
    get,
    tag = "call transfers",
    path = "/generativeagent/v1/call-transfers/{id}",
    params(("id" = String, Path, description = "The customer's id, percent-encoded once")),
    responses(
        (status = 200, description = "The call transfer", body = Answer),
        (status = 401, description = "The key is missing or wrong", body = ErrorBody),
        (status = 403, description = "The API is not enabled for the key", body = ErrorBody),
        (status = 404, description = "The account has no such call transfer", body = ErrorBody),
        (status = 429, description = "Too many requests with this key", body = ErrorBody),
        (status = 503, description = "Not possible at this time", body = ErrorBody),
    )
)]
pub(crate) async fn fetch(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Answer>, Failure> {
    let asker = api.admit(&headers).await?;
    let Ok(Path(id)) = id else {
        return Err(Failure::UnknownTransfer);
    };
    let found = api
        .state
        .store
        .fetch(&asker.account.id, &TransferId(id))
        .await?;
    found
        .map(|transfer| Json(Answer::of(transfer)))
        .ok_or(Failure::UnknownTransfer)
}

#[allow(clippy::needless_pass_by_value, reason = "the layer hands it over so")]
fn panicked(what: Box<dyn Any + Send>) -> Response {
    let text = what.downcast_ref::<String>().map(String::as_str);
    let said = text.or_else(|| what.downcast_ref::<&str>().copied());
    error!(panic = said, "serving a request panicked");
    Failure::Internal.into_response()
}

async fn measure(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", |path| match path.as_str() {
            COLLECTION => "call-transfers",
            ONE => "call-transfers/{id}",
            _ => "other",
        });
    let method = if request.method() == axum::http::Method::POST {
        "POST"
    } else {
        "GET"
    };
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let labels = [
        ("route", route.to_owned()),
        ("method", method.to_owned()),
        ("status", status.to_string()),
    ];
    metrics::counter!("handback_api_requests_total", &labels).increment(1);
    metrics::histogram!("handback_api_request_seconds", "route" => route)
        .record(begun.elapsed().as_secs_f64());
    debug!(method, route, status, "request served");
    response
}
