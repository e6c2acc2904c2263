//! Where calls may be handed back to: pure rules, judged at registration for literal addresses and
//! again by whoever dials, for the address actually dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// What an account's return URIs may lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRules {
    /// The account's `return_targets`; empty: every public address.
    pub targets: Vec<ReturnTarget>,
    /// The addresses in its trunks' `allow` and their outbound proxies; they count only while `targets` is empty.
    pub trusted: Vec<IpNet>,
}

/// One entry of `return_targets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnTarget {
    /// A network.
    Net(IpNet),
    /// A host name; it admits whatever address the name resolved to.
    Host(String),
}

impl ReturnTarget {
    /// Reads an entry: a network, an address, or a host name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Some(Self::Net(net));
        }
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Some(Self::Net(IpNet::from(address)));
        }
        let name = !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'));
        name.then(|| Self::Host(text.trim_end_matches('.').to_ascii_lowercase()))
    }
}

impl TargetRules {
    /// Whether a call may be sent to `address`, which the return URI's `host` is or resolved to.
    #[must_use]
    pub fn admit(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.targets.is_empty() {
            return is_public(address) || self.trusted.iter().any(|net| covers(net, address));
        }
        let host = host.trim_end_matches('.');
        self.targets.iter().any(|target| match target {
            ReturnTarget::Net(net) => covers(net, address),
            ReturnTarget::Host(name) => name.eq_ignore_ascii_case(host),
        })
    }
}

/// The addresses at which this gateway is reached; no call is handed back to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Its listeners; one on the unspecified address stands for that port on any loopback address.
    pub sockets: Vec<SocketAddr>,
    /// Advertised names with their ports.
    pub names: Vec<(String, u16)>,
}

impl OwnAddresses {
    /// Whether `host`, a name or a literal address without brackets, at `port` is this gateway.
    #[must_use]
    pub fn contain(&self, host: &str, port: u16) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.contain_address(SocketAddr::new(address, port));
        }
        let host = host.trim_end_matches('.');
        self.names.iter().any(|(name, at)| *at == port && name.trim_end_matches('.').eq_ignore_ascii_case(host))
    }

    /// Whether this address is this gateway.
    #[must_use]
    pub fn contain_address(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let listener = self.sockets.iter().any(|own| {
            let own_ip = own.ip().to_canonical();
            let here = own_ip == ip || (own_ip.is_unspecified() && (ip.is_loopback() || ip.is_unspecified()));
            here && own.port() == address.port()
        });
        let literal = |name: &str| name.parse::<IpAddr>().is_ok_and(|own| own.to_canonical() == ip);
        listener || self.names.iter().any(|(name, port)| *port == address.port() && literal(name))
    }
}

fn covers(net: &IpNet, address: IpAddr) -> bool {
    match (net.network().to_canonical(), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if matches!(net, IpNet::V6(_)) => {
            let length = net.prefix_len().saturating_sub(96);
            ipnet::Ipv4Net::new(network, length).is_ok_and(|net| net.contains(&address))
        }
        _ => net.contains(&address),
    }
}

/// Whether the address is one that the public Internet routes to a single host.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The special-purpose registry of IPv4 (RFC 6890 and its successors) is not public.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224.., _, _)
    );
    !special
}

/// Global unicast (2000::/3) without documentation, benchmarking and the tunnels that hide an IPv4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let special = matches!((a, b), (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff));
    (a & 0xe000) == 0x2000 && !special
}
