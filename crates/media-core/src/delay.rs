//! How long packets are underway, and how far play-out stays behind for that.
//!
//! The delay of each packet, counted on the clock of our slots, goes into a histogram that forgets.
//! Its upper end is what nearly all packets keep to; the play-out delay follows that, at once when
//! it grows and slowly when it shrinks, within bounds.

use crate::FRAME;

/// Samples between arrival and play-out at the start, and at least: 40 ms.
pub(crate) const TARGET: u64 = 320;
/// Samples that play-out stays behind the usual packet at most: 200 ms.
pub(crate) const MOST: i64 = 1600;
/// Room above the slowest packets below which the delay grows: 20 ms, a slot's grain.
const TIGHT: i64 = FRAME as i64;
/// Width of a bucket in samples: 10 ms.
const BUCKET: i64 = 80;
const BUCKETS: usize = 64;
/// The bucket of the first packet's delay.
const CENTRE: usize = 20;
/// Packets that are remembered, in the mean: about 5 s.
const MEMORY: f32 = 256.0;
/// The share of packets that may be slower than the delay provides for.
const SLOW: f32 = 0.005;
/// Packets between two looks at the histogram, when nothing unusual comes.
const LOOK: u8 = 8;

/// A change of the play-out delay that is wanted, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Play faster: this much of the delay is not needed.
    Shrink(u64),
    /// Play slower: the slowest packets have little room left.
    Grow,
    /// Play slower at once: some packets come too late.
    GrowAtOnce,
}

/// The histogram of delays.
#[derive(Debug)]
pub(crate) struct Delays {
    shares: [f32; BUCKETS],
    /// The delay that bucket 0 begins with; none before the first packet.
    origin: Option<i64>,
    first: bool,
    unlooked: u8,
    /// The bucket that the slow end falls into, and the middle one.
    slow: usize,
    usual: usize,
}

impl Delays {
    /// Nothing measured.
    pub(crate) const fn new() -> Self {
        Self {
            shares: [0.0; BUCKETS],
            origin: None,
            first: true,
            unlooked: 0,
            slow: CENTRE,
            usual: CENTRE,
        }
    }

    /// Takes the delay of a packet.
    pub(crate) fn observe(&mut self, delay: i64) {
        let origin = *self.origin.get_or_insert(delay - BUCKET * CENTRE as i64);
        // the bucket's upper end is what counts
        let bucket = (delay - origin + BUCKET - 1).div_euclid(BUCKET);
        let bucket = usize::try_from(bucket).unwrap_or(0).min(BUCKETS - 1);
        let first = std::mem::replace(&mut self.first, false);
        let weight = if first { 1.0 } else { 1.0 / MEMORY };
        for share in &mut self.shares {
            *share *= 1.0 - weight;
        }
        self.shares[bucket] += weight;
        self.unlooked += 1;
        if bucket > self.slow || self.unlooked >= LOOK {
            self.look();
        }
    }

    /// The delay that all but the slowest packets keep to.
    pub(crate) fn slow(&self) -> Option<i64> {
        Some(self.origin? + BUCKET * self.slow as i64)
    }

    /// The delay of half of the packets.
    pub(crate) fn usual(&self) -> Option<i64> {
        Some(self.origin? + BUCKET * self.usual as i64)
    }

    /// How much slower the slow packets are than the usual ones.
    pub(crate) const fn spread(&self) -> u64 {
        (self.slow - self.usual) as u64 * BUCKET as u64
    }

    /// Whether play-out may stay this far behind.
    pub(crate) fn allows(&self, behind: i64) -> bool {
        self.origin
            .is_none_or(|origin| behind <= origin + BUCKET * self.usual as i64 + MOST)
    }

