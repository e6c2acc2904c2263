//! The agents that need no server: `builtin:echo`, `builtin:silence`, `builtin:tone`, `builtin:lab`.

mod echo;
mod lab;
mod silence;
mod tone;
mod wav;

use std::time::Duration;

use crate::agent::Agent;
use crate::facts::CallFacts;

use echo::Echo;
use lab::Lab;
use silence::Silence;
use tone::Tone;

/// µ-law for no sound.
const QUIET: u8 = 0xff;

/// Bytes of µ-law in a millisecond.
const BYTES_PER_MS: usize = 8;

/// The longest delay that `builtin:echo` takes.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Which built-in agent, with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    /// Says what it hears.
    Echo { delay: Duration },
    /// Says nothing.
    Silence,
    /// Plays a steady tone.
    Tone,
    /// See [`Lab`].
    Lab,
}

impl Builtin {
    /// Reads what stands behind `builtin:`, as `echo?delay_ms=200`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, query) = text.split_once('?').unwrap_or((text, ""));
        let mut options = query.split('&').filter(|option| !option.is_empty());
        let agent = match name {
            "echo" => Self::Echo {
                delay: options.next().map_or(Ok(Duration::ZERO), delay)?,
            },
            "silence" => Self::Silence,
            "tone" => Self::Tone,
            "lab" => Self::Lab,
            other => {
                return Err(format!(
                    "there is no built-in agent {other:?} (there are echo, lab, silence, tone)"
                ));
            }
        };
        match options.next() {
            None => Ok(agent),
            Some(option) => Err(format!(
                "the built-in agent {name:?} has no option {option:?}"
            )),
        }
    }

    /// The agent itself.
    pub(crate) fn start(self, facts: &CallFacts) -> Box<dyn Agent> {
        match self {
            Self::Echo { delay } => Box::new(Echo::new(delay)),
            Self::Silence => Box::new(Silence),
            Self::Tone => Box::new(Tone::new()),
            Self::Lab => Box::new(Lab::new(&facts.input)),
        }
    }
}

fn delay(option: &str) -> Result<Duration, String> {
    let millis = match option.split_once('=') {
        Some(("delay_ms", value)) => value
            .parse()
            .map_err(|_| format!("delay_ms is not a number: {value:?}"))?,
        Some(_) | None => {
            return Err(format!(
                "the built-in agent \"echo\" has no option {option:?}"
            ));
        }
    };
    let delay = Duration::from_millis(millis);
    if delay > MAX_DELAY {
        Err(format!("delay_ms is above {}", MAX_DELAY.as_millis()))
    } else {
        Ok(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_options_are_read() {
        assert_eq!(Builtin::parse("lab"), Ok(Builtin::Lab));
        assert_eq!(
            Builtin::parse("echo"),
            Ok(Builtin::Echo {
                delay: Duration::ZERO
            })
        );
        assert_eq!(
            Builtin::parse("echo?delay_ms=250"),
            Ok(Builtin::Echo {
                delay: Duration::from_millis(250)
            })
        );
    }

    #[test]
    fn unknown_names_and_options_are_refused() {
        for text in [
            "",
            "parrot",
            "lab?x=1",
            "echo?delay=2",
            "echo?delay_ms=x",
            "echo?delay_ms=10001",
            "echo?delay_ms=1&b=2",
        ] {
            assert!(Builtin::parse(text).is_err(), "{text}");
        }
    }
}
