//! Answers to requests with credentials that leave no transaction behind: their repetitions get them
//! again (RFC 3261 §8.2.7), since the nonce count in them is good only once.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use sip_message::{HeaderName, Message, Method};
use timebase::Now;

use crate::flow::Flow;
use crate::transaction::Key;

/// Answers remembered; beyond, the oldest is forgotten, and its repetition is challenged.
const REMEMBERED: usize = 4096;

/// The answers of the last 64·T1.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    answers: HashMap<Key, Answer>,
    order: VecDeque<(Now, Key)>,
}

#[derive(Debug)]
struct Answer {
    from: Flow,
    to: Flow,
    payload: Bytes,
}

impl Repeats {
    /// Remembers an answer until then, where its request can be repeated and has credentials.
    pub(super) fn note(
        &mut self,
        until: Now,
        request: &Message,
        from: Flow,
        (to, payload): (Flow, Bytes),
    ) {
        let proven = request.fields_named(HeaderName::Authorization).next();
        if from.transport.reliable() || proven.is_none() {
            return;
        }
        let Some(key) = Key::server(request) else {
            return;
        };
        if self.order.len() >= REMEMBERED {
            self.forget_first();
        }
        self.order.push_back((until, key.clone()));
        self.answers.insert(key, Answer { from, to, payload });
    }

    /// The answer to a request that came before, over the same path.
    pub(super) fn find(
        &mut self,
        now: Now,
        from: Flow,
        request: &Message,
    ) -> Option<(Flow, Bytes)> {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_first();
        }
        if self.answers.is_empty() || request.method() == Method::Ack {
            return None;
        }
        let answer = self.answers.get(&Key::server(request)?)?;
        (answer.from == from).then(|| (answer.to, answer.payload.clone()))
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.answers.remove(&key);
        }
    }
}
