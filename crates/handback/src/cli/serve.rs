//! `handback serve`: the gateway, until a signal ends it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use transfer_api::NodeOrder;

use super::{CONFIGURATION, FAILED, say, say_error};
use crate::config::{Config, ConfigError};
use crate::gateway::{self, Gateway, StartError};

/// Arguments of `handback serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration; without it, the lab configuration compiled in: loopback only, well-known secrets
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    pub(super) async fn run(self) -> ExitCode {
        let loaded = match Config::load(self.config.as_deref()) {
            Ok(loaded) => loaded,
            Err(errors) => {
                say_error(&errors.to_string());
                return ExitCode::from(CONFIGURATION);
            }
        };
        warn(&loaded.warnings);
        if self.config.is_none() {
            tracing::info!("no --config: the lab configuration, on loopback only");
        }
        match self.serve(loaded.config).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Start(error @ (StartError::Directory(_) | StartError::Tls(_)))) => {
                say_error(&error.to_string());
                ExitCode::from(CONFIGURATION)
            }
            Err(failure) => {
                say_error(&failure.to_string());
                ExitCode::from(FAILED)
            }
        }
    }

    async fn serve(&self, config: Config) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let mut gateway = gateway::start(config).await?;
        announce(&gateway);
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::End => break,
                    Asked::Reload => drop(self.reload(&gateway)),
                },
                Some(order) = gateway.next_order() => match order {
                    NodeOrder::Drain => break,
                    // Whoever asked may have gone; the reload is done all the same.
                    NodeOrder::Reload(answer) => drop(answer.send(self.reload(&gateway))),
                },
            }
        }
        tokio::select! {
            () = end(gateway) => {}
            () = signals.end() => {}
        }
        Ok(())
    }

    /// Takes the file anew; what is wrong with it leaves the old one in force.
    fn reload(&self, gateway: &Gateway) -> Result<(), String> {
        let problems = match Config::load(self.config.as_deref()) {
            Ok(loaded) => {
                warn(&loaded.warnings);
                gateway
                    .reload(loaded.config)
                    .err()
                    .map(|error| error.to_string())
            }
            Err(errors) => Some(errors.to_string()),
        };
        for problem in problems.iter().flat_map(|problems| problems.lines()) {
            tracing::error!("not reloaded: {problem}");
        }
        problems.map_or(Ok(()), Err)
    }
}

/// A line for each listener, and `ready`.
fn announce(gateway: &Gateway) {
    for listener in gateway.sip_listeners() {
        say(&format!("sip {listener}"));
    }
    say(&format!("api http://{}", gateway.api_address()));
    say(&format!("admin http://{}", gateway.admin_address()));
    say("ready");
}

async fn end(gateway: Gateway) {
    gateway.drain().await;
    gateway.shutdown().await;
}

fn warn(warnings: &[ConfigError]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Why the gateway did not serve.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("signals cannot be received: {0}")]
    Signals(#[from] io::Error),
}

/// The signals that the gateway obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    End,
    Reload,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    /// SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
