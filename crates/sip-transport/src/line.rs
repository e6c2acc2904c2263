//! The one task that reads and writes a connection.

use crate::connections::Connection;
use crate::driver::{Arrival, Event};
use crate::options::TransportOptions;
use crate::pace::{Due, Pace};
use crate::stream::{self, Stream};
use crate::tally::{Count, Tally};
use bytes::{Bytes, BytesMut};
use sip_core::{ConnectionId, Flow};
use sip_message::{Frame, Message, ParseError, StreamDecoder};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsStream};

/// Answer to a keep-alive (RFC 5626 §3.5.1).
const PONG: Bytes = Bytes::from_static(b"\r\n");
/// A keep-alive.
const PING: Bytes = Bytes::from_static(b"\r\n\r\n");
/// Room for one read.
const READ: usize = 16 << 10;
/// How long what is still queued may take to be written when a connection ends.
const FLUSH: Duration = Duration::from_secs(5);
/// How long a peer that says no more may still be answered.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What a connection's task needs besides the stream.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: ConnectionId,
    pub(crate) flow: Flow,
    pub(crate) accepted: bool,
    pub(crate) options: TransportOptions,
    pub(crate) tally: Arc<Tally>,
    pub(crate) driver: mpsc::Sender<Event>,
    writer: mpsc::WeakSender<Bytes>,
    queue: mpsc::Receiver<Bytes>,
}

/// What the tasks around a connection share with it.
#[derive(Debug)]
pub(crate) struct Around {
    pub(crate) options: TransportOptions,
    pub(crate) tally: Arc<Tally>,
    pub(crate) driver: mpsc::Sender<Event>,
}

/// Why reading ended.
enum Finished {
    /// The peer says no more; what is queued is still written, an answer to its last words for one.
    Closed,
    /// An error, a time-out, or no driver any more.
    Gone,
    /// The peer broke the framing; what is queued is still written.
    Broken,
}

impl Line {
    /// The task's half of a connection.
    pub(crate) fn new(
        connection: &Connection,
        queue: mpsc::Receiver<Bytes>,
        around: Around,
    ) -> Self {
        Self {
            id: connection.id,
            flow: connection.flow(),
            accepted: connection.accepted,
            options: around.options,
            tally: around.tally,
            driver: around.driver,
            writer: connection.writer.downgrade(),
            queue,
        }
    }

    /// Serves the connection to its end, from the handshake on.
    pub(crate) async fn serve(mut self, stream: Stream) {
        stream.prepare(self.options.dscp);
        let (id, flow, driver) = (self.id, self.flow, self.driver.clone());
        match stream {
            Stream::Plain(stream) => {
                let (read, write) = stream.into_split();
                self.talk(read, write).await;
            }
            Stream::Secure(stream) => self.talk_securely(*stream).await,
            Stream::Accepted(stream, server) => {
                let acceptor = TlsAcceptor::from(server);
                let handshake = timeout(self.options.handshake_timeout, acceptor.accept(stream));
                let shaken = tokio::select! {
                    shaken = handshake => shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                    // Given up for a newer connection.
                    None = self.queue.recv() => Err(io::ErrorKind::ConnectionAborted.into()),
                };
                match shaken {
                    Ok(stream) => self.talk_securely(stream.into()).await,
                    Err(error) => {
                        // A driver that is gone counts nothing.
                        let _ = driver.send(Event::Unshaken { flow, error }).await;
                    }
                }
            }
        }
        tracing::debug!(%flow, "connection closed");
        // A driver that is gone has no table to clear.
        let _ = driver.send(Event::Closed(id)).await;
    }

    async fn talk_securely(self, stream: TlsStream<TcpStream>) {
        let (_, session) = stream.get_ref();
        tracing::debug!(
            flow = %self.flow,
            version = ?session.protocol_version(),
            suite = ?session.negotiated_cipher_suite().map(|suite| suite.suite()),
            "TLS"
        );
        if self.accepted
            && let Some(certificate) = stream::certificate(&stream)
        {
            let proven = Event::Proven {
                id: self.id,
                certificate,
            };
            if self.driver.send(proven).await.is_err() {
                return;
            }
        }
        let (read, write) = tokio::io::split(stream);
        self.talk(read, write).await;
    }

