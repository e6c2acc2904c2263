//! API keys: making them and checking them.

use std::fmt;

use argon2::{Argon2, PasswordHasher};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A new API key: what `handback secret` prints.
#[derive(Clone)]
pub struct SecretPair {
    /// For the header `asapp-api-id` and the configuration.
    pub id: String,
    /// For the header `asapp-api-secret`; to be kept by the customer only.
    pub secret: String,
    /// For the configuration: `$argon2id$…`.
    pub secret_hash: String,
}

impl fmt::Debug for SecretPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretPair")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A secret could not be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret could not be hashed")]
pub struct HashingFailed;

/// Makes an API key: an id of 12 characters, a secret of 43 (256 bits), and the secret's hash.
///
/// # Errors
/// [`HashingFailed`], when there is no memory or no randomness.
pub fn secret_pair() -> Result<SecretPair, HashingFailed> {
    let id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 9]>());
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let secret_hash = hash_secret(&secret)?;
    Ok(SecretPair {
        id,
        secret,
        secret_hash,
    })
}

/// The argon2id hash of a secret in PHC form, with a salt of its own.
///
/// # Errors
/// [`HashingFailed`], when there is no memory or no randomness.
pub fn hash_secret(secret: &str) -> Result<String, HashingFailed> {
    let hash = Argon2::default()
        .hash_password(secret.as_bytes())
        .map_err(|_| HashingFailed)?;
    Ok(hash.to_string())
}
