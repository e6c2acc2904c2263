//! The agent as the media shard sees it.

use std::fmt::Debug;

use bytes::Bytes;
use call_control::transfer::{Checkpoint, OutputContext};
use timebase::Now;

/// A voice agent on one call, polled by the media shard that owns it.
///
/// The shard feeds inputs as they happen, calls [`Agent::handle_timeout`] when the deadline of
/// [`Agent::poll_timeout`] has passed, and drains [`Agent::poll_output`] in every 20 ms slot of
/// the call. No method may block or wait.
pub trait Agent: Send + Debug {
    /// Takes what happened on the call.
    fn handle_input(&mut self, now: Now, input: AgentInput<'_>);

    /// Lets the agent act on the time; also called before it is due without harm.
    fn handle_timeout(&mut self, now: Now);

    /// The agent's name for its stream on the wire, where it has one.
    fn stream(&self) -> Option<&str> {
        None
    }

    /// What the agent wants next; `None` when nothing is left.
    fn poll_output(&mut self) -> Option<AgentOutput>;

    /// When [`Agent::handle_timeout`] is wanted. An agent that has not started yet answers
    /// [`Now::ZERO`].
    fn poll_timeout(&self) -> Option<Now>;
}

/// Whose voice a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Track {
    /// The caller's.
    Inbound,
    /// The party reached by an INVITE hand-back.
    Outbound,
}

/// What an agent is told. Everything but [`AgentInput::Heard`] owns its data, so that
/// `AgentInput<'static>` can travel through queues.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentInput<'a> {
    /// 20 ms of audio, µ-law at 8 kHz, one after the other without gaps.
    Heard {
        /// Whose voice.
        track: Track,
        /// Position on the media timeline, from a sample counter.
        timestamp_ms: u64,
        /// 160 bytes.
        frame: &'a [u8],
    },
    /// The caller pressed a key.
    Dtmf {
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
    },
    /// A mark of [`AgentOutput::Mark`] was reached or dropped.
    MarkPlayed {
        /// Its name.
        name: String,
        /// False when `clear` dropped it.
        played: bool,
        /// The play-out sample counter where it stood.
        sample: u64,
    },
    /// The call moved on; audio that the agent sends outside [`Phase::Agent`] is discarded.
    Phase {
        /// Where the call is now.
        phase: Phase,
        /// How it is handed back (`BYE`, `REFER`, `INVITE`), once that is decided.
        method: Option<&'static str>,
    },
    /// News of the hand-back.
    TransferResult {
        /// How far it is.
        outcome: TransferOutcome,
        /// The SIP status that says so.
        code: Option<u16>,
    },
    /// The call's answer to [`AgentEvent::Complete`].
    Completed {
        /// The id of the completion that is answered.
        id: Option<String>,
        /// Whether it counts.
        accepted: bool,
        /// Why not.
        error: Option<String>,
    },
    /// The play-out queue is long, or short again (`hook.flow`).
    Flow {
        /// Whether the agent should hold its audio back.
        hold: bool,
        /// Audio that is queued.
        queued_ms: u64,
    },
    /// The agent's part is over: it says good-bye on its wire, and no output follows.
    Stop,
}

/// Where the call is, as `hook.phase` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The agent talks with the caller.
    Agent,
    /// The caller is being handed back.
    HandingBack,
    /// The caller talks with the party reached; the agent listens.
    Bridged,
    /// The call is over.
    Ended,
}

/// How far a hand-back is, as `hook.transferResult` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferOutcome {
    /// Being tried.
    Trying,
    /// The other party answered.
    Answered,
    /// It failed.
    Failed,
}

/// What an agent wants.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentOutput {
    /// µ-law audio at 8 kHz of any size, played after what is queued already.
    Audio(Bytes),
    /// Reported as [`AgentInput::MarkPlayed`] when all audio queued before it has played.
    Mark(String),
    /// Empties the play-out queue before the next frame.
    Clear,
    /// Something for the call to know.
    Event(AgentEvent),
}

/// What the call learns from its agent.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentEvent {
    /// The outputContext as far as it has got (`hook.update`).
    Update(Checkpoint),
    /// The agent is done (`hook.complete`); to be answered with [`AgentInput::Completed`].
    Complete {
        /// The agent's name for this completion, to be given back.
        id: Option<String>,
        /// The result; `Err` says in the agent's terms why it is not one, and the agent may try again.
        output: Result<OutputContext, String>,
        /// Whether queued audio is played first.
        when: When,
    },
    /// Keys to send to the caller (`hook.sendDtmf`).
    SendDtmf {
        /// The keys.
        digits: String,
        /// How long each is held.
        duration_ms: u32,
    },
    /// What was said (`hook.transcript`).
    Transcript {
        /// The agent's id of the utterance.
        utterance: Option<String>,
        /// Whose.
        track: Track,
        /// False for an interim text.
        is_final: bool,
        /// The words.
        text: String,
        /// Start on the media timeline.
        start_ms: Option<u64>,
        /// End on the media timeline.
        end_ms: Option<u64>,
    },
    /// The agent knows the hook protocol and opted in to features (`hook.hello`); built-in agents say
    /// so at their start.
    Hello {
        /// It hears both tracks by the same way once the caller is bridged.
        tracks: bool,
    },
    /// The agent has not shown a sign of life in time, and may be on its way to be lost: the caller
    /// should not hear a dead line meanwhile.
    Stalled,
    /// The agent is gone, without having been stopped; always its last event.
    Closed {
        /// The WebSocket close code (RFC 6455 §7.4; 1005 when the agent closed without one),
        /// absent when the connection broke.
        code: Option<u16>,
        /// True for a close with code 1000.
        clean: bool,
        /// What is known of the reason.
        reason: String,
    },
}

/// When a completion takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum When {
    /// When the audio queued before it has been played.
    #[default]
    Drained,
    /// At once.
    Now,
}
