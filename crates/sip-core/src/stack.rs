//! What all legs share: the transaction layer, identifiers, configuration, and the queue of outputs.

mod again;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Message, Method, Uri};
use timebase::Now;

use crate::advertise;
use crate::answers::{self, with_headers};
use crate::client::{Ack, Client};
use crate::config::EndpointConfig;
use crate::dialog::Dialog;
use crate::ended::Counters;
use crate::flow::{ConnectionId, Flow, Transport};
use crate::ids::Ids;
use crate::ping::PingId;
use crate::transaction::{Limits, Table, TxId};
use crate::vocabulary::{Header, Invitation, LegEvent, LegId, Output, Response};

/// How long nothing is said of something that was said already.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What is kept with each transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Where its messages go.
    pub(crate) flow: Flow,
    /// Where responses go when the connection is gone, RFC 3261 §18.2.2.
    pub(crate) fallback: Flow,
    /// The leg that it belongs to.
    pub(crate) leg: Option<LegId>,
}

/// What a request of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The INVITE that places a leg.
    Invite,
    /// An INVITE inside a dialog.
    Reinvite,
    /// The CANCEL of a placed leg.
    Cancel,
    /// The end of a leg.
    Bye,
    /// REFER with the sequence number that its subscription is known by.
    Refer(u32),
    /// NOTIFY of a REFER's subscription.
    Notify,
    /// INFO.
    Info,
    /// UPDATE with an offer.
    Update,
    /// UPDATE that refreshes the session.
    Refresh,
    /// PRACK.
    Prack,
    /// OPTIONS outside every dialog.
    Ping(PingId),
}

/// A request of a peer that has its transaction.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    /// The transaction.
    pub(crate) tx: TxId,
    /// The request.
    pub(crate) request: Message,
    /// Where it came from.
    pub(crate) flow: Flow,
}

impl Incoming {
    /// A connection was closed: what is answered from now on takes another.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        if self.flow.connection == Some(connection) {
            self.flow = self.flow.unconnected();
        }
    }
}

/// The final fate of a request of ours.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The status code; 408 and 503 stand for silence and for a failed transport, RFC 3261 §8.1.3.1.
    pub(crate) status: u16,
    /// The reason phrase.
    pub(crate) reason: String,
    /// The response, where there was one.
    pub(crate) message: Option<Message>,
}

impl Reply {
    /// The reply that a response is.
    pub(crate) fn of(message: Message) -> Self {
        Self {
            status: message.status().unwrap_or_default(),
            reason: answers::text(message.reason_phrase().unwrap_or_default()),
            message: Some(message),
        }
    }

    /// The reply that stands for the lack of a response.
    pub(crate) fn without_response(status: u16) -> Self {
        Self {
            status,
            reason: answers::reason_phrase(status).to_owned(),
            message: None,
        }
    }
}

/// The shared part of the endpoint.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) config: EndpointConfig,
    pub(crate) ids: Ids,
    pub(crate) counters: Counters,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) table: Table<Context>,
    said_full: Option<Now>,
    clients: HashMap<TxId, Client>,
}

