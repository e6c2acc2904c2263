//! Hand-back by INVITE: a new leg to the return URI, bridged to the caller when it answers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use media_core::Side;
use sdp::{Codec, Direction};
use sip_core::{Credentials, Ended, FormedRequest, Header, Place, ReasonValue, form_request};
use timebase::Now;

use super::super::crossing::Bridge;
use super::super::{Call, State, TargetLeg, reasons};
use super::{Refused, StepState};
use crate::io::{AgentPhase, AgentRequest, Hop, MediaRequest, Output, TransferProgress};
use crate::media_leg::MediaLeg;
use crate::outcome::{Ender, StepResult};

use crate::transfer::{ReturnCredentials, ReturnType};

/// Silence of a server that others wait behind is put up with for so long: five retransmissions of the INVITE.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct Dialing {
    /// When the step is given up: no final answer.
    pub(super) give_up: Now,
    request: FormedRequest,
    /// Where to send it, in order; none until the next hop is known.
    hops: Option<VecDeque<Hop>>,
    /// The target leg's media address, once its port is open.
    port: Option<SocketAddr>,
    /// The server that has the INVITE now has said more than 100: no other one is tried.
    progressed: bool,
    redirects_left: u8,
    /// A redirect leads elsewhere: the credentials stay with the return URI's own host.
    redirected: bool,
}

impl Dialing {
    /// How long the next server may be silent: the time that is left is shared with those that wait behind it; one
    /// that was silent a short while ago has the least.
    fn patience(&self, now: Now, doubtful: bool) -> Option<Duration> {
        if doubtful {
            return Some(SHORTEST_PATIENCE);
        }
        let waiting = u32::try_from(self.hops.as_ref()?.len()).ok()?;
        if waiting == 0 {
            return None;
        }
        let left = self.give_up.since(now);
        Some((left / (waiting + 1)).max(SHORTEST_PATIENCE))
    }

    /// Whether this refusal sends the INVITE to the next server: silence, no path or 503, from one that has not begun to
    /// handle the call (RFC 3263 §4.3).
    fn goes_on(&self, refused: &Refused) -> bool {
        let waiting = self.hops.as_ref().is_some_and(|hops| !hops.is_empty());
        let failed = matches!((refused.status, refused.answered), (503, _) | (408, false));
        waiting && failed && !self.progressed
    }
}

impl Call {
    pub(super) fn start_invite(&mut self, now: Now, uri: &Bytes) {
        self.diary.note(now, "INVITE");
        let dialing = Dialing {
            give_up: now + self.policy.invite_timeout,
            request: form_request(uri),
            hops: None,
            port: None,
            progressed: false,
            redirects_left: self.policy.max_redirects,
            redirected: false,
        };
        let uri = dialing.request.uri.clone();
        self.begin_step(ReturnType::Invite, StepState::Dialing(dialing));
        if self.facts.max_forwards <= 1 {
            return self.step_failed(now, StepResult::Failed, Some(483));
        }
        self.outputs.push_back(Output::Resolve { uri });
        self.media(MediaRequest::Open { side: Side::Target });
        self.tell_result(TransferProgress::Trying, None);
    }

    fn dialing(&mut self) -> Option<&mut Dialing> {
        match &mut self.state {
            State::HandingBack(hand_back) => match &mut hand_back.step {
                StepState::Dialing(dialing) => Some(dialing),
                StepState::Choosing
                | StepState::Bye
                | StepState::Referring(_)
                | StepState::Referred { .. }
                | StepState::Bridged(_) => None,
            },
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::Ending { .. }
            | State::Ended => None,
        }
    }

    pub(in super::super) fn resolved(&mut self, now: Now, hops: Result<Vec<Hop>, String>) {
        let Some(dialing) = self.dialing() else {
            return;
        };
        match hops {
            Ok(hops) => {
                dialing.hops = Some(hops.into());
                self.place_when_ready(now);
            }
            Err(why) => {
                self.diary.note(now, why.clone());
                self.decide(&why, &[]);
                self.target_failed(now, StepResult::Unreachable, None);
            }
        }
    }

