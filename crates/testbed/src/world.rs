//! A whole world: network, clock, gateway, SBC and targets, run to its end and watched all along.

mod faults;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use sip_core::{ConnectionId, Flow};
use timebase::{Now, earliest};

use crate::agenda::Agenda;
use crate::dice::Dice;
use crate::gateway::{Audible, Gateway};
use crate::host::{Deed, Fact, Machine};
use crate::inspector::{Inspector, Rule, Violation};
use crate::ladder::{self, Ladder};
use crate::network::{Arrival, Fate, Network};
use crate::options::Options;
use crate::plan::{GATEWAY, GUARDED, ROUGH, RunPlan, SBC, TARGET, UNRULY};
use crate::race::Race;
use crate::rough::Rough;
use crate::sbc::Sbc;
use crate::target::Target;
use crate::unruly::Unruly;
use crate::voice::{Datagram, is_silent};

const HOSTS: [SocketAddr; 6] = [GATEWAY, SBC, TARGET, GUARDED, ROUGH, UNRULY];
/// Those who keep no rules: what they send is not judged.
const LAWLESS: [SocketAddr; 2] = [ROUGH, UNRULY];
/// Where hosts take messages; their other ports are for media.
const SIP_PORT: u16 = 5060;
/// No run may take longer, in virtual time.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Things that may happen at one instant; a machine that wants more is going round in circles.
const MOST_AT_ONCE: u32 = 10_000;
/// How long it takes to learn that a connection was refused.
const REFUSAL: Duration = Duration::from_millis(1);

/// A world on its way.
#[derive(Debug)]
pub struct World {
    now: Now,
    network: Network,
    gateway: Gateway,
    sbc: Sbc,
    rough: Rough,
    targets: [Target; 2],
    unruly: Unruly,
    /// Who is not there at present.
    down: BTreeSet<SocketAddr>,
    /// What ends the call all at once, as long as it has not.
    race: Option<Race>,
    /// What could not be sent, to be told to the sender.
    refused: Agenda<(SocketAddr, Flow, Bytes)>,
    /// When all connections break, and when hosts are parted and joined again.
    faults: Agenda<Fault>,
    /// Who knows of which connection that it is closed.
    closed: BTreeSet<(SocketAddr, ConnectionId)>,
    ladder: Ladder,
    inspector: Inspector,
    events: u64,
}

/// What happens to the network and to its hosts.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Break,
    Part((SocketAddr, SocketAddr), bool),
    /// A process dies.
    Dies(SocketAddr),
    /// Another process is started in its place.
    Starts(SocketAddr),
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// Everything that happened.
    pub ladder: Ladder,
    /// When everything was quiet.
    pub ended: Now,
    /// How many things happened.
    pub events: u64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, ended) = (self.seed, self.ended.0.as_secs_f64());
        match &self.violation {
            Some(violation) => write!(f, "seed {seed}: {violation}"),
            None => write!(f, "seed {seed}: all rules held, quiet at {ended:.3}"),
        }
    }
}

impl World {
    /// Runs a world to its end.
    #[must_use]
    pub fn run(seed: u64, options: &Options) -> Verdict {
        let mut world = Self::new(seed, options);
        world.live();
        let Self {
            now,
            ladder,
            inspector,
            events,
            ..
        } = world;
        Verdict {
            seed,
            violation: inspector.violation().cloned(),
            ladder,
            ended: now,
            events,
        }
    }

    fn new(seed: u64, options: &Options) -> Self {
        let mut dice = Dice::new(seed);
        let plan = RunPlan::draw(options, &mut dice);
        let mut network = Network::new(plan.weather, dice.fork());
        for address in HOSTS {
            network.attach(address);
        }
        let gateway = Gateway::new(&plan, &mut dice);
        let sbc = Sbc::new(&plan, &mut dice);
        let rough = Rough::new(&plan, &mut dice);
        let targets = [TARGET, GUARDED].map(|address| Target::new(address, &plan, &mut dice));
        let unruly = Unruly::new(&plan, &mut dice);
        Self {
            now: Now::ZERO,
            network,
            gateway,
            sbc,
            rough,
            targets,
            unruly,
            down: BTreeSet::new(),
            race: plan.race.clone(),
            refused: Agenda::default(),
            faults: faults::of(&plan),
            closed: BTreeSet::new(),
            ladder: Ladder::default(),
            inspector: Inspector::new(&plan),
            events: 0,
        }
    }

    /// One thing after the other, until nothing is due any more or a rule is broken.
    fn live(&mut self) {
        let mut at_once = 0;
        while let Some(next) = self.next() {
            at_once = if next > self.now { 0 } else { at_once + 1 };
            if at_once > MOST_AT_ONCE || next.0 > LONGEST {
                let detail = "machines are still busy".to_owned();
                return self.inspector.broken(self.now, Rule::RunEnds, detail);
            }
            self.now = self.now.max(next);
            self.events += 1;
            self.inspector.moment(self.now);
            self.step();
            self.collect();
            self.end_all_at_once();
            if self.inspector.violation().is_some() {
                return;
            }
        }
        self.close();
    }

    fn next(&self) -> Option<Now> {
        let up = |machine: &&dyn Machine| !self.down.contains(&machine.address());
        let parties = self.parties().into_iter().filter(up);
        let parties = parties.filter_map(Machine::poll_timeout).min();
        let faults = earliest(self.refused.poll_timeout(), self.faults.poll_timeout());
        let wires = earliest(self.network.poll_timeout(), self.network.next_cut());
        let wires = earliest(wires, faults);
        earliest(parties, wires)
    }

