//! The REST contract: customers register call transfers and fetch what became of them.
//!
//! [`router`] serves it, and [`admin_router`] what operators ask, over a [`Store`], with the OpenAPI document at `/openapi.json` and a page to
//! browse it at `/docs`, both without any other server. Accounts, own addresses and whether the node
//! is draining come in through watch channels, so that a reload takes effect at the next request.

pub mod accounts;
mod admin;
mod answer;
mod auth;
mod body;
mod document;
mod failure;
mod json;
pub mod keys;
mod registration;
mod return_uri;
mod routes;
pub mod targets;

use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::sync::watch;
use transfer_store::Store;

pub use accounts::{Account, Accounts, AccountsError, ApiKey};
pub use admin::{
    AdminState, CallMedia, CallOrder, Ladder, LadderLine, LegMedia, LiveCall, LiveCalls, NodeOrder,
    RemoteMedia, TrunkShown, admin_router, whole_milliseconds,
};
pub use routes::router;
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
    /// True while the node takes no new transfers (503); fetching goes on.
    pub draining: watch::Receiver<bool>,
    /// Requests per second and API key.
    pub rate_limit: NonZeroU32,
    /// Bytes of a request's body; more is answered with 413.
    pub body_limit: usize,
}

/// The largest body unless configured otherwise: 1 MiB.
pub const BODY_LIMIT: usize = 1024 * 1024;
