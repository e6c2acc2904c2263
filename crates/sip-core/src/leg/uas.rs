//! The answering side of an INVITE until its final response, RFC 3261 §13.3.

use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Message};
use timebase::{Now, earliest};

use super::offers::{Offers, Session, State};
use super::reliable::{Due, Reliable};
use super::session::Up;
use super::session_timer::SessionTimer;
use super::{Leg, Phase};
use crate::answers::{
    ALLOW, SUPPORTED, allows_update, came_by_sips, reasons_of, with_headers, with_sdp,
};
use crate::dialog::Dialog;
use crate::ended::Ended;
use crate::stack::{Incoming, Stack};
use crate::vocabulary::{Header, Invitation, LegEvent, Reliability, Response};

/// How often a provisional response is repeated so that no proxy gives up, RFC 3261 §13.3.1.1.
const PROVISIONAL_EVERY: Duration = Duration::from_secs(60);

/// How long the shell may take to refuse a call that the caller has cancelled.
const REFUSE_WITHIN: Duration = Duration::from_secs(5);

/// An INVITE that has no final response yet.
#[derive(Debug)]
pub(crate) struct Arriving {
    /// The early dialog.
    pub(super) session: Session,
    pub(super) reliable: Reliable,
    pub(super) incoming: Incoming,
    offered: bool,
    reliability: Reliability,
    ringing: Option<Ringing>,
    /// The 200 that waits for a PRACK, or for the end of an UPDATE.
    held: Option<(Option<Bytes>, Vec<Header>)>,
    /// The shell has been told that it is to refuse.
    refusal: Option<Refusal>,
}

/// A refusal that is sent at `at`, if the shell has not answered by then.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    at: Now,
    status: u16,
}

#[derive(Debug)]
struct Ringing {
    status: u16,
    response: Bytes,
    repeat: Now,
}

impl Arriving {
    pub(super) fn poll_timeout(&self) -> Option<Now> {
        let repeat = self.ringing.as_ref().map(|ringing| ringing.repeat);
        let refusal = self.refusal.map(|refusal| refusal.at);
        let offers = earliest(
            self.reliable.poll_timeout(),
            self.session.offers.poll_timeout(),
        );
        earliest(earliest(repeat, refusal), offers)
    }

    /// The INVITE's sequence number.
    pub(super) fn invite_cseq(&self) -> u32 {
        let cseq = self.incoming.request.cseq();
        cseq.map(|cseq| cseq.number).unwrap_or_default()
    }

    /// Whether a provisional response is to be acknowledged, RFC 3262 §3; the first such one to an
    /// INVITE without an offer has ours.
    const fn is_reliable(&self, described: bool) -> bool {
        match self.reliability {
            Reliability::Unsupported => false,
            Reliability::Supported => self.offered || described,
            Reliability::Required => true,
        }
    }

    /// Whether the 200 has to wait.
    fn holds(&self) -> bool {
        let offers = &self.session.offers.state;
        self.reliable.holds_acceptance()
            || matches!(
                offers,
                State::Given | State::Theirs { .. } | State::Ours { .. }
            )
    }

    fn repeat_ringing(&mut self, now: Now, stack: &mut Stack) {
        let due = self
            .ringing
            .as_mut()
            .filter(|ringing| now >= ringing.repeat);
        if let Some(ringing) = due {
            ringing.repeat = now + PROVISIONAL_EVERY;
            stack.respond(
                now,
                self.incoming.tx,
                ringing.status,
                ringing.response.clone(),
            );
        }
    }

    /// A response that makes or confirms the dialog, RFC 3261 §12.1.1.
    fn response(
        &self,
        stack: &Stack,
        status: u16,
        headers: &[Header],
        sdp: Option<&Bytes>,
    ) -> Message {
        let response = Response {
            status,
            reason: None,
            headers: Vec::new(),
        };
        let builder = stack
            .compose(
                &self.incoming.request,
                self.incoming.flow,
                &response,
                &self.session.dialog.local_tag,
            )
            .copy(&self.incoming.request, HeaderName::RecordRoute)
            .field("Contact", &self.session.dialog.contact)
            .field("Allow", ALLOW)
            .field("Supported", SUPPORTED);
        with_sdp(with_headers(builder, headers), sdp).build()
    }
}

