//! What comes from one leg: sources, sequence numbers, statistics (RFC 3550 §6.4.1, appendix A).

use crate::dtmf::{Digit, DigitReceiver};
use crate::jitter::{JitterBuffer, Stored};
use crate::quality::Misses;
use crate::reports::Received;
use crate::rtp::Packet;
use crate::{Figures, LegMedia};
use std::time::Duration;
use timebase::Now;

/// The static payload type of comfort noise (RFC 3389).
const COMFORT_NOISE: u8 = 13;
/// Packets behind the newest after which one that has not come counts as missing.
const JUDGED: i32 = 32;
/// Bytes of G.711 that one packet may carry: 200 ms.
const MAX_PAYLOAD: usize = 1600;
/// A sequence number this far ahead is a new sequence (RFC 3550 A.1, MAX_DROPOUT).
const MAX_DROPOUT: i16 = 3000;
/// A source that was replaced is listened to again when its successor is silent this long.
const REPLACED: Duration = Duration::from_millis(60);

/// The receiving half of a leg.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) jitter: JitterBuffer,
    digits: DigitReceiver,
    source: Option<Source>,
    /// The source before the present one: its stragglers are not played.
    replaced: Option<u32>,
    /// Packets lost of sequences that have ended.
    lost_before: u64,
    /// RFC 3550's J, in microseconds.
    jitter_us: f32,
    misses: Misses,
}

/// One SSRC's sequence.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    first: i64,
    highest: i64,
    /// Bit n: the packet n before the highest has come.
    seen: u64,
    /// Of these, the ones that came too late.
    discarded: u64,
    /// The bit of the packet at hand.
    latest: u64,
    received: i64,
    /// The number that would confirm a jump (RFC 3550 A.1, bad_seq).
    jump: Option<u16>,
    last: Now,
    /// Arrival and timestamp of the audio packet before, for the jitter.
    transit: Option<(Now, u32)>,
}

/// Whether a sequence number is new.
enum Arrival {
    Fresh,
    Duplicate,
    /// Too far off to belong, unless the next one confirms it.
    Stray,
    /// A new sequence begins.
    Jump,
}

impl Receiver {
    /// A receiver that has heard nothing.
    pub(crate) fn new(media: &LegMedia) -> Self {
        Self {
            jitter: JitterBuffer::new(media.codec),
            digits: DigitReceiver::default(),
            source: None,
            replaced: None,
            lost_before: 0,
            jitter_us: 0.0,
            misses: Misses::default(),
        }
    }

    /// Takes a packet from the right address; gives the digit that it completes.
    pub(crate) fn take(
        &mut self,
        now: Now,
        packet: &Packet<'_>,
        media: &LegMedia,
        figures: &mut Figures,
    ) -> Option<Digit> {
        if !self.admit(now, packet, media, figures) {
            return None;
        }
        if Some(packet.payload_type) == media.dtmf {
            self.jitter.quiet(packet.timestamp, None);
            return self.digits.take(now, packet);
        }
        if packet.payload_type == media.payload_type && packet.payload.len() <= MAX_PAYLOAD {
            self.measure(now, packet.timestamp);
            if media.receive && self.jitter.put(packet.timestamp, packet.payload) == Stored::Late {
                figures.late += 1;
                self.source.as_mut().into_iter().for_each(Source::discard);
            }
        } else if packet.payload_type == COMFORT_NOISE {
            self.jitter
                .quiet(packet.timestamp, packet.payload.first().copied());
        } else {
            figures.wrong_payload += 1;
        }
        None
    }

    /// The digit whose end never came, when it is overdue.
    pub(crate) fn overdue_digit(&mut self, now: Now) -> Option<Digit> {
        self.digits.overdue(now)
    }

    /// Fills in what this half knows.
    pub(crate) fn report(&self, figures: &mut Figures) {
        figures.lost = self.lost_before + self.source.as_ref().map_or(0, Source::lost);
        figures.jitter_ms = self.jitter_us / 1000.0;
        figures.concealed = self.jitter.concealed();
        figures.discarded = self.jitter.discarded;
        figures.delay_ms = self.jitter.waits_ms();
        figures.skew_corrections = self.jitter.corrections;
    }

