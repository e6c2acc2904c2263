//! What everybody in a run intends to do, drawn from the dice before it begins.

use std::net::SocketAddr;
use std::time::Duration;

use call_control::transfer::ReturnType;
use sip_core::Transport;

use crate::dice::Dice;
use crate::options::{Behaviour, Options};

/// The gateway's address.
pub(crate) const GATEWAY: SocketAddr = at(1);
/// The SBC's address.
pub(crate) const SBC: SocketAddr = at(2);
/// The return target's address.
pub(crate) const TARGET: SocketAddr = at(3);
/// The address of a target that asks for credentials.
pub(crate) const GUARDED: SocketAddr = at(4);
/// The address of the SBC that keeps no rules.
pub(crate) const ROUGH: SocketAddr = at(5);
/// An address where nobody is.
pub(crate) const NOBODY: SocketAddr = at(9);

/// How many runs have real media, in percent: they take many times as long.
const MEDIA: u8 = 20;
/// The realm of those who have no business with our credentials.
pub(crate) const FOREIGN_REALM: &str = "elsewhere.example.net";
/// The SBC's realm.
pub(crate) const SBC_REALM: &str = "sbc.example.com";
/// The realm of the target that asks for credentials.
pub(crate) const GUARDED_REALM: &str = "guarded.example.com";

/// Whether credentials for a realm may be shown at an address.
pub(crate) fn knows(address: SocketAddr, realm: &str) -> bool {
    match realm {
        SBC_REALM => address == SBC || address == ROUGH,
        GUARDED_REALM => address == GUARDED,
        _ => false,
    }
}

/// When a party ends a call of which it heard nothing more, since the BYE or CANCEL was lost with
/// the connection that it was on.
pub(crate) const RESCUE: Duration = Duration::from_secs(300);

const fn at(host: u8) -> SocketAddr {
    let address = std::net::Ipv4Addr::new(10, 0, 0, host);
    SocketAddr::new(std::net::IpAddr::V4(address), 5060)
}

/// One transfer and the call for it.
#[derive(Clone, Debug)]
pub(crate) struct CallPlan {
    /// The transfer's id.
    pub(crate) transfer: String,
    pub(crate) returns: ReturnType,
    pub(crate) caller: CallerPlan,
    pub(crate) agent: AgentPlan,
    pub(crate) refer: ReferPlan,
    pub(crate) target: TargetPlan,
    /// Whether the failing hand-back may go to the agent again.
    pub(crate) back_to_agent: bool,
    /// Whether 180 comes before the 200.
    pub(crate) ringing: bool,
    /// Until when the store cannot be reached for this transfer.
    pub(crate) store_outage: Option<(Duration, Duration)>,
}

