//! Profiles: what known peers do at a hand-back, as data in `config/profiles.toml`.

use std::time::Duration;

use serde::Deserialize;
use toml::Table;

use super::checks::is_host_and_port;

const PROFILES: &str = include_str!("../../../../config/profiles.toml");
const GENERIC: &str = "generic";

/// What a kind of peer does at a hand-back; the keys are explained in `config/profiles.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Who ends the call after a REFER that worked.
    pub bye: Bye,
    #[serde(default)]
    bye_after_ms: Option<u64>,
    bye_patience_ms: u64,
    /// Whether NOTIFYs follow an accepted REFER.
    pub notifies: Notifies,
    first_notify_ms: u64,
    /// When REFER is tried.
    pub refer: Refer,
    /// What Referred-By says.
    pub referred_by: ReferredBy,
    refer_to_host: Host,
    /// Where the call's User-to-User goes on.
    pub uui: Vec<UuiPlace>,
    /// How it is written there.
    pub uui_encoding: UuiEncoding,
    /// Names of the caller's header fields that an INVITE return carries on; `*` ends a prefix.
    pub passes: Vec<String>,
    /// The same for REFER.
    pub refer_passes: Vec<String>,
    /// The same for the BYE that hands back.
    pub bye_passes: Vec<String>,
}

/// What Referred-By says: `true`, `false`, `"caller"`, or a name-addr of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "FlagOrText")]
pub enum ReferredBy {
    /// There is none.
    Nobody,
    /// The URI that was called, at our host.
    Ourselves,
    /// The caller, at our host.
    Caller,
    /// This name-addr.
    Named(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FlagOrText {
    Flag(bool),
    Text(String),
}

impl TryFrom<FlagOrText> for ReferredBy {
    type Error = String;

    fn try_from(from: FlagOrText) -> Result<Self, String> {
        match from {
            FlagOrText::Flag(false) => Ok(Self::Nobody),
            FlagOrText::Flag(true) => Ok(Self::Ourselves),
            FlagOrText::Text(text) if text == "caller" => Ok(Self::Caller),
            FlagOrText::Text(text) => {
                let uri = text
                    .strip_prefix('<')
                    .and_then(|text| text.strip_suffix('>'));
                if uri.is_some_and(|uri| sip_message::Uri::parse(uri.as_bytes()).is_ok()) {
                    Ok(Self::Named(text))
                } else {
                    Err(format!(
                        "referred_by: {text:?} is none of true, false, \"caller\", \"<sip:...>\""
                    ))
                }
            }
        }
    }
}

/// A host with or without a port; the empty text is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Host(Option<String>);

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            Ok(Self(None))
        } else if is_host_and_port(&text) {
            Ok(Self(Some(text)))
        } else {
            Err(format!("refer_to_host: {text:?} is not host or host:port"))
        }
    }
}

/// Who ends the call after a REFER that worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bye {
    /// We, after a pause.
    Ours,
    /// We, as soon as the subscription is terminated.
    AtOnce,
    /// The peer.
    Theirs,
}

/// Whether NOTIFYs follow an accepted REFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notifies {
    /// As RFC 3515 says.
    Always,
    /// None that can be relied on.
    Never,
}

/// When REFER is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refer {
    /// Not where the peer's Allow lacks it.
    Allowed,
    /// Whatever its Allow says.
    Always,
}

/// Where User-to-User goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UuiPlace {
    /// A header of the REFER.
    Refer,
    /// A header embedded in the Refer-To URI.
    ReferTo,
    /// A parameter of the Refer-To URI.
    ReferToParameter,
    /// A header of the BYE.
    Bye,
    /// A header of the INVITE.
    Invite,
}

/// How User-to-User is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UuiEncoding {
    /// As it came.
    AsIs,
    /// In hexadecimal digits, with `;encoding=hex`.
    Hex,
}

impl Profile {
    /// From the final NOTIFY to our BYE, where it is not as usual.
    #[must_use]
    pub fn bye_after(&self) -> Option<Duration> {
        self.bye_after_ms.map(Duration::from_millis)
    }

    /// The host of the Refer-To URI; none: that of the return URI.
    #[must_use]
    pub fn refer_to_host(&self) -> Option<String> {
        self.refer_to_host.0.clone()
    }

