//! Opening the socket to an agent, up to its `start` message.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::SinkExt as _;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::encode::{Encoder, StreamKind};
use super::link::Link;
use super::pump::Pump;
use super::{Identity, WireAgent};
use crate::facts::CallFacts;

/// The socket's own send buffer: small, so that an agent that reads nothing is noticed.
const SEND_BUFFER: u32 = 64 * 1024;

/// The largest message that is accepted.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Buffers of the WebSocket layer, for each connection.
const READ_BUFFER: usize = 8 * 1024;
const WRITE_BUFFER: usize = 16 * 1024;

/// A `ws://` or `wss://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireUrl {
    text: String,
    secure: bool,
    host: String,
    port: u16,
}

impl WireUrl {
    /// Takes a URL apart.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text
            .parse()
            .map_err(|error| format!("not a URL: {error}"))?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some(_) | None => {
                return Err("the scheme is none of builtin:, ws://, wss://".to_owned());
            }
        };
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err("there is no host".to_owned());
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self {
            text: text.to_owned(),
            secure,
            host,
            port,
        })
    }

    /// Whether TLS is needed.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }
}

/// Why a socket was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0} has no address: {1}")]
    Resolve(String, io::Error),
    #[error("ws:// to {0}, which is neither loopback nor private, needs allow_plaintext")]
    Plaintext(IpAddr),
    #[error("{0}: {1}")]
    Connect(SocketAddr, io::Error),
    #[error("{0}")]
    Handshake(#[from] Box<tungstenite::Error>),
}

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Dialer {
    connector: Connector,
    authorization: Option<HeaderValue>,
    allow_plaintext: bool,
}

impl Dialer {
    /// Prepares TLS with the system's authorities and those given, if it is going to be needed.
    pub(crate) fn new(
        tls: Option<Vec<CertificateDer<'static>>>,
        token: Option<&str>,
        allow_plaintext: bool,
    ) -> Result<Self, String> {
        let connector = match tls {
            Some(authorities) => Connector::Rustls(Arc::new(client_config(authorities)?)),
            None => Connector::Plain,
        };
        let authorization = token.map(bearer).transpose()?;
        Ok(Self {
            connector,
            authorization,
            allow_plaintext,
        })
    }

    /// Connects, says `connected` and `start`, and leaves the socket to a task.
    pub(crate) async fn open(
        &self,
        url: &WireUrl,
        facts: &CallFacts,
    ) -> Result<WireAgent, DialError> {
        let stream = self.connect(url).await?;
        let mut socket = self.shake_hands(url, stream).await.map_err(Box::new)?;
        let mut encoder = Encoder::new(Identity::new(facts));
        let opening = async {
            for message in [
                Encoder::connected(),
                encoder.start(facts, StreamKind::Conversation),
            ] {
                socket
                    .feed(Message::Text(Utf8Bytes::try_from(message)?))
                    .await?;
            }
            socket.flush().await
        };
        opening.await.map_err(Box::new)?;
        let (agent, ends) = WireAgent::new();
        tokio::spawn(Link::new(Pump::new(socket, encoder), ends).run());
        Ok(agent)
    }

    async fn connect(&self, url: &WireUrl) -> Result<TcpStream, DialError> {
        let unresolved = |error| DialError::Resolve(url.host.clone(), error);
        let addresses = lookup_host((url.host.as_str(), url.port))
            .await
            .map_err(unresolved)?;
        let mut failure = unresolved(io::ErrorKind::NotFound.into());
        for address in addresses {
            if !url.secure && !self.allow_plaintext && !is_near(address.ip()) {
                failure = DialError::Plaintext(address.ip());
                continue;
            }
            match connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = DialError::Connect(address, error),
            }
        }
        Err(failure)
    }

    async fn shake_hands(
        &self,
        url: &WireUrl,
        stream: TcpStream,
    ) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, tungstenite::Error> {
        let mut request = url.text.as_str().into_client_request()?;
        if let Some(authorization) = &self.authorization {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, authorization.clone());
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let connector = Some(self.connector.clone());
        let (socket, _response) =
            client_async_tls_with_config(request, stream, Some(config), connector).await?;
        Ok(socket)
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_send_buffer_size(SEND_BUFFER)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    let header = "Bearer ".to_owned() + token.trim();
    let mut value =
        HeaderValue::try_from(header).map_err(|_| "the token is not text".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn client_config(
    authorities: Vec<CertificateDer<'static>>,
) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    let (_, unusable) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if unusable > 0 {
        tracing::debug!(unusable, "certificates of the system passed over");
    }
    for authority in authorities {
        roots
            .add(authority)
            .map_err(|error| format!("an authority is not usable: {error}"))?;
    }
    if roots.is_empty() {
        return Err("wss:// needs authorities, and the system has none".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Loopback, private or link-local: where audio without TLS stays in the house.
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parsed = |text| WireUrl::parse(text).map(|url| (url.secure, url.host, url.port));
        assert_eq!(
            parsed("ws://127.0.0.1:9/a?b"),
            Ok((false, "127.0.0.1".to_owned(), 9))
        );
        assert_eq!(
            parsed("wss://agent.example/x"),
            Ok((true, "agent.example".to_owned(), 443))
        );
        assert_eq!(parsed("ws://[::1]/"), Ok((false, "::1".to_owned(), 80)));
        for bad in ["http://a/", "agent.example", "ws://", "", "ws:///x"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_addresses_in_the_house_are_near() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.0.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }
}