impl Stack {
    pub(crate) fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let ids = Ids::new(seed);
        let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = ids.secret("transactions");
        let table = Table::new(config.timers, limits(&config), key);
        let clients = HashMap::new();
        Self {
            config,
            ids,
            counters: Counters::default(),
            outputs: VecDeque::new(),
            table,
            said_full: None,
            clients,
        }
    }

    pub(crate) fn reconfigure(&mut self, config: EndpointConfig) {
        self.table.reconfigure(config.timers, limits(&config));
        self.config = config;
    }

    /// Tells the shell what happened on a leg.
    pub(crate) fn emit(&mut self, leg: LegId, event: LegEvent) {
        tracing::debug!(leg = leg.0, ?event, "leg");
        self.outputs.push_back(Output::Leg { leg, event });
    }

    /// Tells the shell of a call that wants in.
    pub(crate) fn invite(&mut self, invitation: Box<Invitation>) {
        self.outputs.push_back(Output::Invited(invitation));
    }

    /// Sends bytes.
    pub(crate) fn transmit(&mut self, flow: Flow, payload: Bytes) {
        tracing::trace!(%flow, bytes = payload.len(), "send");
        self.counters.sent += 1;
        self.outputs.push_back(Output::Transmit { flow, payload });
    }

    /// Sends a response that leaves nothing behind, RFC 3261 §8.2.7; what was sent, and where.
    pub(crate) fn refuse(
        &mut self,
        request: &Message,
        flow: Flow,
        response: &Response,
    ) -> Option<(Flow, Bytes)> {
        if request.method() == Method::Ack {
            return None;
        }
        let tag = self.stateless_tag(request);
        let builder = self.compose(request, flow, response, tag.as_bytes());
        let flow = answers::reply_flow(request, flow);
        let payload = builder.build().bytes().clone();
        self.transmit(flow, payload.clone());
        Some((flow, payload))
    }

    /// The To tag of stateless responses: the same for the same request.
    pub(crate) fn stateless_tag(&self, request: &Message) -> String {
        let via = request.via().ok();
        let branch = via
            .as_ref()
            .and_then(|via| via.branch())
            .unwrap_or_default();
        let cseq = request.header(HeaderName::CSeq).unwrap_or_default();
        let from = request.header(HeaderName::From).unwrap_or_default();
        self.ids
            .keyed_tag(&[request.call_id().unwrap_or_default(), &from, &cseq, branch])
    }

    /// Begins the transaction of a request; it is answered 503 where there are too many.
    pub(crate) fn serve(
        &mut self,
        now: Now,
        request: &Message,
        flow: Flow,
        leg: Option<LegId>,
    ) -> Option<Incoming> {
        let fallback = answers::fallback_flow(request, flow);
        let context = Context {
            flow: answers::reply_flow(request, flow),
            fallback,
            leg,
        };
        match self
            .table
            .serve(now, request, flow.transport.reliable(), context)
        {
            Ok(tx) => Some(Incoming {
                tx,
                request: request.clone(),
                flow,
            }),
            Err(_) => {
                self.overloaded(now, "transactions");
                self.refuse(
                    request,
                    flow,
                    &Response::new(503).with_header("Retry-After", "1"),
                );
                None
            }
        }
    }

    /// There is no room for a request: counted, and said once a minute.
    pub(crate) fn overloaded(&mut self, now: Now, what: &str) {
        self.counters.overloaded += 1;
        if self.said_full.is_none_or(|said| now - said >= SAY_AGAIN) {
            self.said_full = Some(now);
            tracing::warn!(what, "requests are answered 503: too many at a time");
        }
    }

    /// A response with what every response of ours has.
    pub(crate) fn compose(
        &self,
        request: &Message,
        flow: Flow,
        response: &Response,
        tag: &[u8],
    ) -> Builder {
        let builder = answers::response(
            request,
            flow.remote,
            response.status,
            response.reason.as_deref(),
            tag,
        );
        let builder = with_headers(builder, &response.headers);
        if self.config.user_agent.is_empty() || response.status == 100 {
            return builder;
        }
        builder.field("Server", &self.config.user_agent)
    }

    /// Answers a request in its transaction.
    pub(crate) fn reply(&mut self, now: Now, incoming: &Incoming, response: &Response, tag: &[u8]) {
        let message = self
            .compose(&incoming.request, incoming.flow, response, tag)
            .build();
        self.respond(now, incoming.tx, response.status, message.bytes().clone());
    }

    /// Hands a response to its transaction. One that was answered already stays as it is.
    pub(crate) fn respond(&mut self, now: Now, tx: TxId, status: u16, response: Bytes) {
        if let Err(misuse) = self.table.respond(now, tx, status, response) {
            tracing::debug!(status, %misuse, "response not sent");
        }
    }

    /// The Via value of a request over a flow, with a new branch.
    pub(crate) fn via(&mut self, flow: &Flow) -> String {
        let branch = self.ids.branch();
        let sent_by = self.sent_by(flow);
        // RFC 5923 §8.1: of connections that are opened from here, over TLS and no other transport.
        let opens = flow.transport == Transport::Tls && flow.connection.is_none();
        let alias = if opens && self.config.tls_alias {
            ";alias"
        } else {
            ""
        };
        format!(
            "SIP/2.0/{} {sent_by};branch={branch};rport{alias}",
            flow.transport.via_token()
        )
    }

    /// Our address as peers are told it.
    fn sent_by(&self, flow: &Flow) -> String {
        advertise::sent_by(&self.config.advertise, flow)
    }

    /// Our Contact value over a flow, with the user part of `like`; a sips URI where the call is
    /// secured that way, RFC 3261 §8.1.1.8 and §12.1.1, RFC 5630 §3.3.
    pub(crate) fn contact(&self, flow: &Flow, like: Option<&Uri>, sips: bool) -> Bytes {
        let scheme = if sips { "sips" } else { "sip" };
        let mut value = format!("<{scheme}:").into_bytes();
        if let Some(user) = like.and_then(Uri::user) {
            value.extend_from_slice(user);
            value.push(b'@');
        }
        value.extend_from_slice(self.sent_by(flow).as_bytes());
        value.extend_from_slice(match flow.transport {
            Transport::Udp => b">".as_slice(),
            Transport::Tcp => b";transport=tcp>",
            Transport::Tls if scheme == "sips" => b">",
            Transport::Tls => b";transport=tls>",
        });
        value.into()
    }

    /// Sends a request in a transaction of its own.
    pub(crate) fn send(
        &mut self,
        now: Now,
        flow: Flow,
        request: Message,
        purpose: Purpose,
        leg: Option<LegId>,
    ) -> Option<TxId> {
        let client = Client {
            leg,
            purpose,
            request,
            flow,
            acks: Default::default(),
            forks: Default::default(),
            rescued: false,
            parting: None,
        };
        self.begin(now, client)
    }

    fn begin(&mut self, now: Now, client: Client) -> Option<TxId> {
        let context = Context {
            flow: client.flow,
            fallback: client.flow,
            leg: client.leg,
        };
        match self.table.send(
            now,
            &client.request,
            client.flow.transport.reliable(),
            context,
        ) {
            Ok(tx) => {
                self.clients.insert(tx, client);
                Some(tx)
            }
            Err(refused) => {
                tracing::warn!(%refused, "request not sent");
                None
            }
        }
    }

    /// A response shows over which connection its request went: the transaction ends with that, and
    /// the dialog goes on over it.
    pub(crate) fn came_by(&mut self, tx: TxId, flow: Flow) {
        let unknown =
            |known: &Flow| known.connection.is_none() && known.transport == flow.transport;
        if let Some(context) = self.table.context_mut(tx).filter(|c| unknown(&c.flow)) {
            context.flow.connection = flow.connection;
        }
        if let Some(client) = self.clients.get_mut(&tx).filter(|c| unknown(&c.flow)) {
            client.flow.connection = flow.connection;
        }
    }

    /// The request of ours that a transaction sent.
    pub(crate) fn client(&self, tx: TxId) -> Option<&Client> {
        self.clients.get(&tx)
    }

    /// The transaction is over.
    pub(crate) fn forget(&mut self, tx: TxId) {
        self.clients.remove(&tx);
    }

    /// Acknowledges a 2xx, RFC 3261 §13.2.2.4; the ACK is kept for its repetitions.
    pub(crate) fn acknowledge(
        &mut self,
        tx: TxId,
        dialog: &Dialog,
        cseq: u32,
        sdp: Option<&Bytes>,
    ) {
        let flow = dialog.next_flow();
        let via = self.via(&flow);
        let mut builder = dialog.request(&Method::Ack, cseq, via.as_bytes());
        builder = self.credentials_of(tx, builder);
        let ack = answers::with_sdp(builder, sdp).build().bytes().clone();
        if let Some(client) = self.clients.get_mut(&tx) {
            client.acks.push(Ack {
                tag: dialog.remote_tag.clone(),
                flow,
                elsewhere: dialog.flow_without_connection(),
                bytes: ack.clone(),
            });
        }
        self.transmit(flow, ack);
    }

    /// The ACK of a 2xx carries the INVITE's credentials, RFC 3261 §13.2.2.4.
    fn credentials_of(&self, tx: TxId, builder: Builder) -> Builder {
        let Some(client) = self.clients.get(&tx) else {
            return builder;
        };
        builder
            .copy(&client.request, HeaderName::Authorization)
            .copy(&client.request, HeaderName::ProxyAuthorization)
    }

    /// Sends BYE, RFC 3261 §15.1.1.
    pub(crate) fn bye(
        &mut self,
        now: Now,
        dialog: &mut Dialog,
        headers: &[Header],
        leg: Option<LegId>,
    ) {
        let cseq = dialog.next_cseq();
        let flow = dialog.next_flow();
        let builder = with_headers(
            self.begin_request(dialog, &Method::Bye, cseq, &flow),
            headers,
        );
        self.send(now, flow, builder.build(), Purpose::Bye, leg);
    }

    /// The beginning of a request in a dialog, with what all of ours have.
    pub(crate) fn begin_request(
        &mut self,
        dialog: &Dialog,
        method: &Method,
        cseq: u32,
        flow: &Flow,
    ) -> Builder {
        let via = self.via(flow);
        let builder = dialog.request(method, cseq, via.as_bytes());
        if self.config.user_agent.is_empty() {
            return builder;
        }
        builder.field("User-Agent", &self.config.user_agent)
    }
}

fn limits(config: &EndpointConfig) -> Limits {
    Limits {
        clients: config.bounds.transactions,
        servers: config.bounds.transactions,
    }
}
