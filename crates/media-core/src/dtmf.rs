//! Telephone events (RFC 4733): digits in and out.

use crate::rtp::Packet;
use std::collections::VecDeque;
use std::time::Duration;
use timebase::Now;

/// Events 0 to 15.
const DIGITS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];
/// An event without its end is over when nothing more came for this long.
const OVERDUE: Duration = Duration::from_millis(200);
/// Digits that wait to be sent; more are dropped.
const MAX_QUEUE: usize = 128;
/// Slots of 20 ms between two digits.
const GAP: u32 = 4;
/// Slots of 20 ms of one `,`.
const PAUSE: u32 = 25;
/// Times that the end of an event is sent (RFC 4733 §2.5.1.4).
const ENDS: u8 = 3;
/// Power of the events that we send, in -dBm0.
const VOLUME: u8 = 10;

/// A digit that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digit {
    pub(crate) digit: char,
    pub(crate) duration_ms: u32,
}

/// Makes one digit of the packets of one event.
#[derive(Debug, Default)]
pub(crate) struct DigitReceiver {
    current: Option<Event>,
    /// The timestamp of the last event reported.
    reported: Option<u32>,
}

/// An event under way.
#[derive(Debug)]
struct Event {
    code: u8,
    timestamp: u32,
    /// Samples of segments before this one (RFC 4733 §2.5.1.3).
    before: u32,
    duration: u16,
    seen: Now,
}

impl Event {
    fn digit(&self) -> Option<Digit> {
        let digit = *DIGITS.get(usize::from(self.code))?;
        Some(Digit {
            digit,
            duration_ms: (self.before + u32::from(self.duration)) / 8,
        })
    }

    /// Whether an event at `timestamp` is this one's next segment.
    fn goes_on_at(&self, code: u8, timestamp: u32) -> bool {
        self.code == code
            && self.duration == u16::MAX
            && timestamp == self.timestamp.wrapping_add(0xFFFF)
    }
}

impl DigitReceiver {
    /// Takes an event packet; gives the digit that is over with it.
    pub(crate) fn take(&mut self, now: Now, packet: &Packet<'_>) -> Option<Digit> {
        let &[code, flags, high, low, ..] = packet.payload else {
            return None;
        };
        let duration = u16::from_be_bytes([high, low]);
        let timestamp = packet.timestamp;
        let old = self.is_old(timestamp);
        let finished = match &mut self.current {
            Some(event) if event.timestamp == timestamp => {
                event.duration = event.duration.max(duration);
                event.seen = now;
                None
            }
            _ if old => return None,
            Some(event) if event.goes_on_at(code, timestamp) => {
                event.before = event.before.saturating_add(0xFFFF);
                (event.timestamp, event.duration, event.seen) = (timestamp, duration, now);
                None
            }
            Some(_) | None => {
                let finished = self.finish();
                self.current = Some(Event {
                    code,
                    timestamp,
                    before: 0,
                    duration,
                    seen: now,
                });
                finished
            }
        };
        let ended = if flags & 0x80 == 0 {
            None
        } else {
            self.finish()
        };
        // Both only when a lost end is followed by an event in one packet: the older is the one not to lose.
        finished.or(ended)
    }

    /// The event under way, when its end is overdue.
    pub(crate) fn overdue(&mut self, now: Now) -> Option<Digit> {
        let event = self.current.as_ref()?;
        if now.since(event.seen) < OVERDUE {
            None
        } else {
            self.finish()
        }
    }

    fn finish(&mut self) -> Option<Digit> {
        let event = self.current.take()?;
        self.reported = Some(event.timestamp);
        event.digit()
    }

    /// Whether this is a straggler of an event that was reported, or of one before it.
    fn is_old(&self, timestamp: u32) -> bool {
        let newest = self
            .current
            .as_ref()
            .map(|event| event.timestamp)
            .or(self.reported);
        newest.is_some_and(|newest| {
            (-80_000..=0).contains(&timestamp.wrapping_sub(newest).cast_signed())
        })
    }
}

/// What to send in a slot instead of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventPacket {
    pub(crate) payload: [u8; 4],
    /// The event's first packet: marker on, and the timestamp of now becomes the event's.
    pub(crate) first: bool,
    /// The last packet of the event.
    pub(crate) last: bool,
}

/// Sends digits, one packet per slot.
#[derive(Debug, Default)]
pub(crate) struct DigitSender {
    queue: VecDeque<(char, u16)>,
    state: Sending,
}

#[derive(Debug, Default)]
enum Sending {
    #[default]
    Idle,
    /// Audio flows between digits.
    Resting { slots: u32 },
    /// Durations in samples.
    Event {
        code: u8,
        total: u16,
        sent: u16,
        ends: u8,
    },
}

impl DigitSender {
    /// Queues digits; unknown characters are skipped.
    pub(crate) fn queue(&mut self, digits: &str, duration_ms: u32) {
        let slots = duration_ms.clamp(40, 8_000).div_ceil(20);
        let samples = u16::try_from(slots * 160).unwrap_or(u16::MAX);
        let room = MAX_QUEUE.saturating_sub(self.queue.len());
        let known = digits.chars().map(|digit| digit.to_ascii_uppercase());
        let known = known.filter(|digit| *digit == ',' || DIGITS.contains(digit));
        self.queue
            .extend(known.take(room).map(|digit| (digit, samples)));
    }

    /// Forgets everything, as when the leg has lost its events.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.state = Sending::Idle;
    }

    /// The event packet of this slot, if a digit is being sent.
    pub(crate) fn next_slot(&mut self) -> Option<EventPacket> {
        match self.state {
            Sending::Idle => self.begin(),
            Sending::Resting { slots: 0 | 1 } => {
                self.state = Sending::Idle;
                None
            }
            Sending::Resting { slots } => {
                self.state = Sending::Resting { slots: slots - 1 };
                None
            }
            Sending::Event {
                code,
                total,
                sent,
                ends,
            } => Some(self.step(code, total, sent, ends)),
        }
    }

    fn begin(&mut self) -> Option<EventPacket> {
        let (digit, total) = self.queue.pop_front()?;
        let Some(code) = DIGITS.iter().position(|known| *known == digit) else {
            self.state = Sending::Resting { slots: PAUSE };
            return None;
        };
        let code = u8::try_from(code).unwrap_or(0);
        Some(self.step(code, total, 0, 0))
    }

    fn step(&mut self, code: u8, total: u16, sent: u16, ends: u8) -> EventPacket {
        let now = sent.saturating_add(160).min(total);
        let ending = now == total;
        let ends = ends + u8::from(ending);
        let last = ends == ENDS;
        self.state = if last {
            Sending::Resting { slots: GAP }
        } else {
            Sending::Event {
                code,
                total,
                sent: now,
                ends,
            }
        };
        let [high, low] = now.to_be_bytes();
        EventPacket {
            payload: [code, u8::from(ending) << 7 | VOLUME, high, low],
            first: sent == 0,
            last,
        }
    }
}

#[cfg(test)]
mod tests;
