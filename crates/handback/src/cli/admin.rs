//! Questions to a running gateway, through its admin listener.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;

use crate::config::Config;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Which gateway is asked.
#[derive(Debug, Args)]
pub(super) struct Admin {
    /// The gateway's configuration; without it, the lab configuration compiled in
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its admin listener, instead of that of the configuration
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// A file with its bearer token, instead of that of the configuration
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The gateway says that it has no such thing.
    #[error("the gateway does not know it, or no more")]
    Unknown,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// A gateway that answers.
#[derive(Debug)]
pub(super) struct Gateway {
    base: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl Admin {
    /// Finds the gateway.
    pub(super) fn gateway(self) -> Result<Gateway, Unanswered> {
        let mut base = self.admin;
        let mut token = None;
        if let Some(file) = &self.token_file {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| {
                Unanswered::Configuration(format!("--token-file {}: {error}", file.display()))
            })?;
            token = Some(text.trim().to_owned());
        }
        if base.is_none() || self.config.is_some() {
            let loaded = Config::load(self.config.as_deref());
            let loaded = loaded.map_err(|errors| Unanswered::Configuration(errors.to_string()))?;
            let admin = loaded.config.admin;
            let mut listen = admin.listen;
            if listen.ip().is_unspecified() {
                listen.set_ip(match listen.ip() {
                    IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
                    IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
                });
            }
            base.get_or_insert_with(|| listen.to_string());
            token = token.or_else(|| admin.token.map(|token| token.expose().to_owned()));
        }
        let http = reqwest::Client::builder().timeout(WITHIN).build();
        Ok(Gateway {
            base: base.unwrap_or_default(),
            token,
            http: http.map_err(|error| Unanswered::Failed(error.to_string()))?,
        })
    }
}

impl Gateway {
    /// Gets a path.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unanswered> {
        let url = format!("http://{}{path}", self.base);
        let failed = |error: reqwest::Error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let cause = cause.unwrap_or_default();
            Unanswered::Failed(format!("no gateway answers at {}{cause}", self.base))
        };
        let mut request = self.http.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(failed)?;
        match answer.status().as_u16() {
            200 => answer.json().await.map_err(failed),
            404 => Err(Unanswered::Unknown),
            401 => Err(Unanswered::Failed(
                "the gateway wants its token: --token-file, or --config with its configuration"
                    .to_owned(),
            )),
            status => Err(Unanswered::Failed(format!("the gateway answers {status}"))),
        }
    }
}

impl Unanswered {
    /// Says it; the exit code.
    pub(super) fn say(&self) -> std::process::ExitCode {
        super::say_error(&self.to_string());
        std::process::ExitCode::from(match self {
            Self::Configuration(_) => super::CONFIGURATION,
            Self::Unknown | Self::Failed(_) => super::FAILED,
        })
    }
}
