//! Our addresses as peers are told them, in Via and Contact.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sip_message::{Uri, Via};

use crate::flow::{Flow, Transport};

/// The port of sip URIs that name none, RFC 3261 §19.1.2.
const SIP_PORT: u16 = 5060;

/// A `host[:port]` that stands for us in Via and Contact, instead of the address of the path. An
/// address in digits is told to peers of its own family only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    host: String,
    ip: Option<IpAddr>,
    port: Option<u16>,
}

/// The text is not `host[:port]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAddress;

impl fmt::Display for NotAnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not host or host:port")
    }
}

impl std::error::Error for NotAnAddress {}

impl FromStr for Advertised {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let uri = Uri::parse(format!("sip:{text}").as_bytes()).map_err(|_| NotAnAddress)?;
        if uri.user().is_some() {
            return Err(NotAnAddress);
        }
        Ok(Self {
            host: String::from_utf8_lossy(uri.host()).into_owned(),
            ip: uri.host_ip(),
            port: uri.port(),
        })
    }
}

impl Advertised {
    /// The host, an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where one was given.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    fn fits(&self, flow: &Flow) -> bool {
        self.ip
            .is_none_or(|ip| ip.is_ipv4() == flow.local.is_ipv4())
    }

    /// As it stands on a path. A given port is that of UDP and TCP: TLS has one of its own. An address
    /// in digits without a port keeps the path's; a name without one is left to SRV (RFC 3263 §4.2).
    fn on(&self, flow: &Flow) -> String {
        let own = flow.local.port();
        let port = match (self.port, flow.transport) {
            (Some(port), Transport::Udp | Transport::Tcp) => Some(port),
            (Some(_), Transport::Tls) => Some(own),
            (None, transport) => {
                let default = SIP_PORT + u16::from(transport == Transport::Tls);
                self.ip.map(|_| own).filter(|own| *own != default)
            }
        };
        match port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

/// Our address on a path as peers are told it: the first advertised one that fits, else the path's own.
#[must_use]
pub fn sent_by(advertised: &[Advertised], flow: &Flow) -> String {
    match advertised.iter().find(|own| own.fits(flow)) {
        Some(own) => own.on(flow),
        None => flow.local.to_string(),
    }
}

/// Whether a Via was made by us on such a path.
pub(crate) fn is_ours(advertised: &[Advertised], via: &Via, flow: &Flow) -> bool {
    let default = SIP_PORT + u16::from(via.transport().eq_ignore_ascii_case(b"TLS"));
    let port = via.port().unwrap_or(default);
    if advertised.iter().any(|own| own.fits(flow)) {
        let ours = sent_by(advertised, flow);
        let theirs = String::from_utf8_lossy(via.host()).into_owned();
        return ours.eq_ignore_ascii_case(&theirs)
            || ours.eq_ignore_ascii_case(&format!("{theirs}:{port}"));
    }
    via.host_ip()
        .is_some_and(|ip| ip.to_canonical() == flow.local.ip().to_canonical())
        && port == flow.local.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(transport: Transport, local: &str) -> Flow {
        Flow {
            transport,
            ..Flow::udp(local.parse().unwrap(), local.parse().unwrap())
        }
    }

    fn advertised(texts: &[&str]) -> Vec<Advertised> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn each_family_is_told_its_own_address_and_a_family_without_one_the_path_s() {
        let own = advertised(&["203.0.113.7", "[2001:db8::7]:5070"]);
        let told = |local| sent_by(&own, &flow(Transport::Udp, local));
        assert_eq!(told("10.0.0.1:5060"), "203.0.113.7");
        assert_eq!(told("10.0.0.1:5080"), "203.0.113.7:5080");
        assert_eq!(told("[fd00::1]:5060"), "[2001:db8::7]:5070");
        let only_v4 = advertised(&["203.0.113.7"]);
        let v6 = flow(Transport::Tcp, "[fd00::1]:5060");
        assert_eq!(sent_by(&only_v4, &v6), "[fd00::1]:5060");
    }

    #[test]
    fn name_serves_both_families_and_its_port_is_not_that_of_tls() {
        let named = advertised(&["gw.example.com:5080"]);
        let told = |transport, local| sent_by(&named, &flow(transport, local));
        assert_eq!(told(Transport::Udp, "10.0.0.1:5060"), "gw.example.com:5080");
        assert_eq!(
            told(Transport::Tls, "[fd00::1]:5061"),
            "gw.example.com:5061"
        );
        let bare = advertised(&["gw.example.com"]);
        let tls = flow(Transport::Tls, "10.0.0.1:5061");
        assert_eq!(sent_by(&bare, &tls), "gw.example.com");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "a@b", "host:port", "fe80::1"] {
            assert!(text.parse::<Advertised>().is_err(), "{text}");
        }
    }
}
