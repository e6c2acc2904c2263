//! What the parts of one gateway share: handles to owners, and finished values.

use std::sync::{Arc, OnceLock};

use media_bridge::MediaPlane;
use sip_transport::SipHandle;
use sip_transport::dns::{Locator, Resting};
use timebase::Clock;
use tokio::sync::watch;
use transfer_api::OwnAddresses;
use transfer_store::Store;

use super::backlog::Backlog;
use super::dial::{Dialler, Guard};
use super::directory::{Directory, Trunk};
use super::ladders::Ladders;
use super::live_calls::LiveCalls;
use super::trunk_health::TrunkHealth;
use super::turns::Turns;
use crate::config::Config;

/// Configuration and what was built from it, replaced whole by a reload.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) config: Config,
    pub(super) directory: Directory,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) media: MediaPlane,
    pub(super) live: LiveCalls,
    pub(super) ladders: Ladders,
    pub(super) backlog: Backlog,
    pub(super) turns: Turns,
    pub(super) trunk_health: TrunkHealth,
    pub(super) rules: watch::Receiver<Arc<Rules>>,
    pub(super) draining: watch::Receiver<bool>,
    pub(super) own: watch::Receiver<Arc<OwnAddresses>>,
    pub(super) locator: Locator,
    /// Servers that calls are not to be sent to for a while.
    pub(super) resting: Arc<Resting>,
    /// Set once, right after the driver has started.
    pub(super) sip: OnceLock<SipHandle>,
}

impl Shared {
    /// Whom calls of a trunk may be sent to.
    pub(super) fn guard(&self, trunk: &Trunk) -> Guard {
        Guard {
            targets: trunk.targets.clone(),
            own: self.own.borrow().as_ref().clone(),
        }
    }

    pub(super) fn dialler(&self, sip: &SipHandle) -> Dialler {
        Dialler {
            locator: self.locator.clone(),
            resting: Arc::clone(&self.resting),
            sip: sip.clone(),
        }
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.borrow())
    }
}
