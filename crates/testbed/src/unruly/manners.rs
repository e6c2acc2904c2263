//! How the unruly target deals with an INVITE, and with its CANCEL.

use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Message};
use timebase::Now;

use super::deals::Deal;
use super::{Act, Lines, Unruly};
use crate::dice::Dice;
use crate::plan::{FOREIGN_REALM, UNRULY};
use crate::raw::{self, sdp};

/// What it does with an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// So many phones ring, with early media or without, and the first of them so many answer.
    Forks {
        ring: u8,
        answer: u8,
    },
    /// It rings for ever, and its 200 crosses the CANCEL.
    Crosses,
    /// It rings for ever, and takes no notice of CANCEL.
    RingsOn,
    /// It answers 100 and nothing more.
    Trying,
    Ignores,
    /// BYE on the heels of the 200.
    ByeAtOnce,
    /// BYE before the 200, which no callee may send (RFC 3261 §15).
    EarlyBye,
    /// Several final answers, each more than once, that contradict each other.
    Repeats,
    /// Answers with other tags than there should be, then the right one.
    WrongTags,
    /// Answers to other transactions, then the right one.
    WrongNumbers,
    /// A 200 in which something is missing or wrong.
    Flawed(Flaw),
    /// Redirections: to itself, to nowhere, to many places.
    Redirects(Redirect),
    /// Challenges that lead nowhere, or never end.
    Challenges,
    /// 422, with a Min-SE or without.
    TooBrief,
    /// Reliable provisional responses with odd numbers.
    Reliable,
    Refuses(u16),
}

/// What is wrong with a 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    NoContact,
    NoDescription,
    NoStream,
    OtherCodec,
    Nonsense,
}

/// Where a 3xx leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    Itself,
    Nowhere,
    Many,
}

impl Manner {
    pub(super) fn forks(dice: &mut Dice) -> Self {
        let ring = 1 + dice.below(4) as u8;
        let answer = 1 + dice.below(u64::from(ring)) as u8;
        Self::Forks { ring, answer }
    }

    pub(super) fn draw(dice: &mut Dice) -> Self {
        match dice.below(18) {
            0 | 1 => Self::Crosses,
            2 => Self::RingsOn,
            3 => Self::Trying,
            4 => Self::Ignores,
            5 | 6 => Self::ByeAtOnce,
            7 => Self::EarlyBye,
            8 | 9 => Self::Repeats,
            10 => Self::WrongTags,
            11 => Self::WrongNumbers,
            12 => Self::Flawed(dice.pick([
                Flaw::NoContact,
                Flaw::NoDescription,
                Flaw::NoStream,
                Flaw::OtherCodec,
                Flaw::Nonsense,
            ])),
            13 => Self::Redirects(dice.pick([Redirect::Itself, Redirect::Nowhere, Redirect::Many])),
            14 => Self::Challenges,
            15 => Self::TooBrief,
            16 => Self::Reliable,
            _ => Self::Refuses(dice.pick([380, 404, 481, 482, 503, 600, 699])),
        }
    }
}

fn contact() -> (&'static str, String) {
    ("Contact", format!("<sip:unruly@{UNRULY}>"))
}

fn description() -> String {
    sdp("10.0.0.6", 1, "0 8", "sendrecv")
}

impl Unruly {
    /// The INVITE came, for the first time or again.
    pub(super) fn receive_guest(&mut self, now: Now, guest: usize) {
        match self.guests[guest].manner {
            Manner::Forks { ring, answer } => self.forks(now, guest, ring, answer),
            Manner::Crosses | Manner::RingsOn => {
                let fork = self.fork(guest);
                self.say(now, 20, guest, (fork, 180), false);
            }
            Manner::Trying => {
                let fork = self.fork(guest);
                self.say(now, 1, guest, (fork, 100), false);
            }
            Manner::Ignores => {}
            Manner::ByeAtOnce | Manner::EarlyBye => self.hangs_up_early(now, guest),
            Manner::Repeats => self.repeats(now, guest),
            Manner::WrongTags | Manner::WrongNumbers => self.wrong(now, guest),
            Manner::Flawed(flaw) => self.flawed(now, guest, flaw),
            Manner::Redirects(redirect) => self.redirects(now, guest, redirect),
            Manner::Challenges => self.challenges(now, guest),
            Manner::TooBrief => {
                let min = 90 + 1_000 * self.dice.below(4);
                let lines = match min {
                    90 => Vec::new(),
                    _ => vec![("Min-SE", min.to_string())],
                };
                self.say_with(now, 20, guest, 422, lines);
            }
            Manner::Reliable => self.reliable(now, guest),
            Manner::Refuses(status) => self.say_with(now, 300, guest, status, Vec::new()),
        }
    }

