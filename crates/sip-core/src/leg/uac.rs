//! The calling side of an INVITE until its final response, RFC 3261 §13.2.

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Message, Method, NameAddr};
use timebase::Now;

use super::session::Up;
use super::{Leg, Phase};
use crate::answers::{
    ALLOW, SDP, SUPPORTED, allows_refer, asks_for_sips, reasons_of, sdp_of, with_headers, with_sdp,
};
use crate::config::Credentials;
use crate::dialog::{Dialog, tag_of, tagged};
use crate::digest;
use crate::ended::Ended;
use crate::flow::Flow;
use crate::stack::{Purpose, Reply, Stack};
use crate::transaction::{TxId, cancel_for};
use crate::vocabulary::{Header, LegEvent, Place};

/// An INVITE of ours that has no final response yet.
#[derive(Debug)]
pub(crate) struct Calling {
    /// Where it went.
    pub(super) flow: Flow,
    tx: TxId,
    contact: Bytes,
    cseq: u32,
    offered: bool,
    cancel: Cancel,
    /// What challenges to the INVITE are answered with, and nothing after it.
    credentials: Option<Credentials>,
    digest: digest::Client,
}

#[derive(Debug)]
enum Cancel {
    No,
    /// It waits for a provisional response, RFC 3261 §9.1.
    Wanted(Vec<Header>),
    Sent,
}

impl Calling {
    /// Whether nobody has asked to cancel it.
    pub(super) const fn is_wanted(&self) -> bool {
        matches!(self.cancel, Cancel::No)
    }

    /// What answers a challenge to the INVITE.
    pub(super) fn answerer(&mut self) -> Option<(&mut digest::Client, &Credentials)> {
        Some((&mut self.digest, self.credentials.as_ref()?))
    }

    pub(super) const fn next_cseq(&self) -> u32 {
        self.cseq + 1
    }

    /// The INVITE was sent again with credentials.
    pub(super) const fn restarted(&mut self, tx: TxId) {
        self.tx = tx;
        self.cseq += 1;
    }
}

impl Leg {
    /// A placed leg: its INVITE leaves. `None`: no transaction is free for it.
    pub(crate) fn place(now: Now, stack: &mut Stack, place: Place) -> Option<Self> {
        let tag = Bytes::from(stack.ids.tag());
        let call_id = Bytes::from(stack.ids.call_id());
        let caller = NameAddr::parse(place.from.clone()).ok();
        let sips = asks_for_sips(&place.uri, place.route.as_ref());
        let contact = stack.contact(&place.flow, caller.as_ref().map(NameAddr::uri), sips);
        let cseq = 1;
        let request = invitation(stack, &place, &tag, &call_id, &contact, cseq);
        let tx = stack.send(now, place.flow, request, Purpose::Invite, Some(place.leg))?;
        let offered = place.sdp.is_some();
        let calling = Calling {
            flow: place.flow,
            tx,
            contact,
            cseq,
            offered,
            cancel: Cancel::No,
            credentials: place.credentials,
            digest: digest::Client::default(),
        };
        let rule = place
            .trunk
            .and_then(|trunk| stack.config.trunks.get(trunk.0 as usize));
        let mut peers = rule.map(|rule| rule.allow.clone()).unwrap_or_default();
        if place.route.is_some() {
            peers.push(place.flow.remote.ip().to_canonical().into());
        }
        Some(Self {
            id: place.leg,
            tag,
            call_id,
            trunk: None,
            allow: Vec::new(),
            sources: place.sources,
            credentials: rule.and_then(|rule| rule.outbound_auth.clone()),
            peers,
            digest: digest::Client::default(),
            allows_refer: true,
            phase: Phase::Calling(Box::new(calling)),
        })
    }

    /// A provisional response to the INVITE, of any early dialog.
    pub(crate) fn handle_provisional(&mut self, now: Now, stack: &mut Stack, response: &Message) {
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        if let Cancel::Wanted(headers) = &mut calling.cancel {
            let headers = std::mem::take(headers);
            return self.send_cancel(now, stack, &headers);
        }
        let status = response.status().unwrap_or_default();
        if status > 100 && calling.is_wanted() {
            stack.emit(
                self.id,
                LegEvent::Progress {
                    status,
                    sdp: sdp_of(response),
                },
            );
        }
    }

    /// Whether a 2xx is this leg's, rather than another fork's.
    pub(crate) const fn is_calling(&self) -> bool {
        matches!(self.phase, Phase::Calling(_))
    }

    /// Whether the leg's own dialog is the one with this tag, so that its 2xx only waits for its ACK.
    pub(crate) fn answers_to(&self, remote_tag: &[u8]) -> bool {
        self.dialog()
            .is_some_and(|dialog| dialog.remote_tag == remote_tag)
    }