    /// The change that is wanted while play-out stays `behind` by so much and packets have this many
    /// samples. The delay shrinks where there is a packet, and a frame at least, more than at the start.
    pub(crate) fn wanted(&self, behind: i64, packet: usize) -> Option<Change> {
        let room = behind - self.slow()?;
        if room >= TARGET as i64 + packet.max(FRAME) as i64 {
            Some(Change::Shrink(u64::try_from(room).unwrap_or(0) - TARGET))
        } else if room < TIGHT && self.allows(behind + 1) {
            Some(if room < 0 {
                Change::GrowAtOnce
            } else {
                Change::Grow
            })
        } else {
            None
        }
    }

    /// Finds the slow end and the middle; keeps the middle where there is room on both sides.
    fn look(&mut self) {
        self.unlooked = 0;
        let mut slower = 0.0;
        let below = |limit: f32, slower: &mut f32, from: usize| {
            (0..=from).rev().find(|bucket| {
                *slower += self.shares[*bucket];
                *slower > limit
            })
        };
        self.slow = below(SLOW, &mut slower, BUCKETS - 1).unwrap_or(CENTRE);
        self.usual = if slower > 0.5 {
            self.slow
        } else {
            below(0.5, &mut slower, self.slow.saturating_sub(1)).unwrap_or(self.slow)
        };
        if !(CENTRE - 12..=CENTRE + 12).contains(&self.usual) {
            self.recentre();
        }
    }

    /// Moves the buckets so that the middle is at the centre: the sender's clock runs off.
    fn recentre(&mut self) {
        let Some(origin) = &mut self.origin else {
            return;
        };
        if self.usual > CENTRE {
            let by = self.usual - CENTRE;
            self.shares.copy_within(by.., 0);
            self.shares[BUCKETS - by..].fill(0.0);
            *origin += BUCKET * by as i64;
            self.slow -= by;
        } else {
            let by = CENTRE - self.usual;
            let beyond: f32 = self.shares[BUCKETS - by..].iter().sum();
            self.shares.copy_within(..BUCKETS - by, by);
            self.shares[..by].fill(0.0);
            self.shares[BUCKETS - 1] += beyond;
            *origin -= BUCKET * by as i64;
            self.slow = (self.slow + by).min(BUCKETS - 1);
        }
        self.usual = CENTRE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(delays: impl IntoIterator<Item = i64>) -> Delays {
        let mut measured = Delays::new();
        delays.into_iter().for_each(|delay| measured.observe(delay));
        measured
    }

    #[test]
    fn steady_path_needs_the_delay_of_the_start_and_no_change() {
        let delays = measured([1000; 500]);
        assert_eq!(delays.slow(), Some(1000));
        assert_eq!(delays.wanted(1320, 160), None);
        assert_eq!(delays.wanted(1480, 160), Some(Change::Shrink(160)));
        assert_eq!(delays.wanted(1000, 160), Some(Change::Grow));
    }

    #[test]
    fn one_slow_packet_in_many_is_no_reason_and_two_are() {
        let mut delays = measured([1000; 500]);
        delays.observe(1800);
        assert_eq!(delays.wanted(1320, 160), None);
        delays.observe(1800);
        assert_eq!(delays.wanted(1320, 160), Some(Change::GrowAtOnce));
        (0..400).for_each(|_| delays.observe(1000));
        assert_eq!(delays.wanted(1320, 160), None, "forgotten");
    }

    #[test]
    fn delay_never_grows_beyond_its_bound() {
        let uneven = (0..2000).map(|number| if number % 10 == 0 { 9000 } else { 1000 });
        let delays = measured(uneven);
        assert!(delays.wanted(2500, 160).is_some());
        assert_eq!(delays.wanted(1000 + MOST, 160), None);
    }

    #[test]
    fn clock_that_runs_off_for_an_hour_is_followed() {
        for step in [-2, 2] {
            let delays = measured((0..180_000).map(|number| number * step));
            let last = 180_000 * step;
            let slow = delays.slow().unwrap();
            // a clock that runs fast was behind as much as is remembered
            assert!((last - 160..=last + 3000).contains(&slow), "{slow} {last}");
        }
    }
}