    /// A response of a fork after some time, with a description and a Contact or without.
    fn say(&mut self, now: Now, after: u64, guest: usize, what: (usize, u16), describes: bool) {
        let (fork, status) = what;
        let body = if describes {
            description()
        } else {
            String::new()
        };
        let lines = if status > 100 {
            vec![contact()]
        } else {
            Vec::new()
        };
        let at = now + Duration::from_millis(after);
        self.agenda
            .add(at, (guest, Act::Answer(fork, status, lines, body)));
    }

    /// A refusal with these header fields after some time.
    fn say_with(&mut self, now: Now, after: u64, guest: usize, status: u16, lines: Lines) {
        let fork = self.fork(guest);
        let at = now + Duration::from_millis(after);
        let answer = Act::Answer(fork, status, lines, String::new());
        self.agenda.add(at, (guest, answer));
    }

    fn forks(&mut self, now: Now, guest: usize, ring: u8, answer: u8) {
        for number in 0..ring {
            let fork = self.fork(guest);
            let status = self.dice.pick([180, 183]);
            let early = status == 183 && self.dice.chance(60);
            let rings = 10 + self.dice.below(300);
            self.say(now, rings, guest, (fork, status), early);
            if number < answer {
                // Two at once, soon after each other, or seconds apart.
                let apart = self.dice.pick([1, 50, 4_000]);
                let answers = 600 + self.dice.below(apart);
                self.say(now, answers, guest, (fork, 200), true);
            }
        }
    }

    fn hangs_up_early(&mut self, now: Now, guest: usize) {
        let fork = self.fork(guest);
        self.say(now, 20, guest, (fork, 180), false);
        self.say(now, 500, guest, (fork, 200), true);
        let after = if self.guests[guest].manner == Manner::EarlyBye {
            100 + self.dice.below(300)
        } else {
            500 + self.dice.below(4)
        };
        let at = now + Duration::from_millis(after);
        self.agenda.add(at, (guest, Act::Do(fork, Deal::Bye)));
    }

    fn repeats(&mut self, now: Now, guest: usize) {
        let first = self.fork(guest);
        let other = self.fork(guest);
        self.say(now, 20, guest, (first, 180), false);
        let (one, two) = self
            .dice
            .pick([(486, 200), (200, 486), (200, 200), (486, 603)]);
        for after in [300, 301, 420] {
            self.say(now, after, guest, (first, one), one == 200);
        }
        for after in [302, 350, 900] {
            self.say(now, after, guest, (other, two), two == 200);
        }
        self.say(now, 600, guest, (first, 180), false);
    }

    /// Messages that belong to nothing of the gateway's, then the right one.
    fn wrong(&mut self, now: Now, guest: usize) {
        let fork = self.fork(guest);
        let tag = self.guests[guest].forks[fork].tag.clone();
        let invite = &self.guests[guest].invite;
        let right = raw::response(invite, 200, &tag, &[contact()], &description());
        let text = String::from_utf8_lossy(&right).into_owned();
        let from = raw::text(invite, HeaderName::From);
        let own = from.split("tag=").nth(1).unwrap_or_default().to_owned();
        let wrong = match (self.guests[guest].manner, self.dice.below(3)) {
            (Manner::WrongTags, 0) => text.replace(&format!(";tag={tag}"), ""),
            (Manner::WrongTags, 1) => text.replace(&own, "another"),
            (Manner::WrongTags, _) => text.replace(&format!(";tag={own}"), ""),
            (_, 0) => text.replace("CSeq: 1 INVITE", "CSeq: 7 INVITE"),
            (_, 1) => text.replace("CSeq: 1 INVITE", "CSeq: 1 OPTIONS"),
            (_, _) => text.replace("branch=z9hG4bK", "branch=z9hG4bKx"),
        };
        let at = now + Duration::from_millis(100);
        self.agenda.add(at, (guest, Act::Send(Bytes::from(wrong))));
        self.say(now, 400, guest, (fork, 200), true);
    }

