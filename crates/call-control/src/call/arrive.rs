//! A call arrives: the transfer is claimed, media and agent are made ready, 200 leaves.
//!
//! A claim that does not end in our 200 is undone before the final response leaves.

use std::time::Duration;

use media_core::Side;
use sip_core::{Command, Reliability, Response};
use timebase::Now;

use super::talk::Talk;
use super::{Call, Claim, State};
use crate::io::{AgentRequest, MediaRequest, NotClaimed, Output, StoreRequest};
use crate::outcome::Outcome;
use crate::transfer::Transfer;

/// How long the store may take to undo a claim before the refusal leaves all the same.
const UNDO_WITHIN: Duration = Duration::from_secs(3);

impl Call {
    pub(super) fn claimed(&mut self, now: Now, transfer: Box<Transfer>, fence: i64) {
        let State::Claiming { cancelled } = self.state else {
            return;
        };
        self.diary.note(now, "claimed");
        self.claim = Some(Claim {
            transfer,
            fence,
            storing: false,
            completed: false,
        });
        if cancelled {
            return self.undo(now, Response::new(487), Outcome::Cancelled);
        }
        if self.policy.ringing && !self.offers_early() {
            self.command(
                self.caller.id,
                Command::Ring {
                    status: 180,
                    sdp: None,
                },
            );
        }
        self.state = State::Answering {
            agent_ready: false,
            give_up: now + self.policy.connect_timeout,
        };
        self.media(MediaRequest::Open { side: Side::Caller });
        self.connect_agent(now, false);
        if self.policy.answer_first {
            self.command_ready();
        }
    }

    pub(super) fn connect_agent(&mut self, now: Now, again: bool) {
        self.diary.agent_sought(now);
        let Some(claim) = &self.claim else {
            return;
        };
        self.outputs.push_back(Output::Agent(AgentRequest::Connect {
            transfer: claim.transfer.clone(),
            resume: again.then(|| self.checkpoint.clone()),
        }));
    }

    pub(super) fn not_claimed(&mut self, now: Now, why: NotClaimed) {
        let status = match why {
            NotClaimed::Unknown => 404,
            NotClaimed::Ongoing => 486,
            NotClaimed::Over => 410,
        };
        self.refuse_unclaimed(now, Response::new(status));
    }

    pub(super) fn claim_failed(&mut self, now: Now) {
        self.refuse_unclaimed(now, Response::new(503).with_header("Retry-After", "5"));
    }

    fn refuse_unclaimed(&mut self, now: Now, refusal: Response) {
        let State::Claiming { cancelled } = self.state else {
            return;
        };
        let (refusal, outcome) = if cancelled {
            (Response::new(487), Outcome::Cancelled)
        } else {
            let status = refusal.status;
            (refusal, Outcome::Refused(status))
        };
        self.command(self.caller.id, Command::Refuse(refusal));
        self.close(now, outcome);
    }

    pub(super) fn caller_cancelled(&mut self, now: Now) {
        match &mut self.state {
            State::Claiming { cancelled } => *cancelled = true,
            State::Answering { .. } => self.undo(now, Response::new(487), Outcome::Cancelled),
            State::Undoing {
                refusal, outcome, ..
            } => {
                *refusal = Response::new(487);
                *outcome = Outcome::Cancelled;
            }
            State::WithAgent(_)
            | State::HandingBack(_)
            | State::Restoring(_)
            | State::Ending { .. }
            | State::Ended => {}
        }
    }

    /// Undoes the claim; the refusal leaves when that is durable.
    pub(super) fn undo(&mut self, now: Now, refusal: Response, outcome: Outcome) {
        let arriving = matches!(self.state, State::Claiming { .. } | State::Answering { .. });
        let Some(claim) = self.claim.as_mut().filter(|_| arriving) else {
            return;
        };
        claim.storing = true;
        let fence = claim.fence;
        self.outputs
            .push_back(Output::Store(StoreRequest::Release { fence }));
        self.outputs.push_back(Output::Agent(AgentRequest::Stop));
        self.media(MediaRequest::Close);
        self.state = State::Undoing {
            refusal,
            outcome,
            give_up: now + UNDO_WITHIN,
        };
    }

