//! REFER and its implicit subscription on both sides, RFC 3515 with RFC 4488 and RFC 6665.

use bytes::Bytes;
use sip_message::{HeaderName, Message, Method, sipfrag};
use smallvec::SmallVec;
use timebase::Now;

use super::session::Life;
use super::{Extra, Leg, Phase};
use crate::answers::{text, x_headers};
use crate::stack::{Incoming, Purpose, Reply, Stack};
use crate::vocabulary::{Header, LegEvent, Response};

/// How many REFERs of one leg are told apart; of more, the oldest is forgotten.
const MAX_REFERS: usize = 8;

/// Our REFERs of one leg.
#[derive(Debug, Default)]
pub(super) struct Referrer {
    refers: SmallVec<[Sent; 1]>,
}

/// A REFER of ours: the sequence number is the id of its subscription, RFC 3515 §2.4.6.
#[derive(Debug)]
struct Sent {
    id: u32,
    /// Its subscription is not over.
    open: bool,
    /// Its final status has been told.
    resulted: bool,
}

/// What a NOTIFY belongs to.
enum Belongs {
    Open {
        latest: bool,
    },
    /// A subscription that is over: it is answered and otherwise ignored.
    Over,
    Nowhere,
}

impl Referrer {
    /// Whether its result is still to come.
    pub(super) fn is_awaited(&self) -> bool {
        let awaited = |refer: &Sent| refer.open && !refer.resulted;
        self.refers.iter().any(awaited)
    }

    fn begin(&mut self, id: u32) {
        if self.refers.len() >= MAX_REFERS {
            self.refers.remove(0);
        }
        self.refers.push(Sent {
            id,
            open: true,
            resulted: false,
        });
    }

    /// The REFER was sent again with credentials.
    pub(super) fn renumber(&mut self, from: u32, to: u32) {
        self.refers
            .iter_mut()
            .filter(|refer| refer.id == from)
            .for_each(|refer| refer.id = to);
    }

    fn close(&mut self, id: u32) {
        self.refers
            .iter_mut()
            .filter(|refer| refer.id == id)
            .for_each(|refer| refer.open = false);
    }

    /// Takes a NOTIFY: of the REFER with its id, else of the latest open one.
    fn notified(&mut self, id: Option<u32>, status: Option<u16>, terminated: bool) -> Belongs {
        let exact = self.refers.iter().rposition(|refer| Some(refer.id) == id);
        let position = exact.or_else(|| self.refers.iter().rposition(|refer| refer.open));
        let newest = self.refers.len().saturating_sub(1);
        let any = !self.refers.is_empty();
        match position.and_then(|position| self.refers.get_mut(position)) {
            Some(refer) if refer.open => {
                refer.open = !terminated;
                refer.resulted |= status.is_some_and(|status| status >= 200);
                let latest = position == Some(newest);
                Belongs::Open { latest }
            }
            Some(_) => Belongs::Over,
            None if any => Belongs::Over,
            None => Belongs::Nowhere,
        }
    }
}

/// The peer's REFERs of one leg.
#[derive(Debug, Default)]
pub(super) struct Referee {
    waiting: Option<Incoming>,
    /// The Event value of the open subscription's NOTIFYs.
    subscription: Option<String>,
    accepted: u32,
}

impl Referee {
    pub(super) fn open_request(&self) -> Option<&Incoming> {
        self.waiting.as_ref()
    }

    /// Nothing of it matters any more.
    pub(super) fn stop(&mut self) {
        self.waiting = None;
        self.subscription = None;
    }
}

impl Leg {
    /// Sends REFER: the target stands byte for byte in angle brackets.
    pub(super) fn refer(&mut self, now: Now, stack: &mut Stack, target: &[u8], headers: &[Header]) {
        if !self.is_standing() {
            return;
        }
        let refer_to = [b"<", target, b">"].concat();
        let mut fields = vec![Header::new("Refer-To", refer_to)];
        fields.extend_from_slice(headers);
        let extra = Extra {
            contact: true,
            headers: &fields,
            ..Extra::default()
        };
        self.request(now, stack, &Method::Refer, Purpose::Refer(0), extra);
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        up.referrer.begin(up.session.dialog.last_cseq());
    }

