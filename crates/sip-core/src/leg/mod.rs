//! The leg: one INVITE dialog, or the attempt at one, from the first INVITE to [`LegEvent::Ended`].
//!
//! A leg is arriving or calling first (`uas`, `uac`), then up (`session`, with `offers` and `refer`).

mod offers;
mod refer;
mod session;
mod uac;
mod uas;

use std::net::IpAddr;

use bytes::Bytes;
use ipnet::IpNet;
use sip_message::{Message, Method, StartLine};
use timebase::Now;

pub(crate) use uac::{Calling, response_tag};
pub(crate) use uas::Arriving;

use crate::answers::{ALLOW, SUPPORTED, allows_refer, with_headers};
use crate::config::Credentials;
use crate::dialog::Dialog;
use crate::digest;
use crate::ended::Ended;
use crate::flow::{ConnectionId, Flow};
use crate::screen;
use crate::stack::{Incoming, Purpose, Reply, Stack};
use crate::transaction::TxId;
use crate::vocabulary::{Command, Header, LegEvent, LegId, Response, TrunkId};
use session::Up;

/// One leg.
#[derive(Debug)]
pub(crate) struct Leg {
    /// Its number.
    pub(crate) id: LegId,
    /// Our tag.
    pub(crate) tag: Bytes,
    /// The Call-ID.
    pub(crate) call_id: Bytes,
    /// The trunk that it came over.
    trunk: Option<TrunkId>,
    /// The trunk's addresses, as they were when the call came.
    allow: Vec<IpNet>,
    /// Further addresses that its peer's requests may come from.
    sources: Vec<IpAddr>,
    /// What challenges to requests inside the dialog are answered with.
    credentials: Option<Credentials>,
    /// Where those credentials may go: the trunk's addresses.
    peers: Vec<IpNet>,
    digest: digest::Client,
    allows_refer: bool,
    phase: Phase,
}

/// What a request inside a dialog has besides the usual.
#[derive(Clone, Copy, Debug, Default)]
struct Extra<'a> {
    /// Whether it has Contact, Allow and Supported.
    contact: bool,
    headers: &'a [Header],
    body: Option<(&'a str, &'a Bytes)>,
}

#[derive(Debug)]
enum Phase {
    Arriving(Box<Arriving>),
    Calling(Box<Calling>),
    Up(Box<Up>),
    /// With the dialog, for those who still speak in it.
    Ended(Option<Box<Dialog>>),
}

