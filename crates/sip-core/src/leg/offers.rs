//! A session's offers and answers, RFC 3264 in the requests and responses of RFC 3261 §13 and §14,
//! RFC 3262 §5, RFC 3311 and RFC 6141; and the ACK that every 2xx of ours waits for.
//!
//! At most one offer is open at a time. What the peer may not offer now is answered 491 or 500;
//! what we may not offer now waits for its turn.

use bytes::Bytes;
use sip_message::Message;
use timebase::{Now, earliest};

use crate::answers::{reply_flow, sdp_of};
use crate::dialog::Dialog;
use crate::flow::{ConnectionId, Flow};
use crate::stack::{Incoming, Stack};
use crate::transaction::{Output, Outputs, Retransmit2xx, TxId};
use crate::vocabulary::{LegEvent, Response};

/// A dialog, early or confirmed, and the offers made in it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) dialog: Dialog,
    pub(super) offers: Offers,
}

impl Session {
    /// The 2xx came: its routes and target count from now on, RFC 3261 §13.2.2.4.
    pub(super) fn confirmed(mut self, dialog: Dialog) -> Self {
        self.dialog.confirm(dialog);
        self
    }
}

/// The offer and answer state of a session.
#[derive(Debug)]
pub(super) struct Offers {
    pub(super) state: State,
    /// An offer of ours that waits for its turn.
    pub(super) queued: Option<Bytes>,
    /// Our latest description, which a refresh repeats (RFC 4028 §7.4).
    pub(super) local: Option<Bytes>,
    /// The peer's latest description.
    pub(super) remote: Option<Bytes>,
    unacknowledged: Option<Box<Unacknowledged>>,
}

#[derive(Debug)]
pub(super) enum State {
    /// The first INVITE's offer has no reliable answer yet, or that INVITE had none.
    Initial,
    /// Nothing is open.
    Stable,
    /// The peer's offer, or its wish for ours, waits for [`crate::Command::Answer`].
    Theirs { incoming: Box<Incoming> },
    /// Our offer in a reliable response waits for the answer in PRACK or ACK.
    Given,
    /// Our re-INVITE or UPDATE has no final response yet.
    Ours { offer: Ours, tx: Option<TxId> },
    /// Our offer met one of the peer's (491, RFC 3261 §14.1), or is to come later (500 with
    /// Retry-After, RFC 3311 §5.3), and is sent again at `until`.
    Postponed { until: Now, offer: Ours },
    /// The ACK of the peer's 200 waits for our answer to the offer in it.
    AckOwed { tx: TxId, cseq: u32 },
    /// The PRACK of the peer's provisional response waits for our answer to the offer in it.
    PrackOwed { rseq: u32 },
}

/// An offer of ours.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    pub(super) sdp: Bytes,
    /// Whether it only repeats what stands, to refresh the session.
    pub(super) refresh: bool,
    /// How often it was sent again.
    pub(super) again: u8,
}

#[derive(Debug)]
struct Unacknowledged {
    repeat: Retransmit2xx,
    incoming: Incoming,
    cseq: u32,
    /// Whether it answers the first INVITE.
    first: bool,
}

/// What became of a 2xx that waits for its ACK.
pub(super) enum Acknowledgement {
    /// It is sent once more.
    Repeated(Flow, Bytes),
    /// No ACK came for 64·T1.
    Missing,
}

impl Offers {
    /// Before the first INVITE's offer is answered.
    pub(super) const fn initial(local: Option<Bytes>, remote: Option<Bytes>) -> Self {
        Self {
            state: State::Initial,
            queued: None,
            local,
            remote,
            unacknowledged: None,
        }
    }

    /// Our 200 was sent, and with it, where `given`, our offer.
    pub(super) fn accepted(
        &mut self,
        now: Now,
        stack: &Stack,
        incoming: &Incoming,
        response: Bytes,
        (given, first): (bool, bool),
    ) {
        let cseq = incoming.request.cseq();
        self.unacknowledged = Some(Box::new(Unacknowledged {
            repeat: Retransmit2xx::new(now, stack.config.timers, response),
            incoming: incoming.clone(),
            cseq: cseq.map(|cseq| cseq.number).unwrap_or_default(),
            first,
        }));
        self.state = if given { State::Given } else { State::Stable };
    }

