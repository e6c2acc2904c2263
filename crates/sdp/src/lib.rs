//! Offers and answers (RFC 3264) for G.711 audio with telephone events.
//!
//! [`Description::parse`] reads what the peer sent, [`answer`] answers it,
//! [`offer`] writes an offer of ours and [`accept`] reads its answer. All four
//! are functions of their arguments: nothing is cached between two offers, so
//! an answer always answers the offer at hand.

mod agree;
mod crypto;
mod description;
mod error;
mod write;

pub use agree::{accept, accept_like, answer, answer_within, offer, offer_like};
pub use crypto::{Key, Keys, Security, Suite};
pub use description::{Description, Stream};
pub use error::{SdpError, Unacceptable};

use std::net::{IpAddr, SocketAddr};

/// The audio codecs of this version (RFC 3551 §6, static payload types).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// The encoding name of `a=rtpmap`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// The static payload type (RFC 3551 table 4).
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// The RTP clock rate in Hz.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
        }
    }
}

/// The direction of a stream, seen from whoever wrote it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways; the default.
    #[default]
    SendRecv,
    /// The writer only sends.
    SendOnly,
    /// The writer only receives.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// Whether the writer sends.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The direction of a writer that does exactly these two.
    #[must_use]
    pub const fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The same stream seen from the other end.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self::of(self.receives(), self.sends())
    }

    /// What both of two directions of the same writer allow.
    #[must_use]
    pub const fn within(self, most: Self) -> Self {
        Self::of(
            self.sends() && most.sends(),
            self.receives() && most.receives(),
        )
    }

    /// The attribute's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// What this end brings to an offer or an answer.
///
/// The version is the caller's to count: it rises only when the text changes
/// (RFC 3264 §8); [`same_but_version`] says whether it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address that media is to be sent to.
    pub address: IpAddr,
    /// The RTP port; RTCP is the next one.
    pub port: u16,
    /// Codecs in order of preference.
    pub codecs: Vec<Codec>,
    /// The session id of the `o=` line, the same for the whole dialog.
    pub session_id: u64,
    /// The version of the `o=` line.
    pub version: u64,
    /// The packet time asked for, in milliseconds.
    pub ptime_ms: u16,
    /// The keys of SRTP; without them there is only plain RTP.
    pub keys: Option<Keys>,
}

/// What offer and answer have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Where to send RTP.
    pub remote: SocketAddr,
    /// The codec in both directions.
    pub codec: Codec,
    /// The payload type to send, and expect, the codec with.
    pub payload_type: u8,
    /// The payload type of telephone events (RFC 4733), if agreed.
    pub dtmf: Option<u8>,
    /// The packet time to send with, in milliseconds.
    pub ptime_ms: u16,
    /// What this end does.
    pub direction: Direction,
    /// Where to send RTCP (RFC 3605; else the port after RTP's, or RTP's own where it is shared).
    pub rtcp: SocketAddr,
    /// Whether RTCP shares RTP's port (RFC 5761).
    pub rtcp_mux: bool,
    /// Whether the peer is sent VoIP metrics (RFC 3611 §5).
    pub voip_metrics: bool,
    /// SRTP, if agreed.
    pub security: Option<Security>,
}

pub use write::same_but_version;
