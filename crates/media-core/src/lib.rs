//! RTP sessions of a call: jitter buffer, pacing, DTMF, codecs, play-out.
//!
//! A [`Session`] is one call's media: the caller's leg, perhaps the leg of the
//! party reached by a hand-back, the play-out queue of the agent's audio and
//! the taps that the agent hears with. It is handed packets and the instant,
//! and gives back packets, frames and events.

mod codec;
mod comfort;
mod conceal;
mod delay;
mod dtmf;
mod jitter;
mod keys;
mod latch;
mod leg;
mod pitch;
mod playout;
mod position;
mod quality;
mod receiver;
mod reports;
mod rtcp;
mod rtp;
mod sender;
mod session;
mod srtp;
mod stretch;
mod tone;

pub use session::Session;
pub use srtp::{MasterKey, Protection, Suite};

use bytes::Bytes;
use std::net::SocketAddr;

/// Samples of one 20 ms frame at 8 kHz, and its bytes in G.711.
pub const FRAME: usize = 160;

/// One 20 ms frame of µ-law audio.
pub type Frame = [u8; FRAME];

/// Which party of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The party that called.
    Caller,
    /// The party reached by the hand-back.
    Target,
}

impl Side {
    /// The other party.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Target,
            Self::Target => Self::Caller,
        }
    }
}

/// The codec of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    #[default]
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// What was negotiated for a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegMedia {
    /// Where RTP is sent; packets are accepted from this IP address only.
    pub remote: SocketAddr,
    /// The codec in both directions.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of telephone events, if negotiated.
    pub dtmf: Option<u8>,
    /// The packet time to send with: 10 to 60, a multiple of 10.
    pub ptime_ms: u16,
    /// Whether we send to this leg.
    pub send: bool,
    /// Whether we listen to this leg.
    pub receive: bool,
    /// Its reports.
    pub control: Control,
    /// Whether RTP goes to where RTP comes from (RFC 4961), whatever was signalled.
    pub latch: bool,
    /// How its packets are protected; none is plain RTP.
    pub protection: Option<Protection>,
}

/// How a leg's RTCP goes (RFC 3550 §6). The default is that none is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Where it is sent.
    pub to: Option<SocketAddr>,
    /// It shares RTP's port (RFC 5761).
    pub muxed: bool,
    /// The peer asked for VoIP metrics (RFC 3611 §5.1).
    pub voip_metrics: bool,
}

/// A tone that the session plays by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// European ringback: 425 Hz, 1 s on, 4 s off.
    RingbackEu,
    /// North American ringback: 440 + 480 Hz, 2 s on, 4 s off.
    RingbackUs,
}

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A datagram came.
    Packet {
        /// On which leg's port.
        side: Side,
        /// From whom.
        from: SocketAddr,
        /// The datagram.
        data: &'a [u8],
    },
    /// A datagram came on the port for RTCP.
    Control {
        /// On which leg's port.
        side: Side,
        /// From whom.
        from: SocketAddr,
        /// The datagram.
        data: &'a [u8],
    },
    /// A leg was negotiated, or negotiated anew: SSRC, sequence and timestamps run on.
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
    /// Audio of the agent, µ-law 8 kHz, of any size.
    Play(Bytes),
    /// A mark of the agent behind what it played.
    Mark(String),
    /// The agent clears what is queued.
    Clear,
    /// A tone for the caller, or its end.
    Tone(Option<Tone>),
    /// Whether caller and target hear each other instead of the agent.
    Bridge(bool),
    /// A key that a leg pressed by another way than RTP.
    Pressed {
        /// By whom.
        side: Side,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// How long.
        duration_ms: u32,
    },
    /// Nobody speaks who should: once the play-out queue has run empty, this prompt (µ-law 8 kHz, may
    /// be empty) and then comfort noise, until something is played, or a tone or a bridge begins.
    Comfort(Bytes),
    /// Whether the agent is heard 12 dB softer than it speaks.
    Duck(bool),
    /// Digits to send as telephone events; `,` is a pause.
    SendDtmf {
        /// To whom.
        side: Side,
        /// `0`–`9`, `*`, `#`, `A`–`D`, `,`.
        digits: String,
        /// How long each digit lasts.
        duration_ms: u32,
    },
    /// Say [`Output::Drained`] once the play-out queue is empty.
    Drain {
        /// Whether silence at the queue's end need not be played.
        skip_trailing_silence: bool,
    },
}

