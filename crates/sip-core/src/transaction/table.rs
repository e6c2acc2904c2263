//! All transactions of an endpoint: found by key, bounded, with one ordered set of deadlines.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use sip_message::{Message, Method};
use thiserror::Error;
use timebase::Now;

use super::key::Seeded;
use super::{
    ClientInvite, ClientRequest, Key, MergeKey, Misuse, Output, Outputs, ServerInvite,
    ServerRequest, Timers,
};

/// The number of a transaction; none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxId(u64);

/// How many transactions the table holds at most. Clients have a bound of their own, so that a
/// flood of requests cannot keep us from ending calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests of ours.
    pub clients: usize,
    /// Requests of others.
    pub servers: usize,
}

/// Why a transaction was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// The bound is reached: a request is answered 503 without state.
    #[error("as many transactions as allowed are open")]
    Full,
    /// The request's top Via has no usable branch, or what stands in for it is missing.
    #[error("the request has nothing to recognise its transaction by")]
    NoKey,
    /// A transaction with this key is open.
    #[error("the request is in a transaction already")]
    Duplicate,
}

/// One thing to be done for a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<C> {
    /// The transaction.
    pub id: TxId,
    /// What its user left with it: the flow, and whom it is for.
    pub context: C,
    /// What is to be done.
    pub output: Output,
}

/// How many transactions are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCensus {
    /// INVITEs of ours.
    pub client_invites: usize,
    /// Other requests of ours.
    pub client_requests: usize,
    /// INVITEs of others.
    pub server_invites: usize,
    /// Other requests of others.
    pub server_requests: usize,
}

/// All open transactions. `C` is what the transaction user keeps with each, copied into every
/// [`Step`]; make it small.
#[derive(Debug)]
pub struct Table<C> {
    timers: Timers,
    limits: Limits,
    next: u64,
    entries: HashMap<TxId, Entry<C>, Seeded>,
    by_key: HashMap<Key, TxId, Seeded>,
    merges: HashMap<MergeKey, TxId, Seeded>,
    deadlines: BTreeSet<(Now, TxId)>,
    census: TableCensus,
    scratch: Outputs,
    steps: VecDeque<Step<C>>,
}

#[derive(Debug)]
struct Entry<C> {
    key: Key,
    merge: Option<MergeKey>,
    deadline: Option<Now>,
    context: C,
    machine: Machine,
}

#[derive(Debug)]
enum Machine {
    ClientInvite(Box<ClientInvite>),
    ClientRequest(ClientRequest),
    ServerInvite(ServerInvite),
    ServerRequest(ServerRequest),
}

impl<C: Clone> Table<C> {
    /// An empty table. `seed` keys its hashing.
    #[must_use]
    pub fn new(timers: Timers, limits: Limits, seed: [u8; 16]) -> Self {
        Self {
            timers,
            limits,
            next: 0,
            entries: HashMap::with_hasher(Seeded(seed)),
            by_key: HashMap::with_hasher(Seeded(seed)),
            merges: HashMap::with_hasher(Seeded(seed)),
            deadlines: BTreeSet::new(),
            census: TableCensus::default(),
            scratch: Outputs::new(),
            steps: VecDeque::new(),
        }
    }

    /// Other base values and bounds for what begins from now on.
    pub const fn reconfigure(&mut self, timers: Timers, limits: Limits) {
        self.timers = timers;
        self.limits = limits;
    }

    /// Sends a request of ours in a transaction of its own. Its top Via has a branch of ours.
    pub fn send(
        &mut self,
        now: Now,
        request: &Message,
        reliable: bool,
        context: C,
    ) -> Result<TxId, Refused> {
        if self.census.client_invites + self.census.client_requests >= self.limits.clients {
            return Err(Refused::Full);
        }
        let key = Key::client(request).ok_or(Refused::NoKey)?;
        if self.by_key.contains_key(&key) {
            return Err(Refused::Duplicate);
        }
        let out = &mut self.scratch;
        let machine = if request.method() == Method::Invite {
            Machine::ClientInvite(Box::new(ClientInvite::new(
                now,
                self.timers,
                reliable,
                request.clone(),
                out,
            )))
        } else {
            Machine::ClientRequest(ClientRequest::new(
                now,
                self.timers,
                reliable,
                request.bytes().clone(),
                out,
            ))
        };
        Ok(self.begin(key, None, machine, context))
    }

    /// Begins the transaction of a request that [`Self::handle_request`] did not know. Not for
    /// ACK.
    pub fn serve(
        &mut self,
        now: Now,
        request: &Message,
        reliable: bool,
        context: C,
    ) -> Result<TxId, Refused> {
        if !self.has_room() {
            return Err(Refused::Full);
        }
        let key = Key::server(request).ok_or(Refused::NoKey)?;
        if self.by_key.contains_key(&key) {
            return Err(Refused::Duplicate);
        }
        let machine = if request.method() == Method::Invite {
            Machine::ServerInvite(ServerInvite::new(self.timers, reliable))
        } else {
            Machine::ServerRequest(ServerRequest::new(now, self.timers, reliable))
        };
        Ok(self.begin(key, MergeKey::of(request), machine, context))
    }

