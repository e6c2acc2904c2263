//! Sending: the right socket or connection for a payload, and what becomes of it when there is none.

use crate::connections::{Moved, Peer, Queued, Waiting};
use crate::driver::Driver;
use crate::listen::Listen;
use crate::names;
use crate::oversize::Way;
use crate::stream;
use crate::tally::Count;
use crate::tap::Direction;
use bytes::Bytes;
use rustls::pki_types::ServerName;
use sip_core::{ConnectionId, Flow, Transport};
use sip_message::Message;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use timebase::Now;
use tokio::net::UdpSocket;

impl Driver {
    pub(crate) fn transmit(&mut self, now: Now, flow: Flow, payload: Bytes) {
        match flow.transport {
            Transport::Udp => match self.oversize.way(now, &payload) {
                Way::Datagram => self.send_datagram(now, flow, payload),
                Way::Stream { rewritten, branch } => {
                    self.write(
                        now,
                        Waiting {
                            flow,
                            payload,
                            moved: Some(Moved { rewritten, branch }),
                        },
                    );
                }
                Way::Absorbed => {}
            },
            Transport::Tcp | Transport::Tls => self.write(
                now,
                Waiting {
                    flow,
                    payload,
                    moved: None,
                },
            ),
        }
    }

    fn send_datagram(&mut self, now: Now, flow: Flow, payload: Bytes) {
        let Some(socket) = self.socket_for(flow.local) else {
            self.failed.push((flow, payload));
            return;
        };
        match socket.try_send_to(&payload, flow.remote) {
            Ok(_) => {
                tracing::trace!(%flow, length = payload.len(), "sent");
                self.taps.copy(now, flow, Direction::Out, &payload);
            }
            // A full socket loses the datagram as the network may; the transaction sends it again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tracing::debug!(%flow, "the socket is full, a datagram is lost");
            }
            Err(error) => {
                tracing::debug!(%flow, %error, "cannot send");
                self.failed.push((flow, payload));
            }
        }
    }

    /// The socket bound to `local`, else the wildcard one of its port, else any of its family.
    fn socket_for(&self, local: SocketAddr) -> Option<Arc<UdpSocket>> {
        let rank = |listen: &Listen| {
            let bound = listen.address;
            (
                bound != local,
                !(bound.ip().is_unspecified() && bound.port() == local.port()),
            )
        };
        let family = self
            .udp
            .iter()
            .filter(|(listen, _)| listen.address.is_ipv4() == local.is_ipv4());
        family
            .min_by_key(|(listen, _)| rank(listen))
            .map(|(_, socket)| Arc::clone(socket))
    }

    /// Writes to the flow's connection, to another one to the same peer, or opens one.
    pub(crate) fn write(&mut self, now: Now, message: Waiting) {
        let named = message.flow.connection;
        if let Some(id) = named.filter(|id| self.connections.get(*id).is_some()) {
            return self.write_on(now, id, message);
        }
        let Some(peer) = self.peer_of(&message) else {
            tracing::debug!(flow = %message.flow, "nobody knows whom a certificate would have to name");
            return self.give_up(now, message);
        };
        match self.connections.find(&peer).map(|found| found.id) {
            Some(id) => self.write_on(now, id, message),
            None => self.open(now, peer, message),
        }
    }

    /// Who a message is for; none where a TLS peer's name is not known.
    fn peer_of(&self, message: &Waiting) -> Option<Peer> {
        let flow = &message.flow;
        let (transport, name) = match flow.transport {
            Transport::Udp | Transport::Tcp => (Transport::Tcp, None),
            Transport::Tls => (Transport::Tls, Some(self.name_of(flow, &message.payload)?)),
        };
        Some(Peer {
            transport,
            remote: flow.remote,
            name,
        })
    }

    /// Whom a TLS peer must prove to be: the name that the flow was found by, else the host that the
    /// message is for.
    fn name_of(&self, flow: &Flow, payload: &Bytes) -> Option<ServerName<'static>> {
        if let Some(number) = flow.server_name {
            let name = self.addresses.server_names.name(number)?;
            return ServerName::try_from(name.to_string()).ok();
        }
        let message = Message::parse(payload.clone(), &self.options.limits).ok()?;
        names::of_next_hop(&message)
    }

    fn write_on(&mut self, now: Now, id: ConnectionId, message: Waiting) {
        let Some(connection) = self.connections.get_mut(id) else {
            return self.give_up(now, message);
        };
        let flow = connection.flow();
        let bytes = message.on_stream().clone();
        if connection.writer.try_send(bytes.clone()).is_err() {
            tracing::debug!(%flow, "a connection does not take what is sent, it is closed");
            if !connection.writer.is_closed() {
                self.tally.count(Count::Stuck);
            }
            self.close(now, id);
            return self.give_up(now, message);
        }
        // Of what names the connection itself the endpoint knows that it is lost with it.
        if message.flow.connection != Some(id) {
            connection.unanswered.written(message);
        }
        tracing::trace!(%flow, length = bytes.len(), "sent");
        self.taps.copy(now, flow, Direction::Out, &bytes);
    }

    fn open(&mut self, now: Now, peer: Peer, message: Waiting) {
        if self.connections.len() >= self.options.max_connections && !self.make_room(now, None) {
            return self.give_up(now, message);
        }
        match self.connections.wait(&peer, message) {
            Queued::Waits => {}
            Queued::Open => {
                let (options, driver) = (self.options.clone(), self.to_self.clone());
                self.lines.spawn(stream::open(peer, options, driver));
            }
            Queued::Full(message) => self.give_up(now, message),
        }
    }

    /// No connection for it: what was moved there falls back to UDP (RFC 3261 §18.1.1), the rest has failed.
    pub(crate) fn give_up(&mut self, now: Now, message: Waiting) {
        let Waiting {
            flow,
            payload,
            moved,
        } = message;
        match moved {
            Some(moved) => {
                self.oversize.fell_back(&moved.branch);
                self.send_datagram(now, flow, payload);
            }
            None => self.failed.push((flow, payload)),
        }
    }
}
