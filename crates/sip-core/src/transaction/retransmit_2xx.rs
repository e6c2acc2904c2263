//! Retransmission of a 2xx to INVITE by the user agent core, RFC 3261 §13.3.1.4.

use bytes::Bytes;
use timebase::Now;

use super::timers::{Backoff, Timers};
use super::{Output, Outputs};

/// A 2xx that is sent until its ACK comes: after T1, then doubling to T2, for 64·T1. Reliable
/// transports too, since a hop behind the first may lose it.
#[derive(Clone, Debug)]
pub struct Retransmit2xx {
    response: Bytes,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Waiting { retransmit: Backoff, give_up: Now },
    Over,
}

impl Retransmit2xx {
    /// Begins when the response has been sent for the first time.
    #[must_use]
    pub fn new(now: Now, timers: Timers, response: Bytes) -> Self {
        let retransmit = Backoff::new(now, timers.t1, timers.t2);
        Self {
            response,
            state: State::Waiting {
                retransmit,
                give_up: now + timers.give_up(),
            },
        }
    }

    /// The ACK came: nothing more is sent.
    pub fn acknowledged(&mut self) {
        self.state = State::Over;
    }

    /// Whether the ACK is still missing and hoped for.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// The response.
    #[must_use]
    pub const fn response(&self) -> &Bytes {
        &self.response
    }

    /// Does what is due: [`Output::Send`], or [`Output::TimedOut`] when no ACK came, upon which
    /// the dialog is ended with BYE.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outputs) {
        match &mut self.state {
            State::Waiting { give_up, .. } if now >= *give_up => {
                self.state = State::Over;
                out.push_back(Output::TimedOut);
            }
            State::Waiting { retransmit, .. } if retransmit.is_due(now) => {
                retransmit.restart(now);
                out.push_back(Output::Send(self.response.clone()));
            }
            State::Waiting { .. } | State::Over => {}
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        match &self.state {
            State::Waiting {
                retransmit,
                give_up,
            } => Some(retransmit.at().min(*give_up)),
            State::Over => None,
        }
    }
}
