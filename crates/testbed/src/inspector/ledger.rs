//! What the store has, what the calls' records say, and whether the two agree.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use call_control::transfer::Status;
use sip_core::{Census, LegId};
use timebase::Now;

use super::{Call, Inspector, Rule};
use crate::gateway::Gateway;
use crate::ladder;
use crate::plan::{GATEWAY, RunPlan};
use crate::store::Store;

/// How long a call waits for the store to undo a claim, less what the ways take.
const UNDO_WITHIN: Duration = Duration::from_millis(2_900);
/// How long the answer to a CANCEL waits for claim and undoing, less the same.
const CANCELS_WITHIN: Duration = Duration::from_millis(4_800);

/// What was planned for each transfer, as far as rules depend on it.
#[derive(Debug, Default)]
pub(super) struct Plans {
    transfers: BTreeMap<String, Times>,
    may_expire: bool,
}

/// How long things take.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    claim: Duration,
    write: Duration,
    /// The longest that an agent may keep the call.
    call: Duration,
}

impl Plans {
    pub(super) fn of(plan: &RunPlan) -> Self {
        let transfers = plan.transfers.iter().map(|plan| {
            let (claim, write) = plan.store_late;
            let call = plan.call_duration;
            (plan.transfer.clone(), Times { claim, write, call })
        });
        Self {
            transfers: transfers.collect(),
            may_expire: plan.may_expire(),
        }
    }

    fn times(&self, transfer: &str) -> Times {
        self.transfers.get(transfer).copied().unwrap_or_default()
    }

    pub(super) fn write_takes(&self, transfer: &str) -> Duration {
        self.times(transfer).write
    }

    /// Whether the store is slower than a refusal waits for it.
    pub(super) fn undoes_late(&self, transfer: &str) -> bool {
        let Times { claim, write, .. } = self.times(transfer);
        write >= UNDO_WITHIN || claim + write >= CANCELS_WITHIN
    }
}

/// What the store was seen to do.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    completed: BTreeSet<String>,
    /// What was ONGOING when the gateway's process died.
    left: BTreeSet<String>,
    recovered: BTreeSet<String>,
    /// What has an answered call's record.
    outcomes: BTreeSet<String>,
}

impl Ledger {
    pub(super) fn completed(&mut self, transfer: &str) {
        self.completed.insert(transfer.to_owned());
    }

    pub(super) fn recovered(&self, transfer: &str) -> bool {
        self.recovered.contains(transfer)
    }
}

impl Inspector {
    /// A host's process died: it is not held to what it forgot.
    pub(crate) fn died(&mut self, now: Now, host: SocketAddr, store: &Store) {
        self.legs.retain(|(of, _), _| *of != host);
        self.wire.forget(host);
        if host != GATEWAY {
            return;
        }
        for call in self.calls.iter_mut().filter(|call| call.records == 0) {
            call.forgotten = true;
            call.lost = None;
            call.voice.end(now);
        }
        let claimed = self.claims.keys().cloned();
        let left: BTreeSet<String> = claimed
            .filter(|id| !self.ledger.completed.contains(id))
            .collect();
        let ongoing = store
            .statuses()
            .filter(|(_, status, _)| *status == Status::Ongoing);
        let ongoing: BTreeSet<String> = ongoing.map(|(id, ..)| id.to_owned()).collect();
        if left != ongoing {
            let detail = format!("the calls had {left:?}, the store has {ongoing:?} ONGOING");
            self.broken(now, Rule::RecordsTrue, detail);
        }
        self.ledger.left = left;
    }

    /// After a restart the store has completed what the dead process left ONGOING, and nothing else.
    pub(super) fn recovered(&mut self, now: Now, transfers: &[String]) {
        let recovered: BTreeSet<String> = transfers.iter().cloned().collect();
        let completed = &self.ledger.completed;
        let left = self.ledger.left.difference(completed).cloned().collect();
        if recovered != left {
            let detail = format!("{recovered:?} recovered, {left:?} were ONGOING");
            self.broken(now, Rule::RecordsTrue, detail);
        }
        self.ledger.completed.extend(recovered.iter().cloned());
        self.ledger.recovered.extend(recovered);
    }

