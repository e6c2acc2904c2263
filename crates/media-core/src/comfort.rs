//! What a caller hears when nobody speaks who should: a prompt, then comfort noise.

use crate::{FRAME, Frame};
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

#[cfg(test)]
mod tests {
    use super::*;

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
