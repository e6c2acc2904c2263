//! A phone: SIP sockets, an endpoint and media of its own, from which calls are placed and on which they are taken.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use media_bridge::{MediaAddress, MediaConfig, MediaPlane};
use sip_core::{
    Endpoint, EndpointConfig, Invitation, LegEvent, LegId, Response, Transport, TrunkRule,
};
use sip_transport::{Gate, LegEvents, Listen, Packet, SipHandle, Sockets, Tls, TransportOptions};
use timebase::Clock;
use tokio::sync::{Mutex, mpsc, watch};

use super::line::Line;
use super::order::{Order, Script};
use super::report::{CallEvent, Report};

/// Calls that may wait to be taken.
const ARRIVALS: usize = 8;
/// Events of one leg that may wait.
const LEG_EVENTS: usize = 64;

/// Where news of calls go; what does not fit is dropped.
pub type CallEvents = mpsc::Sender<CallEvent>;

/// What a phone is made of.
#[derive(Clone, Debug)]
pub struct PhoneOptions {
    /// Its part, in news of its calls.
    pub name: &'static str,
    /// Its address.
    pub address: IpAddr,
    /// Its SIP port, for UDP and TCP; 0 takes a free one.
    pub port: u16,
    /// Its media ports.
    pub media_ports: RangeInclusive<u16>,
    /// Whether calls can be taken on it; refused with 480 else.
    pub takes_calls: bool,
    /// The certificates that calls over TLS are placed with; none can be placed without them.
    pub tls: Option<Arc<Tls>>,
    /// Its clock.
    pub clock: Clock,
}

/// A call that waits to be taken.
pub(super) struct Arrival {
    pub(super) invitation: Invitation,
    pub(super) events: mpsc::Receiver<(LegId, LegEvent)>,
}

/// A phone; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Phone {
    pub(super) name: &'static str,
    pub(super) sip: SipHandle,
    pub(super) media: Arc<MediaPlane>,
    pub(super) clock: Clock,
    arrivals: Arc<Mutex<mpsc::Receiver<Arrival>>>,
    stop: Arc<watch::Sender<bool>>,
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival")
            .field("leg", &self.invitation.leg)
            .finish_non_exhaustive()
    }
}

impl Phone {
    /// Binds the sockets and starts.
    ///
    /// # Errors
    /// When the address or the media cannot be had.
    pub async fn start(options: PhoneOptions) -> io::Result<Self> {
        let sockets = bind(options.address, options.port).await?;
        let media = MediaPlane::start(
            MediaConfig {
                addresses: vec![MediaAddress {
                    listen: options.address,
                    advertise: None,
                }],
                ports: options.media_ports,
                dscp: 0,
                shards: 1,
            },
            options.clock,
        )?;
        let (arrived, arrivals) = mpsc::channel(ARRIVALS);
        let endpoint = Endpoint::new(endpoint_config(), rand::random());
        let gate = gate(options.takes_calls, arrived);
        let transport = TransportOptions {
            tls: options.tls,
            ..TransportOptions::default()
        };
        let sip = sockets.run(endpoint, options.clock, gate, transport);
        Ok(Self {
            name: options.name,
            sip,
            media: Arc::new(media),
            clock: options.clock,
            arrivals: Arc::new(Mutex::new(arrivals)),
            stop: Arc::new(watch::channel(false).0),
        })
    }

    /// The address that it is reached at.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.sip
            .listeners()
            .first()
            .map(|listener| listener.address)
    }

    /// A copy of every SIP message from now on.
    ///
    /// # Errors
    /// When the phone has ended.
    pub async fn tap(&self) -> io::Result<mpsc::Receiver<Packet>> {
        const CAPACITY: usize = 4096;
        self.sip.tap(CAPACITY).await.map_err(io::Error::other)
    }

    /// Places a call and stays with it, and with the call that a REFER in it leads to, to the end.
    ///
    /// Boxed since the call that a REFER leads to is placed in the same way.
    pub fn call(
        &self,
        order: Order,
        events: CallEvents,
    ) -> Pin<Box<dyn Future<Output = Report> + Send>> {
        let phone = self.clone();
        Box::pin(async move {
            match Line::place(phone, order, events).await {
                Ok(line) => line.run().await,
                Err(problem) => Report::failed(problem),
            }
        })
    }

    /// Takes the next call that comes, answers it and stays with it to the end; `None` when the phone stops before.
    pub async fn take(&self, script: Script, events: CallEvents) -> Option<Report> {
        let mut stopped = self.stopped();
        let mut arrivals = self.arrivals.lock().await;
        let arrival = tokio::select! {
            arrival = arrivals.recv() => arrival?,
            _ = stopped.wait_for(|stop| *stop) => return None,
        };
        drop(arrivals);
        Some(match Line::take(self.clone(), arrival, script, events) {
            Ok(line) => line.run().await,
            Err(problem) => Report::failed(problem),
        })
    }

    /// Hangs up every call, and takes no further one.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Closes the sockets; calls should be over.
    pub async fn shutdown(&self) {
        self.stop();
        self.sip.shutdown().await;
    }

    pub(super) fn leg_channel() -> (LegEvents, mpsc::Receiver<(LegId, LegEvent)>) {
        mpsc::channel(LEG_EVENTS)
    }
}

/// UDP and TCP on one port.
async fn bind(address: IpAddr, port: u16) -> io::Result<Sockets> {
    const ATTEMPTS: usize = 20;
    let listen = |transport, port| Listen {
        transport,
        address: SocketAddr::new(address, port),
    };
    if port != 0 {
        return Sockets::bind(&[listen(Transport::Udp, port), listen(Transport::Tcp, port)]).await;
    }
    let mut refusal = None;
    for _ in 0..ATTEMPTS {
        // A port that is free for UDP may be taken for TCP: then another one.
        let free = std::net::UdpSocket::bind((address, 0))?
            .local_addr()?
            .port();
        match Sockets::bind(&[listen(Transport::Udp, free), listen(Transport::Tcp, free)]).await {
            Ok(sockets) => return Ok(sockets),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or_else(|| io::Error::other("no free port")))
}

fn endpoint_config() -> EndpointConfig {
    let everywhere = [
        IpNet::from(Ipv4Net::default()),
        IpNet::from(Ipv6Net::default()),
    ];
    EndpointConfig {
        trunks: vec![TrunkRule {
            name: "anybody".to_owned(),
            allow: everywhere.to_vec(),
            require_all: false,
            digest: None,
            outbound_auth: None,
            header_optional: false,
            reliable_where_supported: false,
        }],
        user_agent: concat!("handback-call/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..EndpointConfig::default()
    }
}

fn gate(takes_calls: bool, arrived: mpsc::Sender<Arrival>) -> Gate {
    Box::new(move |_now, invitation| {
        if !takes_calls {
            return Err(Response::new(480));
        }
        let (sender, events) = Phone::leg_channel();
        let arrival = Arrival {
            invitation: invitation.clone(),
            events,
        };
        arrived.try_send(arrival).map_err(|_| Response::new(486))?;
        Ok(sender)
    })
}