#[derive(Clone, Debug)]
pub(crate) struct CallerPlan {
    /// When the INVITE leaves.
    pub(crate) start: Duration,
    pub(crate) transport: Transport,
    pub(crate) late_offer: bool,
    /// Whether the call comes from the SBC that keeps no rules.
    pub(crate) rough: bool,
    /// After the INVITE: CANCEL, or BYE if it is answered by then.
    pub(crate) hang_up: Option<Duration>,
    /// From hold to resumption, after the answer.
    pub(crate) hold: Option<(Duration, Duration)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct AgentPlan {
    pub(crate) connects: Connects,
    pub(crate) then: AgentThen,
    /// What happens when the link is lost.
    pub(crate) back: Option<Duration>,
    pub(crate) drain: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Connects {
    After(Duration),
    FailsAfter(Duration),
    Never,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum AgentThen {
    Completes(Duration),
    /// Completes with something that is refused, then properly.
    Stammers(Duration),
    Closes(Duration),
    Crashes(Duration),
    Stays,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ReferPlan {
    /// 202, 100, 180, 200; then the SBC's own BYE, or none.
    Succeeds {
        bye: Option<Duration>,
    },
    /// The final NOTIFY says so.
    Fails(u16),
    Refuses(u16),
    /// 202 and a NOTIFY of 100, and no more.
    FallsSilent,
    /// 202, then BYE without any NOTIFY.
    HangsUp,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum TargetPlan {
    /// Rings, answers, hangs up (unless the caller does first).
    Answers {
        early_media: bool,
        rings: Duration,
        talks: Duration,
        guarded: bool,
    },
    Refuses(u16, Duration),
    /// 302 to another user of the same host, which answers.
    Redirects(Duration),
    RingsForEver,
    /// The address answers nothing.
    NotThere,
    /// The first of two addresses answers nothing.
    SecondAddress,
    /// The returnURI's host does not resolve.
    Unresolved,
}

/// Everything that is drawn for one run.
#[derive(Clone, Debug)]
pub(crate) struct RunPlan {
    pub(crate) transfers: Vec<CallPlan>,
    /// Further calls that name a transfer again: its index and how the caller behaves.
    pub(crate) again: Vec<(usize, CallerPlan)>,
    pub(crate) sbc_dies: Option<Duration>,
    /// When all connections break.
    pub(crate) breaks: Vec<Duration>,
    /// From when until when nothing passes between two hosts.
    pub(crate) partitions: Vec<(Duration, Duration, (SocketAddr, SocketAddr))>,
    pub(crate) corrupts: bool,
    /// Whether calls have real media.
    pub(crate) sounds: bool,
    pub(crate) ports: u16,
    pub(crate) late_ports: bool,
}

impl RunPlan {
    /// Whether a party may be left in a call of which it hears nothing more: BYE, CANCEL, or what
    /// they belong to, may never come.
    pub(crate) fn loses_ends(&self) -> bool {
        let rough = self.transfers.iter().any(|plan| plan.caller.rough);
        rough || self.corrupts || !self.breaks.is_empty() || !self.partitions.is_empty()
    }

    pub(crate) fn draw(options: &Options, dice: &mut Dice) -> Self {
        let transfers: Vec<CallPlan> = (0..options.calls)
            .map(|number| CallPlan::draw(number, options, dice))
            .collect();
        let mut again = Vec::new();
        for (index, plan) in transfers.iter().enumerate() {
            if options.allow(Behaviour::Twice) && dice.chance(20) {
                let start = plan.caller.start + dice.millis(0, 4_000);
                let caller = CallerPlan::draw(start, options, dice);
                again.push((index, caller));
            }
        }
        let dies = options.allow(Behaviour::SbcDies) && dice.chance(10);
        let breaks = if options.allow(Behaviour::LinesBreak) {
            dice.below(4)
        } else {
            0
        };
        let parts = if options.allow(Behaviour::Partitions) {
            dice.below(3)
        } else {
            0
        };
        let partitions = (0..parts).map(|_| {
            let (from, long) = (dice.millis(0, 20_000), dice.millis(100, 45_000));
            (from, from + long, (GATEWAY, dice.pick([SBC, TARGET])))
        });
        let partitions = partitions.collect();
        let few = options.allow(Behaviour::FewPorts) && dice.chance(10);
        Self {
            transfers,
            again,
            breaks: (0..breaks).map(|_| dice.millis(500, 15_000)).collect(),
            partitions,
            sounds: options.allow(Behaviour::Media) && dice.chance(MEDIA),
            corrupts: options.weather().corrupted > 0 || options.weather().cuts > 0,
            sbc_dies: dies.then(|| dice.millis(0, 20_000)),
            late_ports: options.allow(Behaviour::LatePorts),
            ports: if few { dice.below(4) as u16 } else { 64 },
        }
    }
}

impl CallPlan {
    fn draw(number: u8, options: &Options, dice: &mut Dice) -> Self {
        let start = dice.millis(0, 1 + 2_000 * u64::from(options.calls - 1));
        let any = dice.pick([ReturnType::Bye, ReturnType::Refer, ReturnType::Invite]);
        let fails = options.allow(Behaviour::StoreFails) && dice.chance(10);
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
        }
    }

    /// Where the transfer is to be returned to.
    pub(crate) fn return_uri(&self) -> String {
        let host = match self.target {
            TargetPlan::Answers { guarded: true, .. } => GUARDED.to_string(),
            TargetPlan::NotThere => NOBODY.to_string(),
            TargetPlan::Unresolved => "nowhere.invalid".to_owned(),
            TargetPlan::Answers { .. }
            | TargetPlan::Refuses(..)
            | TargetPlan::Redirects(_)
            | TargetPlan::RingsForEver
            | TargetPlan::SecondAddress => TARGET.to_string(),
        };
        let transport = match self.caller.transport {
            Transport::Udp => "",
            Transport::Tcp | Transport::Tls => ";transport=tcp",
        };
        let id = &self.transfer;
        format!("sip:back-{id}@{host}{transport};User-to-User=UUI-{id}")
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
        };
        if options.allow(Behaviour::AgentStays) && dice.chance(5) {
            plan.then = AgentThen::Stays;
        }
        if !options.allow(Behaviour::AgentFails) {
            return plan;
        }
        match dice.below(20) {
            0 => plan.connects = Connects::Never,
            1 => plan.connects = Connects::FailsAfter(dice.millis(1, 4_000)),
            2 => plan.connects = Connects::After(dice.millis(300, 6_000)),
            3 => plan.then = AgentThen::Closes(after),
            4 | 5 => plan.then = AgentThen::Stammers(after),
            6..=8 => plan.then = AgentThen::Crashes(after),
            _ => {}
        }
        plan.back = dice.chance(50).then(|| dice.millis(1, 6_000));
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
