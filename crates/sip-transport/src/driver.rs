//! The task that owns the endpoint.

use crate::addresses::Addresses;
use crate::connections::{Connections, Peer};
use crate::handle::{Gate, LegEvents, Request};
use crate::listen::{Listen, Sockets};
use crate::options::TransportOptions;
use crate::oversize::Oversize;
use crate::stream::{self, Stream};
use crate::tally::{Allowance, Count, Lines, Tally};
use crate::tap::{Direction, Taps};
use crate::udp;
use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use sip_core::{
    Command, ConnectionId, Endpoint, Flow, Input, Invitation, LegEvent, LegId, Output, PingId,
    Transport,
};
use sip_message::{Message, ParseError};
use socket2::SockRef;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use timebase::{Clock, Now};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Batches that may wait for the driver; beyond that, the kernel's buffers hold what comes.
const EVENTS: usize = 1024;
/// Events and requests taken before the endpoint's outputs are performed.
const BATCH: usize = 64;
/// How long connections may take to write what they hold when the driver ends.
const FLUSH: Duration = Duration::from_secs(1);

/// One message that came.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) flow: Flow,
    pub(crate) bytes: Bytes,
    pub(crate) message: Result<Message, ParseError>,
}

/// What the tasks around the sockets tell the driver.
#[derive(Debug)]
pub(crate) enum Event {
    Arrived(Vec<Arrival>),
    Accepted {
        transport: Transport,
        stream: TcpStream,
        remote: SocketAddr,
    },
    /// The client of a TLS connection has proven who it is.
    Proven {
        id: ConnectionId,
        certificate: CertificateDer<'static>,
    },
    /// A TLS handshake that a peer began came to nothing.
    Unshaken {
        flow: Flow,
        error: io::Error,
    },
    Opened {
        peer: Peer,
        result: io::Result<Stream>,
    },
    Broken {
        flow: Flow,
        error: ParseError,
    },
    /// A message did not come in time.
    Slow(Flow),
    /// Nothing has come for long.
    Idle(ConnectionId),
    Closed(ConnectionId),
}

/// What the driver is given besides its sockets and the endpoint.
pub(crate) struct Wiring {
    pub(crate) clock: Clock,
    pub(crate) gate: Gate,
    pub(crate) options: TransportOptions,
    pub(crate) addresses: Arc<Addresses>,
}

/// Owner of the endpoint, the sockets, the connections and the leg owners' senders.
pub(crate) struct Driver {
    pub(crate) endpoint: Endpoint,
    clock: Clock,
    gate: Gate,
    pub(crate) options: TransportOptions,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) lines_of_log: Lines,
    broken_datagrams: Allowance,
    pub(crate) to_self: mpsc::Sender<Event>,
    pub(crate) udp: Vec<(Listen, Arc<UdpSocket>)>,
    streams: Vec<(Transport, TcpListener)>,
    pub(crate) connections: Connections,
    pub(crate) oversize: Oversize,
    legs: HashMap<LegId, LegEvents>,
    pings: HashMap<PingId, oneshot::Sender<u16>>,
    pub(crate) taps: Taps,
    /// What could not be sent, to be told to the endpoint.
    pub(crate) failed: Vec<(Flow, Bytes)>,
    /// Connection tasks; dropping the set ends them.
    pub(crate) lines: JoinSet<()>,
}

impl Driver {
    /// A driver, and what the tasks around its sockets will tell it.
    pub(crate) fn new(
        sockets: Sockets,
        endpoint: Endpoint,
        wiring: Wiring,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (to_self, events) = mpsc::channel(EVENTS);
        let driver = Self {
            endpoint,
            clock: wiring.clock,
            gate: wiring.gate,
            oversize: Oversize::new(wiring.options.udp_max),
            broken_datagrams: Allowance::new(wiring.options.broken_datagrams),
            options: wiring.options,
            tally: Arc::clone(&wiring.addresses.tally),
            lines_of_log: Lines::default(),
            addresses: wiring.addresses,
            to_self,
            udp: sockets.udp,
            streams: sockets
                .streams
                .into_iter()
                .map(|(listen, listener)| (listen.transport, listener))
                .collect(),
            connections: Connections::default(),
            legs: HashMap::new(),
            pings: HashMap::new(),
            taps: Taps::default(),
            failed: Vec::new(),
            lines: JoinSet::new(),
        };
        (driver, events)
    }

