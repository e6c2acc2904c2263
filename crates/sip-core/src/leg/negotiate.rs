//! Re-INVITE and UPDATE both ways, RFC 3261 §14, RFC 3311, RFC 6141: who may offer, what is
//! answered, and what a refusal leaves behind.

use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Message, Method};
use timebase::Now;

use super::offers::{Acknowledgement, Ours, State, later};
use super::session::Life;
use super::{Extra, Leg, Phase};
use crate::answers::{ALLOW, SDP, SUPPORTED, sdp_of, with_headers, with_sdp};
use crate::ended::Ended;
use crate::screen;
use crate::stack::{Incoming, Purpose, Reply, Stack};
use crate::transaction::TxId;
use crate::vocabulary::{Header, LegEvent, Response};

/// How often an offer of ours is sent again after 491, 422 or 500 before it counts as refused.
const MAX_AGAIN: u8 = 10;
/// How long an offer waits for which no transaction was free.
const NO_TRANSACTION: Duration = Duration::from_secs(2);

impl Leg {
    /// The peer's re-INVITE or UPDATE.
    pub(super) fn peer_offers(&mut self, now: Now, stack: &mut Stack, incoming: Incoming) {
        let is_update = incoming.request.method() == Method::Update;
        let obstacle = self.obstacle(is_update, stack.ids.number());
        let gone = obstacle.as_ref().is_some_and(|why| why.status == 481);
        let bare = is_update && !gone && incoming.request.body().is_empty();
        let verdict = match obstacle {
            Some(refusal) if !bare => Err(refusal),
            Some(_) | None => self.screen_interval(stack, &incoming.request),
        };
        let offer = verdict.and_then(|()| screen::body(&incoming.request));
        match offer {
            Err(refusal) => self.reply(now, stack, &incoming, &refusal),
            Ok(_) if bare => {
                self.accept_request(now, stack, &incoming, None);
            }
            Ok(None) if is_update => {
                self.accept_request(now, stack, &incoming, None);
            }
            Ok(sdp) => self.take_offer(now, stack, incoming, sdp),
        }
    }

    fn take_offer(&mut self, now: Now, stack: &mut Stack, incoming: Incoming, sdp: Option<Bytes>) {
        let is_invite = incoming.request.method() == Method::Invite;
        if is_invite {
            self.reply(now, stack, &incoming, &Response::new(100));
        }
        let Some(session) = self.session_mut() else {
            return;
        };
        let confirmed = session.offers.presume_acknowledged(is_invite);
        session.offers.state = State::Theirs {
            incoming: Box::new(incoming),
        };
        if let Some(event) = confirmed {
            stack.emit(self.id, event);
        }
        stack.emit(self.id, LegEvent::Reoffered { sdp });
    }

    /// Why the peer may not offer now.
    fn obstacle(&self, is_update: bool, random: u32) -> Option<Response> {
        match &self.phase {
            Phase::Up(up) if matches!(up.life, Life::Standing) => {
                up.session.offers.obstacle(random)
            }
            Phase::Arriving(arriving) if is_update => arriving.session.offers.obstacle(random),
            // RFC 3261 §14.2: the first INVITE has no final response yet.
            Phase::Arriving(_) => Some(later(random)),
            Phase::Calling(calling) if is_update => match calling.early.current() {
                Some(session) if calling.early.awaits_answer() => {
                    session.offers.obstacle(random).or(Some(later(random)))
                }
                Some(session) => session.offers.obstacle(random),
                None => Some(Response::new(481)),
            },
            Phase::Calling(_) => Some(Response::new(491)),
            Phase::Up(_) | Phase::Ended(_) => Some(Response::new(481)),
        }
    }

