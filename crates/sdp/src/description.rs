//! The typed view of a description: what offer and answer need of RFC 8866.

use crate::crypto::Crypto;
use crate::{Codec, Direction, SdpError};
use std::net::{IpAddr, SocketAddr};

/// Bytes of a description that are looked at; more is refused.
const MAX_BYTES: usize = 64 * 1024;
/// Streams of a description; more are refused.
const MAX_STREAMS: usize = 500;
/// Keys of SRTP looked at per stream.
const MAX_CRYPTOS: usize = 32;
/// Formats looked at per stream: payload types are seven bits wide.
const MAX_FORMATS: usize = 128;

/// A description of the peer's.
#[derive(Clone, Debug)]
pub struct Description {
    streams: Vec<Stream>,
    time: (u64, u64),
}

impl Description {
    /// Reads a description (RFC 8866), tolerant of what the field sends:
    /// missing `o=`, `s=` and `t=`, lines out of order, text that is not UTF-8.
    ///
    /// # Errors
    /// When the bytes are not a description, or exceed the bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        if bytes.len() > MAX_BYTES {
            return Err(SdpError::TooLarge);
        }
        let text = String::from_utf8_lossy(bytes);
        let session = sdp_types::Session::parse(text.as_bytes())
            .map_err(|error| SdpError::Syntax(error.to_string()))?;
        if session.medias.len() > MAX_STREAMS {
            return Err(SdpError::TooManyStreams);
        }
        let defaults = Defaults {
            voip_metrics: asks_for_voip_metrics(&session.attributes).unwrap_or(false),
            address: session
                .connection
                .as_ref()
                .map_or(Address::Absent, Address::read),
            direction: direction_of(&session.attributes).unwrap_or_default(),
        };
        let time = session
            .times
            .first()
            .map_or((0, 0), |time| (time.start_time, time.stop_time));
        let streams = session
            .medias
            .into_iter()
            .map(|media| Stream::read(media, &defaults))
            .collect();
        Ok(Self { streams, time })
    }

    /// The streams in the order of their `m=` lines.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Start and stop of the `t=` line, which an answer repeats (RFC 3264 §6).
    pub(crate) const fn time(&self) -> (u64, u64) {
        self.time
    }
}

/// What the session level says for streams that do not say it themselves.
struct Defaults {
    voip_metrics: bool,
    address: Address,
    direction: Direction,
}

/// A connection address (RFC 8866 §5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A unicast address.
    Unicast(IpAddr),
    /// The unspecified address: hold as in RFC 3264 §8.4.
    Hold(IpAddr),
    /// A name, a multicast or broadcast address, another network.
    Unusable,
    /// No `c=` line applies.
    Absent,
}

impl Address {
    fn read(connection: &sdp_types::Connection) -> Self {
        if connection.nettype != sdp_types::NetType::In {
            return Self::Unusable;
        }
        Self::of(&connection.connection_address)
    }

    fn of(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => Self::Hold(ip),
            Ok(ip) if ip.is_multicast() || ip == IpAddr::from([255; 4]) => Self::Unusable,
            Ok(ip) => Self::Unicast(ip),
            Err(_) => Self::Unusable,
        }
    }

    /// The address, when it is one.
    pub(crate) const fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Unicast(ip) | Self::Hold(ip) => Some(ip),
            Self::Unusable | Self::Absent => None,
        }
    }
}

/// One `m=` line with what belongs to it.
#[derive(Clone, Debug)]
pub struct Stream {
    media: String,
    port: u16,
    proto: String,
    formats: String,
    mappings: Vec<Mapping>,
    pub(crate) address: Address,
    direction: Direction,
    pub(crate) packet_time: PacketTime,
    rtcp: Option<(u16, Address)>,
    /// `a=rtcp-mux` (RFC 5761 §5.1.1).
    pub(crate) muxed: bool,
    /// `a=rtcp-xr` asks for VoIP metrics (RFC 3611 §5.1).
    pub(crate) voip_metrics: bool,
    /// The keys of SRTP that can be used (RFC 4568).
    pub(crate) cryptos: Vec<Crypto>,
}

/// `a=ptime` and `a=maxptime` in milliseconds, absent when not usable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PacketTime {
    pub(crate) wanted: Option<u16>,
    pub(crate) most: Option<u16>,
}

