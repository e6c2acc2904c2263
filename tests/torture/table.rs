//! Reads `verdicts.md`: the messages and what is to become of them. Included by each crate that tests one column.

use std::fs;
use std::path::{Path, PathBuf};

/// One row: the message, and the verdicts.
#[derive(Clone, Debug)]
pub struct Row {
    /// `rfc4475/name`.
    pub name: String,
    /// The message, as it goes over the wire.
    pub bytes: Vec<u8>,
    /// What the parser says.
    pub parser: String,
    /// What the endpoint answers.
    pub endpoint: String,
    /// What the gateway answers over UDP.
    pub gateway: String,
    /// What differs over a stream.
    pub stream: String,
}

/// The folder of the table, seen from a crate's folder.
#[must_use]
pub fn folder(manifest: &str) -> PathBuf {
    let root = Path::new(manifest)
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").exists());
    root.unwrap_or(Path::new(manifest)).join("tests/torture")
}

/// All rows, each with its message.
#[must_use]
pub fn rows(folder: &Path) -> Vec<Row> {
    let text = fs::read_to_string(folder.join("verdicts.md")).expect("the table");
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| row(folder, line)).collect()
}

fn row(folder: &Path, line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, _, parser, endpoint, gateway, stream, ..] = cells[..] else {
        panic!("too few cells: {line}");
    };
    let name = name.trim_matches('`').to_owned();
    let file = folder.join("messages").join(format!("{name}.sip"));
    Row {
        bytes: fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())),
        name,
        parser: parser.to_owned(),
        endpoint: endpoint.to_owned(),
        gateway: gateway.to_owned(),
        stream: stream.to_owned(),
    }
}
