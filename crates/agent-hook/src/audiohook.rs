//! The client side of Genesys AudioHook, version 2, as its Audio Connector speaks it: JSON in text
//! messages, audio in binary ones, µ-law at 8 kHz, mono or interleaved stereo.

mod context;
mod session;
mod sign;
mod words;

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

pub(crate) use session::AudioHookWire;

/// What AudioHook wants besides the URL.
#[derive(Clone, Default)]
pub struct AudioHookConfig {
    /// `audiohook-organization-id`; empty: derived from the account.
    pub organization: String,
    /// `x-api-key`.
    pub api_key: String,
    /// The key of the signature, decoded; without one nothing is signed.
    pub client_secret: Option<Vec<u8>>,
    /// Offer both channels, external and internal, before the external one alone.
    pub stereo: bool,
    /// The conversation's language; empty: not told.
    pub language: String,
}

impl std::fmt::Debug for AudioHookConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioHookConfig")
            .field("organization", &self.organization)
            .field("stereo", &self.stereo)
            .finish_non_exhaustive()
    }
}

/// A session that is over, as the next one of the same call names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Continued {
    pub(crate) id: String,
    pub(crate) serverseq: u64,
    pub(crate) clientseq: u64,
}

/// The AudioHook sessions that a call has had; empty for calls with other agents.
#[derive(Clone, Debug, Default)]
pub struct SessionLog(Arc<Mutex<Vec<Continued>>>);

/// Sessions that are remembered.
const MOST_CONTINUED: usize = 32;

impl SessionLog {
    fn add(&self, session: Continued) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() < MOST_CONTINUED {
            sessions.push(session);
        }
    }

    fn all(&self) -> Vec<Continued> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
