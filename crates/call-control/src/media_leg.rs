//! One leg's session descriptions: ours, the peer's, and what they agree on (RFC 3264).

use std::net::SocketAddr;

use bytes::Bytes;
use media_core::{Control, LegMedia, MasterKey, Protection};
use sdp::{
    Agreement, Codec, Description, Direction, Keys, Local, SdpError, Security, Suite, Unacceptable,
};

use crate::media_rules::{MediaRules, Srtp};

/// Why an offer or an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The bytes are no session description.
    #[error(transparent)]
    NotSdp(#[from] SdpError),
    /// A session description that we cannot agree with.
    #[error(transparent)]
    Unacceptable(#[from] Unacceptable),
}

impl Unusable {
    /// The SIP status to refuse with.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotSdp(_) => 400,
            Self::Unacceptable(why) => why.status(),
        }
    }

    /// A Warning header's value (RFC 3261 §20.43), where one helps.
    #[must_use]
    pub fn warning(&self, agent: &str) -> Option<String> {
        match self {
            Self::NotSdp(_) => None,
            Self::Unacceptable(why) => Some(why.warning(agent)),
        }
    }
}

/// Says whether an offer can be answered with these codecs, before anything is spent on it.
///
/// # Errors
/// What is wrong with the offer.
pub fn screen_offer(
    offer: &[u8],
    local: SocketAddr,
    codecs: &[Codec],
    srtp: Srtp,
) -> Result<(), Unusable> {
    let description = Description::parse(offer)?;
    // these keys are for the verdict only
    let keys = MediaRules::new(srtp, false, [0; 32]).next_keys();
    let local = MediaLeg::new(local, 1, codecs.to_vec())
        .with(keys, false)
        .local;
    sdp::answer(&description, &local)?;
    Ok(())
}

/// Above the versions that a call comes to.
const RESTORED_VERSION: u64 = 1_000_000;

/// One leg's descriptions.
#[derive(Clone, Debug)]
pub(crate) struct MediaLeg {
    local: Local,
    /// RTP goes to where RTP comes from.
    latch: bool,
    last: Option<Bytes>,
    /// The direction of our last offer.
    offered: Direction,
    agreement: Option<Agreement>,
    /// The peer's latest description: every stream in it keeps its place (RFC 3264 §8).
    theirs: Option<Description>,
    /// What the peer's latest description alone asks for.
    asked: Option<Agreement>,
    /// The direction that the peer wants by itself: that of its own offer, and of an answer what it
    /// leaves of the offer.
    wish: Direction,
    /// The direction of our latest description that counts.
    told: Direction,
}

/// What an offer of the peer's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: it refreshes the session.
    Nothing,
    /// Where and in which form media are sent to it.
    Path,
    /// The direction or the codec.
    Session,
}

/// An offer of the peer's, before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) change: Change,
    /// What the peer wants to do.
    pub(crate) direction: Direction,
    /// The codec that comes first.
    pub(crate) codec: Codec,
}

impl MediaLeg {
    /// The same with keys of SRTP, and whether it latches.
    pub(crate) const fn with(mut self, keys: Option<Keys>, latch: bool) -> Self {
        self.local.keys = keys;
        self.latch = latch;
        self
    }

    pub(crate) const fn new(address: SocketAddr, session_id: u64, codecs: Vec<Codec>) -> Self {
        let local = Local {
            address: address.ip(),
            port: address.port(),
            codecs,
            session_id,
            version: 1,
            ptime_ms: 20,
            keys: None,
        };
        Self {
            local,
            latch: false,
            last: None,
            offered: Direction::SendRecv,
            agreement: None,
            theirs: None,
            asked: None,
            wish: Direction::SendRecv,
            told: Direction::SendRecv,
        }
    }

    /// The leg of a process that is gone at another address: its descriptions are later ones of the
    /// same session (RFC 3264 §8).
    pub(crate) const fn restored(address: SocketAddr, session_id: u64, codecs: Vec<Codec>) -> Self {
        let mut leg = Self::new(address, session_id, codecs);
        leg.local.version = RESTORED_VERSION;
        leg
    }

