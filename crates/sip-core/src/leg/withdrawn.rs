//! Offers that are taken back, the peer's and ours, RFC 3261 §9.

use sip_message::{Message, Method};
use timebase::Now;

use super::offers::State;
use super::{Leg, Phase};
use crate::stack::{Purpose, Stack};
use crate::transaction::{TxId, cancel_for};
use crate::vocabulary::{LegEvent, Response};

impl Leg {
    /// The peer cancels its re-INVITE, RFC 3261 §9.2: 487, unless it has its answer.
    pub(super) fn reinvite_cancelled(&mut self, now: Now, stack: &mut Stack, cancel: &Message) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let State::Theirs { incoming } = &up.session.offers.state else {
            return;
        };
        let number = |message: &Message| message.cseq().map(|cseq| cseq.number).ok();
        let is_invite = incoming.request.method() == Method::Invite;
        if !is_invite || number(&incoming.request) != number(cancel) {
            return;
        }
        let incoming = incoming.clone();
        up.session.offers.state = State::Stable;
        self.reply(now, stack, &incoming, &Response::new(487));
        stack.emit(self.id, LegEvent::ReofferCancelled);
        self.offers_settled(now, stack);
    }

    /// Our offer is not wanted any more. A refresh of the session is none of the shell's.
    pub(super) fn withdraw_offer(&mut self, now: Now, stack: &mut Stack) {
        let Some(session) = self.session_mut() else {
            return;
        };
        let mut waited = session.offers.queued.take().is_some();
        match &session.offers.state {
            State::Postponed { offer, .. } if !offer.refresh => {
                session.offers.state = State::Stable;
                waited = true;
            }
            State::Ours {
                offer,
                tx: Some(tx),
            } if !offer.refresh => {
                let tx = *tx;
                self.cancel_offer(now, stack, tx);
            }
            State::Initial
            | State::Stable
            | State::Theirs { .. }
            | State::Given
            | State::Ours { .. }
            | State::Postponed { .. }
            | State::AckOwed { .. }
            | State::PrackOwed { .. } => {}
        }
        if waited {
            stack.emit(self.id, LegEvent::OfferRefused { status: 487 });
            self.accept_held(now, stack);
        }
    }

    /// CANCEL of our re-INVITE; without a provisional response there is none (RFC 3261 §9.1), and the
    /// transaction's own time limits the wait.
    fn cancel_offer(&self, now: Now, stack: &mut Stack, tx: TxId) {
        if !stack.table.can_cancel(tx) {
            return;
        }
        let Some(client) = stack.client(tx) else {
            return;
        };
        let flow = client.flow;
        let cancel = cancel_for(&client.request);
        if let Ok(cancel) = Message::parse(cancel, &sip_message::Limits::default()) {
            stack.send(now, flow, cancel, Purpose::Cancel, Some(self.id));
            stack.table.cancelled(now, tx);
        }
    }
}