    /// What a report says of the present source.
    pub(crate) fn received(&self) -> Option<Received> {
        let source = self.source.as_ref()?;
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Received {
            ssrc: source.ssrc,
            highest: source.highest as u32,
            expected: count(source.highest - source.first + 1),
            received: count(source.received),
            jitter: (self.jitter_us * 0.008) as u32,
        })
    }

    /// How packets are missing.
    pub(crate) const fn misses(&self) -> &Misses {
        &self.misses
    }

    /// Follows the source and its sequence; false if the packet is not to be played.
    fn admit(
        &mut self,
        now: Now,
        packet: &Packet<'_>,
        media: &LegMedia,
        figures: &mut Figures,
    ) -> bool {
        match &mut self.source {
            Some(source) if source.ssrc == packet.ssrc => {
                source.last = now;
                match source.arrival(packet.sequence, &mut self.misses) {
                    Arrival::Fresh => true,
                    Arrival::Duplicate => {
                        figures.duplicates += 1;
                        false
                    }
                    Arrival::Stray => {
                        figures.late += 1;
                        false
                    }
                    Arrival::Jump => {
                        self.lost_before += source.lost();
                        *source = Source::new(now, packet);
                        true
                    }
                }
            }
            Some(source)
                if self.replaced == Some(packet.ssrc) && now.since(source.last) < REPLACED =>
            {
                figures.late += 1;
                false
            }
            Some(source) => {
                self.replaced = Some(source.ssrc);
                self.lost_before += source.lost();
                *source = Source::new(now, packet);
                self.jitter.reset(media.codec);
                self.digits = DigitReceiver::default();
                true
            }
            None => {
                self.source = Some(Source::new(now, packet));
                true
            }
        }
    }

    /// Interarrival jitter (RFC 3550 §6.4.1).
    fn measure(&mut self, now: Now, timestamp: u32) {
        let Some(source) = &mut self.source else {
            return;
        };
        if let Some((before, previous)) = source.transit.replace((now, timestamp)) {
            let sent = i64::from(timestamp.wrapping_sub(previous).cast_signed()) * 125;
            let arrived = i64::try_from(now.since(before).as_micros()).unwrap_or(i64::MAX);
            // A pause or a jump of the timestamps says nothing about the network.
            let difference = arrived.saturating_sub(sent).unsigned_abs().min(1_000_000);
            #[allow(clippy::cast_precision_loss)]
            let difference = difference as f32;
            self.jitter_us += (difference - self.jitter_us) / 16.0;
        }
    }
}

impl Source {
    fn new(now: Now, packet: &Packet<'_>) -> Self {
        let first = i64::from(packet.sequence);
        Self {
            ssrc: packet.ssrc,
            first,
            highest: first,
            seen: 1,
            discarded: 0,
            latest: 1,
            received: 1,
            jump: None,
            last: now,
            transit: None,
        }
    }

    /// The packet at hand came too late.
    const fn discard(&mut self) {
        self.discarded |= self.latest;
    }

    /// Passes judgement on the packets that fall behind the window in which they may still come.
    fn judge(&self, step: u16, misses: &mut Misses) {
        let age = self.highest - self.first;
        for behind in (JUDGED - i32::from(step)..JUDGED).rev() {
            let is_of_the_source = i64::from(behind) <= age;
            let came = u32::try_from(behind)
                .is_ok_and(|behind| (self.seen & !self.discarded) >> behind & 1 != 0);
            if is_of_the_source {
                misses.packet(!came);
            }
        }
    }

    /// Packets that never came.
    fn lost(&self) -> u64 {
        u64::try_from(self.highest - self.first + 1 - self.received).unwrap_or(0)
    }

    fn arrival(&mut self, sequence: u16, misses: &mut Misses) -> Arrival {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let step = sequence.wrapping_sub(self.highest as u16).cast_signed();
        match step {
            1..MAX_DROPOUT => {
                self.judge(step.unsigned_abs(), misses);
                let ahead = |bits: u64| bits.checked_shl(step.unsigned_abs().into()).unwrap_or(0);
                self.seen = ahead(self.seen) | 1;
                self.discarded = ahead(self.discarded);
                self.latest = 1;
                self.highest += i64::from(step);
            }
            -63..=0 => {
                let bit = 1 << step.unsigned_abs();
                if self.seen & bit != 0 {
                    return Arrival::Duplicate;
                }
                self.seen |= bit;
                self.latest = bit;
                self.first = self.first.min(self.highest + i64::from(step));
            }
            _ if self.jump == Some(sequence) => return Arrival::Jump,
            _ => {
                self.jump = Some(sequence.wrapping_add(1));
                return Arrival::Stray;
            }
        }
        self.received += 1;
        Arrival::Fresh
    }
}

#[cfg(test)]
mod tests;
