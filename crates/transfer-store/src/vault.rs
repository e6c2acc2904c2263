//! Return credentials at rest: XChaCha20-Poly1305 with a random nonce, bound to the transfer they belong to.

use std::fmt;

use zeroize::Zeroizing;

/// The key that credentials are encrypted with. Debug shows nothing of it.
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; 32]>);

impl EncryptionKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A key from a file's content: 32 raw bytes, or 64 hexadecimal digits and white space around them.
    #[must_use]
    pub fn from_content(content: &[u8]) -> Option<Self> {
        if let Ok(raw) = <[u8; 32]>::try_from(content) {
            return Some(Self::new(raw));
        }
        let text = std::str::from_utf8(content).ok()?.trim();
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(hidden)")
    }
}
