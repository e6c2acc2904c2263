//! What must hold at every moment of every run, whatever the network and the parties do.

mod forks;
mod ledger;
mod rules;
mod voice;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use call_control::TRANSFER_HEADER;
use sip_core::LegId;
use sip_message::{HeaderName, Message, Method};
use timebase::Now;

use crate::host::Fact;
use crate::ladder;
use crate::plan::{GATEWAY, ROUGH, RunPlan, SBC};
use crate::store::Store;
use ledger::{Ledger, Plans};
use voice::Voice;
use wire::Wire;

pub use rules::{Rule, Violation};

/// What a message that breaks a rule is told by.
type Broken = (Rule, String);

/// From the loss of the agent to the first byte of the hand-back: `reconnect_timeout`, and what the
/// store, the names, a port and the ways inside the gateway take.
const HAND_BACK_WITHIN: Duration = Duration::from_millis(5_000 + 200);

/// Watches a run.
#[derive(Debug)]
pub(crate) struct Inspector {
    /// Whether each leg is over.
    legs: BTreeMap<(SocketAddr, LegId), bool>,
    wire: Wire,
    calls: Vec<Call>,
    /// The call that has claimed each transfer, as the calls themselves were told.
    claims: BTreeMap<String, usize>,
    /// Transfers whose store cannot be reached for a while: what it says is not judged meanwhile.
    excused: BTreeSet<String>,
    plans: Plans,
    ledger: Ledger,
    /// What came first under each Call-ID that is of no call yet, and whether anything was corrupted.
    invites: BTreeMap<Vec<u8>, (Message, bool)>,
    /// Whether the run has media.
    sounds: bool,
    first: Option<Violation>,
}

#[derive(Debug)]
struct Call {
    transfer: String,
    call_id: String,
    admitted: Now,
    accepted: bool,
    /// When the ACK came.
    acknowledged: Option<Now>,
    /// When the agent was lost.
    lost: Option<Now>,
    completions: u32,
    results: u32,
    /// Completions without a result.
    empties: u32,
    records: u32,
    /// The process that had it is dead.
    forgotten: bool,
    /// The caller's leg, and what it hears where the run has media.
    leg: LegId,
    voice: Voice,
    /// The Call-IDs of its return calls.
    dials: BTreeSet<Vec<u8>>,
}

impl Call {
    /// The agent is lost, or there is one again, or none is needed any more.
    fn agent(&mut self, now: Now, lost: bool) {
        self.lost = lost.then_some(now);
        self.voice.waits(self.lost);
    }
}

impl Inspector {
    pub(crate) fn new(plan: &RunPlan) -> Self {
        let transfers = plan.transfers.iter();
        let outages = transfers.filter(|plan| plan.store_outage.is_some());
        Self {
            plans: Plans::of(plan),
            ledger: Ledger::default(),
            legs: BTreeMap::new(),
            wire: Wire::default(),
            calls: Vec::new(),
            claims: BTreeMap::new(),
            excused: outages.map(|plan| plan.transfer.clone()).collect(),
            invites: BTreeMap::new(),
            sounds: plan.sounds,
            first: None,
        }
    }

    /// The first rule that was broken.
    pub(crate) const fn violation(&self) -> Option<&Violation> {
        self.first.as_ref()
    }

    pub(crate) fn broken(&mut self, at: Now, rule: Rule, detail: String) {
        self.first.get_or_insert(Violation { at, rule, detail });
    }

    /// Something is about to happen at this instant.
    pub(crate) fn moment(&mut self, now: Now) {
        // Before the ACK there is no call to hand back (RFC 3261 §13.3.1.4).
        let late = |call: &Call| {
            let since = call.lost.zip(call.acknowledged);
            let within = HAND_BACK_WITHIN + self.plans.write_takes(&call.transfer);
            since.is_some_and(|(lost, ack)| now - lost.max(ack) > within)
        };
        if let Some(call) = self.calls.iter().find(|call| late(call)) {
            let detail = format!("{} has neither agent nor hand-back", call.transfer);
            self.broken(now, Rule::HandBackInTime, detail);
        }
        if self.sounds {
            let mut calls = self.calls.iter();
            let silent = calls.find_map(|call| Some((call.voice.moment(now).err()?, call)));
            if let Some(((rule, detail), call)) = silent {
                let detail = format!("{}: {detail}", call.transfer);
                self.broken(now, rule, detail);
            }
        }
    }

    /// A packet leaves for the caller of a call.
    pub(crate) fn voice(&mut self, now: Now, seat: usize, silent: bool) {
        if let Err((rule, detail)) = self.calls[seat].voice.packet(now, silent) {
            let detail = format!("{}: {detail}", self.calls[seat].transfer);
            self.broken(now, rule, detail);
        }
    }

