//! A call that outlives its process: what is kept of it, and how another process ends it well.
//!
//! Nobody can give the agent back to the caller: it is handed back by its own return type, with what
//! the agent had told of. For a REFER or an INVITE the session comes first: a re-INVITE tells the
//! peer of our Contact and our media (target refresh, RFC 3261 §12.2.1.1). Where that fails, and for a
//! return by BYE, the caller is let go by BYE.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use media_core::Side;
use sip_core::{Command, Header, LegEvent, LegId};
use timebase::Now;

use super::diary::Diary;
use super::hand_back::HandBack;
use super::{Call, CallerLeg, Claim, Facts, State, TargetLeg, reasons};
use crate::io::MediaRequest;
use crate::media_leg::MediaLeg;
use crate::outcome::{HandedBack, Outcome};
use crate::policy::Policy;
use crate::transfer::{Checkpoint, ReturnType, Status, Transfer, TransferType};

/// How long the store and the peer's answer are waited for before BYE.
const RESTORE_WITHIN: Duration = Duration::from_secs(10);
/// The `hookFailure` that the customer reads.
const WHY: &str = "node lost";

/// How far a call is, as far as it matters to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The agent has the caller, or its last words are played.
    WithAgent,
    /// The hand-back is under way.
    HandingBack,
    /// The same, and a REFER of ours may have reached the peer: it is not made a second time. To be stored
    /// before the REFER leaves.
    Referred,
    /// Caller and target talk.
    Bridged,
}

/// What is to be stored of a call, beside its dialogs and its facts. A value that differs from the last one
/// says that there is something new to store.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The claim's token.
    pub fence: i64,
    /// How far it is.
    pub stage: Stage,
    /// What the agent had told of.
    pub agent: Checkpoint,
    /// The caller's leg.
    pub caller: LegId,
    /// The leg of a target that talks with the caller.
    pub target: Option<LegId>,
    /// Offers and answers inside its dialogs: each may have moved a target.
    pub offers: u32,
}

/// What another process knows of a call. The caller's leg is restored already, by the facts' number.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Its transfer, ONGOING or COMPLETED.
    pub transfer: Box<Transfer>,
    /// The token of the take-over.
    pub fence: i64,
    /// How far it was.
    pub stage: Stage,
    /// What the agent had told of.
    pub agent: Checkpoint,
    /// The restored leg of a target that talks with the caller.
    pub target: Option<LegId>,
}

/// Whether the call was begun by a process that is gone, and what became of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// It was begun here.
    None,
    /// It can be handed back.
    Whole,
    /// The peer did not take our session.
    Broken,
}

impl Recovery {
    /// Why a BYE ends it that is not a hand-back.
    pub(super) fn reasons(self) -> Option<Vec<Header>> {
        (self == Self::Broken).then(reasons::node_lost)
    }
}

#[derive(Debug)]
pub(super) struct Restoring {
    /// The result is in the store.
    pub(super) stored: bool,
    /// Whether the session stands; none while that is not known.
    session: Option<bool>,
    pub(super) give_up: Now,
}

impl Call {
    /// A call of a process that is gone.
    #[must_use]
    pub fn recovered(now: Now, facts: Facts, policy: Policy, recovered: Recovered) -> Self {
        let Recovered {
            transfer,
            fence,
            stage,
            agent,
            target,
        } = recovered;
        let caller = CallerLeg {
            id: facts.leg,
            media: None,
            allow_refer: facts.allow_refer,
            offered_early: false,
            accepted: true,
            confirmed: true,
            hung_up: false,
            over: false,
        };
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let target = target.map(|id| TargetLeg {
            id,
            media: MediaLeg::new(nowhere, facts.session_id, facts.codecs.clone()),
        });
        let claim = Claim {
            completed: transfer.status == Status::Completed,
            transfer,
            fence,
            storing: false,
        };
        let mut call = Self {
            facts,
            policy,
            state: State::HandingBack(HandBack::new(now)),
            caller,
            target,
            lingering: Vec::new(),
            claim: Some(claim),
            checkpoint: agent,
            agent_connected: false,
            agent_attached: false,
            hello: None,
            agent_given_up: true,
            owed_result: None,
            chains: 0,
            offers: 0,
            recovery: Recovery::Whole,
            diary: Diary::new(now),
            outputs: VecDeque::new(),
        };
        call.diary.note(now, "taken over");
        call.resume(now, stage);
        call
    }

    fn resume(&mut self, now: Now, stage: Stage) {
        match stage {
            Stage::Bridged => {
                self.drop_target(reasons::node_lost());
                self.restoring_ended(now);
            }
            Stage::Referred => {
                self.state = State::HandingBack(HandBack::new(now).accepted_before());
                self.handed_back(now, reasons::completed());
            }
            Stage::WithAgent | Stage::HandingBack => self.restore(now),
        }
    }

