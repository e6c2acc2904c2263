//! What the store's tests share: a folder that goes away, a wall clock that can be moved, and specimens.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub(crate) mod postgres;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use call_control::transfer::{
    AccountId, InputContext, NewTransfer, OutputContext, ReturnCredentials, ReturnType, SipReturn,
    TransferId, TransferType, UriSpelling,
};
use timebase::UnixMillis;
use transfer_store::{Claim, Fence, Store, StoreOptions};

/// A folder of its own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "transfer-store-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.file("transfers.db").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A wall clock that stands until it is moved.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicI64>);

impl Hands {
    pub(crate) fn at(millis: i64) -> Self {
        Self(Arc::new(AtomicI64::new(millis)))
    }

    pub(crate) fn forward(&self, span: Duration) {
        self.0.fetch_add(span.as_millis() as i64, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }

    pub(crate) fn options(&self) -> StoreOptions {
        let hands = self.clone();
        StoreOptions {
            wall: Arc::new(move || hands.now()),
            ..StoreOptions::default()
        }
    }
}

pub(crate) fn account() -> AccountId {
    AccountId::from("acme")
}

pub(crate) fn transfer(id: &str) -> NewTransfer {
    NewTransfer {
        account: account(),
        id: TransferId::from(id),
        external_conversation_id: "conversation-1".to_owned(),
        sip: None,
        input: None,
    }
}

pub(crate) const PASSWORD: &str = "pa55-W0RD-that-must-not-be-found";

pub(crate) fn full_transfer(id: &str) -> NewTransfer {
    let variables = serde_json::from_str(
        r#"{"z":1.50,"a":{"b":[true,null,12345678901234567890]},"text":"ü\"\\"}"#,
    );
    NewTransfer {
        sip: Some(SipReturn {
            return_uri: Some("sip:back@sbc.example.com;p=1?X-A=%20b".to_owned()),
            spelling: UriSpelling::ReturnUri,
            return_type: Some(ReturnType::Invite),
            credentials: Some(ReturnCredentials {
                username: "user-1".to_owned(),
                password: PASSWORD.to_owned(),
            }),
        }),
        input: Some(InputContext {
            task_name: Some("greet".to_owned()),
            input_variables: Some(variables.unwrap()),
        }),
        ..transfer(id)
    }
}

pub(crate) fn output(task: &str) -> OutputContext {
    OutputContext {
        transfer_type: TransferType::System,
        current_task_name: Some(task.to_owned()),
        reference_variables: serde_json::from_str(r#"{"ref":"7"}"#).unwrap(),
        transfer_variables: serde_json::from_str(r#"{"digits":"123","deep":{"x":[1,2]}}"#).unwrap(),
    }
}

/// Claims a transfer that must be there to be claimed.
pub(crate) async fn claimed(store: &Store, id: &str) -> Fence {
    let claim = store
        .claim(&account(), &TransferId::from(id))
        .await
        .unwrap();
    let Claim::Claimed { fence, .. } = claim else {
        panic!("{id} was not claimed: {claim:?}")
    };
    fence
}
