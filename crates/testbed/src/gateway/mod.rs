//! The gateway: an endpoint, one call machine per arriving leg, and planes that are scripted.
//!
//! It carries what happens to the calls and what the calls want, as the product's own shell does,
//! with every way from one to the other taking some time.

mod agents;
mod media;
mod planes;
mod process;
mod setting;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use call_control::{
    AgentSaid, Call, Input, Outcome, Output, Record, Srtp, StoreReply, StoreRequest, screen_offer,
};
use media_core::Side;
use sip_core::{Command, Invitation, LegEvent, LegId, Place, Response};
use timebase::{Now, earliest};

use crate::agenda::Agenda;
use crate::dice::Dice;
use crate::host::{Fact, Host, HostEvent, Machine};
use crate::plan::{CallPlan, RunPlan};
use crate::race::End;
use crate::store::Store;
use crate::voice::Datagram;
use agents::Agent;
use planes::{Media, Ports};

pub(crate) use setting::USER;

/// How long the shell waits before it tries a write again that must not be lost.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// From when a party ends a call to when an operator does.
const OPERATOR: Duration = Duration::from_secs(600);

/// The gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) host: Host,
    pub(crate) store: Store,
    pub(crate) audible: Audible,
    ports: Ports,
    late_ports: bool,
    /// Whether calls have real media.
    sounds: bool,
    /// When an operator ends a call on hold of which neither side will ever be heard again.
    operator: Option<Duration>,
    /// The intervals of sessions are as long as this.
    session_expires: Option<Duration>,
    agent_outage: Option<(Duration, Duration)>,
    /// What the store completed at a restart.
    recovered: BTreeSet<String>,
    plans: Vec<CallPlan>,
    seats: Vec<Seat>,
    by_leg: BTreeMap<LegId, usize>,
    agenda: Agenda<Due>,
    dice: Dice,
    placed: u64,
    /// The last leg event on its way to a call, and the last command on its way to the endpoint:
    /// the ways between the two have lengths of their own, and keep the order.
    ways: [Now; 2],
}

/// Whose media reaches the gateway, by the transfer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audible {
    pub(crate) callers: BTreeSet<String>,
    pub(crate) targets: BTreeSet<String>,
}

/// One call and what its planes keep for it.
#[derive(Debug)]
struct Seat {
    call: Call,
    /// The transfer that it names, and its plan.
    plan: usize,
    media: Media,
    agent: Agent,
    /// When the 200 was asked for.
    answered: Option<Now>,
    /// The process that had the call is dead.
    lost: bool,
}

/// What is to happen to a call, or to be done for it.
#[derive(Debug)]
enum Due {
    Leg(usize, LegId, Box<LegEvent>),
    Command(LegId, Box<Command>),
    Place(Box<Place>),
    Store(usize, StoreRequest),
    /// A write that failed is tried again behind the call's back.
    StoreAgain(usize, StoreRequest),
    Tell(usize, Box<Input>),
    /// News of the agent over this link of it.
    Agent(usize, u32, Box<AgentSaid>),
    Port(usize, Side),
    /// Whether any media came since this watch was set.
    Listen(usize, u32),
    /// The agents' process dies.
    AgentsDie,
    /// The call is to end, one way or another.
    End(usize, End),
}

impl Machine for Gateway {
    fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    fn address(&self) -> SocketAddr {
        self.host.address
    }

    fn media(&mut self, now: Now, datagram: &Datagram) {
        self.packet(now, datagram.from, datagram.to, &datagram.bytes);
    }

    /// Carries what the endpoint has told to the calls.
    fn settle(&mut self, now: Now) {
        while let Some(event) = self.host.event() {
            match event {
                HostEvent::Invited(invitation) => self.invited(now, invitation),
                HostEvent::Leg(leg, event) => {
                    if let Some(seat) = self.by_leg.get(&leg).copied() {
                        if let LegEvent::Confirmed { .. } = event {
                            self.host.tell(Fact::Acknowledged { seat });
                        }
                        let at = self.on_the_way(now, 0);
                        self.agenda.add(at, Due::Leg(seat, leg, Box::new(event)));
                    }
                }
            }
        }
    }

    fn restart(&mut self, now: Now) {
        self.die(now);
    }

    fn poll_timeout(&self) -> Option<Now> {
        let calls = self.seats.iter().filter(|seat| !seat.lost);
        let calls = calls.filter_map(|seat| seat.call.poll_timeout());
        let own = earliest(
            self.agenda.poll_timeout(),
            self.host.endpoint.poll_timeout(),
        );
        earliest(earliest(own, calls.min()), self.next_slot())
    }

