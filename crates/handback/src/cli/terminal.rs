//! The terminal: lines out, and colour where it is wanted.

use std::io::{IsTerminal, Write, stderr, stdout};

/// Prints a line. A reader that has gone away is no reason to stop.
pub fn say(line: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a line to the standard error.
pub fn say_error(line: &str) {
    let _ = writeln!(stderr().lock(), "{line}");
}

/// Whether colour is wanted: a terminal, and no `NO_COLOR` (<https://no-color.org>).
fn colour(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

pub(super) fn errors_have_colour() -> bool {
    colour(stderr().is_terminal())
}

/// Gives text colour, or leaves it.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colour if the standard output is a terminal that wants it.
    #[must_use]
    pub fn for_stdout() -> Self {
        Self {
            on: colour(stdout().is_terminal()),
        }
    }

    /// No colour.
    #[must_use]
    pub const fn plain() -> Self {
        Self { on: false }
    }

    /// Colour in any case.
    #[must_use]
    pub const fn always() -> Self {
        Self { on: true }
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Bold.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    /// In the background.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    /// Good.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.code("32", text)
    }

    /// Bad.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.code("1;31", text)
    }

    /// In between.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.code("33", text)
    }

    /// Of note.
    #[must_use]
    pub fn cyan(self, text: &str) -> String {
        self.code("36", text)
    }
}
