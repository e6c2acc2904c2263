//! From the configured hook to an agent on a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::{Instant, sleep_until, timeout};

use crate::agent::Agent;
use crate::audiohook::AudioHookConfig;
use crate::builtin::Builtin;
use crate::credentials::Credentials;
use crate::dial::{Connection, Dialer, Opening};
use crate::facts::CallFacts;
use crate::link::Progress;
use crate::listener;
use crate::probe::Probe;
use crate::transport::{ClientIdentity, Transport, Url};
use crate::twilio::StreamKind;
use crate::twiml::Twiml;
use crate::webhook;

/// The pause before the URLs are tried again.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// When a lost agent is tried again, counted from its loss; then every second while time lasts.
const TRY_AGAIN_AT: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// The protocol that an agent at a URL speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Twilio Media Streams, with `hook.*` messages.
    #[default]
    Twilio,
    /// Genesys AudioHook, version 2.
    AudioHook,
}

/// What of an agent must be there before it counts as connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadyWhen {
    /// The open socket.
    #[default]
    Connected,
    /// Its `hook.hello`.
    Hello,
    /// Its first audio.
    Media,
}

/// A client certificate and its key, for servers that want one.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate, and those between it and the authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// Which agent to connect, and how.
#[derive(Clone, Default)]
pub struct HookConfig {
    /// `builtin:…`, `ws://…`, `wss://…`, or the `http://…`, `https://…` of a webhook; tried in this
    /// order until one answers.
    pub urls: Vec<String>,
    /// What agents at WebSocket URLs speak.
    pub protocol: Protocol,
    /// Sent as `Authorization: Bearer …` in the WebSocket handshake.
    pub token: Option<String>,
    /// Further proofs; its bearer token gives way to [`HookConfig::token`].
    pub credentials: Credentials,
    /// Allows `ws://` and `http://` to addresses that are neither loopback nor private.
    pub allow_plaintext: bool,
    /// Certificate authorities to trust besides the system's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// For servers that want a certificate.
    pub certificate: Option<ClientCertificate>,
    /// The WebSocket subprotocol to ask for.
    pub subprotocol: Option<String>,
    /// What must be there before the call is answered.
    pub ready: ReadyWhen,
    /// Where both sides' audio goes after an INVITE return; empty: [`HookConfig::urls`].
    pub transcribe_urls: Vec<String>,
    /// What AudioHook wants besides.
    pub audiohook: AudioHookConfig,
    /// What looks at the connections and disturbs them; none outside tests of hooks.
    pub probe: Option<Probe>,
}

impl fmt::Debug for HookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookConfig")
            .field("urls", &self.urls)
            .field("protocol", &self.protocol)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("allow_plaintext", &self.allow_plaintext)
            .field("authorities", &self.authorities.len())
            .field("transcribe_urls", &self.transcribe_urls)
            .finish_non_exhaustive()
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
    /// The webhook refuses the call (`<Reject>`, `<Hangup>`).
    #[error("the webhook refuses the call with {0}")]
    Refused(
        /// The SIP status that says so.
        u16,
    ),
}

/// Why one attempt came to nothing.
enum Attempt {
    Failed(String),
    Refused(u16),
}