    /// Whether another request of a peer would find a place.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.census.server_invites + self.census.server_requests < self.limits.servers
    }

    /// Takes a response. `None`: it belongs to no transaction, and only a 2xx to INVITE can still
    /// concern a dialog.
    pub fn handle_response(&mut self, now: Now, response: &Message) -> Option<TxId> {
        let id = *self.by_key.get(&Key::client(response)?)?;
        self.change(id, |machine, out| match machine {
            Machine::ClientInvite(machine) => machine.handle_response(now, response, out),
            Machine::ClientRequest(machine) => machine.handle_response(now, response, out),
            Machine::ServerInvite(_) | Machine::ServerRequest(_) => {}
        });
        Some(id)
    }

    /// The transaction whose request a response answers.
    pub fn awaiting(&self, response: &Message) -> Option<TxId> {
        self.by_key.get(&Key::client(response)?).copied()
    }

    /// Takes a request that belongs to an open transaction: its repetition, or an INVITE's ACK.
    /// `None`: it is new, and for the transaction user.
    pub fn handle_request(&mut self, now: Now, request: &Message) -> Option<TxId> {
        let id = *self.by_key.get(&Key::server(request)?)?;
        let is_ack = request.method() == Method::Ack;
        self.change(id, |machine, out| match machine {
            Machine::ServerInvite(machine) if is_ack => machine.handle_ack(now, request, out),
            Machine::ServerInvite(machine) => machine.handle_request_again(out),
            Machine::ServerRequest(machine) => machine.handle_request_again(out),
            Machine::ClientInvite(_) | Machine::ClientRequest(_) => {}
        });
        Some(id)
    }

    /// Gives the response to a request of another.
    pub fn respond(
        &mut self,
        now: Now,
        id: TxId,
        status: u16,
        response: Bytes,
    ) -> Result<(), Misuse> {
        self.change(id, |machine, out| match machine {
            Machine::ServerInvite(machine) => machine.respond(now, status, response, out),
            Machine::ServerRequest(machine) => machine.respond(now, status, response, out),
            Machine::ClientInvite(_) | Machine::ClientRequest(_) => Err(Misuse::Unknown),
        })
        .unwrap_or(Err(Misuse::Unknown))
    }

    /// The INVITE that a CANCEL is for, RFC 3261 §9.2. `None` is answered 481.
    #[must_use]
    pub fn invite_of(&self, cancel: &Message) -> Option<TxId> {
        self.by_key.get(&Key::cancelled(cancel)?).copied()
    }

    /// Whether a request that [`Self::handle_request`] did not know came before by another path,
    /// to be answered 482 (RFC 3261 §8.2.2.2).
    #[must_use]
    pub fn is_merged(&self, request: &Message) -> bool {
        MergeKey::of(request).is_some_and(|key| self.merges.contains_key(&key))
    }

    /// Whether a CANCEL of this INVITE of ours may be sent now: a provisional response has come
    /// and no final one (RFC 3261 §9.1).
    #[must_use]
    pub fn can_cancel(&self, id: TxId) -> bool {
        match self.entries.get(&id).map(|entry| &entry.machine) {
            Some(Machine::ClientInvite(machine)) => machine.is_proceeding(),
            Some(
                Machine::ClientRequest(_) | Machine::ServerInvite(_) | Machine::ServerRequest(_),
            )
            | None => false,
        }
    }

    /// Whether a request of ours has no final response yet.
    #[must_use]
    pub fn awaits_answer(&self, id: TxId) -> bool {
        match self.entries.get(&id).map(|entry| &entry.machine) {
            Some(Machine::ClientInvite(machine)) => machine.awaits_answer(),
            Some(Machine::ClientRequest(machine)) => machine.awaits_answer(),
            Some(Machine::ServerInvite(_) | Machine::ServerRequest(_)) | None => false,
        }
    }

    /// This request of ours fails after so much silence already, RFC 3263 §4.3.
    pub fn limit_silence(&mut self, now: Now, id: TxId, patience: Duration) {
        self.change(id, |machine, _| match machine {
            Machine::ClientInvite(machine) => machine.limit_silence(now, patience),
            Machine::ClientRequest(machine) => machine.limit_silence(now, patience),
            Machine::ServerInvite(_) | Machine::ServerRequest(_) => {}
        });
    }

    /// A CANCEL of this INVITE of ours was sent: it times out 64·T1 from now.
    pub fn cancelled(&mut self, now: Now, id: TxId) {
        self.change(id, |machine, _| match machine {
            Machine::ClientInvite(machine) => machine.cancelled(now),
            Machine::ClientRequest(_) | Machine::ServerInvite(_) | Machine::ServerRequest(_) => {}
        });
    }

    /// The transaction that sent this message.
    #[must_use]
    pub fn sender_of(&self, message: &Message) -> Option<TxId> {
        let key = if message.is_request() {
            Key::client(message)?
        } else {
            Key::server(message)?
        };
        self.by_key.get(&key).copied()
    }

    /// The transport could not deliver what this transaction sent.
    pub fn handle_failure(&mut self, id: TxId) {
        self.change(id, |machine, out| match machine {
            Machine::ClientInvite(machine) => machine.handle_failure(out),
            Machine::ClientRequest(machine) => machine.handle_failure(out),
            Machine::ServerInvite(machine) => machine.handle_failure(out),
            Machine::ServerRequest(machine) => machine.handle_failure(out),
        });
    }

    /// What was left with a transaction.
    #[must_use]
    pub fn context(&self, id: TxId) -> Option<&C> {
        self.entries.get(&id).map(|entry| &entry.context)
    }

    /// What was left with a transaction, to be changed: a connection, once it is known.
    pub fn context_mut(&mut self, id: TxId) -> Option<&mut C> {
        self.entries.get_mut(&id).map(|entry| &mut entry.context)
    }

    /// The transactions whose context `wanted` accepts, in order of their beginning. Looks at all
    /// of them: for rare events, such as the loss of a connection.
    pub fn find(&self, wanted: impl Fn(&C) -> bool) -> Vec<TxId> {
        let found = self
            .entries
            .iter()
            .filter(|(_, entry)| wanted(&entry.context));
        let mut found: Vec<TxId> = found.map(|(id, _)| *id).collect();
        found.sort_unstable();
        found
    }

    /// Whether `wanted` accepts the context of some transaction. Looks at all of them, as [`Self::find`].
    pub fn any(&self, wanted: impl Fn(&C) -> bool) -> bool {
        self.entries.values().any(|entry| wanted(&entry.context))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(&(_, id)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.change(id, |machine, out| match machine {
                Machine::ClientInvite(machine) => machine.handle_timeout(now, out),
                Machine::ClientRequest(machine) => machine.handle_timeout(now, out),
                Machine::ServerInvite(machine) => machine.handle_timeout(now, out),
                Machine::ServerRequest(machine) => machine.handle_timeout(now, out),
            });
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next thing to be done. Drained after every call that changes the table.
    pub fn poll_output(&mut self) -> Option<Step<C>> {
        self.steps.pop_front()
    }

    /// How many transactions are open.
    #[must_use]
    pub const fn census(&self) -> TableCensus {
        self.census
    }

    /// Whether nothing is left of any transaction.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.entries.is_empty()
            && self.by_key.is_empty()
            && self.merges.is_empty()
            && self.deadlines.is_empty()
    }

    fn begin(&mut self, key: Key, merge: Option<MergeKey>, machine: Machine, context: C) -> TxId {
        let id = TxId(self.next);
        self.next += 1;
        *self.count(&machine) += 1;
        self.by_key.insert(key.clone(), id);
        if let Some(merge) = &merge {
            self.merges.entry(merge.clone()).or_insert(id);
        }
        self.entries.insert(
            id,
            Entry {
                key,
                merge,
                deadline: None,
                context,
                machine,
            },
        );
        self.change(id, |_, _| ());
        id
    }

    /// Lets `act` change a machine, then queues what the machine wants done and notes its deadline.
    fn change<R>(
        &mut self,
        id: TxId,
        act: impl FnOnce(&mut Machine, &mut Outputs) -> R,
    ) -> Option<R> {
        let entry = self.entries.get_mut(&id)?;
        let result = act(&mut entry.machine, &mut self.scratch);
        let mut ended = false;
        for output in self.scratch.drain(..) {
            ended |= output == Output::Ended;
            self.steps.push_back(Step {
                id,
                context: entry.context.clone(),
                output,
            });
        }
        let deadline = entry.machine.poll_timeout();
        if deadline != entry.deadline {
            if let Some(old) = entry.deadline {
                self.deadlines.remove(&(old, id));
            }
            self.deadlines.extend(deadline.map(|at| (at, id)));
            entry.deadline = deadline;
        }
        if ended {
            self.remove(id);
        }
        Some(result)
    }

    fn remove(&mut self, id: TxId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        *self.count(&entry.machine) -= 1;
        self.by_key.remove(&entry.key);
        if let Some(merge) = entry
            .merge
            .filter(|merge| self.merges.get(merge) == Some(&id))
        {
            self.merges.remove(&merge);
        }
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, id));
        }
    }

    const fn count(&mut self, machine: &Machine) -> &mut usize {
        match machine {
            Machine::ClientInvite(_) => &mut self.census.client_invites,
            Machine::ClientRequest(_) => &mut self.census.client_requests,
            Machine::ServerInvite(_) => &mut self.census.server_invites,
            Machine::ServerRequest(_) => &mut self.census.server_requests,
        }
    }
}

impl Machine {
    fn poll_timeout(&self) -> Option<Now> {
        match self {
            Self::ClientInvite(machine) => machine.poll_timeout(),
            Self::ClientRequest(machine) => machine.poll_timeout(),
            Self::ServerInvite(machine) => machine.poll_timeout(),
            Self::ServerRequest(machine) => machine.poll_timeout(),
        }
    }
}
