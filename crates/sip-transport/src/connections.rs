//! The table of open and opening connections.

use bytes::Bytes;
use sip_core::{ConnectionId, Flow};
use std::collections::HashMap;
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// Messages that may wait for one connection to open.
const WAITING: usize = 256;

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
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) writer: mpsc::Sender<Bytes>,
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

/// Open connections by id and by peer, and messages for those being opened.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    last: u64,
    open: HashMap<ConnectionId, Connection>,
    by_remote: HashMap<SocketAddr, ConnectionId>,
    opening: HashMap<SocketAddr, Vec<Waiting>>,
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

    pub(crate) fn insert(&mut self, connection: Connection) {
        self.by_remote.insert(connection.remote, connection.id);
        self.open.insert(connection.id, connection);
    }

    /// The connection of a flow: the one it names, else any to the same peer.
    pub(crate) fn find(&self, flow: &Flow) -> Option<&Connection> {
        let named = flow.connection.and_then(|id| self.open.get(&id));
        named.or_else(|| {
            self.by_remote
                .get(&flow.remote)
                .and_then(|id| self.open.get(id))
        })
    }

    /// Forgets a connection; its writer ends after what it holds.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.open.remove(&id)?;
        if self.by_remote.get(&connection.remote) == Some(&id) {
            self.by_remote.remove(&connection.remote);
        }
        Some(connection)
    }

    pub(crate) fn wait(&mut self, waiting: Waiting) -> Queued {
        let remote = waiting.flow.remote;
        match self.opening.get_mut(&remote) {
            Some(queue) if queue.len() >= WAITING => Queued::Full(waiting),
            Some(queue) => {
                queue.push(waiting);
                Queued::Waits
            }
            None => {
                self.opening.insert(remote, vec![waiting]);
                Queued::Open
            }
        }
    }

    /// Takes the messages that waited for a connection to `remote`.
    pub(crate) fn opened(&mut self, remote: SocketAddr) -> Vec<Waiting> {
        self.opening.remove(&remote).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_core::Transport;

    fn flow(remote: &str, connection: Option<ConnectionId>) -> Flow {
        let local = "127.0.0.1:5060".parse().unwrap();
        Flow {
            transport: Transport::Tcp,
            local,
            remote: remote.parse().unwrap(),
            connection,
            server_name: None,
        }
    }

    fn open(connections: &mut Connections, remote: &str) -> ConnectionId {
        let id = connections.next_id();
        let (writer, _) = mpsc::channel(1);
        let local = "127.0.0.1:5060".parse().unwrap();
        connections.insert(Connection {
            id,
            remote: remote.parse().unwrap(),
            local,
            writer,
        });
        id
    }

    #[test]
    fn flow_finds_the_connection_it_names_else_one_to_the_same_peer() {
        let mut connections = Connections::default();
        let first = open(&mut connections, "127.0.0.1:7001");
        let second = open(&mut connections, "127.0.0.1:7001");
        let found =
            |connections: &Connections, flow: Flow| connections.find(&flow).map(|found| found.id);
        assert_eq!(
            found(&connections, flow("127.0.0.1:7001", Some(first))),
            Some(first)
        );
        assert_eq!(
            found(&connections, flow("127.0.0.1:7001", None)),
            Some(second)
        );
        connections.remove(first);
        assert_eq!(
            found(&connections, flow("127.0.0.1:7001", Some(first))),
            Some(second)
        );
        connections.remove(second);
        assert_eq!(
            found(&connections, flow("127.0.0.1:7001", Some(first))),
            None
        );
    }

    #[test]
    fn only_the_first_waiting_message_opens_a_connection_and_the_queue_is_bounded() {
        let mut connections = Connections::default();
        let waiting = || Waiting {
            flow: flow("127.0.0.1:7001", None),
            payload: Bytes::new(),
            moved: None,
        };
        assert!(matches!(connections.wait(waiting()), Queued::Open));
        for _ in 1..WAITING {
            assert!(matches!(connections.wait(waiting()), Queued::Waits));
        }
        assert!(matches!(connections.wait(waiting()), Queued::Full(_)));
        assert_eq!(
            connections.opened("127.0.0.1:7001".parse().unwrap()).len(),
            WAITING
        );
        assert!(matches!(connections.wait(waiting()), Queued::Open));
    }
}