    /// A connection was closed.
    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        if let Some(waiting) = &mut self.unacknowledged {
            waiting.incoming.disconnect(connection);
        }
        if let State::Theirs { incoming } = &mut self.state {
            incoming.disconnect(connection);
        }
    }

    /// Nothing of it matters any more. The transaction of an open offer of ours is given back.
    pub(super) fn stop(&mut self) -> Option<TxId> {
        self.queued = None;
        self.unacknowledged = None;
        match std::mem::replace(&mut self.state, State::Stable) {
            State::Ours { tx, .. } => tx,
            State::Initial
            | State::Stable
            | State::Theirs { .. }
            | State::Given
            | State::Postponed { .. }
            | State::AckOwed { .. }
            | State::PrackOwed { .. } => None,
        }
    }

    /// Our offer is on its way, for the first time or again with credentials.
    pub(super) fn sent(&mut self, again: Option<TxId>) {
        if let State::Ours { tx, .. } = &mut self.state {
            *tx = again;
        }
    }

    /// Whether our open offer is in this transaction.
    pub(super) fn is_in(&self, tx: TxId) -> bool {
        matches!(&self.state, State::Ours { tx: Some(open), .. } if *open == tx)
    }

    pub(super) const fn open_request(&self) -> Option<&Incoming> {
        match &self.state {
            State::Theirs { incoming } => Some(incoming),
            State::Initial
            | State::Stable
            | State::Given
            | State::Ours { .. }
            | State::Postponed { .. }
            | State::AckOwed { .. }
            | State::PrackOwed { .. } => None,
        }
    }

    /// Whether [`crate::Command::Answer`] is awaited.
    pub(super) const fn awaits_answer(&self) -> bool {
        matches!(
            self.state,
            State::Theirs { .. } | State::PrackOwed { .. } | State::AckOwed { .. }
        )
    }

    pub(super) fn awaits_first_ack(&self) -> bool {
        self.unacknowledged
            .as_ref()
            .is_some_and(|waiting| waiting.first)
    }

    /// Whether an offer of ours can be made now.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self.state, State::Stable) && self.unacknowledged.is_none()
    }

    pub(super) fn poll_timeout(&self) -> Option<Now> {
        let repeat = self
            .unacknowledged
            .as_ref()
            .and_then(|waiting| waiting.repeat.poll_timeout());
        let again = match &self.state {
            State::Postponed { until, .. } => Some(*until),
            State::Initial
            | State::Stable
            | State::Theirs { .. }
            | State::Given
            | State::Ours { .. }
            | State::AckOwed { .. }
            | State::PrackOwed { .. } => None,
        };
        earliest(repeat, again)
    }

    /// What is due for a 2xx without ACK.
    pub(super) fn repeat_acceptance(&mut self, now: Now) -> Option<Acknowledgement> {
        let waiting = self.unacknowledged.as_mut()?;
        let mut out = Outputs::new();
        waiting.repeat.handle_timeout(now, &mut out);
        match out.pop_front()? {
            Output::Send(response) => {
                let flow = reply_flow(&waiting.incoming.request, waiting.incoming.flow);
                Some(Acknowledgement::Repeated(flow, response))
            }
            Output::TimedOut => Some(Acknowledgement::Missing),
            Output::Pass(_) | Output::Failed | Output::Ended => None,
        }
    }

    /// The postponed offer whose time has come.
    pub(super) fn resumed(&mut self, now: Now) -> Option<Ours> {
        match &self.state {
            State::Postponed { until, offer } if now >= *until => {
                let offer = offer.clone();
                self.state = State::Stable;
                Some(offer)
            }
            State::Postponed { .. }
            | State::Initial
            | State::Stable
            | State::Theirs { .. }
            | State::Given
            | State::Ours { .. }
            | State::AckOwed { .. }
            | State::PrackOwed { .. } => None,
        }
    }

    /// The ACK with this sequence number came. `None`: it is not awaited; else the event that it is, if any.
    pub(super) fn acknowledged(&mut self, number: u32, ack: &Message) -> Option<Option<LegEvent>> {
        let waiting = self
            .unacknowledged
            .take_if(|waiting| waiting.cseq == number)?;
        let given = matches!(self.state, State::Given);
        let answer = if given { sdp_of(ack) } else { None };
        if given {
            self.state = State::Stable;
            self.remote = answer.clone().or(self.remote.take());
        }
        Some(match (waiting.first, given) {
            (true, _) => Some(LegEvent::Confirmed { answer }),
            (false, true) => Some(LegEvent::OfferAnswered { sdp: answer }),
            (false, false) => None,
        })
    }

    /// A new INVITE says that the peer has our 200: its ACK was lost or overtaken, RFC 5407 §3.1.4.
    /// An offer of ours that was postponed waits for its turn.
    pub(super) fn presume_acknowledged(&mut self, is_invite: bool) -> Option<LegEvent> {
        if let State::Postponed { offer, .. } = &self.state {
            self.queued = (!offer.refresh)
                .then(|| offer.sdp.clone())
                .or(self.queued.take());
        }
        let waiting = self.unacknowledged.take_if(|_| is_invite)?;
        waiting
            .first
            .then_some(LegEvent::Confirmed { answer: None })
    }

    /// Why an offer of the peer cannot be taken now, RFC 3261 §14.2 and RFC 3311 §5.2.
    pub(super) fn obstacle(&self, retry_after: u32) -> Option<Response> {
        match &self.state {
            State::Stable | State::Postponed { .. } => None,
            State::Theirs { .. } | State::Initial => Some(later(retry_after)),
            State::Given | State::Ours { .. } | State::AckOwed { .. } | State::PrackOwed { .. } => {
                Some(Response::new(491))
            }
        }
    }
}

/// 500 with a Retry-After of 0 to 10 seconds, RFC 3261 §14.2.
pub(super) fn later(random: u32) -> Response {
    Response::new(500).with_header("Retry-After", (random % 11).to_string())
}
