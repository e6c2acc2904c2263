//! Reading a body: JSON into values, and values out of objects with the path of what is wrong.

use std::fmt;

use call_control::transfer::Variables;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::failure::Failure;

/// How `serde_json` marks a number that keeps its digits.
const NUMBER: &str = "$serde_json::private::Number";
/// How it marks text to be parsed again; a customer's key of that name would be taken for it.
const RAW: &str = "$serde_json::private::RawValue";

/// Reads a body. Numbers keep their digits, keys their order; of equal keys the last one counts.
/// Nesting deeper than 127 levels is refused.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Failure> {
    let Plain(value) = serde_json::from_slice(body)
        .map_err(|problem| Failure::Malformed(format!("the body is not JSON: {problem}")))?;
    Ok(value)
}

/// Any JSON value; like [`Value`]'s own reading, but without its re-parsing of raw text.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Variables::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name == NUMBER && map.is_empty() {
                let digits: String = entries.next_value()?;
                return digits
                    .parse::<Number>()
                    .map(Value::Number)
                    .map_err(A::Error::custom);
            }
            if name == NUMBER || name == RAW {
                return Err(A::Error::custom(format_args!(
                    "the key {name:?} is reserved"
                )));
            }
            let Plain(value) = entries.next_value()?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// An object whose fields are taken out one by one.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The path of the object with a dot at its end; empty for the body itself.
    path: &'static str,
    map: Variables,
}

impl Fields {
    /// The body's fields.
    pub(crate) fn of_body(body: Value) -> Result<Self, Failure> {
        match body {
            Value::Object(map) => Ok(Self { path: "", map }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(Failure::Malformed(
                "the body must be a JSON object".to_owned(),
            )),
        }
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<String, Failure> {
        self.optional_text(name)?
            .ok_or_else(|| self.malformed(name, "is required"))
    }

    pub(crate) fn optional_text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        match self.map.swap_remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_),
            ) => Err(self.malformed(name, "must be a string")),
        }
    }

    pub(crate) fn optional_map(&mut self, name: &str) -> Result<Option<Variables>, Failure> {
        match self.map.swap_remove(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_),
            ) => Err(self.malformed(name, "must be an object")),
        }
    }

    /// An object in this one; `path` is its own, with a dot at its end.
    pub(crate) fn optional_fields(
        &mut self,
        name: &str,
        path: &'static str,
    ) -> Result<Option<Self>, Failure> {
        Ok(self.optional_map(name)?.map(|map| Self { path, map }))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// A failure that names the field by its path.
    pub(crate) fn malformed(&self, name: &str, problem: &str) -> Failure {
        Failure::Malformed(format!("{}{name} {problem}", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        parse(text.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn values_are_kept_as_they_came() {
        for text in [
            r#"{"b":1,"a":[1.50,-0,1e+400,12345678901234567890123],"":{"x":null,"y":true}}"#,
            r#""ü 😀 \" \\ \n""#,
            "[]",
        ] {
            assert_eq!(kept(text), text);
        }
    }

    #[test]
    fn of_equal_keys_the_last_one_counts() {
        assert_eq!(kept(r#"{"a":1,"a":2}"#), r#"{"a":2}"#);
    }

    #[test]
    fn deep_nesting_is_refused_and_not_a_crash() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let deep = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
            assert!(parse(deep(100).as_bytes()).is_ok());
            assert!(parse(deep(100_000).as_bytes()).is_err());
        }
    }

    #[test]
    fn keys_that_the_parser_uses_itself_do_no_harm() {
        assert!(parse(br#"{"$serde_json::private::RawValue":"[[1]]"}"#).is_err());
        assert!(parse(br#"{"\u0024serde_json::private::RawValue":"[[1]]"}"#).is_err());
        assert!(parse(br#"{"$serde_json::private::Number":"x"}"#).is_err());
        assert!(parse(br#"{"a":1,"$serde_json::private::Number":"1"}"#).is_err());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "{}x",
            "{'a':1}",
            "\u{feff}{}",
            "[1,]",
            "NaN",
            "\"\\ud800\"",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }
}
