//! Locating SIP servers, RFC 3263: from a URI to the places where a request for it may go, in order.
//!
//! What a URI asks for (`target`) and what is made of the records (`select`) is pure; the look-ups and their cache are
//! hickory's. Records live as long as their TTL says, negative answers as RFC 2308 says.

mod resting;
mod select;
#[cfg(test)]
mod select_tests;
mod target;

pub use resting::Resting;
pub use select::{Naptr, Srv, by_weight, interleaved, services};
pub use target::{NotLocated, Plan, Target};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use select::without_repetition;
use sip_core::Transport;
use sip_message::Uri;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use target::{default_port, service_name};
use tokio::time::timeout;

/// The most servers that are named for one URI.
pub const MOST_SERVERS: usize = 8;
/// The most SRV records of one service that are looked at.
const MOST_RECORDS: usize = 32;
/// How long one question may take, with its repetitions.
const PATIENCE: Duration = Duration::from_secs(3);
/// After this the question is asked again.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// How long the second address family may lag behind the first one (RFC 8305 §3 has 50 ms for one's own link).
const SECOND_FAMILY: Duration = Duration::from_millis(250);
/// Answers that are kept.
const CACHE: u64 = 4096;

/// A place to send a request to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Over which transport.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// The servers for a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The URI's own host, without brackets: what a TLS certificate must carry (RFC 5922 §7.1).
    pub domain: String,
    /// The host that was looked up: the same, or the `maddr` parameter.
    pub host: String,
    /// At least one and at most [`MOST_SERVERS`], in the order to try them.
    pub servers: Vec<Server>,
}

/// What can be spoken here: servers out of reach are not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The transports that requests can leave by.
    pub transports: Vec<Transport>,
    /// Whether IPv4 addresses are reached.
    pub ipv4: bool,
    /// Whether IPv6 addresses are reached.
    pub ipv6: bool,
}

impl Reach {
    fn includes(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.ipv4,
            IpAddr::V6(_) => self.ipv6,
        }
    }
}

/// Looks servers up. Cheap to clone; clones share their cache.
#[derive(Clone)]
pub struct Locator {
    resolver: TokioResolver,
}

impl std::fmt::Debug for Locator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locator").finish_non_exhaustive()
    }
}

/// What one question brought.
enum Answer<T> {
    Found(Vec<T>),
    /// There are no such records.
    None,
    Failed(String),
}

