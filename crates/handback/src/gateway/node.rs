//! This process among its kind: its lease in the store, and what dead ones leave behind.

use std::sync::Arc;
use std::time::Duration;

use transfer_store::{Store, TakenOver};

use super::shared::Shared;

/// Renewals within one lease: two may fail.
const RENEWALS: u32 = 3;
/// The least time between two of them.
const SHORTEST: Duration = Duration::from_millis(50);

/// How often transfers past their time are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Takes this node's place at its start, and what dead processes had. A store that cannot say is no
/// reason not to start: it is asked again.
pub(super) async fn join(store: &Store) -> TakenOver {
    match store.join().await {
        Ok(()) => take_over(store).await,
        Err(error) => {
            tracing::warn!(%error, "the store did not take this node in");
            TakenOver::default()
        }
    }
}

/// What is done beside the calls as long as the gateway runs.
pub(super) async fn tend(shared: Arc<Shared>) {
    let lease = shared.rules().config.store.lease;
    let store = &shared.store;
    tokio::join!(
        heartbeat(store, lease),
        sweep(store),
        super::admin::upkeep()
    );
}

/// Renews the lease, and looks for nodes that did not.
async fn heartbeat(store: &Store, lease: Duration) {
    let mut ticks = tokio::time::interval((lease / RENEWALS).max(SHORTEST));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match store.renew().await {
            Ok(true) => drop(take_over(store).await),
            Ok(false) => {
                tracing::error!("this node was taken for dead: its calls are another one's now");
                drop(join(store).await);
            }
            Err(error) => tracing::warn!(%error, "the node's lease was not renewed"),
        }
    }
}

async fn take_over(store: &Store) -> TakenOver {
    match store.take_over().await {
        Ok(taken) => {
            let (calls, transfers) = (taken.calls.len(), taken.lost.len());
            if calls + transfers > 0 {
                tracing::warn!(calls, transfers, "taken over from a process that is gone");
            }
            taken
        }
        Err(error) => {
            tracing::warn!(%error, "what other processes left was not looked for");
            TakenOver::default()
        }
    }
}

async fn sweep(store: &Store) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.sweep().await {
            Ok(swept) => tracing::debug!(swept.expired, swept.deleted, "transfers swept"),
            Err(error) => tracing::warn!(%error, "transfers were not swept"),
        }
    }
}
