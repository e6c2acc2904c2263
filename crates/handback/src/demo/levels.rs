//! Audio as a row of small bars.

use crate::wav;

/// Between silence and loud, from the bottom up.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The level of the lowest bar's upper end, and how many dB each further bar is.
const FLOOR_DB: f32 = -32.0;
const STEP_DB: f32 = 3.0;

/// A bar for each `stretch` of samples, at most `width` of them.
#[must_use]
pub fn bars(ulaw: &[u8], stretch: usize, width: usize) -> String {
    wav::levels(ulaw, stretch)
        .into_iter()
        .take(width)
        .map(bar)
        .collect()
}

fn bar(level: f32) -> char {
    let above = ((level - FLOOR_DB) / STEP_DB).ceil().clamp(0.0, 7.0);
    BARS[above as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loud_is_high_and_silence_low() {
        let audio = [[0xff_u8; 800], [0x80; 800]].concat();
        assert_eq!(bars(&audio, 800, 10), "▁█");
        assert_eq!(bars(&audio, 800, 1), "▁");
        assert_eq!(bars(&[], 800, 10), "");
    }
}
