//! The command line: `serve`, `demo`, `call`, `calls`, `ladder`, `agent`, `lint`, `check`, `secret`.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 78 configuration. Logs go to the standard error.

mod admin;
mod agent;
mod call;
mod calls;
mod check;
mod demo;
mod hook_call;
mod hook_line;
mod hook_proofs;
mod ladder;
mod lint;
mod secret;
mod serve;
mod terminal;

use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub use terminal::{Paint, say, say_error};

/// Something failed.
const FAILED: u8 = 1;
/// The command was not understood.
const USAGE: u8 = 2;
/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
const CONFIGURATION: u8 = 78;

/// Takes calls that were registered over REST, lets a voice agent talk, and hands them back.
#[derive(Debug, Parser)]
#[command(name = "handback", version, arg_required_else_help = true)]
struct Cli {
    /// What to log, as "debug", "info,sip_core=trace"; info for serve, else warn
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::Serve),
    /// See the whole story on this machine: register, call, talk, hand back, fetch
    Demo(demo::Demo),
    /// Place a test call as an SBC would, or play the gateway's part to a hook
    Call(Box<call::Call>),
    /// Run an agent that speaks the hook protocol, for developing hooks
    Agent(agent::Agent),
    /// Hold recorded hook messages against the protocol
    Lint(lint::Lint),
    /// Say what is wrong in a configuration, or show what is in force
    Check(check::Check),
    /// Make an API key pair
    Secret,
    /// Show the calls of a running gateway
    Calls(calls::Calls),
    /// Show what was said in SIP for a call of a running gateway
    Ladder(ladder::LadderOf),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let mut cli = Cli::parse();
    let default = match &cli.command {
        Command::Serve(_) | Command::Agent(_) => "info",
        Command::Demo(_)
        | Command::Call(_)
        | Command::Lint(_)
        | Command::Check(_)
        | Command::Secret
        | Command::Calls(_)
        | Command::Ladder(_) => "warn",
    };
    if let Command::Call(call) = &mut cli.command {
        cli.log = call.claim_log(cli.log);
    }
    if let Err(problem) = start_log(cli.log.as_deref().unwrap_or(default)) {
        say_error(&format!("--log: {problem}"));
        return ExitCode::from(USAGE);
    }
    match cli.command {
        Command::Serve(serve) => block_on(serve.run()),
        Command::Demo(demo) => block_on(demo.run()),
        Command::Call(call) => block_on(call.run()),
        Command::Agent(agent) => block_on(agent.run()),
        Command::Lint(lint) => lint.run(),
        Command::Check(check) => check.run(),
        Command::Secret => secret::run(),
        Command::Calls(calls) => block_on(calls.run()),
        Command::Ladder(ladder) => block_on(ladder.run()),
    }
}

fn start_log(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal::errors_have_colour())
        .try_init()
        .map_err(|error| error.to_string())
}

fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            say_error(&format!("the runtime cannot start: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Waits for SIGTERM or SIGINT.
async fn stopped() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_pinned_option_of_call_is_taken() {
        let line = "handback call --to sip:agent@h --transfer t --from sip:a@b --transport tcp --user u --password p \
                    --play a.wav --dtmf 12# --record b.wav --hold-after 1.5 --hangup-after 3 --answer-return \
                    --pcap c.pcap --log debug";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        assert!(matches!(cli.command, Command::Call(_)));
        assert_eq!(cli.log.as_deref(), Some("debug"));
    }

    #[test]
    fn every_option_of_a_call_with_a_hook_is_taken() {
        let line = "handback call --hook ws://127.0.0.1:9/ --play caller.wav --record heard.wav --stereo both.wav --log msgs.jsonl \
                    --input-context ctx.json --say a.wav@after-silence:800 --barge b.wav@play:1500ms --dtmf 12#@3s \
                    --drop-at 5s --stall 4s --both-tracks --expect complete.transferType=AGENT --max-first-audio 2s";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Call(mut call) = cli.command else {
            panic!("not a call")
        };
        assert_eq!(
            call.claim_log(cli.log),
            None,
            "the file is not the log's filter"
        );
        assert_eq!(
            call.claim_log(Some("debug".to_owned())).as_deref(),
            Some("debug")
        );
    }

    #[test]
    fn usage_errors_exit_with_two() {
        for line in [
            "handback nothing",
            "handback call",
            "handback call --to sip:a@b --transport sctp",
            "handback serve --x",
        ] {
            assert_eq!(
                Cli::try_parse_from(line.split_whitespace())
                    .unwrap_err()
                    .exit_code(),
                2,
                "{line}"
            );
        }
        for line in [
            "handback --help",
            "handback --version",
            "handback serve --help",
        ] {
            assert_eq!(
                Cli::try_parse_from(line.split_whitespace())
                    .unwrap_err()
                    .exit_code(),
                0,
                "{line}"
            );
        }
    }

    #[test]
    fn return_types_are_taken_as_the_api_spells_them() {
        for method in ["BYE", "REFER", "INVITE"] {
            assert!(
                Cli::try_parse_from(["handback", "demo", "--return", method]).is_ok(),
                "{method}"
            );
        }
        assert!(Cli::try_parse_from(["handback", "demo", "--return", "SEND"]).is_err());
    }
}
