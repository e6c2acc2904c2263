//! An SBC that does everything which peers were seen to do, and some things that nobody should.
//!
//! It has no endpoint of ours: its messages are written by hand. Nothing that it does is judged;
//! what it gets for it is.

mod answers;
mod deals;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call_control::TRANSFER_HEADER;
use sip_core::{ConnectionId, EndpointConfig, Flow, Transport};
use sip_message::{HeaderName, Message, Method};
use timebase::Now;

use crate::agenda::Agenda;
use crate::dice::Dice;
use crate::host::{Deed, Host, Machine};
use crate::network::Arrival;
use crate::plan::{GATEWAY, ROUGH, RunPlan};
use crate::raw::{self, AGAIN, Inbox, RawDialog, SDP, sdp};
use deals::Deal;

/// How long before it refreshes a session again, where it is to.
const REFRESH: Duration = Duration::from_secs(80);

/// What its INVITE says of the session, where calls are long: who refreshes, and whether by UPDATE.
const SESSIONS: [&str; 4] = [
    "Supported: timer\r\nSession-Expires: 180;refresher=uac\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n",
    "Supported: timer\r\nSession-Expires: 180;refresher=uas\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n",
    "Supported: timer\r\nSession-Expires: 180;refresher=uas\r\nAllow: INVITE, ACK, CANCEL, BYE\r\n",
    "Supported: timer\r\nSession-Expires: 90\r\nAllow: INVITE, ACK, CANCEL, BYE\r\n",
];

/// The rough SBC.
#[derive(Debug)]
pub(crate) struct Rough {
    host: Host,
    lines: Vec<Line>,
    inbox: Inbox,
    /// When it ends a call of itself.
    rescue: Duration,
    /// Whether calls outlast their session intervals.
    long: bool,
    agenda: Agenda<(usize, Act)>,
    dice: Dice,
    branches: u64,
}

