//! Offer and answer (RFC 3264).

use crate::crypto::{self, Crypto};
use crate::description::{Address, PacketTime};
use crate::write::{self, Audio};
use crate::{Agreement, Description, Direction, Keys, Local, Security, Stream, Unacceptable};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// The payload type that we offer telephone events with.
const OFFERED_EVENTS: u8 = 101;

/// Answers an offer (RFC 3264 §6): the first audio stream that we can take is
/// taken, every other stream is refused with port 0, and the order is kept.
///
/// # Errors
/// When there is nothing in it to agree on: refuse with 488.
pub fn answer(offer: &Description, local: &Local) -> Result<(Bytes, Agreement), Unacceptable> {
    answer_within(offer, local, Direction::SendRecv)
}

/// [`answer`]s an offer and does no more than `most`, whatever the offer allows.
///
/// # Errors
/// When there is nothing in it to agree on: refuse with 488.
pub fn answer_within(
    offer: &Description,
    local: &Local,
    most: Direction,
) -> Result<(Bytes, Agreement), Unacceptable> {
    let (chosen, mut agreement) = choose(offer.streams(), local)?;
    let crypto = agreement.security.map(|security| Crypto {
        tag: security.tag,
        suite: security.suite,
        key: security.ours,
    });
    agreement.direction = agreement.direction.within(most);
    let mut text = String::with_capacity(512);
    write::session(&mut text, local, offer.time());
    for (at, stream) in offer.streams().iter().enumerate() {
        if at == chosen {
            let audio = Audio {
                codecs: &[(agreement.payload_type, agreement.codec)],
                events: stream
                    .events()
                    .map(|(number, flash)| (number, if flash { "0-16" } else { "0-15" })),
                ptime_ms: agreement.ptime_ms,
                direction: agreement.direction,
                cryptos: crypto.as_slice(),
                muxed: agreement.rtcp_mux,
                voip_metrics: agreement.voip_metrics,
            };
            write::audio(&mut text, local.port, &audio);
        } else {
            write::refused(&mut text, stream);
        }
    }
    Ok((Bytes::from(text), agreement))
}

/// Writes an offer: the codecs of `local` in its order, telephone events, the packet time.
#[must_use]
pub fn offer(local: &Local, direction: Direction) -> Bytes {
    offer_like(local, direction, None)
}

/// Writes an [`offer`] in a session that has had one: every stream of the peer's last description
/// has its place, and those that are not ours stay refused (RFC 3264 §8).
#[must_use]
pub fn offer_like(local: &Local, direction: Direction, last: Option<&Description>) -> Bytes {
    let codecs: Vec<_> = local
        .codecs
        .iter()
        .map(|codec| (codec.payload_type(), *codec))
        .collect();
    let streams = last.map_or(&[][..], Description::streams);
    let ours = place_of_audio(streams, local);
    let was_secure = streams.get(ours).is_some_and(Stream::is_secure_rtp);
    let secure = |keys: &&Keys| keys.required() || was_secure;
    let cryptos = local.keys.as_ref().filter(secure).map(crypto::offered);
    let audio = Audio {
        codecs: &codecs,
        cryptos: cryptos.as_deref().unwrap_or_default(),
        events: Some((events_number(streams.get(ours)), "0-16")),
        ptime_ms: local.ptime_ms,
        direction,
        // neither is offered: what we do not ask for need not be refused
        muxed: false,
        voip_metrics: false,
    };
    let mut text = String::with_capacity(320);
    write::session(&mut text, local, (0, 0));
    if streams.is_empty() {
        write::audio(&mut text, local.port, &audio);
    }
    for (at, stream) in streams.iter().enumerate() {
        if at == ours {
            write::audio(&mut text, local.port, &audio);
        } else {
            write::refused(&mut text, stream);
        }
    }
    Bytes::from(text)
}

/// Reads the answer to our [`offer`] made with the same `local` and `direction` (RFC 3264 §7).
///
/// # Errors
/// When the answer refuses the stream or does not fit the offer.
pub fn accept(
    local: &Local,
    direction: Direction,
    answer: &Description,
) -> Result<Agreement, Unacceptable> {
    accept_like(local, direction, answer, None)
}

/// Reads the answer to our [`offer_like`] with the same arguments.
///
/// # Errors
/// When the answer refuses the stream or does not fit the offer.
pub fn accept_like(
    local: &Local,
    direction: Direction,
    answer: &Description,
    last: Option<&Description>,
) -> Result<Agreement, Unacceptable> {
    let streams = last.map_or(&[][..], Description::streams);
    let fits = answer.streams().len() == streams.len().max(1);
    let stream = answer
        .streams()
        .get(place_of_audio(streams, local))
        .filter(|_| fits)
        .ok_or(Unacceptable::NotAnAnswer)?;
    let agreement = take(stream, local)?;
    // the answer repeats the tag of ours that has its suite (RFC 4568 §5.1.3)
    let fits = |security: &Security| {
        let ours = local.keys.as_ref().map(crypto::offered).unwrap_or_default();
        ours.iter()
            .any(|ours| (ours.tag, ours.suite) == (security.tag, security.suite))
    };
    if !agreement.security.as_ref().is_none_or(fits) {
        return Err(Unacceptable::NotAnAnswer);
    }
    Ok(Agreement {
        direction: agreement.direction.within(direction),
        // RFC 5761 §5.1.1: what was not offered is not in an answer
        rtcp_mux: false,
        rtcp: stream.rtcp(agreement.remote.ip()),
        ..agreement
    })
}