    /// The latest call with this Call-ID, unless its process is dead.
    fn seat_of(&self, call_id: &[u8]) -> Option<usize> {
        let of = |call: &Call| !call.forgotten && call.call_id.as_bytes() == call_id;
        self.calls.iter().rposition(of)
    }

    /// The call whose caller's dialog a message is of.
    fn call_of(&mut self, message: &Message) -> Option<&mut Call> {
        let seat = self.seat_of(message.call_id().ok()?)?;
        self.calls.get_mut(seat)
    }

    /// A message leaves a host; as an echo, at once upon something corrupted, whose parts it may repeat.
    pub(crate) fn sent(
        &mut self,
        now: Now,
        ends: (SocketAddr, SocketAddr),
        (message, echo): (&Message, bool),
        store: &Store,
    ) {
        let by = ends.0;
        // Whatever it was that was acknowledged: the waiting is over.
        let settles = matches!(message.method(), Method::Ack | Method::Cancel);
        if self.sounds && by == GATEWAY && (settles || !echo) {
            self.said(now, message);
        }
        if let Err((rule, detail)) = self.wire.sent(now, ends, message, echo) {
            self.broken(now, rule, format!("{}: {detail}", ladder::name(by)));
        }
        if let Err(error) = message.validate()
            && !echo
        {
            let detail = format!("{} sends {}: {error}", ladder::name(by), message.method());
            self.broken(now, Rule::WellFormed, detail);
        }
        match message.status() {
            Some(200..) if by == GATEWAY && !echo && message.method() == Method::Invite => {
                self.undone_first(now, message, store);
            }
            Some(_) => {}
            None if by == GATEWAY => self.store_first(now, message, store),
            None => {}
        }
    }

    /// What the caller hears follows from what is said: while a target rings, it waits.
    fn said(&mut self, now: Now, message: &Message) {
        if let Some(call) = self.call_of(message) {
            return call.voice.sent(now, message);
        }
        let first = message.to().is_ok_and(|to| to.tag().is_none());
        let transfer = message.header(HeaderName::from(TRANSFER_HEADER));
        let transfer = transfer.map(|id| String::from_utf8_lossy(&id).into_owned());
        match (message.status(), message.method()) {
            (None, Method::Invite) if first => {
                let of = |call: &&mut Call| Some(&call.transfer) == transfer.as_ref();
                for call in self.calls.iter_mut().filter(of) {
                    call.voice.waits(Some(now));
                    call.dials
                        .insert(message.call_id().unwrap_or_default().to_vec());
                }
            }
            (None, Method::Ack | Method::Cancel) => {
                let id = message.call_id().unwrap_or_default();
                let of = |call: &&mut Call| call.dials.contains(id);
                for call in self.calls.iter_mut().filter(of) {
                    call.voice.waits(None);
                }
            }
            _ => {}
        }
    }

    /// A message reached a host; a corrupted one is not what somebody said.
    pub(crate) fn heard(&mut self, now: Now, at: SocketAddr, message: &Message, corrupted: bool) {
        self.wire.heard(now, at, message, corrupted);
        if !self.sounds || at != GATEWAY {
            return;
        }
        // What a caller was misled by is in what it says: an ACK for a dialog that is none.
        let corrupted = corrupted || self.wire.misled(&[SBC, ROUGH]);
        match self.call_of(message) {
            Some(call) => call.voice.heard(now, message, corrupted),
            None => {
                let call_id = message.call_id().unwrap_or_default().to_vec();
                let first = self.invites.entry(call_id);
                let (_, spoiled) = first.or_insert_with(|| (message.clone(), false));
                *spoiled |= corrupted;
            }
        }
    }

    /// A connection of a host broke, or could not be opened.
    pub(crate) fn failed(&mut self, now: Now, host: SocketAddr) {
        self.wire.failed(now, host);
    }

    /// Bytes that are no message reached a host.
    pub(crate) fn garbled(&mut self, at: SocketAddr) {
        self.wire.garbled(at);
    }

