//! A return target that forks, and does what else broken peers were seen to do.
//!
//! Like the rough SBC it has no endpoint of ours: its messages are written by hand, and what it gets
//! for them is judged.

mod deals;
mod manners;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call_control::TRANSFER_HEADER;
use sip_core::{ConnectionId, EndpointConfig, Flow};
use sip_message::{HeaderName, Message, Method};
use timebase::Now;

use crate::agenda::Agenda;
use crate::dice::Dice;
use crate::host::{Deed, Host, Machine};
use crate::network::Arrival;
use crate::plan::{CallPlan, RESCUE, RunPlan, TargetPlan, UNRULY};
use crate::raw::{self, AGAIN, Inbox, RawDialog};
use deals::Deal;
use manners::Manner;

/// The unruly target.
#[derive(Debug)]
pub(crate) struct Unruly {
    host: Host,
    plans: Vec<CallPlan>,
    guests: Vec<Guest>,
    inbox: Inbox,
    agenda: Agenda<(usize, Act)>,
    dice: Dice,
    branches: u64,
}

/// One INVITE and what it made.
#[derive(Debug)]
struct Guest {
    transfer: String,
    invite: Message,
    stream: bool,
    manner: Manner,
    forks: Vec<Fork>,
    /// What was answered, for repetitions.
    answers: BTreeMap<(Bytes, Method), Option<Bytes>>,
    /// Branches of ours that have their answer.
    done: BTreeSet<String>,
}

/// One of the phones that an INVITE reaches.
#[derive(Debug)]
struct Fork {
    tag: String,
    dialog: RawDialog,
    acknowledged: bool,
    over: bool,
}

#[derive(Clone, Debug)]
enum Act {
    /// Sends bytes as they are.
    Send(Bytes),
    /// A provisional or final response of a fork; a 2xx comes again until its ACK.
    Answer(usize, u16, Lines, String),
    /// The same 2xx, unless it is acknowledged.
    AnswerAgain(usize, Bytes),
    /// Sends a request again unless it has its answer.
    Again(String, Bytes),
    /// One of the many things that can be done in a dialog.
    Do(usize, Deal),
}

