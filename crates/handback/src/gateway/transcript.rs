//! What an agent says was said: gathered, bounded, and written to the store from time to time.

use std::time::{Duration, Instant};

use agent_hook::wire::{TrackName, Transcript as Utterance};
use agent_hook::{AgentEvent, CallFacts, Track};
use tracing::Instrument;
use transfer_store::Store;

/// Utterances that are kept of a call.
const MOST: usize = 2_000;
/// Bytes of text that are kept of a call.
const MOST_BYTES: usize = 256 * 1024;
/// Between two writes.
const EVERY: Duration = Duration::from_secs(2);

/// The transcript of one call.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    utterances: Vec<Utterance>,
    bytes: usize,
    changed: bool,
    written: Option<Instant>,
    full: bool,
}

impl Transcript {
    /// Takes a final text; an interim one is on its way to that.
    pub(super) fn note(&mut self, event: AgentEvent) {
        let AgentEvent::Transcript {
            utterance,
            track,
            is_final: true,
            text,
            start_ms,
            end_ms,
        } = event
        else {
            return;
        };
        if self.utterances.len() >= MOST || self.bytes + text.len() > MOST_BYTES {
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!("the transcript is full: what follows is not kept");
            }
            metrics::counter!("handback_transcripts_dropped_total").increment(1);
            return;
        }
        self.bytes += text.len();
        self.utterances.push(Utterance {
            utterance,
            track: match track {
                Track::Inbound => TrackName::Inbound,
                Track::Outbound => TrackName::Outbound,
            },
            is_final: true,
            text,
            start_ms,
            end_ms,
        });
        self.changed = true;
    }

    /// Writes what is new if it is time.
    pub(super) fn write(&mut self, store: &Store, facts: &CallFacts) {
        if self.written.is_none_or(|at| at.elapsed() >= EVERY) {
            self.write_now(store, facts);
        }
    }

    /// Writes what is new.
    pub(super) fn write_now(&mut self, store: &Store, facts: &CallFacts) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        self.written = Some(Instant::now());
        let Ok(text) = serde_json::to_string(&self.utterances) else {
            return;
        };
        let store = store.clone();
        let (account, transfer) = (facts.account.clone(), facts.transfer.clone());
        let write = async move {
            let written = store.put_transcript(&account, &transfer, text).await;
            if written.is_err() {
                tracing::warn!("the transcript was not written");
            }
        };
        tokio::spawn(write.in_current_span());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, is_final: bool) -> AgentEvent {
        AgentEvent::Transcript {
            utterance: None,
            track: Track::Inbound,
            is_final,
            text: text.to_owned(),
            start_ms: None,
            end_ms: None,
        }
    }

    #[test]
    fn final_texts_are_kept_and_there_is_a_bound() {
        let mut transcript = Transcript::default();
        transcript.note(said("he", false));
        transcript.note(said("hello", true));
        assert_eq!(transcript.utterances.len(), 1);
        for _ in 0..100 {
            transcript.note(said(&"x".repeat(16_000), true));
        }
        assert!(transcript.bytes <= MOST_BYTES);
        assert!(transcript.full);
    }
}