    fn handle_timeout(&mut self, now: Now) {
        let is_due = |at: Option<Now>| at.is_some_and(|at| at <= now);
        if let Some(due) = self.agenda.due(now) {
            self.happen(now, due);
        } else if is_due(self.host.endpoint.poll_timeout()) {
            self.host.handle_timeout(now);
        } else {
            let late = |seat: &Seat| !seat.lost && is_due(seat.call.poll_timeout());
            if let Some(seat) = self.seats.iter().position(late) {
                self.seats[seat].call.handle_timeout(now);
                self.perform(now, seat);
            } else {
                self.slot(now);
            }
        }
        self.settle(now);
    }
}

impl Gateway {
    pub(crate) fn new(plan: &RunPlan, dice: &mut Dice) -> Self {
        let mut store = Store::default();
        for plan in &plan.transfers {
            store.register(setting::transfer(plan));
        }
        let mut agenda = Agenda::default();
        if let Some((from, _)) = plan.agent_outage {
            agenda.add(Now(from), Due::AgentsDie);
        }
        let session_expires = plan.intervals.map(|[ours, ..]| ours);
        Self {
            host: setting::host(session_expires, dice.seed()),
            store,
            audible: Audible::default(),
            ports: Ports::new(plan.ports),
            late_ports: plan.late_ports,
            sounds: plan.sounds,
            operator: plan.loses_ends().then(|| plan.rescue() + OPERATOR),
            session_expires,
            agent_outage: plan.agent_outage,
            recovered: BTreeSet::new(),
            plans: plan.transfers.clone(),
            seats: Vec::new(),
            by_leg: BTreeMap::new(),
            agenda,
            dice: dice.fork(),
            placed: 0,
            ways: [Now::ZERO; 2],
        }
    }

    /// Calls that have no record yet.
    pub(crate) fn open_calls(&self) -> usize {
        let open = |seat: &&Seat| !seat.lost && !seat.call.is_ended();
        self.seats.iter().filter(open).count()
    }

    /// Media ports that have not come back.
    pub(crate) fn ports_in_use(&self) -> usize {
        self.ports.in_use()
    }

    fn invited(&mut self, now: Now, invitation: Box<Invitation>) {
        let id = invitation.correlation.clone().unwrap_or_default();
        let Some(plan) = self.plans.iter().position(|plan| plan.transfer == id) else {
            return self.host.refuse(now, invitation, Response::new(404));
        };
        if let Some(offer) = &invitation.offer
            && let Err(why) = screen_offer(offer, self.host.address, &setting::CODECS, Srtp::Off)
        {
            let refusal = Response::new(why.status());
            return self.host.refuse(now, invitation, refusal);
        }
        let seat = self.seats.len();
        let facts = setting::facts(&invitation, self.dice.below(1_000_000) + 1);
        let call = Call::new(now, facts, setting::policy(&self.plans[plan]));
        self.seats.push(Seat {
            call,
            plan,
            media: Media::default(),
            agent: Agent::default(),
            answered: None,
            lost: false,
        });
        self.by_leg.insert(invitation.leg, seat);
        self.host.tell(Fact::Admitted {
            seat,
            leg: invitation.leg,
            call_id: invitation.caller.call_id.clone(),
            transfer: id,
        });
        self.host.admit(now, invitation);
        self.perform(now, seat);
        if let Some(after) = self.operator {
            let input = Box::new(Input::HangUp);
            self.agenda.add(now + after, Due::Tell(seat, input));
        }
    }

    fn happen(&mut self, now: Now, due: Due) {
        match due {
            Due::Leg(seat, leg, event) => {
                let event = *event;
                self.feed(now, seat, Input::Leg { leg, event });
            }
            Due::Command(leg, command) => self.host.command(now, leg, *command),
            Due::Place(place) => self.host.place(now, *place),
            Due::Store(seat, request) => self.store_request(now, seat, request),
            Due::StoreAgain(seat, request) => self.write_again(now, seat, request),
            Due::Tell(seat, input) => self.feed(now, seat, *input),
            Due::Agent(seat, link, said) => self.agent_said(now, seat, link, *said),
            Due::Port(seat, side) => self.open_port(now, seat, side),
            Due::Listen(seat, watch) => self.listen(now, seat, watch),
            Due::AgentsDie => self.agents_die(now),
            Due::End(seat, end) => self.ends(now, seat, end),
        }
    }

    fn feed(&mut self, now: Now, seat: usize, input: Input) {
        if self.seats[seat].lost || self.seats[seat].call.is_ended() {
            return;
        }
        self.seats[seat].call.handle_input(now, input);
        self.perform(now, seat);
    }

