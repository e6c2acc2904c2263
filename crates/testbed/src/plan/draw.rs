//! The dice are thrown: who does what when.

use std::time::Duration;

use call_control::transfer::ReturnType;
use sip_core::Transport;

use super::{
    Again, AgentPlan, AgentThen, CallPlan, CallerPlan, Connects, Dies, GATEWAY, GUARDED, ReferPlan,
    Restart, RunPlan, SBC, TARGET, TargetPlan,
};
use crate::dice::Dice;
use crate::options::{Behaviour, Options};
use crate::race::Race;

/// How many runs have real media, in percent: they take many times as long.
const MEDIA: u8 = 20;
/// How many runs have calls that outlast their session interval, in percent.
const LONG: u8 = 6;
/// The same where a run has hardly anything else.
const OFTEN: u8 = 60;
/// How many runs see somebody restart, in percent.
const RESTARTS: u8 = 15;
/// The longest that an agent may keep a call that is not long.
const CALL_DURATION: Duration = Duration::from_secs(120);
/// The same where calls are.
const LONG_DURATION: Duration = Duration::from_secs(1_500);
/// Session intervals; with these half of one is enough for a refresh and for a second trial.
const INTERVALS: [u64; 3] = [180, 240, 360];

impl RunPlan {
    pub(crate) fn draw(options: &Options, dice: &mut Dice) -> Self {
        let little_else = options.behaviours.len() <= 2;
        let often = if little_else { OFTEN } else { LONG };
        let long = options.allow(Behaviour::Long) && dice.chance(often);
        // In half of the long runs nothing happens but loss, so that every session is refreshed.
        let options = &if long && dice.chance(50) {
            options.undisturbed()
        } else {
            options.clone()
        };
        let mut transfers: Vec<CallPlan> = (0..options.calls)
            .map(|number| CallPlan::draw(number, options, dice))
            .collect();
        if long {
            transfers.iter_mut().for_each(|plan| plan.lengthen(dice));
        }
        let again = again(&transfers, options, dice);
        let race = options.race.then(|| Race::draw(&mut transfers, dice));
        let dies = options.allow(Behaviour::SbcDies) && dice.chance(10);
        let few = options.allow(Behaviour::FewPorts) && dice.chance(10);
        let agents = options.allow(Behaviour::AgentsRestart) && dice.chance(RESTARTS);
        let intervals = [(); 3].map(|()| Duration::from_secs(dice.pick(INTERVALS)));
        Self {
            transfers,
            again,
            breaks: breaks(options, dice),
            partitions: partitions(options, dice),
            restarts: restarts(options, dice, dies),
            agent_outage: agents.then(|| (dice.millis(0, 12_000), dice.millis(10, 8_000))),
            intervals: long.then_some(intervals),
            race,
            sounds: !long && options.allow(Behaviour::Media) && dice.chance(MEDIA),
            weather: options.weather(),
            corrupts: options.weather().corrupted > 0 || options.weather().cuts > 0,
            sbc_dies: dies.then(|| dice.millis(0, 20_000)),
            late_ports: options.allow(Behaviour::LatePorts),
            ports: if few { dice.below(4) as u16 } else { 64 },
        }
    }
}

fn again(transfers: &[CallPlan], options: &Options, dice: &mut Dice) -> Vec<(usize, CallerPlan)> {
    let mut again = Vec::new();
    for (index, plan) in transfers.iter().enumerate() {
        if options.allow(Behaviour::Twice) && dice.chance(20) {
            let start = plan.caller.start + dice.millis(0, 4_000);
            let caller = CallerPlan::draw(start, options, dice);
            again.push((index, caller));
        }
    }
    again
}

fn breaks(options: &Options, dice: &mut Dice) -> Vec<Duration> {
    let breaks = if options.allow(Behaviour::LinesBreak) {
        dice.below(4)
    } else {
        0
    };
    (0..breaks).map(|_| dice.millis(500, 15_000)).collect()
}

fn partitions(
    options: &Options,
    dice: &mut Dice,
) -> Vec<(
    Duration,
    Duration,
    (std::net::SocketAddr, std::net::SocketAddr),
)> {
    let parts = if options.allow(Behaviour::Partitions) {
        dice.below(3)
    } else {
        0
    };
    let partition = |_| {
        let (from, long) = (dice.millis(0, 20_000), dice.millis(100, 45_000));
        (from, from + long, (GATEWAY, dice.pick([SBC, TARGET])))
    };
    (0..parts).map(partition).collect()
}

/// Who restarts; an SBC that dies for good does not.
fn restarts(options: &Options, dice: &mut Dice, sbc_dies: bool) -> Vec<Restart> {
    let mut restarts = Vec::new();
    let hosts = [
        (Behaviour::GatewayRestarts, GATEWAY),
        (Behaviour::SbcRestarts, SBC),
        (Behaviour::TargetRestarts, dice.pick([TARGET, GUARDED])),
    ];
    for (behaviour, host) in hosts {
        if options.allow(behaviour) && dice.chance(RESTARTS / 3) && !(host == SBC && sbc_dies) {
            restarts.push(Restart {
                host,
                at: dice.millis(0, 15_000),
                down: dice.millis(1, 3_000),
            });
        }
    }
    restarts
}

