//! Requests of ours inside dialogs: sent, challenged, answered.

use std::net::IpAddr;

use bytes::Bytes;
use ipnet::IpNet;
use sip_message::{Message, Method, StartLine};
use timebase::Now;

use super::{Leg, Phase};
use crate::answers::{ALLOW, SUPPORTED, with_headers};
use crate::config::Credentials;
use crate::digest;
use crate::ended::Ended;
use crate::flow::Flow;
use crate::stack::{Purpose, Reply, Stack};
use crate::transaction::TxId;
use crate::vocabulary::Header;

/// What a request inside a dialog has besides the usual.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extra<'a> {
    /// Whether it has Contact, Allow and Supported.
    pub(super) contact: bool,
    pub(super) headers: &'a [Header],
    pub(super) body: Option<(&'a str, &'a Bytes)>,
}

impl Leg {
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
            Purpose::Reinvite | Purpose::Update => self.offer_answered(now, stack, tx, reply),
            Purpose::Refresh => self.refresh_answered(now, stack, reply),
            Purpose::Bye => self.bye_answered(now, stack, reply),
            Purpose::Refer(id) => self.refer_answered(now, stack, id, reply),
            Purpose::Notify => self.notify_answered(stack, reply),
            Purpose::Info => self.key_answered(now, stack, reply),
            // A PRACK that is refused leaves everything to the final response.
            Purpose::Cancel => self.cancel_answered(reply),
            Purpose::Prack | Purpose::Ping(_) => {}
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
            Phase::Calling(calling) if purpose == Purpose::Invite => {
                calling.is_wanted().then(|| calling.answerer())?
            }
            Phase::Up(_) | Phase::Calling(_) | Phase::Arriving(_) if is_peer => {
                Some((&mut self.digest, self.credentials.as_ref()?))
            }
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
            Phase::Calling(calling) if purpose == Purpose::Invite => calling.next_cseq(),
            Phase::Calling(_) | Phase::Arriving(_) | Phase::Up(_) | Phase::Ended(_) => {
                match self.session_mut() {
                    Some(session) => session.dialog.next_cseq(),
                    None => return false,
                }
            }
        };
        let Some(again) = stack.send_again(now, tx, cseq, &answers) else {
            return false;
        };
        match (&mut self.phase, purpose) {
            (Phase::Calling(calling), Purpose::Invite) => calling.restarted(again),
            (Phase::Up(up), Purpose::Refer(id)) => up.referrer.renumber(id, cseq),
            (_, Purpose::Reinvite | Purpose::Update) => {
                if let Some(session) = self.session_mut() {
                    session.offers.sent(Some(again));
                }
            }
            (_, Purpose::Bye) => self.leaves_in(Some(again)),
            (_, _) => {}
        }
        true
    }

    /// Sends a request inside the dialog, with credentials where the path has asked for them before.
    pub(super) fn request(
        &mut self,
        now: Now,
        stack: &mut Stack,
        method: &Method,
        purpose: Purpose,
        extra: Extra<'_>,
    ) -> Option<TxId> {
        let dialog = &mut self.session_mut()?.dialog;
        let cseq = dialog.next_cseq();
        let purpose = if matches!(purpose, Purpose::Refer(_)) {
            Purpose::Refer(cseq)
        } else {
            purpose
        };
        let flow = dialog.next_flow();
        let (uri, contact, tag) = (
            dialog.request_uri(),
            dialog.contact.clone(),
            dialog.remote_tag.clone(),
        );
        let mut builder = stack.begin_request(dialog, method, cseq, &flow);
        let may = self.digest.is_challenged() && is_peer(flow.remote.ip(), &self.peers);
        if let (Some(credentials), true) = (&self.credentials, may) {
            let request = digest::Request {
                method: method.as_str(),
                uri: &uri,
                body: extra.body.map_or(&b""[..], |(_, body)| &body[..]),
            };
            for answer in self.digest.authorize(credentials, &mut stack.ids, request) {
                builder = builder.field(answer.name(), &answer.value);
            }
        }
        if let Phase::Calling(calling) = &self.phase {
            stack.note_fork(calling.tx, &tag, cseq);
        }
        if extra.contact {
            builder = builder
                .field("Contact", &contact)
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
    pub(super) fn maybe_gone(&mut self, now: Now, stack: &mut Stack, reply: &Reply) {
        if matches!(reply.status, 408 | 481) && reply.message.is_some() {
            self.end(now, stack, Ended::Gone(reply.status));
        }
    }
}

fn authorised<'a>(request: &'a Message, body: &'a [u8]) -> digest::Request<'a> {
    let uri = request.request_uri().unwrap_or_default();
    let method = match request.start() {
        StartLine::Request { method, .. } => method.as_str(),
        StartLine::Response { .. } => "",
    };
    digest::Request { method, uri, body }
}

/// Whether the trunk's credentials may go to an address. A peer may name any as its Contact, and
/// whoever is there could ask for them.
fn is_peer(address: IpAddr, peers: &[IpNet]) -> bool {
    let address = address.to_canonical();
    peers.iter().any(|net| net.contains(&address))
}
