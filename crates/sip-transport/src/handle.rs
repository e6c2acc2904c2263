//! The handle through which everybody else talks to the driver.

use crate::addresses::Addresses;
use crate::dns::Reach;
use crate::listen::Listen;
use crate::tally::TransportFigures;
use crate::tap::Packet;
use crate::tls::Tls;
use bytes::Bytes;
use sip_core::{
    Census, Command, Counters, DialogCheckpoint, EndpointConfig, Flow, Invitation, LegEvent, LegId,
    Ping, PingId, Place, Response, Restore, ServerName, Transport,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use timebase::Now;
use tokio::sync::{mpsc, oneshot};

/// Where the events of a leg go. An owner that does not keep up, or is gone, loses the leg: it is hung up.
pub type LegEvents = mpsc::Sender<(LegId, LegEvent)>;

/// Admission: asked inside the driver for every screened INVITE, so it must answer at once. The sender it returns
/// receives the leg's events; a refusal is answered without state (RFC 3261 §8.2.7).
pub type Gate = Box<dyn FnMut(Now, &Invitation) -> Result<LegEvents, Response> + Send>;

/// Why the driver did not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The driver has ended.
    #[error("the SIP driver has ended")]
    Closed,
    /// Too many commands wait for the driver.
    #[error("too many commands wait for the SIP driver")]
    Overloaded,
}

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Request {
    Place(Box<Place>, LegEvents),
    Restore(Box<Restore>, LegEvents),
    Checkpoint(LegId, oneshot::Sender<Option<DialogCheckpoint>>),
    Command(LegId, Command),
    Ping(Ping, oneshot::Sender<u16>),
    Reconfigure(Box<EndpointConfig>),
    Drain(bool),
    Census(oneshot::Sender<(Census, Counters)>),
    Tap(mpsc::Sender<Packet>),
    Tls(Arc<Tls>),
    Shutdown(oneshot::Sender<()>),
}

/// A handle to the running endpoint; when the last one is dropped, the driver ends.
#[derive(Clone, Debug)]
pub struct SipHandle {
    requests: mpsc::Sender<Request>,
    addresses: Arc<Addresses>,
    legs: Arc<AtomicU64>,
}

impl SipHandle {
    pub(crate) fn new(requests: mpsc::Sender<Request>, addresses: Arc<Addresses>) -> Self {
        Self {
            requests,
            addresses,
            legs: Arc::new(AtomicU64::new(1)),
        }
    }

    /// A fresh id for a leg that we place; arriving legs have even ones.
    #[must_use]
    pub fn new_leg(&self) -> LegId {
        LegId(self.legs.fetch_add(2, Ordering::Relaxed))
    }

    /// Places an outgoing INVITE; everything that happens to the leg goes to `events`. Waits while the driver is behind.
    ///
    /// # Errors
    /// When the driver has ended; nothing is sent then.
    pub async fn place(&self, place: Place, events: LegEvents) -> Result<(), SendError> {
        self.requests
            .send(Request::Place(Box::new(place), events))
            .await
            .map_err(|_| SendError::Closed)
    }