    /// 200 to a re-INVITE, UPDATE or PRACK. The remote target is that of an accepted request only
    /// (RFC 6141 §4.9), and so is the session interval.
    fn accept_request(
        &mut self,
        now: Now,
        stack: &mut Stack,
        incoming: &Incoming,
        sdp: Option<&Bytes>,
    ) -> Option<Bytes> {
        let request = &incoming.request;
        let refreshes = request.method() != Method::Prack;
        let interval = if refreshes {
            self.accept_interval(now, stack, request)
        } else {
            Vec::new()
        };
        let tag = self.tag.clone();
        let session = self.session_mut()?;
        if refreshes {
            session.dialog.refresh(request);
        }
        let mut builder = stack.compose(request, incoming.flow, &Response::new(200), &tag);
        if refreshes {
            builder = builder
                .copy(request, HeaderName::RecordRoute)
                .field("Contact", &session.dialog.contact)
                .field("Allow", ALLOW)
                .field("Supported", SUPPORTED);
        }
        let builder = with_headers(builder, &interval);
        let response = with_sdp(builder, sdp).build().bytes().clone();
        stack.respond(now, incoming.tx, 200, response.clone());
        Some(response)
    }

    /// The shell's answer: to the peer's offer in a request, or in its provisional response or 200.
    pub(super) fn answer(&mut self, now: Now, stack: &mut Stack, sdp: &Bytes) {
        if let Phase::Calling(calling) = &mut self.phase {
            calling.early.select_awaiting();
        }
        let Some(session) = self.session_mut() else {
            return;
        };
        let offers = &mut session.offers;
        match &offers.state {
            State::AckOwed { tx, cseq } => {
                stack.acknowledge(*tx, &session.dialog, *cseq, Some(sdp));
                offers.state = State::Stable;
                offers.local = Some(sdp.clone());
                self.offers_settled(now, stack);
            }
            State::PrackOwed { rseq } => {
                let rseq = *rseq;
                offers.state = State::Stable;
                offers.local = Some(sdp.clone());
                self.send_prack(now, stack, rseq, Some(sdp));
                self.offers_settled(now, stack);
            }
            State::Theirs { incoming } => {
                let incoming = incoming.clone();
                if let Some(response) = self.accept_request(now, stack, &incoming, Some(sdp)) {
                    self.offer_accepted(now, stack, &incoming, (sdp, response));
                }
            }
            State::Initial
            | State::Stable
            | State::Given
            | State::Ours { .. }
            | State::Postponed { .. } => {}
        }
    }

    fn offer_accepted(
        &mut self,
        now: Now,
        stack: &mut Stack,
        incoming: &Incoming,
        (sdp, response): (&Bytes, Bytes),
    ) {
        let Some(session) = self.session_mut() else {
            return;
        };
        let offers = &mut session.offers;
        let theirs = sdp_of(&incoming.request);
        let given = theirs.is_none();
        offers.local = Some(sdp.clone());
        offers.remote = theirs.or(offers.remote.take());
        if incoming.request.method() == Method::Invite {
            offers.accepted(now, stack, incoming, response, (given, false));
        } else {
            offers.state = State::Stable;
            self.accept_held(now, stack);
            self.offers_settled(now, stack);
        }
    }

    pub(super) fn refuse_offer(&mut self, now: Now, stack: &mut Stack, status: u16) {
        if let Phase::Calling(calling) = &mut self.phase {
            calling.early.select_awaiting();
        }
        let Some(session) = self.session_mut() else {
            return;
        };
        let State::Theirs { incoming } = &session.offers.state else {
            return;
        };
        let incoming = incoming.clone();
        session.offers.state = State::Stable;
        let refusal = Response::new(status.clamp(300, 699));
        self.reply(now, stack, &incoming, &refusal);
        self.accept_held(now, stack);
        self.offers_settled(now, stack);
    }

    /// Our offer; it waits while another one is open.
    pub(super) fn reoffer(&mut self, now: Now, stack: &mut Stack, sdp: Bytes) {
        if let Phase::Up(up) = &self.phase
            && !matches!(up.life, Life::Standing)
        {
            return;
        }
        let Some(session) = self.session_mut() else {
            return;
        };
        match &mut session.offers.state {
            State::Postponed { offer, .. } => {
                offer.sdp = sdp;
                offer.refresh = false;
            }
            State::Initial
            | State::Stable
            | State::Theirs { .. }
            | State::Given
            | State::Ours { .. }
            | State::AckOwed { .. }
            | State::PrackOwed { .. } => session.offers.queued = Some(sdp),
        }
        self.offers_settled(now, stack);
    }

