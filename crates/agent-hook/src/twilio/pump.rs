//! The socket with what waits to be written to it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::Features;
use super::encode::Encoder;
use super::send_queue::SendQueue;

/// How long a good-bye may take before the connection is dropped.
const GOODBYE: Duration = Duration::from_secs(2);

/// Reads and writes one socket from one task; no method but [`Pump::say_goodbye`] waits for the
/// peer to take something.
#[derive(Debug)]
pub(super) struct Pump<S> {
    socket: WebSocketStream<S>,
    encoder: Encoder,
    pub(super) queue: SendQueue,
    /// What the agent opted in to, once it said hello.
    pub(super) hello: Option<Features>,
    ping_due: bool,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    pub(super) fn new(socket: WebSocketStream<S>, encoder: Encoder) -> Self {
        let queue = SendQueue::default();
        Self {
            socket,
            encoder,
            queue,
            hello: None,
            ping_due: false,
            unflushed: false,
        }
    }

    pub(super) fn stream_sid(&self) -> &str {
        &self.encoder.identity().stream_sid
    }

    /// Sends a ping as soon as the socket takes one.
    pub(super) fn ping(&mut self) {
        self.ping_due = true;
    }

    /// Writes as far as the socket takes it, and gives the next message read if that is wanted.
    /// Cancelling it loses nothing.
    pub(super) async fn progress(&mut self, read: bool) -> Result<Message, Error> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.poll_write(cx) {
                return Poll::Ready(Err(error));
            }
            if !read {
                return Poll::Pending;
            }
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(message) => Poll::Ready(message),
                None => Poll::Ready(Err(Error::ConnectionClosed)),
            }
        })
        .await
    }

    /// Writes what is queued, closes with 1000 and waits for the peer's close; two seconds in all.
    pub(super) async fn say_goodbye(&mut self) {
        let goodbye = async {
            while !self.is_idle() {
                let written = poll_fn(|cx| self.poll_write(cx));
                if written.await.is_err() {
                    return;
                }
            }
            let frame = CloseFrame {
                code: CloseCode::Normal,
                reason: Utf8Bytes::from_static(""),
            };
            if self.socket.close(Some(frame)).await.is_ok() {
                self.finish().await;
            }
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }

    /// Answers the peer's close.
    pub(super) async fn answer_close(&mut self) {
        let _ = timeout(GOODBYE, self.finish()).await;
    }

    async fn finish(&mut self) {
        while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await {}
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.unflushed
    }

    /// Ready when all is written and flushed. Everything that waits is written before one flush.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.unflushed {
                ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
                self.unflushed = false;
            }
            if self.queue.is_empty() && !self.ping_due {
                return Poll::Ready(Ok(()));
            }
            while self.ping_due || !self.queue.is_empty() {
                ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
                if let Some(message) = self.next_message() {
                    Pin::new(&mut self.socket).start_send(message)?;
                    self.unflushed = true;
                }
            }
        }
    }

    fn next_message(&mut self) -> Option<Message> {
        if std::mem::take(&mut self.ping_due) {
            return Some(Message::Ping(Bytes::new()));
        }
        let message = self.encoder.message(self.queue.pop()?, self.hello)?;
        Utf8Bytes::try_from(message).ok().map(Message::Text)
    }
}