impl Leg {
    /// The leg of an admitted invitation: 100 is sent at once. `None`: no transaction is free for it.
    pub(crate) fn admit(now: Now, stack: &mut Stack, invitation: &Invitation) -> Option<Self> {
        let tag = Bytes::from(stack.ids.tag());
        let target = invitation.request.target().ok();
        let sips = came_by_sips(&invitation.request);
        let contact = stack.contact(&invitation.flow, target.as_ref(), sips);
        let dialog = Dialog::answering(&invitation.request, &tag, invitation.flow, contact)?;
        let incoming = stack.serve(
            now,
            &invitation.request,
            invitation.flow,
            Some(invitation.leg),
        )?;
        stack.reply(now, &incoming, &Response::new(100), &[]);
        let rule = stack.config.trunks.get(invitation.trunk.0 as usize);
        let credentials = rule.and_then(|rule| rule.outbound_auth.clone());
        let call_id = dialog.call_id.clone();
        let offered = invitation.offer.is_some();
        let allow = rule.map(|rule| rule.allow.clone()).unwrap_or_default();
        let mut peers = allow.clone();
        peers.push(invitation.flow.remote.ip().to_canonical().into());
        let offers = Offers::initial(None, invitation.offer.clone());
        let arriving = Box::new(Arriving {
            session: Session { dialog, offers },
            reliable: Reliable::default(),
            incoming,
            offered,
            reliability: invitation.reliability,
            ringing: None,
            held: None,
            refusal: None,
        });
        Some(Self {
            id: invitation.leg,
            tag,
            call_id,
            trunk: Some(invitation.trunk),
            allow,
            sources: Vec::new(),
            credentials,
            peers,
            digest: crate::digest::Client::default(),
            allows_refer: invitation.allow_refer,
            allows_update: allows_update(&invitation.request).unwrap_or(false),
            locating: 0,
            phase: Phase::Arriving(arriving),
        })
    }

    pub(super) fn ring(&mut self, now: Now, stack: &mut Stack, status: u16, sdp: Option<&Bytes>) {
        let Phase::Arriving(arriving) = &mut self.phase else {
            return;
        };
        let status = status.clamp(101, 199);
        if arriving.is_reliable(sdp.is_some()) {
            return self.ring_reliably(now, stack, status, sdp);
        }
        // An offer of ours would have no answer before the ACK, and none is taken back.
        let sdp = sdp.filter(|_| arriving.offered);
        let response = arriving.response(stack, status, &[], sdp).bytes().clone();
        stack.respond(now, arriving.incoming.tx, status, response.clone());
        arriving.ringing = Some(Ringing {
            status,
            response,
            repeat: now + PROVISIONAL_EVERY,
        });
    }

    fn ring_reliably(&mut self, now: Now, stack: &mut Stack, status: u16, sdp: Option<&Bytes>) {
        let random = stack.ids.number();
        let Phase::Arriving(arriving) = &mut self.phase else {
            return;
        };
        if arriving.reliable.is_open() {
            return arriving.reliable.wait(status, sdp.cloned());
        }
        let first = matches!(arriving.session.offers.state, State::Initial);
        let sdp = sdp.filter(|_| first);
        if first && sdp.is_none() && !arriving.offered {
            tracing::debug!(leg = self.id.0, status, "not sent: it would need our offer");
            return;
        }
        let rseq = arriving.reliable.next(random);
        let fields = [
            Header::new("Require", "100rel"),
            Header::new("RSeq", rseq.to_string()),
        ];
        let response = arriving.response(stack, status, &fields, sdp);
        let response = response.bytes().clone();
        stack.respond(now, arriving.incoming.tx, status, response.clone());
        let sent = (status, response, sdp.is_some());
        arriving.reliable.sent(now, stack.config.timers, rseq, sent);
        arriving.ringing = None;
        if let Some(sdp) = sdp {
            let offers = &mut arriving.session.offers;
            offers.local = Some(sdp.clone());
            offers.state = if arriving.offered {
                State::Stable
            } else {
                State::Given
            };
        }
    }

