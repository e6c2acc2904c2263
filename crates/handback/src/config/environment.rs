//! `HANDBACK__SECTION__KEY` variables, laid over the file: `HANDBACK__SIP__REALM`, `HANDBACK__ACCOUNT__0__HOOK`.

use toml::{Table, Value};

use super::section::Findings;

const PREFIX: &str = "HANDBACK__";

/// Puts each variable of ours into the table, before anything is read from it.
pub(super) fn lay_over(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
    findings: &mut Findings,
) {
    let mut ours: Vec<(String, String)> = environment
        .into_iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ours.sort();
    for (name, text) in ours {
        let parts: Vec<String> = name[PREFIX.len()..]
            .split("__")
            .map(str::to_ascii_lowercase)
            .collect();
        let value = value_of(&text);
        let is_text = value.is_str();
        match put(table, &parts, value) {
            Some(key) if is_text => {
                findings.from_environment.insert(key);
            }
            Some(_) => {}
            None => findings.error(name, "this variable names no place in the configuration"),
        }
    }
}

/// A list or a table is written as TOML; everything else is text, read as the type that its key has.
fn value_of(text: &str) -> Value {
    if text.starts_with(['[', '{'])
        && let Ok(mut table) = format!("value = {text}").parse::<Table>()
        && let Some(value) = table.remove("value")
    {
        return value;
    }
    Value::String(text.to_owned())
}

/// Sets a key; gives its path as problems name it, or `None` if the path leads through something else than tables.
fn put(table: &mut Table, parts: &[String], value: Value) -> Option<String> {
    let (first, rest) = parts.split_first()?;
    if first.is_empty() {
        return None;
    }
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return Some(first.clone());
    }
    if let Ok(index) = rest[0].parse::<usize>() {
        let entry = table
            .entry(first.clone())
            .or_insert_with(|| Value::Array(Vec::new()));
        let items = entry.as_array_mut()?;
        if index == items.len() {
            items.push(Value::Table(Table::new()));
        }
        let item = items.get_mut(index)?.as_table_mut()?;
        return put(item, &rest[1..], value).map(|key| format!("{first}[{index}].{key}"));
    }
    let entry = table
        .entry(first.clone())
        .or_insert_with(|| Value::Table(Table::new()));
    put(entry.as_table_mut()?, rest, value).map(|key| format!("{first}.{key}"))
}
