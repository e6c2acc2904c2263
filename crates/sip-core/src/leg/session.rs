//! A leg whose INVITE was answered: ACK, BYE and what keeps a dialog together, RFC 3261 §13 and §15.

use std::time::Duration;

use sip_message::{Message, Method};
use timebase::{Now, earliest};

use super::info::Keys;
use super::offers::Session;
use super::refer::{Referee, Referrer};
use super::reliable::Reliable;
use super::session_timer::SessionTimer;
use super::{Extra, Leg, Phase};
use crate::answers::reasons_of;
use crate::ended::Ended;
use crate::stack::{Incoming, Purpose, Reply, Stack};
use crate::transaction::TxId;
use crate::vocabulary::{Header, LegEvent, Response};

/// How long the last NOTIFY of a REFER is awaited after a BYE.
const LINGER: Duration = Duration::from_secs(1);

/// A leg with a confirmed dialog.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) session: Session,
    pub(super) timer: SessionTimer,
    /// For PRACKs that come after the 200.
    pub(super) reliable: Reliable,
    /// The sequence number of the first INVITE.
    pub(super) invite_cseq: u32,
    pub(super) referrer: Referrer,
    pub(super) referee: Referee,
    pub(super) keys: Keys,
    pub(super) life: Life,
}

/// How the leg stands.
#[derive(Debug)]
pub(super) enum Life {
    /// The call is up.
    Standing,
    /// Our BYE waits for the ACK of our 200, RFC 3261 §15.
    Owed(Vec<Header>),
    /// Our BYE is out, in this transaction.
    Leaving { bye: Option<TxId> },
    /// A BYE ended the dialog while the result of our REFER was still to come.
    Lingering { until: Now, why: Ended },
}

impl Up {
    pub(super) fn new(session: Session, timer: SessionTimer, invite_cseq: u32) -> Self {
        Self {
            session,
            timer,
            reliable: Reliable::default(),
            invite_cseq,
            referrer: Referrer::default(),
            referee: Referee::default(),
            keys: Keys::default(),
            life: Life::Standing,
        }
    }

    /// The peer's requests that have no final response yet.
    pub(super) fn open_requests(&self) -> impl Iterator<Item = &Incoming> {
        self.session
            .offers
            .open_request()
            .into_iter()
            .chain(self.referee.open_request())
    }

    pub(super) fn poll_timeout(&self) -> Option<Now> {
        let life = match &self.life {
            Life::Lingering { until, .. } => Some(*until),
            Life::Standing => self.timer.poll_timeout(),
            Life::Owed(_) | Life::Leaving { .. } => None,
        };
        earliest(life, self.session.offers.poll_timeout())
    }
}

impl Leg {
    pub(super) fn session_timeout(&mut self, now: Now, stack: &mut Stack) {
        let Phase::Up(up) = &self.phase else { return };
        match up.life {
            Life::Lingering { until, why } if now >= until => self.end(now, stack, why),
            Life::Lingering { .. } => {}
            Life::Standing | Life::Owed(_) | Life::Leaving { .. } => {
                self.offers_timeout(now, stack);
                self.session_timer_timeout(now, stack);
            }
        }
    }

