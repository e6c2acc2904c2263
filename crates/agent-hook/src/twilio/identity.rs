//! The names of a call in Twilio's form.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use call_control::transfer::AccountId;

use crate::facts::CallFacts;

/// `MZ`, `CA` and `AC` with 32 hexadecimal digits each. A new stream for the same call keeps the
/// callSid, and all calls of an account share its accountSid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(super) stream_sid: String,
    pub(super) call_sid: String,
    pub(super) account_sid: String,
}

impl Identity {
    /// The names for a new stream of a call.
    pub(crate) fn new(facts: &CallFacts) -> Self {
        Self {
            stream_sid: format!("MZ{:032x}", rand::random::<u128>()),
            call_sid: call_sid(&facts.call),
            account_sid: account_sid(&facts.account),
        }
    }
}

/// The callSid of a call of ours: `CA` and 32 hexadecimal digits.
#[must_use]
pub fn call_sid(call: &str) -> String {
    derived("CA", call)
}

/// The accountSid of an account: `AC` and 32 hexadecimal digits.
#[must_use]
pub fn account_sid(account: &AccountId) -> String {
    derived("AC", account.as_str())
}

fn derived(prefix: &str, name: &str) -> String {
    let digest = Sha256::new()
        .chain_update(prefix)
        .chain_update(name)
        .finalize();
    let mut sid = prefix.to_owned();
    for byte in digest.iter().take(16) {
        let _ = write!(sid, "{byte:02x}");
    }
    sid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::facts;

    #[test]
    fn sids_are_a_prefix_and_32_hexadecimal_digits() {
        let identity = Identity::new(&facts());
        for (sid, prefix) in [
            (&identity.stream_sid, "MZ"),
            (&identity.call_sid, "CA"),
            (&identity.account_sid, "AC"),
        ] {
            assert!(sid.starts_with(prefix) && sid.len() == 34, "{sid}");
            assert!(
                sid[2..]
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
                "{sid}"
            );
        }
    }

    #[test]
    fn second_stream_of_a_call_differs_in_its_stream_sid_only() {
        let (first, second) = (Identity::new(&facts()), Identity::new(&facts()));
        assert_ne!(first.stream_sid, second.stream_sid);
        assert_eq!(
            (first.call_sid, first.account_sid),
            (second.call_sid, second.account_sid)
        );
    }
}
