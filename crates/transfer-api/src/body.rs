//! Reading a request's body within its limits.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::failure::Failure;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read past the limit and thrown away, so that the client hears the answer and not a reset.
const THROWN_AWAY: usize = 8 * 1024 * 1024;

/// The whole body, or [`Failure::TooLarge`].
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Failure> {
    let late = |_| Failure::Malformed("the body did not arrive in time".to_owned());
    timeout(PATIENCE, collect(body, limit))
        .await
        .map_err(late)?
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Failure> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| Failure::Malformed("the body did not arrive whole".to_owned()))?;
        seen += chunk.len();
        if seen <= limit {
            kept.extend_from_slice(&chunk);
        } else if seen - limit > THROWN_AWAY {
            break;
        } else {
            kept = Vec::new();
        }
    }
    if seen > limit {
        Err(Failure::TooLarge(limit))
    } else {
        Ok(kept.into())
    }
}