/// Further header fields of a response.
type Lines = Vec<(&'static str, String)>;

impl Machine for Unruly {
    fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    fn address(&self) -> SocketAddr {
        UNRULY
    }

    fn settle(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Now> {
        self.agenda.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Now) {
        if let Some((guest, act)) = self.agenda.due(now) {
            self.act(now, guest, act);
        }
    }

    fn receive(&mut self, now: Now, arrival: Arrival) {
        if arrival.corrupted {
            self.host.deeds.push_back(Deed::Garbled);
        }
        let stream = arrival.flow.connection.is_some();
        for message in self.inbox.messages(&arrival) {
            self.message(now, &message, stream);
        }
    }

    fn connection_closed(&mut self, _now: Now, connection: ConnectionId, _remote: SocketAddr) {
        self.inbox.close(connection);
    }

    fn send_failed(&mut self, _now: Now, _flow: Flow, _payload: Bytes) {}
}

impl Unruly {
    pub(crate) fn new(plan: &RunPlan, dice: &mut Dice) -> Self {
        Self {
            host: Host::new(UNRULY, EndpointConfig::default(), dice.seed()),
            plans: plan.transfers.clone(),
            guests: Vec::new(),
            inbox: Inbox::default(),
            agenda: Agenda::default(),
            dice: dice.fork(),
            branches: 0,
        }
    }

    /// The transfers whose targets can be heard.
    pub(crate) fn audible(&self) -> BTreeSet<String> {
        let talks = |guest: &&Guest| {
            let mut forks = guest.forks.iter();
            forks.any(|fork| fork.acknowledged && !fork.over)
        };
        let heard = self.guests.iter().filter(talks);
        heard.map(|guest| guest.transfer.clone()).collect()
    }

    fn message(&mut self, now: Now, message: &Message, stream: bool) {
        let call_id = message.call_id().unwrap_or_default();
        let of = |guest: &Guest| guest.invite.call_id().unwrap_or_default() == call_id;
        let guest = self.guests.iter().position(of);
        match (guest, message.status()) {
            (Some(guest), Some(status)) => self.answered(guest, status, message),
            (Some(guest), None) => self.asked(now, guest, message),
            (None, None) if message.method() == Method::Invite => {
                self.invited(now, message, stream);
            }
            (None, _) => {}
        }
    }

    fn invited(&mut self, now: Now, invite: &Message, stream: bool) {
        let transfer = raw::text(invite, HeaderName::from(TRANSFER_HEADER));
        let plan = self.plans.iter().find(|plan| plan.transfer == transfer);
        let forks = plan.is_some_and(|plan| matches!(plan.target, TargetPlan::Forks));
        let manner = if forks {
            Manner::forks(&mut self.dice)
        } else {
            Manner::draw(&mut self.dice)
        };
        let number = self.guests.len();
        self.host.note(format!("unruly: {manner:?}"));
        self.guests.push(Guest {
            transfer,
            invite: invite.clone(),
            stream,
            manner,
            forks: Vec::new(),
            answers: BTreeMap::new(),
            done: BTreeSet::new(),
        });
        self.remember(number, invite, None);
        self.receive_guest(now, number);
    }

    /// A further phone; its number.
    fn fork(&mut self, number: usize) -> usize {
        let guest = &mut self.guests[number];
        let at = guest.forks.len();
        let tag = format!("u{number}x{at}");
        let to = raw::text(&guest.invite, HeaderName::To);
        let mut dialog = RawDialog {
            own: UNRULY,
            stream: guest.stream,
            call_id: raw::text(&guest.invite, HeaderName::CallId),
            local: format!("{to};tag={tag}"),
            remote: String::new(),
            target: String::new(),
            cseq: 100,
        };
        dialog.learn(&guest.invite, HeaderName::From);
        guest.forks.push(Fork {
            tag,
            dialog,
            acknowledged: false,
            over: false,
        });
        at
    }

    fn act(&mut self, now: Now, number: usize, act: Act) {
        match act {
            Act::Send(bytes) => self.send(number, bytes),
            Act::Answer(fork, status, lines, body) => {
                self.answer(now, number, (fork, status), &lines, &body);
            }
            Act::AnswerAgain(fork, bytes) => {
                let fork = &self.guests[number].forks[fork];
                if !fork.acknowledged && !fork.over {
                    self.send(number, bytes);
                }
            }
            Act::Again(branch, bytes) => {
                if !self.guests[number].done.contains(&branch) {
                    self.send(number, bytes);
                }
            }
            Act::Do(fork, deal) => {
                if !self.guests[number].forks[fork].over {
                    self.deal(now, number, fork, deal);
                }
            }
        }
    }

    /// A response to the INVITE from one of the forks.
    fn answer(
        &mut self,
        now: Now,
        number: usize,
        (fork, status): (usize, u16),
        lines: &Lines,
        body: &str,
    ) {
        let guest = &self.guests[number];
        let tag = guest.forks[fork].tag.clone();
        let response = raw::response(&guest.invite, status, &tag, lines, body);
        if (200..300).contains(&status) {
            for after in AGAIN {
                let at = now + Duration::from_millis(after);
                let again = Act::AnswerAgain(fork, response.clone());
                self.agenda.add(at, (number, again));
            }
        }
        self.send(number, response);
    }

    /// A request of the gateway's.
    fn asked(&mut self, now: Now, number: usize, request: &Message) {
        let tag = request.to().ok();
        let tag = tag.as_ref().and_then(|to| to.tag()).unwrap_or_default();
        let forks = &self.guests[number].forks;
        let fork = forks.iter().position(|fork| fork.tag.as_bytes() == tag);
        if request.method() == Method::Ack {
            if let Some(fork) = fork {
                self.acknowledged(now, number, fork);
            }
            return;
        }
        let key = key(request);
        if let Some(known) = self.guests[number].answers.get(&key).cloned() {
            return known.map_or((), |known| self.send(number, known));
        }
        let method = request.method();
        if method == Method::Cancel {
            self.cancelled(now, number, request);
        } else if method == Method::Invite && tag.is_empty() {
            // Again with credentials, or with another interval.
            self.guests[number].invite = request.clone();
            self.remember(number, request, None);
            self.receive_guest(now, number);
        } else {
            self.asked_inside(number, fork, request);
        }
    }

    fn acknowledged(&mut self, now: Now, number: usize, fork: usize) {
        let ours = &mut self.guests[number].forks[fork];
        if std::mem::replace(&mut ours.acknowledged, true) {
            return;
        }
        for _ in 0..self.dice.below(5) {
            let deal = self.dice.pick(Deal::ALL);
            let at = now + self.dice.millis(100, 9_000);
            self.agenda.add(at, (number, Act::Do(fork, deal)));
        }
        let bye = if self.dice.chance(60) {
            self.dice.millis(500, 12_000)
        } else {
            RESCUE
        };
        for after in [bye, RESCUE] {
            let bye = Act::Do(fork, Deal::Bye);
            self.agenda.add(now + after, (number, bye));
        }
    }

    fn answered(&mut self, number: usize, status: u16, response: &Message) {
        let (branch, method) = key(response);
        let branch = String::from_utf8_lossy(&branch).into_owned();
        if method == Method::Invite || status >= 200 {
            self.guests[number].done.insert(branch.clone());
        }
        if method == Method::Invite && status >= 200 {
            self.acknowledge(number, status, &branch, response);
        }
    }

    /// ACK of a re-INVITE's final response.
    fn acknowledge(&mut self, number: usize, status: u16, branch: &str, response: &Message) {
        let Ok(cseq) = response.cseq() else { return };
        let tag = response.from().ok();
        let tag = tag.as_ref().and_then(|from| from.tag()).unwrap_or_default();
        let forks = &self.guests[number].forks;
        let Some(fork) = forks.iter().find(|fork| fork.tag.as_bytes() == tag) else {
            return;
        };
        let dialog = fork.dialog.clone();
        let own = if status < 300 {
            self.branch()
        } else {
            branch.to_owned()
        };
        self.send(number, dialog.ack(cseq.number, &own, ""));
    }

    /// A new request in a fork's dialog.
    fn ask(&mut self, now: Now, number: usize, fork: usize, parts: (&str, &str, &str)) {
        let (method, extra, body) = parts;
        let branch = self.branch();
        let guest = &mut self.guests[number];
        let dialog = &mut guest.forks[fork].dialog;
        dialog.cseq += 1;
        let request = dialog.request(method, &branch, extra, body);
        if !guest.stream {
            for after in AGAIN {
                let again = Act::Again(branch.clone(), request.clone());
                let at = now + Duration::from_millis(after);
                self.agenda.add(at, (number, again));
            }
        }
        self.send(number, request);
    }

    fn remember(&mut self, number: usize, request: &Message, answer: Option<Bytes>) {
        let answers = &mut self.guests[number].answers;
        answers.insert(key(request), answer);
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!(
            "z9hG4bKunruly{}x{}",
            self.branches,
            self.dice.below(1 << 20)
        )
    }

    fn send(&mut self, number: usize, payload: Bytes) {
        let flow = raw::flow(UNRULY, self.guests[number].stream);
        self.host.deeds.push_back(Deed::Transmit { flow, payload });
    }
}

/// The branch and the method by which a message's transaction is known.
fn key(message: &Message) -> (Bytes, Method) {
    let via = message.via().ok();
    let branch = via.as_ref().and_then(|via| via.branch());
    let branch = Bytes::copy_from_slice(branch.unwrap_or_default());
    let method = message.cseq().map(|cseq| cseq.method);
    (branch, method.unwrap_or(Method::Options))
}