    pub(in super::super) fn target_port(&mut self, now: Now, address: SocketAddr) {
        match self.dialing() {
            Some(dialing) => {
                dialing.port = Some(address);
                self.place_when_ready(now);
            }
            None => self.media(MediaRequest::Disconnect { side: Side::Target }),
        }
    }

    pub(in super::super) fn no_target_port(&mut self, now: Now) {
        if self.dialing().is_some() {
            self.step_failed(now, StepResult::NoMedia, None);
        }
    }

    /// Sends the INVITE to the next hop.
    fn place_when_ready(&mut self, now: Now) {
        let Some(dialing) = self.dialing() else {
            return;
        };
        let (Some(hops), Some(port)) = (&mut dialing.hops, dialing.port) else {
            return;
        };
        let Some(hop) = hops.pop_front() else {
            return self.target_failed(now, StepResult::Unreachable, None);
        };
        dialing.progressed = false;
        let codecs = self.offered_codecs();
        let session_id = self.facts.session_id + 1;
        let mut media = self.facts.media.leg(port, session_id, codecs);
        let sdp = media.offer(Direction::SendRecv);
        let (leg, address) = (hop.leg, hop.flow.remote);
        if let Some(step) = self.current() {
            step.tried.push(address);
        }
        if let Some(place) = self.placement(now, hop, sdp) {
            self.target = Some(TargetLeg { id: leg, media });
            self.outputs.push_back(Output::Place(Box::new(place)));
        }
    }

    /// The caller's codec first, so that nothing needs transcoding.
    fn offered_codecs(&self) -> Vec<Codec> {
        let agreed = self.caller.media.as_ref().and_then(MediaLeg::agreement);
        let mut codecs: Vec<Codec> = agreed.map(|agreed| agreed.codec).into_iter().collect();
        let others = self
            .facts
            .codecs
            .iter()
            .filter(|codec| !codecs.contains(codec));
        let others: Vec<Codec> = others.copied().collect();
        codecs.extend(others);
        codecs
    }

    fn placement(&mut self, now: Now, hop: Hop, sdp: Bytes) -> Option<Place> {
        let credentials = self.return_credentials();
        let max_forwards = self.facts.max_forwards.saturating_sub(1);
        let mut headers = vec![self.transfer_header()];
        let (of_context, context) = self.context_headers(&self.facts.passed_on);
        headers.extend(of_context);
        self.carries(context);
        let (from, trunk) = (self.facts.caller_identity.clone(), self.facts.trunk);
        let dialing = self.dialing()?;
        headers.extend(dialing.request.headers.iter().cloned());
        let uri = dialing.request.uri.clone();
        Some(Place {
            leg: hop.leg,
            flow: hop.flow,
            from,
            to: dialing.request.to.clone(),
            uri,
            headers,
            sdp: Some(sdp),
            credentials: if dialing.redirected {
                None
            } else {
                credentials
            },
            trunk: Some(trunk),
            max_forwards,
            route: hop.route,
            sources: vec![hop.flow.remote.ip()],
            patience: dialing.patience(now, hop.doubtful),
        })
    }

    fn return_credentials(&self) -> Option<Credentials> {
        let own = self.claim.as_ref().and_then(|claim| {
            claim
                .transfer
                .registered
                .sip
                .as_ref()
                .and_then(|sip| sip.credentials.clone())
        });
        let ReturnCredentials { username, password } =
            own.or_else(|| self.policy.return_credentials.clone())?;
        Some(Credentials {
            realm: None,
            username,
            password: password.into(),
        })
    }

    pub(in super::super) fn target_progress(&mut self, answer: Option<Bytes>) {
        if let Some(dialing) = self.dialing() {
            dialing.progressed = true;
        }
        if let (Some(target), Some(answer)) = (&mut self.target, answer)
            && target.media.accept(&answer).is_ok()
            && let Some(media) = target.media.media()
        {
            self.media(MediaRequest::Connect {
                side: Side::Target,
                media,
            });
        }
    }

