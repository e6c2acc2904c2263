//! What only PostgreSQL has to show: several nodes, a server that goes away or hangs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::Duration;

use call_control::transfer::{Status, TransferId};
use common::postgres::Server;
use common::{account, claimed, full_transfer, output, transfer};
use tokio::task::JoinSet;
use transfer_store::{
    CallRecord, Checkpoint, Claim, Completion, EncryptionKey, Fence, RegisterError, Store,
    StoreError, StoreOptions, TakenOver, Unavailable,
};

fn options(node: &str) -> StoreOptions {
    StoreOptions {
        node: node.to_owned(),
        encryption_key: Some(EncryptionKey::new([7; 32])),
        ..StoreOptions::default()
    }
}

async fn node(url: &str, name: &str, lease: Duration) -> Store {
    let options = StoreOptions {
        lease,
        ..options(name)
    };
    let store = Store::open(url, options).await.unwrap();
    store.join().await.unwrap();
    store
}

fn checkpoint(fence: Fence) -> Checkpoint {
    Checkpoint {
        call: "call-1".to_owned(),
        account: account(),
        transfer: "t".into(),
        fence,
        state: "{}".to_owned(),
    }
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_what_is_stored_and_of_their_racing_claims_one_wins() {
    let server = Server::start();
    let url = server.database("shared");
    // Two that open at once: one of them brings the schema.
    let (a, b) = tokio::join!(node(&url, "a", LONG), node(&url, "b", LONG));
    let mut wins = 0;
    for number in 0..40 {
        let id = format!("t{number}");
        a.register(full_transfer(&id)).await.unwrap();
        let mut racers = JoinSet::new();
        for store in [&a, &b, &a, &b] {
            let (store, id) = (store.clone(), TransferId::from(id.as_str()));
            racers.spawn(async move { store.claim(&account(), &id).await.unwrap() });
        }
        let outcomes = racers.join_all().await;
        let won = |claim: &&Claim| matches!(claim, Claim::Claimed { .. });
        wins += outcomes.iter().filter(won).count();
    }
    assert_eq!(wins, 40);
    let read = b.fetch(&account(), &"t0".into()).await.unwrap().unwrap();
    assert_eq!(read.registered, full_transfer("t0"));
    assert_eq!(b.take_over(true).await.unwrap(), TakenOver::default());

    let other_key = StoreOptions {
        encryption_key: Some(EncryptionKey::new([8; 32])),
        ..options("c")
    };
    let refused = Store::open(&url, other_key).await;
    assert!(matches!(refused, Err(StoreError::Key(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_slept_past_its_lease_writes_nothing_more() {
    let server = Server::start();
    let url = server.database("shared");
    let sleeper = node(&url, "sleeper", Duration::ZERO).await;
    for id in ["t", "next", "lost"] {
        sleeper.register(transfer(id)).await.unwrap();
    }
    let fence = claimed(&sleeper, "t").await;
    claimed(&sleeper, "lost").await;
    assert!(sleeper.checkpoint(checkpoint(fence)).await.unwrap());

    let heirs = [node(&url, "b", LONG).await, node(&url, "c", LONG).await];
    assert_eq!(
        heirs[0].take_over(false).await.unwrap(),
        TakenOver::default()
    );
    let (b, c) = tokio::join!(heirs[0].take_over(true), heirs[1].take_over(true));
    let mut calls = [b.unwrap(), c.unwrap()].map(|taken| (taken.calls, taken.lost));
    calls.sort_by_key(|(calls, _)| calls.len());
    assert_eq!(calls.each_ref().map(|(calls, _)| calls.len()), [0, 1]);
    assert_eq!(calls.iter().map(|(_, lost)| lost.len()).sum::<usize>(), 1);
    let adopted = calls[1].0[0].checkpoint.fence;

    let (at, next) = (TransferId::from("t"), TransferId::from("next"));
    assert!(!sleeper.renew().await.unwrap());
    let acme = account();
    let late = sleeper.complete(&acme, &at, fence, Some(output("late")));
    assert_eq!(late.await.unwrap(), Completion::Stale);
    assert!(!sleeper.checkpoint(checkpoint(fence)).await.unwrap());
    assert_eq!(sleeper.claim(&account(), &next).await, Err(Unavailable));
    assert_eq!(sleeper.take_over(true).await, Err(Unavailable));
    let record = CallRecord {
        call: "call-1".to_owned(),
        account: account(),
        transfer: at.clone(),
        trunk: "sbc".to_owned(),
        outcome: "late".to_owned(),
        arrived_at: timebase::UnixMillis(0),
        ended_at: timebase::wall_now(),
        record: "{}".to_owned(),
    };
    sleeper.record_call(record).await.unwrap();
    assert_eq!(heirs[0].call("call-1").await.unwrap(), None);
    let done = heirs[0].complete(&acme, &at, adopted, Some(output("heir")));
    assert_eq!(done.await.unwrap(), Completion::Written);

    sleeper.join().await.unwrap();
    assert!(matches!(
        sleeper.claim(&account(), &next).await,
        Ok(Claim::Claimed { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_unavailable_in_time_and_serves_again_afterwards() {
    let server = Server::start();
    let patience = Duration::from_millis(500);
    let slow = StoreOptions {
        patience,
        ..options("a")
    };
    let store = Store::open(&server.database("hangs"), slow).await.unwrap();
    for id in ["t", "u"] {
        store.register(transfer(id)).await.unwrap();
    }
    server.signal("-STOP");
    let began = std::time::Instant::now();
    let mut asked = JoinSet::new();
    for number in 0..100 {
        let store = store.clone();
        asked.spawn(async move { store.register(transfer(&format!("n{number}"))).await.err() });
    }
    for answer in asked.join_all().await {
        assert_eq!(answer, Some(RegisterError::Unavailable));
    }
    assert_eq!(store.claim(&account(), &"u".into()).await, Err(Unavailable));
    assert_eq!(store.fetch(&account(), &"t".into()).await, Err(Unavailable));
    assert!(began.elapsed() < patience * 6, "{:?}", began.elapsed());
    server.signal("-CONT");
    let mut tries = 0;
    while store.health().await.is_err() {
        tries += 1;
        assert!(tries < 50, "the store must come back");
    }
    // The claim that nobody heard of is undone.
    let claimable = async {
        loop {
            if let Ok(Claim::Claimed { .. }) = store.claim(&account(), &"u".into()).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), claimable)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_cut_are_made_anew() {
    let server = Server::start();
    let store = Store::open(&server.database("cut"), options("a"))
        .await
        .unwrap();
    store.register(transfer("t")).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'handback'";
    for _ in 0..5 {
        assert!(server.run("psql", &["-c", cut, "postgres"]).0);
        let read = store.fetch(&account(), &"t".into()).await.unwrap().unwrap();
        assert_eq!(read.status, Status::Active);
    }
}

#[tokio::test]
async fn a_password_in_the_url_is_not_repeated() {
    let url = "postgres://handback:hunter2@127.0.0.1:1/nowhere";
    let problem = Store::open(url, options("a")).await.unwrap_err();
    assert!(!format!("{problem} {problem:?}").contains("hunter2"));
}

/// The plan of each statement that runs often names an index, whatever the size of the table.
#[tokio::test]
async fn statements_that_run_often_go_by_an_index() {
    let server = Server::start();
    drop(
        Store::open(&server.database("plans"), options("a"))
            .await
            .unwrap(),
    );
    let fill = "INSERT INTO transfer (account, id, conversation, status, created_at, expires_at, over_at, fence, closed)
        SELECT 'acme', 'id-' || n, 'c-' || n, CASE WHEN n % 1000 = 0 THEN 'ACTIVE' ELSE 'COMPLETED' END, n, n,
               CASE WHEN n % 1000 = 0 THEN NULL ELSE n END, 0, 0 FROM generate_series(1, 100000) n; ANALYZE";
    let (filled, said) = server.run("psql", &["-qc", fill, "plans"]);
    assert!(filled, "{said}");
    for (statement, index) in [
        (
            "SELECT * FROM transfer WHERE account = 'acme' AND id = 'id-77'",
            "transfer_pkey",
        ),
        (
            "SELECT account, id FROM transfer WHERE status = 'ACTIVE' AND expires_at <= 500 ORDER BY expires_at LIMIT 500",
            "transfer_waiting",
        ),
        (
            "SELECT account, id FROM transfer WHERE over_at IS NOT NULL AND over_at <= 50 ORDER BY over_at LIMIT 500",
            "transfer_over",
        ),
        (
            "SELECT account, id FROM transfer WHERE status = 'ONGOING' AND NOT EXISTS (SELECT 1 FROM node WHERE name = owner AND epoch = owner_epoch) LIMIT 500",
            "transfer_ongoing",
        ),
        (
            "SELECT * FROM transfer WHERE account = 'acme' AND conversation = 'c-5' ORDER BY created_at DESC LIMIT 5",
            "transfer_conversation",
        ),
    ] {
        let (_, plan) = server.run("psql", &["-c", &format!("EXPLAIN {statement}"), "plans"]);
        assert!(plan.contains(index), "{statement}\n{plan}");
    }
}
