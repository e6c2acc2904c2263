//! What was written on a connection and has no final answer: lost with the connection.

use crate::connections::Waiting;
use bytes::Bytes;
use sip_message::{Limits, Message, Method};
use std::collections::VecDeque;

/// Requests remembered for one connection; the oldest are forgotten first.
const REMEMBERED: usize = 256;

/// A transaction as a peer knows it.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    branch: Bytes,
    cancel: bool,
}

impl Key {
    fn of(message: &Message, method: &Method) -> Option<Self> {
        let via = message.via().ok()?;
        Some(Self {
            branch: Bytes::copy_from_slice(via.branch()?),
            cancel: *method == Method::Cancel,
        })
    }
}

/// The requests of one connection that the endpoint cannot know to be on it: it named the peer's
/// address, and the connection was found or opened here (RFC 3261 §18.4).
#[derive(Debug, Default)]
pub(crate) struct Unanswered(VecDeque<(Key, Waiting)>);

impl Unanswered {
    /// Remembers a request.
    pub(crate) fn written(&mut self, waiting: Waiting) {
        let Ok(message) = Message::parse(waiting.on_stream().clone(), &Limits::default()) else {
            return;
        };
        let method = message.method();
        if !message.is_request() || method == Method::Ack {
            return;
        }
        if let Some(key) = Key::of(&message, &method) {
            if self.0.len() >= REMEMBERED {
                self.0.pop_front();
            }
            self.0.push_back((key, waiting));
        }
    }

    /// Forgets the request that a final response answers.
    pub(crate) fn came(&mut self, message: &Message) {
        if self.0.is_empty() || message.status().is_none_or(|status| status < 200) {
            return;
        }
        let Ok(cseq) = message.cseq() else { return };
        if let Some(key) = Key::of(message, &cseq.method) {
            self.0.retain(|(written, _)| *written != key);
        }
    }

    /// What is lost with the connection.
    pub(crate) fn lost(self) -> impl Iterator<Item = Waiting> {
        self.0.into_iter().map(|(_, waiting)| waiting)
    }
}