    pub(super) fn invite_answered(&mut self, now: Now, stack: &mut Stack, tx: TxId, reply: &Reply) {
        let Phase::Calling(calling) = &self.phase else {
            return;
        };
        match (reply.status, &reply.message) {
            (200..=299, Some(response)) => {
                let dialog = stack.client(tx).and_then(|client| {
                    let contact = calling.contact.clone();
                    Dialog::calling(&client.request, response, client.flow, contact)
                });
                match dialog {
                    Some(dialog) => self.answered(now, stack, tx, dialog, response),
                    None => self.refused(now, stack, &Reply::without_response(500)),
                }
            }
            (_, _) => self.refused(now, stack, reply),
        }
    }

    fn answered(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        dialog: Dialog,
        response: &Message,
    ) {
        let Phase::Calling(calling) = &self.phase else {
            return;
        };
        let (cseq, offered, wanted) = (calling.cseq, calling.offered, calling.is_wanted());
        self.allows_refer = allows_refer(response).unwrap_or(true);
        if offered || !wanted {
            stack.acknowledge(tx, &dialog, cseq, None);
        }
        let owed = (!offered && wanted).then_some(tx);
        self.phase = Phase::Up(Box::new(Up::connected(dialog, owed, cseq)));
        if wanted {
            let allow_refer = self.allows_refer;
            stack.emit(
                self.id,
                LegEvent::Answered {
                    sdp: sdp_of(response),
                    allow_refer,
                },
            );
        } else {
            self.leave(now, stack, Vec::new());
        }
    }

    fn refused(&mut self, now: Now, stack: &mut Stack, reply: &Reply) {
        let message = reply.message.as_ref();
        let event = LegEvent::Refused {
            status: reply.status,
            reason: reply.reason.clone(),
            contacts: message
                .filter(|_| reply.status < 400)
                .map(contacts_of)
                .unwrap_or_default(),
            reasons: message.map(reasons_of).unwrap_or_default(),
            retry_after: message.and_then(Message::retry_after),
        };
        stack.emit(self.id, event);
        self.end(now, stack, Ended::Refused(reply.status));
    }

    pub(super) fn cancel(&mut self, now: Now, stack: &mut Stack, headers: Vec<Header>) {
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        if !calling.is_wanted() {
            return;
        }
        if stack.table.can_cancel(calling.tx) {
            self.send_cancel(now, stack, &headers);
        } else {
            calling.cancel = Cancel::Wanted(headers);
        }
    }

    fn send_cancel(&mut self, now: Now, stack: &mut Stack, headers: &[Header]) {
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        calling.cancel = Cancel::Sent;
        let Some(client) = stack.client(calling.tx) else {
            return;
        };
        let plain = Message::parse(cancel_for(&client.request), &sip_message::Limits::default());
        let Ok(mut cancel) = plain else { return };
        for header in headers {
            cancel = cancel.appended(HeaderName::from(header.name.as_str()), &header.value);
        }
        stack.send(now, calling.flow, cancel, Purpose::Cancel, Some(self.id));
        stack.table.cancelled(now, calling.tx);
    }
}

/// The INVITE, RFC 3261 §8.1.1 and §13.2.1.
fn invitation(
    stack: &mut Stack,
    place: &Place,
    tag: &[u8],
    call_id: &[u8],
    contact: &[u8],
    cseq: u32,
) -> Message {
    let via = stack.via(&place.flow);
    let builder = Builder::request(&Method::Invite, &place.uri)
        .field("Via", via)
        .optional("Route", place.route.as_ref())
        .field("Max-Forwards", place.max_forwards.to_string())
        .field("From", tagged(&place.from, tag))
        .field("To", &place.to)
        .field("Call-ID", call_id)
        .field("CSeq", format!("{cseq} INVITE"))
        .field("Contact", contact)
        .field("Allow", ALLOW)
        .field("Supported", SUPPORTED)
        .field("Accept", SDP);
    let agent = Some(&stack.config.user_agent).filter(|agent| !agent.is_empty());
    let builder = builder.optional("User-Agent", agent);
    with_sdp(with_headers(builder, &place.headers), place.sdp.as_ref()).build()
}

/// The URIs of a redirection, highest `q` first, RFC 3261 §8.1.3.4.
fn contacts_of(response: &Message) -> Vec<Bytes> {
    let mut contacts: Vec<(u32, Bytes)> = response
        .contacts()
        .filter_map(Result::ok)
        .map(|contact| {
            (
                thousandths(contact.params().get("q")),
                contact.uri().as_bytes().clone(),
            )
        })
        .collect();
    contacts.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    contacts.into_iter().map(|(_, uri)| uri).collect()
}

/// A `q` value in thousandths; 1 where it is absent or unreadable.
fn thousandths(q: Option<&[u8]>) -> u32 {
    let value = q
        .and_then(|q| std::str::from_utf8(q).ok())
        .and_then(|q| q.parse::<f32>().ok());
    value.map_or(1000, |value| (value.clamp(0.0, 1.0) * 1000.0) as u32)
}

/// The tag of the dialog that a response belongs to.
pub(crate) fn response_tag(response: &Message) -> Bytes {
    response.to().map(|to| tag_of(&to)).unwrap_or_default()
}
