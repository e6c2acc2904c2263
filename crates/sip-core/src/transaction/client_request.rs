//! Non-INVITE client transaction: RFC 3261 §17.1.2 (figure 6).

use std::time::Duration;

use bytes::Bytes;
use sip_message::Message;
use timebase::{Now, earliest};

use super::timers::{Backoff, Timers};
use super::{Output, Outputs};

/// A request other than INVITE and ACK that we sent.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    request: Bytes,
    timers: Timers,
    reliable: bool,
    /// When timer F is due if the peer has said anything.
    give_up: Now,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Timer E is `retransmit`, absent on reliable transports; timer F is `give_up`.
    Trying {
        retransmit: Option<Backoff>,
        give_up: Now,
    },
    /// Timers E and F as in Trying; E now fires every T2.
    Proceeding {
        retransmit: Option<Backoff>,
        give_up: Now,
    },
    /// Timer K is `until`.
    Completed {
        until: Now,
    },
    Terminated,
}

impl ClientRequest {
    /// Sends the request.
    pub fn new(
        now: Now,
        timers: Timers,
        reliable: bool,
        request: Bytes,
        out: &mut Outputs,
    ) -> Self {
        out.push_back(Output::Send(request.clone()));
        let retransmit = (!reliable).then(|| Backoff::new(now, timers.t1, timers.t2));
        let give_up = now + timers.give_up();
        let state = State::Trying {
            retransmit,
            give_up,
        };
        Self {
            request,
            timers,
            reliable,
            give_up,
            state,
        }
    }

    /// Whether no final response has come.
    #[must_use]
    pub const fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Trying { .. } | State::Proceeding { .. })
    }

    /// Nothing at all has come: it fails after so much silence already.
    pub fn limit_silence(&mut self, now: Now, patience: Duration) {
        match &mut self.state {
            State::Trying { give_up, .. } => *give_up = (*give_up).min(now + patience),
            State::Proceeding { .. } | State::Completed { .. } | State::Terminated => {}
        }
    }

    /// Takes a response.
    pub fn handle_response(&mut self, now: Now, response: &Message, out: &mut Outputs) {
        let Some(status) = response.status() else {
            return;
        };
        match (&self.state, status) {
            (State::Trying { retransmit, .. }, ..=199) => {
                let mut retransmit = *retransmit;
                retransmit.iter_mut().for_each(Backoff::settle);
                self.state = State::Proceeding {
                    retransmit,
                    give_up: self.give_up,
                };
                out.push_back(Output::Pass(Box::new(response.clone())));
            }
            (State::Proceeding { .. }, ..=199) => {
                out.push_back(Output::Pass(Box::new(response.clone())))
            }
            (State::Trying { .. } | State::Proceeding { .. }, 200..) => {
                out.push_back(Output::Pass(Box::new(response.clone())));
                if self.reliable {
                    self.end(out);
                } else {
                    self.state = State::Completed {
                        until: now + self.timers.t4,
                    };
                }
            }
            (State::Completed { .. } | State::Terminated, _) => {}
        }
    }

    /// The transport could not deliver (RFC 3261 §17.1.4).
    pub fn handle_failure(&mut self, out: &mut Outputs) {
        match self.state {
            State::Trying { .. } | State::Proceeding { .. } => {
                out.push_back(Output::Failed);
                self.end(out);
            }
            State::Completed { .. } | State::Terminated => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outputs) {
        match &mut self.state {
            State::Trying { give_up, .. } | State::Proceeding { give_up, .. }
                if now >= *give_up =>
            {
                out.push_back(Output::TimedOut);
                self.end(out);
            }
            State::Trying {
                retransmit: Some(retransmit),
                ..
            }
            | State::Proceeding {
                retransmit: Some(retransmit),
                ..
            } if retransmit.is_due(now) => {
                retransmit.restart(now);
                out.push_back(Output::Send(self.request.clone()));
            }
            State::Completed { until } if now >= *until => self.end(out),
            State::Trying { .. }
            | State::Proceeding { .. }
            | State::Completed { .. }
            | State::Terminated => {}
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        match &self.state {
            State::Trying {
                retransmit,
                give_up,
            }
            | State::Proceeding {
                retransmit,
                give_up,
            } => earliest(retransmit.as_ref().map(Backoff::at), Some(*give_up)),
            State::Completed { until } => Some(*until),
            State::Terminated => None,
        }
    }

    fn end(&mut self, out: &mut Outputs) {
        self.state = State::Terminated;
        out.push_back(Output::Ended);
    }
}
