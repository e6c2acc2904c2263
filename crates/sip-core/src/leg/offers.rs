//! Offers and answers after the first: re-INVITE and UPDATE, RFC 3261 §14, RFC 3311, RFC 3264;
//! and the ACK that every 2xx of ours waits for.

use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Message, Method};
use timebase::Now;

use super::session::Life;
use super::{Extra, Leg, Phase};
use crate::answers::{ALLOW, SDP, SUPPORTED, reply_flow, sdp_of, with_sdp};
use crate::ended::Ended;
use crate::flow::ConnectionId;
use crate::screen;
use crate::stack::{Incoming, Purpose, Reply, Stack};
use crate::transaction::{Output, Outputs, Retransmit2xx, TxId};
use crate::vocabulary::{LegEvent, Response};

/// The offer and answer state of a session.
#[derive(Debug)]
pub(super) struct Offers {
    state: State,
    /// An offer of ours that waits for its turn.
    queued: Option<Bytes>,
}

#[derive(Debug)]
enum State {
    Stable,
    /// The peer's offer, or its wish for ours, waits for [`crate::Command::Answer`].
    Theirs {
        incoming: Box<Incoming>,
    },
    /// Our 200 waits for its ACK.
    Unacknowledged(Box<Unacknowledged>),
    /// Our re-INVITE has no final response yet.
    Ours {
        sdp: Bytes,
        tx: Option<TxId>,
    },
    /// Our re-INVITE met one of the peer's (491) and is sent again at `until`, RFC 3261 §14.1.
    Postponed {
        until: Now,
        sdp: Bytes,
    },
    /// The ACK of the peer's 200 waits for our answer to the offer in it.
    AckOwed {
        tx: TxId,
        cseq: u32,
    },
}

#[derive(Debug)]
struct Unacknowledged {
    repeat: Retransmit2xx,
    incoming: Incoming,
    cseq: u32,
    /// Whether the 200 has our offer, so that the ACK has the answer.
    offered: bool,
    /// Whether it answers the first INVITE.
    first: bool,
}

impl Offers {
    /// After our 200.
    pub(super) fn answered(
        now: Now,
        stack: &Stack,
        incoming: &Incoming,
        response: Bytes,
        offered: bool,
        first: bool,
    ) -> Self {
        let repeat = Retransmit2xx::new(now, stack.config.timers, response);
        let cseq = incoming
            .request
            .cseq()
            .map(|cseq| cseq.number)
            .unwrap_or_default();
        let waiting = Unacknowledged {
            repeat,
            incoming: incoming.clone(),
            cseq,
            offered,
            first,
        };
        Self {
            state: State::Unacknowledged(Box::new(waiting)),
            queued: None,
        }
    }

