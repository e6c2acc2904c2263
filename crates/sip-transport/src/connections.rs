//! The table of open and opening connections.

use crate::names;
use crate::tally::source_of;
use crate::unanswered::Unanswered;
use bytes::Bytes;
use rustls::pki_types::{CertificateDer, ServerName};
use sip_core::{ConnectionId, Flow, Transport};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use tokio::sync::mpsc;

/// Messages that may wait for one connection to open.
const WAITING: usize = 256;
/// Aliases that one connection may have.
const ALIASES: usize = 16;

/// Where a connection leads to: connections to one address as two names are two (RFC 5922 §7.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
    /// Whom the peer has to prove to be; TLS only.
    pub(crate) name: Option<ServerName<'static>>,
}

/// A message waiting for a connection.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Where the endpoint sent it.
    pub(crate) flow: Flow,
    /// What it sent there.
    pub(crate) payload: Bytes,
    /// What to write on a stream, with the branch, when the endpoint meant UDP (RFC 3261 §18.1.1).
    pub(crate) moved: Option<Moved>,
}

impl Waiting {
    /// The bytes to be written on the stream.
    pub(crate) fn on_stream(&self) -> &Bytes {
        self.moved
            .as_ref()
            .map_or(&self.payload, |moved| &moved.rewritten)
    }
}

/// A request moved from UDP to a stream.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) rewritten: Bytes,
    pub(crate) branch: Bytes,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) peer: Peer,
    pub(crate) local: SocketAddr,
    /// Whether the peer made it.
    pub(crate) accepted: bool,
    pub(crate) writer: mpsc::Sender<Bytes>,
    pub(crate) unanswered: Unanswered,
    /// Who the peer of a TLS connection made to us has proven to be.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    aliases: Vec<SocketAddr>,
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        peer: Peer,
        local: SocketAddr,
        accepted: bool,
        writer: mpsc::Sender<Bytes>,
    ) -> Self {
        Self {
            id,
            peer,
            local,
            accepted,
            writer,
            unanswered: Unanswered::default(),
            certificate: None,
            aliases: Vec::new(),
        }
    }

    /// The path of what is sent and received on it.
    pub(crate) const fn flow(&self) -> Flow {
        Flow {
            transport: self.peer.transport,
            local: self.local,
            remote: self.peer.remote,
            connection: Some(self.id),
            server_name: None,
        }
    }
}

/// What became of a message that should wait.
#[derive(Debug)]
pub(crate) enum Queued {
    /// It waits; the connection is being opened already.
    Waits,
    /// It waits, as the first: open the connection.
    Open,
    /// Too many wait.
    Full(Waiting),
}

/// Connections that one source has made to us.
#[derive(Debug, Default)]
struct Source {
    open: usize,
    /// Those that have not delivered a message yet, the oldest first.
    unproven: BTreeSet<ConnectionId>,
}

/// Open connections by id, peer, alias and source, and messages for those being opened.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    last: u64,
    open: HashMap<ConnectionId, Connection>,
    by_peer: HashMap<Peer, ConnectionId>,
    aliases: HashMap<SocketAddr, ConnectionId>,
    sources: HashMap<IpAddr, Source>,
    unproven: BTreeSet<ConnectionId>,
    opening: HashMap<Peer, Vec<Waiting>>,
}

impl Connections {
    pub(crate) fn next_id(&mut self) -> ConnectionId {
        self.last += 1;
        ConnectionId(self.last)
    }

    /// Connections that exist or are about to.
    pub(crate) fn len(&self) -> usize {
        self.open.len() + self.opening.len()
    }

    /// Connections that a source has made to us.
    pub(crate) fn of_source(&self, source: IpAddr) -> usize {
        self.sources
            .get(&source_of(source))
            .map_or(0, |source| source.open)
    }

    /// The oldest connection without a message so far: of a source, or of all.
    pub(crate) fn least_proven(&self, source: Option<IpAddr>) -> Option<ConnectionId> {
        let unproven = match source {
            Some(source) => &self.sources.get(&source_of(source))?.unproven,
            None => &self.unproven,
        };
        unproven.first().copied()
    }

