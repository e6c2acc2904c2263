//! What a state may collect.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::super::document::{self, Word};
use super::super::program::{DigitRule, Outcome};
use super::Loader;
use crate::speech::SpeechRule;

/// The most keys in a sequence.
const MOST_KEYS: u64 = 64;

/// The longest wait for anything.
const LONGEST_MS: u64 = 600_000;

impl Loader {
    pub(super) fn digit_rule(&mut self, rule: &Spanned<document::Digits>) -> DigitRule {
        let (place, rule) = (rule.referenced, &rule.value);
        let max = rule.max.unwrap_or(MOST_KEYS);
        let min = rule.min.unwrap_or(1);
        if max == 0 || max > MOST_KEYS {
            self.note(place, format!("max must be between 1 and {MOST_KEYS}"));
        }
        if min > max {
            self.note(place, format!("min {min} is above max {max}"));
        }
        let end = rule.end.as_ref().and_then(|end| {
            let key = single_key(&end.value);
            if key.is_none() {
                self.note(
                    end.referenced,
                    format!("end must be one key, is {:?}", end.value),
                );
            }
            key
        });
        let pause = rule.inter_digit_ms.unwrap_or(3000);
        self.wait(place, "inter_digit_ms", pause);
        DigitRule {
            min: usize::try_from(min).unwrap_or(usize::MAX),
            max: usize::try_from(max).unwrap_or(usize::MAX),
            end,
            pause: Duration::from_millis(pause),
        }
    }

    pub(super) fn speech_rule(&mut self, rule: &Spanned<document::Speech>) -> SpeechRule {
        let (place, rule) = (rule.referenced, &rule.value);
        let made = SpeechRule {
            min_ms: rule.min_ms.unwrap_or(250),
            end_ms: rule.end_ms.unwrap_or(700),
            max_ms: rule.max_ms.unwrap_or(8000),
        };
        for (name, value) in [
            ("min_ms", made.min_ms),
            ("end_ms", made.end_ms),
            ("max_ms", made.max_ms),
        ] {
            self.wait(place, name, value);
        }
        if made.max_ms < made.min_ms {
            self.note(place, "max_ms is below min_ms");
        }
        made
    }

    pub(super) fn wait(&mut self, place: Location, name: &str, value: u64) {
        if value == 0 || value > LONGEST_MS {
            self.note(
                place,
                format!("{name} must be between 1 and {LONGEST_MS}, is {value}"),
            );
        }
    }

    /// What a key of `on` stands for.
    pub(super) fn outcome(
        &mut self,
        key: &Word,
        digits: Option<DigitRule>,
        speech: bool,
    ) -> Option<Outcome> {
        let name = key.value.as_str();
        let outcome = match name {
            "speech" if !speech => Err("speech is not collected here".to_owned()),
            "digits" | "invalid" if digits.is_none() => {
                Err("dtmf is not collected here".to_owned())
            }
            "speech" => Ok(Outcome::Speech),
            "digits" => Ok(Outcome::Digits),
            "invalid" => Ok(Outcome::Invalid),
            "timeout" => Ok(Outcome::Timeout),
            keys if !keys.is_empty() && keys.chars().all(is_key) => match digits {
                None => Err("dtmf is not collected here".to_owned()),
                Some(rule) if keys.len() > rule.max || keys.len() < rule.min => Err(format!(
                    "{keys:?} cannot be collected: min is {}, max is {}",
                    rule.min, rule.max
                )),
                Some(rule) if rule.end.is_some_and(|end| keys.contains(end)) => Err(format!(
                    "{keys:?} cannot be collected: it has the end key in it"
                )),
                Some(_) => Ok(Outcome::Keys(keys.to_owned())),
            },
            other => Err(format!(
                "{other:?} is none of keys, digits, speech, timeout, invalid"
            )),
        };
        outcome
            .map_err(|finding| self.note(key.referenced, finding))
            .ok()
    }
}

fn is_key(c: char) -> bool {
    matches!(c, '0'..='9' | '*' | '#' | 'A'..='D')
}

fn single_key(text: &str) -> Option<char> {
    let mut keys = text.chars();
    let key = keys.next().filter(|key| is_key(*key))?;
    keys.next().is_none().then_some(key)
}
