//! G.711 (ITU-T G.711): silence, conversion between the laws, gain.

use crate::{Codec, FRAME, Frame};
use audio_codec_algorithms::{
    convert_alaw_to_ulaw, convert_ulaw_to_alaw, decode_alaw, decode_ulaw, encode_alaw, encode_ulaw,
};

impl Codec {
    /// The byte of digital silence.
    #[must_use]
    pub const fn silence(self) -> u8 {
        match self {
            Self::Pcmu => 0xFF,
            Self::Pcma => 0xD5,
        }
    }

    pub(crate) fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Pcmu => decode_ulaw(byte),
            Self::Pcma => decode_alaw(byte),
        }
    }

    pub(crate) fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Pcmu => encode_ulaw(sample),
            Self::Pcma => encode_alaw(sample),
        }
    }
}

/// One frame in the law of the leg it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audio {
    pub(crate) codec: Codec,
    pub(crate) frame: Frame,
}

impl Audio {
    /// A frame of digital silence.
    pub(crate) const fn silence(codec: Codec) -> Self {
        Self {
            codec,
            frame: [codec.silence(); FRAME],
        }
    }

    /// A frame of the agent's or of a tone.
    pub(crate) const fn ulaw(frame: Frame) -> Self {
        Self {
            codec: Codec::Pcmu,
            frame,
        }
    }

    /// The frame in another law; the same bytes if the law is the same.
    pub(crate) fn to(self, codec: Codec) -> Frame {
        match (self.codec, codec) {
            (Codec::Pcmu, Codec::Pcmu) | (Codec::Pcma, Codec::Pcma) => self.frame,
            (Codec::Pcmu, Codec::Pcma) => self.frame.map(convert_ulaw_to_alaw),
            (Codec::Pcma, Codec::Pcmu) => self.frame.map(alaw_to_ulaw),
        }
    }
}

/// A-law has no zero; its two smallest values, which are its silence, become that of µ-law.
fn alaw_to_ulaw(byte: u8) -> u8 {
    match byte {
        0xD5 => 0xFF,
        0x55 => 0x7F,
        byte => convert_alaw_to_ulaw(byte),
    }
}

/// The mean amplitude of a frame, in units of a 16-bit sample.
pub(crate) fn loudness(codec: Codec, frame: &Frame) -> u32 {
    let amplitudes = frame.iter().map(|byte| codec.decode(*byte).unsigned_abs());
    amplitudes.map(u32::from).sum::<u32>() / FRAME as u32
}

/// A frame of µ-law 12 dB softer.
pub(crate) fn softer(frame: Frame) -> Frame {
    frame.map(|byte| ulaw(Codec::Pcmu.decode(byte) / 4))
}

/// A linear sample as µ-law.
pub(crate) fn ulaw(sample: i16) -> u8 {
    Codec::Pcmu.encode(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softer_is_a_quarter_of_the_amplitude() {
        let loud = [ulaw(8000); FRAME];
        let sample = Codec::Pcmu.decode(softer(loud)[0]);
        assert!((1900..2100).contains(&sample), "{sample}");
        assert_eq!(softer([0xFF; FRAME]), [0xFF; FRAME]);
    }

    #[test]
    fn silence_of_one_law_is_silence_of_the_other() {
        assert_eq!(Audio::silence(Codec::Pcmu).to(Codec::Pcma), [0xD5; FRAME]);
        assert_eq!(Audio::silence(Codec::Pcma).to(Codec::Pcmu), [0xFF; FRAME]);
    }
}
