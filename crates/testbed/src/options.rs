//! How a run is set up: the weather, how many calls, and what may go otherwise than planned.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use call_control::transfer::ReturnType;

use crate::network::Weather;

/// What one run is like, besides its seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How bad the network is.
    pub weather: Weather,
    /// How many transfers are called for.
    pub calls: u8,
    /// The return type of every transfer; none: any.
    pub returns: Option<ReturnType>,
    /// What may happen besides the plain story.
    pub behaviours: BTreeSet<Behaviour>,
    /// Whether everything that can end a call does so at the same time.
    pub race: bool,
}

impl Options {
    /// One call in calm weather that goes as everybody wishes.
    #[must_use]
    pub const fn plain(returns: ReturnType) -> Self {
        Self {
            weather: Weather::CALM,
            calls: 1,
            returns: Some(returns),
            behaviours: BTreeSet::new(),
            race: false,
        }
    }

    /// Three calls on which anything may happen, with this loss in percent.
    #[must_use]
    pub fn wild(loss: u8) -> Self {
        Self {
            weather: Weather {
                loss,
                duplicates: loss / 3,
                reordered: loss / 3,
                corrupted: loss / 10,
                cuts: loss / 6,
                delay: (1, 60),
            },
            calls: 3,
            returns: None,
            behaviours: Behaviour::ALL.into(),
            race: false,
        }
    }

    /// One call that everything ends at the same time, with this loss in percent.
    #[must_use]
    pub fn race(loss: u8) -> Self {
        use Behaviour::{AgentFails, ReferFails, TargetVaries};
        Self {
            calls: 1,
            race: true,
            behaviours: [AgentFails, ReferFails, TargetVaries].into(),
            ..Self::wild(loss)
        }
    }

    /// The same where nothing goes wrong but that datagrams are lost, late and doubled.
    pub(crate) fn undisturbed(&self) -> Self {
        use Behaviour::{
            AgentsRestart, Corruption, Forks, GatewayRestarts, LinesBreak, Partitions, Rough,
            SbcDies, SbcRestarts, TargetRestarts, Unruly,
        };
        let disturbances = [
            AgentsRestart,
            Corruption,
            Forks,
            GatewayRestarts,
            LinesBreak,
            Partitions,
            Rough,
            SbcDies,
            SbcRestarts,
            TargetRestarts,
            Unruly,
        ];
        let without = |options: Self, disturbance| options.without(disturbance);
        disturbances.into_iter().fold(self.clone(), without)
    }

    /// The same without one behaviour.
    #[must_use]
    pub fn without(mut self, behaviour: Behaviour) -> Self {
        self.behaviours.remove(&behaviour);
        self
    }

    /// The weather without what the behaviours leave out.
    pub(crate) fn weather(&self) -> Weather {
        let mut weather = self.weather;
        if !self.allow(Behaviour::Corruption) {
            weather.corrupted = 0;
        }
        if !self.allow(Behaviour::LinesBreak) {
            weather.cuts = 0;
        }
        weather
    }

    pub(crate) fn allow(&self, behaviour: Behaviour) -> bool {
        self.behaviours.contains(&behaviour)
    }
}

/// Something that a run may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// The caller cancels while the call arrives.
    Cancel,
    /// The caller hangs up at any moment after that.
    HangUp,
    /// The caller puts the call on hold and takes it back.
    Hold,
    /// The INVITE has no SDP.
    LateOffer,
    /// The call comes over a stream.
    Stream,
    /// Connections break, with what was on its way on them, between messages and inside them.
    LinesBreak,
    /// Calls come from an SBC that does what peers were seen to do, and what nobody should.
    Rough,
    /// Two INVITEs name the same transfer.
    Twice,
    /// Datagrams arrive with some bits turned over.
    Corruption,
    /// Two hosts cannot reach each other for a while.
    Partitions,
    /// The SBC falls silent for good.
    SbcDies,
    /// The agent cannot be reached, closes without a word, or crashes.
    AgentFails,
    /// The agent keeps the call until the longest duration ends it.
    AgentStays,
    /// REFER is refused, fails, or is never followed by its final NOTIFY.
    ReferFails,
    /// The target refuses, redirects, challenges, rings for ever, or is not there.
    TargetVaries,
    /// The store cannot be reached for a while.
    StoreFails,
    /// There are too few media ports.
    FewPorts,
    /// Calls have real media: packets both ways, heard and played by the product's own sessions.
    Media,
    /// News of a port comes although the media were closed meanwhile.
    LatePorts,
    /// Calls outlast their session intervals (RFC 4028).
    Long,
    /// The gateway's process dies, and another takes its place with nothing but the store.
    GatewayRestarts,
    /// The SBC restarts, and knows no call any more.
    SbcRestarts,
    /// A target restarts.
    TargetRestarts,
    /// The agents' process restarts: every link is lost, and none can be had for a while.
    AgentsRestart,
    /// The store takes seconds for a claim or a write.
    StoreSlow,
    /// Several phones of a target ring, and several answer.
    Forks,
    /// Calls are returned to a target that does what nobody should.
    Unruly,
}

impl Behaviour {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Cancel,
        Self::HangUp,
        Self::Hold,
        Self::LateOffer,
        Self::Stream,
        Self::LinesBreak,
        Self::Rough,
        Self::Twice,
        Self::Corruption,
        Self::Partitions,
        Self::SbcDies,
        Self::AgentFails,
        Self::AgentStays,
        Self::ReferFails,
        Self::TargetVaries,
        Self::StoreFails,
        Self::FewPorts,
        Self::Media,
        Self::LatePorts,
        Self::Long,
        Self::GatewayRestarts,
        Self::SbcRestarts,
        Self::TargetRestarts,
        Self::AgentsRestart,
        Self::StoreSlow,
        Self::Forks,
        Self::Unruly,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::HangUp => "hang-up",
            Self::Hold => "hold",
            Self::LateOffer => "late-offer",
            Self::Stream => "stream",
            Self::LinesBreak => "lines-break",
            Self::Rough => "rough",
            Self::Twice => "twice",
            Self::Corruption => "corruption",
            Self::Partitions => "partitions",
            Self::SbcDies => "sbc-dies",
            Self::AgentFails => "agent-fails",
            Self::AgentStays => "agent-stays",
            Self::ReferFails => "refer-fails",
            Self::TargetVaries => "target-varies",
            Self::StoreFails => "store-fails",
            Self::FewPorts => "few-ports",
            Self::Media => "media",
            Self::LatePorts => "late-ports",
            Self::Long => "long",
            Self::GatewayRestarts => "gateway-restarts",
            Self::SbcRestarts => "sbc-restarts",
            Self::TargetRestarts => "target-restarts",
            Self::AgentsRestart => "agents-restart",
            Self::StoreSlow => "store-slow",
            Self::Forks => "forks",
            Self::Unruly => "unruly",
        }
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| format!("no such behaviour: {name}"))
    }
}
