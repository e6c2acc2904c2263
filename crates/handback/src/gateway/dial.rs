//! Where an INVITE return goes: the next hops of a URI, past the guard on whom we dial.
//!
//! A and AAAA records or a literal address; the transport by the URI's parameter, else UDP.

use std::net::SocketAddr;

use bytes::Bytes;
use call_control::Hop;
use sip_core::Transport;
use sip_message::Uri;
use sip_transport::SipHandle;
use transfer_api::{OwnAddresses, TargetRules};

const SIP_PORT: u16 = 5060;
/// The most addresses of a name that are tried.
const MOST_HOPS: usize = 8;

/// What a URI is judged by before it is dialled.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) targets: TargetRules,
    pub(super) own: OwnAddresses,
    pub(super) outbound_proxy: Option<String>,
}

/// The hops of a URI in the order to try them; empty when there are none, or none that may be dialled.
pub(super) async fn hops(uri: Bytes, guard: Guard, sip: SipHandle) -> Vec<Hop> {
    if let Some(proxy) = &guard.outbound_proxy {
        let proxy_uri = Bytes::from(format!("sip:{proxy};lr"));
        let route: Bytes = [b"<", proxy_uri.as_ref(), b">"].concat().into();
        return addresses(&proxy_uri)
            .await
            .into_iter()
            .map(|found| hop(&sip, &found, Some(route.clone())))
            .collect();
    }
    let found = addresses(&uri).await;
    found
        .iter()
        .filter(|found| may_dial(found, &guard))
        .map(|found| hop(&sip, found, None))
        .collect()
}

fn hop(sip: &SipHandle, found: &Found, route: Option<Bytes>) -> Hop {
    Hop {
        leg: sip.new_leg(),
        flow: sip.flow_to(found.transport, found.address),
        route,
    }
}

fn may_dial(found: &Found, guard: &Guard) -> bool {
    let own = guard.own.contain_address(found.address);
    let admitted = guard.targets.admit(&found.host, found.address.ip());
    if own || !admitted {
        tracing::warn!(host = found.host, address = %found.address, own, "return target is not to be dialled");
    }
    !own && admitted
}

#[derive(Debug)]
struct Found {
    host: String,
    address: SocketAddr,
    transport: Transport,
}

async fn addresses(uri: &Bytes) -> Vec<Found> {
    let Ok(uri) = Uri::from_bytes(uri.clone()) else {
        return Vec::new();
    };
    let Some(transport) = transport(&uri) else {
        return Vec::new();
    };
    let port = uri.port().unwrap_or(SIP_PORT);
    let named = uri
        .param("maddr")
        .filter(|maddr| !maddr.is_empty())
        .unwrap_or_else(|| uri.host());
    let host = String::from_utf8_lossy(named)
        .trim_matches(['[', ']'])
        .to_owned();
    match tokio::net::lookup_host((host.as_str(), port)).await {
        Ok(found) => found
            .take(MOST_HOPS)
            .map(|address| Found {
                host: host.clone(),
                address,
                transport,
            })
            .collect(),
        Err(error) => {
            tracing::warn!(host, %error, "return target does not resolve");
            Vec::new()
        }
    }
}

/// RFC 3263 §4.1 without NAPTR and SRV; none where the URI wants a transport that we lack.
fn transport(uri: &Uri) -> Option<Transport> {
    if !uri.is_sip() || uri.is_sips() {
        return None;
    }
    match uri
        .param("transport")
        .map(<[u8]>::to_ascii_lowercase)
        .as_deref()
    {
        None | Some(b"udp") => Some(Transport::Udp),
        Some(b"tcp") => Some(Transport::Tcp),
        Some(_) => None,
    }
}
