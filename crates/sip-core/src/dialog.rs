//! The dialog, RFC 3261 §12: its identifiers, route set, targets, sequence numbers and path.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Message, Method, NameAddr, Uri};

use crate::checkpoint::{CSEQ_GAP, DialogCheckpoint};
use crate::flow::{Flow, Transport};

/// The port of sip URIs that name none, RFC 3261 §19.1.2.
const SIP_PORT: u16 = 5060;

/// The peer's sequence number is not above its last one, RFC 3261 §12.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

/// One dialog.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    /// The Call-ID.
    pub(crate) call_id: Bytes,
    /// Our tag.
    pub(crate) local_tag: Bytes,
    /// The peer's tag; empty where it sent none (RFC 2543).
    pub(crate) remote_tag: Bytes,
    /// Where messages of the dialog have been going.
    pub(crate) flow: Flow,
    /// The Contact value of our messages.
    pub(crate) contact: Bytes,
    local_party: Bytes,
    remote_party: Bytes,
    remote_target: Bytes,
    routes: Vec<Bytes>,
    named: Option<Named>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

/// A next hop that is a host by name, RFC 3263.
#[derive(Clone, Debug)]
struct Named {
    uri: Bytes,
    /// The shell has been asked where it is.
    asked: bool,
    /// Where it is, the best path first.
    flows: Vec<Flow>,
}

impl Dialog {
    /// The dialog of a request that we answer with `tag`, RFC 3261 §12.1.1.
    pub(crate) fn answering(
        request: &Message,
        tag: &Bytes,
        flow: Flow,
        contact: Bytes,
    ) -> Option<Self> {
        let from = request.from().ok()?;
        let to = request.to().ok()?;
        // Without a Contact, as RFC 2543 had it, the peer is reached at its From.
        let contact_of_peer = request.contact().ok().flatten();
        let target = contact_of_peer.as_ref().unwrap_or(&from);
        let dialog = Self {
            call_id: shared(request, HeaderName::CallId)?,
            local_tag: tag.clone(),
            remote_tag: tag_of(&from),
            flow,
            contact,
            local_party: tagged(&to.without_tag(), tag),
            remote_party: from.as_bytes().clone(),
            remote_target: target.uri().as_bytes().clone(),
            routes: request.values(HeaderName::RecordRoute).map(owned).collect(),
            named: None,
            local_cseq: 0,
            remote_cseq: request.cseq().ok().map(|cseq| cseq.number),
        };
        Some(dialog.naming())
    }

    /// The dialog that a response to our request makes, RFC 3261 §12.1.2.
    pub(crate) fn calling(
        request: &Message,
        response: &Message,
        flow: Flow,
        contact: Bytes,
    ) -> Option<Self> {
        let from = request.from().ok()?;
        let to = response.to().ok()?;
        let contact_of_peer = response.contact().ok().flatten();
        let is_silent = contact_of_peer.is_none();
        let target = match contact_of_peer {
            Some(contact) => contact.uri().as_bytes().clone(),
            None => Bytes::copy_from_slice(request.request_uri()?),
        };
        let mut routes: Vec<Bytes> = response
            .values(HeaderName::RecordRoute)
            .map(owned)
            .collect();
        routes.reverse();
        let dialog = Self {
            call_id: shared(request, HeaderName::CallId)?,
            local_tag: tag_of(&from),
            remote_tag: tag_of(&to),
            flow,
            contact,
            local_party: from.as_bytes().clone(),
            remote_party: to.as_bytes().clone(),
            remote_target: target,
            routes,
            named: None,
            local_cseq: request.cseq().ok()?.number,
            remote_cseq: None,
        };
        let mut dialog = dialog.past_other_hosts().naming();
        if is_silent && dialog.routes.is_empty() {
            // The target is our Request-URI, whose way the INVITE has taken.
            dialog.named = None;
        }
        Some(dialog)
    }

    /// The dialog of a process that is gone, over another path and with our Contact on it.
    pub(crate) fn restored(checkpoint: DialogCheckpoint, flow: Flow, contact: Bytes) -> Self {
        Self {
            call_id: checkpoint.call_id,
            local_tag: checkpoint.local_tag,
            remote_tag: checkpoint.remote_tag,
            flow: flow.unconnected(),
            contact,
            local_party: checkpoint.local_party,
            remote_party: checkpoint.remote_party,
            remote_target: checkpoint.remote_target,
            routes: checkpoint.routes,
            named: None,
            // The next request has the number after it.
            local_cseq: checkpoint.local_cseq.saturating_add(CSEQ_GAP - 1),
            remote_cseq: checkpoint.remote_cseq,
        }
        .naming()
    }

    /// The dialog as plain data.
    pub(crate) fn checkpoint(
        &self,
        (allows_refer, allows_update): (bool, bool),
    ) -> DialogCheckpoint {
        DialogCheckpoint {
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
            remote_tag: self.remote_tag.clone(),
            local_party: self.local_party.clone(),
            remote_party: self.remote_party.clone(),
            remote_target: self.remote_target.clone(),
            contact: self.contact.clone(),
            routes: self.routes.clone(),
            local_cseq: self.local_cseq,
            remote_cseq: self.remote_cseq,
            transport: self.flow.transport,
            local: self.flow.local,
            remote: self.flow.remote,
            allows_refer,
            allows_update,
        }
    }

