//! The life of connections as the driver sees it: made, opened, proven, given up, closed.

use crate::connections::{Connection, Peer};
use crate::driver::Driver;
use crate::line::{Around, Line};
use crate::stream::Stream;
use crate::tally::Count;
use rustls::pki_types::CertificateDer;
use sip_core::{ConnectionId, Flow, Input, Transport};
use sip_message::{Message, ParseError};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use timebase::Now;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// The port of TLS where a Via names none (RFC 3261 §18.2.2).
const TLS_PORT: u16 = 5061;

impl Driver {
    /// A connection was made to us. Where there are too many, the oldest that has not said anything
    /// whole yet makes room for it.
    pub(crate) fn accepted(
        &mut self,
        now: Now,
        transport: Transport,
        stream: TcpStream,
        remote: SocketAddr,
    ) {
        self.tally.count(Count::Accepted);
        let source = remote.ip();
        let many = self.connections.of_source(source) >= self.options.max_connections_per_source;
        let full = self.connections.len() >= self.options.max_connections;
        if (many && !self.make_room(now, Some(source)))
            || (!many && full && !self.make_room(now, None))
        {
            self.tally.count(Count::Refused);
            self.note(now, source, "too many connections, a new one is closed");
            return;
        }
        let stream = match transport {
            Transport::Udp | Transport::Tcp => Stream::Plain(stream),
            Transport::Tls => {
                let server = self.options.tls.as_ref().and_then(|tls| tls.server.clone());
                let Some(server) = server else {
                    tracing::warn!(%remote, "a TLS connection without a certificate of ours, it is closed");
                    return;
                };
                Stream::Accepted(stream, server)
            }
        };
        let peer = Peer {
            transport,
            remote,
            name: None,
        };
        self.adopt(stream, peer, true);
    }

    /// Gives up the oldest connection that has not delivered a message, of a source or of all.
    pub(crate) fn make_room(&mut self, now: Now, source: Option<IpAddr>) -> bool {
        let Some(id) = self.connections.least_proven(source) else {
            return false;
        };
        let given_up = self.connections.get(id).map(|found| found.peer.remote.ip());
        self.tally.count(Count::Refused);
        self.close(now, id);
        if let Some(source) = given_up {
            self.note(
                now,
                source,
                "too many connections, the oldest without a message is closed",
            );
        }
        true
    }

    /// A log line about a source, at most one a minute.
    pub(crate) fn note(&mut self, now: Now, source: IpAddr, what: &str) {
        if self.lines_of_log.may(now, source) {
            tracing::warn!(%source, "{what}");
        }
    }

    fn adopt(&mut self, stream: Stream, peer: Peer, accepted: bool) -> Option<ConnectionId> {
        let own = stream.socket().local_addr().ok()?.ip();
        let local = self
            .addresses
            .stream_local(peer.transport, peer.remote, own);
        let (writer, queue) = mpsc::channel(self.options.write_queue);
        let id = self.connections.next_id();
        let connection = Connection::new(id, peer, local, accepted, writer);
        let around = Around {
            options: self.options.clone(),
            tally: Arc::clone(&self.tally),
            driver: self.to_self.clone(),
        };
        let line = Line::new(&connection, queue, around);
        self.connections.insert(connection);
        self.lines.spawn(line.serve(stream));
        self.tally.connections(self.connections.len());
        Some(id)
    }

    pub(crate) fn opened(&mut self, now: Now, peer: &Peer, result: io::Result<Stream>) {
        let waiting = self.connections.opened(peer);
        let adopted = match result {
            Ok(stream) => self.adopt(stream, peer.clone(), false),
            Err(error) => {
                let remote = peer.remote;
                if peer.name.is_some() && error.kind() != io::ErrorKind::ConnectionRefused {
                    self.tally.count(Count::Handshake);
                    self.note(now, remote.ip(), &format!("no TLS connection: {error}"));
                } else {
                    tracing::debug!(%remote, %error, "cannot connect");
                }
                None
            }
        };
        for message in waiting {
            match adopted {
                Some(_) => self.write(now, message),
                None => self.give_up(now, message),
            }
        }
    }

    /// The client of a TLS connection has shown a certificate that our authorities vouch for.
    pub(crate) fn proven(&mut self, id: ConnectionId, certificate: CertificateDer<'static>) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.certificate = Some(certificate);
        }
    }

    pub(crate) fn unshaken(&mut self, now: Now, flow: Flow, error: &io::Error) {
        self.tally.count(Count::Handshake);
        self.note(now, flow.remote.ip(), &format!("no TLS handshake: {error}"));
    }

    /// A whole message came over a connection.
    pub(crate) fn heard(&mut self, id: ConnectionId, flow: Flow, message: &Message) {
        self.connections.proven(id);
        if !message.is_request() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.unanswered.came(message);
            }
            return;
        }
        if flow.transport == Transport::Tls
            && let Ok(via) = message.via()
            && via.params().get("alias").is_some()
        {
            let port = via.port().unwrap_or(TLS_PORT);
            self.connections
                .alias(id, SocketAddr::new(flow.remote.ip(), port));
        }
    }

    /// A peer that broke the framing gets its answer, where one can be built, and loses the connection.
    pub(crate) fn broken(&mut self, now: Now, flow: Flow, error: ParseError) {
        tracing::debug!(%flow, %error, "framing broken");
        let message = Err(error);
        self.endpoint
            .handle_input(now, Input::Received { flow, message });
        self.perform();
        if let Some(id) = flow.connection {
            self.close(now, id);
        }
    }

    /// A message took too long; whoever sends a byte now and then holds no connection open.
    pub(crate) fn slow(&mut self, now: Now, flow: Flow) {
        self.tally.count(Count::Slow);
        let what = "a message did not come in time, its connection is closed";
        self.note(now, flow.remote.ip(), what);
    }

    /// Nothing has come for long: the connection goes, unless a dialog or a transaction is on it.
    pub(crate) fn idle(&mut self, now: Now, id: ConnectionId) {
        if self.endpoint.uses(id) {
            return;
        }
        self.tally.count(Count::Idle);
        self.close(now, id);
    }

    /// Forgets a connection and tells the endpoint, also what was written on it and is unanswered.
    pub(crate) fn close(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.remove(id) else {
            return;
        };
        self.tally.connections(self.connections.len());
        let closed = Input::ConnectionClosed {
            connection: id,
            remote: connection.peer.remote,
        };
        self.endpoint.handle_input(now, closed);
        for lost in connection.unanswered.lost() {
            self.give_up(now, lost);
        }
    }
}
