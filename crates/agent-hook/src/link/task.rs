//! The task that owns one agent's socket.

use std::collections::VecDeque;
use std::time::Duration;

use metrics::Histogram;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::ignored::{Ignored, IgnoredLog};
use super::near::{Progress, Said};
use super::pump::Pump;
use super::{Features, Heard, ToAgent, Wire};
use crate::agent::{AgentEvent, AgentOutput};

/// How often a ping is sent.
const PING_EVERY: Duration = Duration::from_secs(5);

/// A pong that is later than this is told to the call.
const PONG_WITHIN: Duration = Duration::from_secs(3);

/// Without any frame for this long the agent is dead.
const DEAD_AFTER: Duration = Duration::from_secs(20);

/// An agent whose send queue is full for this long is dead as well.
const FULL_AFTER: Duration = Duration::from_secs(5);

/// How often these are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The two queues' ends at the link, and what the agent has shown of itself.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) from_shard: mpsc::Receiver<ToAgent>,
    pub(crate) to_shard: mpsc::Sender<Said>,
    pub(crate) shown: watch::Sender<Progress>,
}

/// One connection to an agent, from its first messages to its end.
#[derive(Debug)]
pub(crate) struct Link<S, W> {
    pump: Pump<S, W>,
    ends: Ends,
    /// Read, and waiting for room in the shard's queue; nothing more is read until then, so that
    /// TCP holds the agent back.
    held: VecDeque<Said>,
    ignored: IgnoredLog,
    last_heard: Instant,
    last_ping: Instant,
    /// The oldest ping that was not answered.
    unanswered: Option<Instant>,
    /// The call was told that the agent is late.
    stalled: bool,
}

/// Why a link ended.
#[derive(Debug)]
enum End {
    /// The call is done with its agent.
    Stopped,
    /// The agent sent a close frame.
    Closed(Option<CloseFrame>),
    /// The agent ended the stream by a message.
    Told { clean: bool, reason: String },
    /// The connection broke or was given up.
    Broken(String),
}

impl<S: AsyncRead + AsyncWrite + Unpin, W: Wire> Link<S, W> {
    pub(crate) fn new(pump: Pump<S, W>, ends: Ends) -> Self {
        let now = Instant::now();
        Self {
            pump,
            ends,
            held: VecDeque::new(),
            ignored: IgnoredLog::default(),
            last_heard: now,
            last_ping: now,
            unanswered: None,
            stalled: false,
        }
    }

