//! `handback demo`: the whole story in the terminal.

use std::process::ExitCode;

use call_control::transfer::ReturnType;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{FAILED, Paint, say, say_error};
use crate::demo::{Story, bars, render, tell};

/// A bar of audio is this many samples: an eighth of a second.
const STRETCH: usize = 1000;
/// As many bars as fit beside their name.
const BARS: usize = 96;

/// Arguments of `handback demo`.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// How the call is handed back; all three, one after the other, unless one is named
    #[arg(long = "return", value_name = "METHOD", ignore_case = true)]
    method: Option<Method>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[clap(rename_all = "UPPER")]
enum Method {
    Bye,
    Refer,
    Invite,
}

impl Method {
    const ALL: [Self; 3] = [Self::Bye, Self::Refer, Self::Invite];

    const fn return_type(self) -> ReturnType {
        match self {
            Self::Bye => ReturnType::Bye,
            Self::Refer => ReturnType::Refer,
            Self::Invite => ReturnType::Invite,
        }
    }

    const fn moral(self) -> &'static str {
        match self {
            Self::Bye => {
                "The agent is done: the gateway hangs up, and the SBC takes the caller on."
            }
            Self::Refer => {
                "The agent is done: the gateway refers the SBC to the return URI, and the SBC calls there."
            }
            Self::Invite => {
                "The agent is done: the gateway calls the return URI itself and bridges the two."
            }
        }
    }
}

impl Demo {
    pub(super) async fn run(self) -> ExitCode {
        let paint = Paint::for_stdout();
        let methods = self
            .method
            .map_or_else(|| Method::ALL.to_vec(), |method| vec![method]);
        say(
            "A customer registers a call transfer over REST, the SBC sends the call with the transfer's id in a",
        );
        say(
            "header, a voice agent talks to the caller, hands the call back, and the customer fetches the result.",
        );
        let mut failed = 0;
        for method in methods {
            say(&format!(
                "\n{}  {}\n",
                paint.bold(&format!("■ {}", method.return_type())),
                method.moral()
            ));
            match tell(method.return_type()).await {
                Ok(story) => failed += print(&story, paint),
                Err(error) => {
                    say_error(&error.to_string());
                    failed += 1;
                }
            }
        }
        say("");
        if failed == 0 {
            say(&paint.green("All of it was as it must be."));
            return ExitCode::SUCCESS;
        }
        say(&paint.red(&format!("{failed} things were not as they must be.")));
        ExitCode::from(FAILED)
    }
}

/// Prints a story; how many of its checks failed.
fn print(story: &Story, paint: Paint) -> usize {
    say(&render(&story.parties, &story.entries, paint));
    say("");
    for (name, sound) in &story.sounds {
        say(&format!(
            "  {name:<13} {}",
            paint.cyan(&bars(sound, STRETCH, BARS))
        ));
    }
    say("");
    let fetched = pretty(&story.fetched);
    for line in fetched.lines() {
        say(&format!("  {}", paint.dim(line)));
    }
    say("");
    let mut failed = 0;
    for check in &story.checks {
        if check.passed {
            say(&format!("  {} {}", paint.green("✓"), check.what));
        } else {
            failed += 1;
            say(&format!(
                "  {} {} {}",
                paint.red("✗"),
                check.what,
                paint.yellow(&check.seen)
            ));
        }
    }
    failed
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}
