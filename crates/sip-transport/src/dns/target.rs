//! What a URI asks for: a pure reading of RFC 3263 §4, before any record is looked up.

use sip_core::Transport;
use sip_message::Uri;
use std::net::IpAddr;

/// The port of SIP over UDP and TCP, RFC 3261 §19.1.2.
pub(crate) const SIP_PORT: u16 = 5060;
/// The port of SIP over TLS.
pub(crate) const SIPS_PORT: u16 = 5061;

/// Why no server is known for a URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLocated {
    /// Neither `sip:` nor `sips:`.
    #[error("is no SIP URI")]
    NotSip,
    /// It wants a transport that is not spoken here.
    #[error("wants transport {0}, which is not spoken here")]
    Transport(String),
    /// The DNS says that there is no such host, or that it has no address.
    #[error("does not resolve: {0} has no address")]
    NoAddress(String),
    /// The domain says that it takes no SIP: an SRV target of `.` (RFC 2782).
    #[error("does not resolve: {0} says that it takes no SIP")]
    NotOffered(String),
    /// The DNS did not answer, or refused to.
    #[error("does not resolve: {host}: {problem}")]
    Failed {
        /// The name that was looked up.
        host: String,
        /// What went wrong.
        problem: String,
    },
}

/// Where a request is to go, as its URI says: RFC 3263's TARGET with what else decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host that is located: the `maddr` parameter where there is one. An address without brackets.
    pub host: String,
    /// The same as an address, where it is one.
    pub address: Option<IpAddr>,
    /// The port that the URI names.
    pub port: Option<u16>,
    /// The transport that the URI names, under TLS where it is a `sips:` URI.
    pub transport: Option<Transport>,
    /// Whether it is a `sips:` URI.
    pub secure: bool,
    /// The domain that a TLS certificate must carry (RFC 5922 §7.1): the URI's own host.
    pub domain: String,
}

/// The first thing to do, RFC 3263 §4.1 and §4.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing is looked up.
    Literal(Transport, IpAddr, u16),
    /// A and AAAA records of the host.
    Addresses(Transport, u16),
    /// The SRV records of one service.
    Service(Transport),
    /// NAPTR records first.
    Discover,
}

impl Target {
    /// Reads a URI.
    ///
    /// # Errors
    /// When it is not SIP's, or wants a transport that nobody here speaks.
    pub fn of(uri: &Uri) -> Result<Self, NotLocated> {
        if !uri.is_sip() {
            return Err(NotLocated::NotSip);
        }
        let maddr = uri.param("maddr").filter(|maddr| !maddr.is_empty());
        let host = plain(maddr.unwrap_or_else(|| uri.host()));
        let secure = uri.is_sips();
        Ok(Self {
            address: host.parse().ok(),
            host,
            port: uri.port(),
            transport: named_transport(uri, secure)?,
            secure,
            domain: plain(uri.host()),
        })
    }

    /// What to look up, given the transports spoken here.
    ///
    /// # Errors
    /// When none of them will do.
    pub fn plan(&self, spoken: &[Transport]) -> Result<Plan, NotLocated> {
        let asked = self.transport.filter(|asked| !spoken.contains(asked));
        if let Some(asked) = asked {
            return Err(NotLocated::Transport(asked.to_string()));
        }
        let transport = match self.transport {
            Some(asked) => asked,
            None => self.usual(spoken)?,
        };
        Ok(match (self.address, self.port, self.transport) {
            (Some(address), port, _) => {
                Plan::Literal(transport, address, port.unwrap_or(default_port(transport)))
            }
            (None, Some(port), _) => Plan::Addresses(transport, port),
            (None, None, Some(asked)) => Plan::Service(asked),
            (None, None, None) => Plan::Discover,
        })
    }

    /// The transport where neither the URI nor the DNS names one: UDP for `sip:`, TLS for `sips:` (RFC 3263 §4.1);
    /// TCP where no UDP is spoken.
    pub(crate) fn usual(&self, spoken: &[Transport]) -> Result<Transport, NotLocated> {
        let wanted: &[Transport] = if self.secure {
            &[Transport::Tls]
        } else {
            &[Transport::Udp, Transport::Tcp, Transport::Tls]
        };
        let usual = wanted
            .iter()
            .find(|transport| spoken.contains(transport))
            .copied();
        usual.ok_or_else(|| {
            NotLocated::Transport(wanted.first().map_or_else(String::new, ToString::to_string))
        })
    }

    /// The services to ask for where the domain has no NAPTR record, in our order of preference (RFC 3263 §4.1).
    pub(crate) fn services(&self, spoken: &[Transport]) -> Vec<Transport> {
        let known: &[Transport] = if self.secure {
            &[Transport::Tls]
        } else {
            &[Transport::Udp, Transport::Tcp]
        };
        known
            .iter()
            .filter(|transport| spoken.contains(transport))
            .copied()
            .collect()
    }
}

/// The port where neither the URI nor an SRV record names one.
pub(crate) const fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => SIP_PORT,
        Transport::Tls => SIPS_PORT,
    }
}

/// The name of a service's SRV records, fully qualified: `_sip._udp.example.com.`
pub(crate) fn service_name(transport: Transport, host: &str) -> String {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{service}.{}.", host.trim_end_matches('.'))
}

fn named_transport(uri: &Uri, secure: bool) -> Result<Option<Transport>, NotLocated> {
    let Some(name) = uri.param("transport") else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    match (name.as_str(), secure) {
        ("udp", false) => Ok(Some(Transport::Udp)),
        ("tcp", false) => Ok(Some(Transport::Tcp)),
        // RFC 3261 §26.2.2: TLS over TCP; `transport=tls` is deprecated and still usual.
        ("tcp", true) | ("tls", _) => Ok(Some(Transport::Tls)),
        _ => Err(NotLocated::Transport(name)),
    }
}

fn plain(host: &[u8]) -> String {
    String::from_utf8_lossy(host)
        .trim_matches(['[', ']'])
        .to_owned()
}
