//! The endpoint: every transaction, dialog and leg of one SIP node, as one machine.

mod arrivals;
mod graves;
mod receive;
mod repeats;
mod responses;
mod strangers;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use timebase::{Now, earliest};

use crate::checkpoint::{DialogCheckpoint, Restore};
use crate::config::EndpointConfig;
use crate::ended::{Census, Counters, Ended};
use crate::flow::ConnectionId;
use crate::leg::Leg;
use crate::ping;
use crate::stack::{Context, Stack};
use crate::transaction::{Output as TxOutput, Step};
use crate::trunks::Gate;
use crate::vocabulary::{Command, Input, LegEvent, LegId, Output, Place};
use arrivals::Waiting;
use graves::Graves;
use repeats::Repeats;
use strangers::Strangers;

/// A SIP endpoint without input or output: RFC 3261's transaction layer and user agent core.
#[derive(Debug)]
pub struct Endpoint {
    stack: Stack,
    gate: Gate,
    legs: HashMap<LegId, Leg>,
    by_tag: HashMap<Bytes, LegId>,
    deadlines: BTreeSet<(Now, LegId)>,
    due: HashMap<LegId, Now>,
    graves: Graves,
    waiting: Waiting,
    repeats: Repeats,
    strangers: Strangers,
    draining: bool,
}

