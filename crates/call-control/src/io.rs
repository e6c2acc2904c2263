//! What happens to a call, and what it wants done.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use media_core::{LegMedia, Side, Tone};
use sip_core::{Command, Flow, LegEvent, LegId, Place};
use timebase::Now;

use crate::outcome::{Cause, Ender, Moment, Outcome, Step};
use crate::transfer::{Checkpoint, NewTransfer, OutputContext, ReturnType, Transfer};

/// What happens to a call.
#[derive(Debug)]
pub enum Input {
    /// Something happened on one of its legs.
    Leg {
        /// The leg.
        leg: LegId,
        /// What happened.
        event: LegEvent,
    },
    /// The store answered the one request that was under way.
    Store(StoreReply),
    /// News of the agent.
    Agent(AgentSaid),
    /// News of the media.
    Media(MediaSaid),
    /// The answer to [`Output::Resolve`]: places to try in order, or why there are none.
    Resolved(Result<Vec<Hop>, String>),
    /// An operator ends the call.
    HangUp,
    /// The call is handed back now, as when its agent is lost; the text says why.
    HandBack(&'static str),
    /// Another process has the call: this one lets go of it.
    TakenOver,
}

/// The store's answer.
#[derive(Debug)]
pub enum StoreReply {
    /// The transfer is this call's.
    Claimed {
        /// The transfer as it stands.
        transfer: Box<Transfer>,
        /// The token that every later write carries.
        fence: i64,
    },
    /// The transfer is not to be had.
    NotClaimed(NotClaimed),
    /// The claim is undone.
    Released,
    /// The completion is durable.
    Completed,
    /// The transfer is another process's now: this one was taken for dead.
    TakenOver,
    /// The store cannot be reached; the shell goes on trying what must not be lost.
    Unavailable,
}

/// Why a claim failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotClaimed {
    /// No such transfer in the account.
    Unknown,
    /// Another call has it.
    Ongoing,
    /// Completed or expired.
    Over,
}

/// News of the agent.
#[derive(Debug)]
pub enum AgentSaid {
    /// Connected; [`AgentRequest::Attach`] lets it hear and speak.
    Connected,
    /// Not reached in time; the text says why.
    NotReached(String),
    /// How far it has got, kept for the failure path.
    Update(Checkpoint),
    /// It is done.
    Complete {
        /// Its name for this completion.
        id: Option<String>,
        /// The result, or what is wrong with it.
        output: Result<Box<OutputContext>, String>,
        /// Whether what is queued is played first.
        drain: bool,
    },
    /// Keys for the caller; a leg that takes telephone events is sent them already.
    Press {
        /// `0`–`9`, `*`, `#`, `A`–`D`, `,`.
        keys: String,
        /// How long each is held.
        duration_ms: u32,
    },
    /// It knows the hook protocol and opted in to features.
    Hello {
        /// It hears both tracks on its own link once the caller is bridged.
        tracks: bool,
    },
    /// Its link shows no sign of life, and may be on its way to be lost.
    Stalled,
    /// It ended the call without a result, by another way than closing its link.
    HungUp,
    /// It wants no part in the call: the status to refuse it with.
    Refused(u16),
    /// Its link closed.
    Closed {
        /// Normally (WebSocket close 1000), or by a crash.
        clean: bool,
        /// Why, for the log and for `hookFailure`.
        reason: String,
    },
}

/// News of the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaSaid {
    /// A leg's port is open.
    Opened {
        /// Which leg.
        side: Side,
        /// The address to give to the peer.
        address: SocketAddr,
    },
    /// No port for a leg.
    NoPort {
        /// Which leg.
        side: Side,
    },
    /// What the agent had queued is played.
    Drained,
    /// A key was pressed on a leg; the agent knows, and a bridged leg that takes telephone events is
    /// sent one.
    Pressed {
        /// By whom.
        side: Side,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        key: char,
        /// How long.
        duration_ms: u32,
    },
    /// Neither RTP nor RTCP came from a leg for the time that [`MediaRequest::Watch`] set.
    Silent {
        /// Which leg.
        side: Side,
    },
    /// The answer to [`MediaRequest::Ask`]: whether the caller's media still comes.
    Heard(bool),
}

/// A place to send an INVITE to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// A leg number never used before.
    pub leg: LegId,
    /// The path.
    pub flow: Flow,
    /// A Route value, where the hop is an outbound proxy.
    pub route: Option<Bytes>,
    /// It did not answer a short while ago: it is not waited for as long as usual.
    pub doubtful: bool,
}

/// What a call wants done.
#[derive(Debug)]
pub enum Output {
    /// A command to one of its legs.
    Sip {
        /// The leg.
        leg: LegId,
        /// The command.
        command: Command,
    },
    /// A new leg.
    Place(Box<Place>),
    /// A request to the store; [`Input::Store`] answers it.
    Store(StoreRequest),
    /// A request to the agent.
    Agent(AgentRequest),
    /// A request to the media plane.
    Media(MediaRequest),
    /// Where an INVITE to this URI goes; [`Input::Resolved`] answers it.
    Resolve {
        /// The URI.
        uri: Bytes,
    },
    /// The call is over: the last output.
    Ended(Box<Record>),
}

