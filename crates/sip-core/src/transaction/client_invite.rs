//! INVITE client transaction: RFC 3261 §17.1.1 (figure 5) with the Accepted state of RFC 6026 §7.2.

use std::time::Duration;

use bytes::Bytes;
use sip_message::Message;
use timebase::{Now, earliest};

use super::timers::{Backoff, Timers};
use super::{Output, Outputs, hop};

/// An INVITE that we sent.
#[derive(Clone, Debug)]
pub struct ClientInvite {
    request: Message,
    timers: Timers,
    reliable: bool,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Timer A is `retransmit`, absent on reliable transports; timer B is `give_up`.
    /// Nobody waits for the final response of an `abandoned` one.
    Calling {
        retransmit: Option<Backoff>,
        give_up: Now,
        abandoned: bool,
    },
    /// `give_up` is set by a CANCEL that may stay without effect, RFC 3261 §9.1, or by the end of
    /// the dialog.
    Proceeding {
        give_up: Option<Now>,
    },
    /// Timer M is `until`.
    Accepted {
        until: Now,
    },
    /// Timer D is `until`.
    Completed {
        ack: Bytes,
        until: Now,
    },
    Terminated,
}

impl ClientInvite {
    /// Sends the INVITE.
    pub fn new(
        now: Now,
        timers: Timers,
        reliable: bool,
        request: Message,
        out: &mut Outputs,
    ) -> Self {
        out.push_back(Output::Send(request.bytes().clone()));
        // Timer A has no cap of its own: timer B ends it.
        let retransmit = (!reliable).then(|| Backoff::new(now, timers.t1, timers.give_up()));
        let state = State::Calling {
            retransmit,
            give_up: now + timers.give_up(),
            abandoned: false,
        };
        Self {
            request,
            timers,
            reliable,
            state,
        }
    }

    /// The INVITE, from which its CANCEL is made.
    #[must_use]
    pub const fn request(&self) -> &Message {
        &self.request
    }

    /// Whether a provisional response has come and no final one, so that CANCEL may be sent
    /// (RFC 3261 §9.1).
    #[must_use]
    pub const fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// Whether no final response has come.
    #[must_use]
    pub const fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding { .. })
    }

    /// Takes a response. The ACK for a final response other than 2xx is sent here; the one for
    /// 2xx belongs to the dialog (RFC 3261 §13.2.2.4).
    pub fn handle_response(&mut self, now: Now, response: &Message, out: &mut Outputs) {
        let Some(status) = response.status() else {
            return;
        };
        match (&self.state, status) {
            (State::Calling { abandoned, .. }, ..=199) => {
                let give_up = abandoned.then(|| now + self.timers.give_up());
                self.state = State::Proceeding { give_up };
                out.push_back(Output::Pass(Box::new(response.clone())));
            }
            (State::Proceeding { .. }, ..=199) => {
                out.push_back(Output::Pass(Box::new(response.clone())))
            }
            (State::Calling { .. } | State::Proceeding { .. }, 200..=299) => {
                self.state = State::Accepted {
                    until: now + self.timers.give_up(),
                };
                out.push_back(Output::Pass(Box::new(response.clone())));
            }
            (State::Calling { .. } | State::Proceeding { .. }, 300..) => {
                self.refused(now, response, out)
            }
            (State::Accepted { .. }, 200..=299) => {
                out.push_back(Output::Pass(Box::new(response.clone())))
            }
            (State::Completed { ack, .. }, 300..) => out.push_back(Output::Send(ack.clone())),
            (State::Accepted { .. }, ..=199 | 300..)
            | (State::Completed { .. }, ..=299)
            | (State::Terminated, _) => {}
        }
    }

    /// Sets timer B to `patience` from now, where that is sooner. A response ends it as ever.
    pub fn limit_silence(&mut self, now: Now, patience: Duration) {
        match &mut self.state {
            State::Calling { give_up, .. } => *give_up = (*give_up).min(now + patience),
            State::Proceeding { .. }
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Terminated => {}
        }
    }

    /// A CANCEL was sent, or the dialog of a re-INVITE is over: unless a final response comes
    /// within 64·T1, the INVITE counts as cancelled (RFC 3261 §9.1) and this transaction times out.
    pub fn cancelled(&mut self, now: Now) {
        match &mut self.state {
            State::Calling { abandoned, .. } => *abandoned = true,
            State::Proceeding {
                give_up: give_up @ None,
            } => *give_up = Some(now + self.timers.give_up()),
            State::Proceeding { give_up: Some(_) }
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Terminated => {}
        }
    }

    /// The transport could not deliver (RFC 3261 §17.1.4). Once there is a final response, the
    /// transaction user has nothing more to learn.
    pub fn handle_failure(&mut self, out: &mut Outputs) {
        match self.state {
            State::Calling { .. } | State::Proceeding { .. } => {
                out.push_back(Output::Failed);
                self.end(out);
            }
            State::Completed { .. } => self.end(out),
            State::Accepted { .. } | State::Terminated => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outputs) {
        match &mut self.state {
            State::Calling { give_up, .. }
            | State::Proceeding {
                give_up: Some(give_up),
            } if now >= *give_up => {
                out.push_back(Output::TimedOut);
                self.end(out);
            }
            State::Calling {
                retransmit: Some(retransmit),
                ..
            } if retransmit.is_due(now) => {
                retransmit.restart(now);
                out.push_back(Output::Send(self.request.bytes().clone()));
            }
            State::Accepted { until } | State::Completed { until, .. } if now >= *until => {
                self.end(out)
            }
            State::Calling { .. }
            | State::Proceeding { .. }
            | State::Accepted { .. }
            | State::Completed { .. }
            | State::Terminated => {}
        }
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        match &self.state {
            State::Calling {
                retransmit,
                give_up,
                ..
            } => earliest(retransmit.as_ref().map(Backoff::at), Some(*give_up)),
            State::Proceeding { give_up } => *give_up,
            State::Accepted { until } | State::Completed { until, .. } => Some(*until),
            State::Terminated => None,
        }
    }

    fn refused(&mut self, now: Now, response: &Message, out: &mut Outputs) {
        let ack = hop::ack_for(&self.request, response);
        out.push_back(Output::Send(ack.clone()));
        out.push_back(Output::Pass(Box::new(response.clone())));
        if self.reliable {
            self.end(out);
        } else {
            self.state = State::Completed {
                ack,
                until: now + self.timers.linger_after_refusal(),
            };
        }
    }

    fn end(&mut self, out: &mut Outputs) {
        self.state = State::Terminated;
        out.push_back(Output::Ended);
    }
}
