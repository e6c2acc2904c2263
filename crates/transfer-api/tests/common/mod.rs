//! A gateway's API in a box: a store, two accounts, a clock that can be moved.
#![allow(dead_code, clippy::unwrap_used)]

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use call_control::transfer::{AccountId, ReturnType};
use serde_json::Value;
use timebase::UnixMillis;
use tokio::sync::watch;
use tower::ServiceExt;
use transfer_api::{
    Account, Accounts, ApiKey, ApiState, BODY_LIMIT, OwnAddresses, ReturnTarget, TargetRules, keys,
    router,
};
use transfer_store::{Store, StoreOptions};

pub(crate) const PATH: &str = "/generativeagent/v1/call-transfers";
pub(crate) const SECRET: &str = "lab-secret";
/// 2025-01-15T13:06:00.250Z
pub(crate) const START: i64 = 1_736_946_360_250;

pub(crate) struct Gateway {
    pub(crate) app: Router,
    pub(crate) store: Store,
    pub(crate) wall: Arc<AtomicI64>,
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) accounts: watch::Sender<Arc<Accounts>>,
    pub(crate) own: watch::Sender<Arc<OwnAddresses>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// Status, code and message of an answer in the error form, which it must be.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let json = self.json();
        assert_eq!(json.as_object().unwrap().len(), 1);
        let error = json["error"].as_object().unwrap();
        assert_eq!(error.len(), 3);
        uuid::Uuid::parse_str(error["requestId"].as_str().unwrap()).unwrap();
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        (self.status.as_u16(), text("code"), text("message"))
    }
}

pub(crate) fn secret_hash() -> String {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| keys::hash_secret(SECRET).unwrap())
        .clone()
}

pub(crate) fn account(id: &str, default_return: ReturnType) -> Account {
    Account {
        id: AccountId::from(id),
        enabled: true,
        default_return,
        calls_numbers: false,
        targets: TargetRules {
            targets: vec![],
            trusted: vec!["127.0.0.0/8".parse().unwrap()],
        },
        api_keys: vec![ApiKey {
            id: id.to_owned(),
            secret_hash: secret_hash(),
        }],
    }
}

pub(crate) fn accounts() -> Vec<Account> {
    let mut strict = account("strict", ReturnType::Bye);
    strict.targets.targets = vec![
        ReturnTarget::parse("192.0.2.0/24").unwrap(),
        ReturnTarget::parse("sbc.example").unwrap(),
    ];
    let disabled = Account {
        enabled: false,
        ..account("disabled", ReturnType::Bye)
    };
    vec![
        account("lab", ReturnType::Bye),
        account("refer", ReturnType::Refer),
        strict,
        disabled,
    ]
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::with_rate(1_000_000).await
    }

    pub(crate) async fn with_rate(rate: u32) -> Self {
        let wall = Arc::new(AtomicI64::new(START));
        let hands = Arc::clone(&wall);
        let clock = Arc::new(move || UnixMillis(hands.load(Ordering::SeqCst)));
        let options = StoreOptions {
            wall: clock,
            ..StoreOptions::default()
        };
        Self::over(Store::open("memory://", options).await.unwrap(), wall, rate)
    }

    pub(crate) fn over(store: Store, wall: Arc<AtomicI64>, rate: u32) -> Self {
        let (accounts, accounts_seen) =
            watch::channel(Arc::new(Accounts::new(accounts()).unwrap()));
        let (draining, draining_seen) = watch::channel(false);
        let own = OwnAddresses {
            sockets: vec!["127.0.0.1:5060".parse().unwrap()],
            names: vec![("gw.example.com".to_owned(), 5060)],
        };
        let (own, own_seen) = watch::channel(Arc::new(own));
        let state = ApiState {
            store: store.clone(),
            accounts: accounts_seen,
            own: own_seen,
            draining: draining_seen,
            rate_limit: NonZeroU32::new(rate).unwrap(),
            body_limit: BODY_LIMIT,
        };
        Self {
            app: router(state),
            store,
            wall,
            draining,
            accounts,
            own,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 100_000_000).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        key: Option<(&str, &str)>,
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some((id, secret)) = key {
            request = request
                .header("asapp-api-id", id)
                .header("ASAPP-API-Secret", secret);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn post(&self, body: impl Into<Body>) -> Answer {
        self.post_as("lab", body).await
    }

    pub(crate) async fn post_as(&self, account: &str, body: impl Into<Body>) -> Answer {
        self.request("POST", PATH, Some((account, SECRET)), body)
            .await
    }

    pub(crate) async fn get(&self, id: &str) -> Answer {
        self.request("GET", &format!("{PATH}/{id}"), Some(("lab", SECRET)), "")
            .await
    }
}

/// A body with these members in place of, or besides, the usual ones.
pub(crate) fn body(members: &str) -> String {
    let mut json = serde_json::json!({"id": "t-1", "externalConversationId": "c-1", "type": "SIP"});
    let more: Value = serde_json::from_str(members).unwrap();
    for (name, value) in more.as_object().unwrap() {
        json[name] = value.clone();
    }
    json.to_string()
}
