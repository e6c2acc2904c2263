//! What happens to the network and to those on it, besides the weather.

use std::net::SocketAddr;

use timebase::Now;

use super::{Fault, World};
use crate::agenda::Agenda;
use crate::host::Machine;
use crate::ladder;
use crate::network::End;
use crate::plan::RunPlan;
use crate::race;

/// What was drawn.
pub(super) fn of(plan: &RunPlan) -> Agenda<Fault> {
    let mut faults = Agenda::default();
    for at in &plan.breaks {
        faults.add(Now(*at), Fault::Break);
    }
    for (from, until, ends) in &plan.partitions {
        faults.add(Now(*from), Fault::Part(*ends, true));
        faults.add(Now(*until), Fault::Part(*ends, false));
    }
    for restart in &plan.restarts {
        faults.add(Now(restart.at), Fault::Dies(restart.host));
        faults.add(Now(restart.at + restart.down), Fault::Starts(restart.host));
    }
    faults
}

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Break => {
                let ends = self.network.break_connections();
                self.connections_broke(ends, "connections break");
            }
            Fault::Part(ends, parted) => {
                self.network.part(ends, parted);
                let (one, other) = (ladder::name(ends.0), ladder::name(ends.1));
                let what = if parted { "parted" } else { "joined again" };
                self.ladder
                    .note(self.now, format!("{one} and {other} are {what}"));
            }
            Fault::Dies(host) => self.dies(host),
            Fault::Starts(host) => self.starts(host),
        }
    }

    pub(super) fn connections_broke(&mut self, ends: Vec<End>, why: &str) {
        if ends.is_empty() {
            return;
        }
        let now = self.now;
        self.ladder.note(now, why.to_owned());
        for (address, connection, remote) in ends {
            self.closed.insert((address, connection));
            self.inspector.failed(now, address);
            if self.down.contains(&address) {
                continue;
            }
            if let Some(machine) = self.machine(address) {
                machine.connection_closed(now, connection, remote);
            }
        }
    }

    /// A process dies: its connections with it, and everything that it knew.
    fn dies(&mut self, host: SocketAddr) {
        let now = self.now;
        let note = format!("{} dies", ladder::name(host));
        self.ladder.note(now, note);
        self.down.insert(host);
        self.network.detach(host);
        let ends = self.network.break_connections_of(host);
        self.connections_broke(ends, "its connections break");
        self.collect();
        if let Some(machine) = self.machine(host) {
            machine.restart(now);
        }
        self.inspector.died(now, host, &self.gateway.store);
    }

    /// Another process takes the place of one that died.
    fn starts(&mut self, host: SocketAddr) {
        let note = format!("{} is there again", ladder::name(host));
        self.ladder.note(self.now, note);
        self.down.remove(&host);
        self.network.attach(host);
        if host == self.gateway.address() {
            self.gateway.recover(self.now);
        }
    }

    /// Everything that can end a call does, once the moment has come.
    pub(super) fn end_all_at_once(&mut self) {
        let Some(race) = &self.race else { return };
        let lines = self.ladder.rungs().len();
        let Some(ends) = race.due(self.now, lines, self.gateway.answered_at()) else {
            return;
        };
        self.race = None;
        self.ladder.note(self.now, format!("all ends: {ends:?}"));
        for (at, end) in ends {
            match end {
                race::End::CallerHangsUp => self.sbc.hang_up(at),
                race::End::TargetHangsUp => {
                    self.targets
                        .iter_mut()
                        .for_each(|target| target.hang_up(at));
                }
                race::End::AgentCompletes
                | race::End::AgentDies
                | race::End::AgentCloses
                | race::End::Silence
                | race::End::Operator
                | race::End::Drain => self.gateway.end(at, end),
            }
        }
    }
}
