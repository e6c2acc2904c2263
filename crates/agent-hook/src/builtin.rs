//! The agents that need no server: `builtin:echo`, `builtin:flow`, `builtin:lab`, `builtin:record`,
//! `builtin:silence`, `builtin:tone`.

mod echo;
mod flow;
mod lab;
mod record;
mod silence;
mod tone;
pub(crate) mod wav;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use timebase::Now;

use crate::agent::{Agent, AgentEvent, AgentInput, AgentOutput};
use crate::facts::CallFacts;

use echo::Echo;
use flow::{Dialogue, Flow};
use lab::Lab;
use record::Recorder;
use silence::Silence;
use tone::Tone;
pub use wav::one_moment;

/// µ-law for no sound.
const QUIET: u8 = 0xff;

/// Bytes of µ-law in a millisecond.
const BYTES_PER_MS: usize = 8;

/// The longest delay that `builtin:echo` takes.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Which built-in agent, with its options.
#[derive(Clone, Debug)]
pub(crate) enum Builtin {
    /// Says what it hears.
    Echo { delay: Duration },
    /// Says nothing.
    Silence,
    /// Plays a steady tone.
    Tone,
    /// See [`Lab`].
    Lab,
    /// See [`Recorder`].
    Record { dir: Arc<Path>, longest: Duration },
    /// See [`Dialogue`].
    Flow(Arc<Flow>),
}

impl Builtin {
    /// Reads what stands behind `builtin:`, as `echo?delay_ms=200`, and the file of a flow.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, query) = text.split_once('?').unwrap_or((text, ""));
        let mut options = Options::parse(name, query)?;
        let agent = match name {
            "echo" => Self::Echo {
                delay: options.millis("delay_ms", Duration::ZERO, MAX_DELAY)?,
            },
            "silence" => Self::Silence,
            "tone" => Self::Tone,
            "lab" => Self::Lab,
            "record" => Self::Record {
                dir: folder(options.path("dir")?)?.into(),
                longest: options.millis("max_ms", record::LONGEST, record::LONGEST)?,
            },
            "flow" => {
                let file = options.path("file")?;
                let flow = flow::load(&file).map_err(|error| error.to_string())?;
                Self::Flow(Arc::new(flow))
            }
            other => {
                return Err(format!(
                    "there is no built-in agent {other:?} (there are echo, flow, lab, record, silence, tone)"
                ));
            }
        };
        options.end()?;
        Ok(agent)
    }

    /// The agent itself; inside a tokio runtime, since a recording is written beside the call.
    pub(crate) fn start(&self, facts: &CallFacts) -> Result<Box<dyn Agent>, String> {
        Ok(Box::new(Introduced {
            agent: self.agent(facts)?,
            said: false,
        }))
    }

    fn agent(&self, facts: &CallFacts) -> Result<Box<dyn Agent>, String> {
        Ok(match self {
            Self::Echo { delay } => Box::new(Echo::new(*delay)),
            Self::Silence => Box::new(Silence),
            Self::Tone => Box::new(Tone::new()),
            Self::Lab => Box::new(Lab::new(&facts.input)),
            Self::Record { dir, longest } => Box::new(Recorder::start(dir, *longest, facts)?),
            Self::Flow(flow) => Box::new(Dialogue::new(Arc::clone(flow), facts)),
        })
    }
}

/// What stands behind the question mark.
struct Options<'a> {
    agent: &'a str,
    given: Vec<(&'a str, String)>,
}

impl<'a> Options<'a> {
    fn parse(agent: &'a str, query: &'a str) -> Result<Self, String> {
        let mut given: Vec<(&str, String)> = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            if given.iter().any(|(known, _)| *known == name) {
                return Err(format!("{name} is given twice"));
            }
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| format!("{name} is not text"))?;
            given.push((name, value.into_owned()));
        }
        Ok(Self { agent, given })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.given.iter().position(|(given, _)| *given == name)?;
        Some(self.given.remove(at).1)
    }

    fn path(&mut self, name: &str) -> Result<PathBuf, String> {
        self.take(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
            .ok_or_else(|| format!("the built-in agent {:?} needs {name}=…", self.agent))
    }

    fn millis(&mut self, name: &str, default: Duration, max: Duration) -> Result<Duration, String> {
        let Some(value) = self.take(name) else {
            return Ok(default);
        };
        let millis = value
            .parse()
            .map_err(|_| format!("{name} is not a number: {value:?}"))?;
        let millis = Duration::from_millis(millis);
        if millis > max {
            Err(format!("{name} is above {}", max.as_millis()))
        } else {
            Ok(millis)
        }
    }

    fn end(self) -> Result<(), String> {
        match self.given.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!(
                "the built-in agent {:?} has no option {name:?}",
                self.agent
            )),
        }
    }
}

/// A built-in agent that says hello before anything else: it hears both parties of a bridged call.
#[derive(Debug)]
struct Introduced {
    agent: Box<dyn Agent>,
    said: bool,
}

impl Agent for Introduced {
    fn handle_input(&mut self, now: Now, input: AgentInput<'_>) {
        self.said |= input == AgentInput::Stop;
        self.agent.handle_input(now, input);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.agent.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<AgentOutput> {
        if std::mem::replace(&mut self.said, true) {
            return self.agent.poll_output();
        }
        Some(AgentOutput::Event(AgentEvent::Hello { tracks: true }))
    }

    fn poll_timeout(&self) -> Option<Now> {
        self.agent.poll_timeout()
    }
}

fn folder(path: PathBuf) -> Result<PathBuf, String> {
    if path.is_dir() {
        Ok(path)
    } else {
        Err(format!("dir: {} is not a folder", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_options_are_read() {
        assert!(matches!(Builtin::parse("lab"), Ok(Builtin::Lab)));
        let delay = |text: &str| match Builtin::parse(text) {
            Ok(Builtin::Echo { delay }) => delay.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!(delay("echo"), 0);
        assert_eq!(delay("echo?delay_ms=250"), 250);
        assert!(matches!(
            Builtin::parse("record?dir=%2e&max_ms=1000"),
            Ok(Builtin::Record { .. })
        ));
    }

    #[test]
    fn unknown_names_and_options_are_refused() {
        for (text, expected) in [
            ("", "no built-in agent"),
            ("parrot", "\"parrot\""),
            ("lab?x=1", "no option \"x\""),
            ("echo?delay=2", "no option \"delay\""),
            ("echo?delay_ms=x", "not a number"),
            ("echo?delay_ms=10001", "above 10000"),
            ("echo?delay_ms=1&b=2", "\"b\""),
            ("echo?delay_ms=1&delay_ms=2", "twice"),
            ("record", "needs dir"),
            ("record?dir=/nonexistent", "not a folder"),
            ("flow", "needs file"),
            ("flow?file=/nonexistent.yaml", "/nonexistent.yaml: "),
        ] {
            let problem = Builtin::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
