//! The calling side of an INVITE until its final response, RFC 3261 §13.2.

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Message, Method, NameAddr};
use timebase::Now;

use super::early::Early;
use super::offers::{Offers, Session, State};
use super::session::Up;
use super::session_timer::{SessionTimer, invite_fields, min_se_of};
use super::{Leg, Phase};
use crate::answers::{
    ALLOW, SDP, SUPPORTED, allows_refer, allows_update, asks_for_sips, reasons_of, sdp_of,
    with_headers, with_sdp,
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
    pub(super) tx: TxId,
    pub(super) contact: Bytes,
    pub(super) cseq: u32,
    /// Our offer.
    pub(super) offer: Option<Bytes>,
    pub(super) early: Early,
    /// The Min-SE of a 422.
    min_se: u32,
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
    /// With what it says, which the BYE for a 2xx that crosses it says too.
    Sent(Vec<Header>),
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

    /// What the CANCEL said or was to say, Reason for one.
    fn parting(&mut self) -> Vec<Header> {
        match &mut self.cancel {
            Cancel::No => Vec::new(),
            Cancel::Wanted(headers) | Cancel::Sent(headers) => std::mem::take(headers),
        }
    }

    pub(super) const fn next_cseq(&self) -> u32 {
        self.cseq + 1
    }

    /// The INVITE was sent again: with credentials, or a longer session interval.
    pub(super) fn restarted(&mut self, tx: TxId) {
        self.tx = tx;
        self.cseq += 1;
        self.early.clear();
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
        if let Some(patience) = place.patience {
            stack.table.limit_silence(now, tx, patience);
        }
        let calling = Calling {
            flow: place.flow,
            tx,
            contact,
            cseq,
            offer: place.sdp,
            early: Early::default(),
            min_se: 0,
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
            allows_update: false,
            locating: 0,
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
            self.send_cancel(now, stack, &headers);
        }
        if response.status().is_some_and(|status| status > 100) {
            self.progressed(now, stack, response);
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
            (422, Some(response)) if self.asks_longer(now, stack, tx, response) => {}
            (_, _) => self.refused(now, stack, reply),
        }
    }

    /// 422: the INVITE once more with an interval of at least the Min-SE in it, RFC 4028 §7.3.
    fn asks_longer(&mut self, now: Now, stack: &mut Stack, tx: TxId, response: &Message) -> bool {
        let Phase::Calling(calling) = &mut self.phase else {
            return false;
        };
        let named = min_se_of(response);
        if named <= calling.min_se
            || response.min_se().ok().flatten().is_none()
            || !calling.is_wanted()
        {
            return false;
        }
        calling.min_se = named;
        let fields = invite_fields(&stack.config, named);
        match stack.send_raised(now, tx, calling.next_cseq(), &fields) {
            Some(again) => {
                calling.restarted(again);
                true
            }
            None => false,
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
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        let (cseq, wanted) = (calling.cseq, calling.is_wanted());
        let parting = calling.parting();
        let mut timer = SessionTimer::with_min_se(calling.min_se);
        timer.answered(now, response);
        let offer = calling.offer.clone();
        let mut session = match calling.early.take(&dialog.remote_tag) {
            Some(early) => early.confirmed(dialog),
            None => Session {
                dialog,
                offers: Offers::initial(offer.clone(), None),
            },
        };
        // RFC 3261 §13.2.1: after a reliable provisional description, another one says nothing.
        let first = matches!(session.offers.state, State::Initial);
        let sdp = sdp_of(response).filter(|_| first);
        let owed = first && offer.is_none() && wanted;
        if owed {
            session.offers.state = State::AckOwed { tx, cseq };
        } else {
            if first {
                session.offers.state = State::Stable;
            }
            stack.acknowledge(tx, &session.dialog, cseq, None);
        }
        session.offers.remote = sdp.clone().or(session.offers.remote.take());
        self.allows_refer = allows_refer(response).unwrap_or(true);
        self.allows_update = allows_update(response).unwrap_or(false);
        self.phase = Phase::Up(Box::new(Up::new(session, timer, cseq)));
        if wanted {
            let allow_refer = self.allows_refer;
            stack.emit(self.id, LegEvent::Answered { sdp, allow_refer });
            self.offers_settled(now, stack);
        } else {
            self.leave(now, stack, parting);
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
            answered: message.is_some(),
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

    /// A CANCEL that its connection lost is sent again with the next provisional response.
    pub(super) fn cancel_answered(&mut self, reply: &Reply) {
        if let (Phase::Calling(calling), None, 503) =
            (&mut self.phase, &reply.message, reply.status)
        {
            calling.cancel = Cancel::Wanted(calling.parting());
        }
    }

    fn send_cancel(&mut self, now: Now, stack: &mut Stack, headers: &[Header]) {
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        calling.cancel = Cancel::Sent(headers.to_vec());
        stack.note_parting(calling.tx, headers);
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
    let (uri, route) = first_hop(place);
    let builder = Builder::request(&Method::Invite, &uri)
        .field("Via", via)
        .optional("Route", route.as_ref())
        .field("Max-Forwards", place.max_forwards.to_string())
        .field("From", tagged(&place.from, tag))
        .field("To", &place.to)
        .field("Call-ID", call_id)
        .field("CSeq", format!("{cseq} INVITE"))
        .field("Contact", contact)
        .field("Allow", ALLOW)
        .field("Supported", SUPPORTED)
        .field("Accept", SDP);
    let builder = with_headers(builder, &invite_fields(&stack.config, 0));
    let agent = Some(&stack.config.user_agent).filter(|agent| !agent.is_empty());
    let builder = builder.optional("User-Agent", agent);
    with_sdp(with_headers(builder, &place.headers), place.sdp.as_ref()).build()
}

/// The Request-URI and the Route of an INVITE by an outbound proxy: a strict router, whose URI has
/// no `lr`, is the Request-URI, and the target the last route (RFC 3261 §8.1.1.1, §12.2.1.1).
fn first_hop(place: &Place) -> (Bytes, Option<Bytes>) {
    let proxy = place.route.clone().and_then(|r| NameAddr::parse(r).ok());
    match proxy {
        Some(proxy) if proxy.uri().param("lr").is_none() => {
            let uri = proxy.uri().without_headers().without_param("method");
            let last = [b"<", &place.uri[..], b">"].concat();
            (uri.as_bytes().clone(), Some(last.into()))
        }
        Some(_) | None => (place.uri.clone(), place.route.clone()),
    }
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
