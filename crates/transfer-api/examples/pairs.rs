//! How many registrations and fetches a second: POST then GET, over loopback, into SQLite with full syncing.
//!
//! `cargo run --release -p transfer-api --example pairs -- [clients] [seconds]`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use call_control::transfer::{AccountId, ReturnType};
use tokio::net::TcpListener;
use tokio::sync::watch;
use transfer_api::{
    Account, Accounts, ApiKey, ApiState, BODY_LIMIT, OwnAddresses, TargetRules, keys, router,
};
use transfer_store::{Store, StoreOptions};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let clients: usize = arguments.next().map_or(Ok(32), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("pairs-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = measure(
        &format!("sqlite://{}/transfers.db", folder.display()),
        clients,
        seconds,
    )
    .await;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

async fn measure(store: &str, clients: usize, seconds: u64) -> Outcome<()> {
    let pair = keys::secret_pair()?;
    let base = serve(store, &pair).await?;
    let pairs = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut running = tokio::task::JoinSet::new();
    for client in 0..clients {
        running.spawn(work(
            client,
            base.clone(),
            pair.clone(),
            Arc::clone(&pairs),
            until,
        ));
    }
    let mut times: Vec<Duration> = Vec::new();
    while let Some(done) = running.join_next().await {
        times.extend(done??);
    }
    times.sort_unstable();
    let at = |share: usize| {
        times
            .get(times.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{} pairs/s with {clients} clients; a pair takes {:?} (median), {:?} (p99)",
        pairs.load(Ordering::Relaxed) / seconds.max(1),
        at(50),
        at(99)
    );
    Ok(())
}

async fn serve(store: &str, pair: &keys::SecretPair) -> Outcome<String> {
    let account = Account {
        id: AccountId::from("bench"),
        enabled: true,
        default_return: ReturnType::Bye,
        calls_numbers: false,
        targets: TargetRules::default(),
        api_keys: vec![ApiKey {
            id: pair.id.clone(),
            secret_hash: pair.secret_hash.clone(),
        }],
    };
    let (accounts, accounts_seen) = watch::channel(Arc::new(Accounts::new([account])?));
    let (own, own_seen) = watch::channel(Arc::new(OwnAddresses::default()));
    let (draining, draining_seen) = watch::channel(false);
    let state = ApiState {
        store: Store::open(store, StoreOptions::default()).await?,
        accounts: accounts_seen,
        own: own_seen,
        draining: draining_seen,
        rate_limit: NonZeroU32::MAX,
        body_limit: BODY_LIMIT,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!(
        "http://{}/generativeagent/v1/call-transfers",
        listener.local_addr()?
    );
    tokio::spawn(async move {
        let _kept = (accounts, own, draining);
        axum::serve(listener, router(state)).await
    });
    Ok(base)
}

async fn work(
    client: usize,
    base: String,
    pair: keys::SecretPair,
    pairs: Arc<AtomicU64>,
    until: Instant,
) -> Outcome<Vec<Duration>> {
    let http = reqwest::Client::new();
    let mut times = Vec::new();
    for number in 0.. {
        let begun = Instant::now();
        if begun > until {
            break;
        }
        let id = format!("c{client}-{number}");
        let body = serde_json::json!({
            "id": id, "externalConversationId": id, "type": "SIP",
            "sip": {"returnURI": "sip:back@sbc.example.com", "returnTransferType": "REFER"},
            "inputContext": {"taskName": "greet", "inputVariables": {"name": "Ada", "order": 17}}
        });
        for request in [
            http.post(&base).json(&body),
            http.get(format!("{base}/{id}")),
        ] {
            let request = request
                .header("asapp-api-id", &pair.id)
                .header("asapp-api-secret", &pair.secret);
            request.send().await?.error_for_status()?.bytes().await?;
        }
        times.push(begun.elapsed());
        pairs.fetch_add(1, Ordering::Relaxed);
    }
    Ok(times)
}
