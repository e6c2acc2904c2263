//! What was said and heard, on one timeline.

use std::path::Path;

use audio_codec_algorithms::decode_ulaw;
use hound::{SampleFormat, WavSpec, WavWriter};

use crate::wav::{self, RATE, WavError};

/// The most audio kept: ten minutes of µ-law.
const LONGEST: usize = 600 * RATE as usize;

/// Both sides of a call.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    said: Vec<u8>,
    heard: Vec<u8>,
}

impl Recording {
    /// Adds 20 ms of both sides.
    pub fn add(&mut self, said: &[u8], heard: &[u8]) {
        if self.heard.len() < LONGEST {
            self.said.extend_from_slice(said);
            self.heard.extend_from_slice(heard);
        }
    }

    /// Writes what the caller heard.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_heard(&self, path: &Path) -> Result<(), WavError> {
        wav::write(path, &self.heard)
    }

    /// Writes what the caller said on the left and heard on the right.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_stereo(&self, path: &Path) -> Result<(), WavError> {
        let spec = WavSpec {
            channels: 2,
            sample_rate: RATE,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut writer = WavWriter::create(path, spec)?;
        for (said, heard) in self.said.iter().zip(&self.heard) {
            writer.write_sample(decode_ulaw(*said))?;
            writer.write_sample(decode_ulaw(*heard))?;
        }
        Ok(writer.finalize()?)
    }
}