/// A payload type and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// One of our codecs.
    Codec(u8, Codec),
    /// Telephone events at 8 kHz; whether event 16 (flash) is among them.
    Events(u8, bool),
}

impl Stream {
    fn read(media: sdp_types::Media, defaults: &Defaults) -> Self {
        let attributes = &media.attributes;
        Self {
            mappings: mappings(&media.fmt, attributes),
            address: media
                .connections
                .first()
                .map_or(defaults.address, Address::read),
            direction: direction_of(attributes).unwrap_or(defaults.direction),
            packet_time: PacketTime {
                wanted: millis(attributes, "ptime"),
                most: millis(attributes, "maxptime"),
            },
            rtcp: value(attributes, "rtcp").and_then(rtcp_of),
            muxed: attributes
                .iter()
                .any(|attribute| attribute.attribute.trim().eq_ignore_ascii_case("rtcp-mux")),
            voip_metrics: asks_for_voip_metrics(attributes).unwrap_or(defaults.voip_metrics),
            cryptos: attributes
                .iter()
                .filter(|attribute| attribute.attribute.eq_ignore_ascii_case("crypto"))
                .take(MAX_CRYPTOS)
                .filter_map(|attribute| Crypto::read(attribute.value.as_deref()?))
                .collect(),
            media: media.media,
            port: media.port,
            proto: media.proto,
            formats: media.fmt,
        }
    }

    /// The kind of media: `audio`, `video`, `image`…
    #[must_use]
    pub fn media(&self) -> &str {
        &self.media
    }

    /// The port; 0 is a stream refused or ended.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The transport: `RTP/AVP`, `RTP/SAVP`, `udptl`…
    #[must_use]
    pub fn transport(&self) -> &str {
        &self.proto
    }

    /// The formats as written.
    #[must_use]
    pub fn formats(&self) -> &str {
        &self.formats
    }

    /// The address that the peer wants media at; unspecified on an old-style hold.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        self.address.ip()
    }

    /// What the peer does: an address of 0.0.0.0 means that it does not receive (RFC 3264 §8.4).
    #[must_use]
    pub const fn direction(&self) -> Direction {
        match self.address {
            Address::Hold(_) => Direction::of(self.direction.sends(), false),
            Address::Unicast(_) | Address::Unusable | Address::Absent => self.direction,
        }
    }

    /// Whether this is audio with a port.
    pub(crate) fn is_live_audio(&self) -> bool {
        self.media.eq_ignore_ascii_case("audio") && self.port != 0
    }

    /// Whether it is plain RTP.
    pub(crate) fn is_plain_rtp(&self) -> bool {
        self.proto.eq_ignore_ascii_case("RTP/AVP")
    }

    /// Whether it is SRTP with keys in the description.
    pub(crate) fn is_secure_rtp(&self) -> bool {
        self.proto.eq_ignore_ascii_case("RTP/SAVP")
    }

    /// The first of the peer's formats that is one of `ours`, in the peer's order (RFC 3264 §6.1).
    pub(crate) fn first_codec(&self, ours: &[Codec]) -> Option<(u8, Codec)> {
        self.mappings.iter().find_map(|mapping| match *mapping {
            Mapping::Codec(payload_type, codec) if ours.contains(&codec) => {
                Some((payload_type, codec))
            }
            Mapping::Codec(..) | Mapping::Events(..) => None,
        })
    }

    /// The payload type of telephone events and whether flash is among them.
    pub(crate) fn events(&self) -> Option<(u8, bool)> {
        self.mappings.iter().find_map(|mapping| match *mapping {
            Mapping::Events(payload_type, flash) => Some((payload_type, flash)),
            Mapping::Codec(..) => None,
        })
    }

    /// Where RTCP goes: `a=rtcp` (RFC 3605), else the port after RTP's.
    pub(crate) fn rtcp(&self, ip: IpAddr) -> SocketAddr {
        match self.rtcp {
            Some((port, Address::Unicast(own))) if own.is_ipv4() == ip.is_ipv4() => {
                SocketAddr::new(own, port)
            }
            Some((port, _)) => SocketAddr::new(ip, port),
            None => SocketAddr::new(ip, self.port.saturating_add(1)),
        }
    }
}