    /// A connection was closed.
    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        match &mut self.state {
            State::Theirs { incoming } => incoming.disconnect(connection),
            State::Unacknowledged(waiting) => waiting.incoming.disconnect(connection),
            State::Stable
            | State::Ours { .. }
            | State::Postponed { .. }
            | State::AckOwed { .. } => {}
        }
    }

    /// After the peer's 200.
    pub(super) fn connected(owed: Option<TxId>, cseq: u32) -> Self {
        let state = owed.map_or(State::Stable, |tx| State::AckOwed { tx, cseq });
        Self {
            state,
            queued: None,
        }
    }

    /// Nothing of it matters any more. The transaction of an open re-INVITE of ours is given back.
    pub(super) fn stop(&mut self) -> Option<TxId> {
        self.queued = None;
        match std::mem::replace(&mut self.state, State::Stable) {
            State::Ours { tx, .. } => tx,
            State::Stable
            | State::Theirs { .. }
            | State::Unacknowledged(_)
            | State::Postponed { .. }
            | State::AckOwed { .. } => None,
        }
    }

    /// Our re-INVITE is on its way, for the first time or again with credentials.
    pub(super) fn sent(&mut self, again: Option<TxId>) {
        if let State::Ours { tx, .. } = &mut self.state {
            *tx = again;
        }
    }

    pub(super) fn open_request(&self) -> Option<&Incoming> {
        match &self.state {
            State::Theirs { incoming } => Some(incoming),
            State::Stable
            | State::Unacknowledged(_)
            | State::Ours { .. }
            | State::Postponed { .. }
            | State::AckOwed { .. } => None,
        }
    }

    pub(super) fn awaits_first_ack(&self) -> bool {
        matches!(&self.state, State::Unacknowledged(waiting) if waiting.first)
    }

    pub(super) fn poll_timeout(&self) -> Option<Now> {
        match &self.state {
            State::Unacknowledged(waiting) => waiting.repeat.poll_timeout(),
            State::Postponed { until, .. } => Some(*until),
            State::Stable | State::Theirs { .. } | State::Ours { .. } | State::AckOwed { .. } => {
                None
            }
        }
    }

    /// The ACK with this sequence number came. `None`: it is not awaited; else the event that it is, if any.
    pub(super) fn acknowledged(&mut self, number: u32, ack: &Message) -> Option<Option<LegEvent>> {
        let State::Unacknowledged(waiting) = &self.state else {
            return None;
        };
        if waiting.cseq != number {
            return None;
        }
        let answer = if waiting.offered { sdp_of(ack) } else { None };
        let event = match (waiting.first, waiting.offered) {
            (true, _) => Some(LegEvent::Confirmed { answer }),
            (false, true) => Some(LegEvent::OfferAnswered { sdp: answer }),
            (false, false) => None,
        };
        self.state = State::Stable;
        Some(event)
    }

    /// Why an offer of the peer cannot be taken now, RFC 3261 §14.2 and RFC 3311 §5.2.
    fn obstacle(&self, retry_after: u32) -> Option<Response> {
        match &self.state {
            State::Stable | State::Postponed { .. } => None,
            State::Unacknowledged(waiting) if !waiting.offered => None,
            State::Theirs { .. } => {
                Some(Response::new(500).with_header("Retry-After", (retry_after % 11).to_string()))
            }
            State::Unacknowledged(_) | State::Ours { .. } | State::AckOwed { .. } => {
                Some(Response::new(491))
            }
        }
    }
}

impl Leg {
    /// The peer's re-INVITE or UPDATE.
    pub(super) fn peer_offers(&mut self, now: Now, stack: &mut Stack, incoming: Incoming) {
        let retry_after = stack.ids.number();
        let obstacle = match &self.phase {
            Phase::Up(up) if matches!(up.life, Life::Standing) => up.offers.obstacle(retry_after),
            Phase::Arriving(_) => {
                Some(Response::new(500).with_header("Retry-After", (retry_after % 11).to_string()))
            }
            Phase::Calling(_) => Some(Response::new(491)),
            Phase::Up(_) | Phase::Ended(_) => Some(Response::new(481)),
        };
        let offer = screen::body(&incoming.request);
        let is_update = incoming.request.method() == Method::Update;
        match (obstacle, offer) {
            (obstacle, Ok(None))
                if is_update
                    && self.dialog().is_some()
                    && obstacle
                        .as_ref()
                        .is_none_or(|refusal| refusal.status != 481) =>
            {
                self.refresh_target(&incoming.request);
                self.accept_offer(now, stack, &incoming, None);
            }
            (Some(refusal), _) | (None, Err(refusal)) => {
                self.reply(now, stack, &incoming, &refusal)
            }
            (None, Ok(sdp)) => {
                self.refresh_target(&incoming.request);
                if !is_update {
                    self.reply(now, stack, &incoming, &Response::new(100));
                }
                self.presume_acknowledged(stack);
                if let Phase::Up(up) = &mut self.phase {
                    up.offers.state = State::Theirs {
                        incoming: Box::new(incoming),
                    };
                }
                stack.emit(self.id, LegEvent::Reoffered { sdp });
            }
        }
    }

