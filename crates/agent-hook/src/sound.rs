//! WAV files as telephone audio: µ-law at 8 kHz, one channel, resampled where they are something else.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_ulaw};
use bytes::Bytes;
use hound::{SampleFormat, WavReader};
use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft, FixedSync, Resampler as _};

/// The sampling rate of the telephone.
const RATE: u32 = 8000;

/// The longest audio that is read: ten minutes.
const LONGEST_S: u64 = 600;

/// The largest file that is read.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Format tags of a WAV file's `fmt` chunk.
const ALAW: u16 = 6;
const MULAW: u16 = 7;

/// Frames that the resampler takes at once.
const CHUNK: usize = 1024;

/// Why a file is no audio for a telephone.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// It cannot be read.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// It is no WAV file, or one of an unknown form.
    #[error("{0}")]
    Form(String),
    /// It is longer than ten minutes.
    #[error("is longer than ten minutes")]
    TooLong,
}

/// Reads a WAV file of any rate and number of channels, PCM, float, µ-law or A-law, as µ-law at
/// 8 kHz, one channel.
///
/// # Errors
/// When it cannot be read, is no WAV file, or is longer than ten minutes.
pub fn read_wav(path: &Path) -> Result<Bytes, SoundError> {
    if fs::metadata(path)?.len() > LARGEST {
        return Err(SoundError::TooLong);
    }
    decode_wav(&fs::read(path)?)
}

/// As [`read_wav`], from memory.
///
/// # Errors
/// As there.
pub fn decode_wav(file: &[u8]) -> Result<Bytes, SoundError> {
    let sound = match coded(file) {
        Some(sound) => sound,
        None => pcm(file)?,
    };
    if sound.samples.len() as u64 > LONGEST_S * u64::from(sound.rate) * u64::from(sound.channels) {
        return Err(SoundError::TooLong);
    }
    let mono = mix(sound.samples, usize::from(sound.channels));
    let samples = if sound.rate == RATE {
        mono
    } else {
        resample(mono, sound.rate)?
    };
    Ok(samples
        .into_iter()
        .map(|sample| encode_ulaw((sample * 32_768.0).clamp(-32_768.0, 32_767.0) as i16))
        .collect())
}

/// Samples between −1 and 1, interleaved.
struct Sound {
    rate: u32,
    channels: u16,
    samples: Vec<f32>,
}

/// A file of µ-law or A-law, if it is one; the general reader does not know these.
fn coded(file: &[u8]) -> Option<Sound> {
    let format = chunk(file, b"fmt ")?;
    let (tag, rest) = format.split_first_chunk::<2>()?;
    let (channels, rest) = rest.split_first_chunk::<2>()?;
    let rate = u32::from_le_bytes(*rest.first_chunk::<4>()?);
    let channels = u16::from_le_bytes(*channels);
    let decode = match u16::from_le_bytes(*tag) {
        ALAW => decode_alaw,
        MULAW => decode_ulaw,
        _ => return None,
    };
    if channels == 0 || rate == 0 {
        return None;
    }
    let samples = chunk(file, b"data")?
        .iter()
        .map(|byte| f32::from(decode(*byte)) / 32_768.0)
        .collect();
    Some(Sound {
        rate,
        channels,
        samples,
    })
}

fn pcm(file: &[u8]) -> Result<Sound, SoundError> {
    let form = |error: hound::Error| SoundError::Form(error.to_string());
    let mut reader = WavReader::new(Cursor::new(file)).map_err(form)?;
    let spec = reader.spec();
    if spec.sample_rate == 0 || spec.channels == 0 {
        return Err(SoundError::Form("has no samples a second".to_owned()));
    }
    let samples: Result<Vec<f32>, hound::Error> = match spec.sample_format {
        SampleFormat::Float => reader.samples::<f32>().collect(),
        SampleFormat::Int => {
            let full = 2_f32.powi(i32::from(spec.bits_per_sample) - 1);
            reader
                .samples::<i32>()
                .map(|sample| sample.map(|sample| sample as f32 / full))
                .collect()
        }
    };
    Ok(Sound {
        rate: spec.sample_rate,
        channels: spec.channels,
        samples: samples.map_err(form)?,
    })
}