#[derive(Debug)]
struct Line {
    transfer: String,
    dialog: RawDialog,
    invite: Option<Bytes>,
    late_offer: bool,
    /// How it deals with the 2xx.
    acks: Acks,
    /// Whether it is to refresh the session.
    refreshes: bool,
    up: bool,
    over: bool,
    /// What was answered, for repetitions.
    answers: BTreeMap<(Bytes, Method), Option<Bytes>>,
    /// Branches of ours that have their final answer, or need none.
    done: BTreeSet<String>,
    version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acks {
    AtOnce,
    Late,
    Never,
    ByeFirst,
}

#[derive(Clone, Debug)]
enum Act {
    Call,
    /// Sends bytes again unless the branch has its answer.
    Again(String, Bytes),
    Send(Bytes),
    /// A request with the next number: method, further lines, body.
    Ask(&'static str, String, String),
    /// One of the many things that can be done in a dialog.
    Do(Deal),
    /// The session is refreshed by this method, and again later.
    Refresh(&'static str),
}

impl Machine for Rough {
    fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    fn address(&self) -> SocketAddr {
        ROUGH
    }

    fn settle(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Now> {
        self.agenda.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Now) {
        if let Some((line, act)) = self.agenda.due(now) {
            self.act(now, line, act);
        }
    }

    fn receive(&mut self, now: Now, arrival: Arrival) {
        if arrival.corrupted {
            self.host.deeds.push_back(Deed::Garbled);
        }
        for message in self.inbox.messages(&arrival) {
            self.message(now, &message);
        }
    }

    fn connection_closed(&mut self, _now: Now, connection: ConnectionId, _remote: SocketAddr) {
        self.inbox.close(connection);
    }

    fn send_failed(&mut self, _now: Now, _flow: Flow, _payload: Bytes) {}
}

impl Rough {
    pub(crate) fn new(plan: &RunPlan, dice: &mut Dice) -> Self {
        let mut rough = Self {
            host: Host::new(ROUGH, EndpointConfig::default(), dice.seed()),
            lines: Vec::new(),
            inbox: Inbox::default(),
            rescue: plan.rescue(),
            long: plan.intervals.is_some(),
            agenda: Agenda::default(),
            dice: dice.fork(),
            branches: 0,
        };
        for transfer in plan.transfers.iter().filter(|plan| plan.caller.rough) {
            let number = rough.lines.len();
            let acks = match rough.dice.below(12) {
                0 => Acks::Late,
                1 => Acks::Never,
                2 => Acks::ByeFirst,
                _ => Acks::AtOnce,
            };
            let dialog = RawDialog {
                own: ROUGH,
                stream: transfer.caller.transport != Transport::Udp,
                call_id: format!("rough-{number}-{}", rough.dice.below(1 << 32)),
                local: format!("<sip:+1555@{ROUGH}>;tag=r{number}"),
                remote: format!("<sip:agent@{GATEWAY}>"),
                target: format!("sip:agent@{GATEWAY}"),
                cseq: 1,
            };
            rough.lines.push(Line {
                transfer: transfer.transfer.clone(),
                dialog,
                invite: None,
                late_offer: transfer.caller.late_offer,
                acks,
                refreshes: false,
                up: false,
                over: false,
                answers: BTreeMap::new(),
                done: BTreeSet::new(),
                version: 1,
            });
            let start = Now(transfer.caller.start);
            rough.agenda.add(start, (number, Act::Call));
        }
        rough
    }

    /// The transfers whose callers can be heard.
    pub(crate) fn audible(&self) -> BTreeSet<String> {
        let heard = self.lines.iter().filter(|line| line.up);
        heard.map(|line| line.transfer.clone()).collect()
    }

    fn message(&mut self, now: Now, message: &Message) {
        let call_id = message.call_id().unwrap_or_default().to_vec();
        let of = |line: &Line| line.dialog.call_id.as_bytes() == call_id;
        match (self.lines.iter().position(of), message.status()) {
            (Some(line), Some(status)) => self.answered(now, line, status, message),
            (Some(line), None) => self.asked(now, line, message),
            (None, _) => {}
        }
    }

    fn act(&mut self, now: Now, line: usize, act: Act) {
        match act {
            Act::Call => self.call(now, line),
            Act::Again(branch, bytes) => {
                if !self.lines[line].done.contains(&branch) {
                    self.send(line, bytes);
                }
            }
            Act::Send(bytes) => self.send(line, bytes),
            Act::Ask(method, extra, body) => self.ask(now, line, method, &extra, &body),
            Act::Do(deal) => {
                if self.lines[line].up {
                    self.deal(now, line, deal);
                }
            }
            Act::Refresh(method) => self.refresh(now, line, method),
        }
    }

    fn call(&mut self, now: Now, number: usize) {
        let branch = self.branch();
        let line = &mut self.lines[number];
        let (offer, kind) = if line.late_offer {
            (String::new(), "")
        } else {
            (sdp("10.0.0.5", 1, "0 8", "sendrecv"), SDP)
        };
        let mut extra = format!("{TRANSFER_HEADER}: {}\r\n{kind}", line.transfer);
        match self.dice.below(12) {
            _ if self.long => {
                let session = self.dice.pick(SESSIONS);
                line.refreshes = session.contains("uac");
                extra.push_str(session);
            }
            0 => extra.push_str("Require: 100rel\r\nSupported: 100rel\r\n"),
            1 => {
                extra.push_str("Supported: 100rel, timer\r\nSession-Expires: 90;refresher=uac\r\n")
            }
            2 => extra.push_str("Require: explicitsub\r\n"),
            3 => extra.push_str("Supported: timer\r\nSession-Expires: 100;refresher=uas\r\n"),
            4 => extra.push_str("Supported: timer\r\nSession-Expires: 60\r\n"),
            5 => extra.push_str("Allow: INVITE, ACK, CANCEL, BYE\r\n"),
            _ => {}
        }
        let invite = line.dialog.request("INVITE", &branch, &extra, &offer);
        line.invite = Some(invite.clone());
        match self.dice.below(10) {
            // The same call by another path, RFC 3261 §8.2.2.2.
            0 => {
                let other = self.branch();
                let text = String::from_utf8_lossy(&invite).replace(&branch, &other);
                let at = now + self.dice.millis(1, 400);
                self.agenda.add(at, (number, Act::Send(text.into())));
            }
            1 => (0..10).for_each(|_| self.send(number, invite.clone())),
            2 => {
                let cancel = self.lines[number].dialog.request("CANCEL", &branch, "", "");
                let at = now + self.dice.millis(0, 800);
                self.agenda.add(at, (number, Act::Send(cancel)));
            }
            _ => {}
        }
        self.persist(now, number, &branch, invite);
        for _ in 0..2 + self.dice.below(7) {
            let deal = self.dice.pick(Deal::ALL);
            let at = now + self.dice.millis(300, 9_000);
            self.agenda.add(at, (number, Act::Do(deal)));
        }
        let bye = if self.dice.chance(40) {
            self.dice.millis(500, 15_000)
        } else {
            self.rescue
        };
        for after in [bye, self.rescue] {
            self.agenda.add(now + after, (number, Act::Do(Deal::Bye)));
        }
    }

    /// The session goes on, as far as this side is to see to that.
    fn refresh(&mut self, now: Now, line: usize, method: &'static str) {
        if !self.lines[line].up {
            return;
        }
        let session = "Supported: timer\r\nSession-Expires: 180;refresher=uac\r\n";
        if method == "INVITE" {
            self.lines[line].version += 1;
            let offer = sdp("10.0.0.5", self.lines[line].version, "0 8", "sendrecv");
            self.ask(now, line, method, &format!("{session}{SDP}"), &offer);
        } else {
            self.ask(now, line, method, session, "");
        }
        self.agenda.add(now + REFRESH, (line, Act::Refresh(method)));
    }

    /// Sends a request, and again until it is answered.
    fn persist(&mut self, now: Now, line: usize, branch: &str, request: Bytes) {
        if !self.lines[line].dialog.stream {
            for after in AGAIN {
                let again = Act::Again(branch.to_owned(), request.clone());
                self.agenda
                    .add(now + Duration::from_millis(after), (line, again));
            }
        }
        self.send(line, request);
    }

    /// A new request in the dialog.
    fn ask(&mut self, now: Now, line: usize, method: &str, extra: &str, body: &str) {
        let branch = self.branch();
        let dialog = &mut self.lines[line].dialog;
        dialog.cseq += 1;
        let request = dialog.request(method, &branch, extra, body);
        self.persist(now, line, &branch, request);
    }

    fn answered(&mut self, now: Now, number: usize, status: u16, response: &Message) {
        let Ok(cseq) = response.cseq() else { return };
        let branch = response.via().ok();
        let branch = branch.as_ref().and_then(|via| via.branch());
        let branch = String::from_utf8_lossy(branch.unwrap_or_default()).into_owned();
        let invite = cseq.method == Method::Invite;
        let line = &mut self.lines[number];
        if invite || status >= 200 {
            line.done.insert(branch.clone());
        }
        match status {
            200..=299 if invite => self.success(now, number, cseq.number, response),
            300.. if invite => {
                let dialog = &line.dialog;
                let mut own = dialog.clone();
                own.cseq = cseq.number;
                own.remote = raw::text(response, HeaderName::To);
                let ack = own.request("ACK", &branch, "", "");
                self.send(number, ack);
            }
            _ => {}
        }
    }

    fn success(&mut self, now: Now, number: usize, cseq: u32, response: &Message) {
        let branch = self.branch();
        let answer = sdp("10.0.0.5", 3, "0", "sendrecv");
        let line = &mut self.lines[number];
        let first = cseq == 1;
        if line.refreshes && first {
            let method = self.dice.pick(["INVITE", "UPDATE"]);
            let refresh = Act::Refresh(method);
            self.agenda.add(now + REFRESH, (number, refresh));
        }
        if first && !line.over {
            line.dialog.learn(response, HeaderName::To);
            line.up = line.acks != Acks::Never;
        }
        // An answer where none is due is a further trial.
        let late = line.late_offer && first || !first && self.dice.chance(50);
        let ack = line
            .dialog
            .ack(cseq, &branch, if late { &answer } else { "" });
        match line.acks {
            Acks::Never if first => {}
            Acks::Late if first => {
                let at = now + Duration::from_millis(2_500);
                self.agenda.add(at, (number, Act::Send(ack)));
            }
            Acks::ByeFirst if first && !line.over => {
                self.deal(now, number, Deal::Bye);
                self.send(number, ack);
            }
            Acks::AtOnce | Acks::Never | Acks::Late | Acks::ByeFirst => self.send(number, ack),
        }
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bKrough{}x{}", self.branches, self.dice.below(1 << 20))
    }

    fn send(&mut self, line: usize, payload: Bytes) {
        let flow = raw::flow(ROUGH, self.lines[line].dialog.stream);
        self.host.deeds.push_back(Deed::Transmit { flow, payload });
    }
}