impl CallPlan {
    fn draw(number: u8, options: &Options, dice: &mut Dice) -> Self {
        let start = dice.millis(0, 1 + 2_000 * u64::from(options.calls.max(1) - 1));
        let any = dice.pick([ReturnType::Bye, ReturnType::Refer, ReturnType::Invite]);
        let fails = options.allow(Behaviour::StoreFails) && dice.chance(10);
        let slow = options.allow(Behaviour::StoreSlow) && dice.chance(10);
        let late = [(); 2].map(|()| dice.millis(0, 6_000));
        Self {
            transfer: format!("t-{number}"),
            returns: options.returns.unwrap_or(any),
            caller: CallerPlan::draw(start, options, dice),
            agent: AgentPlan::draw(options, dice),
            refer: ReferPlan::draw(options, dice),
            target: TargetPlan::draw(options, dice),
            ringing: !options.behaviours.is_empty() && dice.chance(50),
            back_to_agent: options.allow(Behaviour::AgentFails) && dice.chance(20),
            store_outage: fails.then(|| (dice.millis(0, 10_000), dice.millis(100, 20_000))),
            store_late: if slow {
                late.into()
            } else {
                Default::default()
            },
            call_duration: CALL_DURATION,
        }
    }

    /// The call outlasts several session intervals, with the agent or with the target.
    fn lengthen(&mut self, dice: &mut Dice) {
        self.call_duration = LONG_DURATION;
        let with_agent = dice.chance(50);
        let long = dice.millis(400_000, 1_000_000);
        if with_agent {
            self.agent.then = AgentThen::Completes(long);
        } else if let TargetPlan::Answers { talks, .. } = &mut self.target {
            *talks = long;
        }
    }
}

impl CallerPlan {
    fn draw(start: Duration, options: &Options, dice: &mut Dice) -> Self {
        let stream = options.allow(Behaviour::Stream) && dice.chance(25);
        let cancels = options.allow(Behaviour::Cancel) && dice.chance(12);
        let hangs_up = options.allow(Behaviour::HangUp) && dice.chance(25);
        let cancel = cancels.then(|| dice.millis(0, 1_500));
        let hang_up = hangs_up.then(|| dice.millis(500, 20_000));
        let holds = options.allow(Behaviour::Hold) && dice.chance(25);
        Self {
            start,
            transport: if stream {
                Transport::Tcp
            } else {
                Transport::Udp
            },
            rough: options.allow(Behaviour::Rough) && dice.chance(25),
            late_offer: options.allow(Behaviour::LateOffer) && dice.chance(15),
            hang_up: cancel.or(hang_up),
            hold: holds.then(|| (dice.millis(0, 8_000), dice.millis(10, 6_000))),
        }
    }
}

impl AgentPlan {
    fn draw(options: &Options, dice: &mut Dice) -> Self {
        let after = dice.millis(1_000, 6_000);
        let mut plan = Self {
            connects: Connects::After(dice.millis(5, 300)),
            then: AgentThen::Completes(after),
            back: None,
            drain: dice.chance(70),
            hello: dice.chance(40).then(|| dice.chance(50)),
            checkpoints: dice.chance(30),
            dies: None,
            again: Again::Completes,
        };
        if options.allow(Behaviour::AgentStays) && dice.chance(5) {
            plan.then = AgentThen::Stays;
        }
        if !options.allow(Behaviour::AgentFails) {
            return plan;
        }
        match dice.below(24) {
            0 => plan.connects = Connects::Never,
            1 => plan.connects = Connects::FailsAfter(dice.millis(1, 4_000)),
            2 => plan.connects = Connects::After(dice.millis(300, 6_000)),
            3 => plan.then = AgentThen::Closes(after),
            4 | 5 => plan.then = AgentThen::Stammers(after),
            6..=8 => plan.then = AgentThen::Crashes(after),
            9 | 10 => plan.then = AgentThen::CompletesTwice(after, dice.millis(0, 400)),
            11 => plan.then = AgentThen::Stalls(after, dice.chance(50)),
            12 => plan.then = AgentThen::HangsUp(after),
            _ => {}
        }
        plan.back = dice.chance(50).then(|| dice.millis(1, 6_000));
        let dies = dice.pick([Dies::Completing, Dies::HandingBack, Dies::Bridged]);
        plan.dies = dice.chance(20).then_some(dies);
        plan.again = dice.pick([
            Again::Completes,
            Again::Completes,
            Again::Crashes,
            Again::Closes,
            Again::Stays,
        ]);
        plan
    }
}

impl ReferPlan {
    fn draw(options: &Options, dice: &mut Dice) -> Self {
        let bye = dice.chance(50).then(|| dice.millis(1, 1_500));
        let succeeds = Self::Succeeds { bye };
        if !options.allow(Behaviour::ReferFails) {
            return Self::Succeeds { bye: None };
        }
        match dice.below(8) {
            0 => Self::Fails(dice.pick([486, 503, 603])),
            1 => Self::Refuses(dice.pick([403, 500, 603])),
            2 => Self::FallsSilent,
            3 => Self::HangsUp,
            _ => succeeds,
        }
    }
}

impl TargetPlan {
    fn draw(options: &Options, dice: &mut Dice) -> Self {
        let (rings, talks) = (dice.millis(100, 4_000), dice.millis(1_000, 10_000));
        let varies = options.allow(Behaviour::TargetVaries);
        let answers = Self::Answers {
            early_media: varies && dice.chance(30),
            rings,
            talks,
            guarded: varies && dice.chance(25),
        };
        if options.allow(Behaviour::Forks) && dice.chance(10) {
            return Self::Forks;
        }
        if options.allow(Behaviour::Unruly) && dice.chance(15) {
            return Self::Unruly;
        }
        if !varies {
            return answers;
        }
        match dice.below(14) {
            0 | 1 => Self::Refuses(dice.pick([404, 486, 500, 503, 603]), rings),
            2 => Self::Redirects(rings),
            3 => Self::RingsForEver,
            4 => Self::NotThere,
            5 => Self::SecondAddress,
            6 => Self::Unresolved,
            _ => answers,
        }
    }
}