/// Connects agents to calls.
#[derive(Clone)]
pub struct Hooks {
    targets: Vec<Target>,
    listeners: Vec<Target>,
    dialer: Arc<Dialer>,
    ready: ReadyWhen,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Builtin(Builtin),
    Wire(Url),
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("builtin:") {
            Some(builtin) => Builtin::parse(builtin).map(Self::Builtin),
            None => Url::parse(text).map(Self::Wire),
        }
    }

    fn needs_tls(&self) -> bool {
        match self {
            Self::Builtin(_) => false,
            // a webhook in the clear may name a stream that is not
            Self::Wire(url) => url.is_secure() || url.is_webhook(),
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
        let read = |urls: &[String]| -> Result<Vec<Target>, HookError> {
            let target = |url: &String| Target::parse(url).map_err(|problem| error(url, problem));
            urls.iter().map(target).collect()
        };
        let (targets, listeners) = (read(&config.urls)?, read(&config.transcribe_urls)?);
        if targets.is_empty() {
            return Err(error("", "no hook is configured".to_owned()));
        }
        let all = || targets.iter().chain(&listeners);
        if config.protocol == Protocol::AudioHook
            && all().any(|target| matches!(target, Target::Wire(url) if url.is_webhook()))
        {
            let problem = "a webhook names Twilio streams, not AudioHook";
            return Err(error(&config.urls.join(" "), problem.to_owned()));
        }
        let identity = config.certificate.map(|it| ClientIdentity {
            chain: it.chain,
            key: it.key.clone_key(),
        });
        let tls = all().any(Target::needs_tls);
        let authorities = config.authorities;
        let transport = Transport::new(tls, authorities, identity, config.allow_plaintext)
            .map_err(|problem| error(&config.urls.join(" "), problem))?;
        let bearer = config.token.or(config.credentials.bearer);
        let credentials = Credentials {
            bearer,
            ..config.credentials
        };
        let dialer = Dialer {
            transport,
            credentials,
            protocol: config.protocol,
            audiohook: config.audiohook,
            subprotocol: config.subprotocol,
            probe: config.probe,
        };
        Ok(Self {
            targets,
            listeners,
            dialer: Arc::new(dialer),
            ready: config.ready,
        })
    }

    /// Connects an agent for the call: every URL in turn, again after 250 ms, while time lasts.
    /// Of several URLs none may take more than its share of the time. Built-in agents are there
    /// at once. Must be called inside a tokio runtime, where the connection then lives.
    ///
    /// # Errors
    /// When no agent was connected within the time, or a webhook refuses the call.
    pub async fn connect(
        &self,
        facts: &CallFacts,
        within: Duration,
    ) -> Result<Box<dyn Agent>, ConnectError> {
        self.try_until(facts, within, |_, now| now + RETRY_EVERY)
            .await
    }

    /// Connects an agent anew after its link was lost: at once, after 250, 500, 1000 and 2000 ms,
    /// and then every second while time lasts.
    ///
    /// # Errors
    /// As [`Hooks::connect`].
    pub async fn reconnect(
        &self,
        facts: &CallFacts,
        within: Duration,
    ) -> Result<Box<dyn Agent>, ConnectError> {
        let lost = Instant::now();
        let next = |round: usize, now: Instant| {
            let planned = TRY_AGAIN_AT.get(round).map(|after| lost + *after);
            // an attempt that took its time is not followed by another at once
            planned
                .unwrap_or(now + Duration::from_secs(1))
                .max(now + Duration::from_millis(20))
        };
        self.try_until(facts, within, next).await
    }

    /// A link that only listens to both parties of a bridged call, in the place of the stream
    /// `parent`. It connects in its own time and whenever it has to; the call hears nothing of that.
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn listen(&self, facts: &CallFacts, parent: Option<String>) -> Box<dyn Agent> {
        let targets = if self.listeners.is_empty() {
            &self.targets
        } else {
            &self.listeners
        };
        if let Some(Target::Builtin(builtin)) = targets.first() {
            match builtin.start(facts) {
                Ok(agent) => return agent,
                Err(problem) => tracing::warn!(problem, "nobody listens to the bridged call"),
            }
        }
        listener::start(self.clone(), targets.clone(), facts.clone(), parent)
    }

    /// Goes through the URLs until one answers; `next` says when the next round begins.
    async fn try_until(
        &self,
        facts: &CallFacts,
        within: Duration,
        next: impl Fn(usize, Instant) -> Instant,
    ) -> Result<Box<dyn Agent>, ConnectError> {
        let deadline = Instant::now() + within;
        let share = within / u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        let mut last = "not tried".to_owned();
        for round in 1.. {
            for target in &self.targets {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.attempt(target, facts, left.min(share)).await {
                    Ok(agent) => return Ok(agent),
                    Err(Attempt::Refused(status)) => return Err(ConnectError::Refused(status)),
                    Err(Attempt::Failed(problem)) => last = problem,
                }
            }
            let at = next(round, Instant::now());
            if at >= deadline {
                break;
            }
            sleep_until(at).await;
        }
        Err(ConnectError::TimedOut { within, last })
    }

    async fn attempt(
        &self,
        target: &Target,
        facts: &CallFacts,
        time: Duration,
    ) -> Result<Box<dyn Agent>, Attempt> {
        if let Target::Builtin(builtin) = target {
            return builtin.start(facts).map_err(Attempt::Failed);
        }
        let connecting = async {
            let kind = StreamKind::Conversation;
            let mut agent = self.dial_or_refuse(target, facts, kind).await?.start();
            let wanted = |progress: Progress| match self.ready {
                ReadyWhen::Connected => true,
                ReadyWhen::Hello => progress.hello,
                ReadyWhen::Media => progress.media,
            };
            if agent.shows(wanted).await {
                Ok(Box::new(agent) as Box<dyn Agent>)
            } else {
                let problem = "the agent closed before it was ready";
                Err(Attempt::Failed(problem.to_owned()))
            }
        };
        timeout(time, connecting).await.unwrap_or_else(|_elapsed| {
            let problem = match self.ready {
                ReadyWhen::Connected => "no answer to the handshake",
                ReadyWhen::Hello => "no hook.hello",
                ReadyWhen::Media => "no audio",
            };
            Err(Attempt::Failed(problem.to_owned()))
        })
    }

    /// Opens a stream to a target, through its webhook if it is one.
    pub(crate) async fn dial(
        &self,
        target: &Target,
        facts: &CallFacts,
        kind: StreamKind<'_>,
    ) -> Result<Connection, String> {
        let dialed = self.dial_or_refuse(target, facts, kind).await;
        dialed.map_err(|attempt| match attempt {
            Attempt::Failed(problem) => problem,
            Attempt::Refused(status) => format!("refused with {status}"),
        })
    }

    async fn dial_or_refuse(
        &self,
        target: &Target,
        facts: &CallFacts,
        kind: StreamKind<'_>,
    ) -> Result<Connection, Attempt> {
        let url = match target {
            Target::Wire(url) => url,
            Target::Builtin(_) => {
                let problem = "a built-in agent has no connection";
                return Err(Attempt::Failed(problem.to_owned()));
            }
        };
        let mut opening = Opening {
            facts,
            parameters: &[],
            kind,
        };
        if !url.is_webhook() {
            return self.open(url, opening).await;
        }
        let (stream, parameters) = self.ask_webhook(url, facts).await?;
        opening.parameters = &parameters;
        self.open(&stream, opening).await
    }

    async fn open(&self, url: &Url, opening: Opening<'_>) -> Result<Connection, Attempt> {
        let opened = self.dialer.open(url, opening).await;
        opened.map_err(|error| Attempt::Failed(error.to_string()))
    }

    async fn ask_webhook(
        &self,
        url: &Url,
        facts: &CallFacts,
    ) -> Result<(Url, Vec<(String, String)>), Attempt> {
        let Dialer {
            transport,
            credentials,
            ..
        } = &*self.dialer;
        let asked = webhook::ask(transport, credentials, url, facts).await;
        match asked.map_err(|problem| Attempt::Failed(format!("webhook: {problem}")))? {
            Twiml::Stream {
                url,
                parameters,
                skipped,
            } => {
                if !skipped.is_empty() {
                    tracing::info!(verbs = skipped.join(", "), "TwiML passed over");
                }
                let stream = Url::parse(&url)
                    .ok()
                    .filter(|stream| !stream.is_webhook())
                    .ok_or_else(|| {
                        let problem = format!("webhook: {url:?} is neither ws:// nor wss://");
                        Attempt::Failed(problem)
                    })?;
                Ok((stream, parameters))
            }
            Twiml::Reject { busy: true } => Err(Attempt::Refused(486)),
            Twiml::Reject { busy: false } | Twiml::Hangup => Err(Attempt::Refused(603)),
            Twiml::Dial { .. } => {
                let problem = "webhook: <Dial> before the call is answered";
                Err(Attempt::Failed(problem.to_owned()))
            }
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
        assert!(problem("ftp://agent/").contains("scheme"));
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
