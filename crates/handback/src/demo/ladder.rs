//! A SIP ladder: who sent what to whom, and when, as text.

use std::net::SocketAddr;
use std::time::Duration;

use sip_message::{HeaderName, Limits, Message, Method, StartLine};

use crate::cli::Paint;

/// Characters between two columns of three, and of two.
const NARROW: usize = 38;
const WIDE: usize = 64;
/// Characters before the first column: the time.
const MARGIN: usize = 10;

/// A party: a vertical line of the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Option<SocketAddr>,
}

/// A line of the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, since the story began.
    pub at: Duration,
    /// What.
    pub step: Step,
}

/// What a line of the ladder shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message from one party to another, by their indexes.
    Message {
        /// Who sent it.
        from: usize,
        /// Who got it.
        to: usize,
        /// What it was.
        label: String,
    },
    /// Something beside the messages.
    Note(String),
}

/// The ladder as text, a line for each entry, without a line break at its end.
#[must_use]
pub fn render(parties: &[Party], entries: &[Entry], paint: Paint) -> String {
    let gap = if parties.len() > 2 { NARROW } else { WIDE };
    let sheet = Sheet {
        gaps: parties.len().saturating_sub(1),
        gap,
        paint,
    };
    let names = parties.iter().map(|party| party.name.clone());
    let addresses = parties.iter().map(|party| {
        party
            .address
            .map_or_else(String::new, |address| address.to_string())
    });
    let mut lines = vec![
        sheet.heads(names, |text| paint.bold(text)),
        sheet.heads(addresses, |text| paint.dim(text)),
    ];
    for entry in entries {
        let time = paint.dim(&format!("{:>7.3}", entry.at.as_secs_f64()));
        let body = match &entry.step {
            Step::Note(text) => sheet.note(text),
            Step::Message { from, to, label } => sheet.arrow((*from, *to), label),
        };
        lines.push(format!("{time}   {body}"));
    }
    lines.join("\n")
}

/// What a ladder is drawn on: how many gaps there are between its lines, and how wide each is.
#[derive(Clone, Copy)]
struct Sheet {
    gaps: usize,
    gap: usize,
    paint: Paint,
}

impl Sheet {
    /// A text over each party's line.
    fn heads(self, texts: impl Iterator<Item = String>, colour: impl Fn(&str) -> String) -> String {
        let mut line = " ".repeat(MARGIN);
        let mut room = 0;
        for text in texts.filter(|text| !text.is_empty()) {
            line.push_str(&" ".repeat(room));
            line.push_str(&colour(&text));
            room = (self.gap + 1).saturating_sub(text.chars().count());
        }
        line.trim_end().to_owned()
    }

    fn note(self, text: &str) -> String {
        let width = (self.gaps * (self.gap + 1)).saturating_sub(1);
        let text = shorten(text, width.saturating_sub(2));
        let room = width.saturating_sub(1 + text.chars().count());
        format!("│ {}{}│", self.paint.yellow(&text), " ".repeat(room))
    }

    /// `│── INVITE ──▶│`, across the lines in between.
    fn arrow(self, (from, to): (usize, usize), label: &str) -> String {
        let (left, right) = (from.min(to), from.max(to));
        let rightward = from < to;
        let mut line = String::from("│");
        for gap in 0..self.gaps {
            if gap < left || gap >= right {
                line.push_str(&" ".repeat(self.gap));
                line.push('│');
                continue;
            }
            let (leftmost, rightmost) = (gap == left, gap + 1 == right);
            let (first, head) = if rightward {
                (leftmost, rightmost)
            } else {
                (rightmost, leftmost)
            };
            line.push_str(&self.shaft(first.then_some(label), rightward, head));
            line.push(if rightmost { '│' } else { '┼' });
        }
        line
    }

    /// The piece of an arrow between two neighbouring lines; the label stands where the arrow begins.
    fn shaft(self, label: Option<&str>, rightward: bool, head: bool) -> String {
        let label = shorten(label.unwrap_or_default(), self.gap - 6);
        let spaced = if label.is_empty() {
            String::new()
        } else {
            format!(" {label} ")
        };
        let dashes = "─".repeat(self.gap - 2 - usize::from(head) - spaced.chars().count());
        let is_response = label.starts_with(|first: char| first.is_ascii_digit());
        let text = match (label.is_empty(), is_response) {
            (true, _) => String::new(),
            (false, true) => self.paint.green(&spaced),
            (false, false) => self.paint.cyan(&spaced),
        };
        match (rightward, head) {
            (true, true) => format!("──{text}{dashes}▶"),
            (true, false) => format!("──{text}{dashes}"),
            (false, true) => format!("◀{dashes}{text}──"),
            (false, false) => format!("{dashes}{text}──"),
        }
    }
}

