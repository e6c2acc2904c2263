//! `builtin:silence`: listens and says nothing.

use timebase::Now;

use crate::agent::{Agent, AgentInput, AgentOutput};

/// Does nothing at all; the caller hears the gateway's own silence.
#[derive(Debug)]
pub(super) struct Silence;

impl Agent for Silence {
    fn handle_input(&mut self, _now: Now, _input: AgentInput<'_>) {}

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_output(&mut self) -> Option<AgentOutput> {
        None
    }

    fn poll_timeout(&self) -> Option<Now> {
        None
    }
}