    /// Our answer to an offer, the first or a later one.
    pub(crate) fn answer(&mut self, offer: &[u8]) -> Result<Bytes, Unusable> {
        self.answer_within(offer, Direction::SendRecv, None)
    }

    /// What an offer asks for, compared with what stands. What the peer had said or wanted before is
    /// nothing new: a side that is on hold may repeat either (RFC 3264 §8.4).
    pub(crate) fn examine(&self, offer: &[u8]) -> Result<Asked, Unusable> {
        let offer = Description::parse(offer)?;
        let (_, asks) = sdp::answer(&offer, &self.local)?;
        let direction = asks.direction.reversed();
        let change = match (self.asked, self.agreement) {
            (Some(before), Some(stands)) => {
                let known_way = direction == before.direction.reversed() || direction == self.wish;
                let known_codec = asks.codec == before.codec || asks.codec == stands.codec;
                let path = |it: &Agreement| (it.remote, it.rtcp, it.dtmf, it.ptime_ms);
                match (known_way && known_codec, path(&asks) == path(&stands)) {
                    (true, true) => Change::Nothing,
                    (true, false) => Change::Path,
                    (false, _) => Change::Session,
                }
            }
            (None, _) | (_, None) => Change::Session,
        };
        Ok(Asked {
            change,
            direction,
            codec: asks.codec,
        })
    }

    /// Our answer to an offer: we do no more than `most`, and take the codec `liked` where it is offered.
    pub(crate) fn answer_within(
        &mut self,
        offer: &[u8],
        most: Direction,
        liked: Option<Codec>,
    ) -> Result<Bytes, Unusable> {
        let offer = Description::parse(offer)?;
        let (_, asks) = sdp::answer(&offer, &self.local)?;
        let all = self.local.codecs.clone();
        if let Some(codec) = liked {
            let only = Local {
                codecs: vec![codec],
                ..self.local.clone()
            };
            let same_stream =
                sdp::answer(&offer, &only).is_ok_and(|(_, it)| it.remote == asks.remote);
            if same_stream {
                self.local.codecs = only.codecs;
            }
        }
        let answered = self.answer_parsed(&offer, most);
        self.local.codecs = all;
        let direction = asks.direction.reversed();
        let repeated = self.asked.map(|before| before.direction.reversed());
        if repeated != Some(direction) {
            self.wish = direction;
        }
        self.asked = Some(asks);
        answered
    }

    fn answer_parsed(&mut self, offer: &Description, most: Direction) -> Result<Bytes, Unusable> {
        let (text, agreement) = sdp::answer_within(offer, &self.local, most)?;
        self.agreement = Some(agreement);
        self.told = agreement.direction;
        self.theirs = Some(offer.clone());
        if let Some(kept) = self.unchanged(&text) {
            return Ok(kept);
        }
        if self.last.is_none() {
            self.last = Some(text.clone());
            return Ok(text);
        }
        self.local.version += 1;
        let (text, _) = sdp::answer_within(offer, &self.local, most)?;
        self.last = Some(text.clone());
        Ok(text)
    }

    /// Our offer with this codec before the others.
    pub(crate) fn offer_first(&mut self, direction: Direction, codec: Option<Codec>) -> Bytes {
        if let Some(codec) = codec.filter(|codec| self.local.codecs.contains(codec)) {
            self.local.codecs.retain(|other| *other != codec);
            self.local.codecs.insert(0, codec);
        }
        self.offer(direction)
    }

    /// Our offer.
    pub(crate) fn offer(&mut self, direction: Direction) -> Bytes {
        self.offered = direction;
        let text = sdp::offer_like(&self.local, direction, self.theirs.as_ref());
        if let Some(kept) = self.unchanged(&text) {
            return kept;
        }
        if self.last.is_some() {
            self.local.version += 1;
        }
        let text = sdp::offer_like(&self.local, direction, self.theirs.as_ref());
        self.last = Some(text.clone());
        text
    }