/// The formats that this version knows, in the order of the `m=` line.
fn mappings(formats: &str, attributes: &[sdp_types::Attribute]) -> Vec<Mapping> {
    let encodings = ByFormat::index("rtpmap", attributes);
    let parameters = ByFormat::index("fmtp", attributes);
    formats
        .split_ascii_whitespace()
        .take(MAX_FORMATS)
        .filter_map(|format| format.parse::<u8>().ok())
        .filter(|payload_type| *payload_type < 128)
        .filter_map(|payload_type| mapping(payload_type, &encodings, &parameters))
        .collect()
}

fn mapping(
    payload_type: u8,
    encodings: &ByFormat<'_>,
    parameters: &ByFormat<'_>,
) -> Option<Mapping> {
    let Some(encoding) = encodings.of(payload_type) else {
        return match payload_type {
            0 => Some(Mapping::Codec(0, Codec::Pcmu)),
            8 => Some(Mapping::Codec(8, Codec::Pcma)),
            _ => None,
        };
    };
    let mut parts = encoding.split('/');
    let name = parts.next()?;
    if parts.next()? != "8000" || parts.next().is_some_and(|channels| channels != "1") {
        return None;
    }
    if name.eq_ignore_ascii_case("telephone-event") {
        return Some(Mapping::Events(
            payload_type,
            parameters.of(payload_type).is_some_and(lists_flash),
        ));
    }
    [Codec::Pcmu, Codec::Pcma]
        .into_iter()
        .find(|codec| codec.name().eq_ignore_ascii_case(name))
        .map(|codec| Mapping::Codec(payload_type, codec))
}

/// The values of `a=<name>:<payload type> <value>`, the first of each payload type.
struct ByFormat<'a>([Option<&'a str>; 128]);

impl<'a> ByFormat<'a> {
    fn index(name: &str, attributes: &'a [sdp_types::Attribute]) -> Self {
        let mut values = [None; 128];
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.attribute.eq_ignore_ascii_case(name))
        {
            let Some((number, rest)) = attribute
                .value
                .as_deref()
                .and_then(|text| text.trim().split_once(' '))
            else {
                continue;
            };
            let slot = number
                .parse::<usize>()
                .ok()
                .and_then(|number| values.get_mut(number));
            if let Some(slot @ None) = slot {
                *slot = Some(rest.trim());
            }
        }
        Self(values)
    }

    fn of(&self, payload_type: u8) -> Option<&'a str> {
        self.0.get(usize::from(payload_type)).copied().flatten()
    }
}

/// Whether an event list such as `0-16` or `0-11,16` has event 16 (RFC 4733 §2.4.1).
fn lists_flash(events: &str) -> bool {
    events.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&16),
            (Ok(_) | Err(_), Err(_)) | (Err(_), Ok(_)) => false,
        }
    })
}

fn value<'a>(attributes: &'a [sdp_types::Attribute], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|attribute| attribute.attribute.eq_ignore_ascii_case(name))?
        .value
        .as_deref()
}

/// A time in milliseconds; fractions, as some peers write, are cut off.
fn millis(attributes: &[sdp_types::Attribute], name: &str) -> Option<u16> {
    let text = value(attributes, name)?.trim();
    text.split('.').next()?.parse().ok()
}

fn rtcp_of(text: &str) -> Option<(u16, Address)> {
    let mut parts = text.split_ascii_whitespace();
    let port = parts.next()?.parse().ok().filter(|port| *port != 0)?;
    Some((port, parts.nth(2).map_or(Address::Absent, Address::of)))
}

/// Whether `a=rtcp-xr`, where there is one, lists VoIP metrics.
fn asks_for_voip_metrics(attributes: &[sdp_types::Attribute]) -> Option<bool> {
    let formats = attributes
        .iter()
        .find(|attribute| attribute.attribute.trim().eq_ignore_ascii_case("rtcp-xr"))?;
    let mut formats = formats.value.as_deref().unwrap_or_default().split(' ');
    Some(formats.any(|format| format.trim().eq_ignore_ascii_case("voip-metrics")))
}

fn direction_of(attributes: &[sdp_types::Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| {
        [
            Direction::SendRecv,
            Direction::SendOnly,
            Direction::RecvOnly,
            Direction::Inactive,
        ]
        .into_iter()
        .find(|direction| {
            attribute
                .attribute
                .trim()
                .eq_ignore_ascii_case(direction.name())
        })
    })
}