    /// The connection that the INVITE went over leads to the next hop only if that is the same host:
    /// a proxy that did not record its route is passed by.
    fn past_other_hosts(mut self) -> Self {
        let base = self.flow.unconnected();
        let next = self.next_hop().map(|hop| toward(base, &hop));
        if next.is_some_and(|next| next.remote.ip() != base.remote.ip()) {
            self.flow = base;
        }
        self
    }

    /// Whether a message with these identifiers belongs to the dialog.
    pub(crate) fn is(&self, call_id: &[u8], remote_tag: &[u8]) -> bool {
        self.call_id == call_id && self.remote_tag == remote_tag
    }

    /// Accepts the sequence number of a request other than ACK and CANCEL, RFC 3261 §12.2.2.
    pub(crate) fn advance(&mut self, number: u32) -> Result<(), OutOfOrder> {
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return Err(OutOfOrder);
        }
        self.remote_cseq = Some(number);
        Ok(())
    }

    /// Takes the remote target of a target refresh, RFC 3261 §12.2.2.
    pub(crate) fn refresh(&mut self, message: &Message) {
        if let Ok(Some(contact)) = message.contact() {
            self.remote_target = contact.uri().as_bytes().clone();
            self.name_next_hop();
        }
    }

    /// The early dialog is confirmed by the response that made `other`: that one's routes and target
    /// count, RFC 3261 §13.2.2.4.
    pub(crate) fn confirm(&mut self, other: Self) {
        self.routes = other.routes;
        self.remote_target = other.remote_target;
        self.remote_party = other.remote_party;
        self.name_next_hop();
    }

    /// Requests of ours have been sent in the dialog up to this number.
    pub(crate) fn skip_to(&mut self, number: u32) {
        self.local_cseq = self.local_cseq.max(number);
    }

    /// The next sequence number of our requests.
    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.local_cseq
    }

    /// The sequence number of our latest request.
    pub(crate) const fn last_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// The beginning of a request in the dialog, without a Via, RFC 3261 §12.2.1.1.
    pub(crate) fn request(&self, method: &Method, cseq: u32, via: &[u8]) -> Builder {
        let (uri, routes) = self.request_route();
        let mut builder = Builder::request(method, &uri).field("Via", via);
        for route in routes {
            builder = builder.field("Route", route);
        }
        builder
            .field("Max-Forwards", "70")
            .field("From", &self.local_party)
            .field("To", &self.remote_party)
            .field("Call-ID", &self.call_id)
            .field("CSeq", format!("{cseq} {method}"))
    }

    /// The Request-URI of our requests.
    pub(crate) fn request_uri(&self) -> Bytes {
        self.request_route().0
    }

    /// The Request-URI and the Route values: loose or, by the first route, strict.
    fn request_route(&self) -> (Bytes, Vec<Bytes>) {
        let first = self
            .routes
            .first()
            .and_then(|route| NameAddr::parse(route.clone()).ok());
        match first {
            Some(first) if first.uri().param("lr").is_none() => {
                let uri = first.uri().without_headers().without_param("method");
                let mut routes: Vec<Bytes> = self.routes.iter().skip(1).cloned().collect();
                routes.push([b"<", &self.remote_target[..], b">"].concat().into());
                (uri.as_bytes().clone(), routes)
            }
            Some(_) | None => (self.remote_target.clone(), self.routes.clone()),
        }
    }

    /// The URI that decides where our next request goes, RFC 3261 §8.1.2.
    fn next_hop(&self) -> Option<Uri> {
        match self.routes.first() {
            Some(route) => NameAddr::parse(route.clone())
                .ok()
                .map(|addr| addr.uri().clone()),
            None => Uri::from_bytes(self.remote_target.clone()).ok(),
        }
    }

    fn naming(mut self) -> Self {
        self.name_next_hop();
        self
    }

    /// Notes whether the next hop is a host by name, and forgets where another one was.
    fn name_next_hop(&mut self) {
        let name = self.next_hop().filter(|hop| hop.host_ip().is_none());
        let uri = name.map(|hop| hop.as_bytes().clone());
        if self.named.as_ref().map(|named| &named.uri) != uri.as_ref() {
            self.named = uri.map(|uri| Named {
                uri,
                asked: false,
                flows: Vec::new(),
            });
        }
    }

    /// The next hop's URI, where the shell has not been asked yet where that host is.
    pub(crate) fn ask(&mut self) -> Option<Bytes> {
        let named = self.named.as_mut().filter(|named| !named.asked)?;
        named.asked = true;
        Some(named.uri.clone())
    }

    /// Takes where the host of a next hop is; `false`: that is not the next hop. A host that has the
    /// address that the dialog has been with is still reached there: another address of its name may
    /// be another machine, which does not know the dialog.
    pub(crate) fn locate(&mut self, uri: &Bytes, flows: Vec<Flow>, placed: bool) -> bool {
        let base = self.flow;
        let Some(named) = self.named.as_mut().filter(|named| named.uri == *uri) else {
            return false;
        };
        named.flows = flows
            .into_iter()
            .filter(|flow| reachable(flow.remote.ip(), base))
            .map(|flow| Flow {
                local: base.local,
                ..flow.unconnected()
            })
            .collect();
        let is_same = |flow: &Flow| flow.remote.ip() == base.remote.ip();
        named.flows.sort_by_key(|flow| !is_same(flow));
        // The connection of our INVITE leads to a proxy that did not record its route.
        if placed && named.flows.first().is_some_and(|first| !is_same(first)) {
            self.flow = self.flow.unconnected();
        }
        true
    }

    /// A path on which a request could not be sent is not tried again where the next hop has others;
    /// the next one, RFC 3263 §4.3.
    pub(crate) fn past(&mut self, failed: Flow) -> Option<Flow> {
        let named = self.named.as_mut()?;
        let before = named.flows.len();
        let is_it =
            |flow: &Flow| (flow.transport, flow.remote) == (failed.transport, failed.remote);
        named.flows.retain(|flow| !is_it(flow));
        let left = named.flows.first().copied();
        left.filter(|_| named.flows.len() < before)
    }

    /// Whether the host of the next hop was found at an address.
    pub(crate) fn is_located_at(&self, ip: IpAddr) -> bool {
        let flows = self.named.iter().flat_map(|named| &named.flows);
        flows
            .map(|flow| flow.remote.ip().to_canonical())
            .any(|known| known == ip.to_canonical())
    }

    /// The flow of our next request: the dialog's own connection, else the address of the next hop,
    /// else where its messages came from.
    pub(crate) fn next_flow(&self) -> Flow {
        if self.flow.connection.is_some() {
            return self.flow;
        }
        self.flow_without_connection()
    }

    /// The flow of our next request if the dialog's connection is gone.
    pub(crate) fn flow_without_connection(&self) -> Flow {
        let flow = self.flow.unconnected();
        let found = self.named.as_ref().and_then(|named| named.flows.first());
        match (found, self.next_hop()) {
            (Some(found), _) => *found,
            (None, Some(hop)) => toward(flow, &hop),
            (None, None) => flow,
        }
    }

    /// The connection is no more: the next request opens one to the next hop.
    pub(crate) fn disconnect(&mut self) {
        self.flow = self.flow.unconnected();
    }

    /// The address in the peer's Contact, where it is a literal one.
    pub(crate) fn target_ip(&self) -> Option<IpAddr> {
        Uri::from_bytes(self.remote_target.clone()).ok()?.host_ip()
    }
}

