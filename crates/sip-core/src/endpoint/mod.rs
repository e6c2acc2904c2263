//! The endpoint: every transaction, dialog and leg of one SIP node, as one machine.

use std::collections::VecDeque;

use timebase::Now;

use crate::config::EndpointConfig;
use crate::vocabulary::{Census, Counters, Input, Output};

/// A SIP endpoint without input or output: RFC 3261's transaction layer and user agent core.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Endpoint {
    /// An endpoint; all its tags, branches, Call-IDs and nonces come from `seed`.
    #[must_use]
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let _ = seed;
        Self { config, outputs: VecDeque::new(), counters: Counters::default() }
    }

    /// Takes one input; what it causes is read with [`Self::poll_output`].
    pub fn handle_input(&mut self, now: Now, input: Input) {
        let _ = (now, input, &self.config);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
    }

    /// The next thing to do for the shell.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        None
    }

    /// How much the endpoint holds.
    #[must_use]
    pub fn census(&self) -> Census {
        Census::default()
    }

    /// What the endpoint has counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
