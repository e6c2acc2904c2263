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
        if let Ok(address) = text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
        {
            return Some(Self::Net(IpNet::from(address)));
        }
        let name = !text.is_empty()
            && text
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'));
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

    /// Whether an address is one of the account's trunks' own.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|net| covers(net, address))
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
        self.names
            .iter()
            .any(|(name, at)| *at == port && name.trim_end_matches('.').eq_ignore_ascii_case(host))
    }

    /// Whether this address is this gateway.
    #[must_use]
    pub fn contain_address(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let listener = self.sockets.iter().any(|own| {
            let own_ip = own.ip().to_canonical();
            let here = own_ip == ip
                || (own_ip.is_unspecified() && (ip.is_loopback() || ip.is_unspecified()));
            here && own.port() == address.port()
        });
        let literal = |name: &str| {
            name.parse::<IpAddr>()
                .is_ok_and(|own| own.to_canonical() == ip)
        };
        listener
            || self
                .names
                .iter()
                .any(|(name, port)| *port == address.port() && literal(name))
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
    let special = matches!(
        (a, b),
        (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff)
    );
    (a & 0xe000) == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(targets: &[&str], trusted: &[&str]) -> TargetRules {
        TargetRules {
            targets: targets
                .iter()
                .map(|text| ReturnTarget::parse(text).unwrap())
                .collect(),
            trusted: trusted.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn admits(rules: &TargetRules, host: &str, address: &str) -> bool {
        rules.admit(host, address.parse().unwrap())
    }

    #[test]
    fn addresses_that_are_nobodys_on_the_internet_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn addresses_beside_those_are_public() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "203.0.112.1",
            "223.255.255.254",
            "::ffff:8.8.8.8",
            "2001:200::1",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn without_targets_public_and_trusted_addresses_are_admitted() {
        let rules = rules(&[], &["10.0.0.0/8", "::1/128"]);
        for address in ["8.8.8.8", "10.9.9.9", "::ffff:10.9.9.9", "::1"] {
            assert!(admits(&rules, "any.example", address), "{address}");
        }
        assert!(!admits(&rules, "any.example", "192.168.0.1"));
    }

    #[test]
    fn with_targets_only_they_are_admitted_by_network_or_by_name() {
        let rules = rules(
            &["192.168.0.0/16", "Sbc.Example.com", "2a00::1"],
            &["10.0.0.0/8"],
        );
        assert!(admits(&rules, "x.example", "192.168.7.7"));
        assert!(admits(&rules, "sbc.example.COM.", "10.0.0.1"));
        assert!(admits(&rules, "[2a00::1]", "2a00::1"));
        assert!(!admits(&rules, "x.example", "10.0.0.1"));
        assert!(!admits(&rules, "x.example", "8.8.8.8"));
        assert!(!admits(&rules, "not-sbc.example.com", "8.8.8.8"));
    }

    #[test]
    fn a_mapped_network_covers_the_plain_address() {
        let rules = rules(&["::ffff:192.168.0.0/112"], &[]);
        assert!(admits(&rules, "x", "192.168.3.4"));
        assert!(!admits(&rules, "x", "192.169.3.4"));
    }

    #[test]
    fn nonsense_is_no_target() {
        for text in ["", "a b", "10.0.0.0/33", "sip:x@y", "*"] {
            assert_eq!(ReturnTarget::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn own_addresses_are_told_by_address_and_port() {
        let own = OwnAddresses {
            sockets: vec![
                "0.0.0.0:5060".parse().unwrap(),
                "[::1]:5080".parse().unwrap(),
            ],
            names: vec![
                ("gw.example.com".to_owned(), 5062),
                ("203.0.113.5".to_owned(), 5060),
            ],
        };
        for (host, port) in [
            ("127.0.0.1", 5060),
            ("::1", 5080),
            ("GW.example.com.", 5062),
            ("203.0.113.5", 5060),
            ("::1", 5060),
        ] {
            assert!(own.contain(host, port), "{host} {port}");
        }
        for (host, port) in [
            ("127.0.0.1", 5061),
            ("gw.example.com", 5060),
            ("203.0.113.6", 5060),
            ("8.8.8.8", 5060),
        ] {
            assert!(!own.contain(host, port), "{host} {port}");
        }
    }
}