fn shorten(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars()
        .take(longest.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// A message in a few words: its method or status, and what it is about.
#[must_use]
pub fn label(bytes: &bytes::Bytes) -> String {
    match Message::parse(bytes.clone(), &Limits::default()) {
        Ok(message) => label_of(&message),
        Err(_) => "(not SIP)".to_owned(),
    }
}

/// The same of a message that is parsed already.
#[must_use]
pub fn label_of(message: &Message) -> String {
    let media = if message.body().starts_with(b"v=0") {
        " (SDP)"
    } else {
        ""
    };
    match message.start() {
        StartLine::Response { status, reason } => {
            let method = message.method();
            format!(
                "{status} {} {method}{media}",
                String::from_utf8_lossy(reason)
            )
        }
        StartLine::Request { method, .. } => {
            format!("{method}{}{media}", subject(method, message))
        }
    }
}

/// What a request is about.
fn subject(method: &Method, message: &Message) -> String {
    let text = |name: &str| {
        message
            .header(HeaderName::from(name))
            .map(|value| String::from_utf8_lossy(&value).into_owned())
    };
    let subject = match method {
        Method::Refer => text("Refer-To"),
        Method::Bye => {
            text("Reason").map(|reason| reason.split(',').next().unwrap_or_default().to_owned())
        }
        Method::Notify => message
            .body()
            .split(|&byte| byte == b'\r')
            .next()
            .map(|line| {
                String::from_utf8_lossy(line)
                    .trim_start_matches("SIP/2.0 ")
                    .to_owned()
            }),
        Method::Invite
        | Method::Ack
        | Method::Cancel
        | Method::Options
        | Method::Register
        | Method::Subscribe
        | Method::Info
        | Method::Update
        | Method::Prack
        | Method::Message
        | Method::Publish
        | Method::Other(_) => None,
    };
    subject.map_or_else(String::new, |subject| format!(" {subject}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parties() -> Vec<Party> {
        ["SBC", "handback", "target"]
            .map(|name| Party {
                name: name.to_owned(),
                address: None,
            })
            .to_vec()
    }

    fn body(from: usize, to: usize, label: &str) -> String {
        let step = Step::Message {
            from,
            to,
            label: label.to_owned(),
        };
        let entries = [Entry {
            at: Duration::from_millis(1234),
            step,
        }];
        let text = render(&parties(), &entries, Paint::plain());
        text.lines().last().unwrap().to_owned()
    }

    #[test]
    fn arrows_point_from_sender_to_receiver() {
        let dashes = |count: usize| "─".repeat(count);
        let blank = " ".repeat(NARROW);
        assert_eq!(
            body(0, 1, "INVITE"),
            format!("  1.234   │── INVITE {}▶│{blank}│", dashes(27))
        );
        assert_eq!(
            body(1, 0, "200 OK"),
            format!("  1.234   │◀{} 200 OK ──│{blank}│", dashes(27))
        );
        assert_eq!(
            body(1, 2, "INVITE"),
            format!("  1.234   │{blank}│── INVITE {}▶│", dashes(27))
        );
    }

    #[test]
    fn an_arrow_crosses_the_line_in_between() {
        let right = body(0, 2, "INVITE");
        assert!(
            right.contains("│── INVITE ") && right.contains('┼') && right.ends_with("▶│"),
            "{right}"
        );
        let left = body(2, 0, "200 OK");
        assert!(
            left.contains("│◀─") && left.contains('┼') && left.ends_with(" 200 OK ──│"),
            "{left}"
        );
    }

    #[test]
    fn every_line_has_the_same_width_whatever_it_says() {
        let width = |text: &str| text.chars().count();
        let whole = width(&body(0, 1, "INVITE"));
        for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)] {
            for label in ["", "ACK", &"long ".repeat(40)] {
                assert_eq!(width(&body(from, to, label)), whole, "{from} {to} {label}");
            }
        }
        let entries = [Entry {
            at: Duration::ZERO,
            step: Step::Note("long ".repeat(60)),
        }];
        assert_eq!(
            width(
                render(&parties(), &entries, Paint::plain())
                    .lines()
                    .last()
                    .unwrap()
            ),
            whole
        );
    }

    #[test]
    fn colour_changes_no_text() {
        let entries = [Entry {
            at: Duration::ZERO,
            step: Step::Message {
                from: 0,
                to: 1,
                label: "ACK".to_owned(),
            },
        }];
        let mut coloured = render(&parties(), &entries, Paint::always());
        for code in ["\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[0m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, render(&parties(), &entries, Paint::plain()));
    }

    #[test]
    fn messages_are_named_by_what_they_are_about() {
        let head = "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\n";
        let named = |start: &str, rest: &str| {
            label(&bytes::Bytes::from(format!("{start}\r\n{head}{rest}")))
        };
        let refer = named(
            "REFER sip:c@d SIP/2.0",
            "CSeq: 1 REFER\r\nRefer-To: <sip:x@y>\r\nContent-Length: 0\r\n\r\n",
        );
        assert_eq!(refer, "REFER <sip:x@y>");
        let notify = named(
            "NOTIFY sip:c@d SIP/2.0",
            "CSeq: 1 NOTIFY\r\nContent-Length: 16\r\n\r\nSIP/2.0 200 OK\r\n",
        );
        assert_eq!(notify, "NOTIFY 200 OK");
        let ok = named(
            "SIP/2.0 200 OK",
            "CSeq: 1 INVITE\r\nContent-Length: 5\r\n\r\nv=0\r\n",
        );
        assert_eq!(ok, "200 OK INVITE (SDP)");
        assert_eq!(label(&bytes::Bytes::from_static(b"x")), "(not SIP)");
    }
}
