//! One leg's session descriptions: ours, the peer's, and what they agree on (RFC 3264).

use std::net::SocketAddr;

use bytes::Bytes;
use media_core::LegMedia;
use sdp::{Agreement, Codec, Description, Direction, Local, SdpError, Unacceptable};

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
pub fn screen_offer(offer: &[u8], local: SocketAddr, codecs: &[Codec]) -> Result<(), Unusable> {
    let description = Description::parse(offer)?;
    let local = MediaLeg::new(local, 1, codecs.to_vec()).local;
    sdp::answer(&description, &local)?;
    Ok(())
}

/// One leg's descriptions.
#[derive(Clone, Debug)]
pub(crate) struct MediaLeg {
    local: Local,
    last: Option<Bytes>,
    /// The direction of our last offer.
    offered: Direction,
    agreement: Option<Agreement>,
    /// The peer's latest description: every stream in it keeps its place (RFC 3264 §8).
    theirs: Option<Description>,
}

impl MediaLeg {
    pub(crate) const fn new(address: SocketAddr, session_id: u64, codecs: Vec<Codec>) -> Self {
        let local = Local {
            address: address.ip(),
            port: address.port(),
            codecs,
            session_id,
            version: 1,
            ptime_ms: 20,
        };
        Self {
            local,
            last: None,
            offered: Direction::SendRecv,
            agreement: None,
            theirs: None,
        }
    }

    /// Our answer to an offer, the first or a later one.
    pub(crate) fn answer(&mut self, offer: &[u8]) -> Result<Bytes, Unusable> {
        let offer = Description::parse(offer)?;
        let (text, agreement) = sdp::answer(&offer, &self.local)?;
        self.agreement = Some(agreement);
        self.theirs = Some(offer.clone());
        if let Some(kept) = self.unchanged(&text) {
            return Ok(kept);
        }
        if self.last.is_none() {
            self.last = Some(text.clone());
            return Ok(text);
        }
        self.local.version += 1;
        let (text, agreement) = sdp::answer(&offer, &self.local)?;
        self.agreement = Some(agreement);
        self.last = Some(text.clone());
        Ok(text)
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
        let agreed = sdp::accept_like(&self.local, self.offered, &answer, theirs)?;
        self.agreement = Some(agreed);
        self.theirs = Some(answer);
        Ok(())
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
