//! Keys by INFO: RFC 6086's legacy usage, with the bodies that gateways send
//! (`application/dtmf-relay`, `application/dtmf`).
//!
//! No Info Package is taken, so a request that names one gets 469 (RFC 6086 §4.2.2).

use std::collections::VecDeque;

use bytes::Bytes;
use sip_message::{Message, Method};
use timebase::Now;

use super::{Extra, Leg, Phase};
use crate::screen;
use crate::stack::{Incoming, Purpose, Reply, Stack};
use crate::vocabulary::{LegEvent, Response};

/// The types that keys come in.
const RELAY: &str = "application/dtmf-relay";
const PLAIN: &str = "application/dtmf";
const ACCEPT: &str = "application/dtmf-relay, application/dtmf";
/// How many keys one request may hold.
const MOST_KEYS: usize = 32;
/// How many keys of ours may wait for the answer to the one before.
const MOST_WAITING: usize = 64;
/// The longest that a key is held; what a peer says beyond is cut.
const LONGEST_MS: u32 = 10_000;

/// Keys of ours on their way: one at a time, since requests may overtake each other.
#[derive(Debug, Default)]
pub(super) struct Keys {
    waiting: VecDeque<(char, u32)>,
    under_way: bool,
}

/// One key of the peer, and how long it was held where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pressed {
    key: char,
    duration_ms: Option<u32>,
}

impl Leg {
    pub(super) fn peer_informs(&mut self, now: Now, stack: &mut Stack, incoming: &Incoming) {
        match keys_of(&incoming.request) {
            Ok(keys) => {
                self.reply(now, stack, incoming, &Response::new(200));
                for Pressed { key, duration_ms } in keys {
                    stack.emit(self.id, LegEvent::Pressed { key, duration_ms });
                }
            }
            Err(refusal) => self.reply(now, stack, incoming, &refusal),
        }
    }

    /// Sends a key, behind those that wait.
    pub(super) fn press(&mut self, now: Now, stack: &mut Stack, key: char, duration_ms: u32) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if up.keys.waiting.len() >= MOST_WAITING {
            tracing::debug!(leg = self.id.0, "too many keys wait, one is dropped");
            return;
        }
        up.keys.waiting.push_back((key, duration_ms));
        self.send_next_key(now, stack);
    }

    /// The final answer to a key of ours, whatever it is: the next one may go.
    pub(super) fn key_answered(&mut self, now: Now, stack: &mut Stack, reply: &Reply) {
        if let Phase::Up(up) = &mut self.phase {
            up.keys.under_way = false;
        }
        self.maybe_gone(now, stack, reply);
        self.send_next_key(now, stack);
    }

    fn send_next_key(&mut self, now: Now, stack: &mut Stack) {
        let standing = self.is_standing();
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if up.keys.under_way || !standing {
            return;
        }
        let Some((key, duration_ms)) = up.keys.waiting.pop_front() else {
            return;
        };
        let body = Bytes::from(format!("Signal={key}\r\nDuration={duration_ms}\r\n"));
        let extra = Extra {
            body: Some((RELAY, &body)),
            ..Extra::default()
        };
        let sent = self.request(now, stack, &Method::Info, Purpose::Info, extra);
        if let (Phase::Up(up), Some(_)) = (&mut self.phase, sent) {
            up.keys.under_way = true;
        }
    }
}

/// What an INFO says, or why it is refused. One without a body says nothing, and is fine.
fn keys_of(request: &Message) -> Result<Vec<Pressed>, Response> {
    if request.fields_named("Info-Package").next().is_some() {
        return Err(Response::new(469).with_header("Recv-Info", ""));
    }
    if request.body().is_empty() {
        return Ok(Vec::new());
    }
    let parts = sip_message::parts(request);
    let known = parts.iter().filter(|part| !part.encoded).find_map(|part| {
        let kind = part.content_type.as_ref()?;
        (kind.is(RELAY) || kind.is(PLAIN)).then_some(&part.body)
    });
    match known {
        Some(body) => read(body).ok_or_else(|| Response::new(400).with_reason("Bad DTMF Body")),
        None if screen::is_optional(request) => Ok(Vec::new()),
        None => Err(Response::new(415).with_header("Accept", ACCEPT)),
    }
}

