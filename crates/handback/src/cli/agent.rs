//! `handback agent`: an agent that speaks the hook protocol, without a gateway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use agent_hook::AgentServer;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpListener;

use super::{CONFIGURATION, FAILED, say, say_error};

/// Arguments of `handback agent`.
#[derive(Debug, Args)]
pub(super) struct Agent {
    /// Where to take calls
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8765")]
    listen: SocketAddr,
    /// A dialogue in YAML
    #[arg(long, value_name = "FILE.yaml", conflicts_with = "builtin")]
    flow: Option<PathBuf>,
    /// Another built-in agent with its options, as echo?delay_ms=200
    #[arg(long, value_name = "NAME", default_value = "lab")]
    builtin: String,
}

impl Agent {
    pub(super) async fn run(self) -> ExitCode {
        let agent = match &self.flow {
            Some(file) => {
                let file = file.to_string_lossy();
                format!("flow?file={}", utf8_percent_encode(&file, NON_ALPHANUMERIC))
            }
            None => self.builtin.clone(),
        };
        let server = match AgentServer::new(&agent) {
            Ok(server) => server,
            Err(problem) => {
                say_error(&problem);
                return ExitCode::from(CONFIGURATION);
            }
        };
        let listener = match TcpListener::bind(self.listen).await {
            Ok(listener) => listener,
            Err(error) => {
                say_error(&format!("--listen {}: {error}", self.listen));
                return ExitCode::from(FAILED);
            }
        };
        let at = listener.local_addr().unwrap_or(self.listen);
        say(&format!("agent ws://{at}/"));
        say("ready");
        tokio::select! {
            served = server.serve(listener) => match served {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    say_error(&format!("no more calls are taken: {error}"));
                    ExitCode::from(FAILED)
                }
            },
            () = super::stopped() => ExitCode::SUCCESS,
        }
    }
}
