//! `handback`: see [`handback::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    handback::cli::main()
}
