//! Tags, branches, Call-IDs and other values that nobody can guess (RFC 3261 §19.3, §8.1.1.7).
//!
//! All of them come from one seed: block after block of HMAC-SHA256(key, counter), handed out in
//! small pieces, so that one endpoint with one seed is one reproducible story.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::transaction::MAGIC_COOKIE;

type HmacSha256 = Hmac<Sha256>;

/// Letters and digits of 32 values: every byte of a block gives one, its upper bits unused.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Length of the part of our branches by which we know them, beyond the magic cookie.
const NODE_LEN: usize = 8;

/// The generator of one endpoint's identifiers.
pub struct Ids {
    key: Zeroizing<[u8; 32]>,
    node: String,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ids")
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}

impl Ids {
    /// A generator; whoever knows the seed knows all that it will give.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let key = Zeroizing::new(seed);
        let node = letters(&mac(&key, "node", &[])[..NODE_LEN]);
        Self {
            key,
            node,
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    /// A tag for From or To: 80 bits.
    pub fn tag(&mut self) -> String {
        let mut tag = String::with_capacity(16);
        self.push(&mut tag, 16);
        tag
    }

    /// A branch: the magic cookie, this endpoint's token, 80 bits.
    pub fn branch(&mut self) -> String {
        let mut branch = String::with_capacity(MAGIC_COOKIE.len() + NODE_LEN + 16);
        branch.push_str("z9hG4bK");
        branch.push_str(&self.node);
        self.push(&mut branch, 16);
        branch
    }

    /// Whether a branch is one of this endpoint's: a Via with it has been here before.
    #[must_use]
    pub fn is_own_branch(&self, branch: &[u8]) -> bool {
        branch
            .strip_prefix(MAGIC_COOKIE)
            .is_some_and(|rest| rest.starts_with(self.node.as_bytes()))
    }

    /// A Call-ID: 120 bits, without a host part.
    pub fn call_id(&mut self) -> String {
        let mut call_id = String::with_capacity(24);
        self.push(&mut call_id, 24);
        call_id
    }

    /// A client nonce for digest, RFC 7616 §3.4: 80 bits.
    pub fn cnonce(&mut self) -> String {
        self.tag()
    }

    /// A number, for the origin of a CSeq or of an SDP session.
    pub fn number(&mut self) -> u32 {
        let mut number = [0; 4];
        number.fill_with(|| self.byte());
        u32::from_le_bytes(number)
    }

    /// The To tag of a response that leaves no state behind: the same for the same request
    /// (RFC 3261 §8.2.7). `identity` is what tells requests apart: Call-ID, From tag, CSeq, branch.
    #[must_use]
    pub fn keyed_tag(&self, identity: &[&[u8]]) -> String {
        letters(&mac(&self.key, "tag", identity)[..16])
    }

    /// A secret for a purpose, always the same: the key of nonces, the seed of a table.
    #[must_use]
    pub fn secret(&self, purpose: &str) -> [u8; 32] {
        mac(&self.key, "secret", &[purpose.as_bytes()])
    }

    fn push(&mut self, text: &mut String, letters: usize) {
        for _ in 0..letters {
            text.push(letter(self.byte()));
        }
    }

    fn byte(&mut self) -> u8 {
        if self.used == self.block.len() {
            self.block = mac(&self.key, "id", &[&self.counter.to_le_bytes()]);
            self.counter += 1;
            self.used = 0;
        }
        let byte = self.block[self.used];
        self.used += 1;
        byte
    }
}

fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| letter(*byte)).collect()
}

fn letter(byte: u8) -> char {
    char::from(ALPHABET[usize::from(byte & 31)])
}

/// HMAC-SHA256 over a label and parts, each behind its length.
pub(crate) fn mac(key: &[u8; 32], label: &str, parts: &[&[u8]]) -> [u8; 32] {
    // HMAC fills a shorter key up with zeros to its block of 64 bytes.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = HmacSha256::new((&*block).into());
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn one_seed_is_one_sequence_and_another_seed_another() {
        let all = |seed: u8| {
            let mut ids = Ids::new([seed; 32]);
            (ids.tag(), ids.branch(), ids.call_id(), ids.number())
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn nothing_is_given_twice() {
        let mut ids = Ids::new([9; 32]);
        let given: HashSet<String> = (0..10_000)
            .flat_map(|_| [ids.tag(), ids.branch(), ids.call_id()])
            .collect();
        assert_eq!(given.len(), 30_000);
    }

    #[test]
    fn identifiers_are_tokens_of_the_promised_length() {
        let mut ids = Ids::new([9; 32]);
        let (tag, branch, call_id) = (ids.tag(), ids.branch(), ids.call_id());
        assert_eq!((tag.len(), branch.len(), call_id.len()), (16, 31, 24));
        let all = format!("{tag}{branch}{call_id}");
        assert!(
            all.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{all}"
        );
    }

    #[test]
    fn own_branches_are_known_and_those_of_another_node_are_not() {
        let (mut ours, mut theirs) = (Ids::new([1; 32]), Ids::new([2; 32]));
        let own = ours.branch();
        assert!(ours.is_own_branch(own.as_bytes()));
        for foreign in [theirs.branch().as_str(), "z9hG4bK", "z9hG4bKabc", "", "abc"] {
            assert!(!ours.is_own_branch(foreign.as_bytes()), "{foreign}");
        }
    }

    #[test]
    fn keyed_tag_depends_on_each_part_and_on_nothing_else() {
        let mut ids = Ids::new([1; 32]);
        let tag = ids.keyed_tag(&[b"call", b"from"]);
        ids.tag();
        assert_eq!(ids.keyed_tag(&[b"call", b"from"]), tag);
        assert_ne!(ids.keyed_tag(&[b"callf", b"rom"]), tag);
        assert_ne!(ids.keyed_tag(&[b"call", b"from", b""]), tag);
        assert_ne!(Ids::new([2; 32]).keyed_tag(&[b"call", b"from"]), tag);
        assert_ne!(ids.secret("a"), ids.secret("b"));
    }
}
