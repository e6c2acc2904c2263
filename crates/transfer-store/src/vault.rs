//! Return credentials at rest: XChaCha20-Poly1305 with a random nonce, bound to the transfer they belong to.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Sealed texts begin with it, so that another cipher can follow.
const VERSION: &str = "x1.";
const NONCE: usize = 24;

/// The key that credentials are encrypted with. Debug shows nothing of it.
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; 32]>);

impl EncryptionKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A key from a file's content: 32 raw bytes, or 64 hexadecimal digits with white space around them.
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

    /// The key in the file beside the database; makes it once, readable by its owner only, if `may_create`.
    pub(crate) fn beside(database: &Path, may_create: bool) -> Result<Self, String> {
        let mut name = database.as_os_str().to_owned();
        name.push(".key");
        let path = PathBuf::from(name);
        let said = |problem: &dyn fmt::Display| format!("{}: {problem}", path.display());
        match read(&path) {
            Ok(content) => {
                Self::from_content(&content).ok_or_else(|| said(&"not a key of 32 bytes"))
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound && may_create => {
                let key = Self::new(rand::random());
                create(&path, key.0.as_slice()).map_err(|problem| said(&problem))?;
                Ok(key)
            }
            Err(problem) => Err(said(&problem)),
        }
    }

    /// Encrypts a text; it can be opened only with the same `context`.
    pub(crate) fn seal(&self, text: &[u8], context: &[u8]) -> Option<String> {
        let nonce: [u8; NONCE] = rand::random();
        let sealed = self
            .cipher()
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: text,
                    aad: context,
                },
            )
            .ok()?;
        Some(format!(
            "{VERSION}{}",
            BASE64.encode([nonce.as_slice(), &sealed].concat())
        ))
    }

    /// The text that was sealed, if with this key and context.
    pub(crate) fn open(&self, sealed: &str, context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = BASE64.decode(sealed.strip_prefix(VERSION)?).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        self.cipher()
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: context,
                },
            )
            .ok()
            .map(Zeroizing::new)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.0).into())
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(hidden)")
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::new());
    File::open(path)?.take(1024).read_to_end(&mut content)?;
    Ok(content)
}

/// The key must outlive the machine's crash as surely as what is sealed with it: file and folder are synced.
fn create(path: &Path, key: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key)?;
    file.sync_all()?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_only_with_its_key_and_context() {
        let key = EncryptionKey::new([7; 32]);
        let sealed = key.seal(b"s3cret", b"acme/1").unwrap();
        assert!(!sealed.contains("s3cret"));
        assert_eq!(key.open(&sealed, b"acme/1").unwrap().as_slice(), b"s3cret");
        assert!(key.open(&sealed, b"acme/2").is_none());
        assert!(
            EncryptionKey::new([8; 32])
                .open(&sealed, b"acme/1")
                .is_none()
        );
    }

    #[test]
    fn the_same_text_is_sealed_differently_each_time() {
        let key = EncryptionKey::new([7; 32]);
        assert_ne!(key.seal(b"s3cret", b""), key.seal(b"s3cret", b""));
    }

    #[test]
    fn a_key_is_read_from_raw_bytes_or_hexadecimal_digits() {
        let raw = EncryptionKey::from_content(&[0xab; 32]).unwrap();
        let hex = EncryptionKey::from_content(format!("{}\n", "aB".repeat(32)).as_bytes()).unwrap();
        assert_eq!(raw.0, hex.0);
        assert!(EncryptionKey::from_content(b"short").is_none());
        assert!(EncryptionKey::from_content("zz".repeat(32).as_bytes()).is_none());
    }

    #[test]
    fn a_key_does_not_show_in_debug_output() {
        assert_eq!(
            format!("{:?}", EncryptionKey::new([1; 32])),
            "EncryptionKey(hidden)"
        );
    }
}
