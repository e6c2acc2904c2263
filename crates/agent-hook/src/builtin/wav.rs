//! The prompts that are compiled in: WAV files of 8 kHz µ-law, mono.

use bytes::Bytes;

/// What the lab says first.
static GREETING: &[u8] = include_bytes!("../../assets/greeting.wav");

/// The greeting's samples.
pub(super) fn greeting() -> Bytes {
    Bytes::from_static(data_chunk(GREETING).unwrap_or_default())
}

/// The `data` chunk of a RIFF WAVE file.
fn data_chunk(file: &[u8]) -> Option<&[u8]> {
    let mut rest = file
        .strip_prefix(b"RIFF")?
        .get(4..)?
        .strip_prefix(b"WAVE")?;
    loop {
        let (name, after) = rest.split_at_checked(4)?;
        let (size, after) = after.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        if name == b"data" {
            return after.get(..size);
        }
        rest = after.get(size + size % 2..)?;
    }
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
        assert_eq!(data_chunk(file), Some(&b"xy"[..]));
        assert_eq!(data_chunk(&file[..20]), None);
    }
}
