//! One call's media.

use crate::{Figures, Input, Output, Side};
use timebase::Now;

/// One call's media: two legs, the agent's play-out queue and its taps.
#[derive(Debug)]
pub struct Session {
    started: Now,
}

impl Session {
    /// A session that starts now; `seed` chooses SSRCs and first sequence numbers.
    #[must_use]
    pub fn new(now: Now, seed: u64) -> Self {
        let _ = seed;
        Self { started: now }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        let _ = (now, input);
    }

    /// Does what is due: one or more 20 ms slots.
    pub fn handle_timeout(&mut self, now: Now) {
        self.started = now;
    }

    /// The next output; drain to `None` after each input.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        None
    }

    /// When the last RTP packet of a leg came.
    #[must_use]
    pub fn last_packet(&self, side: Side) -> Option<Now> {
        let _ = side;
        None
    }

    /// The figures of a leg.
    #[must_use]
    pub fn figures(&self, side: Side) -> Figures {
        let _ = side;
        Figures::default()
    }
}
