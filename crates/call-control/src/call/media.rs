//! News of the media.

use media_core::Side;
use sip_core::Response;
use timebase::Now;

use super::Call;
use crate::io::MediaSaid;
use crate::outcome::Outcome;

impl Call {
    pub(super) fn media_said(&mut self, now: Now, said: MediaSaid) {
        match said {
            MediaSaid::Opened {
                side: Side::Caller,
                address,
            } => {
                if self.is_restoring() {
                    return self.restore_session(address);
                }
                self.caller.media = Some(self.facts.caller_leg(address));
                self.offer_early();
                self.answer_when_ready(now);
            }
            MediaSaid::NoPort { side: Side::Caller } if self.is_restoring() => {
                self.restored(now, false);
            }
            MediaSaid::NoPort { side: Side::Caller } => {
                let refusal = Response::new(503).with_header("Retry-After", "1");
                self.undo(now, refusal, Outcome::Refused(503));
            }
            MediaSaid::Opened {
                side: Side::Target,
                address,
            } => self.target_port(now, address),
            MediaSaid::NoPort { side: Side::Target } => self.no_target_port(now),
            MediaSaid::Drained => self.drained(now),
            MediaSaid::Pressed {
                side,
                key,
                duration_ms,
            } => self.key_pressed(side, key, duration_ms),
            MediaSaid::Silent { side } => self.media_silent(now, side),
            MediaSaid::Heard(still) => self.heard(now, still),
        }
    }
}