/// `Signal=` and `Duration=` lines, or the bare keys. Either is found under either type.
fn read(body: &[u8]) -> Option<Vec<Pressed>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut signal = None;
    let mut duration_ms = None;
    for line in text.split(['\r', '\n']) {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "signal" => signal = Some(value.trim()),
            "duration" => duration_ms = value.trim().parse().ok(),
            _ => {}
        }
    }
    let duration_ms = duration_ms.map(|length: u32| length.min(LONGEST_MS));
    let pressed = |key| Pressed { key, duration_ms };
    match signal {
        Some(signal) => signal_key(signal).map(|key| key.map(pressed).into_iter().collect()),
        None => {
            let keys = text.trim();
            let all = keys.chars().map(|key| key_of(key).map(pressed));
            let fits = !keys.is_empty() && keys.len() <= MOST_KEYS;
            all.collect::<Option<Vec<_>>>().filter(|_| fits)
        }
    }
}

/// The key of a signal: itself, or the number of its event (RFC 4733 §3.2). Flash, which is no
/// key, is understood and says nothing.
fn signal_key(signal: &str) -> Option<Option<char>> {
    let mut chars = signal.chars();
    match (chars.next(), chars.next(), signal) {
        (_, _, "!" | "16") => Some(None),
        (_, _, number @ ("10" | "11" | "12" | "13" | "14" | "15")) => {
            let index: usize = number.parse().ok()?;
            "0123456789*#ABCD".chars().nth(index).map(Some)
        }
        (_, _, word) if word.eq_ignore_ascii_case("flash") => Some(None),
        (Some(key), None, _) => key_of(key).map(Some),
        (_, _, _) => None,
    }
}

fn key_of(key: char) -> Option<char> {
    let key = key.to_ascii_uppercase();
    "0123456789*#ABCD".contains(key).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(body: &str) -> Option<String> {
        read(body.as_bytes()).map(|keys| keys.iter().map(|pressed| pressed.key).collect())
    }

    #[test]
    fn keys_are_read_in_every_form_that_gateways_send() {
        for (body, expected) in [
            ("Signal=5\r\nDuration=160\r\n", "5"),
            ("Signal= *\nDuration= 250", "*"),
            ("signal=d\r\n", "D"),
            ("Signal=10\r\nDuration=100", "*"),
            ("Signal=11", "#"),
            ("Signal=15", "D"),
            ("Duration=160\r\nSignal=#\r\n", "#"),
            ("Signal=!\r\nDuration=250", ""),
            ("Signal=16", ""),
            ("Signal=flash", ""),
            ("5", "5"),
            ("#\r\n", "#"),
            (" 1234*# \r\n", "1234*#"),
        ] {
            assert_eq!(keys(body).as_deref(), Some(expected), "{body:?}");
        }
    }

    #[test]
    fn bodies_without_a_key_are_malformed() {
        let many = "1".repeat(MOST_KEYS + 1);
        for body in [
            "Signal=",
            "Signal=E",
            "Signal=55",
            "Signal=17",
            "x",
            "1 2",
            " ",
            "Duration=5",
            &many,
        ] {
            assert_eq!(keys(body), None, "{body:?}");
        }
        assert_eq!(read(b"Signal=\xff"), None);
    }

    #[test]
    fn length_of_a_key_is_told_where_it_can_be_read_and_has_a_bound() {
        let length = |body: &str| read(body.as_bytes()).unwrap()[0].duration_ms;
        assert_eq!(length("Signal=1\r\nDuration=160"), Some(160));
        assert_eq!(length("Signal=1"), None);
        assert_eq!(length("Signal=1\r\nDuration=long"), None);
        assert_eq!(length("Signal=1\r\nDuration=4294967295"), Some(LONGEST_MS));
    }
}
