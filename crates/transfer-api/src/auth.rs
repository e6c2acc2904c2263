//! Who asks: API keys checked against their argon2 hashes, with the verdicts remembered.
//!
//! Argon2 is made to be dear. So it runs on the blocking pool, a few at a time and with a bounded
//! number waiting, and each (key id, hash, secret) only once: its verdict is remembered under an HMAC
//! with a key of this process. An unknown key id costs what a wrong secret costs.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::{OnceCell, Semaphore, watch};

use crate::accounts::{Account, Accounts};
use crate::failure::Failure;

const ID: &str = "asapp-api-id";
const SECRET: &str = "asapp-api-secret";
/// No id or secret of ours is longer.
const LONGEST: usize = 512;
/// Verdicts remembered of each kind; beyond, all of that kind are forgotten.
const REMEMBERED: usize = 16_384;
/// Hashes computed at once, and different secrets that may wait for theirs.
const AT_ONCE: usize = 2;
const WAITING: usize = 64;
/// Compared with for unknown key ids; no secret is known that has it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$aGFuZGJhY2stbm9ib2R5IQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

type Mark = [u8; 32];

/// Checks API keys.
pub(crate) struct Authenticator {
    accounts: watch::Receiver<Arc<Accounts>>,
    mac_key: [u8; 32],
    right: Mutex<HashSet<Mark>>,
    wrong: Mutex<HashSet<Mark>>,
    /// Secrets being hashed at this time; whoever brings the same one waits for the same verdict.
    pending: Mutex<HashMap<Mark, Arc<OnceCell<bool>>>>,
    bench: Semaphore,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub account: Arc<Account>,
    pub key_id: String,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

impl Authenticator {
    pub(crate) fn new(accounts: watch::Receiver<Arc<Accounts>>) -> Self {
        Self {
            accounts,
            mac_key: rand::random(),
            right: Mutex::default(),
            wrong: Mutex::default(),
            pending: Mutex::default(),
            bench: Semaphore::new(AT_ONCE),
        }
    }

    /// The account that a request's headers prove.
    pub(crate) async fn check(&self, headers: &HeaderMap) -> Result<Asker, Failure> {
        let (Some(id), Some(secret)) = (single(headers, ID), single(headers, SECRET)) else {
            return Err(Failure::Unauthorized);
        };
        let found = self.accounts.borrow().find(id);
        let hash = found
            .as_ref()
            .map_or_else(|| Arc::from(NOBODY), |(_, hash)| Arc::clone(hash));
        let verified = self.verify(id, secret, hash).await?;
        match found {
            Some((account, _)) if verified => {
                if !account.enabled {
                    return Err(Failure::Disabled);
                }
                Ok(Asker {
                    account,
                    key_id: id.to_owned(),
                })
            }
            Some(_) | None => Err(Failure::Unauthorized),
        }
    }

    async fn verify(&self, id: &str, secret: &str, hash: Arc<str>) -> Result<bool, Failure> {
        let mark = self.mark(id, secret, &hash);
        if let Some(verdict) = self.remembered(&mark) {
            return Ok(verdict);
        }
        let waiting = self.wait_for(mark)?;
        let hashing = async || {
            let _seat = self.bench.acquire().await.map_err(|_| Failure::Internal)?;
            let secret = secret.to_owned();
            let verdict = tokio::task::spawn_blocking(move || matches(&secret, &hash)).await;
            verdict.map_err(|_| Failure::Internal)
        };
        let verdict = *waiting.verdict.get_or_try_init(hashing).await?;
        self.remember(mark, verdict);
        Ok(verdict)
    }

    /// A place among those who wait; [`Failure::Busy`] when too many different secrets do.
    fn wait_for(&self, mark: Mark) -> Result<Waiting<'_>, Failure> {
        let mut pending = held(&self.pending);
        if pending.len() >= WAITING && !pending.contains_key(&mark) {
            return Err(Failure::Busy);
        }
        let verdict = Arc::clone(pending.entry(mark).or_default());
        Ok(Waiting {
            authenticator: self,
            mark,
            verdict,
        })
    }

    /// The hash is part of it, so that a reload with another hash asks anew.
    fn mark(&self, id: &str, secret: &str, hash: &str) -> Mark {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.mac_key) else {
            return rand::random();
        };
        for part in [id, secret, hash] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    fn remembered(&self, mark: &Mark) -> Option<bool> {
        if held(&self.right).contains(mark) {
            return Some(true);
        }
        held(&self.wrong).contains(mark).then_some(false)
    }

    fn remember(&self, mark: Mark, verdict: bool) {
        let marks = if verdict { &self.right } else { &self.wrong };
        let mut marks = held(marks);
        if marks.len() >= REMEMBERED {
            marks.clear();
        }
        marks.insert(mark);
    }
}

/// Somebody who waits for a verdict; the last one to leave clears up.
struct Waiting<'a> {
    authenticator: &'a Authenticator,
    mark: Mark,
    verdict: Arc<OnceCell<bool>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut pending = held(&self.authenticator.pending);
        if Arc::strong_count(&self.verdict) <= 2 {
            pending.remove(&self.mark);
        }
    }
}

/// No holder can panic half way through a change.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a header that is there once, in visible ASCII, and not overlong.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && !value.is_empty() && value.len() <= LONGEST).then_some(value)
}

/// Argon2 itself compares in constant time.
fn matches(secret: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(secret.as_bytes(), &hash)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_that_stands_for_nobody_is_computed_like_any_other() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(hash.salt.map(|salt| salt.len()), Some(16));
        assert_eq!(hash.hash.map(|output| output.len()), Some(32));
        assert!(!matches("", NOBODY));
    }
}
