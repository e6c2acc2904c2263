//! What every wire has in common: a task that owns the socket, the near end that a media shard
//! holds of it, and the bounded queues between them. Neither side waits for the other.
//!
//! A protocol is a [`Wire`]: it turns what the shard says into WebSocket messages and back.

mod ignored;
mod near;
mod pump;
mod send_queue;
mod task;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

pub(crate) use ignored::Ignored;
pub(crate) use near::{Progress, WireAgent};
pub(crate) use pump::Pump;
pub(crate) use task::{Ends, Link};

use crate::agent::{AgentOutput, Phase, Track, TransferOutcome};
use crate::wire::Feature;

/// Bytes of a frame on the wire: 20 ms of µ-law at 8 kHz.
pub(crate) const FRAME: usize = 160;

/// A protocol on a WebSocket.
pub(crate) trait Wire: Send + std::fmt::Debug + 'static {
    /// The stream's name, for logs and for a later stream that refers to it.
    fn stream(&self) -> &str;

    /// The WebSocket message for what the shard says; `None` when this agent is not told of it.
    fn encode(&mut self, message: ToAgent) -> Option<Message>;

    /// Takes what the agent says.
    fn decode(&mut self, message: Message) -> Heard;

    /// Asks for a sign of life.
    fn ping(&mut self) -> Message;

    /// Whether an unanswered ping is fatal when the next one is due.
    fn pong_is_due_before_the_next_ping(&self) -> bool {
        false
    }

    /// Called when [`Wire::due`] has come, and once a second: what the protocol wants to have said
    /// from time to time.
    fn look(&mut self) -> Option<AgentOutput> {
        None
    }

    /// When [`Wire::look`] is wanted.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Whether the stream carries both tracks without the agent's asking for it.
    fn tracks_at_start(&self) -> bool {
        false
    }

    /// Whether the good-bye of [`ToAgent::Stop`] is answered by a message before the close.
    fn awaits_farewell(&self) -> bool {
        false
    }
}

/// What an agent's message comes to.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// Something for the shard.
    Output(AgentOutput),
    /// Several things for the shard.
    Outputs(Vec<AgentOutput>),
    /// The agent opts in to features: to be welcomed, and the shard to be told.
    Hello(Features),
    /// The sign of life that was asked for.
    Pong,
    /// Something to say to the agent, and something for the shard.
    Reply(Vec<Message>, Vec<AgentOutput>),
    /// Nothing that can be used.
    Ignored(Ignored),
    /// The agent ended the stream by a message; true when the call may end normally by it.
    Ended {
        /// Something to say before the close.
        reply: Option<Message>,
        /// Things for the shard before it is told of the end.
        outputs: Vec<AgentOutput>,
        /// As of a close with code 1000.
        clean: bool,
        /// What the agent gave as its reason.
        reason: String,
    },
    /// Nothing.
    Nothing,
}

/// What the shard hands to the link; media by value, so that nothing is allocated there.
#[derive(Debug)]
pub(crate) enum ToAgent {
    Media {
        track: Track,
        timestamp_ms: u64,
        frame: [u8; FRAME],
        /// When the jitter buffer released it.
        at: std::time::Instant,
    },
    Dtmf {
        digit: char,
    },
    Mark {
        name: String,
        played: bool,
        sample: u64,
    },
    Phase {
        phase: Phase,
        method: Option<&'static str>,
    },
    TransferResult {
        outcome: TransferOutcome,
        code: Option<u16>,
    },
    Completed {
        id: Option<String>,
        accepted: bool,
        error: Option<String>,
    },
    Flow {
        hold: bool,
        queued_ms: u64,
    },
    Error {
        code: &'static str,
        message: &'static str,
    },
    Welcome(Features),
    Stop,
}

/// The features that an agent may opt in to with `hook.hello`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// Both tracks on this socket once the caller is bridged.
    pub(crate) tracks: bool,
    /// Transcripts will come.
    pub(crate) transcript: bool,
    /// `hook.flow` when the play-out queue is long.
    pub(crate) flow: bool,
    /// Marks with `played` and `sample`.
    pub(crate) marks2: bool,
}

impl Features {
    /// All that this gateway knows.
    pub(crate) const ALL: Self = Self {
        tracks: true,
        transcript: true,
        flow: true,
        marks2: true,
    };

    /// Those of the names that are known.
    pub(crate) fn among<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut features = Self::default();
        for name in names {
            match name {
                "tracks" => features.tracks = true,
                "transcript" => features.transcript = true,
                "flow" => features.flow = true,
                "marks2" => features.marks2 = true,
                _ => {}
            }
        }
        features
    }

    pub(crate) fn list(self) -> Vec<Feature> {
        let all = [
            (self.tracks, Feature::Tracks),
            (self.transcript, Feature::Transcript),
            (self.flow, Feature::Flow),
            (self.marks2, Feature::Marks2),
        ];
        all.into_iter()
            .filter_map(|(wanted, feature)| wanted.then_some(feature))
            .collect()
    }
}
