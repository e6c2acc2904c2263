//! INVITE server transaction: RFC 3261 §17.2.1 (figure 7) with the Accepted state of RFC 6026 §7.1.

use bytes::Bytes;
use sip_message::Message;
use timebase::{Now, earliest};

use super::timers::{Backoff, Timers};
use super::{Misuse, Output, Outputs};

/// An INVITE that came to us.
#[derive(Clone, Debug)]
pub struct ServerInvite {
    timers: Timers,
    reliable: bool,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Proceeding {
        last: Option<Bytes>,
    },
    /// Timer L is `until`.
    Accepted {
        until: Now,
    },
    /// Timer G is `retransmit`, absent on reliable transports; timer H is `give_up`.
    Completed {
        response: Bytes,
        retransmit: Option<Backoff>,
        give_up: Now,
    },
    /// Timer I is `until`.
    Confirmed {
        until: Now,
    },
    Terminated,
}

impl ServerInvite {
    /// Takes charge of an INVITE. The transaction user gives 100 at once (RFC 3261 §17.2.1 leaves
    /// 200 ms for something better), so no timer runs before the final response.
    #[must_use]
    pub const fn new(timers: Timers, reliable: bool) -> Self {
        Self {
            timers,
            reliable,
            state: State::Proceeding { last: None },
        }
    }

    /// Sends a response of the transaction user. A 2xx may be given again while Accepted: its
    /// retransmission belongs to the dialog (RFC 3261 §13.3.1.4, [`super::Retransmit2xx`]).
    pub fn respond(
        &mut self,
        now: Now,
        status: u16,
        response: Bytes,
        out: &mut Outputs,
    ) -> Result<(), Misuse> {
        match (&mut self.state, status) {
            (_, ..=99 | 700..) => return Err(Misuse::NoStatus),
            (State::Proceeding { last }, 100..=199) => {
                *last = Some(response.clone());
                out.push_back(Output::Send(response));
            }
            (State::Proceeding { .. }, 200..=299) => {
                self.state = State::Accepted {
                    until: now + self.timers.give_up(),
                };
                out.push_back(Output::Send(response));
            }
            (State::Proceeding { .. }, 300..=699) => {
                out.push_back(Output::Send(response.clone()));
                let retransmit =
                    (!self.reliable).then(|| Backoff::new(now, self.timers.t1, self.timers.t2));
                self.state = State::Completed {
                    response,
                    retransmit,
                    give_up: now + self.timers.give_up(),
                };
            }
            (State::Accepted { .. }, 200..=299) => out.push_back(Output::Send(response)),
            (State::Accepted { .. }, 100..=199 | 300..=699)
            | (State::Completed { .. } | State::Confirmed { .. } | State::Terminated, 100..=699) => {
                return Err(Misuse::AlreadyAnswered);
            }
        }
        Ok(())
    }

    /// The INVITE came again.
    pub fn handle_request_again(&mut self, out: &mut Outputs) {
        match &self.state {
            State::Proceeding {
                last: Some(response),
            }
            | State::Completed { response, .. } => {
                out.push_back(Output::Send(response.clone()));
            }
            State::Proceeding { last: None }
            | State::Accepted { .. }
            | State::Confirmed { .. }
            | State::Terminated => {}
        }
    }

    /// An ACK came. After a 2xx it is passed on (only peers of RFC 2543 send it in this
    /// transaction).
    pub fn handle_ack(&mut self, now: Now, ack: &Message, out: &mut Outputs) {
        match &self.state {
            State::Completed { .. } if self.reliable => self.end(out),
            State::Completed { .. } => {
                self.state = State::Confirmed {
                    until: now + self.timers.t4,
                }
            }
            State::Accepted { .. } => out.push_back(Output::Pass(Box::new(ack.clone()))),
            State::Proceeding { .. } | State::Confirmed { .. } | State::Terminated => {}
        }
    }

    /// The transport could not deliver a response: the transaction user learns it and the
    /// transaction stays as it is (RFC 6026 §7.1), since the peer may ask again.
    pub fn handle_failure(&mut self, out: &mut Outputs) {
        match self.state {
            State::Proceeding { .. } | State::Accepted { .. } | State::Completed { .. } => {
                out.push_back(Output::Failed);
            }
            State::Confirmed { .. } | State::Terminated => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outputs) {
        match &mut self.state {
            State::Completed { give_up, .. } if now >= *give_up => {
                out.push_back(Output::TimedOut);
                self.end(out);
            }
            State::Completed {
                response,
                retransmit: Some(retransmit),
                ..
            } if retransmit.is_due(now) => {
                retransmit.restart(now);
                out.push_back(Output::Send(response.clone()));
            }
            State::Accepted { until } | State::Confirmed { until } if now >= *until => {
                self.end(out)
            }
            State::Proceeding { .. }
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Confirmed { .. }
            | State::Terminated => {}
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        match &self.state {
            State::Completed {
                retransmit,
                give_up,
                ..
            } => earliest(retransmit.as_ref().map(Backoff::at), Some(*give_up)),
            State::Accepted { until } | State::Confirmed { until } => Some(*until),
            State::Proceeding { .. } | State::Terminated => None,
        }
    }

    fn end(&mut self, out: &mut Outputs) {
        self.state = State::Terminated;
        out.push_back(Output::Ended);
    }
}
