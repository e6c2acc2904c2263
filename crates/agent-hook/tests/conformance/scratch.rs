//! A folder that goes with its owner.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("handback-conformance-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// µ-law as a WAV file of 8 kHz, mono.
    pub(crate) fn prompt(&self, name: &str, ulaw: &[u8]) -> PathBuf {
        let mut file = b"RIFF".to_vec();
        let length = u32::try_from(ulaw.len()).unwrap();
        file.extend((36 + length).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0\x07\0\x01\0");
        file.extend(8000_u32.to_le_bytes());
        file.extend(8000_u32.to_le_bytes());
        file.extend(b"\x01\0\x08\0data");
        file.extend(length.to_le_bytes());
        file.extend(ulaw);
        self.write(name, file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // what cannot be removed is the system's to clean
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
