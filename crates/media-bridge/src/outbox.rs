//! The events of a session on their way to its call.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::vocabulary::MediaEvent;

/// Events that wait for a call that does not take them.
const BACKLOG: usize = 64;

/// Hands events over without ever waiting.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: mpsc::Sender<MediaEvent>,
    backlog: VecDeque<MediaEvent>,
    lost: u64,
}

impl Outbox {
    pub(crate) fn new(sender: mpsc::Sender<MediaEvent>) -> Self {
        Self {
            sender,
            backlog: VecDeque::new(),
            lost: 0,
        }
    }

    /// Hands an event over now or in a later slot; counts it as lost when too many wait.
    pub(crate) fn push(&mut self, event: MediaEvent) {
        if self.backlog.len() < BACKLOG && self.lost == 0 {
            self.backlog.push_back(event);
            self.flush();
        } else {
            self.lost += 1;
            metrics::counter!("handback_media_events_lost_total").increment(1);
        }
    }

    /// Hands over what waits, and at the end how much was lost.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.sender.try_send(event) {
                // a call that is gone needs no events; its handle's end ends the session
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    return;
                }
            }
        }
        if self.lost > 0
            && !matches!(
                self.sender.try_send(MediaEvent::Lost(self.lost)),
                Err(TrySendError::Full(_))
            )
        {
            self.lost = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_that_takes_no_events_is_told_how_many_it_lost() {
        let (sender, mut events) = mpsc::channel(4);
        let mut outbox = Outbox::new(sender);
        for _ in 0..4 + BACKLOG + 3 {
            outbox.push(MediaEvent::Drained);
        }
        let mut taken = Vec::new();
        for _ in 0..BACKLOG {
            outbox.flush();
            while let Ok(event) = events.try_recv() {
                taken.push(event);
            }
        }
        assert_eq!(taken.len(), 4 + BACKLOG + 1);
        assert_eq!(taken.last(), Some(&MediaEvent::Lost(3)));
        outbox.push(MediaEvent::Drained);
        assert_eq!(events.try_recv(), Ok(MediaEvent::Drained));
    }
}
