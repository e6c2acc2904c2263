//! The base values of all timers, and the doubling intervals, RFC 3261 §17.1.1.1 and table 4.

use std::time::Duration;

use timebase::Now;

/// The base values that all transaction timers derive from, RFC 3261 §17.1.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// The estimated round-trip time.
    pub t1: Duration,
    /// The longest interval between retransmissions, except those of INVITE.
    pub t2: Duration,
    /// The longest that a message stays in the network.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

impl Timers {
    /// 64·T1: timers B, F, H, J, L and M.
    #[must_use]
    pub const fn give_up(self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer D: how long repeated final responses are acknowledged. At least 32 s, since the
    /// peer's T1 is not known (RFC 3261 §17.1.1.2).
    #[must_use]
    pub fn linger_after_refusal(self) -> Duration {
        self.give_up().max(Duration::from_secs(32))
    }

    /// When a client's timer E, started with its request, is first set to T2 (RFC 4320 §4.1).
    #[must_use]
    pub fn settled(self) -> Duration {
        let mut interval = self.t1;
        let mut passed = self.t1;
        while interval.saturating_mul(2) < self.t2 && !interval.is_zero() {
            interval = interval.saturating_mul(2);
            passed = passed.saturating_add(interval);
        }
        passed
    }
}

/// A retransmission timer whose interval doubles up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    at: Now,
    interval: Duration,
    cap: Duration,
}

impl Backoff {
    /// First due one `interval` after `now`.
    pub(crate) fn new(now: Now, interval: Duration, cap: Duration) -> Self {
        Self {
            at: now + interval,
            interval,
            cap,
        }
    }

    /// When it is next due.
    pub(crate) const fn at(&self) -> Now {
        self.at
    }

    /// The cap becomes the interval from the next firing on.
    pub(crate) const fn settle(&mut self) {
        self.interval = self.cap;
    }

    /// Whether it is due.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        now >= self.at
    }

    /// Sets it again with twice the interval, counted from when it was served.
    pub(crate) fn restart(&mut self, now: Now) {
        self.interval = self.interval.saturating_mul(2).min(self.cap);
        // An interval of zero would never let time pass.
        self.at = now + self.interval.max(Duration::from_millis(1));
    }
}