    /// Runs until shut down, or until nobody holds a handle.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut events: mpsc::Receiver<Event>,
    ) {
        let mut readers = self.start_readers().await;
        let ended = loop {
            let deadline = self.endpoint.poll_timeout();
            tokio::select! {
                request = requests.recv() => {
                    if let ControlFlow::Break(ended) = self.take_requests(request, &mut requests) {
                        break ended;
                    }
                }
                Some(event) = events.recv() => self.take_events(event, &mut events),
                () = wait_until(self.clock, deadline) => self.endpoint.handle_timeout(self.clock.now()),
                Some(_) = self.lines.join_next() => {}
            }
            self.perform();
        };
        self.perform();
        readers.abort_all();
        drop(events);
        self.flush().await;
        if let Some(ended) = ended {
            // Whoever asked may have stopped waiting.
            let _ = ended.send(());
        }
    }

    async fn start_readers(&mut self) -> JoinSet<()> {
        let mut readers = JoinSet::new();
        for (listen, socket) in &self.udp {
            // Until the runtime has seen the socket writable, a first datagram would be taken for one too many.
            if let Err(error) = socket.writable().await {
                tracing::warn!(%listen, %error, "the socket cannot be written");
            }
            if let Err(error) = stream::mark(&SockRef::from(&**socket), self.options.dscp) {
                tracing::warn!(%listen, %error, "packets are not marked");
            }
            let addresses = Arc::clone(&self.addresses);
            let limits = self.options.limits;
            readers.spawn(udp::read(
                *listen,
                Arc::clone(socket),
                addresses,
                limits,
                self.to_self.clone(),
            ));
        }
        for (transport, listener) in self.streams.drain(..) {
            let tally = Arc::clone(&self.tally);
            readers.spawn(stream::accept(
                transport,
                listener,
                tally,
                self.to_self.clone(),
            ));
        }
        readers
    }

    /// Lets every connection write what it holds, for a moment.
    async fn flush(self) {
        let Self {
            connections,
            mut lines,
            ..
        } = self;
        drop(connections);
        let all = async { while lines.join_next().await.is_some() {} };
        if timeout(FLUSH, all).await.is_err() {
            tracing::debug!("connections closed with messages unwritten");
        }
    }

    fn take_requests(
        &mut self,
        first: Option<Request>,
        inbox: &mut mpsc::Receiver<Request>,
    ) -> ControlFlow<Option<oneshot::Sender<()>>> {
        let Some(first) = first else {
            return ControlFlow::Break(None);
        };
        let now = self.clock.now();
        self.request(now, first)?;
        for _ in 1..BATCH {
            let Ok(request) = inbox.try_recv() else { break };
            self.request(now, request)?;
        }
        ControlFlow::Continue(())
    }

    fn request(&mut self, now: Now, request: Request) -> ControlFlow<Option<oneshot::Sender<()>>> {
        match request {
            Request::Place(place, events) => {
                self.legs.insert(place.leg, events);
                self.endpoint.handle_input(now, Input::Place(place));
            }
            Request::Restore(restore, events) => {
                self.legs.insert(restore.leg, events);
                self.endpoint.handle_input(now, Input::Restore(restore));
            }
            Request::Checkpoint(leg, reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(self.endpoint.checkpoint(leg));
            }
            Request::Command(leg, command) => self
                .endpoint
                .handle_input(now, Input::Command { leg, command }),
            Request::Ping(ping, reply) => {
                self.pings.insert(ping.id, reply);
                self.endpoint.handle_input(now, Input::Ping(ping));
            }
            Request::Reconfigure(config) => {
                self.endpoint.handle_input(now, Input::Reconfigure(config))
            }
            Request::Drain(on) => self.endpoint.handle_input(now, Input::Drain(on)),
            Request::Census(reply) => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send((self.endpoint.census(), self.endpoint.counters()));
            }
            Request::Tap(tap) => self.taps.add(tap),
            Request::Tls(tls) => self.options.tls = Some(tls),
            Request::Shutdown(ended) => return ControlFlow::Break(Some(ended)),
        }
        ControlFlow::Continue(())
    }

    fn take_events(&mut self, first: Event, inbox: &mut mpsc::Receiver<Event>) {
        let now = self.clock.now();
        self.event(now, first);
        for _ in 1..BATCH {
            let Ok(event) = inbox.try_recv() else { break };
            self.event(now, event);
        }
    }

    fn event(&mut self, now: Now, event: Event) {
        match event {
            Event::Arrived(batch) => {
                for arrival in batch {
                    self.arrived(now, arrival);
                }
            }
            Event::Accepted {
                transport,
                stream,
                remote,
            } => self.accepted(now, transport, stream, remote),
            Event::Proven { id, certificate } => self.proven(id, certificate),
            Event::Unshaken { flow, error } => self.unshaken(now, flow, &error),
            Event::Opened { peer, result } => self.opened(now, &peer, result),
            Event::Broken { flow, error } => self.broken(now, flow, error),
            Event::Slow(flow) => self.slow(now, flow),
            Event::Idle(id) => self.idle(now, id),
            Event::Closed(id) => self.close(now, id),
        }
    }

    fn arrived(&mut self, now: Now, arrival: Arrival) {
        let Arrival {
            flow,
            bytes,
            message,
        } = arrival;
        tracing::trace!(%flow, length = bytes.len(), "received");
        self.taps.copy(now, flow, Direction::In, &bytes);
        match &message {
            Ok(message) => {
                if let Some(id) = flow.connection {
                    self.heard(id, flow, message);
                }
            }
            // Broken datagrams may come from a forged source, whom our answers would hit.
            Err(_) if flow.transport == Transport::Udp => {
                if !self.broken_datagrams.take(now, flow.remote.ip()) {
                    return self.tally.count(Count::Broken);
                }
            }
            Err(_) => {}
        }
        self.endpoint
            .handle_input(now, Input::Received { flow, message });
        // What it leads to is done before the next is heard: a CANCEL close behind its INVITE
        // finds a call.
        self.perform();
    }

    /// Drains the endpoint; a failure to send is an input, so it drains again.
    pub(crate) fn perform(&mut self) {
        let now = self.clock.now();
        loop {
            while let Some(output) = self.endpoint.poll_output() {
                self.output(now, output);
            }
            if self.failed.is_empty() {
                return;
            }
            for (flow, payload) in std::mem::take(&mut self.failed) {
                self.endpoint
                    .handle_input(now, Input::SendFailed { flow, payload });
            }
        }
    }

    fn output(&mut self, now: Now, output: Output) {
        match output {
            Output::Transmit { flow, payload } => self.transmit(now, flow, payload),
            Output::Invited(invitation) => self.invited(now, invitation),
            Output::Leg { leg, event } => self.leg_event(now, leg, event),
            Output::Pinged { ping, status } => {
                if let Some(reply) = self.pings.remove(&ping) {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(status);
                }
            }
            Output::Close(id) => self.close(now, id),
        }
    }

    fn invited(&mut self, now: Now, invitation: Box<Invitation>) {
        match (self.gate)(now, &invitation) {
            Ok(events) => {
                self.legs.insert(invitation.leg, events);
                self.endpoint.handle_input(now, Input::Admit(invitation));
            }
            Err(refusal) => self.endpoint.handle_input(
                now,
                Input::Refuse {
                    invitation,
                    refusal,
                },
            ),
        }
    }

    /// Hands an event to the leg's owner; without one that takes it the leg is hung up. That it has
    /// ended an owner is told in any case, once it takes events again.
    fn leg_event(&mut self, now: Now, leg: LegId, event: LegEvent) {
        let over = matches!(event, LegEvent::Ended { .. });
        let owner = if over {
            self.legs.remove(&leg)
        } else {
            self.legs.get(&leg).cloned()
        };
        let Some(owner) = owner else { return };
        match owner.try_send((leg, event)) {
            Ok(()) => {}
            Err(TrySendError::Full(last)) if over => {
                self.lines.spawn(async move {
                    // An owner that is gone has nothing left to end.
                    let _ = owner.send(last).await;
                });
            }
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) if over => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                tracing::warn!(
                    leg = leg.0,
                    "the owner of a leg does not take its events, the leg is hung up"
                );
                let command = Command::HangUp {
                    headers: Vec::new(),
                };
                self.endpoint
                    .handle_input(now, Input::Command { leg, command });
            }
        }
    }
}

async fn wait_until(clock: Clock, deadline: Option<Now>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(clock.instant(deadline).into()).await,
        None => std::future::pending().await,
    }
}