    /// Goes on in the dialog of a process that is gone; everything that happens to the leg goes to `events`.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn restore(&self, restore: Restore, events: LegEvents) -> Result<(), SendError> {
        self.requests
            .send(Request::Restore(Box::new(restore), events))
            .await
            .map_err(|_| SendError::Closed)
    }

    /// The dialog of a leg as plain data; none before an INVITE of ours is answered and once it ends.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn checkpoint(&self, leg: LegId) -> Result<Option<DialogCheckpoint>, SendError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Request::Checkpoint(leg, reply))
            .await
            .map_err(|_| SendError::Closed)?;
        answer.await.map_err(|_| SendError::Closed)
    }

    /// Gives a command to a leg.
    ///
    /// # Errors
    /// When the driver has ended or has too much to do.
    pub fn command(&self, leg: LegId, command: Command) -> Result<(), SendError> {
        self.request(Request::Command(leg, command))
    }

    /// Asks by OPTIONS (RFC 3261 §11) whether a peer is there, and waits for its answer, at most 64·T1.
    /// The status; 408 when none came, 503 when it could not be sent.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn ping(&self, flow: Flow, uri: Bytes, patience: Duration) -> Result<u16, SendError> {
        let id = PingId(self.legs.fetch_add(2, Ordering::Relaxed));
        let patience = Some(patience);
        let ping = Ping {
            id,
            flow,
            uri,
            patience,
        };
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Request::Ping(ping, reply))
            .await
            .map_err(|_| SendError::Closed)?;
        answer.await.map_err(|_| SendError::Closed)
    }

    /// Replaces the endpoint's configuration; standing calls keep what they have.
    ///
    /// # Errors
    /// When the driver has ended or has too much to do.
    pub fn reconfigure(&self, config: EndpointConfig) -> Result<(), SendError> {
        self.request(Request::Reconfigure(Box::new(config)))
    }

    /// Starts or stops refusing new calls.
    ///
    /// # Errors
    /// When the driver has ended or has too much to do.
    pub fn drain(&self, on: bool) -> Result<(), SendError> {
        self.request(Request::Drain(on))
    }

    /// Puts other certificates, keys and authorities in force for connections from now on; those that
    /// are open stay as they are.
    ///
    /// # Errors
    /// When the driver has ended or has too much to do.
    pub fn set_tls(&self, tls: Arc<Tls>) -> Result<(), SendError> {
        self.request(Request::Tls(tls))
    }

    /// What the sockets hold and have counted.
    #[must_use]
    pub fn figures(&self) -> TransportFigures {
        self.addresses.tally.figures()
    }

    /// The flow on which a new request to `remote` leaves: the fitting listener, named as the peer can reach it.
    #[must_use]
    pub fn flow_to(&self, transport: Transport, remote: SocketAddr) -> Flow {
        self.addresses.flow_to(transport, remote)
    }

    /// The same flow to a server that was found by this name, which a TLS certificate must then carry
    /// (RFC 5922 §7.1). `None` when more names are in use than are kept.
    #[must_use]
    pub fn flow_to_server(
        &self,
        transport: Transport,
        remote: SocketAddr,
        name: &str,
    ) -> Option<Flow> {
        let server_name = Some(self.addresses.server_names.number(name)?);
        let flow = self.addresses.flow_to(transport, remote);
        Some(Flow {
            server_name,
            ..flow
        })
    }

    /// The name behind a flow's [`ServerName`].
    #[must_use]
    pub fn server_name(&self, number: ServerName) -> Option<Arc<str>> {
        self.addresses.server_names.name(number)
    }

    /// What new requests can leave by: UDP where something listens for the answers, TCP always, TLS where
    /// there is what it needs.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.addresses.reach()
    }

    /// Every address and port that leads to us, wildcard listeners spelt out.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.addresses.all()
    }

    /// The bound listeners.
    #[must_use]
    pub fn listeners(&self) -> &[Listen] {
        self.addresses.listeners()
    }

    /// What the endpoint holds now and has counted since its start.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn census(&self) -> Result<(Census, Counters), SendError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Request::Census(reply))
            .await
            .map_err(|_| SendError::Closed)?;
        answer.await.map_err(|_| SendError::Closed)
    }

    /// A copy of every packet from now on; up to `capacity` wait, further ones are missed.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn tap(&self, capacity: usize) -> Result<mpsc::Receiver<Packet>, SendError> {
        let (tap, packets) = mpsc::channel(capacity.max(1));
        self.requests
            .send(Request::Tap(tap))
            .await
            .map_err(|_| SendError::Closed)?;
        Ok(packets)
    }

    /// Ends the driver after what it has to send is written, and closes all sockets. Legs are not hung up here.
    pub async fn shutdown(&self) {
        let (reply, ended) = oneshot::channel();
        if self.requests.send(Request::Shutdown(reply)).await.is_ok() {
            // An error means that the driver ended in another way: ended it has.
            let _ = ended.await;
        }
    }

    fn request(&self, request: Request) -> Result<(), SendError> {
        self.requests
            .try_send(request)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Closed(_) => SendError::Closed,
                mpsc::error::TrySendError::Full(_) => SendError::Overloaded,
            })
    }
}
