//! The configuration, in two stages: the raw text with the environment over it, then its meaning.
//!
//! Every problem is found in one go, each with the full path of its key; `check` prints them all.

mod agent_types;
mod agents;
mod checks;
mod environment;
mod identity_header;
mod meaning;
mod profile;
mod section;
mod tls;
mod types;
mod words;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::{fmt, fs};

use toml::Table;

pub use identity_header::{IdentityHeader, Place};
pub use profile::{Bye, Notifies, Profile, Refer, ReferredBy, UuiEncoding, UuiPlace};
pub use types::{
    Account, Admin, Agent, AnswerWhen, Api, ApiKey, AudioHook, ClientCertificate, Codec,
    ComfortPrompt, Config, Credentials, Digest, DigestAlgorithm, Handback, HookProtocol, Limits,
    Listener, Media, Node, OutboundAuth, PortRange, Protocol, ReferPolicy, ReliableProvisional,
    Require, ReturnTarget, Secret, Sip, SipTls, Step, Store, TlsVersion, Tone, Transcribe,
    Transfer, Trunk, Unauthenticated,
};

use section::{Findings, Section};

/// The configuration that runs when no file is named: loopback only, well-known secrets.
pub const LAB: &str = include_str!("../../../../config/lab.toml");

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The full path of the key, as `account[0].trunk[1].allow[0]`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.key, self.problem)
        }
    }
}

/// Everything that is wrong with a configuration, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A configuration that can run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its meaning.
    pub config: Config,
    /// What an operator should look at all the same.
    pub warnings: Vec<ConfigError>,
    /// Every key with the value in force as TOML, secrets hidden.
    pub resolved: String,
}

impl Config {
    /// Reads a file, or the lab configuration when none is named, and the process's environment over it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: Option<&Path>) -> Result<Loaded, ConfigErrors> {
        let text = match path {
            None => LAB.to_owned(),
            Some(path) => fs::read_to_string(path)
                .map_err(|error| whole(format!("{} cannot be read: {error}", path.display())))?,
        };
        Self::parse(
            &text,
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            }),
        )
    }

    /// Gives a configuration's text its meaning, with `HANDBACK__SECTION__KEY` variables over it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigErrors> {
        let mut given: Table = text
            .parse()
            .map_err(|error| whole(format!("not TOML: {error}")))?;
        let mut findings = Findings::default();
        environment::lay_over(&mut given, environment, &mut findings);
        let mut root = Section::root(given, &findings);
        let config = meaning::read(&mut root);
        let resolved = root.finish();
        checks::check(&config, &findings);
        let (errors, warnings) = findings.into_parts();
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        Ok(Loaded {
            config,
            warnings,
            resolved: resolved.to_string(),
        })
    }
}

fn whole(problem: String) -> ConfigErrors {
    ConfigErrors(vec![ConfigError {
        key: String::new(),
        problem,
    }])
}
