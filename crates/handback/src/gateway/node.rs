//! This process among its kind: its lease in the store, and what dead ones leave behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use transfer_store::{Store, TakenOver};

use super::live_calls::Order;
use super::recover;
use super::shared::Shared;

/// Renewals within one lease: two may fail.
const RENEWALS: u32 = 3;
/// The least time between two of them.
const SHORTEST: Duration = Duration::from_millis(50);
/// How often transfers past their time are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Takes this node's place at its start, and what earlier processes of its name had. A store that
/// cannot say is no reason not to start: it is asked again.
pub(super) async fn join(store: &Store) -> TakenOver {
    match store.join().await {
        Ok(()) => take_over(store, false).await,
        Err(error) => {
            tracing::warn!(%error, "the store did not take this node in");
            TakenOver::default()
        }
    }
}

/// What is done beside the calls as long as the gateway runs.
pub(super) async fn tend(shared: Arc<Shared>, taken: TakenOver) {
    recover::resume(&shared, taken).await;
    let sweep = sweep(&shared.store);
    let backlog = shared.backlog.work(&shared.store);
    tokio::join!(heartbeat(&shared), sweep, backlog, super::admin::upkeep());
}

/// Since when the lease has been renewed without a gap. Whoever had no store for a while, or was
/// paused, does not judge others before they have had the time to renew theirs.
#[derive(Debug, Default)]
struct Steady {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Steady {
    fn renewed(&mut self, now: Instant, lease: Duration) -> bool {
        let gap = self.last.is_none_or(|last| now - last >= lease);
        if gap {
            self.since = Some(now);
        }
        self.last = Some(now);
        self.since.is_some_and(|since| now - since >= lease)
    }

    const fn missed(&mut self) {
        self.last = None;
    }
}

/// Renews the lease, and looks for nodes that did not.
async fn heartbeat(shared: &Arc<Shared>) {
    let (store, lease) = (&shared.store, shared.rules().config.store.lease);
    let mut steady = Steady::default();
    let mut ticks = tokio::time::interval((lease / RENEWALS).max(SHORTEST));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let taken = match store.renew().await {
            Ok(true) => take_over(store, steady.renewed(Instant::now(), lease)).await,
            Ok(false) => {
                tracing::error!("this node was taken for dead: its calls are another one's now");
                steady.missed();
                for call in shared.live.all() {
                    // One that has no room for it learns it with its next write.
                    let _ = call.order(Order::TakenOver);
                }
                join(store).await
            }
            Err(error) => {
                tracing::warn!(%error, "the node's lease was not renewed");
                steady.missed();
                continue;
            }
        };
        recover::resume(shared, taken).await;
    }
}

async fn take_over(store: &Store, others: bool) -> TakenOver {
    match store.take_over(others).await {
        Ok(taken) => {
            let (calls, transfers) = (taken.calls.len(), taken.lost.len());
            if calls + transfers > 0 {
                tracing::warn!(calls, transfers, "taken over from a process that is gone");
                metrics::counter!("handback_calls_taken_over_total").increment(calls as u64);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_judged_only_after_a_lease_without_a_gap() {
        let (start, lease) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut steady = Steady::default();
        assert_eq!(
            [0, 5, 9, 11].map(|s| steady.renewed(at(s), lease)),
            [false, false, false, true]
        );
        assert!(!steady.renewed(at(25), lease), "it was paused");
        assert!(!steady.renewed(at(30), lease));
        steady.missed();
        assert!(!steady.renewed(at(36), lease), "the store was away");
        assert_eq!(
            [40, 46].map(|s| steady.renewed(at(s), lease)),
            [false, true]
        );
    }
}
