//! What must hold, held against everything that comes out.

use std::collections::HashMap;
use std::time::Duration;

use sip_core::{Flow, LegEvent, LegId};
use sip_message::{HeaderName, Message, Method, ParseError};
use timebase::Now;

/// As long as a transaction lives, so long a request's answer is the same.
const LIFE: Duration = Duration::from_secs(32);

/// What one request is known by, and where its answer goes.
type Asked = (Flow, Vec<u8>, Vec<u8>, Vec<u8>);

#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Whether a leg is over.
    legs: HashMap<LegId, bool>,
    /// The final answers to INVITEs, by the dialog that they make.
    finals: HashMap<Asked, (Now, u16)>,
    /// What is heard right now may not be answered.
    silent: bool,
    /// Responses to what is heard right now.
    answers: usize,
}

impl Watch {
    pub(crate) fn begins(&mut self, leg: LegId) {
        assert!(
            self.legs.insert(leg, false).is_none(),
            "{leg:?} begins twice"
        );
    }

    pub(crate) fn tells(&mut self, leg: LegId, event: &LegEvent) {
        let over = self.legs.get_mut(&leg).expect("a leg that nobody began");
        assert!(!*over, "{leg:?} speaks after its end: {event:?}");
        *over = matches!(event, LegEvent::Ended { .. });
    }

    pub(crate) fn all_ended(&self) {
        assert!(self.legs.values().all(|over| *over), "{:?}", self.legs);
    }

    pub(crate) fn hears(&mut self, _: Now, _: Flow, message: &Result<Message, ParseError>) {
        self.silent = match message {
            Ok(message) => !message.is_request() || message.method() == Method::Ack,
            Err(error) => error
                .salvage
                .as_ref()
                .is_none_or(|salvage| salvage.method() == Method::Ack),
        };
        self.answers = 0;
    }

    pub(crate) fn heard(&mut self) {
        self.silent = false;
        assert!(self.answers < 8, "{} answers to one message", self.answers);
    }

    /// Everything sent is well-formed, but for what an answer of 400 must copy.
    pub(crate) fn sends(&mut self, now: Now, flow: Flow, message: &Message) {
        let Some(status) = message.status() else {
            message.validate().expect("a request of ours is valid");
            return;
        };
        if status != 400 && status != 505 && status != 513 {
            message.validate().expect("a response of ours is valid");
        }
        assert!(!self.silent, "{status} to what is never answered");
        self.answers += 1;
        if status >= 200 && message.method() == Method::Invite {
            self.answered(now, flow, message, status);
        }
    }

    /// An INVITE that was accepted is not refused, nor the other way round. Stateless refusals by
    /// different rules may follow on each other, where the rules have changed.
    fn answered(&mut self, now: Now, flow: Flow, message: &Message, status: u16) {
        let value = |name: HeaderName<'_>| message.header(name).unwrap_or_default().into_owned();
        let asked = (
            flow,
            value(HeaderName::Via),
            value(HeaderName::To),
            value(HeaderName::CSeq),
        );
        let (at, before) = *self.finals.entry(asked.clone()).or_insert((now, status));
        if now >= at + LIFE {
            self.finals.insert(asked, (now, status));
            return;
        }
        assert_eq!(
            before < 300,
            status < 300,
            "{before} at {at:?} and then {status} to one INVITE"
        );
    }
}