fn mix(samples: Vec<f32>, channels: usize) -> Vec<f32> {
    if channels == 1 {
        return samples;
    }
    samples
        .chunks_exact(channels)
        .map(|frame| frame.iter().sum::<f32>() / channels as f32)
        .collect()
}

fn resample(samples: Vec<f32>, rate: u32) -> Result<Vec<f32>, SoundError> {
    let form = |error: String| SoundError::Form(format!("cannot be resampled: {error}"));
    if samples.is_empty() {
        return Ok(samples);
    }
    let length = samples.len();
    let input =
        InterleavedOwned::new_from(samples, 1, length).map_err(|error| form(error.to_string()))?;
    let mut resampler = Fft::<f32>::new(rate as usize, RATE as usize, CHUNK, 1, FixedSync::Both)
        .map_err(|error| form(error.to_string()))?;
    let output = resampler
        .process_all(&input, length, None)
        .map_err(|error| form(error.to_string()))?;
    Ok(output.take_data())
}

/// A chunk of a RIFF WAVE file; one that is cut short is given as far as it goes.
pub(crate) fn chunk<'a>(file: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = file
        .strip_prefix(b"RIFF")?
        .get(4..)?
        .strip_prefix(b"WAVE")?;
    loop {
        let (name, after) = rest.split_at_checked(4)?;
        let (size, after) = after.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        if name == wanted {
            return Some(&after[..size.min(after.len())]);
        }
        rest = after.get(size + size % 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hound::{WavSpec, WavWriter};

    fn tone(rate: u32, channels: u16, bits: u16) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let spec = WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: bits,
            sample_format: SampleFormat::Int,
        };
        let mut writer = WavWriter::new(&mut file, spec).unwrap();
        for n in 0..rate {
            let sample = (n as f32 / rate as f32 * 440.0 * std::f32::consts::TAU).sin() * 0.5;
            for _ in 0..channels {
                writer
                    .write_sample((sample * 2_f32.powi(i32::from(bits) - 1)) as i32)
                    .unwrap();
            }
        }
        writer.finalize().unwrap();
        file.into_inner()
    }

    /// How strong 440 Hz is in a second of sound, and what else there is, both of full scale.
    fn parts(ulaw: &[u8]) -> (f32, f32) {
        let samples = ulaw[400..7600]
            .iter()
            .map(|byte| f32::from(decode_ulaw(*byte)) / 32_768.0);
        let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
        for (n, sample) in samples.enumerate() {
            let angle = n as f32 / 8000.0 * 440.0 * std::f32::consts::TAU;
            sine += sample * angle.sin() / 3600.0;
            cosine += sample * angle.cos() / 3600.0;
            power += sample * sample / 7200.0;
        }
        let tone = sine.hypot(cosine);
        (tone, (power - tone * tone / 2.0).max(0.0).sqrt())
    }

    #[test]
    fn every_rate_gives_the_same_second_of_telephone_audio() {
        for (rate, channels, bits) in [
            (8000, 1, 16),
            (8000, 2, 16),
            (16_000, 1, 16),
            (44_100, 2, 24),
            (48_000, 1, 32),
            (11_025, 1, 16),
        ] {
            let heard = decode_wav(&tone(rate, channels, bits)).unwrap();
            assert!(
                heard.len().abs_diff(8000) <= 8,
                "{rate}: {} samples",
                heard.len()
            );
            let (tone, rest) = parts(&heard);
            assert!(
                (tone - 0.5).abs() < 0.01 && rest < 0.01,
                "{rate}: {tone} and {rest}"
            );
        }
    }

    #[test]
    fn mulaw_files_are_taken_byte_for_byte() {
        let file = include_bytes!("../assets/one_moment.wav");
        let samples = decode_wav(file).unwrap();
        let data = chunk(file, b"data").unwrap();
        let differing = samples
            .iter()
            .zip(data)
            .filter(|(a, b)| a != b && **b != 0x7f)
            .count();
        assert_eq!((samples.len(), differing), (data.len(), 0));
    }

    #[test]
    fn what_is_no_sound_is_refused() {
        for bad in [&b""[..], b"RIFF", b"not a wave file at all"] {
            assert!(matches!(decode_wav(bad), Err(SoundError::Form(_))));
        }
        assert!(matches!(
            read_wav(Path::new("/nonexistent.wav")),
            Err(SoundError::File(_))
        ));
    }
}