    pub(in super::super) fn target_answered(&mut self, now: Now, answer: Option<Bytes>) {
        if self.dialing().is_none() {
            return;
        }
        let usable = match (&mut self.target, answer) {
            (Some(target), Some(answer)) => target.media.accept(&answer).is_ok(),
            // The answer may have come in an earlier 18x (RFC 3261 §13.2.1).
            (Some(target), None) => target.media.agreement().is_some(),
            (None, _) => false,
        };
        if !usable {
            self.drop_target(reasons::bad_answer());
            return self.target_failed(now, StepResult::Failed, Some(488));
        }
        self.note(StepResult::Succeeded, Some(200));
        self.diary.note(now, "target answered");
        if let State::HandingBack(hand_back) = &mut self.state {
            hand_back.step = StepState::Bridged(Bridge::default());
        }
        self.connect_media(now, Side::Target);
        self.media(MediaRequest::Tone(None));
        self.media(MediaRequest::Bridge(true));
        self.tell_result(TransferProgress::Answered, Some(200));
        self.let_agent_listen();
        self.settle(Side::Target);
    }

    /// Both parties' audio goes to the agent: on its own link if it asked for that, else on one
    /// that only listens.
    fn let_agent_listen(&mut self) {
        let listens = self.agent_attached && self.hello.is_some_and(|hello| hello.tracks);
        match (self.policy.transcribe, listens) {
            (true, true) => self.agent_phase(AgentPhase::Bridged, Some(ReturnType::Invite)),
            (true, false) => self.listen(),
            (false, _) if std::mem::take(&mut self.agent_attached) => {
                self.outputs.push_back(Output::Agent(AgentRequest::Stop));
            }
            (false, _) => {}
        }
    }

    pub(in super::super) fn target_refused(
        &mut self,
        now: Now,
        refused: &Refused,
        contacts: Vec<Bytes>,
    ) {
        let status = refused.status;
        self.diary.note(now, format!("target refused {status}"));
        if let Some(target) = self.target.take() {
            self.lingering.push(target.id);
        }
        let Some(dialing) = self.dialing() else {
            return;
        };
        match (status, contacts.into_iter().next()) {
            (300..=399, Some(contact)) if dialing.redirects_left > 0 => {
                dialing.redirects_left -= 1;
                dialing.redirected = true;
                dialing.hops = None;
                dialing.request = form_request(&contact);
                let uri = dialing.request.uri.clone();
                self.outputs.push_back(Output::Resolve { uri });
            }
            _ if dialing.goes_on(refused) => self.place_when_ready(now),
            _ => {
                self.decide(&refused.reason, &refused.causes);
                let result = match status {
                    482 => StepResult::Loop,
                    _ => StepResult::Failed,
                };
                self.target_failed(now, result, Some(status));
            }
        }
    }

    pub(super) fn dialing_timed_out(&mut self, now: Now) {
        self.drop_target(reasons::no_answer());
        self.target_failed(now, StepResult::TimedOut, None);
    }

    fn target_failed(&mut self, now: Now, result: StepResult, status: Option<u16>) {
        self.media(MediaRequest::Disconnect { side: Side::Target });
        self.step_failed(now, result, status);
    }

    pub(in super::super) fn target_hung_up(&mut self, now: Now, reasons: &[ReasonValue]) {
        if let State::HandingBack(hand_back) = &self.state
            && hand_back.is_bridged()
        {
            self.diary.note(now, "target hung up");
            self.diary.ended_by(Ender::Target, reasons);
            self.end_bridge(now, reasons::crossing(reasons));
        }
    }

    /// The target's leg is over, for whatever reason it had not told before.
    pub(in super::super) fn target_ended(&mut self, now: Now, why: Ended) {
        self.target = None;
        if self.dialing().is_some() {
            return self.target_failed(now, StepResult::Failed, Some(503));
        }
        match &self.state {
            State::HandingBack(hand_back) if hand_back.is_bridged() => {
                self.end_bridge(now, reasons::leg_lost(why));
            }
            State::Ending { .. } => self.end_if_done(now),
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::HandingBack(_)
            | State::Ended => {}
        }
    }

    /// One side of a bridged call ended: so does the other, with the same Reason, if it gave one.
    pub(in super::super) fn end_bridge(&mut self, now: Now, mut headers: Vec<Header>) {
        if headers.is_empty() {
            headers = reasons::cleared();
        }
        self.drop_target(headers.clone());
        self.outputs.push_back(Output::Agent(AgentRequest::Stop));
        self.handed_back(now, headers);
    }
}
