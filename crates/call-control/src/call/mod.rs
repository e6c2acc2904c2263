//! One call: from its INVITE to its record.
//!
//! `Arriving → Answering → WithAgent → HandingBack → Ended`; each phase has a
//! file, and what may happen in several of them stands here.

mod arrive;
mod crossing;
mod diary;
mod end;
mod hand_back;
mod keys;
mod media;
mod negotiate;
mod reasons;
mod recover;
mod talk;

use std::collections::VecDeque;

use bytes::Bytes;
use media_core::Side;
use sdp::Codec;
use sip_core::{
    Command, Ended, Header, LegEvent, LegId, ReasonValue, Reliability, Response, TrunkId,
};
use timebase::Now;

use crate::io::{Input, MediaRequest, Output, StoreReply, StoreRequest};
use crate::media_leg::MediaLeg;
use crate::outcome::{Cause, Ender, Fragment, Outcome};
use crate::policy::Policy;
use crate::transfer::{Checkpoint, NewTransfer, Transfer, TransferId};
use diary::Diary;
use hand_back::{HandBack, ReferAnswer, Refused};
use recover::{Recovery, Restoring};
use talk::Talk;

pub use reasons::TRANSFER_HEADER;
pub use recover::{Progress, Recovered, Stage};

/// What is known of a call when it arrives.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The leg that the INVITE made.
    pub leg: LegId,
    /// The trunk that it came over.
    pub trunk: TrunkId,
    /// The transfer that it names.
    pub transfer: TransferId,
    /// The offer; none when the INVITE had no SDP.
    pub offer: Option<Bytes>,
    /// Whether provisional responses are to be reliable (RFC 3262).
    pub reliability: Reliability,
    /// Whether the peer takes REFER, as far as its Allow header says.
    pub allow_refer: bool,
    /// The INVITE's Max-Forwards.
    pub max_forwards: u8,
    /// The From name-addr of a returned call: the caller's identity.
    pub caller_identity: Bytes,
    /// Header fields of the INVITE that a returned call carries on (P-Asserted-Identity).
    pub passed_on: Vec<Header>,
    /// Further header fields of a REFER.
    pub on_refer: Vec<Header>,
    /// Further header fields of the BYE of a hand-back.
    pub on_bye: Vec<Header>,
    /// Header fields embedded in the URI of a Refer-To.
    pub in_refer_to: Vec<(String, String)>,
    /// Parameters of the URI of a Refer-To, behind its own.
    pub refer_to_parameters: Vec<(String, String)>,
    /// The host of the URI of a Refer-To; none: as in the return URI.
    pub refer_to_host: Option<String>,
    /// What a REFER says of who sends it (RFC 3892).
    pub referred_by: Option<Bytes>,
    /// The transfer that the INVITE itself brought, in its headers: it is registered before it is claimed.
    pub brought: Option<Box<NewTransfer>>,
    /// The host that telephone numbers are called at; without one, tel URIs cannot be.
    pub tel_host: Option<String>,
    /// The session id of our SDP.
    pub session_id: u64,
    /// The codecs that we offer, in order.
    pub codecs: Vec<Codec>,
    /// How its media are protected.
    pub media: crate::MediaRules,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The transfer is being claimed.
    Arriving,
    /// Media and agent are being made ready.
    Answering,
    /// The agent has the caller.
    WithAgent,
    /// The hand-back is under way.
    HandingBack,
    /// Caller and target talk.
    Bridged,
    /// Legs and store are being brought to their end.
    Ending,
    /// Over.
    Ended,
}

