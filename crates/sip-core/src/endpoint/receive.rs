//! What comes in from the network, sorted: responses, repetitions, requests inside dialogs and new ones.

use std::net::SocketAddr;

use bytes::Bytes;
use sip_message::{Limits, Message, Method, ParseError};
use timebase::Now;

use super::Endpoint;
use crate::answers;
use crate::config::Unauthenticated;
use crate::dialog::tag_of;
use crate::flow::{ConnectionId, Flow};
use crate::stack::{Context, Purpose, Stack};
use crate::transaction::TxId;
use crate::trunks;
use crate::vocabulary::{LegId, Response};

impl Endpoint {
    pub(super) fn receive(&mut self, now: Now, flow: Flow, message: Result<Message, ParseError>) {
        self.stack.counters.received += 1;
        let message = message.and_then(|message| message.validate().map(|()| message));
        match message {
            Ok(message) => {
                tracing::trace!(%flow, bytes = message.bytes().len(), "receive");
                if message.is_request() {
                    self.request(now, flow, &message);
                } else {
                    self.any_response(now, flow, &message);
                }
            }
            Err(error) => self.unparseable(now, flow, &error),
        }
    }

    /// Bytes that are no message are answered where that can be done, RFC 3261 §16.3 and RFC 4475 §3.1.2.
    fn unparseable(&mut self, now: Now, flow: Flow, error: &ParseError) {
        tracing::debug!(%flow, %error, "unparseable");
        let request = error
            .salvage
            .as_deref()
            .filter(|salvage| salvage.is_request());
        match request {
            Some(request) if request.method() != Method::Ack && !self.is_silent_to(flow) => {
                let refusal = Response::new(error.status).with_reason(reason_of(error));
                self.turn_stranger_away(now, request, flow, &refusal);
            }
            Some(_) | None => self.stack.counters.unparseable += 1,
        }
    }

    /// Whether strangers get no answer, and this is one.
    fn is_silent_to(&self, flow: Flow) -> bool {
        let config = &self.stack.config;
        config.unauthenticated == Unauthenticated::Silence
            && !trunks::knows(config, flow.remote.ip())
    }

    fn request(&mut self, now: Now, flow: Flow, request: &Message) {
        if self.stack.table.handle_request(now, request).is_some() {
            return;
        }
        if let Some((to, payload)) = self.repeats.find(now, flow, request) {
            return self.stack.transmit(to, payload);
        }
        let to_tag = request.to().ok().map(|to| tag_of(&to)).unwrap_or_default();
        match request.method() {
            Method::Cancel => self.cancel(now, flow, request),
            Method::Ack if to_tag.is_empty() => self.stack.counters.stray += 1,
            Method::Ack
            | Method::Invite
            | Method::Bye
            | Method::Options
            | Method::Register
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Info
            | Method::Update
            | Method::Prack
            | Method::Message
            | Method::Publish
            | Method::Other(_) => {
                if to_tag.is_empty() {
                    self.arrival(now, flow, request);
                } else {
                    self.inside(now, flow, request, &to_tag);
                }
            }
        }
    }

    /// CANCEL, RFC 3261 §9.2: never challenged, taken only from where the INVITE came from (§22.1),
    /// and without effect after the final response.
    fn cancel(&mut self, now: Now, flow: Flow, request: &Message) {
        let invite = self.stack.table.invite_of(request);
        let context = invite.and_then(|invite| self.stack.table.context(invite));
        let source = flow.remote.ip().to_canonical();
        let known = context.filter(|context| {
            context.flow.remote.ip().to_canonical() == source
                || context.leg.is_some_and(|leg| self.may_speak(leg, flow))
        });
        let Some(leg) = known.map(|context| context.leg) else {
            if !self.is_silent_to(flow) {
                self.turn_stranger_away(now, request, flow, &Response::new(481));
            }
            return;
        };
        let tag = leg
            .and_then(|leg| self.legs.get(&leg))
            .map(|leg| leg.tag.clone());
        let tag = tag.unwrap_or_else(|| Bytes::from(self.stack.stateless_tag(request)));
        if let Some(incoming) = self.stack.serve(now, request, flow, leg) {
            self.stack.reply(now, &incoming, &Response::new(200), &tag);
        }
        if let Some(leg) = leg {
            self.with_leg(now, leg, |leg, stack| leg.peer_cancels(now, stack, request));
        }
    }

