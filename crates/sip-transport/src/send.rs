//! Sending: the right socket or connection for a payload, and what becomes of it when there is none.

use crate::connections::{Moved, Queued, Waiting};
use crate::driver::Driver;
use crate::listen::Listen;
use crate::oversize::Way;
use crate::tap::Direction;
use crate::tcp;
use bytes::Bytes;
use sip_core::{Flow, Transport};
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
            Transport::Tcp => self.write(
                now,
                Waiting {
                    flow,
                    payload,
                    moved: None,
                },
            ),
            Transport::Tls => self.failed.push((flow, payload)),
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
        let Some(connection) = self.connections.find(&message.flow) else {
            self.open(now, message);
            return;
        };
        let (id, local, remote) = (connection.id, connection.local, connection.remote);
        match connection.writer.try_send(message.on_stream().clone()) {
            Ok(()) => {
                let flow = Flow {
                    transport: Transport::Tcp,
                    local,
                    remote,
                    connection: Some(id),
                    server_name: None,
                };
                tracing::trace!(%flow, length = message.on_stream().len(), "sent");
                self.taps
                    .copy(now, flow, Direction::Out, message.on_stream());
            }
            Err(_) => {
                tracing::debug!(%remote, "a connection does not take what is sent, it is closed");
                self.close(now, id);
                self.give_up(now, message);
            }
        }
    }

    fn open(&mut self, now: Now, message: Waiting) {
        if self.connections.len() >= self.options.max_connections {
            self.give_up(now, message);
            return;
        }
        let remote = message.flow.remote;
        match self.connections.wait(message) {
            Queued::Waits => {}
            Queued::Open => {
                self.lines.spawn(tcp::open(
                    remote,
                    self.options.connect_timeout,
                    self.to_self.clone(),
                ));
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