    pub(crate) fn insert(&mut self, connection: Connection) {
        let id = connection.id;
        if connection.accepted {
            let source = self
                .sources
                .entry(source_of(connection.peer.remote.ip()))
                .or_default();
            source.open += 1;
            source.unproven.insert(id);
            self.unproven.insert(id);
        }
        // A TLS connection made to us proves nothing about who listens at the peer's address.
        if !connection.accepted || connection.peer.transport == Transport::Tcp {
            self.by_peer.insert(connection.peer.clone(), id);
        }
        self.open.insert(id, connection);
    }

    /// A connection that has delivered a whole message is not given up for a newer one.
    pub(crate) fn proven(&mut self, id: ConnectionId) {
        if self.unproven.remove(&id)
            && let Some(connection) = self.open.get(&id)
            && let Some(source) = self
                .sources
                .get_mut(&source_of(connection.peer.remote.ip()))
        {
            source.unproven.remove(&id);
        }
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.open.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.open.get_mut(&id)
    }

    /// An open connection to a peer: one to that address by that name, or one from there whose
    /// certificate has the name (RFC 5923 §8).
    pub(crate) fn find(&self, peer: &Peer) -> Option<&Connection> {
        if let Some(id) = self.by_peer.get(peer) {
            return self.open.get(id);
        }
        let connection = self.open.get(self.aliases.get(&peer.remote)?)?;
        let name = peer.name.as_ref()?;
        let certificate = connection.certificate.as_ref()?;
        (peer.transport == Transport::Tls && names::covers(certificate, name)).then_some(connection)
    }