    /// Nothing is open any more: the offer that waited has its turn.
    pub(super) fn offers_settled(&mut self, now: Now, stack: &mut Stack) {
        if !self.may_offer() {
            return;
        }
        let queued = self
            .session_mut()
            .and_then(|session| session.offers.queued.take());
        if let Some(sdp) = queued {
            let offer = Ours {
                sdp,
                refresh: false,
                again: 0,
            };
            self.send_offer(now, stack, offer);
        }
    }

    /// Whether an offer of ours may leave now: in an early dialog only by UPDATE, and only after
    /// the first exchange (RFC 3311 §5.1).
    pub(super) fn may_offer(&self) -> bool {
        let early = match &self.phase {
            Phase::Arriving(arriving) => self.allows_update && !arriving.reliable.is_open(),
            Phase::Calling(calling) => self.allows_update && calling.is_wanted(),
            Phase::Up(up) => matches!(up.life, Life::Standing),
            Phase::Ended(_) => false,
        };
        early
            && self
                .session()
                .is_some_and(|session| session.offers.is_free())
    }

    /// Sends an offer: by re-INVITE, in an early dialog by UPDATE.
    pub(super) fn send_offer(&mut self, now: Now, stack: &mut Stack, offer: Ours) {
        let (method, purpose) = match &self.phase {
            Phase::Up(_) => (Method::Invite, Purpose::Reinvite),
            Phase::Arriving(_) | Phase::Calling(_) | Phase::Ended(_) => {
                (Method::Update, Purpose::Update)
            }
        };
        let headers = self.interval_fields(&stack.config);
        let extra = Extra {
            contact: true,
            headers: &headers,
            body: Some((SDP, &offer.sdp)),
        };
        let tx = self.request(now, stack, &method, purpose, extra);
        let Some(session) = self.session_mut() else {
            return;
        };
        session.offers.state = match tx {
            Some(_) => State::Ours { offer, tx },
            None => State::Postponed {
                until: now + NO_TRANSACTION,
                offer,
            },
        };
    }

    /// The final response to our re-INVITE, or to our UPDATE with an offer.
    pub(super) fn offer_answered(&mut self, now: Now, stack: &mut Stack, tx: TxId, reply: &Reply) {
        if let Phase::Calling(calling) = &mut self.phase {
            calling.early.select_in(tx);
        }
        if let (200..=299, Some(response)) = (reply.status, &reply.message) {
            return self.offer_taken(now, stack, tx, response);
        }
        let arriving = self.id.is_arriving();
        let Some(session) = self.session_mut() else {
            return;
        };
        let State::Ours { offer, .. } = &session.offers.state else {
            return;
        };
        let mut offer = offer.clone();
        let wait =
            again_after(reply, arriving, stack.ids.number()).filter(|_| offer.again < MAX_AGAIN);
        offer.again += 1;
        if let Some(wait) = wait {
            let until = now + wait;
            session.offers.state = State::Postponed { until, offer };
            return self.raise_interval(reply);
        }
        session.offers.state = State::Stable;
        self.offer_refused(now, stack, reply, offer.refresh);
    }

    fn offer_refused(&mut self, now: Now, stack: &mut Stack, reply: &Reply, refresh: bool) {
        let status = reply.status;
        if !refresh {
            stack.emit(self.id, LegEvent::OfferRefused { status });
        }
        match (status, &self.phase) {
            (481, Phase::Up(_)) => return self.end(now, stack, Ended::Gone(status)),
            (408, Phase::Up(_)) => {
                self.send_bye(now, stack, &[]);
                return self.end(now, stack, Ended::Gone(status));
            }
            (405 | 501, Phase::Arriving(_) | Phase::Calling(_)) => self.allows_update = false,
            (_, Phase::Arriving(_) | Phase::Calling(_) | Phase::Up(_) | Phase::Ended(_)) => {}
        }
        if refresh {
            self.refresh_refused(now, stack, reply);
        }
        self.accept_held(now, stack);
        self.offers_settled(now, stack);
    }

