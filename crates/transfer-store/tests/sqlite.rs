//! What only SQLite has to show: durability, secrecy on disk, one process at a time, overload.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use call_control::transfer::{Status, TransferId};
use common::{Folder, Hands, PASSWORD, account, claimed, full_transfer, output, transfer};
use transfer_store::{
    Claim, EncryptionKey, RegisterError, Store, StoreError, StoreOptions, Unavailable,
};

const CHILD: &str = "TRANSFER_STORE_TEST_URL";

/// Not a test of its own: the process that [`a_registration_answered_survives_kill_9`] kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_registers_until_it_is_killed() {
    let Ok(url) = std::env::var(CHILD) else {
        return;
    };
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..16 {
        let store = store.clone();
        clients.spawn(async move {
            for number in 0..100_000 {
                let id = format!("c{client}-{number}");
                store.register(full_transfer(&id)).await.unwrap();
                println!("registered {id}");
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_answered_survives_kill_9() {
    let folder = Folder::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_that_registers_until_it_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, folder.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let registered = |line: String| {
        line.split_once("registered ")
            .map(|(_, id)| id.trim().to_owned())
    };
    let mut ids: Vec<String> = lines
        .by_ref()
        .map(Result::unwrap)
        .filter_map(registered)
        .take(400)
        .collect();
    child.kill().unwrap();
    ids.extend(lines.map_while(Result::ok).filter_map(registered));
    child.wait().unwrap();

    let store = Store::open(&folder.url(), StoreOptions::default())
        .await
        .unwrap();
    // The last line may have been cut short by the kill.
    let whole = &ids[..ids.len() - 1];
    assert!(whole.len() >= 399);
    for id in whole {
        let found = store
            .fetch(&account(), &TransferId::from(id.as_str()))
            .await
            .unwrap();
        assert_eq!(
            found.unwrap().registered,
            full_transfer(id),
            "{id} was lost"
        );
    }
}

#[tokio::test]
async fn everything_is_there_again_after_closing_and_opening() {
    let (folder, hands) = (Folder::new(), Hands::at(1_000_000));
    let store = Store::open(&folder.url(), hands.options()).await.unwrap();
    for id in ["waiting", "completed", "ongoing"] {
        store.register(full_transfer(id)).await.unwrap();
    }
    let fence = claimed(&store, "completed").await;
    store
        .complete(
            &account(),
            &TransferId::from("completed"),
            fence,
            Some(output("x")),
        )
        .await
        .unwrap();
    claimed(&store, "ongoing").await;
    store.close().await;
    assert_eq!(store.health().await, Err(Unavailable));
    assert_eq!(
        store.register(transfer("late")).await,
        Err(RegisterError::Unavailable)
    );

    let store = Store::open(&folder.url(), hands.options()).await.unwrap();
    store.join().await.unwrap();
    let lost = store.take_over(true).await.unwrap().lost;
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].registered.id.as_str(), "ongoing");
    let read = store
        .fetch(&account(), &TransferId::from("completed"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (read.status, read.output),
        (Status::Completed, Some(output("x")))
    );
    let waiting = store
        .fetch(&account(), &TransferId::from("waiting"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(waiting.registered, full_transfer("waiting"));
}

#[tokio::test]
async fn a_password_is_nowhere_in_the_files() {
    let folder = Folder::new();
    let store = Store::open(&folder.url(), StoreOptions::default())
        .await
        .unwrap();
    store.register(full_transfer("t")).await.unwrap();
    let look = |needle: &str| {
        let files = std::fs::read_dir(folder.file("")).unwrap();
        files
            .filter(|file| {
                let content = std::fs::read(file.as_ref().unwrap().path()).unwrap();
                content
                    .windows(needle.len())
                    .any(|window| window == needle.as_bytes())
            })
            .count()
    };
    assert!(
        look("sbc.example.com") > 0,
        "the search itself must be able to find something"
    );
    assert_eq!(look(PASSWORD), 0);
    assert_eq!(look("user-1"), 0);
    store.close().await;
    assert_eq!(look(PASSWORD), 0);
}

#[tokio::test]
async fn the_key_beside_the_database_is_for_its_owner_only_and_needed_again() {
    let folder = Folder::new();
    Store::open(&folder.url(), StoreOptions::default())
        .await
        .unwrap()
        .close()
        .await;
    let key = folder.file("transfers.db.key");
    assert_eq!(
        std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    std::fs::rename(&key, folder.file("away")).unwrap();
    let missing = Store::open(&folder.url(), StoreOptions::default()).await;
    assert!(matches!(missing, Err(StoreError::Key(_))), "{missing:?}");
    assert!(!key.exists());
    std::fs::rename(folder.file("away"), &key).unwrap();
    Store::open(&folder.url(), StoreOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn another_key_than_the_databases_own_is_refused() {
    let folder = Folder::new();
    let with = |byte| StoreOptions {
        encryption_key: Some(EncryptionKey::new([byte; 32])),
        ..StoreOptions::default()
    };
    Store::open(&folder.url(), with(1))
        .await
        .unwrap()
        .close()
        .await;
    assert!(!folder.file("transfers.db.key").exists());
    assert!(matches!(
        Store::open(&folder.url(), with(2)).await,
        Err(StoreError::Key(_))
    ));
    Store::open(&folder.url(), with(1)).await.unwrap();
}

#[tokio::test]
async fn a_database_in_use_is_not_opened_a_second_time() {
    let folder = Folder::new();
    let first = Store::open(&folder.url(), StoreOptions::default())
        .await
        .unwrap();
    let url = folder.url();
    let opening = Store::open(&url, StoreOptions::default());
    let second = tokio::time::timeout(Duration::from_millis(200), opening).await;
    assert!(second.is_err(), "it waits for the first to let go");
    drop(first);
    Store::open(&folder.url(), StoreOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_database_locked_by_others_is_unavailable_and_nothing_is_half_done() {
    let folder = Folder::new();
    let options = StoreOptions {
        patience: Duration::from_millis(200),
        ..StoreOptions::default()
    };
    let store = Store::open(&folder.url(), options).await.unwrap();
    store.register(transfer("t")).await.unwrap();
    let file = folder.file("transfers.db");
    let mut intruder =
        sqlx::ConnectOptions::connect(&sqlx::sqlite::SqliteConnectOptions::new().filename(file))
            .await
            .unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut intruder)
        .await
        .unwrap();
    assert_eq!(
        store.claim(&account(), &TransferId::from("t")).await,
        Err(Unavailable)
    );
    assert_eq!(
        store.register(transfer("u")).await,
        Err(RegisterError::Unavailable)
    );
    let read = store
        .fetch(&account(), &TransferId::from("t"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.status, Status::Active);
    sqlx::query("ROLLBACK")
        .execute(&mut intruder)
        .await
        .unwrap();
    let mut tries = 0;
    while store.health().await.is_err() {
        tries += 1;
        assert!(tries < 50, "the store must come back");
    }
    assert!(matches!(
        store.claim(&account(), &TransferId::from("t")).await,
        Ok(Claim::Claimed { .. })
    ));
    store.register(transfer("u")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_nobody_waits_for_is_undone() {
    let folder = Folder::new();
    let store = Store::open(&folder.url(), StoreOptions::default())
        .await
        .unwrap();
    for number in 0..200 {
        let id = format!("t{number}");
        store.register(transfer(&id)).await.unwrap();
        let (caller, at) = (store.clone(), id.clone());
        let waiting = tokio::spawn(async move { caller.claim(&account(), &TransferId(at)).await });
        tokio::time::sleep(Duration::from_micros(number * 20)).await;
        waiting.abort();
        let heard = waiting.await.is_ok();
        // Whatever is asked next is answered after the undoing.
        store.health().await.unwrap();
        let read = store
            .fetch(&account(), &TransferId(id))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            read.status,
            if heard {
                Status::Ongoing
            } else {
                Status::Active
            }
        );
    }
}

#[tokio::test]
async fn a_full_queue_is_unavailable_at_once() {
    let folder = Folder::new();
    let options = StoreOptions {
        queue: 4,
        ..StoreOptions::default()
    };
    let store = Store::open(&folder.url(), options).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..50 {
        let store = store.clone();
        writers.spawn(async move { store.register(transfer(&format!("t{number}"))).await });
    }
    let outcomes = writers.join_all().await;
    let refused = outcomes
        .iter()
        .filter(|outcome| **outcome == Err(RegisterError::Unavailable))
        .count();
    assert!((1..=46).contains(&refused), "{refused} refused");
}

#[tokio::test]
async fn urls_that_name_no_store_of_ours_are_refused() {
    let open = |url: &'static str| Store::open(url, StoreOptions::default());
    assert!(matches!(
        open("handback.db").await,
        Err(StoreError::UnknownScheme(_))
    ));
    assert!(matches!(
        open("sqlite://").await,
        Err(StoreError::Database { .. })
    ));
    assert!(matches!(
        open("sqlite::memory:").await,
        Err(StoreError::Database { .. })
    ));
    assert!(matches!(
        open("sqlite:///nowhere/at/all.db").await,
        Err(StoreError::Database { .. })
    ));
}
