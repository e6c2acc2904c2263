//! From a SIP URI to the address to call.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use sip_core::Transport;
use sip_message::Uri;

/// Why a URI cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// It is not a SIP URI.
    #[error("{0:?} is not a sip: URI")]
    NotSip(String),
    /// Its transport is not spoken here.
    #[error("transport {0:?} is not in this version")]
    Transport(String),
    /// Its host has no address.
    #[error("{host} has no address: {problem}")]
    Host {
        /// The host.
        host: String,
        /// Why.
        problem: String,
    },
}

/// The transport and address that a URI leads to. Host names are looked up as addresses; the port is 5060 unless given, that of TLS 5061.
///
/// # Errors
/// When the URI is not SIP's or leads nowhere.
pub async fn resolve(
    uri: &str,
    preferred: Transport,
) -> Result<(Transport, SocketAddr), ResolveError> {
    let parsed = Uri::parse(uri.as_bytes())
        .ok()
        .filter(Uri::is_sip)
        .ok_or_else(|| ResolveError::NotSip(uri.to_owned()))?;
    let transport = match parsed
        .param("transport")
        .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase())
    {
        None => preferred,
        Some(name) if name == "udp" => Transport::Udp,
        Some(name) if name == "tcp" => Transport::Tcp,
        Some(name) if name == "tls" => Transport::Tls,
        Some(name) => return Err(ResolveError::Transport(name)),
    };
    // A sips URI is for TLS on every hop, whatever its transport parameter says (RFC 5630 §3.1.3).
    let transport = if parsed.is_sips() {
        Transport::Tls
    } else {
        transport
    };
    let port = parsed.port().unwrap_or(match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
    });
    if let Some(address) = parsed.host_ip() {
        return Ok((transport, SocketAddr::new(address, port)));
    }
    let host = String::from_utf8_lossy(parsed.host()).into_owned();
    let found = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map(|mut addresses| addresses.next());
    match found {
        Ok(Some(address)) => Ok((transport, address)),
        Ok(None) => Err(ResolveError::Host {
            host,
            problem: "none found".to_owned(),
        }),
        Err(error) => Err(ResolveError::Host {
            host,
            problem: error.to_string(),
        }),
    }
}

/// The address of this machine that the peer can reach.
///
/// # Errors
/// When no route leads to the peer.
pub fn local_address(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    // Sends nothing: the kernel only chooses the route.
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literal_addresses_need_no_lookup() {
        let (transport, address) = resolve("sip:a@127.0.0.1", Transport::Udp).await.unwrap();
        assert_eq!(
            (transport, address.to_string().as_str()),
            (Transport::Udp, "127.0.0.1:5060")
        );
        let (transport, address) = resolve("sip:a@[::1]:5070;transport=TCP", Transport::Udp)
            .await
            .unwrap();
        assert_eq!(
            (transport, address.to_string().as_str()),
            (Transport::Tcp, "[::1]:5070")
        );
    }

    #[tokio::test]
    async fn what_is_not_sip_is_not_called() {
        assert!(matches!(
            resolve("tel:+1", Transport::Udp).await,
            Err(ResolveError::NotSip(_))
        ));
        let websocket = resolve("sip:a@127.0.0.1;transport=ws", Transport::Udp).await;
        assert!(matches!(websocket, Err(ResolveError::Transport(_))));
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        assert!(
            local_address("127.0.0.1:9".parse().unwrap())
                .unwrap()
                .is_loopback()
        );
    }
}
