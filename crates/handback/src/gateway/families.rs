//! Which of IPv4 and IPv6 the media of a leg speak.

use std::net::IpAddr;

use sip_core::Invitation;

/// Where the media of a return target will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Nobody looks for it.
    Unknown,
    /// Its URI is being resolved.
    LookedFor,
    /// So it is, and its port waits for that.
    Awaited,
    /// The first of its addresses, where it has one.
    Found(Option<IpAddr>),
}

impl Target {
    pub(super) const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Found(address) => address,
            Self::Unknown | Self::LookedFor | Self::Awaited => None,
        }
    }
}

/// Where a caller wants its media: as its offer says, else where its INVITE came from.
pub(super) fn caller(invitation: &Invitation) -> IpAddr {
    let offer = invitation.offer.as_ref();
    let offer = offer.and_then(|offer| sdp::Description::parse(offer).ok());
    let offered = offer.and_then(|offer| offer.streams().iter().find_map(sdp::Stream::address));
    offered.unwrap_or_else(|| invitation.flow.remote.ip())
}