    fn perform(&mut self, now: Now, seat: usize) {
        while let Some(output) = self.seats[seat].call.poll_output() {
            match output {
                Output::Sip { leg, command } => {
                    if let Command::Accept { .. } = command {
                        self.seats[seat].answered = Some(now);
                    }
                    let at = self.on_the_way(now, 1);
                    self.agenda.add(at, Due::Command(leg, Box::new(command)));
                }
                Output::Place(place) => {
                    self.by_leg.insert(place.leg, seat);
                    let at = self.on_the_way(now, 1);
                    self.agenda.add(at, Due::Place(place));
                }
                Output::Store(request) => self.ask_store(now, seat, request),
                Output::Agent(request) => self.agent_request(now, seat, request),
                Output::Media(request) => self.media_request(now, seat, &request),
                Output::Resolve { uri } => self.resolve(now, seat, &uri),
                Output::Ended(record) => self.recorded(seat, &record),
            }
        }
    }

    /// When something sent now over one of the ways inside the gateway is there.
    fn on_the_way(&mut self, now: Now, way: usize) -> Now {
        let at = (now + self.dice.millis(0, 3)).max(self.ways[way]);
        self.ways[way] = at;
        at
    }

    fn ask_store(&mut self, now: Now, seat: usize, request: StoreRequest) {
        if let StoreRequest::Complete { output, .. } = &request {
            let empty = output.is_none();
            self.host.tell(Fact::ResultStored { seat, empty });
        }
        let (claim, write) = self.plan(seat).store_late;
        let late = match request {
            StoreRequest::Claim | StoreRequest::Bring(_) => claim,
            StoreRequest::Release { .. } | StoreRequest::Complete { .. } => write,
        };
        let at = now + late + self.dice.millis(1, 30);
        self.agenda.add(at, Due::Store(seat, request));
    }

    fn store_request(&mut self, now: Now, seat: usize, request: StoreRequest) {
        let reply = if self.store_is_down(now, seat) {
            let is_write = !matches!(request, StoreRequest::Claim | StoreRequest::Bring(_));
            if is_write {
                self.agenda
                    .add(now + TRY_AGAIN, Due::StoreAgain(seat, request));
            }
            self.host.note("store not available");
            StoreReply::Unavailable
        } else {
            self.write(now, seat, request)
        };
        self.feed(now, seat, Input::Store(reply));
    }

    fn write_again(&mut self, now: Now, seat: usize, request: StoreRequest) {
        if self.store_is_down(now, seat) {
            self.agenda
                .add(now + TRY_AGAIN, Due::StoreAgain(seat, request));
        } else {
            self.write(now, seat, request);
        }
    }

    fn store_is_down(&self, now: Now, seat: usize) -> bool {
        let outage = self.plan(seat).store_outage;
        outage.is_some_and(|(from, long)| (from..from + long).contains(&now.0))
    }

    fn write(&mut self, now: Now, seat: usize, request: StoreRequest) -> StoreReply {
        let id = self.plan(seat).transfer.clone();
        let (written, reply) = match request {
            StoreRequest::Claim | StoreRequest::Bring(_) => {
                let reply = self.store.claim(now, &id, seat);
                if let StoreReply::Claimed { .. } = reply {
                    let transfer = id.clone();
                    self.host.tell(Fact::Claimed { seat, transfer });
                }
                (Ok(()), reply)
            }
            StoreRequest::Release { fence } => {
                let written = self.store.release(&id, fence);
                let transfer = id.clone();
                self.host.tell(Fact::Released { seat, transfer });
                (written, StoreReply::Released)
            }
            StoreRequest::Complete { fence, output } => {
                let output = output.map(|output| *output);
                let written = self.store.complete(now, &id, fence, output);
                if written.is_ok() {
                    let transfer = id.clone();
                    self.host.tell(Fact::Completed { transfer });
                }
                (written, StoreReply::Completed)
            }
        };
        // What a dead process had is not its any more once another has its place.
        let fenced = self.seats[seat].lost && self.recovered.contains(&id);
        if written.is_err() != fenced {
            self.host.tell(Fact::StaleWrite { seat });
        }
        self.host
            .note(format!("store: {id} {}", reply_name(&reply)));
        reply
    }

    fn recorded(&mut self, seat: usize, record: &Record) {
        let outcome = &record.outcome;
        let id = &self.plans[self.seats[seat].plan].transfer;
        self.host.note(format!("call for {id} is over: {outcome}"));
        self.host.tell(Fact::Recorded {
            seat,
            handed_back: matches!(outcome, Outcome::HandedBack(_)),
            answered: self.seats[seat].answered.is_some(),
        });
    }

    fn plan(&self, seat: usize) -> &CallPlan {
        &self.plans[self.seats[seat].plan]
    }
}

const fn reply_name(reply: &StoreReply) -> &'static str {
    match reply {
        StoreReply::Claimed { .. } => "ONGOING",
        StoreReply::NotClaimed(_) => "not to be had",
        StoreReply::Released => "ACTIVE again",
        StoreReply::Completed => "COMPLETED",
        StoreReply::TakenOver => "taken over",
        StoreReply::Unavailable => "not available",
    }
}