impl Leg {
    /// The deadline of its state.
    pub(crate) fn poll_timeout(&self) -> Option<Now> {
        match &self.phase {
            Phase::Arriving(arriving) => arriving.poll_timeout(),
            Phase::Up(up) => up.poll_timeout(),
            Phase::Calling(_) | Phase::Ended(_) => None,
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Now, stack: &mut Stack) {
        match &mut self.phase {
            Phase::Arriving(_) => self.arriving_timeout(now, stack),
            Phase::Up(_) => self.session_timeout(now, stack),
            Phase::Calling(_) | Phase::Ended(_) => {}
        }
    }

    /// Whether it has ended, and with which dialog.
    pub(crate) fn ended(&self) -> Option<Option<&Dialog>> {
        match &self.phase {
            Phase::Ended(dialog) => Some(dialog.as_deref()),
            Phase::Arriving(_) | Phase::Calling(_) | Phase::Up(_) => None,
        }
    }

    /// Whether a message with these identifiers belongs to the leg.
    pub(crate) fn owns(&self, call_id: &[u8], remote_tag: &[u8]) -> bool {
        match &self.phase {
            Phase::Calling(_) => self.call_id == call_id,
            Phase::Arriving(_) | Phase::Up(_) | Phase::Ended(_) => self
                .dialog()
                .is_some_and(|dialog| dialog.is(call_id, remote_tag)),
        }
    }

    /// Whether requests of the leg's dialog may come from an address.
    pub(crate) fn comes_from(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        let is = |ip: IpAddr| ip.to_canonical() == source;
        let path = match &self.phase {
            Phase::Calling(calling) => is(calling.flow.remote.ip()),
            Phase::Arriving(_) | Phase::Up(_) | Phase::Ended(_) => {
                self.dialog().is_some_and(|dialog| {
                    is(dialog.flow.remote.ip())
                        || (self.trunk.is_none() && dialog.target_ip().is_some_and(is))
                })
            }
        };
        path || self.sources.iter().any(|ip| is(*ip))
            || self.allow.iter().any(|net| net.contains(&source))
    }

    fn dialog(&self) -> Option<&Dialog> {
        match &self.phase {
            Phase::Arriving(arriving) => Some(&arriving.dialog),
            Phase::Up(up) => Some(&up.dialog),
            Phase::Ended(dialog) => dialog.as_deref(),
            Phase::Calling(_) => None,
        }
    }

    /// The way of the next request, where the leg has a dialog.
    pub(crate) fn next_flow(&self) -> Option<Flow> {
        self.dialog().map(Dialog::next_flow)
    }

    /// A request inside the dialog goes on in another transaction.
    pub(crate) fn moved(&mut self, purpose: Purpose, again: TxId) {
        if let (Phase::Up(up), Purpose::Reinvite) = (&mut self.phase, purpose) {
            up.offers.sent(Some(again));
        }
    }

    /// Whether the leg's dialog goes over a connection.
    pub(crate) fn is_on(&self, connection: ConnectionId) -> bool {
        self.dialog()
            .is_some_and(|dialog| dialog.flow.connection == Some(connection))
    }

    /// A connection was closed.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        let dialog = match &mut self.phase {
            Phase::Arriving(arriving) => {
                arriving.incoming.disconnect(connection);
                &mut arriving.dialog
            }
            Phase::Up(up) => {
                up.offers.disconnect(connection);
                &mut up.dialog
            }
            Phase::Calling(_) | Phase::Ended(_) => return,
        };
        if dialog.flow.connection == Some(connection) {
            dialog.disconnect();
        }
    }

    /// Takes a request other than ACK and CANCEL, RFC 3261 §12.2.2.
    pub(crate) fn handle_request(&mut self, now: Now, stack: &mut Stack, incoming: Incoming) {
        let number = incoming
            .request
            .cseq()
            .map(|cseq| cseq.number)
            .unwrap_or_default();
        let dialog = match &mut self.phase {
            Phase::Arriving(arriving) => Some(&mut arriving.dialog),
            Phase::Up(up) => Some(&mut up.dialog),
            Phase::Calling(_) | Phase::Ended(_) => None,
        };
        if let Some(dialog) = dialog {
            if dialog.advance(number).is_err() {
                return self.reply(now, stack, &incoming, &Response::new(500));
            }
            if dialog.flow.transport.reliable() && dialog.flow.connection.is_none() {
                dialog.flow = incoming.flow;
            }
        }
        if let Err(refusal) = screen::extensions(&incoming.request) {
            return self.reply(now, stack, &incoming, &refusal);
        }
        self.note_allow(stack, &incoming.request);
        self.route_request(now, stack, incoming);
    }

    fn route_request(&mut self, now: Now, stack: &mut Stack, incoming: Incoming) {
        match incoming.request.method() {
            Method::Bye => self.peer_hangs_up(now, stack, &incoming),
            Method::Invite | Method::Update => self.peer_offers(now, stack, incoming),
            Method::Info => self.peer_informs(now, stack, &incoming),
            Method::Options => self.reply(now, stack, &incoming, &screen::capabilities(false)),
            Method::Refer => self.peer_refers(now, stack, incoming),
            Method::Notify => self.peer_notifies(now, stack, &incoming),
            Method::Prack | Method::Ack | Method::Cancel => {
                self.reply(now, stack, &incoming, &Response::new(481))
            }
            Method::Register | Method::Subscribe | Method::Message | Method::Publish => {
                self.reply(now, stack, &incoming, &screen::not_allowed());
            }
            Method::Other(_) => {
                let refusal = Response::new(501).with_header("Allow", ALLOW);
                self.reply(now, stack, &incoming, &refusal);
            }
        }
    }

    fn peer_informs(&mut self, now: Now, stack: &mut Stack, incoming: &Incoming) {
        self.reply(now, stack, incoming, &Response::new(200));
        let content_type = incoming
            .request
            .header(sip_message::HeaderName::ContentType)
            .unwrap_or_default();
        let content_type = crate::answers::text(&content_type);
        stack.emit(
            self.id,
            LegEvent::Info {
                content_type,
                body: incoming.request.body(),
            },
        );
    }

    /// The latest Allow header counts, RFC 3261 §20.5.
    fn note_allow(&mut self, stack: &mut Stack, message: &Message) {
        if let Some(allows) = allows_refer(message).filter(|allows| *allows != self.allows_refer) {
            self.allows_refer = allows;
            stack.emit(self.id, LegEvent::AllowsRefer(allows));
        }
    }

    /// Takes the final fate of a request of ours.
    pub(crate) fn handle_reply(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        purpose: Purpose,
        reply: &Reply,
    ) {
        if self.answers_challenge(now, stack, tx, purpose, reply) {
            return;
        }
        if let Some(response) = reply
            .message
            .as_ref()
            .filter(|_| !matches!(reply.status, 401 | 407))
        {
            self.digest.served(response);
        }
        match purpose {
            Purpose::Invite => self.invite_answered(now, stack, tx, reply),
            Purpose::Reinvite => self.offer_answered(now, stack, tx, reply),
            Purpose::Bye => self.bye_answered(now, stack, reply),
            Purpose::Refer(id) => self.refer_answered(now, stack, id, reply),
            Purpose::Notify => self.notify_answered(stack, reply),
            Purpose::Info => self.maybe_gone(now, stack, reply),
            Purpose::Cancel | Purpose::Ping(_) => {}
        }
    }

    /// What answers a challenge to a request that went over `flow`: for the INVITE that places a
    /// leg its own credentials, for a request inside the dialog the trunk's.
    fn answerer(
        &mut self,
        purpose: Purpose,
        flow: Flow,
    ) -> Option<(&mut digest::Client, &Credentials)> {
        let is_peer = is_peer(flow.remote.ip(), &self.peers);
        match &mut self.phase {
            Phase::Calling(calling) if purpose == Purpose::Invite && calling.is_wanted() => {
                calling.answerer()
            }
            Phase::Up(_) if is_peer => Some((&mut self.digest, self.credentials.as_ref()?)),
            Phase::Up(_) | Phase::Calling(_) | Phase::Arriving(_) | Phase::Ended(_) => None,
        }
    }

    /// Sends a challenged request again, RFC 3261 §22.2; `false` where nothing fits.
    fn answers_challenge(
        &mut self,
        now: Now,
        stack: &mut Stack,
        tx: TxId,
        purpose: Purpose,
        reply: &Reply,
    ) -> bool {
        let (401 | 407, Some(challenge)) = (reply.status, &reply.message) else {
            return false;
        };
        let asked = stack.client(tx);
        let Some((request, flow)) = asked.map(|client| (client.request.clone(), client.flow))
        else {
            return false;
        };
        let id = self.id;
        let Some((digest, credentials)) = self.answerer(purpose, flow) else {
            return false;
        };
        if let Err(reason) = digest.challenged(challenge, credentials) {
            tracing::debug!(leg = id.0, %reason, "challenge not answered");
            return false;
        }
        let body = request.body();
        let answers = digest.authorize(credentials, &mut stack.ids, authorised(&request, &body));
        let cseq = match &mut self.phase {
            Phase::Calling(calling) => calling.next_cseq(),
            Phase::Up(up) => up.dialog.next_cseq(),
            Phase::Arriving(_) | Phase::Ended(_) => return false,
        };
        let Some(again) = stack.send_again(now, tx, cseq, &answers) else {
            return false;
        };
        match (&mut self.phase, purpose) {
            (Phase::Calling(calling), Purpose::Invite) => calling.restarted(again),
            (Phase::Up(up), Purpose::Refer(id)) => up.referrer.renumber(id, cseq),
            (Phase::Up(up), Purpose::Reinvite) => up.offers.sent(Some(again)),
            (_, _) => {}
        }
        true
    }

    /// Sends a request inside the dialog, with credentials where the path has asked for them before.
    fn request(
        &mut self,
        now: Now,
        stack: &mut Stack,
        method: &Method,
        purpose: Purpose,
        extra: Extra<'_>,
    ) -> Option<TxId> {
        let Phase::Up(up) = &mut self.phase else {
            return None;
        };
        let cseq = up.dialog.next_cseq();
        let purpose = if matches!(purpose, Purpose::Refer(_)) {
            Purpose::Refer(cseq)
        } else {
            purpose
        };
        let flow = up.dialog.next_flow();
        let mut builder = stack.begin_request(&up.dialog, method, cseq, &flow);
        let may = self.digest.is_challenged() && is_peer(flow.remote.ip(), &self.peers);
        if let (Some(credentials), true) = (&self.credentials, may) {
            let (uri, body) = (
                up.dialog.request_uri(),
                extra.body.map_or(&b""[..], |(_, body)| &body[..]),
            );
            let request = digest::Request {
                method: method.as_str(),
                uri: &uri,
                body,
            };
            for answer in self.digest.authorize(credentials, &mut stack.ids, request) {
                builder = builder.field(answer.name(), &answer.value);
            }
        }
        if extra.contact {
            builder = builder
                .field("Contact", &up.dialog.contact)
                .field("Allow", ALLOW)
                .field("Supported", SUPPORTED);
        }
        builder = with_headers(builder, extra.headers);
        if let Some((content_type, body)) = extra.body {
            builder = builder.body(content_type, body);
        }
        stack.send(now, flow, builder.build(), purpose, Some(self.id))
    }

    /// 481 and 408 inside the dialog end it, RFC 3261 §12.2.1.2.
    fn maybe_gone(&mut self, now: Now, stack: &mut Stack, reply: &Reply) {
        if matches!(reply.status, 408 | 481) && reply.message.is_some() {
            self.end(now, stack, Ended::Gone(reply.status));
        }
    }

    /// Obeys a command.
    pub(crate) fn handle_command(&mut self, now: Now, stack: &mut Stack, command: Command) {
        match command {
            Command::Ring { status, sdp } => self.ring(now, stack, status, sdp.as_ref()),
            Command::Accept { sdp, headers } => self.accept(now, stack, sdp.as_ref(), &headers),
            Command::Refuse(response) => self.refuse(now, stack, &response),
            Command::HangUp { headers } => self.hang_up(now, stack, headers),
            Command::Reoffer { sdp } => self.reoffer(now, stack, sdp),
            Command::Answer { sdp } => self.answer(now, stack, &sdp),
            Command::RefuseOffer { status } => self.refuse_offer(now, stack, status),
            Command::Refer { target, headers } => self.refer(now, stack, &target, &headers),
            Command::AnswerRefer { status } => self.answer_refer(now, stack, status),
            Command::Notify {
                fragment,
                terminated,
            } => self.notify(now, stack, &fragment, terminated),
            Command::Info { content_type, body } => self.inform(now, stack, &content_type, &body),
        }
    }

    fn hang_up(&mut self, now: Now, stack: &mut Stack, headers: Vec<Header>) {
        match &self.phase {
            Phase::Arriving(_) => self.refuse(
                now,
                stack,
                &Response {
                    status: 480,
                    reason: None,
                    headers,
                },
            ),
            Phase::Calling(_) => self.cancel(now, stack, headers),
            Phase::Up(_) => self.leave(now, stack, headers),
            Phase::Ended(_) => {}
        }
    }

    fn reply(&self, now: Now, stack: &mut Stack, incoming: &Incoming, response: &Response) {
        stack.reply(now, incoming, response, &self.tag);
    }

    /// The leg is over: what is still open is answered, and the shell is told, once.
    fn end(&mut self, now: Now, stack: &mut Stack, why: Ended) {
        let dialog = match std::mem::replace(&mut self.phase, Phase::Ended(None)) {
            Phase::Arriving(arriving) => Some(arriving.dialog),
            Phase::Up(mut up) => {
                for incoming in up.open_requests() {
                    stack.reply(now, incoming, &Response::new(487), &self.tag);
                }
                if let Some(tx) = up.offers.stop() {
                    stack.table.cancelled(now, tx);
                }
                Some(up.dialog)
            }
            Phase::Calling(_) => None,
            Phase::Ended(_) => return,
        };
        self.phase = Phase::Ended(dialog.map(Box::new));
        stack.emit(self.id, LegEvent::Ended { why });
    }
}

/// Whether the trunk's credentials may go to an address. A peer may name any as its Contact, and
/// whoever is there could ask for them.
fn is_peer(address: IpAddr, peers: &[IpNet]) -> bool {
    let address = address.to_canonical();
    peers.iter().any(|net| net.contains(&address))
}

fn authorised<'a>(request: &'a Message, body: &'a [u8]) -> digest::Request<'a> {
    let uri = request.request_uri().unwrap_or_default();
    let method = match request.start() {
        StartLine::Request { method, .. } => method.as_str(),
        StartLine::Response { .. } => "",
    };
    digest::Request { method, uri, body }
}