    /// How long a peer that ends the call itself is waited for.
    #[must_use]
    pub const fn bye_patience(&self) -> Duration {
        Duration::from_millis(self.bye_patience_ms)
    }

    /// From the acceptance of a REFER to its first NOTIFY.
    #[must_use]
    pub const fn first_notify(&self) -> Duration {
        Duration::from_millis(self.first_notify_ms)
    }

    /// The profile of a name; the text says which there are.
    pub(super) fn find(name: &str) -> Result<Self, String> {
        Self::with(name, &Table::new())
    }

    /// The profile of a name, but for the keys that a trunk has of its own.
    pub(super) fn with(name: &str, keys: &Table) -> Result<Self, String> {
        let all: Table = PROFILES.parse().map_err(|error| format!("{error}"))?;
        let Some(own) = all.get(name).and_then(toml::Value::as_table) else {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            return Err(format!("{name:?} is none of {}", names.join(", ")));
        };
        let generic = all.get(GENERIC).and_then(toml::Value::as_table);
        let mut table = generic.cloned().unwrap_or_default();
        table.extend(own.clone());
        table.extend(keys.clone());
        let profile: Self = table.try_into().map_err(|error| problem(&error))?;
        Ok(Self {
            name: name.to_owned(),
            ..profile
        })
    }

    /// What is assumed of a peer that nothing is known of.
    pub(super) fn generic() -> Self {
        Self::find(GENERIC).unwrap_or_else(|_| Self {
            name: GENERIC.to_owned(),
            bye: Bye::Ours,
            bye_after_ms: None,
            bye_patience_ms: 32_000,
            notifies: Notifies::Always,
            first_notify_ms: 5_000,
            refer: Refer::Allowed,
            referred_by: ReferredBy::Ourselves,
            refer_to_host: Host(None),
            uui: vec![UuiPlace::Invite],
            uui_encoding: UuiEncoding::AsIs,
            passes: vec!["P-Asserted-Identity".to_owned()],
            refer_passes: Vec::new(),
            bye_passes: Vec::new(),
        })
    }
}

/// An error of TOML on one line.
fn problem(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_of_the_file_reads() {
        let all: Table = PROFILES.parse().unwrap();
        let names: Vec<_> = all.keys().cloned().collect();
        for name in [
            "generic",
            "twilio",
            "genesys",
            "cisco-cube",
            "oracle",
            "ribbon",
            "audiocodes",
            "avaya",
            "teams",
            "asterisk",
            "freeswitch",
        ] {
            assert!(names.contains(&name.to_owned()), "{name}");
            assert_eq!(Profile::find(name).unwrap().name, name);
        }
    }

    #[test]
    fn a_profile_holds_only_what_differs_from_the_generic_one() {
        let (generic, twilio) = (Profile::generic(), Profile::find("twilio").unwrap());
        assert_eq!((generic.bye, twilio.bye), (Bye::Ours, Bye::AtOnce));
        assert_eq!(generic.passes, twilio.passes);
    }

    #[test]
    fn trunk_differs_from_its_profile_key_by_key() {
        let with = |keys: &str| Profile::with("genesys", &keys.parse().unwrap());
        let own = with("referred_by = \"caller\"\nrefer_to_host = \"sbc:5070\"\nbye_after_ms = 0")
            .unwrap();
        assert_eq!(own.referred_by, ReferredBy::Caller);
        assert_eq!(own.refer_to_host().as_deref(), Some("sbc:5070"));
        assert_eq!(own.bye_after(), Some(Duration::ZERO));
        assert_eq!(own.uui_encoding, UuiEncoding::Hex);
        let named = with("referred_by = \"<sip:ivr@acme.example>\"").unwrap();
        let name_addr = "<sip:ivr@acme.example>".to_owned();
        assert_eq!(named.referred_by, ReferredBy::Named(name_addr));
        for (keys, problem) in [
            ("referred_by = \"ivr\"", "\"ivr\""),
            ("refer_to_host = \"a b\"", "refer_to_host"),
            ("by = 1", "unknown field `by`"),
            ("bye = \"ourz\"", "ourz"),
        ] {
            let error = with(keys).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn unknown_profile_is_told_with_those_that_there_are() {
        let problem = Profile::find("acme").unwrap_err();
        assert!(
            problem.contains("\"acme\"") && problem.contains("genesys"),
            "{problem}"
        );
    }
}