    /// The first thing that is due.
    fn step(&mut self) {
        let now = self.now;
        if let Some(arrival) = self.network.arrival(now) {
            let Arrival { flow, bytes, .. } = &arrival;
            let (from, to) = (flow.remote, flow.local);
            if to.port() == SIP_PORT {
                if let Some(machine) = self.machine(to) {
                    machine.receive(now, arrival);
                }
            } else if let Some(machine) = self.machine(SocketAddr::new(to.ip(), SIP_PORT)) {
                let bytes = bytes.clone();
                machine.media(now, &Datagram { from, to, bytes });
            }
        } else if let Some((sender, flow, payload)) = self.refused.due(now) {
            self.inspector.failed(now, sender);
            if let Some(machine) = self.machine(sender) {
                machine.send_failed(now, flow, payload);
            }
        } else if self.network.next_cut().is_some_and(|at| at <= now) {
            let ends = self.network.cut(now);
            self.connections_broke(ends, "a connection breaks inside a message");
        } else if let Some(fault) = self.faults.due(now) {
            self.fault(fault);
        } else {
            self.gateway.audible = Audible {
                callers: &self.sbc.audible() | &self.rough.audible(),
                targets: self.audible_targets(),
            };
            let down = self.down.clone();
            let late = |machine: &&mut dyn Machine| {
                let due = machine.poll_timeout().is_some_and(|at| at <= now);
                due && !down.contains(&machine.address())
            };
            if let Some(machine) = self.machines().into_iter().find(late) {
                machine.handle_timeout(now);
            }
            if self.sbc.dead && self.down.insert(SBC) {
                self.network.detach(SBC);
                self.inspector.died(now, SBC, &self.gateway.store);
            }
        }
    }

    fn audible_targets(&self) -> BTreeSet<String> {
        let targets = self.targets.iter().flat_map(Target::audible);
        targets.chain(self.unruly.audible()).collect()
    }

    fn machines(&mut self) -> [&mut dyn Machine; 6] {
        let [target, guarded] = &mut self.targets;
        [
            &mut self.gateway,
            &mut self.sbc,
            &mut self.rough,
            target,
            guarded,
            &mut self.unruly,
        ]
    }

    fn parties(&self) -> [&dyn Machine; 6] {
        let [target, guarded] = &self.targets;
        [
            &self.gateway,
            &self.sbc,
            &self.rough,
            target,
            guarded,
            &self.unruly,
        ]
    }

    fn machine(&mut self, address: SocketAddr) -> Option<&mut dyn Machine> {
        let mut machines = self.machines().into_iter();
        machines.find_map(|machine| (machine.address() == address).then_some(machine))
    }

    /// Takes what the machines have done to the network, the ladder and the inspector.
    fn collect(&mut self) {
        for address in HOSTS {
            let deeds = self
                .machine(address)
                .map(|machine| std::mem::take(&mut machine.host().deeds));
            let mut echo = false;
            for deed in deeds.unwrap_or_default() {
                match deed {
                    Deed::Transmit { flow, payload } => self.transmit(flow, payload, echo),
                    Deed::Fact(fact) => self.fact(address, fact),
                    Deed::Heard { message, corrupted } => {
                        echo = corrupted || message.validate().is_err();
                        self.inspector.heard(self.now, address, &message, corrupted);
                    }
                    Deed::Garbled => {
                        echo = true;
                        self.inspector.garbled(address);
                    }
                    Deed::Media { datagram, listener } => self.media(&datagram, listener),
                    Deed::Close(connection) => {
                        let ends = self.network.close(connection);
                        self.connections_broke(ends, "a connection is closed");
                    }
                }
            }
        }
    }

    fn transmit(&mut self, flow: Flow, payload: Bytes, echo: bool) {
        let now = self.now;
        let closed = flow.connection.map(|connection| (flow.local, connection));
        if closed.is_some_and(|closed| self.closed.contains(&closed)) {
            let detail = format!(
                "{} sends over a closed connection",
                ladder::name(flow.local)
            );
            self.inspector.broken(now, Rule::ClosedFlowsRest, detail);
        }
        let fate = self.network.send(now, flow, &payload);
        match ladder::parse(&payload) {
            Some(message) => {
                let ends = (flow.local, flow.remote);
                if !LAWLESS.contains(&flow.local) {
                    self.inspector
                        .sent(now, ends, (&message, echo), &self.gateway.store);
                }
                self.ladder.sent(now, ends, &message, fate.clone());
            }
            None if LAWLESS.contains(&flow.local) => {
                let name = ladder::name(flow.local);
                let note = format!("{name} sends bytes that are no message");
                self.ladder.note(now, note);
            }
            None => {
                let detail = "bytes that are no message".to_owned();
                self.inspector.broken(now, Rule::WellFormed, detail);
            }
        }
        if fate == Fate::Refused {
            self.refused.add(now + REFUSAL, (flow.local, flow, payload));
        }
    }

    fn media(&mut self, datagram: &Datagram, listener: Option<usize>) {
        let now = self.now;
        if let Some(seat) = listener {
            let silent = is_silent(&datagram.bytes);
            self.inspector.voice(now, seat, silent);
        }
        let flow = Flow::udp(datagram.from, datagram.to);
        self.network.send(now, flow, &datagram.bytes);
    }

    fn fact(&mut self, by: SocketAddr, fact: Fact) {
        self.inspector
            .fact(self.now, by, &fact, &self.gateway.store);
        if let Fact::Note(note) = fact {
            self.ladder.note(self.now, note);
        }
    }

    fn close(&mut self) {
        let mut censuses = Vec::new();
        let dead = self.sbc.dead;
        for machine in self.machines() {
            let host = machine.host();
            if host.address != SBC || !dead {
                censuses.push((host.address, host.endpoint.census()));
            }
        }
        self.inspector.close(self.now, &self.gateway, &censuses);
    }
}
