//! What waits for the socket: bounded, and it is old audio that gives way.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::ToAgent;

/// Messages that may wait: two seconds of audio.
const LIMIT: usize = 100;

/// Everything but audio that may wait, since none of it is dropped; an agent that leaves so much
/// untaken is dead.
const CONTROL_LIMIT: usize = 1_000;

/// Messages in their order, at most 100. When one more comes the oldest audio is dropped, never
/// a key, a mark or the stop.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    waiting: VecDeque<ToAgent>,
    /// Since when audio has been dropped without the queue running empty in between.
    overfull: Option<Instant>,
}

impl SendQueue {
    pub(super) fn push(&mut self, message: ToAgent) {
        self.waiting.push_back(message);
        if self.waiting.len() <= LIMIT {
            return;
        }
        let oldest = self
            .waiting
            .iter()
            .position(|waiting| matches!(waiting, ToAgent::Media { .. }));
        if let Some(at) = oldest {
            self.waiting.remove(at);
        }
        self.overfull.get_or_insert_with(Instant::now);
        metrics::counter!("handback_hook_media_dropped_total").increment(1);
    }

    pub(super) fn pop(&mut self) -> Option<ToAgent> {
        let message = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.overfull = None;
        }
        message
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Since when the queue has been full; a queue that can hold nothing more has always been.
    pub(super) fn full_since(&self) -> Option<Instant> {
        self.overfull
    }

    /// Whether the agent takes nothing at all any more.
    pub(super) fn is_beyond_hope(&self) -> bool {
        self.waiting.len() > CONTROL_LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::super::FRAME;
    use super::*;
    use crate::agent::Track;

    fn media(timestamp_ms: u64) -> ToAgent {
        ToAgent::Media {
            track: Track::Inbound,
            timestamp_ms,
            frame: [0; FRAME],
            at: std::time::Instant::now(),
        }
    }

    fn names(mut queue: SendQueue) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(message) = queue.pop() {
            names.push(match message {
                ToAgent::Media { timestamp_ms, .. } => timestamp_ms.to_string(),
                ToAgent::Dtmf { digit } => digit.to_string(),
                ToAgent::Mark { name, .. } => name,
                other @ (ToAgent::Phase { .. }
                | ToAgent::TransferResult { .. }
                | ToAgent::Completed { .. }
                | ToAgent::Flow { .. }
                | ToAgent::Error { .. }
                | ToAgent::Welcome(_)
                | ToAgent::Stop) => format!("{other:?}"),
            });
        }
        names
    }

    #[test]
    fn full_queue_drops_its_oldest_audio_and_keeps_the_order() {
        let mut queue = SendQueue::default();
        for n in 0..150 {
            queue.push(media(n));
        }
        let expected: Vec<String> = (50..150).map(|n: u32| n.to_string()).collect();
        assert_eq!(names(queue), expected);
    }

    #[test]
    fn keys_marks_and_stop_are_never_dropped() {
        let mut queue = SendQueue::default();
        queue.push(ToAgent::Dtmf { digit: '1' });
        queue.push(ToAgent::Mark {
            name: "m".to_owned(),
            played: true,
            sample: 0,
        });
        for n in 0..300 {
            queue.push(media(n));
        }
        queue.push(ToAgent::Stop);
        let names = names(queue);
        assert_eq!(names.len(), LIMIT);
        assert_eq!(names[..2], ["1", "m"]);
        assert_eq!(names[2], "203");
        assert_eq!(names[LIMIT - 1], "Stop");
    }

    #[tokio::test(start_paused = true)]
    async fn queue_is_full_until_it_ran_empty() {
        let mut queue = SendQueue::default();
        for n in 0..101 {
            queue.push(media(n));
        }
        let since = queue.full_since();
        assert!(since.is_some());
        queue.pop();
        assert_eq!(queue.full_since(), since);
        while queue.pop().is_some() {}
        assert_eq!(queue.full_since(), None);
    }
}
