//! What goes wrong, as the contract's error form.

use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::{info, warn};
use transfer_store::{RegisterError, Unavailable};
use utoipa::ToSchema;
use uuid::Uuid;

/// Why a request is not answered with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Not JSON, or a field is missing or of a wrong type; the message names it.
    Malformed(String),
    Unauthorized,
    /// The admin token is missing or wrong.
    NoToken,
    Disabled,
    UnknownTransfer,
    UnknownCall,
    UnknownPath,
    MethodNotAllowed,
    Duplicate,
    /// The call is over or has an order waiting.
    CallBusy,
    TooLarge(usize),
    /// Well formed but against a rule.
    Refused(String),
    TooMany(Duration),
    Internal,
    StoreUnavailable,
    Draining,
    Busy,
}

/// The body of every answer that is not 2xx.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorDetail {
    /// Names this answer in the gateway's log.
    #[schema(format = "uuid")]
    request_id: String,
    /// The status and a number under it.
    #[schema(example = "400-01")]
    code: &'static str,
    /// For people.
    message: String,
}

impl Failure {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "400-01"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "401-01"),
            Self::NoToken => (StatusCode::UNAUTHORIZED, "401-02"),
            Self::Disabled => (StatusCode::FORBIDDEN, "403-01"),
            Self::UnknownTransfer | Self::UnknownPath => (StatusCode::NOT_FOUND, "404-01"),
            Self::UnknownCall => (StatusCode::NOT_FOUND, "404-02"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "405-01"),
            Self::Duplicate => (StatusCode::CONFLICT, "409-01"),
            Self::CallBusy => (StatusCode::CONFLICT, "409-02"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "413-01"),
            Self::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "422-01"),
            Self::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "429-01"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "500-01"),
            Self::StoreUnavailable | Self::Draining | Self::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, "503-01")
            }
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Malformed(message) | Self::Refused(message) => message.clone(),
            Self::Unauthorized => "asapp-api-id or asapp-api-secret is missing or wrong".to_owned(),
            Self::NoToken => "the bearer token is missing or wrong".to_owned(),
            Self::Disabled => "the API is not enabled for this key".to_owned(),
            Self::UnknownTransfer => "no call transfer has this id".to_owned(),
            Self::UnknownCall => "no call has this id".to_owned(),
            Self::UnknownPath => "there is nothing at this path".to_owned(),
            Self::MethodNotAllowed => "this path does not take this method".to_owned(),
            Self::Duplicate => "a call transfer with this id is already persisted".to_owned(),
            Self::CallBusy => "the call is over or busy with another order".to_owned(),
            Self::TooLarge(limit) => format!("the body is larger than {limit} bytes"),
            Self::TooMany(_) => "too many requests with this key".to_owned(),
            Self::Internal => "the request could not be served".to_owned(),
            Self::StoreUnavailable => "the store is not available".to_owned(),
            Self::Draining => {
                "this node is shutting down and takes no new call transfers".to_owned()
            }
            Self::Busy => "too many requests are being authenticated".to_owned(),
        }
    }

    /// Seconds after which it is worth asking again.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany(wait) => Some(wait.as_secs_f64().ceil().max(1.0) as u64),
            Self::Draining => Some(5),
            Self::StoreUnavailable | Self::Busy => Some(1),
            Self::Malformed(_)
            | Self::Unauthorized
            | Self::NoToken
            | Self::Disabled
            | Self::UnknownTransfer
            | Self::UnknownCall
            | Self::UnknownPath
            | Self::MethodNotAllowed
            | Self::Duplicate
            | Self::CallBusy
            | Self::TooLarge(_)
            | Self::Refused(_)
            | Self::Internal => None,
        }
    }

    /// Whether the operator should look: the customer did nothing wrong.
    fn is_ours(&self) -> bool {
        match self {
            Self::Internal | Self::StoreUnavailable | Self::Busy => true,
            Self::Malformed(_)
            | Self::Unauthorized
            | Self::NoToken
            | Self::Disabled
            | Self::UnknownTransfer
            | Self::UnknownCall
            | Self::UnknownPath
            | Self::MethodNotAllowed
            | Self::Duplicate
            | Self::CallBusy
            | Self::TooLarge(_)
            | Self::Refused(_)
            | Self::TooMany(_)
            | Self::Draining => false,
        }
    }
}

fn log_failed(request_id: &str, code: &str, why: &str) {
    warn!(request_id, code, why, "request failed");
}

fn log_refused(request_id: &str, code: &str, why: &str) {
    info!(request_id, code, why, "request refused");
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let request_id = Uuid::new_v4().to_string();
        let message = self.message();
        let log = if self.is_ours() {
            log_failed
        } else {
            log_refused
        };
        log(&request_id, code, &message);
        let body = ErrorBody {
            error: ErrorDetail {
                request_id,
                code,
                message,
            },
        };
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after() {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Unavailable> for Failure {
    fn from(_: Unavailable) -> Self {
        Self::StoreUnavailable
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Duplicate => Self::Duplicate,
            RegisterError::Unavailable => Self::StoreUnavailable,
        }
    }
}
