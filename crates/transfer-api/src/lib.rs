//! The REST contract.

pub mod accounts;
pub mod keys;
pub mod targets;

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use tokio::sync::watch;
use transfer_store::Store;

pub use accounts::{Account, Accounts, AccountsError, ApiKey};
pub use targets::{OwnAddresses, ReturnTarget, TargetRules};

/// What the API works with.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// Where transfers are kept.
    pub store: Store,
    /// The accounts at this time; a reload sends new ones.
    pub accounts: watch::Receiver<Arc<Accounts>>,
    /// The addresses of this gateway.
    pub own: watch::Receiver<Arc<OwnAddresses>>,
    /// True while the node takes no new transfers; fetching goes on.
    pub draining: watch::Receiver<bool>,
    /// Requests per second and API key.
    pub rate_limit: NonZeroU32,
    /// Bytes of a request's body.
    pub body_limit: usize,
}

/// The largest body unless configured otherwise: 1 MiB.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// The API, ready to be served.
pub fn router(state: ApiState) -> Router {
    let _ = state;
    Router::new()
}
