//! From the configured hook to an agent on a call.

use std::fmt;
use std::time::Duration;

use crate::agent::Agent;
use crate::facts::CallFacts;

/// Which agent to connect, and how.
#[derive(Clone, Default)]
pub struct HookConfig {
    /// `builtin:…`, `ws://…` or `wss://…`; tried in this order until one answers.
    pub urls: Vec<String>,
    /// Sent as `Authorization: Bearer …` in the WebSocket handshake.
    pub token: Option<String>,
    /// Allows `ws://` to addresses that are neither loopback nor private.
    pub allow_plaintext: bool,
}

impl fmt::Debug for HookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookConfig")
            .field("urls", &self.urls)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("allow_plaintext", &self.allow_plaintext)
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

/// No agent could be connected; the text says what each attempt met last.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("no agent within {within:?}: {last}")]
    TimedOut {
        /// The time there was.
        within: Duration,
        /// The last failure.
        last: String,
    },
}

/// Connects agents to calls.
#[derive(Clone, Debug)]
pub struct Hooks {
    config: HookConfig,
}

impl Hooks {
    /// Checks the configuration and prepares TLS; touches no network.
    ///
    /// # Errors
    /// When a URL is malformed or names an unknown scheme or built-in agent.
    pub fn new(config: HookConfig) -> Result<Self, HookError> {
        Ok(Self { config })
    }

    /// Connects an agent for the call: every URL in turn, again after 250 ms, while time lasts.
    /// Built-in agents are there at once. Must be called inside a tokio runtime, where the
    /// connection then lives.
    ///
    /// # Errors
    /// When no agent was connected within the time.
    pub async fn connect(&self, facts: &CallFacts, within: Duration) -> Result<Box<dyn Agent>, ConnectError> {
        let _ = (facts, &self.config);
        tokio::task::yield_now().await;
        Err(ConnectError::TimedOut { within, last: String::new() })
    }
}
