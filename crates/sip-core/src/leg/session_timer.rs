//! Session timers, RFC 4028: who refreshes how often, and the end of a session that nobody refreshes.

use std::time::Duration;

use sip_message::{Message, Method};
use timebase::Now;

use super::negotiate::backoff;
use super::offers::Ours;
use super::session::Life;
use super::{Extra, Leg, Phase};
use crate::config::EndpointConfig;
use crate::ended::Ended;
use crate::stack::{Purpose, Reply, Stack};
use crate::vocabulary::{Header, Response};

/// The least that Min-SE may be, RFC 4028 §5.
const FLOOR: u32 = 90;
/// How long before the end of the interval a session ends at the latest, RFC 4028 §10.
const BEFORE_EXPIRY: u32 = 32;
/// The shortest interval in a peer's 2xx that is honoured, in seconds, so that none makes us flood it.
const SHORTEST: u32 = 10;
/// How soon a refresh is tried again that could not be sent, or was refused for a reason that may pass.
const SOON: Duration = Duration::from_secs(5);

/// The session timer of one leg.
#[derive(Debug, Default)]
pub(super) struct SessionTimer {
    state: State,
    /// The greatest Min-SE that a 422 has named.
    min_se: u32,
}

#[derive(Debug, Default)]
enum State {
    /// The session has no interval.
    #[default]
    Off,
    /// We refresh at `at`; without success the session ends at `until`. While a refresh is out,
    /// `at` is `until`.
    Refresher { interval: u32, at: Now, until: Now },
    /// The peer refreshes before `until`.
    Refreshee { interval: u32, until: Now },
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Refresh,
    Expiry,
}

impl SessionTimer {
    /// What we took for the session of an INVITE of ours that was refused with 422.
    pub(super) const fn with_min_se(min_se: u32) -> Self {
        Self {
            state: State::Off,
            min_se,
        }
    }

    /// The fields of a request of ours inside the dialog, RFC 4028 §7.1 and §7.4. `uac` in it is us.
    pub(super) fn request_fields(&self, config: &EndpointConfig) -> Vec<Header> {
        let (interval, refresher) = match &self.state {
            State::Off => return Vec::new(),
            State::Refresher { interval, .. } => (*interval, "uac"),
            State::Refreshee { interval, .. } => (*interval, "uas"),
        };
        let min_se = self.min_se.max(min_se(config));
        let interval = interval.max(min_se);
        let mut fields = vec![Header::new(
            "Session-Expires",
            format!("{interval};refresher={refresher}"),
        )];
        fields.extend(min_se_field(min_se));
        fields
    }

    /// The peer's request is accepted now: the fields of our 200, RFC 4028 §9 with its table 2.
    pub(super) fn accept(
        &mut self,
        now: Now,
        config: &EndpointConfig,
        request: &Message,
    ) -> Vec<Header> {
        let supports = speaks_timer(request);
        let asked = request.session_expires().ok().flatten();
        let interval = match &asked {
            Some(asked) => asked.seconds(),
            None if supports => self
                .interval()
                .unwrap_or(seconds(config.session_expires))
                .max(min_se_of(request)),
            None => {
                self.state = State::Off;
                return Vec::new();
            }
        };
        let named = asked.as_ref().and_then(|asked| asked.refresher());
        let peer_refreshes = supports
            && match named {
                Some(name) => name.eq_ignore_ascii_case(b"uac"),
                None => matches!(self.state, State::Refreshee { .. }),
            };
        self.start(now, interval, !peer_refreshes);
        let refresher = if peer_refreshes { "uac" } else { "uas" };
        let value = format!("{interval};refresher={refresher}");
        let mut fields = vec![Header::new("Session-Expires", value)];
        if supports {
            fields.push(Header::new("Require", "timer"));
        }
        fields
    }

    /// A 2xx to a request of ours, RFC 4028 §7.2: without an interval the session has none.
    pub(super) fn answered(&mut self, now: Now, response: &Message) {
        let Some(agreed) = response.session_expires().ok().flatten() else {
            self.state = State::Off;
            return;
        };
        let peer_refreshes = agreed
            .refresher()
            .is_some_and(|name| name.eq_ignore_ascii_case(b"uas"));
        self.start(now, agreed.seconds(), !peer_refreshes);
    }

