//! The rules of a transfer's life: one suite, run on every kind of store.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::time::Duration;

use call_control::transfer::{AccountId, Status, Transfer, TransferId};
use common::postgres::Server;
use common::{Folder, Hands, account, claimed, full_transfer, output, transfer};
use timebase::UnixMillis;
use transfer_store::{
    CallFilter, CallRecord, Checkpoint, Claim, Completion, EncryptionKey, Fence, RegisterError,
    Release, Store, StoreOptions, Swept, TakenOver, TransferFilter,
};

const START: i64 = 1_736_946_366_123;

/// A store of one kind and the clock that it reads.
struct World {
    store: Store,
    hands: Hands,
    _folder: Option<Folder>,
}

impl World {
    async fn memory() -> Self {
        let hands = Hands::at(START);
        Self {
            store: Store::open("memory://", hands.options()).await.unwrap(),
            hands,
            _folder: None,
        }
    }

    async fn sqlite() -> Self {
        let (hands, folder) = (Hands::at(START), Folder::new());
        Self {
            store: Store::open(&folder.url(), hands.options()).await.unwrap(),
            hands,
            _folder: Some(folder),
        }
    }

    async fn postgres(url: &str) -> Self {
        let hands = Hands::at(START);
        let options = StoreOptions {
            encryption_key: Some(EncryptionKey::new([7; 32])),
            ..hands.options()
        };
        Self {
            store: Store::open(url, options).await.unwrap(),
            hands,
            _folder: None,
        }
    }

    async fn read(&self, id: &str) -> Transfer {
        self.store
            .fetch(&account(), &TransferId::from(id))
            .await
            .unwrap()
            .unwrap()
    }

    async fn claim(&self, id: &str) -> Claim {
        self.store
            .claim(&account(), &TransferId::from(id))
            .await
            .unwrap()
    }

    async fn release(&self, id: &str, fence: Fence) -> Release {
        self.store
            .release(&account(), &TransferId::from(id), fence)
            .await
            .unwrap()
    }

    async fn complete(&self, id: &str, fence: Fence, task: Option<&str>) -> Completion {
        self.store
            .complete(&account(), &TransferId::from(id), fence, task.map(output))
            .await
            .unwrap()
    }

    fn now(&self) -> UnixMillis {
        self.hands.now()
    }
}

