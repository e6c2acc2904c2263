//! A call's requests to the store. What must not be lost is tried again behind the call's back.

use std::time::Duration;

use call_control::transfer::{AccountId, TransferId};
use call_control::{NotClaimed, StoreReply, StoreRequest};
use tracing::Instrument;
use transfer_store::{Claim, Fence, RegisterError, Store, Unavailable};

/// Between two tries of a write that failed.
const PAUSE: Duration = Duration::from_secs(2);
/// Tries of such a write: an hour of them.
const TRIES: u32 = 1800;

pub(super) async fn perform(
    store: Store,
    account: AccountId,
    transfer: TransferId,
    request: StoreRequest,
) -> StoreReply {
    match request {
        StoreRequest::Claim => claim(&store, &account, &transfer).await,
        StoreRequest::Bring(new) => match store.register(*new).await {
            Ok(_) => claim(&store, &account, &transfer).await,
            Err(RegisterError::Duplicate) => StoreReply::NotClaimed(NotClaimed::Ongoing),
            Err(RegisterError::Unavailable) => StoreReply::Unavailable,
        },
        StoreRequest::Release { .. } | StoreRequest::Complete { .. } => {
            match write(&store, &account, &transfer, &request).await {
                Ok(reply) => reply,
                Err(Unavailable) => {
                    tracing::warn!("the store is not available; the write is tried again");
                    let again = try_again(store, account, transfer, request);
                    tokio::spawn(again.in_current_span());
                    StoreReply::Unavailable
                }
            }
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
            store
                .complete(account, transfer, Fence(*fence), output)
                .await?;
            Ok(StoreReply::Completed)
        }
        StoreRequest::Claim | StoreRequest::Bring(_) => Ok(StoreReply::Unavailable),
    }
}

async fn try_again(store: Store, account: AccountId, transfer: TransferId, request: StoreRequest) {
    for _ in 0..TRIES {
        tokio::time::sleep(PAUSE).await;
        if write(&store, &account, &transfer, &request).await.is_ok() {
            return tracing::info!("the store has the write now");
        }
    }
    tracing::error!("a write was given up: the store was not available for an hour");
}
