//! The prompts that are compiled in: WAV files of 8 kHz µ-law, mono.

use bytes::Bytes;

use crate::sound::chunk;

/// What the lab says first.
static GREETING: &[u8] = include_bytes!("../../assets/greeting.wav");

/// The greeting's samples.
pub(crate) fn greeting() -> Bytes {
    Bytes::from_static(chunk(GREETING, b"data").unwrap_or_default())
}

/// Said on a line whose agent is away.
static ONE_MOMENT: &[u8] = include_bytes!("../../assets/one_moment.wav");

/// "One moment", µ-law at 8 kHz: for a caller whose agent is away.
#[must_use]
pub fn one_moment() -> Bytes {
    Bytes::from_static(chunk(ONE_MOMENT, b"data").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_is_a_few_seconds_of_speech() {
        let samples = greeting();
        assert!(
            (16_000..48_000).contains(&samples.len()),
            "{} samples",
            samples.len()
        );
    }

    #[test]
    fn chunks_before_the_data_are_passed_over() {
        let file = b"RIFF\x1e\0\0\0WAVEfact\x03\0\0\0abc\0data\x02\0\0\0xyz";
        assert_eq!(chunk(file, b"data"), Some(&b"xy"[..]));
        assert_eq!(chunk(&file[..20], b"data"), None);
    }
}
