//! Keys: those that come by INFO go the way of all keys, and a leg that takes no telephone events
//! gets its keys by INFO.

use media_core::Side;
use sip_core::Command;

use super::{Call, State};
use crate::io::MediaRequest;
use crate::media_leg::MediaLeg;

/// The length of a key whose peer tells none.
const USUAL_MS: u32 = 160;

impl Call {
    /// A key by INFO.
    pub(super) fn pressed(&mut self, side: Side, key: char, duration_ms: Option<u32>) {
        let duration_ms = duration_ms.unwrap_or(USUAL_MS);
        self.media(MediaRequest::Pressed {
            side,
            key,
            duration_ms,
        });
    }

    /// A key, by whatever way it came: between bridged legs it goes to the other one.
    pub(super) fn key_pressed(&mut self, by: Side, key: char, duration_ms: u32) {
        let bridged =
            matches!(&self.state, State::HandingBack(hand_back) if hand_back.is_bridged());
        if bridged {
            let other = match by {
                Side::Caller => Side::Target,
                Side::Target => Side::Caller,
            };
            self.press(other, key, duration_ms);
        }
    }

    /// Keys of the agent for the caller.
    pub(super) fn agent_presses(&mut self, keys: &str, duration_ms: u32) {
        if matches!(self.state, State::WithAgent(_)) {
            for key in keys.chars().filter(|key| *key != ',') {
                self.press(Side::Caller, key, duration_ms);
            }
        }
    }

    /// By INFO, where the leg has agreed on no telephone events; the media plane sends those.
    fn press(&mut self, side: Side, key: char, duration_ms: u32) {
        let Some((leg, media)) = self.leg_media(side) else {
            return;
        };
        let takes_events = media.media().is_some_and(|media| media.dtmf.is_some());
        if !takes_events && MediaLeg::agreement(media).is_some() {
            self.command(leg, Command::Press { key, duration_ms });
        }
    }
}
