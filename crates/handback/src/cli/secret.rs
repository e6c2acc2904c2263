//! `handback secret`: a new API key pair.

use std::process::ExitCode;

use super::{FAILED, say, say_error};

pub(super) fn run() -> ExitCode {
    match transfer_api::keys::secret_pair() {
        Ok(pair) => {
            say(&format!("id: {}", pair.id));
            say(&format!("secret: {}", pair.secret));
            say(&format!("secret_hash: {}", pair.secret_hash));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say_error(&error.to_string());
            ExitCode::from(FAILED)
        }
    }
}