    fn refresh_target(&mut self, request: &Message) {
        match &mut self.phase {
            Phase::Up(up) => up.dialog.refresh(request),
            Phase::Arriving(arriving) => arriving.dialog.refresh(request),
            Phase::Calling(_) | Phase::Ended(_) => {}
        }
    }

    /// A new INVITE says that the peer has our 200: its ACK was lost or overtaken, RFC 5407 §3.1.4.
    fn presume_acknowledged(&mut self, stack: &mut Stack) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        match &up.offers.state {
            State::Unacknowledged(waiting) if waiting.first => {
                stack.emit(self.id, LegEvent::Confirmed { answer: None });
            }
            State::Postponed { sdp, .. } => up.offers.queued = Some(sdp.clone()),
            State::Unacknowledged(_)
            | State::Stable
            | State::Theirs { .. }
            | State::Ours { .. }
            | State::AckOwed { .. } => {}
        }
    }

    /// 200 to a re-INVITE or UPDATE.
    fn accept_offer(
        &self,
        now: Now,
        stack: &mut Stack,
        incoming: &Incoming,
        sdp: Option<&Bytes>,
    ) -> Option<Bytes> {
        let contact = &self.dialog()?.contact;
        let builder = stack
            .compose(
                &incoming.request,
                incoming.flow,
                &Response::new(200),
                &self.tag,
            )
            .copy(&incoming.request, HeaderName::RecordRoute)
            .field("Contact", contact)
            .field("Allow", ALLOW)
            .field("Supported", SUPPORTED);
        let response = with_sdp(builder, sdp).build().bytes().clone();
        stack.respond(now, incoming.tx, 200, response.clone());
        Some(response)
    }

    /// The shell's answer: to the peer's re-INVITE or UPDATE, or to the offer in its 200.
    pub(super) fn answer(&mut self, now: Now, stack: &mut Stack, sdp: &Bytes) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        match &up.offers.state {
            State::AckOwed { tx, cseq } => {
                stack.acknowledge(*tx, &up.dialog, *cseq, Some(sdp));
                up.offers.state = State::Stable;
                self.offers_settled(now, stack);
            }
            State::Theirs { incoming } => {
                let incoming = incoming.clone();
                let Some(response) = self.accept_offer(now, stack, &incoming, Some(sdp)) else {
                    return;
                };
                self.offer_accepted(now, stack, &incoming, response);
            }
            State::Stable
            | State::Unacknowledged(_)
            | State::Ours { .. }
            | State::Postponed { .. } => {}
        }
    }

    fn offer_accepted(
        &mut self,
        now: Now,
        stack: &mut Stack,
        incoming: &Incoming,
        response: Bytes,
    ) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if incoming.request.method() == Method::Invite {
            let offered = sdp_of(&incoming.request).is_none();
            let queued = up.offers.queued.take();
            up.offers = Offers::answered(now, stack, incoming, response, offered, false);
            up.offers.queued = queued;
        } else {
            up.offers.state = State::Stable;
            self.offers_settled(now, stack);
        }
    }

    pub(super) fn refuse_offer(&mut self, now: Now, stack: &mut Stack, status: u16) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let State::Theirs { incoming } = &up.offers.state else {
            return;
        };
        let incoming = incoming.clone();
        up.offers.state = State::Stable;
        self.reply(
            now,
            stack,
            &incoming,
            &Response::new(status.clamp(300, 699)),
        );
        self.offers_settled(now, stack);
    }

    /// Our re-INVITE; it waits while another offer is open.
    pub(super) fn reoffer(&mut self, now: Now, stack: &mut Stack, sdp: Bytes) {
        if !self.is_standing() {
            return;
        }
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        match &mut up.offers.state {
            State::Stable => {
                up.offers.state = State::Ours {
                    sdp: sdp.clone(),
                    tx: None,
                };
                let extra = Extra {
                    contact: true,
                    body: Some((SDP, &sdp)),
                    ..Extra::default()
                };
                let tx = self.request(now, stack, &Method::Invite, Purpose::Reinvite, extra);
                if let Phase::Up(up) = &mut self.phase {
                    up.offers.sent(tx);
                }
            }
            State::Postponed { sdp: postponed, .. } => *postponed = sdp,
            State::Theirs { .. }
            | State::Unacknowledged(_)
            | State::Ours { .. }
            | State::AckOwed { .. } => {
                up.offers.queued = Some(sdp);
            }
        }
    }

    /// Nothing is open any more: the offer that waited has its turn.
    pub(super) fn offers_settled(&mut self, now: Now, stack: &mut Stack) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if let (State::Stable, Some(sdp)) = (&up.offers.state, up.offers.queued.take()) {
            self.reoffer(now, stack, sdp);
        }
    }

    pub(super) fn offer_answered(&mut self, now: Now, stack: &mut Stack, tx: TxId, reply: &Reply) {
        let status = reply.status;
        if let (200..=299, Some(response)) = (status, &reply.message) {
            return self.offer_taken(now, stack, tx, response);
        }
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let State::Ours { sdp, .. } = &up.offers.state else {
            return;
        };
        if status == 491 {
            let (sdp, until) = (
                sdp.clone(),
                now + backoff(self.id.is_arriving(), stack.ids.number()),
            );
            up.offers.state = State::Postponed { until, sdp };
            return;
        }
        up.offers.state = State::Stable;
        stack.emit(self.id, LegEvent::OfferRefused { status });
        match status {
            481 => self.end(now, stack, Ended::Gone(status)),
            408 => {
                self.send_bye(now, stack, &[]);
                self.end(now, stack, Ended::Gone(status));
            }
            _ => self.offers_settled(now, stack),
        }
    }

    fn offer_taken(&mut self, now: Now, stack: &mut Stack, tx: TxId, response: &Message) {
        self.note_allow(stack, response);
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        up.dialog.refresh(response);
        let cseq = response.cseq().map(|cseq| cseq.number).unwrap_or_default();
        stack.acknowledge(tx, &up.dialog, cseq, None);
        if let State::Ours { .. } = up.offers.state {
            up.offers.state = State::Stable;
            stack.emit(
                self.id,
                LegEvent::OfferAnswered {
                    sdp: sdp_of(response),
                },
            );
            self.offers_settled(now, stack);
        }
    }

    /// Before BYE: the peer's 200 has its ACK even where no answer was given.
    pub(super) fn settle_owed_ack(&mut self, stack: &mut Stack) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if let State::AckOwed { tx, cseq } = up.offers.state {
            stack.acknowledge(tx, &up.dialog, cseq, None);
            up.offers.state = State::Stable;
        }
    }

    pub(super) fn offers_timeout(&mut self, now: Now, stack: &mut Stack) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        match &mut up.offers.state {
            State::Unacknowledged(waiting) => {
                let mut out = Outputs::new();
                waiting.repeat.handle_timeout(now, &mut out);
                let flow = reply_flow(&waiting.incoming.request, waiting.incoming.flow);
                for output in out {
                    match output {
                        Output::Send(response) => stack.transmit(flow, response),
                        Output::TimedOut => self.never_acknowledged(now, stack),
                        Output::Pass(_) | Output::Failed | Output::Ended => {}
                    }
                }
            }
            State::Postponed { until, sdp } if now >= *until => {
                let sdp = sdp.clone();
                up.offers.state = State::Stable;
                self.reoffer(now, stack, sdp);
            }
            State::Postponed { .. }
            | State::Stable
            | State::Theirs { .. }
            | State::Ours { .. }
            | State::AckOwed { .. } => {}
        }
    }
}

/// How long a re-INVITE waits after 491, in steps of 10 ms, RFC 3261 §14.1: 0 to 2 s, and 2.1 to 4 s
/// for the side that chose the Call-ID.
fn backoff(arriving: bool, random: u32) -> Duration {
    let steps = if arriving {
        random % 201
    } else {
        210 + random % 191
    };
    Duration::from_millis(u64::from(steps) * 10)
}
