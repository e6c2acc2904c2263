//! The socket with what waits to be written to it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::{Sink, Stream};
use metrics::Histogram;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::send_queue::SendQueue;
use super::{Heard, ToAgent, Wire};
use crate::agent::{AgentEvent, AgentOutput};
use crate::probe::{Probe, Speaker};

/// How long a good-bye may take before the connection is dropped.
const GOODBYE: Duration = Duration::from_secs(2);

/// Replies that may wait beside the queue; an agent that provokes more is not answered.
const MOST_REPLIES: usize = 64;

/// Reads and writes one socket from one task; no method but [`Pump::say_goodbye`] waits for the
/// peer to take something.
#[derive(Debug)]
pub(crate) struct Pump<S, W> {
    socket: WebSocketStream<S>,
    pub(super) wire: W,
    pub(super) queue: SendQueue,
    /// Pings, and answers that the protocol wants at once.
    replies: VecDeque<Message>,
    /// The release of the oldest frame that is written and not flushed.
    oldest: Option<Instant>,
    unflushed: bool,
    write_seconds: WriteSeconds,
    probe: Option<Probe>,
}

/// From the jitter buffer's release of a frame to the end of its write.
struct WriteSeconds(Histogram);

impl std::fmt::Debug for WriteSeconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriteSeconds")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, W: Wire> Pump<S, W> {
    pub(crate) fn new(socket: WebSocketStream<S>, wire: W) -> Self {
        Self {
            socket,
            wire,
            queue: SendQueue::default(),
            replies: VecDeque::new(),
            oldest: None,
            unflushed: false,
            write_seconds: WriteSeconds(metrics::histogram!("handback_hook_ws_write_seconds")),
            probe: None,
        }
    }

    /// The same with a probe on it.
    pub(crate) fn probed(mut self, probe: Option<Probe>) -> Self {
        self.probe = probe.map(Probe::renewed);
        self
    }

    /// The stream's name.
    pub(crate) fn stream(&self) -> &str {
        self.wire.stream()
    }

    /// Asks for a sign of life as soon as the socket takes it.
    pub(super) fn ping(&mut self) {
        let ping = self.wire.ping();
        self.reply(ping);
    }

    /// Writes a message of the protocol as soon as the socket takes it.
    pub(super) fn reply(&mut self, message: Message) {
        if self.replies.len() < MOST_REPLIES {
            self.replies.push_back(message);
        }
    }

    /// Writes as far as the socket takes it, and gives the next message read if that is wanted.
    /// Cancelling it loses nothing.
    pub(super) async fn progress(&mut self, read: bool) -> Result<Message, Error> {
        if let Some(probe) = &mut self.probe {
            probe.wait().await?;
        }
        let message = poll_fn(|cx| {
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
        .await?;
        if let Some(probe) = &self.probe {
            probe.saw(Speaker::Agent, &message);
        }
        Ok(message)
    }

    /// Writes what is queued, closes with 1000 and waits for the peer's close; two seconds in all.
    pub(super) async fn say_goodbye(&mut self) {
        let goodbye = async {
            self.write_all().await?;
            if self.wire.awaits_farewell() {
                self.hear_farewell().await?;
            }
            let frame = CloseFrame {
                code: CloseCode::Normal,
                reason: Utf8Bytes::from_static(""),
            };
            self.socket.close(Some(frame)).await?;
            self.finish().await;
            Ok::<(), Error>(())
        };
        // an agent that does not take part is left
        let _ = timeout(GOODBYE, goodbye).await;
    }

    /// Answers the peer's close.
    pub(super) async fn answer_close(&mut self) {
        let answer = async {
            let _ = self.write_all().await;
            self.finish().await;
        };
        let _ = timeout(GOODBYE, answer).await;
    }

    async fn write_all(&mut self) -> Result<(), Error> {
        while !self.is_idle() {
            poll_fn(|cx| self.poll_write(cx)).await?;
        }
        Ok(())
    }

    async fn hear_farewell(&mut self) -> Result<(), Error> {
        while let Some(message) = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await {
            let heard = self.wire.decode(message?);
            note_late(&heard);
            if let Heard::Ended { .. } = heard {
                break;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) {
        while let Some(Ok(message)) = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await {
            note_late(&self.wire.decode(message));
        }
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.replies.is_empty() && !self.unflushed
    }

    /// Ready when all is written and flushed. Everything that waits is written before one flush.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.unflushed {
                ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
                self.unflushed = false;
                if let Some(released) = self.oldest.take() {
                    self.write_seconds.0.record(released.elapsed());
                }
            }
            if self.queue.is_empty() && self.replies.is_empty() {
                return Poll::Ready(Ok(()));
            }
            while !self.queue.is_empty() || !self.replies.is_empty() {
                ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
                if let Some(message) = self.next_message() {
                    if let Some(probe) = &self.probe {
                        probe.saw(Speaker::Gateway, &message);
                    }
                    Pin::new(&mut self.socket).start_send(message)?;
                    self.unflushed = true;
                }
            }
        }
    }

    fn next_message(&mut self) -> Option<Message> {
        if let Some(reply) = self.replies.pop_front() {
            return Some(reply);
        }
        let message = self.queue.pop()?;
        if let ToAgent::Media { at, .. } = &message {
            self.oldest.get_or_insert(*at);
        }
        self.wire.encode(message)
    }
}

/// A result that comes after the good-bye is noted, and does nothing any more.
fn note_late(heard: &Heard) {
    let outputs = match heard {
        Heard::Output(output) => std::slice::from_ref(output),
        Heard::Outputs(outputs) | Heard::Reply(_, outputs) | Heard::Ended { outputs, .. } => {
            outputs
        }
        Heard::Hello(_) | Heard::Pong | Heard::Ignored(_) | Heard::Nothing => &[],
    };
    let completes =
        |output: &AgentOutput| matches!(output, AgentOutput::Event(AgentEvent::Complete { .. }));
    if outputs.iter().any(completes) {
        metrics::counter!("handback_hook_late_completions_total").increment(1);
        tracing::info!("the agent completed after the end of its part: not acted on");
    }
}