    fn offer_taken(&mut self, now: Now, stack: &mut Stack, tx: TxId, response: &Message) {
        self.note_allow(stack, response);
        let Some(session) = self.session_mut() else {
            return;
        };
        session.dialog.refresh(response);
        let cseq = response.cseq();
        let is_invite = cseq
            .as_ref()
            .is_ok_and(|cseq| cseq.method == Method::Invite);
        if is_invite {
            let cseq = cseq.map(|cseq| cseq.number).unwrap_or_default();
            stack.acknowledge(tx, &session.dialog, cseq, None);
        }
        let offers = &mut session.offers;
        let State::Ours { offer, .. } = &offers.state else {
            return;
        };
        let answer = sdp_of(response);
        let news = !offer.refresh || (answer.is_some() && answer != offers.remote);
        offers.local = Some(offer.sdp.clone());
        offers.remote = answer.clone().or(offers.remote.take());
        offers.state = State::Stable;
        self.interval_answered(now, response);
        if news {
            stack.emit(self.id, LegEvent::OfferAnswered { sdp: answer });
        }
        self.accept_held(now, stack);
        self.offers_settled(now, stack);
    }

    /// Before BYE: the peer's 200 has its ACK even where no answer was given.
    pub(super) fn settle_owed_ack(&mut self, stack: &mut Stack) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if let State::AckOwed { tx, cseq } = up.session.offers.state {
            stack.acknowledge(tx, &up.session.dialog, cseq, None);
            up.session.offers.state = State::Stable;
        }
    }

    pub(super) fn offers_timeout(&mut self, now: Now, stack: &mut Stack) {
        if let Phase::Calling(calling) = &mut self.phase {
            calling.early.select_due(now);
        }
        let Some(session) = self.session_mut() else {
            return;
        };
        match session.offers.repeat_acceptance(now) {
            Some(Acknowledgement::Repeated(flow, response)) => stack.transmit(flow, response),
            Some(Acknowledgement::Missing) => return self.never_acknowledged(now, stack),
            None => {}
        }
        let offer = self
            .session_mut()
            .and_then(|session| session.offers.resumed(now));
        if let Some(offer) = offer {
            self.send_offer(now, stack, offer);
        }
    }

    /// Header fields of RFC 4028 for a request of ours that changes or refreshes the session.
    pub(super) fn interval_fields(&self, config: &crate::EndpointConfig) -> Vec<Header> {
        match &self.phase {
            Phase::Up(up) => up.timer.request_fields(config),
            Phase::Arriving(_) | Phase::Calling(_) | Phase::Ended(_) => Vec::new(),
        }
    }
}

/// How long an offer waits after its refusal; `None` for a refusal that stands.
fn again_after(reply: &Reply, arriving: bool, random: u32) -> Option<Duration> {
    let message = reply.message.as_ref()?;
    match reply.status {
        422 => message.min_se().ok().flatten().map(|_| Duration::ZERO),
        491 => Some(backoff(arriving, random)),
        500 => message
            .retry_after()
            .filter(|seconds| *seconds <= 10)
            .map(|seconds| Duration::from_secs(u64::from(seconds))),
        _ => None,
    }
}

/// How long an offer waits after 491, in steps of 10 ms, RFC 3261 §14.1: 0 to 2 s, and 2.1 to 4 s
/// for the side that chose the Call-ID.
pub(super) fn backoff(arriving: bool, random: u32) -> Duration {
    let steps = if arriving {
        random % 201
    } else {
        210 + random % 191
    };
    Duration::from_millis(u64::from(steps) * 10)
}
