//! From a SIP URI to the address to call.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use sip_core::Transport;
use sip_message::Uri;
use sip_transport::dns::{Locator, NotLocated, Reach, Target};

/// Why a URI cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// It is no URI.
    #[error("{0:?} is not a sip: URI")]
    NotSip(String),
    /// It leads nowhere.
    #[error("{uri} {why}")]
    NotLocated {
        /// The URI.
        uri: String,
        /// Why.
        why: NotLocated,
    },
    /// Names cannot be looked up here.
    #[error("names cannot be looked up: {0}")]
    Resolver(String),
}

/// The transport and address of the first server that a URI leads to (RFC 3263); `preferred` is the transport where the
/// URI names none.
///
/// # Errors
/// When the URI is not SIP's or leads nowhere.
pub async fn resolve(
    uri: &str,
    preferred: Transport,
) -> Result<(Transport, SocketAddr), ResolveError> {
    let parsed = Uri::parse(uri.as_bytes()).map_err(|_| ResolveError::NotSip(uri.to_owned()))?;
    let locator = Locator::new(&[]).map_err(ResolveError::Resolver)?;
    let reach = Reach {
        transports: vec![Transport::Udp, Transport::Tcp, Transport::Tls],
        ipv4: true,
        ipv6: true,
    };
    let located = match Target::of(&parsed) {
        Ok(mut target) => {
            let usual = if target.secure {
                Transport::Tls
            } else {
                preferred
            };
            target.transport.get_or_insert(usual);
            locator.locate_target(target, &reach).await
        }
        Err(why) => Err(why),
    };
    let not_located = |why| ResolveError::NotLocated {
        uri: uri.to_owned(),
        why,
    };
    let located = located.map_err(not_located)?;
    let first = located.servers.first();
    first
        .map(|server| (server.transport, server.address))
        .ok_or_else(|| not_located(NotLocated::NoAddress(located.host.clone())))
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
        for (uri, why) in [
            ("tel:+1", NotLocated::NotSip),
            (
                "sip:a@127.0.0.1;transport=ws",
                NotLocated::Transport("ws".to_owned()),
            ),
        ] {
            let refused = resolve(uri, Transport::Udp).await;
            assert!(
                matches!(&refused, Err(ResolveError::NotLocated { why: said, .. }) if *said == why),
                "{refused:?}"
            );
        }
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