    pub(super) fn undone(&mut self, now: Now) {
        let before = std::mem::replace(&mut self.state, State::Ended);
        let State::Undoing {
            refusal, outcome, ..
        } = before
        else {
            self.state = before;
            return;
        };
        self.claim = None;
        self.command(self.caller.id, Command::Refuse(refusal));
        self.close(now, outcome);
    }

    pub(super) fn agent_connected(&mut self, now: Now) {
        self.diary.agent_connected(now);
        match &mut self.state {
            State::Answering { agent_ready, .. } => {
                *agent_ready = true;
                self.agent_connected = true;
                self.answer_when_ready(now);
            }
            State::WithAgent(_) => self.agent_regained(),
            // It came too late: its link closes again.
            State::Claiming { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::HandingBack(_)
            | State::Ending { .. }
            | State::Ended => self.outputs.push_back(Output::Agent(AgentRequest::Stop)),
        }
    }

    pub(super) fn agent_not_reached(&mut self, now: Now, why: String) {
        match &self.state {
            State::Answering { .. } => {
                tracing::warn!(why, "agent not reached");
                self.undo(now, Response::new(503), Outcome::Refused(503));
            }
            State::WithAgent(_) => self.agent_not_regained(now, why),
            State::Claiming { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::HandingBack(_)
            | State::Ending { .. }
            | State::Ended => {}
        }
    }

    /// Whether our offer goes in the first reliable provisional response (RFC 3262 §5): the INVITE
    /// had none, and its sender insists on such responses.
    fn offers_early(&self) -> bool {
        self.facts.offer.is_none() && self.facts.reliability == Reliability::Required
    }

    /// Our offer in a provisional response; the answer to it comes with the PRACK.
    pub(super) fn offer_early(&mut self) {
        if !self.offers_early() || !matches!(self.state, State::Answering { .. }) {
            return;
        }
        let Some(media) = &mut self.caller.media else {
            return;
        };
        let sdp = Some(media.offer(sdp::Direction::SendRecv));
        let status = if self.policy.ringing { 180 } else { 183 };
        self.caller.offered_early = true;
        self.command(self.caller.id, Command::Ring { status, sdp });
    }

    /// The agent wants no part in the call.
    pub(super) fn agent_refused(&mut self, now: Now, status: u16) {
        match &self.state {
            State::Answering { .. } => {
                tracing::info!(status, "agent refuses the call");
                self.undo(now, Response::new(status), Outcome::Refused(status));
            }
            State::WithAgent(_) => self.agent_not_regained(now, "refused by the agent".to_owned()),
            State::Claiming { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::HandingBack(_)
            | State::Ending { .. }
            | State::Ended => {}
        }
    }

    /// 200 need not wait for the agent.
    const fn command_ready(&mut self) {
        if let State::Answering { agent_ready, .. } = &mut self.state {
            *agent_ready = true;
        }
    }

    /// 200 leaves once the agent is connected and the port is open.
    pub(super) fn answer_when_ready(&mut self, now: Now) {
        let State::Answering {
            agent_ready: true,
            give_up,
        } = self.state
        else {
            return;
        };
        let Some(media) = &mut self.caller.media else {
            return;
        };
        let early = self.caller.offered_early;
        if early && media.agreement().is_none() {
            return;
        }
        let answer = match &self.facts.offer {
            Some(offer) => media.answer(offer).map(Some),
            None if early => Ok(None),
            None => Ok(Some(media.offer(sdp::Direction::SendRecv))),
        };
        let sdp = match answer {
            Ok(sdp) => sdp,
            Err(why) => {
                let status = why.status();
                return self.undo(now, Response::new(status), Outcome::Refused(status));
            }
        };
        self.command(
            self.caller.id,
            Command::Accept {
                sdp,
                headers: Vec::new(),
            },
        );
        self.caller.accepted = true;
        self.diary.answered(now);
        let until = now + self.policy.call_duration;
        self.connect_media(now, Side::Caller);
        if self.policy.answer_first && !self.agent_connected {
            self.state = State::WithAgent(Talk::awaited(until, give_up));
            self.media(MediaRequest::Comfort);
        } else {
            self.state = State::WithAgent(Talk::new(until));
            self.attach_agent();
        }
    }

    pub(super) fn attach_agent(&mut self) {
        self.agent_attached = true;
        self.hello = None;
        self.outputs.push_back(Output::Agent(AgentRequest::Attach));
    }
}