/// One call. Four verbs: [`Call::handle_input`], [`Call::handle_timeout`],
/// [`Call::poll_output`], [`Call::poll_timeout`].
#[derive(Debug)]
pub struct Call {
    facts: Facts,
    policy: Policy,
    state: State,
    caller: CallerLeg,
    target: Option<TargetLeg>,
    /// Placed legs that were told to end and have not yet.
    lingering: Vec<LegId>,
    claim: Option<Claim>,
    checkpoint: Checkpoint,
    /// The agent was there before the answer.
    agent_connected: bool,
    agent_attached: bool,
    /// What the agent on the present link opted in to.
    hello: Option<Hello>,
    /// It was lost and not regained: no hand-back falls back to it.
    agent_given_up: bool,
    /// A failed hand-back that the agent is told of once it says hello.
    owed_result: Option<Option<u16>>,
    /// Chains of hand-back begun; the agent gets the call back once.
    chains: u8,
    /// Offers and answers inside the dialogs so far: each may have moved a target.
    offers: u32,
    /// It was begun by a process that is gone.
    recovery: Recovery,
    diary: Diary,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    Claiming {
        cancelled: bool,
    },
    Answering {
        agent_ready: bool,
        give_up: Now,
    },
    /// The claim is being undone; the refusal leaves after that.
    Undoing {
        refusal: Response,
        outcome: Outcome,
        give_up: Now,
    },
    WithAgent(Talk),
    HandingBack(HandBack),
    /// Taken over from a process that is gone, on its way to be handed back.
    Restoring(Restoring),
    Ending {
        outcome: Outcome,
        give_up: Now,
    },
    Ended,
}

#[derive(Debug)]
struct CallerLeg {
    id: LegId,
    media: Option<MediaLeg>,
    allow_refer: bool,
    /// Our offer went in a reliable provisional response: the 200 waits for its answer.
    offered_early: bool,
    /// Our 200 is sent.
    accepted: bool,
    /// The ACK came.
    confirmed: bool,
    hung_up: bool,
    over: bool,
}

#[derive(Debug)]
struct TargetLeg {
    id: LegId,
    media: MediaLeg,
}

/// The agent knows the hook protocol.
#[derive(Clone, Copy, Debug)]
struct Hello {
    /// It hears both parties of a bridged call on its own link.
    tracks: bool,
}

#[derive(Debug)]
struct Claim {
    transfer: Box<Transfer>,
    fence: i64,
    /// A store request of this call is under way.
    storing: bool,
    /// COMPLETED is written, or being written.
    completed: bool,
}

impl Call {
    /// A call that has just been admitted: it claims its transfer.
    #[must_use]
    pub fn new(now: Now, facts: Facts, policy: Policy) -> Self {
        let caller = CallerLeg {
            id: facts.leg,
            media: None,
            allow_refer: facts.allow_refer,
            offered_early: false,
            accepted: false,
            confirmed: false,
            hung_up: false,
            over: false,
        };
        let first = match &facts.brought {
            Some(brought) => StoreRequest::Bring(brought.clone()),
            None => StoreRequest::Claim,
        };
        Self {
            facts,
            policy,
            state: State::Claiming { cancelled: false },
            caller,
            target: None,
            lingering: Vec::new(),
            claim: None,
            checkpoint: Checkpoint::default(),
            agent_connected: false,
            agent_attached: false,
            hello: None,
            agent_given_up: false,
            owed_result: None,
            chains: 0,
            offers: 0,
            recovery: Recovery::None,
            diary: Diary::new(now),
            outputs: VecDeque::from([Output::Store(first)]),
        }
    }