    pub(super) fn expired(&mut self, now: Now, host: SocketAddr, leg: LegId) {
        if !self.plans.may_expire {
            let detail = format!("{leg:?} of {} was not refreshed", ladder::name(host));
            self.broken(now, Rule::SessionsStand, detail);
        }
    }

    /// Everything is quiet: nothing may be left.
    pub(crate) fn close(&mut self, now: Now, gateway: &Gateway, censuses: &[(SocketAddr, Census)]) {
        let open = |(key, over): (&(SocketAddr, LegId), &bool)| (!over).then_some(*key);
        let open: Vec<_> = self.legs.iter().filter_map(open).collect();
        for (host, leg) in open {
            // A host that died took its legs with it.
            if censuses.iter().any(|(address, _)| *address == host) {
                let detail = format!("{leg:?} of {} never ended", ladder::name(host));
                self.broken(now, Rule::LegsEndOnce, detail);
            }
        }
        for (host, census) in censuses {
            if *census != Census::default() {
                let detail = format!("{} holds {census:?}", ladder::name(*host));
                self.broken(now, Rule::NothingLeft, detail);
            }
        }
        let unrecorded = |call: &&Call| call.records != 1 && !call.forgotten;
        let records = self.calls.iter().filter(unrecorded).count();
        if records + gateway.open_calls() > 0 {
            let detail = format!("{} calls without a record", gateway.open_calls());
            self.broken(now, Rule::RecordsTrue, detail);
        }
        if let Err((rule, detail)) = self.wire.close() {
            self.broken(now, rule, detail);
        }
        if gateway.ports_in_use() > 0 {
            let detail = format!("{} ports are missing", gateway.ports_in_use());
            self.broken(now, Rule::PortsReturn, detail);
        }
        for (id, status, times) in gateway.store.statuses() {
            if status == Status::Ongoing {
                self.broken(now, Rule::NoneOngoing, format!("{id} is ONGOING"));
            }
            self.completed_once(now, id, status, times);
        }
    }

    fn completed_once(&mut self, now: Now, id: &str, status: Status, times: u32) {
        let mut calls = self.calls.iter();
        let answered = calls.any(|call| call.transfer == id && call.accepted);
        // A process that dies leaves what it had claimed, answered or not.
        let completed = answered || self.ledger.recovered(id);
        if times > 1 || completed != (status == Status::Completed) {
            let detail =
                format!("{id} is {status:?}, answered: {answered}, completed {times} times");
            self.broken(now, Rule::CompletedOnce, detail);
        }
    }

    pub(super) fn result_stored(&mut self, now: Now, seat: usize, empty: bool) {
        let call = &mut self.calls[seat];
        if empty {
            call.empties += 1;
        } else {
            call.results += 1;
        }
        let longest = self.plans.times(&call.transfer).call;
        let overlong = now - call.admitted >= longest;
        let unfounded = call.results > call.completions && !overlong;
        if unfounded || call.empties > 1 || call.empties == 1 && call.results > 0 {
            let (results, empties) = (call.results, call.empties);
            let completions = call.completions;
            let detail = format!("{results} results, {empties} without, {completions} completions");
            self.broken(now, Rule::OneResultEach, detail);
        }
    }

    pub(super) fn recorded(
        &mut self,
        now: Now,
        seat: usize,
        (handed_back, answered): (bool, bool),
        store: &Store,
    ) {
        let call = &mut self.calls[seat];
        call.records += 1;
        call.lost = None;
        let (records, id) = (call.records, call.transfer.clone());
        if records > 1 {
            let detail = format!("call {seat} has {records} records");
            self.broken(now, Rule::RecordsTrue, detail);
        }
        if answered && !self.ledger.outcomes.insert(id.clone()) {
            let detail = format!("{id} has a second outcome");
            self.broken(now, Rule::OneOutcome, detail);
        }
        if self.excused.contains(&id) {
            return;
        }
        if handed_back && !store.has_result(&id) {
            let detail = format!("{id} was handed back without a result");
            self.broken(now, Rule::RecordsTrue, detail);
        }
        if store.holder(&id) == Some(seat) && !self.plans.undoes_late(&id) {
            let what = if answered { "ended" } else { "was refused" };
            let detail = format!("{id} is ONGOING though its call {what}");
            self.broken(now, Rule::RecordsTrue, detail);
        }
    }
}