    pub(super) fn accept(
        &mut self,
        now: Now,
        stack: &mut Stack,
        sdp: Option<Bytes>,
        headers: Vec<Header>,
    ) {
        if let Phase::Arriving(arriving) = &mut self.phase {
            arriving.held = Some((sdp, headers));
            self.accept_held(now, stack);
        }
    }

    /// Sends the 200, unless it still has to wait.
    pub(super) fn accept_held(&mut self, now: Now, stack: &mut Stack) {
        let Phase::Arriving(arriving) = &mut self.phase else {
            return;
        };
        if arriving.holds() {
            return;
        }
        let Some((sdp, mut headers)) = arriving.held.take() else {
            return;
        };
        let mut timer = SessionTimer::default();
        headers.extend(timer.accept(now, &stack.config, &arriving.incoming.request));
        let first = matches!(arriving.session.offers.state, State::Initial);
        let sdp = sdp.filter(|_| first);
        let response = arriving.response(stack, 200, &headers, sdp.as_ref());
        let response = response.bytes().clone();
        stack.respond(now, arriving.incoming.tx, 200, response.clone());
        let invite_cseq = arriving.invite_cseq();
        let given = first && !arriving.offered;
        let dialog = arriving.session.dialog.clone();
        let mut offers =
            std::mem::replace(&mut arriving.session.offers, Offers::initial(None, None));
        offers.local = sdp.or(offers.local.take());
        offers.accepted(now, stack, &arriving.incoming, response, (given, true));
        let mut reliable = std::mem::take(&mut arriving.reliable);
        reliable.finish();
        let mut up = Up::new(Session { dialog, offers }, timer, invite_cseq);
        up.reliable = reliable;
        self.phase = Phase::Up(Box::new(up));
    }

    pub(super) fn refuse(&mut self, now: Now, stack: &mut Stack, response: &Response) {
        let Phase::Arriving(arriving) = &self.phase else {
            return;
        };
        let status = response.status.clamp(300, 699);
        let response = Response {
            status,
            ..response.clone()
        };
        let cancelled = arriving
            .refusal
            .is_some_and(|refusal| refusal.status == 487);
        stack.reply(now, &arriving.incoming, &response, &self.tag);
        let why = if cancelled {
            Ended::Cancelled
        } else {
            Ended::Refused(status)
        };
        self.end(now, stack, why);
    }

    /// CANCEL, RFC 3261 §9.2; the CANCEL itself has been answered. What the shell holds for the
    /// call is given back before its 487 leaves.
    pub(crate) fn peer_cancels(&mut self, now: Now, stack: &mut Stack, cancel: &Message) {
        let Phase::Arriving(arriving) = &mut self.phase else {
            return self.reinvite_cancelled(now, stack, cancel);
        };
        if arriving.refusal.is_none_or(|refusal| refusal.status != 487) {
            let at = now + REFUSE_WITHIN;
            arriving.refusal = Some(Refusal { at, status: 487 });
            let reasons = reasons_of(cancel);
            stack.emit(self.id, LegEvent::Cancelled { reasons });
        }
    }

    pub(super) fn arriving_timeout(&mut self, now: Now, stack: &mut Stack) {
        let Phase::Arriving(arriving) = &mut self.phase else {
            return;
        };
        if let Some(refusal) = arriving.refusal.filter(|refusal| now >= refusal.at) {
            return self.refuse(now, stack, &Response::new(refusal.status));
        }
        arriving.repeat_ringing(now, stack);
        match arriving.reliable.handle_timeout(now) {
            Some(Due::Repeat(status, response)) => {
                stack.respond(now, arriving.incoming.tx, status, response);
            }
            // RFC 3262 §3: the INVITE is to be refused with a 5xx.
            Some(Due::GiveUp) if arriving.refusal.is_none() => {
                let at = now + REFUSE_WITHIN;
                arriving.refusal = Some(Refusal { at, status: 504 });
                stack.emit(self.id, LegEvent::NoPrack);
            }
            Some(Due::GiveUp) | None => {}
        }
        self.offers_timeout(now, stack);
    }
}
