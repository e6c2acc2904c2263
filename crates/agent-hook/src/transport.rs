//! URLs of agents and the connections to them, in the clear or by TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::http::Uri;

/// The socket's own send buffer: small, so that an agent that reads nothing is noticed.
const SEND_BUFFER: u32 = 64 * 1024;

/// A connection to an agent.
pub(crate) type Stream = MaybeTlsStream<TcpStream>;

/// A `ws:`, `wss:`, `http:` or `https:` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    text: String,
    secure: bool,
    /// HTTP: the URL of a webhook.
    webhook: bool,
    host: String,
    port: u16,
    authority: String,
    target: String,
}

impl Url {
    /// Takes a URL apart.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text
            .parse()
            .map_err(|error| format!("not a URL: {error}"))?;
        let (secure, webhook) = match uri.scheme_str() {
            Some("ws") => (false, false),
            Some("wss") => (true, false),
            Some("http") => (false, true),
            Some("https") => (true, true),
            Some(_) | None => {
                let schemes = "the scheme is none of builtin:, ws://, wss://, http://, https://";
                return Err(schemes.to_owned());
            }
        };
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("there is no host".to_owned());
        }
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err("a user name and password belong in keys of their own".to_owned());
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            text: text.to_owned(),
            secure,
            webhook,
            host: host.to_owned(),
            port,
            authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
            target: target.to_owned(),
        })
    }

    /// The URL as it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether TLS is needed.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is asked over HTTP where the agent is.
    pub(crate) fn is_webhook(&self) -> bool {
        self.webhook
    }

    /// Host, and port where one is given.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFailure {
    #[error("{0} has no address: {1}")]
    Resolve(String, io::Error),
    #[error("no TLS, and {0} is neither loopback nor private: needs allow_plaintext")]
    Plaintext(IpAddr),
    #[error("{0}: {1}")]
    Connect(SocketAddr, io::Error),
    #[error("TLS with {0}: {1}")]
    Tls(String, io::Error),
}

/// A certificate of ours with its key, for servers that want one.
#[derive(Debug)]
pub(crate) struct ClientIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Transport {
    tls: Option<TlsConnector>,
    allow_plaintext: bool,
}

impl Transport {
    /// Prepares TLS, with the system's authorities and those given.
    pub(crate) fn new(
        tls: bool,
        authorities: Vec<CertificateDer<'static>>,
        identity: Option<ClientIdentity>,
        allow_plaintext: bool,
    ) -> Result<Self, String> {
        let tls = if tls {
            let config = client_config(authorities, identity)?;
            Some(TlsConnector::from(Arc::new(config)))
        } else {
            None
        };
        Ok(Self {
            tls,
            allow_plaintext,
        })
    }

    /// Connects to the first address of the host that takes the connection.
    pub(crate) async fn connect(&self, url: &Url) -> Result<Stream, ConnectFailure> {
        let stream = self.connect_tcp(url).await?;
        if !url.secure {
            return Ok(MaybeTlsStream::Plain(stream));
        }
        let failed = |error| ConnectFailure::Tls(url.host.clone(), error);
        let name = ServerName::try_from(url.host.clone());
        let name = name.map_err(|error| failed(io::Error::other(error)))?;
        let Some(connector) = &self.tls else {
            return Err(failed(io::Error::other("TLS was not prepared")));
        };
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        Ok(MaybeTlsStream::Rustls(stream))
    }

    async fn connect_tcp(&self, url: &Url) -> Result<TcpStream, ConnectFailure> {
        let unresolved = |error| ConnectFailure::Resolve(url.host.clone(), error);
        let addresses = lookup_host((url.host.as_str(), url.port))
            .await
            .map_err(unresolved)?;
        let mut failure = unresolved(io::ErrorKind::NotFound.into());
        for address in addresses {
            if !url.secure && !self.allow_plaintext && !is_near(address.ip()) {
                failure = ConnectFailure::Plaintext(address.ip());
                continue;
            }
            match connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = ConnectFailure::Connect(address, error),
            }
        }
        Err(failure)
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

fn client_config(
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<ClientIdentity>,
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
        return Err("TLS needs authorities, and the system has none".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match identity {
        None => Ok(config.with_no_client_auth()),
        Some(ClientIdentity { chain, key }) => config
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("the client certificate is not usable: {error}")),
    }
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
        let parsed = |text| Url::parse(text).map(|url| (url.secure, url.host, url.port));
        assert_eq!(
            parsed("ws://127.0.0.1:9/a?b"),
            Ok((false, "127.0.0.1".to_owned(), 9))
        );
        assert_eq!(
            parsed("wss://agent.example/x"),
            Ok((true, "agent.example".to_owned(), 443))
        );
        assert_eq!(parsed("ws://[::1]/"), Ok((false, "::1".to_owned(), 80)));
        for bad in [
            "ftp://a/",
            "agent.example",
            "ws://",
            "",
            "ws:///x",
            "ws://u:p@a/",
        ] {
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