    async fn talk(mut self, read: impl AsyncRead + Unpin, write: impl AsyncWrite + Unpin) {
        let (_, closed) = mpsc::channel(1);
        let queue = std::mem::replace(&mut self.queue, closed);
        let mut writing = Box::pin(self.write(write, queue));
        let finished = tokio::select! {
            finished = self.read(read) => Some(finished),
            () = &mut writing => None,
        };
        let patience = match finished {
            // The driver lets go of the queue once it has answered.
            Some(Finished::Broken) => FLUSH,
            Some(Finished::Closed) => LAST_WORDS,
            Some(Finished::Gone) | None => return,
        };
        let _ = timeout(patience, writing).await;
    }

    async fn read(&self, mut stream: impl AsyncRead + Unpin) -> Finished {
        let mut decoder = StreamDecoder::new(self.options.limits);
        let mut buffer = BytesMut::with_capacity(READ);
        let mut pace = Pace::new(Instant::now(), self.accepted, &self.options);
        loop {
            buffer.reserve(READ);
            let (due, at) = pace.next();
            match timeout_at(at, stream.read_buf(&mut buffer)).await {
                Ok(Ok(1..)) => {
                    decoder.push(&buffer);
                    buffer.clear();
                }
                Ok(Ok(0)) => return Finished::Closed,
                Ok(Err(_)) => return Finished::Gone,
                Err(_) => match self.overdue(due).await {
                    Some(finished) => return finished,
                    None => {
                        pace.noticed(Instant::now(), due);
                        continue;
                    }
                },
            }
            let mut batch = Vec::new();
            let (pinged, framing) = self.frames(&mut decoder, &mut batch);
            pace.read(
                Instant::now(),
                (!batch.is_empty(), pinged),
                decoder.buffered() > 0,
            );
            if !batch.is_empty() && self.driver.send(Event::Arrived(batch)).await.is_err() {
                return Finished::Gone;
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

    /// Something did not come in time.
    async fn overdue(&self, due: Due) -> Option<Finished> {
        match due {
            Due::Message => {
                let slow = Event::Slow(self.flow);
                // A driver that is gone counts nothing.
                let _ = self.driver.send(slow).await;
                Some(Finished::Gone)
            }
            Due::Idle => {
                let idle = self.driver.send(Event::Idle(self.id)).await;
                idle.is_err().then_some(Finished::Gone)
            }
            Due::Ping => {
                self.say(PING);
                None
            }
        }
    }

    /// Moves what is whole into `batch` and answers keep-alives; whether one came.
    fn frames(
        &self,
        decoder: &mut StreamDecoder,
        batch: &mut Vec<Arrival>,
    ) -> (bool, Result<(), ParseError>) {
        let mut pinged = false;
        loop {
            match decoder.next() {
                Ok(None) => return (pinged, Ok(())),
                Ok(Some(Frame::Ping)) => {
                    pinged = true;
                    self.say(PONG);
                }
                Ok(Some(Frame::Message(message))) => batch.push(Arrival {
                    flow: self.flow,
                    bytes: bytes_of(&message),
                    message,
                }),
                Err(broken) => return (pinged, Err(broken.error)),
            }
        }
    }

    fn say(&self, line_breaks: Bytes) {
        if let Some(queue) = self.writer.upgrade() {
            // A full queue shows the peer by its traffic that we are here.
            let _ = queue.try_send(line_breaks);
        }
    }

    /// Writes what is queued until the queue is let go of, or the peer does not take it.
    fn write<W: AsyncWrite + Unpin>(
        &self,
        mut stream: W,
        mut queue: mpsc::Receiver<Bytes>,
    ) -> impl Future<Output = ()> + use<W> {
        let patience = self.options.message_timeout;
        let tally = Arc::clone(&self.tally);
        async move {
            while let Some(message) = queue.recv().await {
                let write = async {
                    stream.write_all(&message).await?;
                    // TLS holds back what the socket did not take at once.
                    stream.flush().await
                };
                match timeout(patience, write).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    Err(_) => return tally.count(Count::Stuck),
                }
            }
            // The peer may be gone already, and a stuck one is not waited for.
            let _ = timeout(FLUSH, stream.shutdown()).await;
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