    fn flawed(&mut self, now: Now, guest: usize, flaw: Flaw) {
        let fork = self.fork(guest);
        let (lines, body) = match flaw {
            Flaw::NoContact => (Vec::new(), description()),
            Flaw::NoDescription => (vec![contact()], String::new()),
            Flaw::NoStream => {
                let refused = description().replace("m=audio 31000", "m=audio 0");
                (vec![contact()], refused)
            }
            Flaw::OtherCodec => (vec![contact()], sdp("10.0.0.6", 1, "18", "sendrecv")),
            Flaw::Nonsense => (vec![contact()], "v=1\r\nnonsense".to_owned()),
        };
        let at = now + Duration::from_millis(300);
        self.agenda
            .add(at, (guest, Act::Answer(fork, 200, lines, body)));
    }

    fn redirects(&mut self, now: Now, guest: usize, redirect: Redirect) {
        let lines = match redirect {
            Redirect::Itself => vec![contact()],
            Redirect::Nowhere => Vec::new(),
            Redirect::Many => {
                let many = (0..300).map(|n| format!("<sip:u{n}@{UNRULY}>;q=0.{n}"));
                let many = many.chain(["<tel:+1>".to_owned(), "<http://x>;q=1".to_owned()]);
                vec![("Contact", many.collect::<Vec<_>>().join(", "))]
            }
        };
        self.say_with(now, 100, guest, 302, lines);
    }

    fn challenges(&mut self, now: Now, guest: usize) {
        let nonce = format!("n{}", self.dice.below(1 << 30));
        let value = match self.dice.below(4) {
            0 => format!("Digest realm=\"{FOREIGN_REALM}\""),
            1 => "Basic realm=\"x\"".to_owned(),
            2 => format!("Digest realm=\"{FOREIGN_REALM}\", nonce=\"{nonce}\", stale=true"),
            _ => format!("Digest realm=\"{FOREIGN_REALM}\", nonce=\"{nonce}\", qop=\"auth\""),
        };
        let lines = vec![("WWW-Authenticate", value)];
        self.say_with(now, 20, guest, 401, lines);
    }

    fn reliable(&mut self, now: Now, guest: usize) {
        let fork = self.fork(guest);
        for number in self.dice.pick([[1, 2, 3], [7, 7, 8], [5, 4, 6], [1, 3, 2]]) {
            let lines = vec![
                contact(),
                ("Require", "100rel".to_owned()),
                ("RSeq", number.to_string()),
            ];
            let at = now + self.dice.millis(10, 200);
            let ring = Act::Answer(fork, 183, lines, description());
            self.agenda.add(at, (guest, ring));
        }
        self.say(now, 900, guest, (fork, 200), true);
    }

    /// CANCEL: as a good callee would take it, or otherwise.
    pub(super) fn cancelled(&mut self, now: Now, guest: usize, cancel: &Message) {
        let manner = self.guests[guest].manner;
        if matches!(manner, Manner::RingsOn | Manner::Trying | Manner::Ignores) {
            return;
        }
        let answer = raw::response(cancel, 200, "c", &[], "");
        self.remember(guest, cancel, Some(answer.clone()));
        self.send(guest, answer);
        let fork = match self.guests[guest].forks.len() {
            0 => self.fork(guest),
            forks => forks - 1,
        };
        if manner == Manner::Crosses {
            let after = self.dice.below(50);
            self.say(now, after, guest, (fork, 200), true);
        } else if self.guests[guest]
            .forks
            .iter()
            .all(|fork| !fork.acknowledged)
        {
            self.say(now, 1, guest, (fork, 487), false);
        }
    }
}
