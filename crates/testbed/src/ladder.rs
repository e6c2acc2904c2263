//! What went over the network, and what happened besides, as text that a person can follow.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use sip_message::{HeaderName, Limits, Message, StartLine};
use timebase::Now;

use crate::network::Fate;
use crate::plan;

/// Everything that happened in a run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    rungs: Vec<Rung>,
    /// A letter for every Call-ID, in the order they were first seen.
    dialogs: BTreeMap<Vec<u8>, usize>,
}

/// One line of a ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// When it happened.
    pub at: Now,
    /// What happened.
    pub what: What,
}

/// What a line of a ladder tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message was sent.
    Message {
        /// Who sent it.
        from: &'static str,
        /// To whom.
        to: &'static str,
        /// The request's method, or the response's status and method.
        label: String,
        /// Which of the run's Call-IDs it has, from zero.
        dialog: usize,
        /// What became of it.
        fate: Fate,
    },
    /// Something happened inside a machine.
    Note(String),
}

impl Ladder {
    /// Everything in order.
    #[must_use]
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// The messages as `from>to label`, in the order they were sent.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let message = |rung: &Rung| match &rung.what {
            What::Message {
                from, to, label, ..
            } => Some(format!("{from}>{to} {label}")),
            What::Note(_) => None,
        };
        self.rungs.iter().filter_map(message).collect()
    }

    /// Notes a message and what becomes of it.
    pub(crate) fn sent(
        &mut self,
        at: Now,
        ends: (SocketAddr, SocketAddr),
        message: &Message,
        fate: Fate,
    ) {
        let call_id = message.call_id().unwrap_or_default().to_vec();
        let next = self.dialogs.len();
        let dialog = *self.dialogs.entry(call_id).or_insert(next);
        let what = What::Message {
            from: name(ends.0),
            to: name(ends.1),
            label: label(message),
            dialog,
            fate,
        };
        self.rungs.push(Rung { at, what });
    }

    pub(crate) fn note(&mut self, at: Now, note: String) {
        let what = What::Note(note);
        self.rungs.push(Rung { at, what });
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rungs.iter().try_for_each(|rung| writeln!(f, "{rung}"))
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.3}  ", self.at.0.as_secs_f64())?;
        match &self.what {
            What::Note(note) => write!(f, "        · {note}"),
            What::Message {
                from,
                to,
                label,
                dialog,
                fate,
            } => {
                let letter = char::from(b'a' + (*dialog % 26) as u8);
                write!(f, "{from:>7} → {to:<7}  [{letter}] {label}")?;
                match fate {
                    Fate::Arrives(at) if at.len() > 1 => write!(f, "  (×{})", at.len()),
                    Fate::Arrives(_) => Ok(()),
                    Fate::Lost => f.write_str("  ✗ lost"),
                    Fate::Refused => f.write_str("  ✗ refused"),
                }
            }
        }
    }
}

/// The name of a host.
pub(crate) fn name(address: SocketAddr) -> &'static str {
    let names = [
        (plan::GATEWAY, "gateway"),
        (plan::SBC, "sbc"),
        (plan::TARGET, "target"),
        (plan::GUARDED, "guarded"),
        (plan::ROUGH, "rough"),
        (plan::UNRULY, "unruly"),
    ];
    let found = names.into_iter().find(|(host, _)| *host == address);
    found.map_or("nobody", |(_, name)| name)
}

/// A message in a few words: `INVITE`, `200 BYE`, `NOTIFY 180`.
fn label(message: &Message) -> String {
    match message.start() {
        StartLine::Response { status, .. } => format!("{status} {}", message.method()),
        StartLine::Request { method, .. } => match fragment(message) {
            Some(status) => format!("{method} {status}"),
            None => method.to_string(),
        },
    }
}

fn fragment(message: &Message) -> Option<u16> {
    message.header(HeaderName::SubscriptionState)?;
    let body = message.body();
    sip_message::sipfrag::status_line(&body).map(|line| line.status)
}

/// The message that some bytes are.
pub(crate) fn parse(payload: &bytes::Bytes) -> Option<Message> {
    Message::parse(payload.clone(), &Limits::default()).ok()
}
