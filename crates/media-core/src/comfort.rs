//! Comfort noise: what a caller hears when nobody speaks who should, a prompt before it, and the
//! pauses of a peer that says how loud its silence is (RFC 3389).

use crate::{Codec, FRAME, Frame};
use bytes::Bytes;

/// Steps of µ-law around silence that make noise at about -65 dBm0: there is a line, and little on it.
const NOISE: [u8; 8] = [0xFF, 0xFE, 0xFD, 0xFC, 0x7F, 0x7E, 0x7D, 0x7C];

/// The prompt, and the noise behind it.
#[derive(Debug)]
pub(crate) struct ComfortSource {
    prompt: Bytes,
    noise: u32,
}

impl ComfortSource {
    /// A source that begins with the prompt, µ-law at 8 kHz; an empty one is none.
    pub(crate) const fn new(prompt: Bytes) -> Self {
        Self {
            prompt,
            noise: 0x9E37_79B9,
        }
    }

    /// The next 20 ms.
    pub(crate) fn next_frame(&mut self) -> Frame {
        let mut frame = [0; FRAME];
        let spoken = self.prompt.split_to(self.prompt.len().min(FRAME));
        let (speech, noise) = frame.split_at_mut(spoken.len());
        speech.copy_from_slice(&spoken);
        for byte in noise {
            // xorshift: noise need not be good
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 17;
            self.noise ^= self.noise << 5;
            *byte = NOISE[(self.noise % 8) as usize];
        }
        frame
    }
}

/// The noise of a peer's pauses: white, at the level that the peer tells (RFC 3389 §3.1). Its
/// spectrum, which may be left out on either side, is not followed.
#[derive(Debug)]
pub(crate) struct Noise {
    /// The largest sample; 0 is digital silence.
    amplitude: i32,
    random: u32,
}

impl Noise {
    /// No level was told.
    pub(crate) const fn new() -> Self {
        Self {
            amplitude: 0,
            random: 0x2545_F491,
        }
    }

    /// Takes the level in -dBov, 0 to 127; none is digital silence. Louder than -30 dBov is not a
    /// pause: nobody is to be startled by a broken peer.
    pub(crate) fn set(&mut self, level: Option<u8>) {
        self.amplitude = level.map_or(0, |level| {
            let level = f32::from((level & 0x7F).max(30));
            // the mean power of uniform noise is a third of its peak's
            (32_768.0 * 3.0_f32.sqrt() * 10.0_f32.powf(-level / 20.0)) as i32
        });
    }

    /// The next 20 ms.
    pub(crate) fn next_frame(&mut self, codec: Codec) -> Frame {
        if self.amplitude == 0 {
            return [codec.silence(); FRAME];
        }
        std::array::from_fn(|_| {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            let uniform = (self.random >> 16) as i32 - 32_768;
            codec.encode((uniform * self.amplitude / 32_768) as i16)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_of_a_pause_has_the_level_that_was_told() {
        for level in [40_u8, 55, 66] {
            let mut noise = Noise::new();
            noise.set(Some(level));
            let power: f64 = (0..50)
                .flat_map(|_| noise.next_frame(Codec::Pcmu))
                .map(|byte| f64::from(Codec::Pcmu.decode(byte)).powi(2))
                .sum::<f64>()
                / 8000.0;
            let measured = -10.0 * (power / 32_768.0_f64.powi(2)).log10();
            assert!(
                (measured - f64::from(level)).abs() < 1.5,
                "{level}: {measured}"
            );
        }
    }

    #[test]
    fn prompt_comes_once_and_noise_that_is_hardly_heard_follows() {
        let mut source = ComfortSource::new(Bytes::from(vec![0x20; FRAME + 10]));
        assert_eq!(source.next_frame(), [0x20; FRAME]);
        let second = source.next_frame();
        assert_eq!(second[..10], [0x20; 10]);
        let noise = source.next_frame();
        assert!(noise.iter().all(|byte| NOISE.contains(byte)));
        assert!(noise.iter().any(|byte| *byte != 0xFF), "digital silence");
    }
}
