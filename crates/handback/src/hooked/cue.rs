//! What a caller does, and when: `a.wav@after-silence:800`, `b.wav@play:1500ms`, `12#@3s`.

use std::str::FromStr;
use std::time::Duration;

/// The longest time in a cue.
const LONGEST: Duration = Duration::from_secs(3600);

/// When something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after the stream began.
    At(Duration),
    /// When the agent was heard and has then been silent for so long.
    AfterSilence(Duration),
    /// When so much of what the agent is saying was heard.
    Play(Duration),
}

/// Something, and when it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// A file or keys.
    pub what: String,
    /// When.
    pub when: Moment,
}

/// What is wrong with a cue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CueError {
    /// There is no `@`, or nothing before it.
    #[error("{0:?} is not WHAT@WHEN, where WHEN is 3s, after-silence:800ms or play:1500ms")]
    Form(String),
    /// The time is none.
    #[error("{0:?} is no time: it is written 1500ms or 1.5s")]
    Time(String),
}

impl FromStr for Cue {
    type Err = CueError;

    fn from_str(text: &str) -> Result<Self, CueError> {
        let form = || CueError::Form(text.to_owned());
        let (what, when) = text.rsplit_once('@').ok_or_else(form)?;
        if what.is_empty() {
            return Err(form());
        }
        let when = match when.split_once(':') {
            Some(("after-silence", time)) => Moment::AfterSilence(time_of(time)?),
            Some(("play", time)) => Moment::Play(time_of(time)?),
            Some(_) => return Err(form()),
            None => Moment::At(time_of(when)?),
        };
        let what = what.to_owned();
        Ok(Self { what, when })
    }
}

/// A time as `1500ms`, `1.5s`, or milliseconds without a unit.
///
/// # Errors
/// When it is none of these, or longer than an hour.
pub(crate) fn time_of(text: &str) -> Result<Duration, CueError> {
    let (number, unit) = if let Some(number) = text.strip_suffix("ms") {
        (number, 0.001)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1.0)
    } else {
        (text, 0.001)
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * unit).ok())
        .filter(|time| *time <= LONGEST)
        .ok_or_else(|| CueError::Time(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_of_the_specification_are_read() {
        let ms = Duration::from_millis;
        for (text, what, when) in [
            (
                "a.wav@after-silence:800",
                "a.wav",
                Moment::AfterSilence(ms(800)),
            ),
            ("b.wav@play:1500ms", "b.wav", Moment::Play(ms(1500))),
            ("12#@3s", "12#", Moment::At(ms(3000))),
            ("a@b.wav@0.5s", "a@b.wav", Moment::At(ms(500))),
        ] {
            let what = what.to_owned();
            assert_eq!(text.parse(), Ok(Cue { what, when }), "{text}");
        }
    }

    #[test]
    fn cues_without_a_moment_are_refused() {
        for text in [
            "",
            "a.wav",
            "@3s",
            "a.wav@",
            "a.wav@soon",
            "a.wav@when:3s",
            "a.wav@-1s",
            "a.wav@9999s",
        ] {
            assert!(text.parse::<Cue>().is_err(), "{text}");
        }
    }
}