    fn start(&mut self, now: Now, interval: u32, ours: bool) {
        let interval = interval.max(SHORTEST);
        let length = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let until = now + length(interval.saturating_sub(BEFORE_EXPIRY.min(interval / 3)));
        self.state = if ours {
            let at = now + length(interval) / 2;
            State::Refresher {
                interval,
                at,
                until,
            }
        } else {
            State::Refreshee { interval, until }
        };
    }

    const fn interval(&self) -> Option<u32> {
        match &self.state {
            State::Off => None,
            State::Refresher { interval, .. } | State::Refreshee { interval, .. } => {
                Some(*interval)
            }
        }
    }

    /// 422 with a greater Min-SE than ours.
    fn raise(&mut self, min: u32) {
        self.min_se = self.min_se.max(min);
    }

    /// The next refresh leaves this long from now, if the session lasts until then.
    fn retry(&mut self, now: Now, after: Duration) {
        if let State::Refresher { at, until, .. } = &mut self.state {
            *at = (now + after).min(*until);
        }
    }

    /// Half of what is left.
    fn retry_later(&mut self, now: Now) {
        if let State::Refresher { until, .. } = &self.state {
            let after = until.since(now) / 2;
            self.retry(now, after.max(SOON));
        }
    }

    /// A refresh is out: nothing more until its answer.
    fn refreshing(&mut self) {
        if let State::Refresher { at, until, .. } = &mut self.state {
            *at = *until;
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Now> {
        match &self.state {
            State::Off => None,
            State::Refresher { at, .. } => Some(*at),
            State::Refreshee { until, .. } => Some(*until),
        }
    }

    fn due(&self, now: Now) -> Option<Due> {
        match &self.state {
            State::Refresher { until, .. } | State::Refreshee { until, .. } if now >= *until => {
                Some(Due::Expiry)
            }
            State::Refresher { at, .. } if now >= *at => Some(Due::Refresh),
            State::Off | State::Refresher { .. } | State::Refreshee { .. } => None,
        }
    }
}

impl Leg {
    /// 422 to an interval below our Min-SE, where the peer can understand it (RFC 4028 §9).
    pub(super) fn screen_interval(&self, stack: &Stack, request: &Message) -> Result<(), Response> {
        too_small(&stack.config, request).map_or(Ok(()), Err)
    }

    /// The fields of our 2xx to a request that changes or refreshes the session.
    pub(super) fn accept_interval(
        &mut self,
        now: Now,
        stack: &Stack,
        request: &Message,
    ) -> Vec<Header> {
        match &mut self.phase {
            Phase::Up(up) => up.timer.accept(now, &stack.config, request),
            Phase::Arriving(_) | Phase::Calling(_) | Phase::Ended(_) => Vec::new(),
        }
    }

    /// A 2xx to a re-INVITE or UPDATE of ours.
    pub(super) fn interval_answered(&mut self, now: Now, response: &Message) {
        if let Phase::Up(up) = &mut self.phase {
            up.timer.answered(now, response);
        }
    }

    /// 422 to a request of ours: the next one says no less than its Min-SE (RFC 4028 §7.3).
    pub(super) fn raise_interval(&mut self, reply: &Reply) {
        let named = reply.message.as_ref().filter(|_| reply.status == 422);
        if let (Phase::Up(up), Some(refusal)) = (&mut self.phase, named) {
            up.timer.raise(min_se_of(refusal));
        }
    }

    pub(super) fn session_timer_timeout(&mut self, now: Now, stack: &mut Stack) {
        let Phase::Up(up) = &self.phase else { return };
        match up.timer.due(now) {
            Some(Due::Refresh) => self.refresh(now, stack),
            Some(Due::Expiry) => self.expire(now, stack),
            None => {}
        }
    }

    /// Refreshes the session: by UPDATE without an offer where the peer takes it, else by a re-INVITE
    /// with the description that stands (RFC 4028 §7.4).
    fn refresh(&mut self, now: Now, stack: &mut Stack) {
        let may_offer = self.may_offer();
        let by_update = self.allows_update;
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        match up.session.offers.local.clone() {
            _ if by_update => self.refresh_by_update(now, stack),
            Some(sdp) if may_offer => {
                up.timer.refreshing();
                let offer = Ours {
                    sdp,
                    refresh: true,
                    again: 0,
                };
                self.send_offer(now, stack, offer);
            }
            // An offer is open: its re-INVITE refreshes the session too, if it is ours.
            Some(_) | None => up.timer.retry(now, SOON),
        }
    }

    fn refresh_by_update(&mut self, now: Now, stack: &mut Stack) {
        let headers = self.interval_fields(&stack.config);
        let extra = Extra {
            contact: true,
            headers: &headers,
            body: None,
        };
        let sent = self.request(now, stack, &Method::Update, Purpose::Refresh, extra);
        if let Phase::Up(up) = &mut self.phase {
            match sent {
                Some(_) => up.timer.refreshing(),
                None => up.timer.retry(now, SOON),
            }
        }
    }

    /// The final response to an UPDATE that refreshes.
    pub(super) fn refresh_answered(&mut self, now: Now, stack: &mut Stack, reply: &Reply) {
        if let (200..=299, Some(response)) = (reply.status, &reply.message) {
            self.note_allow(stack, response);
            if let Phase::Up(up) = &mut self.phase {
                up.session.dialog.refresh(response);
                up.timer.answered(now, response);
            }
            return;
        }
        match reply.status {
            481 => self.end(now, stack, Ended::Gone(481)),
            408 => {
                self.send_bye(now, stack, &[]);
                self.end(now, stack, Ended::Gone(408));
            }
            _ => self.refresh_refused(now, stack, reply),
        }
    }

    /// A refresh was refused while the dialog stands: it is tried again before the session expires.
    pub(super) fn refresh_refused(&mut self, now: Now, stack: &mut Stack, reply: &Reply) {
        let wait = backoff(self.id.is_arriving(), stack.ids.number());
        self.raise_interval(reply);
        let no_update = matches!(reply.status, 405 | 501) && self.allows_update;
        if no_update {
            self.allows_update = false;
        }
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let retry_after = reply.message.as_ref().and_then(Message::retry_after);
        match (reply.status, retry_after) {
            (405 | 501, _) if no_update => up.timer.retry(now, Duration::ZERO),
            (491 | 422, _) => up.timer.retry(now, wait),
            (500, Some(seconds)) => up
                .timer
                .retry(now, Duration::from_secs(u64::from(seconds.max(1)))),
            _ => up.timer.retry_later(now),
        }
    }

    /// RFC 4028 §10: BYE somewhat before the interval is over.
    fn expire(&mut self, now: Now, stack: &mut Stack) {
        if !matches!(&self.phase, Phase::Up(up) if matches!(up.life, Life::Standing)) {
            return;
        }
        self.settle_owed_ack(stack);
        let reason = "SIP;cause=408;text=\"Session timer expired\"";
        self.send_bye(now, stack, &[Header::new("Reason", reason)]);
        self.end(now, stack, Ended::Expired);
    }
}

/// 422 with our Min-SE, RFC 4028 §9; a peer that knows nothing of timers is not told.
pub(crate) fn too_small(config: &EndpointConfig, request: &Message) -> Option<Response> {
    let asked = request.session_expires().ok().flatten()?;
    let least = min_se(config);
    let small = asked.seconds() < least && speaks_timer(request);
    small.then(|| Response::new(422).with_header("Min-SE", least.to_string()))
}

/// The fields of an INVITE that places a leg, RFC 4028 §7.1, after a 422 with this Min-SE, if any.
pub(super) fn invite_fields(config: &EndpointConfig, named: u32) -> Vec<Header> {
    let least = named.max(min_se(config));
    let interval = seconds(config.session_expires).max(least);
    let mut fields = vec![Header::new("Session-Expires", interval.to_string())];
    fields.extend(min_se_field(least));
    fields
}

/// The Min-SE of a message; the floor where it names none.
pub(super) fn min_se_of(message: &Message) -> u32 {
    let named = message.min_se().ok().flatten();
    named.map_or(FLOOR, |named| named.seconds().max(FLOOR))
}

/// Said only where it is not the floor that everybody assumes.
fn min_se_field(least: u32) -> Option<Header> {
    (least > FLOOR).then(|| Header::new("Min-SE", least.to_string()))
}

fn min_se(config: &EndpointConfig) -> u32 {
    seconds(config.min_se).max(FLOOR)
}

fn speaks_timer(message: &Message) -> bool {
    let is_timer = |tag: &str| tag.eq_ignore_ascii_case("timer");
    message.supported().any(is_timer) || message.require().any(is_timer)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
