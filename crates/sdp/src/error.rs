//! Who is wrong: the text, or what it asks for.

/// The bytes are not a session description; the caller answers 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Larger than 64 KiB.
    #[error("the description is larger than 64 KiB")]
    TooLarge,
    /// More than 500 streams.
    #[error("the description has more than 500 streams")]
    TooManyStreams,
    /// The grammar of RFC 8866 is broken.
    #[error("not SDP: {0}")]
    Syntax(String),
}

/// A readable description that cannot be agreed with (RFC 3261 §21.4.26).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// No audio stream with a port other than 0.
    #[error("no audio stream")]
    NoAudio,
    /// Audio, but over a transport other than RTP/AVP.
    #[error("no audio over RTP/AVP")]
    Transport,
    /// Plain RTP where SRTP is required.
    #[error("SRTP is required")]
    Insecure,
    /// SRTP, but without a key that can be used.
    #[error("no usable crypto attribute")]
    NoCrypto,
    /// No codec in common.
    #[error("no codec in common")]
    NoCodec,
    /// No usable unicast address of the family in use: a name, a multicast or broadcast address, or none.
    #[error("no usable media address")]
    BadAddress,
    /// An address of the other IP version than ours.
    #[error("address type not available")]
    AddressType,
    /// The answer does not answer our offer: another number of streams, or a format that was not offered.
    #[error("the answer does not fit the offer")]
    NotAnAnswer,
}

impl Unacceptable {
    /// The SIP status to refuse with.
    #[must_use]
    pub const fn status(self) -> u16 {
        488
    }

    /// The code of the Warning header (RFC 3261 §20.43).
    #[must_use]
    pub const fn warning_code(self) -> u16 {
        match self {
            Self::NoAudio => 304,
            Self::Transport | Self::Insecure => 302,
            Self::NoCrypto => 399,
            Self::NoCodec => 305,
            Self::AddressType => 301,
            Self::BadAddress => 300,
            Self::NotAnAnswer => 399,
        }
    }

    /// The text of the Warning header.
    #[must_use]
    pub const fn warning_text(self) -> &'static str {
        match self {
            Self::NoAudio => "Media type not available",
            Self::Transport | Self::Insecure => "Incompatible transport protocol",
            Self::NoCrypto => "No usable crypto attribute",
            Self::NoCodec => "Incompatible media format",
            Self::AddressType => "Incompatible network address formats",
            Self::BadAddress => "Incompatible network protocol",
            Self::NotAnAnswer => "Answer does not fit the offer",
        }
    }

    /// A whole Warning value: code, agent (this host's name or address), quoted text.
    #[must_use]
    pub fn warning(self, agent: &str) -> String {
        format!(
            "{} {agent} \"{}\"",
            self.warning_code(),
            self.warning_text()
        )
    }
}
