//! Streams: accepting and opening them, with or without TLS.

use crate::connections::Peer;
use crate::driver::Event;
use crate::options::TransportOptions;
use crate::tally::{Count, Tally};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use sip_core::Transport;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

/// Pause after the system refused to accept, for want of file handles for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the system waits for a silent peer's acknowledgement before it takes it for dead: a non-INVITE
/// transaction's time (RFC 3261 §17.1.2.2, timer F).
const UNACKNOWLEDGED: Duration = Duration::from_secs(32);
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// A byte stream to a peer.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
    /// The peer has yet to shake hands.
    Accepted(TcpStream, Arc<ServerConfig>),
}

impl Stream {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) | Self::Accepted(stream, _) => stream,
            Self::Secure(stream) => stream.get_ref().0,
        }
    }

    /// Sets what every stream has: nothing is coalesced, dead peers are noticed, packets are marked.
    pub(crate) fn prepare(&self, dscp: u8) {
        let socket = SockRef::from(self.socket());
        let keepalive = TcpKeepalive::new()
            .with_time(PROBE_AFTER)
            .with_interval(PROBE_EVERY);
        let set = socket
            .set_tcp_nodelay(true)
            .and_then(|()| socket.set_tcp_keepalive(&keepalive))
            .and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED)))
            .and_then(|()| mark(&socket, dscp));
        if let Err(error) = set {
            tracing::debug!(%error, "a connection's options cannot be set");
        }
    }
}

/// Marks what a socket sends (RFC 2474 §3): the upper six bits of IPv4's TOS and IPv6's traffic class.
pub(crate) fn mark(socket: &SockRef<'_>, dscp: u8) -> io::Result<()> {
    if dscp == 0 {
        return Ok(());
    }
    let value = u32::from(dscp) << 2;
    if socket.local_addr()?.is_ipv6() {
        socket.set_tclass_v6(value)
    } else {
        socket.set_tos_v4(value)
    }
}

/// The certificate that the peer has shown, which the handshake has judged.
pub(crate) fn certificate(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    let (_, connection) = stream.get_ref();
    let shown = connection.peer_certificates()?.first()?;
    Some(shown.clone().into_owned())
}

/// Accepts until the driver is gone.
pub(crate) async fn accept(
    transport: Transport,
    listener: TcpListener,
    tally: Arc<Tally>,
    driver: mpsc::Sender<Event>,
) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                failing = false;
                let accepted = Event::Accepted {
                    transport,
                    stream,
                    remote,
                };
                if driver.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tally.count(Count::Accept);
                if !failing {
                    tracing::warn!(%error, "connections cannot be accepted");
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Opens a connection and tells the driver how that went.
pub(crate) async fn open(peer: Peer, options: TransportOptions, driver: mpsc::Sender<Event>) {
    let result = connect(&peer, &options).await;
    // A driver that is gone needs no connection.
    let _ = driver.send(Event::Opened { peer, result }).await;
}

async fn connect(peer: &Peer, options: &TransportOptions) -> io::Result<Stream> {
    let stream = within(
        options.connect_timeout,
        TcpStream::connect(canonical(peer.remote)),
    )
    .await?;
    let Some(name) = &peer.name else {
        return Ok(Stream::Plain(stream));
    };
    let Some(tls) = &options.tls else {
        return Err(io::Error::other("TLS is not set up"));
    };
    let connector = TlsConnector::from(Arc::clone(&tls.client));
    let stream = within(
        options.handshake_timeout,
        connector.connect(name.clone(), stream),
    )
    .await?;
    Ok(Stream::Secure(Box::new(stream.into())))
}

async fn within<T>(patience: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(patience, what)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// An IPv4 address in IPv6 clothes is called as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn code_point_stands_in_the_tos_of_ipv4_and_the_traffic_class_of_ipv6() {
        let v4 = UdpSocket::bind("127.0.0.1:0").unwrap();
        let v6 = UdpSocket::bind("[::1]:0").unwrap();
        for dscp in [0, 24] {
            mark(&SockRef::from(&v4), dscp).unwrap();
            mark(&SockRef::from(&v6), dscp).unwrap();
            let value = u32::from(dscp) << 2;
            assert_eq!(SockRef::from(&v4).tos_v4().unwrap(), value);
            assert_eq!(SockRef::from(&v6).tclass_v6().unwrap(), value);
        }
    }

    #[tokio::test]
    async fn stream_is_marked_and_watched() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = listener.local_addr().unwrap();
        let stream = Stream::Plain(TcpStream::connect(remote).await.unwrap());
        stream.prepare(24);
        let socket = SockRef::from(stream.socket());
        assert_eq!(socket.tos_v4().unwrap(), 24 << 2);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
