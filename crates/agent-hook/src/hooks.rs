//! From the configured hook to an agent on a call.

use std::fmt;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::Agent;
use crate::builtin::Builtin;
use crate::facts::CallFacts;
use crate::twilio::dial::{Dialer, WireUrl};

/// The pause before the URLs are tried again.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Which agent to connect, and how.
#[derive(Clone, Default)]
pub struct HookConfig {
    /// `builtin:…`, `ws://…` or `wss://…`; tried in this order until one answers.
    pub urls: Vec<String>,
    /// Sent as `Authorization: Bearer …` in the WebSocket handshake.
    pub token: Option<String>,
    /// Allows `ws://` to addresses that are neither loopback nor private.
    pub allow_plaintext: bool,
    /// Certificate authorities to trust besides the system's.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for HookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookConfig")
            .field("urls", &self.urls)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("allow_plaintext", &self.allow_plaintext)
            .field("authorities", &self.authorities.len())
            .finish()
    }
}

/// A hook that cannot work as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hook {url:?}: {problem}")]
pub struct HookError {
    /// The hook as configured.
    pub url: String,
    /// What is wrong with it.
    pub problem: String,
}

/// No agent could be connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("no agent within {within:?}: {last}")]
    TimedOut {
        /// The time there was.
        within: Duration,
        /// What the last attempt met.
        last: String,
    },
}

/// Connects agents to calls.
#[derive(Clone)]
pub struct Hooks {
    targets: Vec<Target>,
    dialer: Dialer,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
enum Target {
    Builtin(Builtin),
    Wire(WireUrl),
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("builtin:") {
            Some(builtin) => Builtin::parse(builtin).map(Self::Builtin),
            None => WireUrl::parse(text).map(Self::Wire),
        }
    }

    fn needs_tls(&self) -> bool {
        match self {
            Self::Builtin(_) => false,
            Self::Wire(url) => url.is_secure(),
        }
    }
}

impl Hooks {
    /// Checks the configuration and prepares TLS; touches no network.
    ///
    /// # Errors
    /// When there is no URL, or one is malformed or names an unknown scheme or built-in agent, or
    /// TLS cannot be prepared.
    pub fn new(config: HookConfig) -> Result<Self, HookError> {
        let error = |url: &str, problem: String| HookError {
            url: url.to_owned(),
            problem,
        };
        let HookConfig {
            urls,
            token,
            allow_plaintext,
            authorities,
        } = config;
        let mut targets = Vec::with_capacity(urls.len());
        for url in &urls {
            targets.push(Target::parse(url).map_err(|problem| error(url, problem))?);
        }
        if targets.is_empty() {
            return Err(error("", "no hook is configured".to_owned()));
        }
        let tls = targets.iter().any(Target::needs_tls);
        let tls = tls.then_some(authorities);
        let dialer = Dialer::new(tls, token.as_deref(), allow_plaintext)
            .map_err(|problem| error(&urls.join(" "), problem))?;
        Ok(Self { targets, dialer })
    }

    /// Connects an agent for the call: every URL in turn, again after 250 ms, while time lasts.
    /// Of several URLs none may take more than its share of the time. Built-in agents are there
    /// at once. Must be called inside a tokio runtime, where the connection then lives.
    ///
    /// # Errors
    /// When no agent was connected within the time.
    pub async fn connect(
        &self,
        facts: &CallFacts,
        within: Duration,
    ) -> Result<Box<dyn Agent>, ConnectError> {
        let deadline = Instant::now() + within;
        let share = within / u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        let mut last = "not tried".to_owned();
        loop {
            for target in &self.targets {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.attempt(target, facts, left.min(share)).await {
                    Ok(agent) => return Ok(agent),
                    Err(problem) => last = problem,
                }
            }
            if Instant::now() + RETRY_EVERY >= deadline {
                return Err(ConnectError::TimedOut { within, last });
            }
            sleep(RETRY_EVERY).await;
        }
    }

    async fn attempt(
        &self,
        target: &Target,
        facts: &CallFacts,
        time: Duration,
    ) -> Result<Box<dyn Agent>, String> {
        match target {
            Target::Builtin(builtin) => builtin.start(facts),
            Target::Wire(url) => match timeout(time, self.dialer.open(url, facts)).await {
                Ok(Ok(agent)) => Ok(Box::new(agent)),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_elapsed) => Err("no answer to the handshake".to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(url: &str) -> String {
        let config = HookConfig {
            urls: vec![url.to_owned()],
            ..HookConfig::default()
        };
        Hooks::new(config).unwrap_err().to_string()
    }

    #[test]
    fn hooks_that_cannot_work_are_refused_by_name() {
        assert!(problem("builtin:parrot").contains("parrot"));
        assert!(problem("http://agent/").contains("scheme"));
        assert!(Hooks::new(HookConfig::default()).is_err());
    }

    #[test]
    fn token_is_not_shown_by_debug() {
        let config = HookConfig {
            token: Some("s3cret".to_owned()),
            ..HookConfig::default()
        };
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
