//! Where an INVITE return goes: the servers of a URI (RFC 3263), past the guard on whom we dial.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use call_control::Hop;
use sip_core::{Flow, LegEvent, Transport};
use sip_message::Uri;
use sip_transport::SipHandle;
use sip_transport::dns::{Located, Locator, NotLocated, Resting, Server};
use timebase::Now;
use transfer_api::{OwnAddresses, TargetRules};

use super::directory::proxy_uri;

/// What a URI is judged by before it is dialled.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) targets: TargetRules,
    pub(super) own: OwnAddresses,
}

impl Guard {
    /// Whether an address is one of the account's trunks' own, and not ours.
    fn trusts(&self, address: SocketAddr) -> bool {
        self.targets.trusts(address.ip()) && !self.own.contain_address(address)
    }

    /// Whether calls may be returned to a server.
    fn admits(&self, located: &Located, server: &Server) -> bool {
        let own = self.own.contain_address(server.address);
        !own && self.targets.admit(&located.host, server.address.ip())
    }
}

/// What servers are looked up with.
#[derive(Clone, Debug)]
pub(super) struct Dialler {
    pub(super) locator: Locator,
    pub(super) resting: Arc<Resting>,
    pub(super) sip: SipHandle,
}

impl Dialler {
    /// The hops of a return URI in the order to try them.
    ///
    /// The guard judges the addresses that the name leads to now, not the name: whoever owns the name may point it
    /// anywhere.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn hops(
        &self,
        now: Now,
        uri: Bytes,
        guard: Guard,
    ) -> Result<Vec<Hop>, String> {
        let located = self.locate(uri).await?;
        let found = located.servers.len();
        let allowed = located
            .servers
            .iter()
            .filter(|server| may_dial(&located, server, &guard))
            .cloned()
            .collect::<Vec<_>>();
        if allowed.is_empty() && found > 0 {
            return Err("return target is not to be dialled".to_owned());
        }
        self.ready(Some(now), &located, allowed, None)
    }

    /// The hops of an outbound proxy, which the operator chose: nothing else is judged. Without a time,
    /// also those that asked for a pause.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn proxy_hops(
        &self,
        now: Option<Now>,
        proxy: &str,
    ) -> Result<Vec<Hop>, String> {
        let uri = proxy_uri(proxy);
        let route: Bytes = [b"<", uri.as_ref(), b">"].concat().into();
        let located = self.locate(uri).await?;
        let servers = located.servers.clone();
        self.ready(now, &located, servers, Some(&route))
    }

    /// The paths to the next hop of a dialog whose host is a name: the trunks' own addresses, and what a
    /// call may be returned to.
    pub(super) async fn next_hop(&self, uri: &Bytes, guard: &Guard) -> Vec<Flow> {
        let located = match Uri::from_bytes(uri.clone()) {
            Ok(uri) => self.locator.locate(&uri, &self.sip.reach()).await,
            Err(_) => Err(NotLocated::NotSip),
        };
        let located = match located {
            Ok(located) => located,
            Err(error) => {
                tracing::debug!(%error, "next hop of a dialog cannot be located");
                return Vec::new();
            }
        };
        let allowed = located
            .servers
            .iter()
            .filter(|server| guard.trusts(server.address) || guard.admits(&located, server));
        let hops = allowed.filter_map(|server| self.flow(&located, server));
        hops.collect()
    }

    async fn locate(&self, uri: Bytes) -> Result<Located, String> {
        let located = match Uri::from_bytes(uri) {
            Ok(uri) => self.locator.locate(&uri, &self.sip.reach()).await,
            Err(_) => Err(NotLocated::NotSip),
        };
        located.map_err(|error| {
            tracing::warn!(%error, "return target cannot be located");
            format!("return target {error}")
        })
    }

    /// Leaves out those that asked for a pause, and puts those that were silent last.
    fn ready(
        &self,
        now: Option<Now>,
        located: &Located,
        servers: Vec<Server>,
        route: Option<&Bytes>,
    ) -> Result<Vec<Hop>, String> {
        let servers = match now {
            Some(now) => self.resting.sort(now, servers),
            None => servers,
        };
        let hop = |server: &Server| {
            let silent = |now| {
                self.resting
                    .is_silent(now, server.transport, server.address)
            };
            self.hop(located, server, route.cloned(), now.is_some_and(silent))
        };
        let hops: Vec<Hop> = servers.iter().filter_map(hop).collect();
        if hops.is_empty() {
            return Err(
                "every server of the return target asked for a pause (503, Retry-After)".to_owned(),
            );
        }
        Ok(hops)
    }

    fn hop(
        &self,
        located: &Located,
        server: &Server,
        route: Option<Bytes>,
        doubtful: bool,
    ) -> Option<Hop> {
        Some(Hop {
            leg: self.sip.new_leg(),
            flow: self.flow(located, server)?,
            route,
            doubtful,
        })
    }

    fn flow(&self, located: &Located, server: &Server) -> Option<Flow> {
        let literal = located.domain.parse::<std::net::IpAddr>().is_ok();
        if server.transport == Transport::Tls && !literal {
            self.sip
                .flow_to_server(server.transport, server.address, &located.domain)
        } else {
            Some(self.sip.flow_to(server.transport, server.address))
        }
    }
}

fn may_dial(located: &Located, server: &Server, guard: &Guard) -> bool {
    let admitted = guard.admits(located, server);
    if !admitted {
        let own = guard.own.contain_address(server.address);
        tracing::warn!(host = located.host, address = %server.address, own, "return target is not to be dialled");
    }
    admitted
}

/// What a placed leg tells of its server is remembered for the next calls.
pub(super) fn judge(resting: &Resting, now: Now, flow: Flow, event: &LegEvent) {
    let (transport, address) = (flow.transport, flow.remote);
    if let LegEvent::Refused {
        answered: false, ..
    } = event
    {
        resting.silent(now, transport, address);
    } else if let LegEvent::Refused {
        status: 503,
        retry_after: Some(seconds),
        ..
    } = event
    {
        let pause = Duration::from_secs((*seconds).into());
        resting.asked(now, transport, address, pause);
    } else if let LegEvent::Progress { .. } | LegEvent::Answered { .. } = event {
        resting.answered(transport, address);
    }
}
