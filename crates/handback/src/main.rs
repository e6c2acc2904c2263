//! `handback`: see [`handback::cli`].

use std::process::ExitCode;

/// Gives memory back to the system when a burst of calls, or of key checks, is over.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    handback::cli::main()
}