    /// ACK of a 2xx, RFC 3261 §13.3.1.4.
    pub(crate) fn handle_ack(&mut self, now: Now, stack: &mut Stack, ack: &Message) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let number = ack.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let Some(event) = up.session.offers.acknowledged(number, ack) else {
            return;
        };
        if let Life::Owed(headers) = &mut up.life {
            let headers = std::mem::take(headers);
            return self.send_bye(now, stack, &headers);
        }
        event
            .into_iter()
            .for_each(|event| stack.emit(self.id, event));
        self.offers_settled(now, stack);
    }

    /// The shell hangs up.
    pub(super) fn leave(&mut self, now: Now, stack: &mut Stack, headers: Vec<Header>) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        match &up.life {
            Life::Standing if up.session.offers.awaits_first_ack() => up.life = Life::Owed(headers),
            Life::Standing => {
                self.settle_owed_ack(stack);
                self.send_bye(now, stack, &headers);
            }
            Life::Lingering { why, .. } => {
                let why = *why;
                self.end(now, stack, why);
            }
            Life::Owed(_) | Life::Leaving { .. } => {}
        }
    }

    /// Sends BYE, RFC 3261 §15.1.1; what is still open is ended with it.
    pub(super) fn send_bye(&mut self, now: Now, stack: &mut Stack, headers: &[Header]) {
        self.close(now, stack, Life::Leaving { bye: None });
        let extra = Extra {
            headers,
            ..Extra::default()
        };
        let sent = self.request(now, stack, &Method::Bye, Purpose::Bye, extra);
        self.leaves_in(sent);
    }

    /// Our BYE is in this transaction now.
    pub(super) fn leaves_in(&mut self, tx: Option<TxId>) {
        if let Phase::Up(up) = &mut self.phase
            && let Life::Leaving { bye } = &mut up.life
        {
            *bye = tx;
        }
    }

    /// 64·T1 without ACK: BYE, RFC 3261 §13.3.1.4.
    pub(super) fn never_acknowledged(&mut self, now: Now, stack: &mut Stack) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let headers = match &mut up.life {
            Life::Owed(headers) => std::mem::take(headers),
            Life::Standing | Life::Leaving { .. } | Life::Lingering { .. } => {
                vec![Header::new("Reason", "SIP;cause=408;text=\"No ACK\"")]
            }
        };
        self.send_bye(now, stack, &headers);
        self.end(now, stack, Ended::NoAck);
    }

    pub(super) fn bye_answered(&mut self, now: Now, stack: &mut Stack, reply: &Reply) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if !matches!(up.life, Life::Leaving { .. }) {
            return;
        }
        let why = Ended::ByeAnswered(reply.status);
        if up.referrer.is_awaited() && reply.message.is_some() && reply.status != 481 {
            let until = now + LINGER;
            up.life = Life::Lingering { until, why };
        } else {
            self.end(now, stack, why);
        }
    }

    /// The peer's BYE, RFC 3261 §15.1.2.
    pub(super) fn peer_hangs_up(&mut self, now: Now, stack: &mut Stack, incoming: &Incoming) {
        let reasons = reasons_of(&incoming.request);
        match &mut self.phase {
            Phase::Arriving(_) => {
                self.reply(now, stack, incoming, &Response::new(200));
                self.peer_cancels(now, stack, &incoming.request);
            }
            Phase::Up(up) => {
                let lingers = matches!(up.life, Life::Standing | Life::Leaving { .. })
                    && up.referrer.is_awaited();
                let again = matches!(up.life, Life::Lingering { .. });
                // A BYE of ours that crosses it is worth no other connection.
                if let Life::Leaving { bye: Some(bye) } = up.life {
                    stack.leave_to_its_path(bye);
                }
                self.reply(now, stack, incoming, &Response::new(200));
                if again {
                    return;
                }
                stack.emit(self.id, LegEvent::HungUp { reasons });
                if lingers {
                    self.close(
                        now,
                        stack,
                        Life::Lingering {
                            until: now + LINGER,
                            why: Ended::HungUp,
                        },
                    );
                } else {
                    self.end(now, stack, Ended::HungUp);
                }
            }
            Phase::Calling(_) | Phase::Ended(_) => {
                self.reply(now, stack, incoming, &Response::new(481))
            }
        }
    }

    /// The session is over while the leg is not: the peer's open requests are answered 487
    /// (RFC 3261 §15.1.2).
    fn close(&mut self, now: Now, stack: &mut Stack, life: Life) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        up.life = life;
        let open: Vec<Incoming> = up.open_requests().cloned().collect();
        let unanswered = up.session.offers.stop();
        up.referee.stop();
        if let Some(tx) = unanswered {
            stack.table.cancelled(now, tx);
        }
        for incoming in &open {
            self.reply(now, stack, incoming, &Response::new(487));
        }
    }

    /// Whether the session still takes requests that change it.
    pub(super) const fn is_standing(&self) -> bool {
        match &self.phase {
            Phase::Up(up) => matches!(up.life, Life::Standing),
            Phase::Arriving(_) | Phase::Calling(_) | Phase::Ended(_) => false,
        }
    }
}
