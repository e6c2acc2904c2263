//! TCP: accepting, opening, and the one task that reads and writes a connection.

use crate::connections::Connection;
use crate::driver::{Arrival, Event};
use crate::options::TransportOptions;
use bytes::{Bytes, BytesMut};
use sip_core::{ConnectionId, Flow, Transport};
use sip_message::{Frame, Message, ParseError, StreamDecoder};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Answer to a keep-alive (RFC 5626 §3.5.1).
const PONG: Bytes = Bytes::from_static(b"\r\n");
/// Room for one read.
const READ: usize = 16 << 10;
/// How long what is still queued may take to be written when a connection ends.
const FLUSH: Duration = Duration::from_secs(5);
/// Pause after the system refused to accept, for want of file handles for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the driver is gone.
pub(crate) async fn accept(listener: TcpListener, driver: mpsc::Sender<Event>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if driver
                    .send(Event::Accepted { stream, remote })
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Opens a connection and tells the driver how that went.
pub(crate) async fn open(remote: SocketAddr, patience: Duration, driver: mpsc::Sender<Event>) {
    let result = match timeout(patience, TcpStream::connect(remote)).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    // A driver that is gone needs no connection.
    let _ = driver.send(Event::Opened { remote, result }).await;
}

/// What a connection's task needs besides the stream.
#[derive(Debug)]
pub(crate) struct Line {
    id: ConnectionId,
    flow: Flow,
    options: TransportOptions,
    driver: mpsc::Sender<Event>,
    pongs: mpsc::WeakSender<Bytes>,
}

/// Prepares a connection: its place in the table, and the task that serves it.
pub(crate) fn adopt(
    id: ConnectionId,
    (stream, remote, local): (TcpStream, SocketAddr, SocketAddr),
    options: &TransportOptions,
    driver: mpsc::Sender<Event>,
) -> (Connection, impl Future<Output = ()> + Send + use<>) {
    let (writer, queue) = mpsc::channel(options.write_queue);
    let flow = Flow {
        transport: Transport::Tcp,
        local,
        remote,
        connection: Some(id),
        server_name: None,
    };
    let line = Line {
        id,
        flow,
        options: options.clone(),
        driver,
        pongs: writer.downgrade(),
    };
    (
        Connection {
            id,
            remote,
            local,
            writer,
        },
        line.serve(stream, queue),
    )
}

/// Why reading ended.
enum Finished {
    /// End of stream, an error, silence, or no driver any more.
    Gone,
    /// The peer broke the framing; what is queued is still written, an answer to it for one.
    Broken,
}

impl Line {
    async fn serve(self, stream: TcpStream, queue: mpsc::Receiver<Bytes>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, flow = %self.flow, "cannot switch off coalescing");
        }
        let (read, write) = stream.into_split();
        let mut writing = Box::pin(write_all(write, queue));
        let finished = tokio::select! {
            finished = self.read(read) => Some(finished),
            () = &mut writing => None,
        };
        if let Some(Finished::Broken) = finished {
            // The driver lets go of the queue once it has answered.
            let _ = timeout(FLUSH, writing).await;
        }
        tracing::debug!(flow = %self.flow, "connection closed");
        // A driver that is gone has no table to clear.
        let _ = self.driver.send(Event::Closed(self.id)).await;
    }

    async fn read(&self, mut stream: OwnedReadHalf) -> Finished {
        let mut decoder = StreamDecoder::new(self.options.limits);
        let mut buffer = BytesMut::with_capacity(READ);
        let mut patience = self.options.first_message_timeout;
        loop {
            buffer.reserve(READ);
            match timeout(patience, stream.read_buf(&mut buffer)).await {
                Ok(Ok(1..)) => {
                    decoder.push(&buffer);
                    buffer.clear();
                }
                Ok(Ok(0) | Err(_)) | Err(_) => return Finished::Gone,
            }
            let mut batch = Vec::new();
            let framing = self.frames(&mut decoder, &mut batch);
            if !batch.is_empty() {
                patience = self.options.idle_timeout;
                if self.driver.send(Event::Arrived(batch)).await.is_err() {
                    return Finished::Gone;
                }
            }
            if let Err(error) = framing {
                let broken = Event::Broken {
                    flow: self.flow,
                    error,
                };
                return if self.driver.send(broken).await.is_ok() {
                    Finished::Broken
                } else {
                    Finished::Gone
                };
            }
        }
    }

    /// Moves what is whole into `batch` and answers keep-alives.
    fn frames(
        &self,
        decoder: &mut StreamDecoder,
        batch: &mut Vec<Arrival>,
    ) -> Result<(), ParseError> {
        while let Some(frame) = decoder.next().map_err(|broken| broken.error)? {
            match frame {
                Frame::Ping => self.pong(),
                Frame::Message(message) => {
                    batch.push(Arrival {
                        flow: self.flow,
                        bytes: bytes_of(&message),
                        message,
                    });
                }
            }
        }
        Ok(())
    }

    fn pong(&self) {
        if let Some(queue) = self.pongs.upgrade() {
            // A full queue shows the peer by its traffic that we are here.
            let _ = queue.try_send(PONG);
        }
    }
}

/// The bytes of a framed message, as far as they are known.
fn bytes_of(message: &Result<Message, ParseError>) -> Bytes {
    match message {
        Ok(message) => message.bytes().clone(),
        Err(error) => error
            .salvage
            .as_ref()
            .map(|message| message.bytes().clone())
            .unwrap_or_default(),
    }
}

/// Writes what is queued until the queue is let go of, or the peer does not take it.
async fn write_all(mut stream: OwnedWriteHalf, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(message) = queue.recv().await {
        if stream.write_all(&message).await.is_err() {
            return;
        }
    }
    // The peer may be gone already.
    let _ = stream.shutdown().await;
}
