//! The task that owns one agent's socket.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::decode::{FromAgent, decode};
use super::ignored::{Ignored, IgnoredLog};
use super::pump::Pump;
use super::{Features, ToAgent};
use crate::agent::{AgentEvent, AgentOutput, Phase, Track};

/// How often a ping is sent.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Without any frame for this long the agent is dead.
const DEAD_AFTER: Duration = Duration::from_secs(20);

/// An agent whose send queue is full for this long is dead as well.
const FULL_AFTER: Duration = Duration::from_secs(5);

/// How often these are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The two queues' ends at the link.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) from_shard: mpsc::Receiver<ToAgent>,
    pub(super) to_shard: mpsc::Sender<AgentOutput>,
}

/// One connection to an agent, from `start` to its end.
#[derive(Debug)]
pub(super) struct Link<S> {
    pump: Pump<S>,
    ends: Ends,
    /// Read, and waiting for room in the shard's queue; nothing more is read until then, so that
    /// TCP holds the agent back.
    held: Option<AgentOutput>,
    bridged: bool,
    ignored: IgnoredLog,
    last_heard: Instant,
    last_ping: Instant,
}

/// Why a link ended.
#[derive(Debug)]
enum End {
    /// The call is done with its agent.
    Stopped,
    /// The agent sent a close frame.
    Closed(Option<CloseFrame>),
    /// The connection broke or was given up.
    Broken(String),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub(super) fn new(pump: Pump<S>, ends: Ends) -> Self {
        let now = Instant::now();
        Self {
            pump,
            ends,
            held: None,
            bridged: false,
            ignored: IgnoredLog::default(),
            last_heard: now,
            last_ping: now,
        }
    }

    /// Runs to the end of the connection.
    pub(super) async fn run(mut self) {
        match self.carry().await {
            End::Stopped => self.pump.say_goodbye().await,
            End::Closed(frame) => {
                self.report(closed(frame)).await;
                self.pump.answer_close().await;
            }
            End::Broken(reason) => {
                self.report(AgentEvent::Closed {
                    code: None,
                    clean: false,
                    reason,
                })
                .await;
            }
        }
    }

    async fn report(&mut self, event: AgentEvent) {
        tracing::debug!(stream_sid = self.pump.stream_sid(), ?event, "agent gone");
        if let Some(held) = self.held.take() {
            let _ = self.ends.to_shard.send(held).await;
        }
        // an error means that nobody wants to know
        let _ = self.ends.to_shard.send(AgentOutput::Event(event)).await;
    }

    async fn carry(&mut self) -> End {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.ends.from_shard.recv() => {
                    if self.take_all(message) {
                        return End::Stopped;
                    }
                }
                read = self.pump.progress(self.held.is_none()) => {
                    if let Some(end) = self.read(read) {
                        return end;
                    }
                }
                open = has_room(&self.ends.to_shard), if self.held.is_some() => {
                    if !open || !self.hand_over() {
                        self.pump.queue.push(ToAgent::Stop);
                        return End::Stopped;
                    }
                }
                _ = look.tick() => {
                    if let Some(reason) = self.look() {
                        return End::Broken(reason);
                    }
                }
            }
        }
    }

    /// Queues a message of the shard and all that came with it; true when it was the last.
    fn take_all(&mut self, first: Option<ToAgent>) -> bool {
        let mut next = first;
        loop {
            match next {
                Some(ToAgent::Stop) | None => {
                    self.pump.queue.push(ToAgent::Stop);
                    return true;
                }
                Some(message) => self.take(message),
            }
            next = match self.ends.from_shard.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => None,
            };
        }
    }

    fn take(&mut self, message: ToAgent) {
        match &message {
            ToAgent::Media {
                track: Track::Outbound,
                ..
            } if !self.wants_outbound() => return,
            ToAgent::Phase { phase, .. } => self.bridged = *phase == Phase::Bridged,
            ToAgent::Media { .. }
            | ToAgent::Dtmf { .. }
            | ToAgent::Mark { .. }
            | ToAgent::TransferResult { .. }
            | ToAgent::Completed { .. }
            | ToAgent::Flow { .. }
            | ToAgent::Error { .. }
            | ToAgent::Welcome(_)
            | ToAgent::Stop => {}
        }
        self.pump.queue.push(message);
    }

    fn wants_outbound(&self) -> bool {
        self.bridged && self.pump.hello.is_some_and(|features| features.tracks)
    }

    /// Hands over what was held, there being room; false when nobody wants it any more.
    fn hand_over(&mut self) -> bool {
        let Some(held) = self.held.take() else {
            return true;
        };
        match self.ends.to_shard.try_send(held) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(held)) => {
                self.held = Some(held);
                true
            }
        }
    }

    fn read(&mut self, read: Result<Message, Error>) -> Option<End> {
        self.last_heard = Instant::now();
        match read {
            Ok(Message::Text(text)) => self.heard(text.as_str()),
            Ok(Message::Binary(_)) => self.ignore(Ignored::Binary),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Ok(Message::Close(frame)) => return Some(End::Closed(frame)),
            Err(error) => return Some(End::Broken(error.to_string())),
        }
        None
    }

    fn heard(&mut self, text: &str) {
        match decode(text, self.pump.stream_sid()) {
            Ok(FromAgent::Output(output)) => self.held = Some(output),
            Ok(FromAgent::Hello(features)) => self.greet(features),
            Err(why) => self.ignore(why),
        }
    }

    fn greet(&mut self, features: Features) {
        self.pump.hello = Some(features);
        self.pump.queue.push(ToAgent::Welcome(features));
    }

    fn ignore(&mut self, why: Ignored) {
        if self.ignored.note(why, self.pump.stream_sid()) {
            let (code, message) = (why.name(), why.help());
            self.pump.queue.push(ToAgent::Error { code, message });
        }
    }

    /// Pings when it is time; a reason to give the agent up, if there is one.
    fn look(&mut self) -> Option<String> {
        let now = Instant::now();
        if now - self.last_heard >= DEAD_AFTER {
            return Some(format!("no sign of life for {} s", DEAD_AFTER.as_secs()));
        }
        let full = self
            .pump
            .queue
            .full_since()
            .is_some_and(|since| now - since >= FULL_AFTER);
        if full || self.pump.queue.is_beyond_hope() {
            return Some(format!("took no audio for {} s", FULL_AFTER.as_secs()));
        }
        if now - self.last_ping >= PING_EVERY {
            self.last_ping = now;
            self.pump.ping();
        }
        None
    }
}

/// Waits for room in the shard's queue; false when its other end is gone.
async fn has_room(to_shard: &mpsc::Sender<AgentOutput>) -> bool {
    to_shard.reserve().await.is_ok()
}

fn closed(frame: Option<CloseFrame>) -> AgentEvent {
    let (code, reason) = match frame {
        Some(frame) => (u16::from(frame.code), frame.reason.to_string()),
        // RFC 6455 §7.1.5: no status code was present
        None => (1005, String::new()),
    };
    AgentEvent::Closed {
        code: Some(code),
        clean: code == 1000,
        reason,
    }
}

#[cfg(test)]
mod tests;
