//! Load on a gateway of its own: calls that talk, calls that come and go, and agents that fail.
//!
//! `rtpload [--calls N] [--hook builtin:echo|ws] …` measures calls with two-way audio, `rtpload signalling …` calls alone,
//! `rtpload faults …` what becomes of callers whose agent fails; `--help` lists the rest. The gateway runs as a process of
//! its own, so that its CPU time and memory are its own. Exit code 1 when a bound that was given is missed.
#![allow(
    clippy::disallowed_methods,
    reason = "this program measures time; the simulation beside it does not"
)]

mod audio;
mod batch;
mod caller;
mod echo;
mod faults;
mod figures;
mod gateway;
mod http;
mod media;
mod signalling;
mod talkers;
mod words;

use std::fmt::Arguments;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load for handback.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Order {
    #[command(subcommand)]
    mode: Option<Mode>,
    #[command(flatten)]
    media: media::MediaOrder,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Calls that come and go.
    Signalling(signalling::SignallingOrder),
    /// Agents that fail under their calls.
    Faults(faults::FaultsOrder),
    /// The agent that says what it hears.
    EchoAgent(echo::EchoOrder),
}

fn main() -> ExitCode {
    let order = Order::parse();
    let done = match &order.mode {
        None => media::run(&order.media),
        Some(Mode::Signalling(signalling)) => signalling::run(signalling),
        Some(Mode::Faults(faults)) => faults::run(faults),
        Some(Mode::EchoAgent(agent)) => echo::run(agent).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("rtpload: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Prints a line; nobody may be listening.
fn say(line: Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The bounds that were given, and which were missed.
#[derive(Debug, Default)]
struct Bounds {
    missed: Vec<String>,
}

impl Bounds {
    fn at_most(&mut self, what: &str, value: f64, bound: Option<f64>) {
        if let Some(bound) = bound.filter(|bound| value > *bound) {
            self.missed
                .push(format!("{what}: {value:.4}, at most {bound} was asked for"));
        }
    }

    fn at_least(&mut self, what: &str, value: f64, bound: Option<f64>) {
        if let Some(bound) = bound.filter(|bound| value < *bound) {
            self.missed.push(format!(
                "{what}: {value:.4}, at least {bound} was asked for"
            ));
        }
    }

    fn at_most_count(&mut self, what: &str, value: u64, bound: Option<u64>) {
        self.at_most(what, value as f64, bound.map(|it| it as f64));
    }

    fn exactly(&mut self, what: &str, value: u64, wanted: u64) {
        if value != wanted {
            self.missed
                .push(format!("{what}: {value}, {wanted} was asked for"));
        }
    }

    /// Says which were missed; true when none was.
    fn hold(&self) -> bool {
        for missed in &self.missed {
            say(format_args!("MISSED {missed}"));
        }
        self.missed.is_empty()
    }
}
