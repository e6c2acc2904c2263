//! Reads TOML tables key by key: each key once, each problem noted with its full path, nothing fatal.
//!
//! A derived reader would stop at the first unknown key or wrong type; an operator wants all of them at once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::ops::RangeInclusive;

use toml::{Table, Value};

use super::words::Word;
use super::{ConfigError, Secret};

/// What came up while reading: errors, warnings, and which keys the environment gave.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<ConfigError>>,
    inline_passwords: RefCell<Vec<String>>,
    /// Keys whose value is text of the environment, to be read as the type that the key has.
    pub(super) from_environment: HashSet<String>,
}

impl Findings {
    pub(super) fn error(&self, key: impl Into<String>, problem: impl Into<String>) {
        self.errors.borrow_mut().push(ConfigError {
            key: key.into(),
            problem: problem.into(),
        });
    }

    pub(super) fn warning(&self, key: impl Into<String>, problem: impl Into<String>) {
        self.warnings.borrow_mut().push(ConfigError {
            key: key.into(),
            problem: problem.into(),
        });
    }

    /// The keys of passwords that stand in the file itself.
    pub(super) fn inline_passwords(&self) -> Vec<String> {
        self.inline_passwords.borrow().clone()
    }

    pub(super) fn into_parts(self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }
}

/// One table of the configuration while it is read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    given: Table,
    known: Vec<String>,
    resolved: Table,
    findings: &'a Findings,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(given: Table, findings: &'a Findings) -> Self {
        Self::at(String::new(), given, findings)
    }

    fn at(path: String, given: Table, findings: &'a Findings) -> Self {
        Self {
            path,
            given,
            known: Vec::new(),
            resolved: Table::new(),
            findings,
        }
    }

    /// The full path of a key of this table.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Notes a problem with a key of this table.
    pub(super) fn error(&self, key: &str, problem: impl Into<String>) {
        self.findings.error(self.key(key), problem);
    }

    /// Notes something about a key that does not stand in the way.
    pub(super) fn warning(&self, key: &str, problem: impl Into<String>) {
        self.findings.warning(self.key(key), problem);
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.given.remove(key)
    }

    fn wrong_type(&self, key: &str, wanted: &str, found: &Value) {
        self.error(key, format!("must be {wanted}, is {}", found.type_str()));
    }

    fn is_from_environment(&self, key: &str) -> bool {
        self.findings.from_environment.contains(&self.key(key))
    }

    fn resolve(&mut self, key: &str, value: impl Into<Value>) {
        self.resolved.insert(key.to_owned(), value.into());
    }

    /// A text.
    pub(super) fn text(&mut self, key: &str, default: &str) -> String {
        let text = match self.take(key) {
            Some(Value::String(text)) => text,
            Some(other) => {
                self.wrong_type(key, "a string", &other);
                default.to_owned()
            }
            None => default.to_owned(),
        };
        self.resolve(key, text.clone());
        text
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, key: &str) -> String {
        let missing = !self.given.contains_key(key);
        let text = self.text(key, "");
        if missing {
            self.error(key, "is required");
        } else if text.is_empty() {
            self.error(key, "must not be empty");
        }
        text
    }

    /// A text, of which the empty one means none.
    pub(super) fn optional(&mut self, key: &str) -> Option<String> {
        Some(self.text(key, "")).filter(|text| !text.is_empty())
    }

    /// A text with a meaning of its own.
    pub(super) fn word<T: Word>(&mut self, key: &str, default: T) -> T {
        let text = self.text(key, &default.show());
        T::read(&text).unwrap_or_else(|problem| {
            self.error(key, problem);
            default
        })
    }

    /// A text with a meaning of its own, of which the empty one means none.
    pub(super) fn optional_word<T: Word>(&mut self, key: &str) -> Option<T> {
        let text = self.optional(key)?;
        T::read(&text)
            .map_err(|problem| self.error(key, problem))
            .ok()
    }

    /// A list of texts, each with a meaning of its own.
    pub(super) fn words<T: Word>(&mut self, key: &str, default: &[T]) -> Vec<T> {
        let Some(items) = self.items(key) else {
            let shown: Vec<Value> = default
                .iter()
                .map(|word| Value::String(word.show()))
                .collect();
            self.resolve(key, shown);
            return default
                .iter()
                .map(|word| T::read(&word.show()))
                .filter_map(Result::ok)
                .collect();
        };
        let mut words = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let read = match item.as_str() {
                Some(text) => T::read(text),
                None => Err(format!("must be a string, is {}", item.type_str())),
            };
            match read {
                Ok(word) => words.push(word),
                Err(problem) => self.error(&format!("{key}[{index}]"), problem),
            }
        }
        self.resolve(key, items);
        words
    }

    /// One text, or a list of texts, each with a meaning of its own; the empty text is none.
    pub(super) fn one_or_more<T: Word>(&mut self, key: &str, default: &[T]) -> Vec<T> {
        let one = match self.given.get(key) {
            Some(Value::String(text)) if !self.is_from_environment(key) => Some(text.clone()),
            Some(_) => None,
            None if default.len() < 2 => Some(default.first().map_or_else(String::new, T::show)),
            None => None,
        };
        match one {
            None => self.words(key, default),
            Some(text) => {
                self.take(key);
                self.resolve(key, text.clone());
                if text.is_empty() {
                    return Vec::new();
                }
                let read = T::read(&text).map_err(|problem| self.error(key, problem));
                read.ok().into_iter().collect()
            }
        }
    }

    /// The content of a file, of which the empty name means none.
    pub(super) fn file(&mut self, key: &str) -> Option<Vec<u8>> {
        let path = self.optional(key)?;
        fs::read(&path)
            .map_err(|error| self.error(key, format!("{path} cannot be read: {error}")))
            .ok()
    }

    /// A list of texts that must not be empty; `nothing` says what is missing then.
    pub(super) fn some_words<T: Word>(
        &mut self,
        key: &str,
        default: &[T],
        nothing: &str,
    ) -> Vec<T> {
        let is_empty = self
            .given
            .get(key)
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty);
        if is_empty {
            self.error(key, nothing);
        }
        self.words(key, default)
    }

    fn items(&mut self, key: &str) -> Option<Vec<Value>> {
        let from_environment = self.is_from_environment(key);
        let value = self.take(key)?;
        if let Value::Array(items) = value {
            return Some(items);
        }
        let Some(text) = value.as_str().filter(|_| from_environment) else {
            self.wrong_type(key, "a list", &value);
            return None;
        };
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        Some(items.map(|item| Value::String(item.to_owned())).collect())
    }

    /// One text or a list of texts; with neither, the default. The empty text is none.
    pub(super) fn texts(&mut self, key: &str, default: &str) -> Vec<String> {
        let one =
            matches!(self.given.get(key), Some(Value::String(text)) if !text.starts_with('['));
        if one || !self.given.contains_key(key) {
            let text = self.text(key, default);
            return Some(text)
                .filter(|text| !text.is_empty())
                .into_iter()
                .collect();
        }
        self.words(key, &[])
    }

    /// A whole number.
    pub(super) fn number(&mut self, key: &str, default: u32, allowed: RangeInclusive<u32>) -> u32 {
        let from_environment = self.is_from_environment(key);
        let given = match self.take(key) {
            None => Some(i64::from(default)),
            Some(Value::Integer(number)) => Some(number),
            Some(Value::String(text)) if from_environment => text.trim().parse().ok(),
            Some(other) => {
                self.wrong_type(key, "a whole number", &other);
                Some(i64::from(default))
            }
        };
        let number = given
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| allowed.contains(number));
        if number.is_none() {
            self.error(
                key,
                format!(
                    "must be a whole number from {} to {}",
                    allowed.start(),
                    allowed.end()
                ),
            );
        }
        let number = number.unwrap_or(default);
        self.resolve(key, i64::from(number));
        number
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        let from_environment = self.is_from_environment(key);
        let flag = match self.take(key) {
            None => default,
            Some(Value::Boolean(flag)) => flag,
            Some(Value::String(text)) if from_environment && text == "true" => true,
            Some(Value::String(text)) if from_environment && text == "false" => false,
            Some(other) => {
                self.error(key, format!("must be true or false, is {other}"));
                default
            }
        };
        self.resolve(key, flag);
        flag
    }

    /// A secret: in the file that `<key>_file` names, or as `<key>` itself; empty when its problem is noted already.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        let file_key = format!("{key}_file");
        let from_environment = self.is_from_environment(key);
        let file = self.optional(&file_key);
        let inline = match self.take(key) {
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(other) => {
                self.wrong_type(key, "a string", &other);
                None
            }
            None => None,
        };
        if inline.is_some() {
            self.resolve(key, "***");
            if !from_environment {
                self.findings
                    .inline_passwords
                    .borrow_mut()
                    .push(self.key(key));
            }
        }
        match (file, inline) {
            (Some(_), Some(_)) => {
                self.error(
                    key,
                    format!("stands beside {file_key}: only one of the two may be set"),
                );
                Some(Secret::new(String::new()))
            }
            (Some(path), None) => Some(Secret::new(self.read_secret(&file_key, &path))),
            (None, Some(text)) => Some(Secret::new(text)),
            (None, None) => None,
        }
    }

    fn read_secret(&self, file_key: &str, path: &str) -> String {
        let text = fs::read_to_string(path).unwrap_or_else(|error| {
            self.error(file_key, format!("{path} cannot be read: {error}"));
            String::new()
        });
        let text = text.trim_end();
        if text.is_empty() && fs::metadata(path).is_ok() {
            self.error(file_key, format!("{path} is empty"));
        }
        text.to_owned()
    }

    /// A table below this one, read by `read`; absent is empty.
    pub(super) fn table<T>(&mut self, key: &str, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let given = match self.take(key) {
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.wrong_type(key, "a table", &other);
                Table::new()
            }
            None => Table::new(),
        };
        let mut section = Section::at(self.key(key), given, self.findings);
        let value = read(&mut section);
        let resolved = section.finish();
        self.resolve(key, resolved);
        value
    }

    /// A table whose keys are somebody else's.
    pub(super) fn any_table(&mut self, key: &str) -> Table {
        let table = match self.take(key) {
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.wrong_type(key, "a table", &other);
                Table::new()
            }
            None => Table::new(),
        };
        self.resolve(key, table.clone());
        table
    }

    /// A list of tables below this one, each read by `read`.
    pub(super) fn tables<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Section<'a>) -> T,
    ) -> Vec<T> {
        let items = match self.take(key) {
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.wrong_type(key, "a list of tables", &other);
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let mut values = Vec::with_capacity(items.len());
        let mut resolved = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{key}[{index}]");
            let Value::Table(given) = item else {
                self.wrong_type(&path, "a table", &item);
                continue;
            };
            let mut section = Section::at(self.key(&path), given, self.findings);
            values.push(read(&mut section));
            resolved.push(Value::Table(section.finish()));
        }
        self.resolve(key, resolved);
        values
    }

    /// Notes the keys that nobody asked for; gives back what was read, defaults filled in.
    pub(super) fn finish(self) -> Table {
        for key in self.given.keys() {
            let near = self.known.iter().find(|known| distance(known, key) <= 2);
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            self.error(key, format!("unknown key{hint}"));
        }
        self.resolved
    }
}

/// How many letters have to change for one word to become the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
