//! What a call says to its media and hears of it.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use agent_hook::{AgentEvent, AgentInput};
use bytes::Bytes;
use media_core::{Figures, LegMedia, Side, Tone};

use crate::barge_in::BargeIn;

/// An address of the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaAddress {
    /// What sockets are bound to.
    pub listen: IpAddr,
    /// What peers are told, when it is not the one listened on.
    pub advertise: Option<IpAddr>,
}

/// Where media live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaConfig {
    /// The addresses that RTP and RTCP sockets are bound to: at least one, and one of a family at most.
    pub addresses: Vec<MediaAddress>,
    /// The ports to use, two for each leg: RTP on the even, RTCP on the odd one.
    pub ports: RangeInclusive<u16>,
    /// The differentiated services code point of all packets, 0 to 63 (RFC 2474).
    pub dscp: u8,
    /// How many loops to run; one per core is right.
    pub shards: usize,
}

/// Why media could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Every pair of ports is in use, or kept for the second leg of another call.
    #[error("no media ports are free")]
    NoPorts,
    /// The shard does not keep up with its queue.
    #[error("the media loop is busy")]
    Busy,
    /// The plane or the session has ended.
    #[error("the media loop has ended")]
    Ended,
    /// The sockets could not be bound, for another reason than being in use.
    #[error("cannot bind media sockets: {0}")]
    Bind(#[source] io::Error),
}

/// A session's queue of commands is full, or the session has ended; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the media session takes no more commands")]
pub struct Busy;

/// What a call asks of its media.
#[derive(Clone, Debug)]
pub enum MediaCommand {
    /// A leg was negotiated, or negotiated anew.
    Connect {
        /// Which.
        side: Side,
        /// What was negotiated.
        media: LegMedia,
    },
    /// A leg is gone. The target's ports return to the pool.
    Disconnect(Side),
    /// A tone for the caller, or its end.
    Tone(Option<Tone>),
    /// Whether caller and target hear each other instead of the agent.
    Bridge(bool),
    /// µ-law audio to the caller from the call itself, queued behind the agent's.
    Play(Bytes),
    /// Empties the play-out queue.
    Clear,
    /// The agent is not there: what it had queued is played, then this prompt (may be empty), then
    /// comfort noise, until an agent speaks.
    Comfort(Bytes),
    /// What is done when the caller begins to speak while the agent does.
    BargeIn(BargeIn),
    /// Digits to send as telephone events.
    SendDtmf {
        /// To whom.
        side: Side,
        /// `0`–`9`, `*`, `#`, `A`–`D`, `,`.
        digits: String,
        /// How long each lasts.
        duration_ms: u32,
    },
    /// Asks for [`MediaEvent::Drained`] when all that is queued now has played; the answer comes
    /// as well when nothing is queued.
    Drain {
        /// Whether silence at the end of the queue need not be played.
        skip_trailing_silence: bool,
    },
    /// Tells the agent something (its phase, the answer to its completion). [`AgentInput::Stop`]
    /// detaches it.
    Agent(AgentInput<'static>),
    /// A key pressed by another way than RTP (SIP INFO). It goes where one by RTP would go, unless
    /// that has come already.
    Pressed {
        /// By whom.
        side: Side,
        /// Which key.
        digit: char,
        /// How long.
        duration_ms: u32,
    },
    /// Watch for media that stop: [`MediaEvent::MediaTimeout`] after that long without RTP and
    /// RTCP on a connected leg; `None` ends the watch. The watch starts anew with each command.
    WatchTimeout(Option<Duration>),
}

/// What a call is told by its media.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaEvent {
    /// A key was pressed on a leg. The agent has been told already, and a bridged leg that takes
    /// telephone events is sent one.
    Dtmf {
        /// By whom.
        side: Side,
        /// Which key.
        digit: char,
        /// How long.
        duration_ms: u32,
    },
    /// Something of the attached agent. [`AgentEvent::SendDtmf`] has been carried out already.
    Agent(AgentEvent),
    /// Neither RTP nor RTCP came for the time of [`MediaCommand::WatchTimeout`]. Said once, and
    /// again only after media came back.
    MediaTimeout(Side),
    /// The answer to [`MediaCommand::Drain`].
    Drained,
    /// The first RTP packet of a leg came.
    FirstPacket(Side),
    /// The call did not take its events and this many were lost: it no longer knows its media and
    /// should end.
    Lost(u64),
}

/// The figures of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MediaFigures {
    /// The caller's leg.
    pub caller: Figures,
    /// The target's leg.
    pub target: Figures,
}

/// What the plane holds at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaCensus {
    /// Sessions that exist.
    pub sessions: usize,
    /// Ports bound (two for each leg).
    pub ports_in_use: usize,
    /// Ports kept for second legs, not bound.
    pub ports_reserved: usize,
    /// Ports of the configured range.
    pub ports: usize,
}