/// A request to the store. At most one is under way at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreRequest {
    /// ACTIVE → ONGOING, in one atomic step.
    Claim,
    /// Registers a transfer that a call brought with it, and claims it.
    Bring(Box<NewTransfer>),
    /// ONGOING → ACTIVE: the call was not answered.
    Release {
        /// The claim's token.
        fence: i64,
    },
    /// → COMPLETED.
    Complete {
        /// The claim's token.
        fence: i64,
        /// The agent's result; none when the caller hung up or the call failed.
        output: Option<Box<OutputContext>>,
    },
}

/// A request to the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentRequest {
    /// Connect; [`AgentSaid::Connected`] or [`AgentSaid::NotReached`] answers it.
    Connect {
        /// The transfer that the agent works on.
        transfer: Box<Transfer>,
        /// The last checkpoint, when the link was lost before.
        resume: Option<Checkpoint>,
    },
    /// Audio flows from here on.
    Attach,
    /// The answer to a completion.
    Completed {
        /// The agent's name for it.
        id: Option<String>,
        /// What was wrong with it; none when it was accepted.
        error: Option<String>,
    },
    /// What goes on with the call, and how it is handed back once that is decided.
    Phase(AgentPhase, Option<ReturnType>),
    /// News of the hand-back.
    TransferResult {
        /// How far it is.
        progress: TransferProgress,
        /// The status that says so.
        status: Option<u16>,
    },
    /// A link that only listens to both parties of the bridged call takes the agent's place. It
    /// looks after itself: losing it is no matter of the call.
    Listen,
    /// The agent's part is over; close its link.
    Stop,
}

/// How far a hand-back is, told to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferProgress {
    /// Being tried.
    Trying,
    /// The other party answered.
    Answered,
    /// It failed.
    Failed,
}

/// What goes on with the call, told to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentPhase {
    /// The agent has the caller.
    Agent,
    /// The hand-back is under way.
    HandingBack,
    /// Caller and target talk; the agent listens to both.
    Bridged,
    /// The call is over; [`AgentRequest::Stop`] follows.
    Ended,
}

/// A request to the media plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaRequest {
    /// Open a port for a leg; [`MediaSaid::Opened`] or [`MediaSaid::NoPort`] answers it.
    Open {
        /// Which leg.
        side: Side,
    },
    /// A leg was negotiated (anew).
    Connect {
        /// Which leg.
        side: Side,
        /// What was negotiated.
        media: LegMedia,
    },
    /// A leg is gone.
    Disconnect {
        /// Which leg.
        side: Side,
    },
    /// Drop what the agent has queued.
    Clear,
    /// A key that came by INFO; [`MediaSaid::Pressed`] follows, unless it has come in RTP too.
    Pressed {
        /// By whom.
        side: Side,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        key: char,
        /// How long.
        duration_ms: u32,
    },
    /// A tone for the caller, or its end.
    Tone(Option<Tone>),
    /// Caller and target hear each other.
    Bridge(bool),
    /// The agent is not there: when what it had queued is played, the caller hears a prompt and then
    /// comfort noise, until an agent speaks or something else is played.
    Comfort,
    /// Say [`MediaSaid::Drained`] when what is queued is played, trailing silence left out.
    Drain,
    /// Say [`MediaSaid::Silent`] after this long without media; none: do not watch.
    Watch(Option<Duration>),
    /// Whether the caller's media still comes; [`MediaSaid::Heard`] answers it.
    Ask,
    /// All ports go back.
    Close,
}

/// What is known of a call when it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// How it ended.
    pub outcome: Outcome,
    /// When the INVITE came.
    pub arrived: Now,
    /// When it was answered.
    pub answered: Option<Now>,
    /// When it was over.
    pub ended: Now,
    /// Who ended it.
    pub ended_by: Ender,
    /// The causes (RFC 3326) of the BYE or CANCEL that ended it.
    pub causes: Vec<Cause>,
    /// How often the agent's link was lost and regained.
    pub reconnects: u32,
    /// Whether it was lost and not regained.
    pub agent_lost: bool,
    /// From the first attempt to reach the agent until it was connected.
    pub agent_connect: Option<Duration>,
    /// Every result that the agent gave and that was accepted, in order.
    pub results: Vec<OutputContext>,
    /// Hand-backs that were tried before the agent got the call back.
    pub earlier_steps: Vec<Step>,
    /// What happened, in order; the first [`Record::MOST_MOMENTS`].
    pub timeline: Vec<Moment>,
}

impl Record {
    /// Moments kept of one call.
    pub const MOST_MOMENTS: usize = 100;
}
