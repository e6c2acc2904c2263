//! Twilio Media Streams, the gateway playing Twilio's part, with `hook.*` messages on the same
//! socket.
//!
//! [`dial`] opens the socket, [`link::Link`] is the task that owns it, [`WireAgent`] is what the
//! media shard holds of it. Two bounded queues lie between them, and neither side waits for the
//! other.

pub(crate) mod dial;

mod decode;
mod encode;
mod extension;
mod identity;
mod ignored;
mod link;
mod pump;
mod send_queue;
mod wire_agent;

pub(crate) use identity::Identity;
pub(crate) use wire_agent::WireAgent;

use crate::agent::{Phase, Track, TransferOutcome};
use crate::wire::Feature;

/// Bytes of a frame on the wire: 20 ms of µ-law at 8 kHz.
const FRAME: usize = 160;

/// What the shard hands to the link; media by value, so that nothing is allocated there.
#[derive(Debug)]
enum ToAgent {
    Media {
        track: Track,
        timestamp_ms: u64,
        frame: [u8; FRAME],
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
struct Features {
    /// Both tracks on this socket once the caller is bridged.
    tracks: bool,
    /// Transcripts will come.
    transcript: bool,
    /// `hook.flow` when the play-out queue is long.
    flow: bool,
    /// Marks with `played` and `sample`.
    marks2: bool,
}

impl Features {
    /// All that this gateway knows.
    const ALL: Self = Self {
        tracks: true,
        transcript: true,
        flow: true,
        marks2: true,
    };

    /// Those of the names that are known.
    fn among<'a>(names: impl Iterator<Item = &'a str>) -> Self {
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

    fn list(self) -> Vec<Feature> {
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
