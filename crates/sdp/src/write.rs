//! Descriptions as text.

use crate::crypto::Crypto;
use crate::{Codec, Direction, Local, Stream};
use std::fmt::Write as _;
use std::net::IpAddr;

/// What the audio stream of a description of ours says.
pub(crate) struct Audio<'a> {
    pub(crate) codecs: &'a [(u8, Codec)],
    /// The payload type of telephone events and the events.
    pub(crate) events: Option<(u8, &'static str)>,
    pub(crate) ptime_ms: u16,
    pub(crate) direction: Direction,
    /// The keys of SRTP; none for plain RTP.
    pub(crate) cryptos: &'a [Crypto],
    /// RTCP shares the port.
    pub(crate) muxed: bool,
    /// VoIP metrics are sent and taken.
    pub(crate) voip_metrics: bool,
}

/// The lines down to `t=`.
pub(crate) fn session(text: &mut String, local: &Local, time: (u64, u64)) {
    let family = match local.address {
        IpAddr::V4(_) => "IP4",
        IpAddr::V6(_) => "IP6",
    };
    let Local {
        address,
        session_id,
        version,
        ..
    } = local;
    let _ = write!(
        text,
        "v=0\r\no=- {session_id} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt={} {}\r\n",
        time.0, time.1
    );
}

/// The audio stream: its `m=` line and attributes.
pub(crate) fn audio(text: &mut String, port: u16, audio: &Audio<'_>) {
    let transport = if audio.cryptos.is_empty() {
        "RTP/AVP"
    } else {
        "RTP/SAVP"
    };
    let _ = write!(text, "m=audio {port} {transport}");
    for (payload_type, _) in audio.codecs {
        let _ = write!(text, " {payload_type}");
    }
    if let Some((payload_type, _)) = audio.events {
        let _ = write!(text, " {payload_type}");
    }
    text.push_str("\r\n");
    for (payload_type, codec) in audio.codecs {
        let _ = write!(
            text,
            "a=rtpmap:{payload_type} {}/{}\r\n",
            codec.name(),
            codec.clock_rate()
        );
    }
    if let Some((payload_type, events)) = audio.events {
        let _ = write!(
            text,
            "a=rtpmap:{payload_type} telephone-event/8000\r\na=fmtp:{payload_type} {events}\r\n"
        );
    }
    let _ = write!(
        text,
        "a=ptime:{}\r\na={}\r\n",
        audio.ptime_ms,
        audio.direction.name()
    );
    for crypto in audio.cryptos {
        let _ = write!(text, "a=crypto:{}\r\n", crypto.text());
    }
    if audio.muxed {
        text.push_str("a=rtcp-mux\r\n");
    }
    if audio.voip_metrics {
        text.push_str("a=rtcp-xr:voip-metrics\r\n");
    }
}

/// A stream of the peer's that is refused, with its formats (RFC 3264 §6).
pub(crate) fn refused(text: &mut String, stream: &Stream) {
    let (media, transport, formats) = (stream.media(), stream.transport(), stream.formats());
    let _ = write!(text, "m={media} 0 {transport} {formats}\r\n");
}

/// Whether two of our descriptions are equal but for the version of their `o=` line.
///
/// The version is to rise when this is false (RFC 3264 §8).
#[must_use]
pub fn same_but_version(a: &[u8], b: &[u8]) -> bool {
    fn parts(text: &[u8]) -> Option<(&[u8], &[u8])> {
        let start = text.windows(3).position(|window| window == b"\no=")? + 1;
        let mut spaces = (start..text.len()).filter(|at| text[*at] == b' ');
        let (_, before, after) = (spaces.next()?, spaces.next()?, spaces.next()?);
        Some((&text[..before], &text[after..]))
    }
    a == b || parts(a).is_some_and(|both| Some(both) == parts(b))
}