    /// Runs to the end of the connection and tells the shard of it.
    pub(crate) async fn run(mut self) {
        match self.carry().await {
            End::Stopped => self.pump.say_goodbye().await,
            End::Closed(frame) => {
                self.report(closed(frame)).await;
                self.pump.answer_close().await;
            }
            End::Told { clean, reason } => {
                let code = clean.then_some(1000);
                self.report(AgentEvent::Closed {
                    code,
                    clean,
                    reason,
                })
                .await;
                self.pump.say_goodbye().await;
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

    /// Runs to the end of the connection, and gives the queues back unless the call is done with
    /// them.
    pub(crate) async fn run_once(mut self) -> Option<Ends> {
        let end = self.carry().await;
        tracing::debug!(
            stream = self.pump.wire.stream(),
            ?end,
            "listening link over"
        );
        match end {
            End::Stopped => {
                self.pump.say_goodbye().await;
                None
            }
            End::Closed(_) | End::Told { .. } => {
                self.pump.answer_close().await;
                Some(self.ends)
            }
            End::Broken(_) => Some(self.ends),
        }
    }

    async fn report(&mut self, event: AgentEvent) {
        tracing::debug!(stream = self.pump.wire.stream(), ?event, "agent gone");
        while let Some(held) = self.held.pop_front() {
            let _ = self.ends.to_shard.send(held).await;
        }
        // an error means that nobody wants to know
        let last = Said::now(AgentOutput::Event(event));
        let _ = self.ends.to_shard.send(last).await;
    }

    async fn carry(&mut self) -> End {
        if self.pump.wire.tracks_at_start() {
            self.hold(AgentOutput::Event(AgentEvent::Hello { tracks: true }));
        }
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.pump.wire.due();
            tokio::select! {
                message = self.ends.from_shard.recv() => {
                    if self.take_all(message) {
                        return End::Stopped;
                    }
                }
                read = self.pump.progress(self.held.is_empty()) => {
                    if let Some(end) = self.read(read) {
                        return end;
                    }
                }
                open = has_room(&self.ends.to_shard), if !self.held.is_empty() => {
                    if !open || !self.hand_over() {
                        self.pump.queue.push(ToAgent::Stop);
                        return End::Stopped;
                    }
                }
                () = come(due) => self.look_at_wire(),
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
        self.pump.queue.push(message);
    }

    /// Hands over what was held, there being room; false when nobody wants it any more.
    fn hand_over(&mut self) -> bool {
        while let Some(held) = self.held.pop_front() {
            match self.ends.to_shard.try_send(held) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(held)) => {
                    self.held.push_front(held);
                    break;
                }
            }
        }
        true
    }

    fn read(&mut self, read: Result<Message, Error>) -> Option<End> {
        self.last_heard = Instant::now();
        match read {
            Ok(Message::Close(frame)) => Some(End::Closed(frame)),
            Ok(message) => self.heard(message),
            Err(error) => Some(End::Broken(error.to_string())),
        }
    }

    fn heard(&mut self, message: Message) -> Option<End> {
        match self.pump.wire.decode(message) {
            Heard::Output(output) => self.hold(output),
            Heard::Outputs(outputs) => outputs.into_iter().for_each(|output| self.hold(output)),
            Heard::Hello(features) => self.greet(features),
            Heard::Pong => self.answered(),
            Heard::Reply(replies, outputs) => {
                replies.into_iter().for_each(|reply| self.pump.reply(reply));
                outputs.into_iter().for_each(|output| self.hold(output));
            }
            Heard::Ignored(why) => self.ignore(why),
            Heard::Ended {
                reply,
                outputs,
                clean,
                reason,
            } => {
                reply.into_iter().for_each(|reply| self.pump.reply(reply));
                outputs.into_iter().for_each(|output| self.hold(output));
                return Some(End::Told { clean, reason });
            }
            Heard::Nothing => {}
        }
        None
    }

    fn hold(&mut self, output: AgentOutput) {
        if let AgentOutput::Audio(_) = output {
            self.show(|progress| &mut progress.media);
        }
        self.held.push_back(Said::now(output));
    }

    fn show(&mut self, what: impl Fn(&mut Progress) -> &mut bool) {
        self.ends
            .shown
            .send_if_modified(|progress| !std::mem::replace(what(progress), true));
    }

    fn greet(&mut self, features: Features) {
        self.show(|progress| &mut progress.hello);
        self.pump.queue.push(ToAgent::Welcome(features));
        let tracks = features.tracks;
        self.hold(AgentOutput::Event(AgentEvent::Hello { tracks }));
    }

    fn ignore(&mut self, why: Ignored) {
        if self.ignored.note(why, self.pump.wire.stream()) {
            let (code, message) = (why.name(), why.help());
            self.pump.queue.push(ToAgent::Error { code, message });
        }
    }

    fn answered(&mut self) {
        if let Some(asked) = self.unanswered.take() {
            round_trip().record(asked.elapsed());
        }
        self.stalled = false;
    }

    fn look_at_wire(&mut self) {
        if let Some(output) = self.pump.wire.look() {
            self.held.push_back(Said::now(output));
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
        let late = self
            .unanswered
            .is_some_and(|asked| now - asked >= PONG_WITHIN);
        if late && !std::mem::replace(&mut self.stalled, true) {
            // a shard that has no room for it is told soon enough that the agent speaks, or is dead
            let stalled = Said::now(AgentOutput::Event(AgentEvent::Stalled));
            let _ = self.ends.to_shard.try_send(stalled);
        }
        self.look_at_wire();
        if now - self.last_ping >= PING_EVERY {
            if self.unanswered.is_some() && self.pump.wire.pong_is_due_before_the_next_ping() {
                return Some("the last ping was not answered".to_owned());
            }
            self.last_ping = now;
            self.unanswered.get_or_insert(now);
            self.pump.ping();
        }
        None
    }
}

/// Waits for a moment; for ever when there is none.
async fn come(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn round_trip() -> Histogram {
    metrics::histogram!("handback_hook_ws_rtt_seconds")
}

/// Waits for room in the shard's queue; false when its other end is gone.
async fn has_room(to_shard: &mpsc::Sender<Said>) -> bool {
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