    /// Tells the call what happened.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        match input {
            Input::Leg { leg, event } if leg == self.caller.id => self.caller_event(now, event),
            Input::Leg { leg, event } => self.placed_leg_event(now, leg, event),
            Input::Store(reply) => self.store_replied(now, reply),
            Input::Agent(said) => self.agent_said(now, said),
            Input::Media(said) => self.media_said(now, said),
            Input::Resolved(hops) => self.resolved(now, hops),
            Input::HangUp => self.finish(now, Outcome::HungUpByOperator, reasons::operator()),
            Input::HandBack(why) => self.hand_back_without_agent(now, why),
            Input::TakenOver => self.taken_over(now),
        }
    }

    /// Tells the call that time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        match &self.state {
            State::Answering { give_up, .. } if *give_up <= now => {
                self.undo(now, Response::new(503), Outcome::Refused(503));
            }
            State::Undoing { give_up, .. } if *give_up <= now => self.undone(now),
            State::WithAgent(_) => self.talk_timeout(now),
            State::HandingBack(_) => self.hand_back_timeout(now),
            State::Restoring(_) => self.restoring_timeout(now),
            State::Ending { give_up, .. } if *give_up <= now => self.end(now),
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Ending { .. }
            | State::Ended => {}
        }
    }

    /// The next thing that the call wants done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Call::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        match &self.state {
            State::Claiming { .. } | State::Ended => None,
            State::Answering { give_up, .. }
            | State::Undoing { give_up, .. }
            | State::Ending { give_up, .. } => Some(*give_up),
            State::WithAgent(talk) => talk.deadline(),
            State::HandingBack(hand_back) => hand_back.deadline(),
            State::Restoring(restoring) => Some(restoring.give_up),
        }
    }

    /// Whether the last output has been made.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended) && self.outputs.is_empty()
    }

    /// Where the call is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Claiming { .. } => Phase::Arriving,
            State::Answering { .. } | State::Undoing { .. } => Phase::Answering,
            State::WithAgent(_) => Phase::WithAgent,
            State::HandingBack(hand_back) if hand_back.is_bridged() => Phase::Bridged,
            State::HandingBack(_) | State::Restoring(_) => Phase::HandingBack,
            State::Ending { .. } => Phase::Ending,
            State::Ended => Phase::Ended,
        }
    }

    fn caller_event(&mut self, now: Now, event: LegEvent) {
        self.count_offers(&event);
        match event {
            LegEvent::Confirmed { answer } => self.caller_confirmed(now, answer),
            LegEvent::Cancelled { reasons } => {
                self.diary.ended_by(Ender::Caller, &reasons);
                self.caller_cancelled(now);
            }
            LegEvent::NoPrack => self.undo(now, Response::new(504), Outcome::Refused(504)),
            LegEvent::Reoffered { sdp } => self.reoffered(now, Side::Caller, sdp),
            LegEvent::OfferAnswered { sdp } => self.offer_answered(now, Side::Caller, sdp),
            LegEvent::OfferRefused { .. } if self.is_restoring() => self.restored(now, false),
            LegEvent::OfferRefused { status } => self.crossing_refused(Side::Caller, status),
            LegEvent::ReofferCancelled => self.asker_cancelled(Side::Caller),
            LegEvent::AllowsRefer(allowed) => self.caller.allow_refer = allowed,
            LegEvent::ReferAnswered {
                status,
                reason,
                refer_sub,
                answered,
            } => {
                let answer = ReferAnswer {
                    status,
                    reason,
                    refer_sub,
                    answered,
                };
                self.refer_answered(now, &answer);
            }
            LegEvent::Notified {
                latest,
                status,
                reason,
                terminated,
                fragment: _,
            } => {
                let fragment = status.map(|status| Fragment { status, reason });
                self.notified(now, fragment, terminated, latest);
            }
            LegEvent::Pressed { key, duration_ms } => {
                self.pressed(Side::Caller, key, duration_ms);
            }
            LegEvent::HungUp { reasons } => self.caller_hung_up(now, &reasons),
            LegEvent::Ended { why } => self.caller_ended(now, why),
            // Nobody on this side transfers the caller.
            LegEvent::Referred { .. } => self.refuse_refer(self.caller.id),
            LegEvent::Progress { .. }
            | LegEvent::Answered { .. }
            | LegEvent::Refused { .. }
            | LegEvent::Locate { .. }
            | LegEvent::NotifyAnswered { .. } => {}
        }
    }

    fn placed_leg_event(&mut self, now: Now, leg: LegId, event: LegEvent) {
        if let LegEvent::Ended { .. } = event {
            self.lingering.retain(|other| *other != leg);
        }
        if self.target.as_ref().is_none_or(|target| target.id != leg) {
            return self.end_if_done(now);
        }
        self.count_offers(&event);
        match event {
            LegEvent::Progress { status, sdp } => {
                self.diary.note(now, format!("target {status}"));
                self.target_progress(sdp);
            }
            LegEvent::Answered { sdp, .. } => self.target_answered(now, sdp),
            LegEvent::Refused {
                status,
                reason,
                contacts,
                reasons,
                answered,
                ..
            } => {
                let refused = Refused {
                    status,
                    reason,
                    causes: Cause::all(&reasons),
                    answered,
                };
                self.target_refused(now, &refused, contacts);
            }
            LegEvent::Reoffered { sdp } => self.reoffered(now, Side::Target, sdp),
            LegEvent::OfferAnswered { sdp } => self.offer_answered(now, Side::Target, sdp),
            LegEvent::OfferRefused { status } => self.crossing_refused(Side::Target, status),
            LegEvent::ReofferCancelled => self.asker_cancelled(Side::Target),
            LegEvent::Pressed { key, duration_ms } => {
                self.pressed(Side::Target, key, duration_ms);
            }
            LegEvent::HungUp { reasons } => self.target_hung_up(now, &reasons),
            LegEvent::Ended { why } => self.target_ended(now, why),
            LegEvent::Referred { .. } => self.refuse_refer(leg),
            LegEvent::Confirmed { .. }
            | LegEvent::Cancelled { .. }
            | LegEvent::NoPrack
            | LegEvent::AllowsRefer(_)
            | LegEvent::Locate { .. }
            | LegEvent::ReferAnswered { .. }
            | LegEvent::Notified { .. }
            | LegEvent::NotifyAnswered { .. } => {}
        }
    }

    fn store_replied(&mut self, now: Now, reply: StoreReply) {
        if let Some(claim) = &mut self.claim {
            claim.storing = false;
        }
        match reply {
            StoreReply::Claimed { transfer, fence } => self.claimed(now, transfer, fence),
            StoreReply::NotClaimed(why) => self.not_claimed(now, why),
            StoreReply::Released => self.undone(now),
            StoreReply::Completed => self.stored(now),
            StoreReply::TakenOver => self.taken_over(now),
            StoreReply::Unavailable => self.store_unavailable(now),
        }
    }

    fn store_unavailable(&mut self, now: Now) {
        match &self.state {
            State::Claiming { .. } => self.claim_failed(now),
            State::Undoing { .. } => self.undone(now),
            State::WithAgent(_) | State::HandingBack(_) | State::Restoring(_) => self.stored(now),
            State::Ending { .. } => self.end_if_done(now),
            State::Answering { .. } | State::Ended => {}
        }
    }

    fn caller_hung_up(&mut self, now: Now, reasons: &[ReasonValue]) {
        self.caller.hung_up = true;
        self.diary.note(now, "caller hung up");
        self.diary.ended_by(Ender::Caller, reasons);
        match &self.state {
            State::HandingBack(_) => self.caller_hung_up_in_hand_back(now, reasons),
            State::WithAgent(_) => self.finish(now, Outcome::CallerHungUp, Vec::new()),
            State::Restoring(_) => self.restoring_ended(now),
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Ending { .. }
            | State::Ended => {}
        }
    }

    fn caller_ended(&mut self, now: Now, why: Ended) {
        self.caller.over = true;
        match &mut self.state {
            State::Claiming { cancelled } => *cancelled = true,
            State::Answering { .. } => self.undo(now, Response::new(487), Outcome::Cancelled),
            State::WithAgent(_) => {
                let outcome = match why {
                    Ended::NoAck => Outcome::NoAck,
                    Ended::Expired => Outcome::SessionExpired,
                    Ended::HungUp
                    | Ended::Cancelled
                    | Ended::ByeAnswered(_)
                    | Ended::Refused(_)
                    | Ended::Gone(_) => Outcome::CallerHungUp,
                };
                self.finish(now, outcome, Vec::new());
            }
            State::HandingBack(_) => self.caller_ended_in_hand_back(now, why),
            State::Restoring(_) => self.restoring_ended(now),
            State::Undoing { .. } | State::Ended => {}
            State::Ending { .. } => self.end_if_done(now),
        }
    }

    fn command(&mut self, leg: LegId, command: Command) {
        self.outputs.push_back(Output::Sip { leg, command });
    }

    fn media(&mut self, request: MediaRequest) {
        self.outputs.push_back(Output::Media(request));
    }
}

#[cfg(test)]
mod tests;