    pub(super) fn refer_answered(&mut self, now: Now, stack: &mut Stack, id: u32, reply: &Reply) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let refer_sub = reply.message.as_ref().and_then(Message::refer_sub);
        if !(200..=299).contains(&reply.status) || refer_sub == Some(false) {
            up.referrer.close(id);
        }
        stack.emit(
            self.id,
            LegEvent::ReferAnswered {
                status: reply.status,
                reason: reply.reason.clone(),
                refer_sub,
                answered: reply.message.is_some(),
            },
        );
        self.lingers_no_longer(now, stack);
        self.maybe_gone(now, stack, reply);
    }

    /// NOTIFY: 200 for every one of a REFER of ours, 481 where there was none.
    pub(super) fn peer_notifies(&mut self, now: Now, stack: &mut Stack, incoming: &Incoming) {
        let request = &incoming.request;
        let event = request.event().ok().flatten();
        if !event
            .as_ref()
            .is_some_and(|event| event.package().eq_ignore_ascii_case(b"refer"))
        {
            let refusal = Response::new(489).with_header("Allow-Events", "refer");
            return self.reply(now, stack, incoming, &refusal);
        }
        let id = event
            .as_ref()
            .and_then(|event| event.id())
            .and_then(|id| text(id).parse().ok());
        let Phase::Up(up) = &mut self.phase else {
            return self.reply(now, stack, incoming, &Response::new(481));
        };
        let (status, reason) = fragment_status(request);
        let terminated = is_terminated(request, status);
        match up.referrer.notified(id, status, terminated) {
            Belongs::Nowhere => self.reply(now, stack, incoming, &Response::new(481)),
            Belongs::Over => self.reply(now, stack, incoming, &Response::new(200)),
            Belongs::Open { latest } => {
                self.reply(now, stack, incoming, &Response::new(200));
                let fragment = request.body();
                stack.emit(
                    self.id,
                    LegEvent::Notified {
                        latest,
                        status,
                        reason,
                        fragment,
                        terminated,
                    },
                );
                self.lingers_no_longer(now, stack);
            }
        }
    }

    /// After a BYE, the last NOTIFY ends the leg.
    fn lingers_no_longer(&mut self, now: Now, stack: &mut Stack) {
        let Phase::Up(up) = &self.phase else { return };
        if let Life::Lingering { why, .. } = up.life
            && !up.referrer.is_awaited()
        {
            self.end(now, stack, why);
        }
    }

    /// The peer's REFER.
    pub(super) fn peer_refers(&mut self, now: Now, stack: &mut Stack, incoming: Incoming) {
        let refusal = match &self.phase {
            Phase::Up(up) if !self.is_standing() || up.referee.waiting.is_some() => {
                Some(Response::new(491))
            }
            Phase::Up(_) => None,
            Phase::Arriving(_) | Phase::Calling(_) | Phase::Ended(_) => Some(Response::new(403)),
        };
        let target = match (refusal, incoming.request.refer_to()) {
            (Some(refusal), _) => Err(refusal),
            (None, Ok(Some(target))) if incoming.request.count(HeaderName::ReferTo) == 1 => {
                Ok(target)
            }
            (None, _) => Err(Response::new(400).with_reason("Bad Refer-To")),
        };
        match (target, &mut self.phase) {
            (Err(refusal), _) => self.reply(now, stack, &incoming, &refusal),
            (Ok(target), Phase::Up(up)) => {
                let referred_by = incoming
                    .request
                    .header(HeaderName::ReferredBy)
                    .map(|by| by.into_owned().into());
                let x_headers = x_headers(&incoming.request);
                up.referee.waiting = Some(incoming);
                let uri = target.uri().as_bytes().clone();
                stack.emit(
                    self.id,
                    LegEvent::Referred {
                        uri,
                        referred_by,
                        x_headers,
                    },
                );
            }
            (Ok(_), Phase::Arriving(_) | Phase::Calling(_) | Phase::Ended(_)) => {}
        }
    }

    pub(super) fn answer_refer(&mut self, now: Now, stack: &mut Stack, status: u16) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let Some(incoming) = up.referee.waiting.take() else {
            return;
        };
        let unwanted = incoming.request.refer_sub() == Some(false);
        let mut response = Response::new(status.clamp(200, 699));
        if (200..=299).contains(&status) {
            response = response.with_header("Contact", up.session.dialog.contact.clone());
            if unwanted {
                response = response.with_header("Refer-Sub", "false");
            } else {
                up.referee.subscription = Some(event_value(&incoming.request, up.referee.accepted));
            }
            up.referee.accepted += 1;
        }
        self.reply(now, stack, &incoming, &response);
    }

    /// Sends NOTIFY with a status line as sipfrag, RFC 3515 §2.4.4.
    pub(super) fn notify(&mut self, now: Now, stack: &mut Stack, fragment: &str, terminated: bool) {
        if !self.is_standing() {
            return;
        }
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let Some(event) = up.referee.subscription.clone() else {
            return;
        };
        let state = if terminated {
            "terminated;reason=noresource"
        } else {
            "active;expires=180"
        };
        if terminated {
            up.referee.subscription = None;
        }
        let headers = [
            Header::new("Event", event),
            Header::new("Subscription-State", state),
        ];
        let body = Bytes::from(format!("{}\r\n", fragment.trim_end()));
        let body = Some(("message/sipfrag;version=2.0", &body));
        self.request(
            now,
            stack,
            &Method::Notify,
            Purpose::Notify,
            Extra {
                contact: true,
                headers: &headers,
                body,
            },
        );
    }

    pub(super) fn notify_answered(&mut self, stack: &mut Stack, reply: &Reply) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if reply.status >= 300 {
            up.referee.subscription = None;
        }
        stack.emit(
            self.id,
            LegEvent::NotifyAnswered {
                status: reply.status,
            },
        );
    }
}

/// The first REFER of a dialog needs no id, every later one does, RFC 3515 §2.4.6.
fn event_value(refer: &Message, accepted: u32) -> String {
    match refer.cseq() {
        Ok(cseq) if accepted > 0 => format!("refer;id={}", cseq.number),
        Ok(_) | Err(_) => "refer".to_owned(),
    }
}

fn fragment_status(notify: &Message) -> (Option<u16>, String) {
    let body = notify.body();
    let is_fragment = match notify.content_type() {
        Ok(Some(kind)) => kind.is("message/sipfrag"),
        Ok(None) => true,
        Err(_) => false,
    };
    match sipfrag::status_line(&body).filter(|_| is_fragment) {
        Some(line) => (Some(line.status), text(line.reason)),
        None => (None, String::new()),
    }
}

/// Without a Subscription-State, which RFC 6665 §8.2.3 requires, a final status ends it.
fn is_terminated(notify: &Message, status: Option<u16>) -> bool {
    match notify.subscription_state() {
        Ok(Some(state)) => state.is_terminated(),
        Ok(None) | Err(_) => status.is_some_and(|status| status >= 200),
    }
}
