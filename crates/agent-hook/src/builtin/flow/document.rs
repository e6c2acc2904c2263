//! A flow as it stands in its file: YAML with the place of everything that can be wrong.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// A word and where it stands.
pub(super) type Word = Spanned<String>;

/// The whole file.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) version: Spanned<u64>,
    pub(super) start: Word,
    #[serde(default)]
    pub(super) prompts: Prompts,
    pub(super) states: Spanned<Ordered<State>>,
}

/// Where prompts come from.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prompts {
    /// The folder of the WAV files, beside the flow's file unless absolute.
    pub(super) dir: Option<String>,
    /// `flite VOICE` or `espeak-ng VOICE`.
    pub(super) voice: Option<Word>,
    /// Another program and its arguments, with `{text}` and `{file}` in them.
    pub(super) command: Option<Spanned<Vec<String>>>,
    /// Where rendered texts are kept.
    pub(super) cache: Option<String>,
}

/// One state.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) set: Option<Ordered<Value>>,
    pub(super) say: Option<Spanned<Say>>,
    pub(super) bargein: Option<Spanned<Vec<Means>>>,
    pub(super) collect: Option<Spanned<Collect>>,
    pub(super) on: Option<Ordered<Action>>,
    pub(super) next: Option<Word>,
    pub(super) complete: Option<Complete>,
}

/// How a caller makes himself noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Means {
    Dtmf,
    Speech,
}

/// What a state waits for.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Collect {
    pub(super) dtmf: Option<Spanned<Digits>>,
    pub(super) speech: Option<Spanned<Speech>>,
    pub(super) into: Option<Word>,
}

/// A sequence of keys.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Digits {
    pub(super) min: Option<u64>,
    pub(super) max: Option<u64>,
    pub(super) end: Option<Word>,
    pub(super) inter_digit_ms: Option<u64>,
    pub(super) timeout_ms: Option<u64>,
}

/// That somebody speaks.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Speech {
    pub(super) min_ms: Option<u64>,
    pub(super) end_ms: Option<u64>,
    pub(super) max_ms: Option<u64>,
    pub(super) timeout_ms: Option<u64>,
}

/// What to do with an input, or without one.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Action {
    pub(super) set: Option<Ordered<Value>>,
    pub(super) say: Option<Spanned<Say>>,
    pub(super) retry: Option<Spanned<u64>>,
    pub(super) goto: Option<Word>,
    #[serde(rename = "else")]
    pub(super) otherwise: Option<Word>,
    pub(super) complete: Option<Complete>,
}

/// The result of the call.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Complete {
    pub(super) transfer_type: Word,
    pub(super) current_task_name: Option<Word>,
    pub(super) reference_variables: Option<Spanned<Map<String, Value>>>,
    pub(super) transfer_variables: Option<Spanned<Map<String, Value>>>,
}

/// A mapping in the order of the file, with the places of its keys.
#[derive(Debug)]
pub(super) struct Ordered<T>(pub(super) Vec<(Word, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

/// One prompt, or several one after the other.
#[derive(Debug)]
pub(super) struct Say(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Say {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Say;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a WAV file, a text, or a list of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<Say, E> {
                Ok(Say(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Say, A::Error> {
                let mut prompts = Vec::new();
                while let Some(prompt) = list.next_element()? {
                    prompts.push(prompt);
                }
                Ok(Say(prompts))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}
