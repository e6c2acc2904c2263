//! The answering side of an INVITE until its final response, RFC 3261 §13.3.

use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Message};
use timebase::{Now, earliest};

use super::session::Up;
use super::{Leg, Phase};
use crate::answers::{ALLOW, SUPPORTED, came_by_sips, reasons_of, with_headers, with_sdp};
use crate::dialog::Dialog;
use crate::ended::Ended;
use crate::stack::{Incoming, Stack};
use crate::vocabulary::{Header, Invitation, LegEvent, Response};

/// How often a provisional response is repeated so that no proxy gives up, RFC 3261 §13.3.1.1.
const PROVISIONAL_EVERY: Duration = Duration::from_secs(60);

/// How long the shell may take to refuse a call that the caller has cancelled.
const REFUSE_WITHIN: Duration = Duration::from_secs(5);

/// An INVITE that has no final response yet.
#[derive(Debug)]
pub(crate) struct Arriving {
    /// The early dialog.
    pub(super) dialog: Dialog,
    pub(super) incoming: Incoming,
    offered: bool,
    ringing: Option<Ringing>,
    /// The caller has cancelled; at this time 487 is sent, if the shell has not answered by then.
    cancelled: Option<Now>,
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
        earliest(repeat, self.cancelled)
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
                &self.dialog.local_tag,
            )
            .copy(&self.incoming.request, HeaderName::RecordRoute)
            .field("Contact", &self.dialog.contact)
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
        let arriving = Box::new(Arriving {
            dialog,
            incoming,
            offered,
            ringing: None,
            cancelled: None,
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
            phase: Phase::Arriving(arriving),
        })
    }

    pub(super) fn ring(&mut self, now: Now, stack: &mut Stack, status: u16, sdp: Option<&Bytes>) {
        let Phase::Arriving(arriving) = &mut self.phase else {
            return;
        };
        let status = status.clamp(101, 199);
        let response = arriving.response(stack, status, &[], sdp).bytes().clone();
        stack.respond(now, arriving.incoming.tx, status, response.clone());
        arriving.ringing = Some(Ringing {
            status,
            response,
            repeat: now + PROVISIONAL_EVERY,
        });
    }

    pub(super) fn accept(
        &mut self,
        now: Now,
        stack: &mut Stack,
        sdp: Option<&Bytes>,
        headers: &[Header],
    ) {
        let Phase::Arriving(arriving) = &self.phase else {
            return;
        };
        let response = arriving.response(stack, 200, headers, sdp).bytes().clone();
        stack.respond(now, arriving.incoming.tx, 200, response.clone());
        let up = Up::answered(
            now,
            stack,
            arriving.dialog.clone(),
            &arriving.incoming,
            response,
            !arriving.offered,
        );
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
        let cancelled = arriving.cancelled.is_some();
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
            return;
        };
        if arriving.cancelled.is_none() {
            arriving.cancelled = Some(now + REFUSE_WITHIN);
            let reasons = reasons_of(cancel);
            stack.emit(self.id, LegEvent::Cancelled { reasons });
        }
    }

    pub(super) fn arriving_timeout(&mut self, now: Now, stack: &mut Stack) {
        let Phase::Arriving(arriving) = &mut self.phase else {
            return;
        };
        if arriving.cancelled.is_some_and(|at| now >= at) {
            return self.refuse(now, stack, &Response::new(487));
        }
        arriving.repeat_ringing(now, stack);
    }
}
