//! `handback check`: what is wrong in a configuration, or what is in force.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CONFIGURATION, Paint, say, say_error};
use crate::config::Config;

/// Arguments of `handback check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration; without it, the lab configuration compiled in
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> ExitCode {
        let paint = Paint::for_stdout();
        match Config::load(self.config.as_deref()) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    say_error(&format!("warning: {warning}"));
                }
                say(&paint.dim("# in force, secrets hidden"));
                say(loaded.resolved.trim_end());
                ExitCode::SUCCESS
            }
            Err(errors) => {
                say_error(&errors.to_string());
                ExitCode::from(CONFIGURATION)
            }
        }
    }
}
