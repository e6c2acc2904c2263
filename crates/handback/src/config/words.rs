//! The words of the configuration: texts that have a meaning, and how each is written.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use call_control::Srtp;
use call_control::transfer::{ReturnType, TransferType};
use ipnet::IpNet;
use media_bridge::BargeIn;

use super::profile::Profile;
use super::{
    AnswerWhen, Codec, DigestAlgorithm, HookProtocol, Listener, PortRange, Protocol, ReferPolicy,
    ReliableProvisional, Require, ReturnTarget, Step, TlsVersion, Tone, Transcribe,
    Unauthenticated,
};

/// A text with a meaning: how it is read and how it is written.
pub(super) trait Word: Sized {
    /// Reads the text; the error says what it should have been.
    fn read(text: &str) -> Result<Self, String>;
    /// Writes it as the configuration would.
    fn show(&self) -> String;
}

/// Implements [`Word`] for an enum of fixed words.
macro_rules! words {
    ($type:ty { $($text:literal => $value:path),+ $(,)? }) => {
        impl Word for $type {
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok($value),)+
                    other => Err(format!("{other:?} is none of {}", [$($text),+].join(", "))),
                }
            }

            fn show(&self) -> String {
                match self { $($value => $text.to_owned(),)+ }
            }
        }
    };
}

words!(ReturnType { "BYE" => ReturnType::Bye, "REFER" => ReturnType::Refer, "INVITE" => ReturnType::Invite });
words!(TransferType { "AGENT" => TransferType::Agent, "SYSTEM" => TransferType::System });
words!(Step { "BYE" => Step::Bye, "REFER" => Step::Refer, "INVITE" => Step::Invite, "AGENT" => Step::Agent });
words!(Codec { "PCMU" => Codec::Pcmu, "PCMA" => Codec::Pcma });
words!(DigestAlgorithm {
    "MD5" => DigestAlgorithm::Md5,
    "SHA-256" => DigestAlgorithm::Sha256,
    "SHA-512-256" => DigestAlgorithm::Sha512256,
});
words!(Srtp { "off" => Srtp::Off, "optional" => Srtp::Optional, "required" => Srtp::Required });
words!(Require { "any" => Require::Any, "all" => Require::All });
words!(ReferPolicy { "allowed" => ReferPolicy::Allowed, "always" => ReferPolicy::Always });
words!(ReliableProvisional {
    "required" => ReliableProvisional::Required,
    "supported" => ReliableProvisional::Supported,
});
words!(Tone { "eu" => Tone::Eu, "us" => Tone::Us, "none" => Tone::None });
words!(Transcribe { "transcribe" => Transcribe::Transcribe, "stop" => Transcribe::Stop });
words!(HookProtocol { "twilio" => HookProtocol::Twilio, "audiohook" => HookProtocol::AudioHook });
words!(BargeIn { "off" => BargeIn::Off, "duck" => BargeIn::Duck, "clear" => BargeIn::Clear });
words!(AnswerWhen { "connected" => AnswerWhen::Connected, "hello" => AnswerWhen::Hello, "media" => AnswerWhen::Media });
words!(TlsVersion { "1.2" => TlsVersion::V12, "1.3" => TlsVersion::V13 });
words!(Unauthenticated { "answer" => Unauthenticated::Answer, "silence" => Unauthenticated::Silence });

impl Word for Profile {
    fn read(text: &str) -> Result<Self, String> {
        Self::find(text)
    }

    fn show(&self) -> String {
        self.name.clone()
    }
}

impl Word for String {
    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Err("must not be empty".to_owned())
        } else {
            Ok(text.to_owned())
        }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Word for Duration {
    fn read(text: &str) -> Result<Self, String> {
        read_duration(text).ok_or_else(|| {
            format!(
                "{text:?} is not a duration such as \"500ms\", \"30s\", \"10m\", \"4h\", \"30d\""
            )
        })
    }

    fn show(&self) -> String {
        let millis = self.as_millis();
        for (unit, length) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
        ] {
            if millis > 0 && millis.is_multiple_of(length) {
                return format!("{}{unit}", millis / length);
            }
        }
        format!("{millis}ms")
    }
}

/// Numbers with units, one after the other: `1h30m`. At most a hundred years.
fn read_duration(text: &str) -> Option<Duration> {
    const LONGEST_MS: u64 = 100 * 365 * 86_400_000;
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let length = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(length)?)?;
        rest = tail;
    }
    (!text.is_empty() && total <= LONGEST_MS).then(|| Duration::from_millis(total))
}

impl Word for Listener {
    fn read(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!(
                "{text:?} is not a listener such as \"udp://127.0.0.1:5060\" or \"tls://[::1]:5061\""
            )
        };
        let (scheme, address) = text.split_once("://").ok_or_else(wanted)?;
        let protocol = match scheme {
            "udp" => Protocol::Udp,
            "tcp" => Protocol::Tcp,
            "tls" => Protocol::Tls,
            _ => return Err(wanted()),
        };
        let address: SocketAddr = address.parse().map_err(|_| wanted())?;
        unscoped(text, address)?;
        Ok(Self { protocol, address })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// An address with a zone means something on this machine only, and no SIP message can carry it (RFC 4007 §11.2).
fn unscoped(text: &str, address: SocketAddr) -> Result<(), String> {
    match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => {
            Err(format!("{text:?} has a scope id, which SIP cannot carry"))
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => Ok(()),
    }
}

impl Word for SocketAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("{text:?} is not an address with a port such as \"127.0.0.1:8080\"")
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Word for IpAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is not an IP address"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Word for IpNet {
    fn read(text: &str) -> Result<Self, String> {
        text.parse::<Self>()
            .or_else(|_| text.parse::<IpAddr>().map(Self::from))
            .map_err(|_| format!("{text:?} is not an address or a network such as \"192.0.2.7\" or \"192.0.2.0/24\""))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Word for PortRange {
    fn read(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is not a range of ports such as \"20000-29999\"");
        let (first, last) = text.split_once('-').ok_or_else(wanted)?;
        let first: u16 = first.trim().parse().map_err(|_| wanted())?;
        let last: u16 = last.trim().parse().map_err(|_| wanted())?;
        if first < 1024 || first > last {
            return Err(format!(
                "{text:?}: the range must begin at 1024 or above and not end before it begins"
            ));
        }
        Ok(Self { first, last })
    }

    fn show(&self) -> String {
        format!("{}-{}", self.first, self.last)
    }
}

impl Word for ReturnTarget {
    fn read(text: &str) -> Result<Self, String> {
        if let Ok(net) = IpNet::read(text) {
            return Ok(Self::Net(net));
        }
        if super::checks::is_host(text) {
            return Ok(Self::Host(text.to_ascii_lowercase()));
        }
        Err(format!(
            "{text:?} is not a host name, an address or a network"
        ))
    }

    fn show(&self) -> String {
        match self {
            Self::Net(net) => net.to_string(),
            Self::Host(host) => host.clone(),
        }
    }
}