    pub(crate) fn fact(&mut self, now: Now, by: SocketAddr, fact: &Fact, store: &Store) {
        match fact {
            Fact::LegBegan(leg) => {
                if self.legs.insert((by, *leg), false).is_some() {
                    self.broken(now, Rule::LegsEndOnce, format!("{leg:?} began twice"));
                }
            }
            Fact::LegSaid { leg, last } => self.leg_said(now, by, *leg, *last),
            Fact::Admitted {
                call_id,
                transfer,
                leg,
                ..
            } => self.admitted(now, call_id, transfer, *leg),
            Fact::Claimed { seat, transfer } => {
                if let Some(other) = self.claims.insert(transfer.clone(), *seat) {
                    let detail = format!("calls {other} and {seat} have {transfer}");
                    self.broken(now, Rule::ClaimsStand, detail);
                }
            }
            Fact::Released { seat, transfer } => {
                if self.claims.remove(transfer) != Some(*seat) {
                    let detail = format!("call {seat} releases {transfer}, which it has not");
                    self.broken(now, Rule::ClaimsStand, detail);
                }
            }
            Fact::Acknowledged { seat } => self.calls[*seat].acknowledged = Some(now),
            Fact::Agent { seat, lost } => self.calls[*seat].agent(now, *lost),
            Fact::Completion { seat } => self.calls[*seat].completions += 1,
            Fact::ResultStored { seat, empty } => self.result_stored(now, *seat, *empty),
            Fact::Completed { transfer } => self.ledger.completed(transfer),
            Fact::Recovered { transfers } => self.recovered(now, transfers),
            Fact::Expired { leg } => self.expired(now, by, *leg),
            Fact::StaleWrite { seat } => {
                let detail = format!("call {seat} writes without a claim");
                self.broken(now, Rule::ClaimsStand, detail);
            }
            Fact::Recorded {
                seat,
                handed_back,
                answered,
            } => self.recorded(now, *seat, (*handed_back, *answered), store),
            Fact::Note(_) => {}
        }
    }

    fn admitted(&mut self, now: Now, call_id: &str, transfer: &str, leg: LegId) {
        let mut voice = Voice::default();
        if let Some((invite, corrupted)) = self.invites.remove(call_id.as_bytes()) {
            voice.heard(now, &invite, corrupted);
        }
        self.calls.push(Call {
            transfer: transfer.to_owned(),
            call_id: call_id.to_owned(),
            admitted: now,
            accepted: false,
            acknowledged: None,
            lost: None,
            completions: 0,
            results: 0,
            empties: 0,
            records: 0,
            forgotten: false,
            leg,
            voice,
            dials: BTreeSet::new(),
        });
    }

    fn leg_said(&mut self, now: Now, by: SocketAddr, leg: LegId, last: bool) {
        let own = |call: &&mut Call| by == GATEWAY && last && call.leg == leg && !call.forgotten;
        if let Some(call) = self.calls.iter_mut().find(own) {
            call.voice.end(now);
        }
        match self.legs.insert((by, leg), last) {
            Some(false) => {}
            Some(true) => {
                let detail = format!("{leg:?} of {} speaks after its end", ladder::name(by));
                self.broken(now, Rule::LegsEndOnce, detail);
            }
            None => {
                let detail = format!("{leg:?} of {} never began", ladder::name(by));
                self.broken(now, Rule::LegsEndOnce, detail);
            }
        }
    }

    fn undone_first(&mut self, now: Now, message: &Message, store: &Store) {
        let status = message.status().unwrap_or_default();
        if status == 482 {
            // Another transaction than the call's.
            return;
        }
        let call_id = message.call_id().unwrap_or_default();
        let Some(seat) = self.seat_of(call_id) else {
            return;
        };
        self.calls[seat].accepted |= status < 300;
        let of = |call: &&Call| call.call_id.as_bytes() == call_id;
        if self.calls.iter().filter(of).count() > 1 {
            // A corrupted INVITE and the one that it was made of: whose answer this is cannot be told.
            return;
        }
        let id = &self.calls[seat].transfer;
        if self.calls[seat].accepted {
            return;
        }
        let excused = self.excused.contains(id) || self.plans.undoes_late(id);
        if store.holder(id) == Some(seat) && !excused {
            let detail = format!("{status} leaves while {id} is ONGOING");
            self.broken(now, Rule::UndoneFirst, detail);
        }
    }

    /// Requests of a hand-back carry the transfer's id: REFER, the return's INVITE, and the BYE.
    fn store_first(&mut self, now: Now, message: &Message, store: &Store) {
        let method = message.method();
        if !matches!(method, Method::Bye | Method::Refer | Method::Invite) {
            return;
        }
        let Some(id) = message.header(HeaderName::from(TRANSFER_HEADER)) else {
            return;
        };
        let id = String::from_utf8_lossy(&id);
        let calls = self.calls.iter_mut();
        for call in calls.filter(|call| call.transfer == id) {
            call.lost = None;
        }
        if !store.has_result(&id) && !self.excused.contains(id.as_ref()) {
            let detail = format!("{method} leaves while the store has no result of {id}");
            self.broken(now, Rule::StoreFirst, detail);
        }
    }
}

#[cfg(test)]
mod tests;