impl Locator {
    /// A locator that asks these name servers, or those of the system (`/etc/resolv.conf`) where there are none.
    /// `/etc/hosts` comes first for addresses.
    ///
    /// # Errors
    /// When the resolver cannot be built.
    pub fn new(nameservers: &[SocketAddr]) -> Result<Self, String> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = if nameservers.is_empty() {
            TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "the system names no name server, 127.0.0.1 is asked");
                let local = config_of(&[(Ipv4Addr::LOCALHOST, 53).into()]);
                TokioResolver::builder_with_config(local, provider)
            })
        } else {
            TokioResolver::builder_with_config(config_of(nameservers), provider)
        };
        tune(builder.options_mut());
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { resolver })
    }

    /// The same locator with the addresses of another text in the form of `/etc/hosts`.
    ///
    /// # Errors
    /// When the text cannot be read.
    pub fn with_hosts(mut self, text: &str) -> Result<Self, String> {
        let mut hosts = Hosts::default();
        hosts
            .read_hosts_conf(text.as_bytes())
            .map_err(|error| error.to_string())?;
        self.resolver.set_hosts(Arc::new(hosts));
        Ok(self)
    }

    /// The servers for a URI, in the order to try them.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn locate(&self, uri: &Uri, reach: &Reach) -> Result<Located, NotLocated> {
        self.locate_target(Target::of(uri)?, reach).await
    }

    /// The servers for what was read from a URI, and perhaps changed.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn locate_target(
        &self,
        target: Target,
        reach: &Reach,
    ) -> Result<Located, NotLocated> {
        let mut servers = match target.plan(&reach.transports)? {
            Plan::Literal(transport, address, port) => vec![server(transport, address, port)],
            Plan::Addresses(transport, port) => {
                self.addresses(&target.host, transport, port, reach).await?
            }
            Plan::Service(transport) => {
                let name = service_name(transport, &target.host);
                self.by_services(&target, vec![(transport, name)], reach)
                    .await?
            }
            Plan::Discover => self.discover(&target, reach).await?,
        };
        servers.truncate(MOST_SERVERS);
        tracing::debug!(host = target.host, ?servers, "located");
        Ok(Located {
            domain: target.domain,
            host: target.host,
            servers,
        })
    }

    /// NAPTR first, RFC 3263 §4.1.
    async fn discover(&self, target: &Target, reach: &Reach) -> Result<Vec<Server>, NotLocated> {
        let name = format!("{}.", target.host.trim_end_matches('.'));
        let records = match self.ask(&name, RecordType::NAPTR, naptr).await {
            Answer::Found(records) => services(&records, target.secure, &reach.transports),
            Answer::None => Vec::new(),
            Answer::Failed(problem) => {
                tracing::debug!(name, problem, "no answer about NAPTR records");
                Vec::new()
            }
        };
        let named = if records.is_empty() {
            target
                .services(&reach.transports)
                .into_iter()
                .map(|transport| (transport, service_name(transport, &target.host)))
                .collect()
        } else {
            records
        };
        self.by_services(target, named, reach).await
    }

    /// The servers of SRV records, else the host's own addresses (RFC 3263 §4.2).
    async fn by_services(
        &self,
        target: &Target,
        named: Vec<(Transport, String)>,
        reach: &Reach,
    ) -> Result<Vec<Server>, NotLocated> {
        let mut hosts = Vec::new();
        let mut declined = false;
        for (transport, records) in self.service_records(named).await {
            declined |= records.iter().any(|record| record.target == ".");
            let offered = records
                .into_iter()
                .filter(|record| record.target != ".")
                .collect();
            let drawn = by_weight(offered, |most| rand::random_range(0..=most));
            hosts.extend(drawn.into_iter().map(|record| (transport, record)));
        }
        if hosts.is_empty() {
            if declined {
                return Err(NotLocated::NotOffered(target.host.clone()));
            }
            let transport = match target.transport {
                Some(asked) => asked,
                None => target.usual(&reach.transports)?,
            };
            let port = default_port(transport);
            return self.addresses(&target.host, transport, port, reach).await;
        }
        self.addresses_of_all(hosts, reach).await
    }

    /// The SRV records of all services, asked for at the same time, in the order of the services.
    async fn service_records(&self, named: Vec<(Transport, String)>) -> Vec<(Transport, Vec<Srv>)> {
        let asked = named.into_iter().map(|(transport, name)| async move {
            match self.ask(&name, RecordType::SRV, srv).await {
                Answer::Found(records) => (transport, records),
                Answer::None => (transport, Vec::new()),
                Answer::Failed(problem) => {
                    tracing::warn!(name, problem, "no answer about SRV records");
                    (transport, Vec::new())
                }
            }
        });
        futures_util::future::join_all(asked).await
    }

    async fn addresses_of_all(
        &self,
        hosts: Vec<(Transport, Srv)>,
        reach: &Reach,
    ) -> Result<Vec<Server>, NotLocated> {
        let first = hosts.into_iter().take(MOST_SERVERS);
        let asked = first.map(|(transport, record)| async move {
            self.addresses(&record.target, transport, record.port, reach)
                .await
        });
        let mut servers = Vec::new();
        let mut failure = None;
        for found in futures_util::future::join_all(asked).await {
            match found {
                Ok(found) => servers.extend(found),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(failure) if servers.is_empty() => Err(failure),
            Some(_) | None => Ok(without_repetition(servers)),
        }
    }

    /// The addresses of a host, both families asked at the same time (RFC 7984 §4).
    async fn addresses(
        &self,
        host: &str,
        transport: Transport,
        port: u16,
        reach: &Reach,
    ) -> Result<Vec<Server>, NotLocated> {
        let (found, problem) = self.both_families(host).await;
        let found = interleaved(found, |address| reach.includes(address));
        match (found.is_empty(), problem) {
            (false, _) => Ok(found
                .into_iter()
                .map(|address| server(transport, address, port))
                .collect()),
            (true, None) => Err(NotLocated::NoAddress(host.to_owned())),
            (true, Some(problem)) => Err(NotLocated::Failed {
                host: host.to_owned(),
                problem,
            }),
        }
    }

    /// Addresses of both families, and what went wrong. A family that answers much later than the other is not waited for.
    async fn both_families(&self, host: &str) -> (Vec<IpAddr>, Option<String>) {
        let v6 = self.ask(host, RecordType::AAAA, address);
        let v4 = self.ask(host, RecordType::A, address);
        tokio::pin!(v6, v4);
        let (first, second) = tokio::select! {
            first = &mut v6 => {
                let second = after(&first, v4).await;
                (first, second)
            }
            first = &mut v4 => {
                let second = after(&first, v6).await;
                (first, second)
            }
        };
        let mut found = Vec::new();
        let mut problem = None;
        for answer in [Some(first), second].into_iter().flatten() {
            match answer {
                Answer::Found(some) => found.extend(some),
                Answer::None => {}
                Answer::Failed(why) => problem = Some(why),
            }
        }
        (found, problem)
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Answer<T> {
        match timeout(PATIENCE, self.resolver.lookup(name, kind)).await {
            Err(_) => Answer::Failed("the name servers do not answer".to_owned()),
            Ok(Err(error)) => failure(&error),
            Ok(Ok(lookup)) => {
                let read = |record: &hickory_resolver::proto::rr::Record| read(&record.data);
                let records = lookup.answers().iter().filter_map(read);
                let found: Vec<T> = records.take(MOST_RECORDS).collect();
                if found.is_empty() {
                    Answer::None
                } else {
                    Answer::Found(found)
                }
            }
        }
    }
}

/// The second family's answer: all the time it takes where the first one found nothing, else a moment.
async fn after<T>(first: &Answer<T>, second: impl Future<Output = Answer<T>>) -> Option<Answer<T>> {
    match first {
        Answer::Found(_) => timeout(SECOND_FAMILY, second).await.ok(),
        Answer::None | Answer::Failed(_) => Some(second.await),
    }
}

fn failure<T>(error: &NetError) -> Answer<T> {
    if let NetError::Dns(DnsError::NoRecordsFound(none)) = error
        && matches!(
            none.response_code,
            ResponseCode::NoError | ResponseCode::NXDomain
        )
    {
        return Answer::None;
    }
    Answer::Failed(error.to_string())
}

fn config_of(nameservers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let at_port = |mut connection: ConnectionConfig| {
            connection.port = address.port();
            connection
        };
        let connections = vec![
            at_port(ConnectionConfig::udp()),
            at_port(ConnectionConfig::tcp()),
        ];
        NameServerConfig::new(address.ip(), true, connections)
    };
    ResolverConfig::from_parts(None, Vec::new(), nameservers.iter().map(server).collect())
}

fn tune(options: &mut ResolverOpts) {
    options.use_hosts_file = ResolveHosts::Always;
    options.timeout = options.timeout.min(REPEAT_AFTER);
    options.attempts = options.attempts.max(2);
    options.cache_size = CACHE;
    options.edns0 = true;
    options.try_tcp_on_error = true;
}

const fn server(transport: Transport, address: IpAddr, port: u16) -> Server {
    Server {
        transport,
        address: SocketAddr::new(address, port),
    }
}

fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(record) = data else {
        return None;
    };
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    Some(Naptr {
        order: record.order,
        preference: record.preference,
        flags: text(&record.flags),
        services: text(&record.services),
        regexp: text(&record.regexp),
        replacement: record.replacement.to_ascii(),
    })
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(record) = data else {
        return None;
    };
    Some(Srv {
        priority: record.priority,
        weight: record.weight,
        port: record.port,
        target: record.target.to_ascii(),
    })
}

fn address(data: &RData) -> Option<IpAddr> {
    data.ip_addr()
}