    fn restore(&mut self, now: Now) {
        let ends_by_bye = self.return_type() == ReturnType::Bye || self.return_uri().is_none();
        let mut restoring = Restoring {
            stored: true,
            session: ends_by_bye.then_some(true),
            give_up: now + RESTORE_WITHIN,
        };
        let completed = self.claim.as_ref().filter(|claim| claim.completed);
        if let Some(output) = completed.and_then(|claim| claim.transfer.output.clone()) {
            self.diary.result(now, &output);
        } else if completed.is_some() {
            // The caller had hung up.
            return self.restoring_ended(now);
        } else {
            restoring.stored = false;
            let output = self.output_without_agent(TransferType::Agent, Some(WHY.to_owned()));
            self.diary.result(now, &output);
            self.store_completion(Some(output));
        }
        self.state = State::Restoring(restoring);
        if !ends_by_bye {
            self.media(MediaRequest::Open { side: Side::Caller });
        }
        self.hand_back_restored(now);
    }

    pub(super) const fn is_restoring(&self) -> bool {
        matches!(self.state, State::Restoring(_))
    }

    /// A port is open: the peer is told of it.
    pub(super) fn restore_session(&mut self, address: SocketAddr) {
        let codecs = self.facts.codecs.clone();
        let media = MediaLeg::restored(address, self.facts.session_id, codecs);
        let keys = self.facts.media.next_keys();
        let mut media = media.with(keys, self.facts.media.latch);
        let sdp = media.offer(sdp::Direction::SendRecv);
        self.caller.media = Some(media);
        self.command(self.caller.id, Command::Reoffer { sdp });
    }

    /// Whether the peer took our session.
    pub(super) fn restored(&mut self, now: Now, stands: bool) {
        if let State::Restoring(restoring) = &mut self.state {
            restoring.session.get_or_insert(stands);
            self.hand_back_restored(now);
        }
    }

    /// The hand-back leaves when the result is stored and it is known whether the session stands.
    pub(super) fn hand_back_restored(&mut self, now: Now) {
        let State::Restoring(Restoring {
            stored: true,
            session: Some(stands),
            ..
        }) = self.state
        else {
            return;
        };
        self.state = State::HandingBack(HandBack::new(now));
        if stands {
            self.begin_hand_back(now);
        } else {
            self.recovery = Recovery::Broken;
            self.next_step(now);
        }
    }

    pub(super) fn restoring_timeout(&mut self, now: Now) {
        if let State::Restoring(restoring) = &mut self.state
            && restoring.give_up <= now
        {
            restoring.stored = true;
            restoring.session.get_or_insert(false);
            self.hand_back_restored(now);
        }
    }

    /// Nothing is left to hand back: the caller is gone, or its dialog, or it talks with a target.
    pub(super) fn restoring_ended(&mut self, now: Now) {
        let outcome = Outcome::NodeLost(HandedBack { steps: Vec::new() });
        self.finish(now, outcome, reasons::node_lost());
    }

    /// What a hand-back is called that came to its end.
    pub(super) const fn handed_back_as(&self, handed: HandedBack) -> Outcome {
        match self.recovery {
            Recovery::None => Outcome::HandedBack(handed),
            Recovery::Whole | Recovery::Broken => Outcome::NodeLost(handed),
        }
    }

    /// Another process has the call, and its dialogs: whatever we said in them now would come too late.
    pub(super) fn taken_over(&mut self, now: Now) {
        if let Some(claim) = &mut self.claim {
            claim.completed = true;
        }
        self.finish(now, Outcome::TakenOver, reasons::node_lost());
    }

    pub(super) const fn count_offers(&mut self, event: &LegEvent) {
        let moved = matches!(
            event,
            LegEvent::Confirmed { .. }
                | LegEvent::Reoffered { .. }
                | LegEvent::OfferAnswered { .. }
                | LegEvent::AllowsRefer(_)
        );
        self.offers = self.offers.wrapping_add(moved as u32);
    }

    /// What is to be stored of the call, from its answer to its end.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        let stage = match &self.state {
            State::WithAgent(_) => Stage::WithAgent,
            State::HandingBack(hand_back) if hand_back.is_bridged() => Stage::Bridged,
            State::HandingBack(hand_back) if hand_back.is_referred() => Stage::Referred,
            State::HandingBack(_) | State::Restoring(_) => Stage::HandingBack,
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Ending { .. }
            | State::Ended => return None,
        };
        let claim = self.claim.as_ref()?;
        let target = self.target.as_ref().filter(|_| stage == Stage::Bridged);
        Some(Progress {
            fence: claim.fence,
            stage,
            agent: self.checkpoint.clone(),
            caller: self.caller.id,
            target: target.map(|target| target.id),
            offers: self.offers,
        })
    }
}
