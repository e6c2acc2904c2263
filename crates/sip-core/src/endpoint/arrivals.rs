//! Requests from outside every dialog: screened, offered to the shell, admitted or refused.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Message, Method, NameAddr};
use timebase::Now;

use super::Endpoint;
use super::strangers::Verdict;
use crate::answers::{allows_refer, other_bodies, reliability, text, x_headers};
use crate::flow::Flow;
use crate::leg::Leg;
use crate::screen;
use crate::transaction::{Key, MergeKey};
use crate::trunks::{self, Stranger};
use crate::vocabulary::{Caller, Invitation, LegId, Response, TrunkId};

/// How long an invitation is remembered that the shell neither admits nor refuses.
const PATIENCE: Duration = Duration::from_secs(32);
/// How many invitations wait for the shell at most.
const MAX_WAITING: usize = 4096;

/// Invitations that the shell has been told of.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next_leg: u64,
    by_merge: HashMap<MergeKey, Waits>,
}

#[derive(Debug)]
struct Waits {
    key: Option<Key>,
    until: Now,
}

/// What a new INVITE is to those that wait.
enum Known {
    New,
    Again,
    ByAnotherPath,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.by_merge.len()
    }

    fn number(&mut self) -> LegId {
        self.next_leg += 2;
        LegId(self.next_leg)
    }

    fn known(&self, now: Now, request: &Message) -> Known {
        let waits = MergeKey::of(request).and_then(|key| self.by_merge.get(&key));
        match waits.filter(|waits| waits.until > now) {
            None => Known::New,
            Some(waits) if waits.key == Key::server(request) => Known::Again,
            Some(_) => Known::ByAnotherPath,
        }
    }

    /// `false`: too many wait.
    fn add(&mut self, now: Now, request: &Message) -> bool {
        if self.by_merge.len() >= MAX_WAITING {
            self.by_merge.retain(|_, waits| waits.until > now);
        }
        if self.by_merge.len() >= MAX_WAITING {
            return false;
        }
        if let Some(merge) = MergeKey::of(request) {
            self.by_merge.insert(
                merge,
                Waits {
                    key: Key::server(request),
                    until: now + PATIENCE,
                },
            );
        }
        true
    }

    fn remove(&mut self, request: &Message) {
        if let Some(merge) = MergeKey::of(request) {
            self.by_merge.remove(&merge);
        }
    }
}

impl Endpoint {
    /// A request without a To tag that no transaction knows.
    pub(super) fn arrival(&mut self, now: Now, flow: Flow, request: &Message) {
        let stack = &mut self.stack;
        let source = flow.remote.ip();
        let trunk = match self
            .gate
            .judge(now, &stack.config, &mut stack.counters, source, request)
        {
            Ok(trunk) => trunk,
            Err(Stranger::Silence) => return,
            Err(Stranger::Answer(refusal)) => {
                return self.turn_stranger_away(now, request, flow, &refusal);
            }
        };
        if !trunks::knows(&stack.config, source) {
            self.strangers.prove(now, source);
        }
        if let Err(refusal) = screen::request(&stack.config, request) {
            return self.decline(now, request, flow, &refusal);
        }
        match request.method() {
            Method::Options => {
                let capabilities = screen::capabilities(self.draining);
                self.answer_once(now, request, flow, &capabilities);
            }
            Method::Invite => self.invite(now, flow, trunk, request),
            // The screening let nothing else pass.
            Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Register
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Info
            | Method::Update
            | Method::Prack
            | Method::Message
            | Method::Publish
            | Method::Other(_) => {}
        }
    }

    fn invite(&mut self, now: Now, flow: Flow, trunk: TrunkId, request: &Message) {
        match self.waiting.known(now, request) {
            Known::Again => return,
            Known::ByAnotherPath => return self.decline(now, request, flow, &Response::new(482)),
            Known::New => {}
        }
        let looped = screen::has_looped(&self.stack.config, request, &flow, &self.stack.ids);
        if looped || self.stack.table.is_merged(request) {
            return self.decline(now, request, flow, &Response::new(482));
        }
        let passed = match screen::invite(&self.stack.config, trunk, request) {
            Ok(passed) => passed,
            Err(refusal) => return self.decline(now, request, flow, &refusal),
        };
        let full = self.legs.len() + self.waiting.len() >= self.stack.config.bounds.legs;
        if full || !self.stack.table.has_room() || !self.waiting.add(now, request) {
            self.stack.overloaded(now, "calls");
            return self.decline(now, request, flow, &overloaded());
        }
        let invitation = Invitation {
            leg: self.waiting.number(),
            flow,
            trunk,
            request: request.clone(),
            bodies: other_bodies(request),
            reliability: reliability(request, self.is_reliable(trunk)),
            offer: passed.offer,
            correlation: passed.correlation,
            caller: caller(request),
            allow_refer: allows_refer(request).unwrap_or(true),
            max_forwards: request.max_forwards().ok().flatten().unwrap_or(70),
        };
        self.stack.invite(Box::new(invitation));
    }