impl Endpoint {
    /// An endpoint; all its tags, branches, Call-IDs and nonces come from `seed`.
    #[must_use]
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let stack = Stack::new(config, seed);
        Self {
            gate: Gate::new(&stack.config, &stack.ids),
            stack,
            legs: HashMap::new(),
            by_tag: HashMap::new(),
            deadlines: BTreeSet::new(),
            due: HashMap::new(),
            graves: Graves::default(),
            waiting: Waiting::default(),
            repeats: Repeats::default(),
            strangers: Strangers::default(),
            draining: false,
        }
    }

    /// Takes one input; what it causes is read with [`Self::poll_output`].
    pub fn handle_input(&mut self, now: Now, input: Input) {
        match input {
            Input::Received { flow, message } => self.receive(now, flow, message),
            Input::ConnectionClosed { connection, remote } => {
                self.connection_closed(now, connection, remote);
            }
            Input::SendFailed { flow, payload } => self.send_failed(flow, payload),
            Input::Admit(invitation) => self.admit(now, &invitation),
            Input::Refuse {
                invitation,
                refusal,
            } => self.refuse(now, &invitation, &refusal),
            Input::Command { leg, command } => self.command(now, leg, command),
            Input::Place(place) => self.place(now, *place),
            Input::Restore(restore) => self.restore(now, *restore),
            Input::Ping(ping) => ping::send(now, &mut self.stack, &ping),
            Input::Reconfigure(config) => self.reconfigure(*config),
            Input::Drain(draining) => self.draining = draining,
        }
        self.work(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        let sent = self.stack.counters.sent;
        self.stack.table.handle_timeout(now);
        self.work(now);
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.with_leg(now, id, |leg, stack| leg.handle_timeout(now, stack));
            self.work(now);
        }
        self.graves.handle_timeout(now);
        self.stack.counters.retransmitted += self.stack.counters.sent - sent;
    }

    /// The next thing to do for the shell.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.stack.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        let leg = self.deadlines.first().map(|(at, _)| *at);
        earliest(
            earliest(self.stack.table.poll_timeout(), leg),
            self.graves.poll_timeout(),
        )
    }

    /// How much the endpoint holds.
    #[must_use]
    pub fn census(&self) -> Census {
        let table = self.stack.table.census();
        Census {
            legs: self.legs.len(),
            dialogs: self.legs.len() + self.graves.len(),
            transactions: table.client_invites
                + table.client_requests
                + table.server_invites
                + table.server_requests,
            invitations: self.waiting.len(),
        }
    }

    /// Whether a dialog or a transaction is on a connection, so that it is to stay open.
    #[must_use]
    pub fn uses(&self, connection: ConnectionId) -> bool {
        self.legs.values().any(|leg| leg.is_on(connection))
            || self
                .stack
                .table
                .any(|context| context.flow.connection == Some(connection))
    }

    /// What the endpoint has counted.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.stack.counters
    }

    fn command(&mut self, now: Now, leg: LegId, command: Command) {
        tracing::debug!(leg = leg.0, ?command, "command");
        self.with_leg(now, leg, |leg, stack| {
            leg.handle_command(now, stack, command)
        });
    }

    fn place(&mut self, now: Now, place: Place) {
        let id = place.leg;
        if self.legs.contains_key(&id) {
            tracing::warn!(leg = id.0, "leg placed twice");
            return;
        }
        let full = self.legs.len() + self.waiting.len() >= self.stack.config.bounds.legs;
        let leg = if full {
            None
        } else {
            Leg::place(now, &mut self.stack, place)
        };
        match leg {
            Some(leg) => {
                self.stack.counters.placed += 1;
                self.add_leg(now, leg);
            }
            None => {
                let event = LegEvent::Refused {
                    status: 503,
                    reason: "No Transaction Free".to_owned(),
                    contacts: Vec::new(),
                    reasons: Vec::new(),
                    retry_after: None,
                    answered: false,
                };
                self.stack.emit(id, event);
                self.stack.emit(
                    id,
                    LegEvent::Ended {
                        why: Ended::Refused(503),
                    },
                );
            }
        }
    }

    /// A leg of a process that is gone is not turned away for its number: its caller waits.
    fn restore(&mut self, now: Now, restore: Restore) {
        if self.legs.contains_key(&restore.leg)
            || self.by_tag.contains_key(&restore.dialog.local_tag)
        {
            tracing::warn!(leg = restore.leg.0, "leg restored twice");
            return self.stack.emit(
                restore.leg,
                LegEvent::Ended {
                    why: Ended::Gone(481),
                },
            );
        }
        let leg = Leg::restore(&self.stack, restore);
        self.add_leg(now, leg);
    }

    /// The dialog of a leg as plain data, while it stands.
    #[must_use]
    pub fn checkpoint(&self, leg: LegId) -> Option<DialogCheckpoint> {
        self.legs.get(&leg)?.checkpoint()
    }

    fn reconfigure(&mut self, config: EndpointConfig) {
        self.gate.reconfigure(&config);
        self.stack.reconfigure(config);
    }

    fn add_leg(&mut self, now: Now, leg: Leg) {
        let id = leg.id;
        self.by_tag.insert(leg.tag.clone(), id);
        self.legs.insert(id, leg);
        self.settle(now, id);
    }

    /// Lets a leg act, then notes its deadline, or buries it.
    fn with_leg(&mut self, now: Now, id: LegId, act: impl FnOnce(&mut Leg, &mut Stack)) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        act(leg, &mut self.stack);
        self.settle(now, id);
    }

    fn settle(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.ask(&mut self.stack);
        let deadline = leg.poll_timeout();
        let old = match deadline {
            Some(at) => self.due.insert(id, at),
            None => self.due.remove(&id),
        };
        if old != deadline {
            old.map(|at| self.deadlines.remove(&(at, id)));
            self.deadlines.extend(deadline.map(|at| (at, id)));
        }
        if let Some(dialog) = leg.ended() {
            if let Some(dialog) = dialog {
                self.graves
                    .bury(now + self.stack.config.timers.give_up(), dialog);
            }
            self.by_tag.remove(&leg.tag);
            self.legs.remove(&id);
        }
    }

    /// Does what the transaction layer wants done, until there is nothing more.
    fn work(&mut self, now: Now) {
        while let Some(Step {
            id,
            context,
            output,
        }) = self.stack.table.poll_output()
        {
            let Context { flow, leg, .. } = context;
            match output {
                TxOutput::Send(payload) => self.stack.transmit(flow, payload),
                TxOutput::Pass(message) if message.is_request() => {
                    if let Some(leg) = leg {
                        self.with_leg(now, leg, |leg, stack| leg.handle_ack(now, stack, &message));
                    }
                }
                TxOutput::Pass(message) => self.response(now, id, *message),
                TxOutput::TimedOut => self.unanswered(now, id, 408),
                TxOutput::Failed => self.failed(now, id),
                TxOutput::Ended => self.stack.forget(id),
            }
        }
    }
}
