//! A call's requests to the store. What must not be lost waits in the backlog when the store is away.

use call_control::transfer::{AccountId, TransferId};
use call_control::{NotClaimed, StoreReply, StoreRequest};
use transfer_store::{Claim, Completion, Fence, RegisterError, Store, Unavailable};

use super::backlog::{Backlog, Write};

pub(super) async fn perform(
    (store, backlog): (&Store, &Backlog),
    account: AccountId,
    transfer: TransferId,
    request: StoreRequest,
) -> StoreReply {
    match request {
        StoreRequest::Claim => claim(store, &account, &transfer).await,
        StoreRequest::Bring(new) => match store.register(*new).await {
            Ok(_) => claim(store, &account, &transfer).await,
            Err(RegisterError::Duplicate) => StoreReply::NotClaimed(NotClaimed::Ongoing),
            Err(RegisterError::Unavailable) => StoreReply::Unavailable,
        },
        StoreRequest::Release { .. } | StoreRequest::Complete { .. } => {
            let behind = backlog.has(&account, &transfer);
            let written = if behind {
                Err(Unavailable)
            } else {
                write(store, &account, &transfer, &request).await
            };
            written.unwrap_or_else(|Unavailable| {
                tracing::warn!("the store is not available; the write waits for it");
                later(backlog, account, transfer, request);
                StoreReply::Unavailable
            })
        }
    }
}

async fn claim(store: &Store, account: &AccountId, transfer: &TransferId) -> StoreReply {
    match store.claim(account, transfer).await {
        Ok(Claim::Claimed { transfer, fence }) => StoreReply::Claimed {
            transfer,
            fence: fence.0,
        },
        Ok(Claim::Unknown) => StoreReply::NotClaimed(NotClaimed::Unknown),
        Ok(Claim::Ongoing) => StoreReply::NotClaimed(NotClaimed::Ongoing),
        Ok(Claim::Over) => StoreReply::NotClaimed(NotClaimed::Over),
        Err(Unavailable) => StoreReply::Unavailable,
    }
}

async fn write(
    store: &Store,
    account: &AccountId,
    transfer: &TransferId,
    request: &StoreRequest,
) -> Result<StoreReply, Unavailable> {
    match request {
        StoreRequest::Release { fence } => {
            store.release(account, transfer, Fence(*fence)).await?;
            Ok(StoreReply::Released)
        }
        StoreRequest::Complete { fence, output } => {
            let output = output.as_deref().cloned();
            let completed = store.complete(account, transfer, Fence(*fence), output);
            Ok(match completed.await? {
                Completion::Written | Completion::Closed => StoreReply::Completed,
                Completion::Stale => StoreReply::TakenOver,
            })
        }
        StoreRequest::Claim | StoreRequest::Bring(_) => Ok(StoreReply::Unavailable),
    }
}

fn later(backlog: &Backlog, account: AccountId, transfer: TransferId, request: StoreRequest) {
    match request {
        StoreRequest::Release { fence } => backlog.add(Write::Release {
            account,
            transfer,
            fence: Fence(fence),
        }),
        StoreRequest::Complete { fence, output } => backlog.add(Write::Complete {
            account,
            transfer,
            fence: Fence(fence),
            output: output.map(|output| *output),
        }),
        StoreRequest::Claim | StoreRequest::Bring(_) => {}
    }
}
