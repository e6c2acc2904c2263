//! Accounts and their API keys, as a snapshot that a reload replaces whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use argon2::PasswordHash;
use call_control::transfer::{AccountId, ReturnType};
use thiserror::Error;

use crate::targets::TargetRules;

/// An account, as far as the API is concerned with it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Whether it may use the API; if not, its keys are answered 403.
    pub enabled: bool,
    /// How its calls are handed back unless a transfer says otherwise.
    pub default_return: ReturnType,
    /// Whether one of its trunks calls telephone numbers, so that a return URI may be one (tel:).
    pub calls_numbers: bool,
    /// Where its calls may be handed back to.
    pub targets: TargetRules,
    /// Its API keys.
    pub api_keys: Vec<ApiKey>,
}

/// An API key as configured: the secret is known only by its hash.
#[derive(Clone)]
pub struct ApiKey {
    /// The value of `asapp-api-id`.
    pub id: String,
    /// The argon2 hash of `asapp-api-secret` in PHC form, `$argon2id$…`.
    pub secret_hash: String,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why accounts cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccountsError {
    /// Two keys have the same id, in one account or in two.
    #[error("API key id {0:?} is there twice")]
    KeyTwice(String),
    /// A hash is not one of argon2's.
    #[error("API key {0:?}: secret_hash is not an argon2 hash ($argon2id$…)")]
    Hash(String),
}

/// All accounts, found by API key.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    by_key: HashMap<String, (Arc<Account>, Arc<str>)>,
}

impl Accounts {
    /// A snapshot of these accounts.
    ///
    /// # Errors
    /// [`AccountsError`], naming the key that is wrong.
    pub fn new(accounts: impl IntoIterator<Item = Account>) -> Result<Self, AccountsError> {
        let mut by_key = HashMap::new();
        for account in accounts {
            let account = Arc::new(account);
            for key in &account.api_keys {
                let argon2 = PasswordHash::new(&key.secret_hash)
                    .is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"));
                if !argon2 {
                    return Err(AccountsError::Hash(key.id.clone()));
                }
                let entry = (Arc::clone(&account), Arc::from(key.secret_hash.as_str()));
                if by_key.insert(key.id.clone(), entry).is_some() {
                    return Err(AccountsError::KeyTwice(key.id.clone()));
                }
            }
        }
        Ok(Self { by_key })
    }

    /// The account of a key, and the hash of the key's secret.
    pub(crate) fn find(&self, key_id: &str) -> Option<(Arc<Account>, Arc<str>)> {
        self.by_key.get(key_id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{hash_secret, secret_pair};

    fn account(keys: &[(&str, &str)]) -> Account {
        Account {
            id: AccountId::from("acme"),
            enabled: true,
            default_return: ReturnType::Bye,
            calls_numbers: false,
            targets: TargetRules::default(),
            api_keys: keys
                .iter()
                .map(|(id, hash)| ApiKey {
                    id: (*id).to_owned(),
                    secret_hash: (*hash).to_owned(),
                })
                .collect(),
        }
    }

    #[test]
    fn a_key_id_that_is_there_twice_is_refused() {
        let hash = hash_secret("x").unwrap();
        let twice = Accounts::new([account(&[("a", &hash)]), account(&[("a", &hash)])]);
        assert_eq!(twice.unwrap_err(), AccountsError::KeyTwice("a".to_owned()));
    }

    #[test]
    fn a_hash_that_is_not_one_is_refused() {
        for hash in ["", "secret", "$2b$12$abcdefghijklmnopqrstuv"] {
            let wrong = Accounts::new([account(&[("a", hash)])]);
            assert_eq!(
                wrong.unwrap_err(),
                AccountsError::Hash("a".to_owned()),
                "{hash:?}"
            );
        }
    }

    #[test]
    fn a_new_secret_pair_is_usable_and_its_secret_and_hash_are_not_shown() {
        let pair = secret_pair().unwrap();
        assert!(pair.secret_hash.starts_with("$argon2id$v=19$"));
        assert_eq!((pair.id.len(), pair.secret.len()), (12, 43));
        let account = account(&[(&pair.id, &pair.secret_hash)]);
        let shown = format!("{pair:?} {account:?}");
        assert!(
            !shown.contains(&pair.secret) && !shown.contains("argon2"),
            "{shown}"
        );
        assert!(Accounts::new([account]).is_ok());
        assert_ne!(secret_pair().unwrap().secret, pair.secret);
    }
}
