//! `handback lint`: a recording of hook messages against the protocol, and the protocol's schemas.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_hook::lint::Linter;
use agent_hook::wire::schemas;
use clap::Args;
use serde_json::{Map, Value};

use super::{FAILED, Paint, say, say_error};

/// The longest line: a message of the largest size, and what stands around it.
const LONGEST_LINE: usize = 5 * 1024 * 1024;

/// Arguments of `handback lint`.
#[derive(Debug, Args)]
pub(super) struct Lint {
    /// One message a line, as it was on the wire or as handback call --log writes it; - is the standard input
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Print the JSON Schemas of all messages instead
    #[arg(long)]
    schema: bool,
}

impl Lint {
    pub(super) fn run(self) -> ExitCode {
        if self.schema {
            let schemas: Map<String, Value> = schemas()
                .into_iter()
                .map(|(name, schema)| (name.to_owned(), schema))
                .collect();
            say(&format!("{:#}", Value::Object(schemas)));
            return ExitCode::SUCCESS;
        }
        let file = self.file.unwrap_or_default();
        match lint(&file) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(FAILED),
            Err(error) => {
                say_error(&format!("{}: {error}", file.display()));
                ExitCode::from(FAILED)
            }
        }
    }
}

/// Prints what is wrong; whether nothing is.
fn lint(file: &Path) -> io::Result<bool> {
    let name = file.display();
    let mut reader: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file)?))
    };
    let mut linter = Linter::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = io::Read::take(&mut reader, LONGEST_LINE as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if read == LONGEST_LINE {
            return Err(io::Error::other("a line is longer than 5 MiB"));
        }
        linter.line(&String::from_utf8_lossy(&line));
    }
    let (messages, findings) = linter.finish();
    for finding in &findings {
        say(&format!("{name}:{finding}"));
    }
    let paint = Paint::for_stdout();
    let verdict = match findings.len() {
        0 if messages == 0 => {
            say_error(&format!("{name}: no messages"));
            return Ok(false);
        }
        0 => paint.green("nothing to object to"),
        count => paint.red(&format!("{count} deviations")),
    };
    say(&format!("{name}: {messages} messages, {verdict}"));
    Ok(findings.is_empty())
}
