//! One reader per UDP socket: drains what is there, parses it, hands the driver a batch.

use crate::addresses::Addresses;
use crate::driver::{Arrival, Event};
use crate::listen::Listen;
use bytes::Bytes;
use sip_core::{Flow, Transport};
use sip_message::{Limits, Message};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Datagrams handed over at once.
const BATCH: usize = 64;
/// The largest datagram there is.
const DATAGRAM: usize = 65_535;

/// Reads until the driver is gone.
pub(crate) async fn read(
    listen: Listen,
    socket: Arc<UdpSocket>,
    addresses: Arc<Addresses>,
    limits: Limits,
    driver: mpsc::Sender<Event>,
) {
    let mut buffer = vec![0; DATAGRAM];
    while socket.readable().await.is_ok() {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => batch.extend(arrival(
                    &buffer[..length],
                    from,
                    listen,
                    &addresses,
                    &limits,
                )),
                // Nothing more, or an ICMP error of an earlier send, which the transactions find out by their timers.
                Err(_) => break,
            }
        }
        if !batch.is_empty() && driver.send(Event::Arrived(batch)).await.is_err() {
            return;
        }
    }
}

/// A parsed datagram; keep-alives (only CR and LF, RFC 5626 §3.5.1) and empty ones are nothing.
fn arrival(
    datagram: &[u8],
    from: SocketAddr,
    listen: Listen,
    addresses: &Addresses,
    limits: &Limits,
) -> Option<Arrival> {
    if datagram
        .iter()
        .all(|byte| matches!(byte, b'\r' | b'\n' | 0))
    {
        return None;
    }
    let local = addresses.facing(listen.address, from.ip());
    let bytes = Bytes::copy_from_slice(datagram);
    let flow = Flow {
        transport: Transport::Udp,
        local,
        remote: from,
        connection: None,
        server_name: None,
    };
    Some(Arrival {
        flow,
        message: Message::parse(bytes.clone(), limits),
        bytes,
    })
}
