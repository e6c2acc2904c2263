//! Non-INVITE server transaction: RFC 3261 §17.2.2 (figure 8) with the rules of RFC 4320 §4.

use bytes::Bytes;
use timebase::Now;

use super::timers::Timers;
use super::{Misuse, Output, Outputs};

/// A request other than INVITE and ACK that came to us.
#[derive(Clone, Debug)]
pub struct ServerRequest {
    timers: Timers,
    reliable: bool,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// `too_late` is when the client's timer F has fired; before `settled` an unreliable
    /// transport carries no 100.
    Trying {
        settled: Now,
        too_late: Now,
    },
    /// `too_late` as in Trying.
    Proceeding {
        last: Bytes,
        too_late: Now,
    },
    /// Timer J is `until`.
    Completed {
        response: Bytes,
        until: Now,
    },
    Terminated,
}

impl ServerRequest {
    /// Takes charge of a request.
    #[must_use]
    pub fn new(now: Now, timers: Timers, reliable: bool) -> Self {
        let state = State::Trying {
            settled: now + timers.settled(),
            too_late: now + timers.give_up(),
        };
        Self {
            timers,
            reliable,
            state,
        }
    }

    /// Sends a response of the transaction user.
    pub fn respond(
        &mut self,
        now: Now,
        status: u16,
        response: Bytes,
        out: &mut Outputs,
    ) -> Result<(), Misuse> {
        match (&self.state, status) {
            (_, ..=99 | 700..) => Err(Misuse::NoStatus),
            (_, 101..=199) => Err(Misuse::Provisional),
            (_, 408) => Err(Misuse::RequestTimeout),
            (State::Completed { .. } | State::Terminated, 100 | 200..=699) => {
                Err(Misuse::AlreadyAnswered)
            }
            (State::Trying { settled, .. }, 100) if !self.reliable && now < *settled => {
                Err(Misuse::TooEarly)
            }
            (State::Trying { too_late, .. } | State::Proceeding { too_late, .. }, 100) => {
                self.state = State::Proceeding {
                    last: response.clone(),
                    too_late: *too_late,
                };
                out.push_back(Output::Send(response));
                Ok(())
            }
            (State::Trying { .. } | State::Proceeding { .. }, 200..=699) => {
                self.answer(now, response, out);
                Ok(())
            }
        }
    }

    /// The request came again.
    pub fn handle_request_again(&mut self, out: &mut Outputs) {
        match &self.state {
            State::Proceeding { last: response, .. } | State::Completed { response, .. } => {
                out.push_back(Output::Send(response.clone()));
            }
            State::Trying { .. } | State::Terminated => {}
        }
    }

    /// The transport could not deliver a response: the transaction user learns it and the
    /// transaction stays as it is (RFC 6026 §7.1).
    pub fn handle_failure(&mut self, out: &mut Outputs) {
        match self.state {
            State::Trying { .. } | State::Proceeding { .. } | State::Completed { .. } => {
                out.push_back(Output::Failed);
            }
            State::Terminated => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outputs) {
        match &self.state {
            State::Trying { too_late, .. } | State::Proceeding { too_late, .. }
                if now >= *too_late =>
            {
                out.push_back(Output::TimedOut);
                self.end(out);
            }
            State::Completed { until, .. } if now >= *until => self.end(out),
            State::Trying { .. }
            | State::Proceeding { .. }
            | State::Completed { .. }
            | State::Terminated => {}
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Now> {
        match &self.state {
            State::Trying { too_late, .. } | State::Proceeding { too_late, .. } => Some(*too_late),
            State::Completed { until, .. } => Some(*until),
            State::Terminated => None,
        }
    }

    fn answer(&mut self, now: Now, response: Bytes, out: &mut Outputs) {
        out.push_back(Output::Send(response.clone()));
        if self.reliable {
            self.end(out);
        } else {
            self.state = State::Completed {
                response,
                until: now + self.timers.give_up(),
            };
        }
    }

    fn end(&mut self, out: &mut Outputs) {
        self.state = State::Terminated;
        out.push_back(Output::Ended);
    }
}