macro_rules! on_every_store {
    ($(async fn $name:ident($world:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                async fn story($world: World) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn in_memory() {
                    story(World::memory().await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn in_sqlite() {
                    story(World::sqlite().await).await;
                }

                pub(crate) async fn in_postgres(url: &str) {
                    let world = World::postgres(url).await;
                    let store = world.store.clone();
                    story(world).await;
                    store.close().await;
                }
            }
        )*

        /// All of them on one server, each in a database of its own: a server takes seconds to start.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn every_rule_holds_in_postgres() {
            let server = Server::start();
            let mut number = 0;
            $(
                println!("{}", stringify!($name));
                number += 1;
                $name::in_postgres(&server.database(&format!("t{number}"))).await;
            )*
            assert!(number > 20);
        }
    };
}

on_every_store! {
    async fn a_registered_transfer_is_read_back_as_it_came(world) {
        let stored = world.store.register(full_transfer("t")).await.unwrap();
        assert_eq!(stored.registered, full_transfer("t"));
        assert_eq!((stored.status, stored.created_at), (Status::Active, UnixMillis(START)));
        assert_eq!(world.read("t").await, stored);
        let variables = stored.registered.input.unwrap().input_variables.unwrap();
        assert_eq!(serde_json::to_string(&variables).unwrap(), r#"{"z":1.50,"a":{"b":[true,null,12345678901234567890]},"text":"ü\"\\"}"#);
    }

    async fn the_same_id_is_a_duplicate_in_its_account_only(world) {
        world.store.register(transfer("t")).await.unwrap();
        assert_eq!(world.store.register(full_transfer("t")).await, Err(RegisterError::Duplicate));
        assert!(world.read("t").await.registered.sip.is_none());
        let elsewhere = AccountId::from("other");
        let mut other = transfer("t");
        other.account = elsewhere.clone();
        world.store.register(other).await.unwrap();
        world.claim("t").await;
        let untouched = world.store.fetch(&elsewhere, &TransferId::from("t")).await.unwrap().unwrap();
        assert_eq!(untouched.status, Status::Active);
    }

    async fn an_unknown_id_is_neither_read_nor_claimed(world) {
        world.store.register(transfer("t")).await.unwrap();
        let other = AccountId::from("other");
        assert_eq!(world.store.fetch(&other, &TransferId::from("t")).await.unwrap(), None);
        assert_eq!(world.store.claim(&other, &TransferId::from("t")).await.unwrap(), Claim::Unknown);
        assert_eq!(world.claim("T").await, Claim::Unknown);
    }

    async fn a_claim_makes_the_transfer_ongoing_and_stamps_the_call(world) {
        world.store.register(full_transfer("t")).await.unwrap();
        world.hands.forward(Duration::from_secs(3));
        let Claim::Claimed { transfer, .. } = world.claim("t").await else { panic!("not claimed") };
        assert_eq!((transfer.status, transfer.call_received_at), (Status::Ongoing, Some(world.now())));
        assert_eq!(transfer.registered, full_transfer("t"));
        assert_eq!(world.read("t").await, *transfer);
        assert_eq!(world.claim("t").await, Claim::Ongoing);
    }

    async fn of_a_thousand_racing_claims_exactly_one_wins(world) {
        world.store.register(transfer("t")).await.unwrap();
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let store = world.store.clone();
            racers.spawn(async move { store.claim(&account(), &TransferId::from("t")).await.unwrap() });
        }
        let outcomes = racers.join_all().await;
        let winners = outcomes.iter().filter(|claim| matches!(claim, Claim::Claimed { .. })).count();
        let losers = outcomes.iter().filter(|claim| **claim == Claim::Ongoing).count();
        assert_eq!((winners, losers), (1, 999));
    }

    async fn a_claim_undone_leaves_the_transfer_as_it_was(world) {
        let before = world.store.register(full_transfer("t")).await.unwrap();
        let fence = claimed(&world.store, "t").await;
        assert_eq!(world.release("t", fence).await, Release::Released);
        assert_eq!(world.read("t").await, before);
        assert!(claimed(&world.store, "t").await > fence);
    }

    async fn only_the_latest_claim_may_write(world) {
        world.store.register(transfer("t")).await.unwrap();
        let old = claimed(&world.store, "t").await;
        world.release("t", old).await;
        assert_eq!(world.complete("t", old, Some("late")).await, Completion::Stale);
        assert_eq!(world.release("t", old).await, Release::Stale);
        let new = claimed(&world.store, "t").await;
        assert_eq!(world.release("t", old).await, Release::Stale);
        assert_eq!(world.complete("t", old, None).await, Completion::Stale);
        assert_eq!(world.read("t").await.status, Status::Ongoing);
        assert_eq!(world.complete("t", new, Some("done")).await, Completion::Written);
        assert_eq!(world.release("t", new).await, Release::Stale);
    }

    async fn the_time_to_live_counts_from_the_registration_even_after_an_undone_claim(world) {
        world.store.register(transfer("t")).await.unwrap();
        world.hands.forward(Duration::from_secs(599));
        let fence = claimed(&world.store, "t").await;
        world.hands.forward(Duration::from_secs(1));
        assert_eq!(world.read("t").await.status, Status::Ongoing);
        world.release("t", fence).await;
        assert_eq!(world.read("t").await.status, Status::Expired);
        assert_eq!(world.claim("t").await, Claim::Over);
    }

    async fn a_transfer_past_its_time_to_live_reads_expired_at_once(world) {
        world.store.register(transfer("t")).await.unwrap();
        world.hands.forward(Duration::from_millis(599_999));
        assert_eq!(world.read("t").await.status, Status::Active);
        world.hands.forward(Duration::from_millis(1));
        let unswept = world.read("t").await;
        assert_eq!(unswept.status, Status::Expired);
        assert_eq!(world.claim("t").await, Claim::Over);
        assert_eq!(world.store.sweep().await.unwrap(), Swept { expired: 1, deleted: 0 });
        assert_eq!(world.read("t").await, unswept);
        assert_eq!(world.claim("t").await, Claim::Over);
        assert_eq!(world.store.register(transfer("t")).await, Err(RegisterError::Duplicate));
        assert_eq!(world.store.sweep().await.unwrap(), Swept::default());
    }

    async fn the_first_completion_sets_the_time_for_good_and_a_later_one_replaces_the_output(world) {
        world.store.register(transfer("t")).await.unwrap();
        let fence = claimed(&world.store, "t").await;
        world.hands.forward(Duration::from_secs(20));
        let first = world.now();
        assert_eq!(world.complete("t", fence, Some("one")).await, Completion::Written);
        world.hands.forward(Duration::from_secs(20));
        assert_eq!(world.complete("t", fence, Some("two")).await, Completion::Written);
        let read = world.read("t").await;
        assert_eq!((read.status, read.completed_at), (Status::Completed, Some(first)));
        assert_eq!(read.output, Some(output("two")));
        assert_eq!(world.claim("t").await, Claim::Over);
    }

    async fn a_caller_who_hangs_up_after_a_completion_leaves_the_last_output(world) {
        world.store.register(transfer("t")).await.unwrap();
        let fence = claimed(&world.store, "t").await;
        world.complete("t", fence, Some("one")).await;
        assert_eq!(world.complete("t", fence, None).await, Completion::Written);
        assert_eq!(world.complete("t", fence, Some("late")).await, Completion::Closed);
        assert_eq!(world.read("t").await.output, Some(output("one")));
    }

    async fn a_completion_after_the_hang_up_never_shows(world) {
        world.store.register(transfer("t")).await.unwrap();
        let fence = claimed(&world.store, "t").await;
        assert_eq!(world.complete("t", fence, None).await, Completion::Written);
        assert_eq!(world.complete("t", fence, Some("late")).await, Completion::Closed);
        assert_eq!(world.complete("t", fence, None).await, Completion::Written);
        let read = world.read("t").await;
        assert_eq!((read.status, read.output), (Status::Completed, None));
        assert_eq!(read.completed_at, Some(UnixMillis(START)));
    }

    async fn a_conversations_finished_transfers_are_found_with_their_transcripts_latest_first(world) {
        for (n, id) in ["one", "two", "three", "open"].into_iter().enumerate() {
            world.hands.forward(Duration::from_secs(n as u64 + 1));
            world.store.register(transfer(id)).await.unwrap();
        }
        let mut stranger = transfer("elsewhere");
        stranger.external_conversation_id = "conversation-2".to_owned();
        world.store.register(stranger).await.unwrap();
        for id in ["one", "two", "three", "elsewhere"] {
            let fence = claimed(&world.store, id).await;
            let task = (id != "three").then_some(id);
            world.complete(id, fence, task).await;
        }
        let said = r#"[{"text":"hello"}]"#.to_owned();
        let two = TransferId::from("two");
        world.store.put_transcript(&account(), &two, said.clone()).await.unwrap();
        let found = world.store.conversation(&account(), "conversation-1", 10).await.unwrap();
        let told: Vec<_> = found
            .into_iter()
            .map(|earlier| (earlier.transfer.registered.id.0, earlier.transcript))
            .collect();
        assert_eq!(told, [("two".to_owned(), Some(said)), ("one".to_owned(), None)]);
        let latest = world.store.conversation(&account(), "conversation-1", 1).await.unwrap();
        assert_eq!(latest.len(), 1);
        let other = AccountId::from("somebody-else");
        assert_eq!(world.store.conversation(&other, "conversation-1", 10).await.unwrap(), []);
    }

    async fn an_unclaimed_transfer_cannot_be_completed(world) {
        world.store.register(transfer("t")).await.unwrap();
        assert_eq!(world.complete("t", Fence(0), Some("x")).await, Completion::Stale);
        assert_eq!(world.complete("unknown", Fence(0), None).await, Completion::Stale);
        assert_eq!(world.read("t").await.status, Status::Active);
    }

    async fn finished_transfers_are_deleted_after_their_keep_time(world) {
        for id in ["completed", "expired", "ongoing"] {
            world.store.register(transfer(id)).await.unwrap();
        }
        let fence = claimed(&world.store, "completed").await;
        claimed(&world.store, "ongoing").await;
        world.complete("completed", fence, None).await;
        world.hands.forward(Duration::from_secs(601));
        assert_eq!(world.store.sweep().await.unwrap(), Swept { expired: 1, deleted: 0 });
        world.hands.forward(StoreOptions::default().keep - Duration::from_secs(601));
        assert_eq!(world.store.sweep().await.unwrap(), Swept { expired: 0, deleted: 1 });
        assert!(world.store.fetch(&account(), &TransferId::from("completed")).await.unwrap().is_none());
        world.hands.forward(Duration::from_secs(600));
        assert_eq!(world.store.sweep().await.unwrap(), Swept { expired: 0, deleted: 1 });
        assert_eq!(world.read("ongoing").await.status, Status::Ongoing);
    }

    async fn a_sweep_of_many_does_all_of_them(world) {
        for number in 0..1203 {
            world.store.register(transfer(&format!("t{number}"))).await.unwrap();
        }
        world.hands.forward(Duration::from_secs(600));
        assert_eq!(world.store.sweep().await.unwrap(), Swept { expired: 1203, deleted: 0 });
    }

    async fn what_a_dead_process_had_claimed_is_completed_without_output(world) {
        world.store.join().await.unwrap();
        for id in ["waiting", "lost", "finished"] {
            world.store.register(full_transfer(id)).await.unwrap();
        }
        let lost = claimed(&world.store, "lost").await;
        let finished = claimed(&world.store, "finished").await;
        world.complete("finished", finished, Some("x")).await;
        world.hands.forward(Duration::from_secs(9));
        assert_eq!(world.store.take_over(true).await.unwrap(), TakenOver::default());
        world.store.join().await.unwrap();
        let taken = world.store.take_over(true).await.unwrap();
        assert_eq!((taken.calls.len(), &taken.lost[..]), (0, &[world.read("lost").await][..]));
        assert_eq!((taken.lost[0].status, taken.lost[0].completed_at), (Status::Completed, Some(world.now())));
        assert_eq!(taken.lost[0].output, None);
        assert_eq!(world.complete("lost", lost, Some("ghost")).await, Completion::Stale);
        assert_eq!(world.read("waiting").await.status, Status::Active);
        assert_eq!(world.read("finished").await.output, Some(output("x")));
        assert_eq!(world.store.take_over(true).await.unwrap(), TakenOver::default());
    }

    async fn a_dead_processs_call_goes_to_the_next_with_what_was_stored_last(world) {
        world.store.join().await.unwrap();
        for id in ["t1", "t2"] {
            world.store.register(full_transfer(id)).await.unwrap();
        }
        let (t1, t2) = (claimed(&world.store, "t1").await, claimed(&world.store, "t2").await);
        assert!(world.store.checkpoint(checkpoint("call-1", "t1", t1, "early")).await.unwrap());
        world.hands.forward(Duration::from_secs(1));
        assert!(world.store.checkpoint(checkpoint("call-1", "t1", t1, "late")).await.unwrap());
        assert!(!world.store.checkpoint(checkpoint("call-9", "t1", Fence(t1.0 + 1), "x")).await.unwrap());
        world.store.checkpoint(checkpoint("call-2", "t2", t2, "handed back")).await.unwrap();
        world.complete("t2", t2, Some("done")).await;
        assert_eq!(world.store.take_over(true).await.unwrap(), TakenOver::default());

        world.store.join().await.unwrap();
        let mut taken = world.store.take_over(true).await.unwrap();
        taken.calls.sort_by(|a, b| a.checkpoint.call.cmp(&b.checkpoint.call));
        assert_eq!((taken.calls.len(), taken.lost.len()), (2, 0));
        let [first, second] = &taken.calls[..] else { panic!("{taken:?}") };
        assert_eq!((first.checkpoint.state.as_str(), first.stored_at), ("late", world.now()));
        assert_eq!(first.transfer, Some(world.read("t1").await));
        assert_eq!(world.read("t1").await.status, Status::Ongoing);
        assert_eq!(second.transfer.as_ref().unwrap().output, Some(output("done")));
        assert!(first.checkpoint.fence > t1 && second.checkpoint.fence > t2);
        assert_eq!(world.complete("t1", t1, Some("ghost")).await, Completion::Stale);
        assert!(!world.store.checkpoint(checkpoint("call-1", "t1", t1, "ghost")).await.unwrap());
        assert_eq!(world.store.take_over(true).await.unwrap(), TakenOver::default());
        assert_eq!(world.complete("t1", first.checkpoint.fence, None).await, Completion::Written);
    }

    async fn a_call_that_was_recorded_is_not_taken_over(world) {
        world.store.join().await.unwrap();
        world.store.register(transfer("t1")).await.unwrap();
        let fence = claimed(&world.store, "t1").await;
        world.store.checkpoint(checkpoint("call-1", "t1", fence, "x")).await.unwrap();
        world.complete("t1", fence, None).await;
        world.store.record_call(record("call-1", "t1", "caller_hung_up", 3)).await.unwrap();
        world.store.join().await.unwrap();
        assert_eq!(world.store.take_over(true).await.unwrap(), TakenOver::default());
        assert!(world.store.renew().await.unwrap());
    }

    async fn every_kind_of_id_is_told_from_its_like(world) {
        let ids = ["a", "A", "a%20", "a'--", "\"a\"", "a/b", "~!@#$^&*()_+|{}:<>?", "a ", "ä"];
        for id in ids {
            world.store.register(transfer(id)).await.unwrap();
        }
        for id in ids {
            assert_eq!(world.read(id).await.registered.id.as_str(), id);
        }
    }

    async fn a_call_that_is_over_is_found_by_its_id_and_by_what_it_was(world) {
        let mut first = record("call-1", "t1", "handed_back", 10);
        world.store.record_call(first.clone()).await.unwrap();
        world.store.record_call(record("call-2", "t2", "cancelled", 20)).await.unwrap();
        world.store.record_call(record("call-3", "t2", "handed_back", 20)).await.unwrap();
        first.record = r#"{"again":true}"#.to_owned();
        world.store.record_call(first.clone()).await.unwrap();
        assert_eq!(world.store.call("call-1").await.unwrap(), Some(first));
        assert_eq!(world.store.call("call-9").await.unwrap(), None);
        let all = CallFilter { limit: 10, ..CallFilter::default() };
        assert_eq!(names(&world.store.calls(&all).await.unwrap()), ["call-3", "call-2", "call-1"]);
        let handed_back = CallFilter { outcome: Some("handed_back".to_owned()), ..all.clone() };
        assert_eq!(names(&world.store.calls(&handed_back).await.unwrap()), ["call-3", "call-1"]);
        let of_t2 = CallFilter { account: Some(account()), transfer: Some("t2".into()), ..all.clone() };
        assert_eq!(names(&world.store.calls(&of_t2).await.unwrap()), ["call-3", "call-2"]);
        let elsewhere = CallFilter { account: Some("other".into()), ..all.clone() };
        assert_eq!(names(&world.store.calls(&elsewhere).await.unwrap()), [""; 0]);
        let page = CallFilter { after: Some((UnixMillis(START + 20), "call-3".to_owned())), limit: 1, ..all };
        assert_eq!(names(&world.store.calls(&page).await.unwrap()), ["call-2"]);
    }

    async fn records_of_calls_go_after_the_keep_time(world) {
        world.store.record_call(record("call-1", "t1", "handed_back", 0)).await.unwrap();
        world.hands.forward(StoreOptions::default().keep - Duration::from_millis(1));
        world.store.sweep().await.unwrap();
        assert!(world.store.call("call-1").await.unwrap().is_some());
        world.hands.forward(Duration::from_millis(1));
        world.store.sweep().await.unwrap();
        assert!(world.store.call("call-1").await.unwrap().is_none());
    }

    async fn transfers_are_listed_the_latest_first_in_pages(world) {
        for id in ["a", "b", "c"] {
            world.store.register(transfer(id)).await.unwrap();
            world.hands.forward(Duration::from_secs(1));
        }
        claimed(&world.store, "b").await;
        let all = TransferFilter { limit: 2, ..TransferFilter::default() };
        let page = world.store.transfers(&all).await.unwrap();
        assert_eq!(ids(&page), ["c", "b"]);
        let after = page.last().map(|last| (last.created_at, account(), last.registered.id.clone()));
        let next = TransferFilter { after, ..all.clone() };
        assert_eq!(ids(&world.store.transfers(&next).await.unwrap()), ["a"]);
        let in_status = |status| TransferFilter { status: Some(status), account: Some(account()), ..all.clone() };
        assert_eq!(ids(&world.store.transfers(&in_status(Status::Ongoing)).await.unwrap()), ["b"]);
        assert_eq!(ids(&world.store.transfers(&in_status(Status::Active)).await.unwrap()), ["c", "a"]);
        world.hands.forward(Duration::from_secs(600));
        assert_eq!(ids(&world.store.transfers(&in_status(Status::Active)).await.unwrap()), [""; 0]);
        let expired = world.store.transfers(&in_status(Status::Expired)).await.unwrap();
        assert_eq!((ids(&expired), expired[0].status), (vec!["c", "a"], Status::Expired));
        let talk = |name: &str| TransferFilter { conversation: Some(name.to_owned()), limit: 9, ..in_status(Status::Expired) };
        assert_eq!(world.store.transfers(&talk("conversation-1")).await.unwrap().len(), 2);
        assert_eq!(world.store.transfers(&talk("another")).await.unwrap().len(), 0);
    }
}

fn checkpoint(call: &str, of: &str, fence: Fence, state: &str) -> Checkpoint {
    Checkpoint {
        call: call.to_owned(),
        account: account(),
        transfer: of.into(),
        fence,
        state: state.to_owned(),
    }
}

fn record(call: &str, of: &str, outcome: &str, ended: i64) -> CallRecord {
    CallRecord {
        call: call.to_owned(),
        account: account(),
        transfer: of.into(),
        trunk: "sbc".to_owned(),
        outcome: outcome.to_owned(),
        arrived_at: UnixMillis(START),
        ended_at: UnixMillis(START + ended),
        record: "{}".to_owned(),
    }
}

fn names(records: &[CallRecord]) -> Vec<&str> {
    records.iter().map(|record| record.call.as_str()).collect()
}

fn ids(transfers: &[Transfer]) -> Vec<&str> {
    let mut ids = Vec::new();
    for transfer in transfers {
        ids.push(transfer.registered.id.as_str());
    }
    ids
}
