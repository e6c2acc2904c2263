//! WAV files of telephone audio: 8 kHz mono, in memory as µ-law.

use std::io::{Cursor, Read};
use std::path::Path;

use audio_codec_algorithms::{decode_ulaw, encode_ulaw};
use bytes::Bytes;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

/// The sampling rate of the telephone.
pub const RATE: u32 = 8000;

/// The longest audio read or written: ten minutes.
const LONGEST: usize = 600 * RATE as usize;

/// What is wrong with a WAV file.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// It cannot be read or written, or is no WAV file.
    #[error("{0}")]
    File(#[from] hound::Error),
    /// It is not telephone audio.
    #[error(
        "must be 8000 Hz, mono, 16 bits a sample; is {rate} Hz, {channels} channels, {bits} bits (sox can convert it: sox IN.wav -r 8000 -c 1 -b 16 OUT.wav)"
    )]
    Form {
        /// Its samples per second.
        rate: u32,
        /// Its channels.
        channels: u16,
        /// Its bits a sample.
        bits: u16,
    },
    /// It is longer than ten minutes.
    #[error("is longer than ten minutes")]
    TooLong,
}

/// Reads a file as µ-law.
///
/// # Errors
/// When it cannot be read or is not telephone audio.
pub fn read(path: &Path) -> Result<Bytes, WavError> {
    decode(WavReader::open(path)?)
}

/// Reads the bytes of a WAV file as µ-law.
///
/// # Errors
/// When they are not telephone audio.
pub fn from_bytes(bytes: &[u8]) -> Result<Bytes, WavError> {
    decode(WavReader::new(Cursor::new(bytes))?)
}

fn decode<R: Read>(mut reader: WavReader<R>) -> Result<Bytes, WavError> {
    let spec = reader.spec();
    if spec.sample_rate != RATE
        || spec.channels != 1
        || spec.bits_per_sample != 16
        || spec.sample_format != SampleFormat::Int
    {
        return Err(WavError::Form {
            rate: spec.sample_rate,
            channels: spec.channels,
            bits: spec.bits_per_sample,
        });
    }
    if reader.len() as usize > LONGEST {
        return Err(WavError::TooLong);
    }
    let samples: Result<Vec<u8>, hound::Error> = reader
        .samples::<i16>()
        .map(|sample| sample.map(encode_ulaw))
        .collect();
    Ok(Bytes::from(samples?))
}

/// Writes µ-law audio as a file of 16-bit samples.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, ulaw: &[u8]) -> Result<(), WavError> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::create(path, spec)?;
    for &byte in ulaw {
        writer.write_sample(decode_ulaw(byte))?;
    }
    Ok(writer.finalize()?)
}

/// How loud each stretch of audio is, in dB below full scale (0 loudest, -90 and less silence).
#[must_use]
pub fn levels(ulaw: &[u8], stretch: usize) -> Vec<f32> {
    ulaw.chunks(stretch.max(1)).map(level).collect()
}

fn level(ulaw: &[u8]) -> f32 {
    let energy: f64 = ulaw
        .iter()
        .map(|&byte| f64::from(decode_ulaw(byte)).powi(2))
        .sum();
    let rms = (energy / (ulaw.len().max(1) as f64)).sqrt();
    (20.0 * (rms.max(1e-3) / 32_768.0).log10()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("handback-{}-{name}.wav", std::process::id()))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let path = file("round-trip");
        // 0x7f is a second zero of µ-law; it comes back as the first.
        let audio: Vec<u8> = (0..=255).filter(|&byte| byte != 0x7f).collect();
        write(&path, &audio).unwrap();
        let again = read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(again, audio);
    }

    #[test]
    fn another_sampling_rate_is_refused_with_the_way_out() {
        let path = file("rate");
        let spec = WavSpec {
            channels: 2,
            sample_rate: 44_100,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        WavWriter::create(&path, spec).unwrap().finalize().unwrap();
        let error = read(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(
            error.contains("is 44100 Hz, 2 channels") && error.contains("sox"),
            "{error}"
        );
    }

    #[test]
    fn something_else_is_not_taken_for_a_wav_file() {
        assert!(matches!(from_bytes(b"RIFF"), Err(WavError::File(_))));
        assert!(matches!(
            read(Path::new("/nonexistent.wav")),
            Err(WavError::File(_))
        ));
    }

    #[test]
    fn silence_is_quiet_and_speech_is_not() {
        assert!(levels(&[0xff; 160], 160)[0] < -80.0);
        assert!(levels(&[0x80; 160], 160)[0] > -1.0);
        assert_eq!(levels(&[0xff; 161], 160).len(), 2);
    }
}