    /// Whether provisional responses over a trunk are reliable where the peer only supports that.
    fn is_reliable(&self, trunk: TrunkId) -> bool {
        let index = usize::try_from(trunk.0).ok();
        index
            .and_then(|index| self.stack.config.trunks.get(index))
            .is_some_and(|rule| rule.reliable_where_supported)
    }

    /// Refuses the request of somebody who is known.
    fn decline(&mut self, now: Now, request: &Message, flow: Flow, refusal: &Response) {
        tracing::debug!(%flow, status = refusal.status, "refused");
        self.stack.counters.refused += 1;
        self.answer_once(now, request, flow, refusal);
    }

    /// Answers the request of somebody who is known without a transaction.
    fn answer_once(&mut self, now: Now, request: &Message, flow: Flow, response: &Response) {
        if let Some(sent) = self.stack.refuse(request, flow, response) {
            let until = now + self.stack.config.timers.give_up();
            self.repeats.note(until, request, flow, sent);
        }
    }

    /// Refuses the request of somebody who may be anybody: over UDP only so often.
    pub(super) fn turn_stranger_away(
        &mut self,
        now: Now,
        request: &Message,
        flow: Flow,
        refusal: &Response,
    ) {
        let source = flow.remote.ip();
        let config = &self.stack.config;
        let verdict = if flow.transport.reliable() || trunks::knows(config, source) {
            Verdict::Answer
        } else {
            self.strangers.take(now, source, config.bounds.strangers)
        };
        match verdict {
            Verdict::Answer => return self.turn_away(request, flow, refusal),
            Verdict::WithholdAndSay => tracing::warn!(
                %source,
                "a source that no trunk knows sends so many requests that not all are answered"
            ),
            Verdict::Withhold => {}
        }
        self.stack.counters.unanswered += 1;
    }

    /// Refuses a request without keeping anything of it.
    pub(super) fn turn_away(&mut self, request: &Message, flow: Flow, refusal: &Response) {
        tracing::debug!(%flow, status = refusal.status, "refused");
        self.stack.counters.refused += 1;
        self.stack.refuse(request, flow, refusal);
    }

    pub(super) fn admit(&mut self, now: Now, invitation: &Invitation) {
        self.waiting.remove(&invitation.request);
        // The shell may have taken so long that others have the place.
        if self.legs.len() >= self.stack.config.bounds.legs {
            self.stack.overloaded(now, "calls");
            self.decline(now, &invitation.request, invitation.flow, &overloaded());
            return self.never_began(invitation.leg);
        }
        match Leg::admit(now, &mut self.stack, invitation) {
            Some(leg) => {
                self.stack.counters.admitted += 1;
                self.add_leg(now, leg);
            }
            None => self.never_began(invitation.leg),
        }
    }

    fn never_began(&mut self, leg: LegId) {
        use crate::ended::Ended;
        use crate::vocabulary::LegEvent;
        self.stack.emit(
            leg,
            LegEvent::Ended {
                why: Ended::Refused(503),
            },
        );
    }

    pub(super) fn refuse(&mut self, now: Now, invitation: &Invitation, refusal: &Response) {
        self.waiting.remove(&invitation.request);
        self.decline(now, &invitation.request, invitation.flow, refusal);
    }
}

/// The node's own limit.
pub(super) fn overloaded() -> Response {
    Response::new(503).with_header("Retry-After", "1")
}

fn caller(request: &Message) -> Caller {
    let uri_of = |address: Option<NameAddr>| {
        address
            .map(|address| address.uri().as_bytes().clone())
            .unwrap_or_default()
    };
    let from = request.from().ok();
    Caller {
        display: from
            .as_ref()
            .and_then(NameAddr::display)
            .map(|display| text(&display)),
        user: from.as_ref().and_then(|from| from.uri().user()).map(text),
        from_uri: uri_of(from),
        to_uri: uri_of(request.to().ok()),
        call_id: text(request.call_id().unwrap_or_default()),
        p_asserted_identity: request
            .values(HeaderName::PAssertedIdentity)
            .map(|value| Bytes::from(value.into_owned()))
            .collect(),
        x_headers: x_headers(request),
    }
}