/// What a session asks for or reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A packet to send.
    Rtp {
        /// From which leg's port.
        side: Side,
        /// To whom.
        to: SocketAddr,
        /// The packet.
        data: Bytes,
    },
    /// A compound RTCP packet to send.
    Rtcp {
        /// From which leg's port.
        side: Side,
        /// To whom.
        to: SocketAddr,
        /// The packet.
        data: Bytes,
        /// Whether it leaves from RTP's port.
        muxed: bool,
    },
    /// 20 ms of what a party said, for the agent.
    Heard {
        /// Who said it.
        side: Side,
        /// µ-law, 8 kHz.
        frame: Frame,
        /// Milliseconds of media before this frame by the session's sample counter, the same for both sides.
        timestamp_ms: u64,
    },
    /// A digit was pressed; once per press.
    Dtmf {
        /// By whom.
        side: Side,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// How long.
        duration_ms: u32,
    },
    /// A mark was reached, or cleared.
    MarkPlayed {
        /// The agent's name for it.
        name: String,
        /// Whether all before it was played; false when it was cleared.
        played: bool,
        /// The play-out sample counter at that moment.
        sample: u64,
    },
    /// The play-out queue ran empty after [`Input::Drain`].
    Drained,
    /// The play-out queue is full (600 s): the newest audio is dropped. Said once.
    QueueFull,
    /// The agent's audio came too late in the middle of what it says; the caller heard this much
    /// silence, less than 500 ms.
    Underrun {
        /// How much.
        silence_ms: u16,
    },
}

/// The figures of one leg.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// RTP packets taken in.
    pub packets_in: u64,
    /// Their bytes, headers included.
    pub bytes_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Their bytes, headers included.
    pub bytes_out: u64,
    /// Packets that never came (RFC 3550 §6.4.1, never negative).
    pub lost: u64,
    /// Packets that came after their turn and were not played.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Datagrams from an address that was not signalled.
    pub foreign: u64,
    /// Packets that are not authentic, or came before (SRTP).
    pub unauthentic: u64,
    /// Packets beyond what a port takes in a second.
    pub excess: u64,
    /// Datagrams that are not RTP.
    pub malformed: u64,
    /// Packets with a payload type that was not negotiated.
    pub wrong_payload: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f32,
    /// Frames' worth of samples made up because packets were missing.
    pub concealed: u64,
    /// Frames' worth of packets that came in time and were not played, because too much had piled up.
    pub discarded: u64,
    /// Times that something was left out or put in to follow the path's delay and the sender's clock.
    pub skew_corrections: u64,
    /// Digits received.
    pub dtmf_in: u64,
    /// Digits sent.
    pub dtmf_out: u64,
    /// RTCP packets taken in.
    pub rtcp_in: u64,
    /// RTCP packets sent.
    pub rtcp_out: u64,
    /// Datagrams for RTCP that are none, or from an address that was not signalled.
    pub rtcp_refused: u64,
    /// Milliseconds that a usual packet waits before it is played.
    pub delay_ms: u32,
    /// The time to the peer and back in milliseconds, by RTCP.
    pub round_trip_ms: Option<f32>,
    /// The estimate of what a listener says to what comes, 1 to 4.5 (ITU-T G.107); none before anything came.
    pub mos: Option<f32>,
    /// The rating factor R behind it, 0 to 100.
    pub rating: Option<f32>,
    /// The level of speech that comes in dBm0; none while nobody has spoken.
    pub level_in: Option<f32>,
    /// The level of the pauses that come in dBm0.
    pub noise_in: Option<f32>,
    /// The level of speech that is sent in dBm0; none while nobody has spoken.
    pub level_out: Option<f32>,
    /// What the peer says of what it hears; none before it reported.
    pub remote: Option<RemoteFigures>,
}

/// What a peer says of our stream, by RTCP.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RemoteFigures {
    /// Packets that did not reach it; negative where more came than was sent.
    pub lost: i32,
    /// The highest sequence number that reached it, extended by cycles.
    pub highest: u32,
    /// Interarrival jitter in milliseconds.
    pub jitter_ms: f32,
    /// The estimate of what its listener says, by its VoIP metrics or from what it lost.
    pub mos: Option<f32>,
}

/// A number that looks like none of its neighbours' (splitmix64).
pub(crate) const fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
