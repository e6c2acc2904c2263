//! Reliable provisional responses of ours and their PRACKs, RFC 3262 §3 and §5.

use std::collections::VecDeque;

use bytes::Bytes;
use sip_message::{Message, Method};
use timebase::Now;

use super::offers::State;
use super::{Leg, Phase};
use crate::screen;
use crate::stack::{Incoming, Stack};
use crate::transaction::{Backoff, Timers};
use crate::vocabulary::{LegEvent, Response};

/// How many provisional responses wait for the PRACK of the one before them; more are left out.
const MAX_WAITING: usize = 8;

/// The reliable provisional responses of one INVITE: one is unacknowledged at a time.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    last: Option<u32>,
    open: Option<Open>,
    waiting: VecDeque<(u16, Option<Bytes>)>,
}

#[derive(Debug)]
struct Open {
    rseq: u32,
    status: u16,
    response: Bytes,
    /// Whether it has a session description, so that the 200 waits for its PRACK.
    described: bool,
    /// Absent once the final response is sent.
    repeat: Option<Repeat>,
}

#[derive(Debug)]
struct Repeat {
    /// T1, doubling without a cap of its own.
    retransmit: Backoff,
    give_up: Now,
}

/// What is due.
pub(super) enum Due {
    Repeat(u16, Bytes),
    /// No PRACK for 64·T1.
    GiveUp,
}

impl Reliable {
    /// The next RSeq; the first is random, RFC 3262 §3.
    pub(super) const fn next(&self, random: u32) -> u32 {
        match self.last {
            Some(last) => last.wrapping_add(1),
            None => random % 0x7fff_ffff + 1,
        }
    }

    pub(super) fn sent(
        &mut self,
        now: Now,
        timers: Timers,
        rseq: u32,
        (status, response, described): (u16, Bytes, bool),
    ) {
        let repeat = Repeat {
            retransmit: Backoff::new(now, timers.t1, timers.give_up()),
            give_up: now + timers.give_up(),
        };
        self.last = Some(rseq);
        self.open = Some(Open {
            rseq,
            status,
            response,
            described,
            repeat: Some(repeat),
        });
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the 200 has to wait, RFC 3262 §3.
    pub(super) fn holds_acceptance(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.described)
    }

    /// A response that has to wait for a PRACK.
    pub(super) fn wait(&mut self, status: u16, sdp: Option<Bytes>) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((status, sdp));
        }
    }

    /// The final response is sent: nothing is repeated, while a late PRACK is still known.
    pub(super) fn finish(&mut self) {
        self.waiting.clear();
        if let Some(open) = &mut self.open {
            open.repeat = None;
        }
    }

    /// Whether a PRACK is for the open response of this INVITE, which is acknowledged then.
    fn acknowledged(&mut self, prack: &Message, invite: u32) -> bool {
        let Ok(Some(rack)) = prack.rack() else {
            return false;
        };
        let fits = rack.method == Method::Invite && rack.cseq == invite;
        self.open
            .take_if(|open| fits && open.rseq == rack.rseq)
            .is_some()
    }

    fn next_waiting(&mut self) -> Option<(u16, Option<Bytes>)> {
        if self.open.is_some() {
            return None;
        }
        self.waiting.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Now> {
        let repeat = self.open.as_ref()?.repeat.as_ref()?;
        Some(repeat.retransmit.at().min(repeat.give_up))
    }

    pub(super) fn handle_timeout(&mut self, now: Now) -> Option<Due> {
        let open = self.open.as_mut()?;
        let repeat = open.repeat.as_mut()?;
        if now >= repeat.give_up {
            open.repeat = None;
            return Some(Due::GiveUp);
        }
        if !repeat.retransmit.is_due(now) {
            return None;
        }
        repeat.retransmit.restart(now);
        Some(Due::Repeat(open.status, open.response.clone()))
    }
}

impl Leg {
    /// The peer's PRACK: 481 where it acknowledges nothing that is open, RFC 3262 §3.
    pub(super) fn peer_pracks(&mut self, now: Now, stack: &mut Stack, incoming: Incoming) {
        let (reliable, invite) = match &mut self.phase {
            Phase::Arriving(arriving) => {
                let invite = arriving.invite_cseq();
                (&mut arriving.reliable, invite)
            }
            Phase::Up(up) => (&mut up.reliable, up.invite_cseq),
            Phase::Calling(_) | Phase::Ended(_) => {
                return self.reply(now, stack, &incoming, &Response::new(481));
            }
        };
        if !reliable.acknowledged(&incoming.request, invite) {
            return self.reply(now, stack, &incoming, &Response::new(481));
        }
        match screen::body(&incoming.request) {
            Ok(sdp) => self.prack_described(now, stack, incoming, sdp),
            Err(refusal) => self.reply(now, stack, &incoming, &refusal),
        }
        self.after_prack(now, stack);
    }

    /// What a PRACK says: the answer to our offer, or a new offer (RFC 3262 §5).
    fn prack_described(
        &mut self,
        now: Now,
        stack: &mut Stack,
        incoming: Incoming,
        sdp: Option<Bytes>,
    ) {
        let random = stack.ids.number();
        let Some(session) = self.session_mut() else {
            return;
        };
        let offers = &mut session.offers;
        let is_given = matches!(offers.state, State::Given);
        match (is_given, sdp) {
            (true, answer) => {
                offers.state = State::Stable;
                offers.remote.clone_from(&answer);
                self.reply(now, stack, &incoming, &Response::new(200));
                stack.emit(self.id, LegEvent::OfferAnswered { sdp: answer });
            }
            (false, None) => self.reply(now, stack, &incoming, &Response::new(200)),
            (false, Some(offer)) => match offers.obstacle(random) {
                Some(refusal) => self.reply(now, stack, &incoming, &refusal),
                None => {
                    let _ = offers.presume_acknowledged(false);
                    offers.state = State::Theirs {
                        incoming: Box::new(incoming),
                    };
                    stack.emit(self.id, LegEvent::Reoffered { sdp: Some(offer) });
                }
            },
        }
    }

    /// What waited for a PRACK: the next provisional response, the 200, an offer of ours.
    fn after_prack(&mut self, now: Now, stack: &mut Stack) {
        if let Phase::Arriving(arriving) = &mut self.phase
            && let Some((status, sdp)) = arriving.reliable.next_waiting()
        {
            self.ring(now, stack, status, sdp.as_ref());
        }
        self.accept_held(now, stack);
        self.offers_settled(now, stack);
    }
}
