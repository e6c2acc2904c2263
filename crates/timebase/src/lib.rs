//! Time as an argument.
//!
//! Pure machines are handed the current instant and never ask for it, so that
//! the same code runs on the real clock, in virtual-time tests and in the
//! simulation. An instant is a distance from an origin that the shell chose.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// An instant: the time since the shell's origin (monotonic).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now(pub Duration);

impl Now {
    /// The origin itself.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The instant `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Time since the origin in whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0.as_millis() as u64
    }

    /// Time that passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Now {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl AddAssign<Duration> for Now {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Self> for Now {
    type Output = Duration;
    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}

/// The earlier of two optional deadlines.
#[must_use]
pub fn earliest(a: Option<Now>, b: Option<Now>) -> Option<Now> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z, stamped in the shell.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct UnixMillis(pub i64);

#[cfg(feature = "clock")]
mod clock {
    use super::{Now, UnixMillis};
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    /// The process's clock: hands out [`Now`] since the moment it was made.
    #[derive(Clone, Copy, Debug)]
    pub struct Clock {
        origin: Instant,
    }

    impl Clock {
        /// A clock whose origin is this moment.
        #[must_use]
        pub fn start() -> Self {
            Self {
                origin: Instant::now(),
            }
        }

        /// The current instant.
        #[must_use]
        pub fn now(&self) -> Now {
            Now(self.origin.elapsed())
        }

        /// The instant of this clock as one of the standard library's, for timers of the runtime.
        #[must_use]
        pub fn instant(&self, at: Now) -> Instant {
            self.origin + at.0
        }
    }

    /// The current wall-clock time.
    #[must_use]
    pub fn wall_now() -> UnixMillis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(feature = "clock")]
pub use clock::{Clock, wall_now};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_of_instants_never_goes_below_zero() {
        assert_eq!(Now::from_millis(5) - Now::from_millis(9), Duration::ZERO);
        assert_eq!(
            Now::from_millis(9) - Now::from_millis(5),
            Duration::from_millis(4)
        );
    }

    #[test]
    fn earliest_ignores_absent_deadlines() {
        let at = Some(Now::from_millis(7));
        assert_eq!(earliest(None, at), at);
        assert_eq!(
            earliest(at, Some(Now::from_millis(3))),
            Some(Now::from_millis(3))
        );
        assert_eq!(earliest(None, None), None);
    }
}
