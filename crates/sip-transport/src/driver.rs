//! The task that owns the endpoint.

use crate::addresses::Addresses;
use crate::connections::Connections;
use crate::handle::{Gate, LegEvents, Request};
use crate::listen::{Listen, Sockets};
use crate::options::TransportOptions;
use crate::oversize::Oversize;
use crate::tap::{Direction, Taps};
use crate::{tcp, udp};
use bytes::Bytes;
use sip_core::{
    Command, ConnectionId, Endpoint, Flow, Input, Invitation, LegEvent, LegId, Output, PingId,
};
use sip_message::{Message, ParseError};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use timebase::{Clock, Now};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
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
        stream: TcpStream,
        remote: SocketAddr,
    },
    Opened {
        remote: SocketAddr,
        result: io::Result<TcpStream>,
    },
    Broken {
        flow: Flow,
        error: ParseError,
    },
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
    endpoint: Endpoint,
    clock: Clock,
    gate: Gate,
    pub(crate) options: TransportOptions,
    addresses: Arc<Addresses>,
    pub(crate) to_self: mpsc::Sender<Event>,
    pub(crate) udp: Vec<(Listen, Arc<UdpSocket>)>,
    tcp: Vec<TcpListener>,
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
            options: wiring.options,
            addresses: wiring.addresses,
            to_self,
            udp: sockets.udp,
            tcp: sockets
                .tcp
                .into_iter()
                .map(|(_, listener)| listener)
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
        for listener in self.tcp.drain(..) {
            readers.spawn(tcp::accept(listener, self.to_self.clone()));
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
                for Arrival {
                    flow,
                    bytes,
                    message,
                } in batch
                {
                    tracing::trace!(%flow, length = bytes.len(), "received");
                    self.taps.copy(now, flow, Direction::In, &bytes);
                    self.endpoint
                        .handle_input(now, Input::Received { flow, message });
                    // What it leads to is done before the next is heard: a CANCEL close behind its
                    // INVITE finds a call.
                    self.perform();
                }
            }
            Event::Accepted { stream, remote } => self.accepted(stream, remote),
            Event::Opened { remote, result } => self.opened(now, remote, result),
            Event::Broken { flow, error } => self.broken(now, flow, error),
            Event::Closed(id) => self.close(now, id),
        }
    }

    fn accepted(&mut self, stream: TcpStream, remote: SocketAddr) {
        if self.connections.len() >= self.options.max_connections {
            tracing::warn!(%remote, "too many connections, one is closed");
            return;
        }
        self.adopt(stream, remote);
    }

    fn adopt(&mut self, stream: TcpStream, remote: SocketAddr) -> Option<ConnectionId> {
        let local = self
            .addresses
            .stream_local(remote, stream.local_addr().ok()?.ip());
        let id = self.connections.next_id();
        let (connection, task) = tcp::adopt(
            id,
            (stream, remote, local),
            &self.options,
            self.to_self.clone(),
        );
        self.connections.insert(connection);
        self.lines.spawn(task);
        Some(id)
    }

    fn opened(&mut self, now: Now, remote: SocketAddr, result: io::Result<TcpStream>) {
        let waiting = self.connections.opened(remote);
        let adopted = match result {
            Ok(stream) => self.adopt(stream, remote),
            Err(error) => {
                tracing::debug!(%remote, %error, "cannot connect");
                None
            }
        };
        for message in waiting {
            match adopted {
                Some(_) => self.write(now, message),
                None => self.give_up(now, message),
            }
        }
    }

    /// A peer that broke the framing gets its answer, where one can be built, and loses the connection.
    fn broken(&mut self, now: Now, flow: Flow, error: ParseError) {
        tracing::debug!(%flow, %error, "framing broken");
        self.endpoint.handle_input(
            now,
            Input::Received {
                flow,
                message: Err(error),
            },
        );
        self.perform();
        if let Some(id) = flow.connection {
            self.close(now, id);
        }
    }

    pub(crate) fn close(&mut self, now: Now, id: ConnectionId) {
        if let Some(gone) = self.connections.remove(id) {
            let (connection, remote) = (id, gone.remote);
            self.endpoint
                .handle_input(now, Input::ConnectionClosed { connection, remote });
        }
    }

    /// Drains the endpoint; a failure to send is an input, so it drains again.
    fn perform(&mut self) {
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

    /// Hands an event to the leg's owner; without one that takes it the leg is hung up.
    fn leg_event(&mut self, now: Now, leg: LegId, event: LegEvent) {
        let over = matches!(event, LegEvent::Ended { .. });
        let taken = self
            .legs
            .get(&leg)
            .map(|owner| owner.try_send((leg, event)).is_ok());
        if over || taken == Some(false) {
            self.legs.remove(&leg);
        }
        if taken == Some(false) && !over {
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

async fn wait_until(clock: Clock, deadline: Option<Now>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(clock.instant(deadline).into()).await,
        None => std::future::pending().await,
    }
}
