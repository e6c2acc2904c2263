//! Writes that the store did not take: they are made when it is back, in their order.
//!
//! What is written of a transfer while an earlier write of it waits goes behind that one: an output must not
//! come after the end of its call.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use call_control::transfer::{AccountId, OutputContext, TransferId};
use tokio::sync::Notify;
use transfer_store::{CallRecord, Fence, Store, Unavailable};

/// Writes that wait at most: an hour of a busy node.
const MOST: usize = 100_000;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// A write that must not be lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// ONGOING → ACTIVE.
    Release {
        account: AccountId,
        transfer: TransferId,
        fence: Fence,
    },
    /// → COMPLETED.
    Complete {
        account: AccountId,
        transfer: TransferId,
        fence: Fence,
        output: Option<OutputContext>,
    },
    /// What became of a call.
    Record(Box<CallRecord>),
}

impl Write {
    fn is_of(&self, account: &AccountId, transfer: &TransferId) -> bool {
        let (of, id) = match self {
            Self::Release {
                account, transfer, ..
            }
            | Self::Complete {
                account, transfer, ..
            } => (account, transfer),
            Self::Record(record) => (&record.account, &record.transfer),
        };
        of == account && id == transfer
    }

    /// Makes it; a write that comes too late counts as made.
    async fn perform(self, store: &Store) -> Result<(), Unavailable> {
        match self {
            Self::Release {
                account,
                transfer,
                fence,
            } => store.release(&account, &transfer, fence).await.map(drop),
            Self::Complete {
                account,
                transfer,
                fence,
                output,
            } => {
                let completed = store.complete(&account, &transfer, fence, output);
                completed.await.map(drop)
            }
            Self::Record(record) => store.record_call(*record).await,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: Mutex<VecDeque<Write>>,
    news: Notify,
}

impl Backlog {
    /// A poisoned lock is taken all the same: no method can panic half way through a change.
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Write>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a write of this transfer waits.
    pub(super) fn has(&self, account: &AccountId, transfer: &TransferId) -> bool {
        let waiting = self.waiting();
        waiting.iter().any(|write| write.is_of(account, transfer))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    /// A write that the store did not take.
    pub(super) fn add(&self, write: Write) {
        let mut waiting = self.waiting();
        if waiting.len() >= MOST {
            metrics::counter!("handback_store_writes_given_up_total").increment(1);
            tracing::error!("a write is given up: too many wait for the store");
            return;
        }
        waiting.push_back(write);
        drop(waiting);
        self.news.notify_one();
    }

    /// Makes what waits, for ever.
    pub(super) async fn work(&self, store: &Store) {
        loop {
            let first = self.waiting().front().cloned();
            let Some(write) = first else {
                self.news.notified().await;
                continue;
            };
            match write.perform(store).await {
                Ok(()) => {
                    let mut waiting = self.waiting();
                    waiting.pop_front();
                    if waiting.is_empty() {
                        tracing::info!("the store has every write that waited for it");
                    }
                }
                Err(Unavailable) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use call_control::transfer::{NewTransfer, Status, TransferType, Variables};
    use transfer_store::{Claim, StoreOptions};

    use super::*;

    fn output() -> OutputContext {
        OutputContext {
            transfer_type: TransferType::Agent,
            current_task_name: None,
            reference_variables: Variables::new(),
            transfer_variables: Variables::new(),
        }
    }

    #[tokio::test]
    async fn writes_that_waited_are_made_in_their_order() {
        let store = Store::open("memory://", StoreOptions::default());
        let store = store.await.unwrap();
        let (account, transfer) = (AccountId::from("acme"), TransferId::from("t"));
        let new = NewTransfer {
            account: account.clone(),
            id: transfer.clone(),
            external_conversation_id: "c".to_owned(),
            sip: None,
            input: None,
        };
        store.register(new).await.unwrap();
        let Ok(Claim::Claimed { fence, .. }) = store.claim(&account, &transfer).await else {
            panic!("not claimed")
        };
        let complete = |output| Write::Complete {
            account: account.clone(),
            transfer: transfer.clone(),
            fence,
            output,
        };
        let backlog = Arc::new(Backlog::default());
        backlog.add(complete(Some(output())));
        assert!(backlog.has(&account, &transfer) && !backlog.has(&account, &"u".into()));
        backlog.add(complete(None));
        let (worker, of) = (Arc::clone(&backlog), store.clone());
        let working = tokio::spawn(async move { worker.work(&of).await });
        while backlog.len() > 0 {
            tokio::task::yield_now().await;
        }
        working.abort();
        let read = store.fetch(&account, &transfer).await.unwrap().unwrap();
        assert_eq!(
            (read.status, read.output),
            (Status::Completed, Some(output()))
        );
    }
}