    /// A request with a To tag, RFC 3261 §12.2.2.
    fn inside(&mut self, now: Now, flow: Flow, request: &Message, to_tag: &[u8]) {
        let call_id = request.call_id().unwrap_or_default();
        let from_tag = request
            .from()
            .ok()
            .map(|from| tag_of(&from))
            .unwrap_or_default();
        let is_ack = request.method() == Method::Ack;
        let leg = self.by_tag.get(to_tag).filter(|id| {
            self.legs
                .get(*id)
                .is_some_and(|leg| leg.owns(call_id, &from_tag))
        });
        match leg.copied() {
            Some(leg) if self.may_speak(leg, flow) => self.deliver(now, flow, request, leg),
            _ if is_ack => self.stack.counters.stray += 1,
            Some(_) => self.turn_stranger_away(now, request, flow, &Response::new(403)),
            None if self.graves.holds(call_id, to_tag, &from_tag)
                && request.method() == Method::Notify =>
            {
                self.stack.refuse(request, flow, &Response::new(200));
            }
            None if self.is_silent_to(flow) => {}
            None => self.turn_stranger_away(now, request, flow, &Response::new(481)),
        }
    }

    /// Whether requests of a leg's dialog may come over this path.
    fn may_speak(&self, leg: LegId, flow: Flow) -> bool {
        self.legs
            .get(&leg)
            .is_some_and(|leg| leg.comes_from(flow.remote.ip()))
    }

    /// Hands a request to its leg.
    fn deliver(&mut self, now: Now, flow: Flow, request: &Message, leg: LegId) {
        if request.method() == Method::Ack {
            self.with_leg(now, leg, |leg, stack| leg.handle_ack(now, stack, request));
        } else if let Some(incoming) = self.stack.serve(now, request, flow, Some(leg)) {
            self.with_leg(now, leg, |leg, stack: &mut Stack| {
                leg.handle_request(now, stack, incoming)
            });
        }
    }

    /// A closed connection: what waits for a response on it is sent over another one, or has failed
    /// (RFC 3261 §17.1.4); what was to be answered on it goes to the address that the Via names
    /// (§18.2.2); and legs find another. A request that named no connection may have gone over any
    /// to its peer (RFC 5923).
    pub(super) fn connection_closed(
        &mut self,
        now: Now,
        connection: ConnectionId,
        remote: SocketAddr,
    ) {
        for leg in self.legs.values_mut() {
            leg.disconnect(connection);
        }
        let is_on_it = |context: &Context| match context.flow.connection {
            Some(named) => named == connection,
            None => context.flow.transport.reliable() && context.flow.remote == remote,
        };
        for tx in self.stack.table.find(is_on_it) {
            if self.stack.client(tx).is_some() {
                self.request_lost(now, tx);
            } else if let Some(context) = self.stack.table.context_mut(tx) {
                context.flow = context.fallback;
            }
        }
        self.stack.disconnect(connection);
    }

    /// The connection of a request of ours is gone. A new call that nobody has answered yet fails,
    /// for its next hop to be tried; everything else is sent once more over a new connection. An
    /// INVITE stays in its transaction, where the peer still knows it; of the others it may have
    /// forgotten the answer already (timer J is zero), so that they begin another.
    fn request_lost(&mut self, now: Now, tx: TxId) {
        let Some(client) = self.stack.client(tx) else {
            return;
        };
        if !self.stack.table.awaits_answer(tx) {
            return;
        }
        let (purpose, flow) = (client.purpose, client.flow.unconnected());
        let named = client.flow.connection.is_some();
        let invites = matches!(purpose, Purpose::Invite | Purpose::Reinvite);
        let unheard = purpose == Purpose::Invite && !self.stack.table.can_cancel(tx);
        let fails = client.rescued || unheard || purpose == Purpose::Cancel;
        let leg = client.leg.filter(|_| purpose != Purpose::Invite);
        let next = leg.and_then(|leg| self.legs.get(&leg)?.next_flow());
        let next = next
            .filter(|flow| flow.transport.reliable())
            .unwrap_or(flow);
        if invites && !fails {
            return self.stack.rescue(tx, next);
        }
        if !named
            && !fails
            && let Some(again) = self.stack.send_elsewhere(now, tx, next)
        {
            let leg = leg.and_then(|leg| self.legs.get_mut(&leg));
            leg.into_iter().for_each(|leg| leg.moved(purpose, again));
            self.stack.forget(tx);
        }
        self.stack.table.handle_failure(tx);
    }

    /// Bytes that could not be sent, RFC 3261 §17.1.4 and §18.4.
    pub(super) fn send_failed(&mut self, flow: Flow, payload: Bytes) {
        let Ok(message) = Message::parse(payload, &Limits::default()) else {
            return;
        };
        let Some(tx) = self.stack.table.sender_of(&message) else {
            return;
        };
        let fallback = self.stack.table.context(tx).map(|context| context.fallback);
        match fallback {
            Some(fallback) if !message.is_request() && flow.connection.is_some() => {
                self.stack.transmit(fallback, message.bytes().clone());
            }
            Some(_) | None => self.stack.table.handle_failure(tx),
        }
    }
}

/// What is wrong, as a reason phrase.
fn reason_of(error: &ParseError) -> String {
    let phrase = answers::reason_phrase(error.status);
    if error.status == 400 {
        format!("{phrase} ({})", error.what)
    } else {
        phrase.to_owned()
    }
}
