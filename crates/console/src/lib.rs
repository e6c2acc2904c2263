//! The console: one page that shows the live calls and how the latest ended.
//!
//! The page is static; it asks the admin API for what it shows.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// The page at `/` of the admin listener.
pub fn router() -> Router {
    Router::new().route("/", get(page))
}

async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, include_str!("page.html"))
}