/// The payload type to offer telephone events with: once a number means something in a session, it
/// keeps meaning that (RFC 3264 §8.3.2).
fn events_number(stream: Option<&Stream>) -> u8 {
    let Some(stream) = stream else {
        return OFFERED_EVENTS;
    };
    let is_taken = |number: &u8| {
        let mut formats = stream.formats().split_ascii_whitespace();
        formats.any(|format| format.parse() == Ok(*number))
    };
    match stream.events() {
        Some((number, _)) => number,
        None if !is_taken(&OFFERED_EVENTS) => OFFERED_EVENTS,
        None => (96..=127)
            .find(|number| !is_taken(number))
            .unwrap_or(OFFERED_EVENTS),
    }
}

/// Which of the streams is ours: the one that we took or would take, else the first audio.
fn place_of_audio(streams: &[Stream], local: &Local) -> usize {
    let first = || {
        streams
            .iter()
            .position(|stream| stream.media() == "audio")
            .unwrap_or_default()
    };
    choose(streams, local).map_or_else(|_| first(), |(at, _)| at)
}

/// The first stream that can be taken, else the reason of the one that came closest.
fn choose(streams: &[Stream], local: &Local) -> Result<(usize, Agreement), Unacceptable> {
    let mut why = Unacceptable::NoAudio;
    for (at, stream) in streams.iter().enumerate() {
        match take(stream, local) {
            Ok(agreement) => return Ok((at, agreement)),
            Err(reason) if closeness(reason) > closeness(why) => why = reason,
            Err(_) => {}
        }
    }
    Err(why)
}

/// How far a stream got before it was refused.
const fn closeness(reason: Unacceptable) -> u8 {
    match reason {
        Unacceptable::NoAudio | Unacceptable::NotAnAnswer => 0,
        Unacceptable::Transport | Unacceptable::Insecure | Unacceptable::NoCrypto => 1,
        Unacceptable::NoCodec => 2,
        Unacceptable::BadAddress | Unacceptable::AddressType => 3,
    }
}

/// What we agree on for one stream of the peer's.
fn take(stream: &Stream, local: &Local) -> Result<Agreement, Unacceptable> {
    if !stream.is_live_audio() {
        return Err(Unacceptable::NoAudio);
    }
    let security = security(stream, local)?;
    let (payload_type, codec) = stream
        .first_codec(&local.codecs)
        .ok_or(Unacceptable::NoCodec)?;
    let ip = reachable(stream.address, local.address)?;
    // what is sent to ourselves would come back as the peer's
    if ip == local.address && stream.port() == local.port {
        return Err(Unacceptable::BadAddress);
    }
    Ok(Agreement {
        remote: SocketAddr::new(ip, stream.port()),
        codec,
        payload_type,
        dtmf: stream.events().map(|(number, _)| number),
        ptime_ms: packet_time(stream.packet_time, local.ptime_ms),
        direction: stream.direction().reversed(),
        rtcp: if stream.muxed {
            SocketAddr::new(ip, stream.port())
        } else {
            stream.rtcp(ip)
        },
        rtcp_mux: stream.muxed,
        voip_metrics: stream.voip_metrics,
        security,
    })
}

/// The keys that a stream is agreed on with; none for plain RTP.
fn security(stream: &Stream, local: &Local) -> Result<Option<Security>, Unacceptable> {
    match &local.keys {
        None if stream.is_plain_rtp() => Ok(None),
        Some(keys) if stream.is_plain_rtp() && !keys.required() => Ok(None),
        Some(keys) if stream.is_secure_rtp() => {
            let theirs = crypto::best(&stream.cryptos).ok_or(Unacceptable::NoCrypto)?;
            Ok(Some(Security {
                tag: theirs.tag,
                suite: theirs.suite,
                ours: keys.key(theirs.suite),
                theirs: theirs.key,
            }))
        }
        Some(keys) if keys.required() => Err(Unacceptable::Insecure),
        Some(_) | None => Err(Unacceptable::Transport),
    }
}

fn reachable(address: Address, ours: IpAddr) -> Result<IpAddr, Unacceptable> {
    match address {
        Address::Unicast(ip) if ip.is_ipv4() != ours.is_ipv4() => Err(Unacceptable::AddressType),
        Address::Unicast(ip) | Address::Hold(ip) => Ok(ip),
        Address::Unusable | Address::Absent => Err(Unacceptable::BadAddress),
    }
}

/// The packet time to send with: the peer's wish when it is a multiple of 10
/// between 10 and 60, else ours; never above the peer's maximum.
fn packet_time(theirs: PacketTime, ours: u16) -> u16 {
    let usable = |ms: &u16| (10..=60).contains(ms) && ms.is_multiple_of(10);
    let wanted = theirs
        .wanted
        .filter(usable)
        .or(Some(ours).filter(usable))
        .unwrap_or(20);
    match theirs.most {
        Some(most) if most >= 10 => wanted.min(most / 10 * 10),
        Some(_) | None => wanted,
    }
}
