//! A caller who begins to speak while the agent does, noticed here: for agents that do not listen for it
//! themselves.

use agent_hook::Ear;

/// This much voice is somebody who speaks.
const SPEAKS_MS: u32 = 200;
/// A pause that belongs to a voice that is not certain yet.
const GAP_MS: u32 = 200;
/// This much silence is the end of it.
const ENDS_MS: u32 = 500;
/// A frame.
const FRAME_MS: u32 = 20;

/// What is done when the caller begins to speak while the agent does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BargeIn {
    /// Nothing: agents do it themselves.
    #[default]
    Off,
    /// The agent is heard softer until the caller has spoken.
    Duck,
    /// What the agent has queued is not played any more; its marks come back as not played.
    Clear,
}

/// Whether the caller began or ceased to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Begins,
    Ends,
}

/// Listens to the caller.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) wanted: BargeIn,
    ear: Ear,
    speaks: Speaks,
}

/// How long there has been a voice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Speaks {
    voice_ms: u32,
    silence_ms: u32,
    certain: bool,
}

impl Listener {
    /// For what is wanted; none when that is nothing.
    pub(crate) fn new(wanted: BargeIn) -> Option<Self> {
        let listener = Self {
            wanted,
            ear: Ear::new(),
            speaks: Speaks::default(),
        };
        (wanted != BargeIn::Off).then_some(listener)
    }

    /// Takes the caller's next 20 ms, µ-law.
    pub(crate) fn hears(&mut self, frame: &[u8]) -> Option<Turn> {
        let voice = self.ear.hears(frame);
        self.speaks.goes_on(voice)
    }
}

impl Speaks {
    fn goes_on(&mut self, voice: bool) -> Option<Turn> {
        if voice {
            self.voice_ms += FRAME_MS;
            self.silence_ms = 0;
        } else {
            self.silence_ms += FRAME_MS;
        }
        match self.certain {
            false if self.voice_ms >= SPEAKS_MS => {
                self.certain = true;
                Some(Turn::Begins)
            }
            false => {
                if self.silence_ms > GAP_MS {
                    *self = Self::default();
                }
                None
            }
            true if self.silence_ms >= ENDS_MS => {
                *self = Self::default();
                Some(Turn::Ends)
            }
            true => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(sounds: &[(u32, bool)]) -> Vec<(u32, Turn)> {
        let mut speaks = Speaks::default();
        let mut at = 0;
        let mut turns = Vec::new();
        for (ms, voice) in sounds {
            for _ in 0..ms / FRAME_MS {
                at += FRAME_MS;
                turns.extend(speaks.goes_on(*voice).map(|turn| (at, turn)));
            }
        }
        turns
    }

    #[test]
    fn two_tenths_of_a_second_of_voice_begin_a_turn_and_half_a_second_of_silence_ends_it() {
        let heard = turns(&[
            (1000, false),
            (300, true),
            (400, false),
            (200, true),
            (600, false),
        ]);
        assert_eq!(heard, [(1200, Turn::Begins), (2400, Turn::Ends)]);
    }

    #[test]
    fn cough_is_no_turn() {
        assert_eq!(
            turns(&[(160, true), (300, false), (160, true), (900, false)]),
            []
        );
    }
}
