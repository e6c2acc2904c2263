//! Profiles: what known peers do at a hand-back, as data in `config/profiles.toml`.

use std::time::Duration;

use serde::Deserialize;
use toml::Table;

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
    bye_patience_ms: u64,
    /// Whether NOTIFYs follow an accepted REFER.
    pub notifies: Notifies,
    first_notify_ms: u64,
    /// When REFER is tried.
    pub refer: Refer,
    /// Whether REFER carries Referred-By.
    pub referred_by: bool,
    /// Where the call's User-to-User goes on.
    pub uui: Vec<UuiPlace>,
    /// How it is written there.
    pub uui_encoding: UuiEncoding,
    /// Names of the caller's header fields that an INVITE return carries on; `*` ends a prefix.
    pub passes: Vec<String>,
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
    /// Embedded in the Refer-To URI.
    ReferTo,
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
        let all: Table = PROFILES.parse().map_err(|error| format!("{error}"))?;
        let Some(own) = all.get(name).and_then(toml::Value::as_table) else {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            return Err(format!("{name:?} is none of {}", names.join(", ")));
        };
        let generic = all.get(GENERIC).and_then(toml::Value::as_table);
        let mut table = generic.cloned().unwrap_or_default();
        table.extend(own.clone());
        let profile: Self = table.try_into().map_err(|error| format!("{error}"))?;
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
            bye_patience_ms: 32_000,
            notifies: Notifies::Always,
            first_notify_ms: 5_000,
            refer: Refer::Allowed,
            referred_by: true,
            uui: vec![UuiPlace::Invite],
            uui_encoding: UuiEncoding::AsIs,
            passes: vec!["P-Asserted-Identity".to_owned()],
        })
    }
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
    fn unknown_profile_is_told_with_those_that_there_are() {
        let problem = Profile::find("acme").unwrap_err();
        assert!(
            problem.contains("\"acme\"") && problem.contains("genesys"),
            "{problem}"
        );
    }
}