    /// The peer asks to be called back over the connection that it made; honoured only where it has
    /// proven by certificate who it is (RFC 5923 §9.3).
    pub(crate) fn alias(&mut self, id: ConnectionId, listens: SocketAddr) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        let proven = connection.accepted && connection.certificate.is_some();
        if proven && !connection.aliases.contains(&listens) && connection.aliases.len() < ALIASES {
            connection.aliases.push(listens);
            self.aliases.insert(listens, id);
        }
    }

    /// Forgets a connection; its writer ends after what it holds.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.open.remove(&id)?;
        if self.by_peer.get(&connection.peer) == Some(&id) {
            self.by_peer.remove(&connection.peer);
        }
        for alias in &connection.aliases {
            if self.aliases.get(alias) == Some(&id) {
                self.aliases.remove(alias);
            }
        }
        if connection.accepted {
            self.unproven.remove(&id);
            let key = source_of(connection.peer.remote.ip());
            if let Some(source) = self.sources.get_mut(&key) {
                source.unproven.remove(&id);
                source.open -= 1;
                if source.open == 0 {
                    self.sources.remove(&key);
                }
            }
        }
        Some(connection)
    }

    pub(crate) fn wait(&mut self, peer: &Peer, waiting: Waiting) -> Queued {
        match self.opening.get_mut(peer) {
            Some(queue) if queue.len() >= WAITING => Queued::Full(waiting),
            Some(queue) => {
                queue.push(waiting);
                Queued::Waits
            }
            None => {
                self.opening.insert(peer.clone(), vec![waiting]);
                Queued::Open
            }
        }
    }

    /// Takes the messages that waited for a connection to `peer`.
    pub(crate) fn opened(&mut self, peer: &Peer) -> Vec<Waiting> {
        self.opening.remove(peer).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(remote: &str) -> Peer {
        Peer {
            transport: Transport::Tcp,
            remote: remote.parse().unwrap(),
            name: None,
        }
    }

    fn tls(remote: &str, name: &str) -> Peer {
        Peer {
            transport: Transport::Tls,
            name: Some(ServerName::try_from(name.to_owned()).unwrap()),
            ..tcp(remote)
        }
    }

    fn open(connections: &mut Connections, peer: Peer, accepted: bool) -> ConnectionId {
        let id = connections.next_id();
        let (writer, _) = mpsc::channel(1);
        let local = "127.0.0.1:5060".parse().unwrap();
        connections.insert(Connection::new(id, peer, local, accepted, writer));
        id
    }

    fn found(connections: &Connections, peer: &Peer) -> Option<ConnectionId> {
        connections.find(peer).map(|found| found.id)
    }

    #[test]
    fn peer_is_found_by_its_latest_connection_until_that_is_gone() {
        let mut connections = Connections::default();
        let peer = tcp("127.0.0.1:7001");
        let first = open(&mut connections, peer.clone(), true);
        let second = open(&mut connections, peer.clone(), false);
        assert_eq!(found(&connections, &peer), Some(second));
        connections.remove(first);
        assert_eq!(found(&connections, &peer), Some(second));
        connections.remove(second);
        assert_eq!(found(&connections, &peer), None);
    }

    #[test]
    fn tls_connection_is_reused_only_under_the_name_it_was_opened_for() {
        let mut connections = Connections::default();
        let opened = open(&mut connections, tls("127.0.0.1:5061", "a.example"), false);
        assert_eq!(
            found(&connections, &tls("127.0.0.1:5061", "a.example")),
            Some(opened)
        );
        assert_eq!(
            found(&connections, &tls("127.0.0.1:5061", "b.example")),
            None
        );
        assert_eq!(found(&connections, &tcp("127.0.0.1:5061")), None);
    }

    #[test]
    fn alias_needs_a_certificate_with_the_name_that_is_called() {
        let mut connections = Connections::default();
        let unproven = Peer {
            name: None,
            ..tls("127.0.0.1:40000", "unused.example")
        };
        let id = open(&mut connections, unproven, true);
        let listens = "127.0.0.1:5061".parse().unwrap();
        let called = tls("127.0.0.1:5061", "a.example");
        connections.alias(id, listens);
        assert_eq!(found(&connections, &called), None);
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        connections.get_mut(id).unwrap().certificate = Some(made.cert.der().clone());
        connections.alias(id, listens);
        assert_eq!(found(&connections, &called), Some(id));
        assert_eq!(
            found(&connections, &tls("127.0.0.1:5061", "b.example")),
            None
        );
        connections.remove(id);
        assert_eq!(found(&connections, &called), None);
    }

    #[test]
    fn oldest_connection_without_a_message_is_the_first_to_go() {
        let mut connections = Connections::default();
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        let first = open(&mut connections, tcp("192.0.2.1:1000"), true);
        let second = open(&mut connections, tcp("192.0.2.1:1001"), true);
        let other = open(&mut connections, tcp("192.0.2.2:1000"), true);
        assert_eq!(connections.of_source(source), 2);
        assert_eq!(connections.least_proven(Some(source)), Some(first));
        connections.proven(first);
        assert_eq!(connections.least_proven(Some(source)), Some(second));
        connections.remove(second);
        assert_eq!(connections.least_proven(Some(source)), None);
        assert_eq!(connections.least_proven(None), Some(other));
        assert_eq!(connections.of_source(source), 1);
    }

    #[test]
    fn only_the_first_waiting_message_opens_a_connection_and_the_queue_is_bounded() {
        let mut connections = Connections::default();
        let peer = tcp("127.0.0.1:7001");
        let waiting = || Waiting {
            flow: Flow::udp("127.0.0.1:5060".parse().unwrap(), peer.remote),
            payload: Bytes::new(),
            moved: None,
        };
        assert!(matches!(connections.wait(&peer, waiting()), Queued::Open));
        for _ in 1..WAITING {
            assert!(matches!(connections.wait(&peer, waiting()), Queued::Waits));
        }
        assert!(matches!(
            connections.wait(&peer, waiting()),
            Queued::Full(_)
        ));
        assert_eq!(connections.opened(&peer).len(), WAITING);
        assert!(matches!(connections.wait(&peer, waiting()), Queued::Open));
    }
}
