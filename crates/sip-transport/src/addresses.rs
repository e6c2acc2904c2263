//! Our own addresses: which one a given peer can reach, and all of them.

use crate::dns::Reach;
use crate::listen::Listen;
use crate::server_names::ServerNames;
use crate::tally::Tally;
use sip_core::{Flow, Transport};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

/// Peers whose route is remembered; beyond that the memory starts anew.
const REMEMBERED: usize = 4096;

/// The listeners, and a memory of which local address leads to which peer.
#[derive(Debug)]
pub(crate) struct Addresses {
    listeners: Vec<Listen>,
    routes: Mutex<HashMap<IpAddr, IpAddr>>,
    pub(crate) server_names: ServerNames,
    /// Whether TLS connections can be opened.
    secure: bool,
    pub(crate) tally: Arc<Tally>,
}

impl Addresses {
    pub(crate) fn new(listeners: Vec<Listen>, secure: bool) -> Self {
        Self {
            listeners,
            routes: Mutex::new(HashMap::new()),
            server_names: ServerNames::default(),
            secure,
            tally: Arc::default(),
        }
    }

    /// `listener` as `peer` can reach it: a wildcard is replaced by the address that the route to the peer starts from.
    pub(crate) fn facing(&self, listener: SocketAddr, peer: IpAddr) -> SocketAddr {
        if listener.ip().is_unspecified() {
            SocketAddr::new(self.route(peer).unwrap_or(listener.ip()), listener.port())
        } else {
            listener
        }
    }

    /// The local address towards `peer`, asked of the kernel once: connecting a datagram socket sends nothing.
    fn route(&self, peer: IpAddr) -> Option<IpAddr> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&local) = routes.get(&peer) {
            return Some(local);
        }
        let any: IpAddr = if peer.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let scratch = UdpSocket::bind((any, 0)).ok()?;
        scratch.connect((peer, 5060)).ok()?;
        let local = scratch.local_addr().ok()?.ip();
        if routes.len() >= REMEMBERED {
            routes.clear();
        }
        routes.insert(peer, local);
        Some(local)
    }

    /// The flow on which a new request to `remote` leaves. Without a listener of the wanted transport and address
    /// family another one lends its address, since a connection can be opened without listening for any.
    pub(crate) fn flow_to(&self, transport: Transport, remote: SocketAddr) -> Flow {
        let family = |listen: &&Listen| listen.address.is_ipv4() == remote.is_ipv4();
        let rank = |listen: &&Listen| {
            let reaches = listen.address.ip().is_loopback() == remote.ip().is_loopback()
                || listen.address.ip().is_unspecified();
            (listen.transport != transport, !reaches)
        };
        let found = self.listeners.iter().filter(family).min_by_key(rank);
        let any: IpAddr = if remote.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let listener = found.map_or(SocketAddr::new(any, 0), |listen| listen.address);
        Flow {
            transport,
            local: self.facing(listener, remote.ip()),
            remote,
            connection: None,
            server_name: None,
        }
    }

    /// The address to be named for a stream whose own local port may be a passing one.
    pub(crate) fn stream_local(
        &self,
        transport: Transport,
        remote: SocketAddr,
        local: IpAddr,
    ) -> SocketAddr {
        let named = self.flow_to(transport, remote).local;
        SocketAddr::new(local, named.port())
    }

    /// The transports and families that requests can leave by; nobody could answer in a family without a listener.
    pub(crate) fn reach(&self) -> Reach {
        let listens = |ipv4| {
            self.listeners
                .iter()
                .any(|listen| listen.address.is_ipv4() == ipv4)
        };
        let udp = self
            .listeners
            .iter()
            .any(|listen| listen.transport == Transport::Udp);
        let all = [
            (Transport::Udp, udp),
            (Transport::Tcp, true),
            (Transport::Tls, self.secure),
        ];
        let spoken = all.into_iter().filter(|(_, spoken)| *spoken);
        Reach {
            transports: spoken.map(|(transport, _)| transport).collect(),
            ipv4: listens(true),
            ipv6: listens(false),
        }
    }

    /// Every address and port that leads to us, wildcards spelt out.
    pub(crate) fn all(&self) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> = self
            .listeners
            .iter()
            .flat_map(|listen| spell_out(listen.address))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(crate) fn listeners(&self) -> &[Listen] {
        &self.listeners
    }
}

fn spell_out(listener: SocketAddr) -> Vec<SocketAddr> {
    if !listener.ip().is_unspecified() {
        return vec![listener];
    }
    let mut found: Vec<SocketAddr> = webrtc_util::ifaces::ifaces()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|interface| interface.addr)
        .filter(|address| address.is_ipv4() == listener.is_ipv4())
        .map(|address| SocketAddr::new(address.ip(), listener.port()))
        .collect();
    found.push(listener);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(transport: Transport, address: &str) -> Listen {
        Listen {
            transport,
            address: address.parse().unwrap(),
        }
    }

    #[test]
    fn wildcard_listener_is_named_by_the_address_the_peer_can_reach() {
        let addresses = Addresses::new(vec![listen(Transport::Udp, "0.0.0.0:5060")], false);
        let flow = addresses.flow_to(Transport::Udp, "127.0.0.7:5070".parse().unwrap());
        assert!(flow.local.ip().is_loopback(), "{flow:?}");
        assert_eq!(flow.local.port(), 5060);
        assert_eq!(flow.connection, None);
    }

    #[test]
    fn flow_leaves_by_the_listener_of_its_transport_and_family() {
        let addresses = Addresses::new(
            vec![
                listen(Transport::Udp, "127.0.0.1:5060"),
                listen(Transport::Tcp, "[::1]:5064"),
                listen(Transport::Tcp, "127.0.0.1:5062"),
            ],
            false,
        );
        let to = |transport, remote: &str| {
            addresses
                .flow_to(transport, remote.parse().unwrap())
                .local
                .to_string()
        };
        assert_eq!(to(Transport::Udp, "127.0.0.1:9"), "127.0.0.1:5060");
        assert_eq!(to(Transport::Tcp, "127.0.0.1:9"), "127.0.0.1:5062");
        assert_eq!(to(Transport::Tcp, "[::1]:9"), "[::1]:5064");
    }

    #[test]
    fn own_addresses_spell_out_a_wildcard() {
        let addresses = Addresses::new(vec![listen(Transport::Udp, "0.0.0.0:5060")], false);
        assert!(
            addresses.all().contains(&"127.0.0.1:5060".parse().unwrap()),
            "{:?}",
            addresses.all()
        );
    }
}