/// The path from where `base` is to what `hop` names. Names are not resolved here: they stay with `base`.
pub(crate) fn toward(base: Flow, hop: &Uri) -> Flow {
    let transport = match hop.param("transport") {
        Some(name) if name.eq_ignore_ascii_case(b"tcp") => Transport::Tcp,
        Some(name) if name.eq_ignore_ascii_case(b"tls") => Transport::Tls,
        Some(name) if name.eq_ignore_ascii_case(b"udp") && !base.transport.reliable() => {
            Transport::Udp
        }
        Some(_) | None => base.transport,
    };
    let default_port = if transport == Transport::Tls {
        SIP_PORT + 1
    } else {
        SIP_PORT
    };
    let port = hop.port().unwrap_or(default_port);
    let remote = match hop.host_ip() {
        Some(ip) if reachable(ip, base) => SocketAddr::new(ip, port),
        Some(_) | None if transport.reliable() => SocketAddr::new(base.remote.ip(), port),
        Some(_) | None => base.remote,
    };
    Flow {
        transport,
        local: base.local,
        remote,
        connection: None,
        // Another host must prove itself by its own address.
        server_name: base.server_name.filter(|_| remote.ip() == base.remote.ip()),
    }
}

/// Whether an address that a peer wrote can be meant for us: not unspecified, of the family that we
/// speak with it, and not private while the peer itself is public (it is behind a NAT then).
fn reachable(ip: IpAddr, base: Flow) -> bool {
    let ip = ip.to_canonical();
    let remote = base.remote.ip().to_canonical();
    !ip.is_unspecified()
        && ip.is_ipv4() == remote.is_ipv4()
        && (!is_private(ip) || is_private(remote))
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// The tag of an address, empty where it has none.
pub(crate) fn tag_of(address: &NameAddr) -> Bytes {
    address
        .tag()
        .map(Bytes::copy_from_slice)
        .unwrap_or_default()
}

/// An address value with our tag.
pub(crate) fn tagged(value: &[u8], tag: &[u8]) -> Bytes {
    [value, b";tag=", tag].concat().into()
}

/// The first field of a name, as bytes of its own.
pub(crate) fn shared(message: &Message, name: HeaderName<'_>) -> Option<Bytes> {
    message.header(name).map(owned)
}

fn owned(value: std::borrow::Cow<'_, [u8]>) -> Bytes {
    Bytes::from(value.into_owned())
}
