//! The leg: one INVITE dialog, or the attempt at one, from the first INVITE to [`LegEvent::Ended`].
//!
//! A leg is arriving or calling first (`uas` with `reliable`, `uac` with `early`), then up (`session`
//! with `session_timer` and `refer`). In every phase `offers` and `negotiate` keep offers and answers.

mod early;
mod info;
mod locate;
mod negotiate;
mod offers;
mod refer;
mod reliable;
mod requests;
mod restore;
mod session;
mod session_timer;
mod uac;
mod uas;
mod withdrawn;

use std::net::IpAddr;

use bytes::Bytes;
use ipnet::IpNet;
use sip_message::{Message, Method};
use timebase::Now;

pub(crate) use session_timer::too_small;
pub(crate) use uac::{Calling, response_tag};
pub(crate) use uas::Arriving;

use crate::answers::{ALLOW, allows_refer, allows_update};
use crate::config::Credentials;
use crate::dialog::{Dialog, tag_of};
use crate::digest;
use crate::ended::Ended;
use crate::flow::{ConnectionId, Flow};
use crate::screen;
use crate::stack::{Incoming, Purpose, Stack};
use crate::transaction::TxId;
use crate::vocabulary::{Command, Header, LegEvent, LegId, Response, TrunkId};
use offers::Session;
use requests::Extra;
use session::{Life, Up};

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
    /// The peer's latest Allow header names UPDATE.
    allows_update: bool,
    /// Next hops that the shell is looking up.
    locating: u8,
    phase: Phase,
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
            Phase::Calling(calling) => calling.early.poll_timeout(),
            Phase::Ended(_) => None,
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Now, stack: &mut Stack) {
        match &mut self.phase {
            Phase::Arriving(_) => self.arriving_timeout(now, stack),
            Phase::Up(_) => self.session_timeout(now, stack),
            Phase::Calling(_) => self.offers_timeout(now, stack),
            Phase::Ended(_) => {}
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
                        || (self.trunk.is_none()
                            && (dialog.target_ip().is_some_and(is) || dialog.is_located_at(source)))
                })
            }
        };
        path || self.sources.iter().any(|ip| is(*ip))
            || self.allow.iter().any(|net| net.contains(&source))
    }

    fn dialog(&self) -> Option<&Dialog> {
        match &self.phase {
            Phase::Arriving(arriving) => Some(&arriving.session.dialog),
            Phase::Up(up) => Some(&up.session.dialog),
            Phase::Ended(dialog) => dialog.as_deref(),
            Phase::Calling(_) => None,
        }
    }

    /// The dialog with its offers; of several early ones, the one that is dealt with now.
    fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Arriving(arriving) => Some(&arriving.session),
            Phase::Up(up) => Some(&up.session),
            Phase::Calling(calling) => calling.early.current(),
            Phase::Ended(_) => None,
        }
    }

    fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Arriving(arriving) => Some(&mut arriving.session),
            Phase::Up(up) => Some(&mut up.session),
            Phase::Calling(calling) => calling.early.current_mut(),
            Phase::Ended(_) => None,
        }
    }

    /// The way of the next request, where the leg has a dialog.
    pub(crate) fn next_flow(&self) -> Option<Flow> {
        self.session().map(|session| session.dialog.next_flow())
    }

    /// A request inside the dialog goes on in another transaction.
    pub(crate) fn moved(&mut self, purpose: Purpose, again: TxId) {
        if matches!(purpose, Purpose::Reinvite | Purpose::Update)
            && let Some(session) = self.session_mut()
        {
            session.offers.sent(Some(again));
        }
        if purpose == Purpose::Bye {
            self.leaves_in(Some(again));
        }
    }

    /// Whether the leg's dialog goes over a connection.
    pub(crate) fn is_on(&self, connection: ConnectionId) -> bool {
        self.dialog()
            .is_some_and(|dialog| dialog.flow.connection == Some(connection))
    }

    /// A connection was closed.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        if let Phase::Arriving(arriving) = &mut self.phase {
            arriving.incoming.disconnect(connection);
        }
        if let Some(session) = self.session_mut() {
            session.offers.disconnect(connection);
            if session.dialog.flow.connection == Some(connection) {
                session.dialog.disconnect();
            }
        }
    }

    /// Takes a request other than ACK and CANCEL, RFC 3261 §12.2.2.
    pub(crate) fn handle_request(&mut self, now: Now, stack: &mut Stack, incoming: Incoming) {
        let number = incoming
            .request
            .cseq()
            .map(|cseq| cseq.number)
            .unwrap_or_default();
        if let Phase::Calling(calling) = &mut self.phase {
            let from = incoming.request.from();
            let tag = from.map(|from| tag_of(&from)).unwrap_or_default();
            if !calling.early.select_tag(&tag) {
                return self.reply(now, stack, &incoming, &Response::new(481));
            }
        }
        let overtaken = self.is_overtaken(&incoming.request);
        if let Some(Session { dialog, .. }) = self.session_mut() {
            if dialog.advance(number).is_err() && !overtaken {
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
            Method::Prack => self.peer_pracks(now, stack, incoming),
            Method::Ack | Method::Cancel => self.reply(now, stack, &incoming, &Response::new(481)),
            Method::Register | Method::Subscribe | Method::Message | Method::Publish => {
                self.reply(now, stack, &incoming, &screen::not_allowed());
            }
            Method::Other(_) => {
                let refusal = Response::new(501).with_header("Allow", ALLOW);
                self.reply(now, stack, &incoming, &refusal);
            }
        }
    }

    /// The latest Allow header counts, RFC 3261 §20.5.
    fn note_allow(&mut self, stack: &mut Stack, message: &Message) {
        if let Some(allows) = allows_refer(message).filter(|allows| *allows != self.allows_refer) {
            self.allows_refer = allows;
            stack.emit(self.id, LegEvent::AllowsRefer(allows));
        }
        self.allows_update = allows_update(message).unwrap_or(self.allows_update);
    }

    /// Obeys a command.
    pub(crate) fn handle_command(&mut self, now: Now, stack: &mut Stack, command: Command) {
        match command {
            Command::Ring { status, sdp } => self.ring(now, stack, status, sdp.as_ref()),
            Command::Accept { sdp, headers } => self.accept(now, stack, sdp, headers),
            Command::Refuse(response) => self.refuse(now, stack, &response),
            Command::HangUp { headers } => self.hang_up(now, stack, headers),
            Command::Reoffer { sdp } => self.reoffer(now, stack, sdp),
            Command::WithdrawOffer => self.withdraw_offer(now, stack),
            Command::Answer { sdp } => self.answer(now, stack, &sdp),
            Command::RefuseOffer { status } => self.refuse_offer(now, stack, status),
            Command::Refer { target, headers } => self.refer(now, stack, &target, &headers),
            Command::AnswerRefer { status } => self.answer_refer(now, stack, status),
            Command::Notify {
                fragment,
                terminated,
            } => self.notify(now, stack, &fragment, terminated),
            Command::Located { uri, flows } => self.located(stack, &uri, &flows),
            Command::Press { key, duration_ms } => self.press(now, stack, key, duration_ms),
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
            Phase::Arriving(arriving) => {
                let open = arriving.session.offers.open_request();
                open.into_iter()
                    .for_each(|incoming| self.give_up(now, stack, incoming));
                Some(arriving.session.dialog)
            }
            Phase::Up(mut up) => {
                up.open_requests()
                    .for_each(|incoming| self.give_up(now, stack, incoming));
                if let Some(tx) = up.session.offers.stop() {
                    stack.table.cancelled(now, tx);
                }
                Some(up.session.dialog)
            }
            Phase::Calling(calling) => {
                let mut open = calling.early.open_requests();
                open.by_ref()
                    .for_each(|incoming| self.give_up(now, stack, incoming));
                None
            }
            Phase::Ended(_) => return,
        };
        self.phase = Phase::Ended(dialog.map(Box::new));
        stack.emit(self.id, LegEvent::Ended { why });
    }

    /// A request that has no answer yet when its dialog ends, RFC 3261 §15.1.2.
    fn give_up(&self, now: Now, stack: &mut Stack, incoming: &Incoming) {
        stack.reply(now, incoming, &Response::new(487), &self.tag);
    }

    /// A NOTIFY that the peer's BYE overtook: its number is below that of the BYE, and it is awaited.
    fn is_overtaken(&self, request: &Message) -> bool {
        let lingers =
            matches!(&self.phase, Phase::Up(up) if matches!(up.life, Life::Lingering { .. }));
        lingers && request.method() == Method::Notify
    }
}
