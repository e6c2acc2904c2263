//! What everybody in a run intends to do, drawn from the dice before it begins.

mod draw;

use std::net::SocketAddr;
use std::time::Duration;

use call_control::transfer::ReturnType;
use sip_core::Transport;

use crate::network::Weather;
use crate::race::Race;

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
/// The address of a target that forks, and keeps no rules.
pub(crate) const UNRULY: SocketAddr = at(6);
/// An address where nobody is.
pub(crate) const NOBODY: SocketAddr = at(9);

/// The realm of those who have no business with our credentials.
pub(crate) const FOREIGN_REALM: &str = "elsewhere.example.net";
/// The SBC's realm.
pub(crate) const SBC_REALM: &str = "sbc.example.com";
/// The realm of the target that asks for credentials.
pub(crate) const GUARDED_REALM: &str = "guarded.example.com";

/// Whether credentials for a realm may be shown at an address. Those of a transfer are for whoever
/// is at its return URI, whatever the realm, and for the INVITE and its ACK alone (RFC 3261 §22.1).
pub(crate) fn knows(address: SocketAddr, realm: &str, invite: bool) -> bool {
    match realm {
        SBC_REALM => address == SBC || address == ROUGH,
        GUARDED_REALM => address == GUARDED && invite,
        _ => address == UNRULY && invite,
    }
}

/// When a party ends a call of which it heard nothing more, since the BYE or CANCEL was lost with
/// the connection that it was on.
pub(crate) const RESCUE: Duration = Duration::from_secs(300);
/// The same where calls are long.
const LATE_RESCUE: Duration = Duration::from_secs(1_900);

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
    /// From when and for how long the store cannot be reached for this transfer.
    pub(crate) store_outage: Option<(Duration, Duration)>,
    /// How late the store is with a claim, and with a write.
    pub(crate) store_late: (Duration, Duration),
    /// The longest that the agent may keep the call.
    pub(crate) call_duration: Duration,
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
    /// Whether it knows the hook protocol, and then whether it hears both tracks on its own link.
    pub(crate) hello: Option<bool>,
    /// Whether it says how far it has got.
    pub(crate) checkpoints: bool,
    /// When it dies although its part is done.
    pub(crate) dies: Option<Dies>,
    /// What it does with a call that it gets back.
    pub(crate) again: Again,
}

/// In which part of a hand-back an agent dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    /// While the result is played and stored.
    Completing,
    HandingBack,
    Bridged,
}

/// What an agent does with a call that it gets back after a failed hand-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Completes,
    Crashes,
    Closes,
    Stays,
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
    /// Completes, and again so much later.
    CompletesTwice(Duration, Duration),
    /// Shows no sign of life, then completes or is lost.
    Stalls(Duration, bool),
    /// Ends the call by another way than its link, without a result.
    HangsUp(Duration),
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
    /// Several phones ring and several answer.
    Forks,
    /// It keeps no rules.
    Unruly,
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
    /// Who dies when, and for how long it is gone.
    pub(crate) restarts: Vec<Restart>,
    /// From when until when no agent can be reached, and all links are lost.
    pub(crate) agent_outage: Option<(Duration, Duration)>,
    /// The session intervals (RFC 4028) that gateway, SBC and targets ask for, where calls are long.
    pub(crate) intervals: Option<[Duration; 3]>,
    pub(crate) race: Option<Race>,
    pub(crate) weather: Weather,
    pub(crate) ports: u16,
    pub(crate) late_ports: bool,
}

/// A process dies, and another takes its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restart {
    pub(crate) host: SocketAddr,
    pub(crate) at: Duration,
    pub(crate) down: Duration,
}

impl RunPlan {
    /// Whether a party may be left in a call of which it hears nothing more: BYE, CANCEL, or what
    /// they belong to, may never come.
    pub(crate) fn loses_ends(&self) -> bool {
        let rough = self.transfers.iter().any(|plan| plan.caller.rough);
        let unruly = self.transfers.iter().any(CallPlan::is_unruly);
        let faults = !self.breaks.is_empty() || !self.partitions.is_empty();
        rough || unruly || self.corrupts || faults || !self.restarts.is_empty()
    }

    /// When a party ends a call of which it heard nothing more.
    pub(crate) const fn rescue(&self) -> Duration {
        match self.intervals {
            Some(_) => LATE_RESCUE,
            None => RESCUE,
        }
    }

    /// Whether sessions may fail to be refreshed: more than datagrams are lost.
    pub(crate) fn may_expire(&self) -> bool {
        self.loses_ends() || self.sbc_dies.is_some() || self.intervals.is_none()
    }
}

impl CallPlan {
    /// Whether its target keeps no rules.
    const fn is_unruly(&self) -> bool {
        matches!(self.target, TargetPlan::Forks | TargetPlan::Unruly)
    }

    /// Where the transfer is to be returned to.
    pub(crate) fn return_uri(&self) -> String {
        let host = match self.target {
            TargetPlan::Answers { guarded: true, .. } => GUARDED.to_string(),
            TargetPlan::NotThere => NOBODY.to_string(),
            TargetPlan::Unresolved => "nowhere.invalid".to_owned(),
            TargetPlan::Forks | TargetPlan::Unruly => UNRULY.to_string(),
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