    /// The peer's answer to our last offer.
    pub(crate) fn accept(&mut self, answer: &[u8]) -> Result<(), Unusable> {
        let answer = Description::parse(answer)?;
        let theirs = self.theirs.as_ref();
        let said = sdp::accept_like(&self.local, Direction::SendRecv, &answer, theirs)?;
        let ours = self.offered;
        self.agreement = Some(Agreement {
            direction: said.direction.within(ours),
            ..said
        });
        let does = said.direction.reversed();
        // RFC 3264 §6.1: what was not offered cannot be taken, so its lack says nothing.
        self.wish = Direction::of(
            if ours.receives() {
                does.sends()
            } else {
                self.wish.sends()
            },
            if ours.sends() {
                does.receives()
            } else {
                self.wish.receives()
            },
        );
        self.told = ours;
        self.asked = Some(said);
        self.theirs = Some(answer);
        Ok(())
    }

    /// What the peer wants to do, as far as it is up to it.
    pub(crate) const fn wish(&self) -> Direction {
        self.wish
    }

    /// What the peer does, by what is agreed.
    pub(crate) fn does(&self) -> Direction {
        let agreed = self.agreement.as_ref();
        agreed.map_or(self.wish, |agreed| agreed.direction.reversed())
    }

    /// Whether it makes a difference to the peer to be told that we do this now.
    pub(crate) fn would_notice(&self, direction: Direction) -> bool {
        let may = self.wish.reversed();
        self.told.within(may) != direction.within(may)
    }

    pub(crate) fn codec(&self) -> Option<Codec> {
        self.agreement.as_ref().map(|agreed| agreed.codec)
    }

    pub(crate) const fn agreement(&self) -> Option<&Agreement> {
        self.agreement.as_ref()
    }

    /// What the media plane is told.
    pub(crate) fn media(&self) -> Option<LegMedia> {
        let agreed = self.agreement.as_ref()?;
        Some(LegMedia {
            remote: agreed.remote,
            codec: match agreed.codec {
                Codec::Pcmu => media_core::Codec::Pcmu,
                Codec::Pcma => media_core::Codec::Pcma,
            },
            payload_type: agreed.payload_type,
            dtmf: agreed.dtmf,
            ptime_ms: agreed.ptime_ms,
            send: agreed.direction.sends(),
            receive: agreed.direction.receives(),
            control: Control {
                to: Some(agreed.rtcp),
                muxed: agreed.rtcp_mux,
                voip_metrics: agreed.voip_metrics,
            },
            latch: self.latch,
            protection: agreed.security.as_ref().map(protection),
        })
    }

    /// Whether the peer has this leg on hold, so that no media is to be expected from it.
    pub(crate) fn on_hold(&self) -> bool {
        self.agreement
            .as_ref()
            .is_some_and(|agreed| agreed.direction != Direction::SendRecv)
    }

    /// The last description, if the new text says the same (RFC 3264 §8).
    fn unchanged(&self, text: &Bytes) -> Option<Bytes> {
        self.last
            .as_ref()
            .filter(|last| sdp::same_but_version(last, text))
            .cloned()
    }
}

/// What the media plane is told of the keys that were agreed on.
#[must_use]
pub fn protection(security: &Security) -> Protection {
    Protection {
        suite: match security.suite {
            Suite::AesCm128HmacSha1Tag80 => media_core::Suite::AesCm128HmacSha1Tag80,
            Suite::AesCm128HmacSha1Tag32 => media_core::Suite::AesCm128HmacSha1Tag32,
            Suite::AeadAes128Gcm => media_core::Suite::AeadAes128Gcm,
            Suite::AeadAes256Gcm => media_core::Suite::AeadAes256Gcm,
        },
        ours: MasterKey::new(security.ours.expose()),
        theirs: MasterKey::new(security.theirs.expose()),
    }
}
