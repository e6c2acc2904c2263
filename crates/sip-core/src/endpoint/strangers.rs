//! How often those whom no trunk knows are answered over UDP.
//!
//! The source of a datagram may be forged, and our answer may be longer than what it answers: without
//! a bound, others could be flooded through us.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use timebase::Now;

/// Sources remembered; beyond that the memory starts anew.
const REMEMBERED: usize = 4096;
/// How long a source that has proven itself by digest is no stranger.
const PROVEN: Duration = Duration::from_secs(3600);
/// How long nothing more is said of one source.
const QUIET: Duration = Duration::from_secs(60);
/// An answer, in thousandths.
const ANSWER: u64 = 1000;

/// The sources that are counted.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    left: HashMap<IpAddr, Left>,
    proven: HashMap<IpAddr, Now>,
}

/// What one source is still answered: a bucket that fills with time.
#[derive(Debug)]
struct Left {
    thousandths: u64,
    since: Now,
    said: Option<Now>,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Answer,
    /// The first one that is withheld for a while.
    WithholdAndSay,
    Withhold,
}

impl Strangers {
    /// The source knows a password of ours.
    pub(super) fn prove(&mut self, now: Now, source: IpAddr) {
        if self.proven.len() >= REMEMBERED {
            self.proven.retain(|_, until| *until > now);
        }
        if self.proven.len() < REMEMBERED {
            self.proven.insert(source_of(source), now + PROVEN);
        }
    }

    /// Takes one answer of a source, of `most` at once and `per_second` from then on.
    pub(super) fn take(
        &mut self,
        now: Now,
        source: IpAddr,
        (most, per_second): (u32, u32),
    ) -> Verdict {
        let source = source_of(source);
        if self.proven.get(&source).is_some_and(|until| *until > now) {
            return Verdict::Answer;
        }
        if self.left.len() >= REMEMBERED && !self.left.contains_key(&source) {
            self.left.clear();
        }
        let most = u64::from(most) * ANSWER;
        let left = self.left.entry(source).or_insert(Left {
            thousandths: most,
            since: now,
            said: None,
        });
        let passed = u64::try_from((now - left.since).as_millis()).unwrap_or(u64::MAX);
        let filled = passed.saturating_mul(per_second.into());
        left.thousandths = left.thousandths.saturating_add(filled).min(most);
        left.since = now;
        if let Some(rest) = left.thousandths.checked_sub(ANSWER) {
            left.thousandths = rest;
            return Verdict::Answer;
        }
        if left.said.is_some_and(|said| now - said < QUIET) {
            return Verdict::Withhold;
        }
        left.said = Some(now);
        Verdict::WithholdAndSay
    }
}

/// One source: an IPv4 address, or the network of 64 bits that an IPv6 host can choose from.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(strangers: &mut Strangers, at: u64, source: &str) -> usize {
        let now = Now::from_millis(at);
        let source = source.parse().unwrap();
        (0..10)
            .filter(|_| strangers.take(now, source, (3, 2)) == Verdict::Answer)
            .count()
    }

    #[test]
    fn answers_run_out_at_once_and_come_back_with_time_for_each_source() {
        let mut strangers = Strangers::default();
        assert_eq!(answered(&mut strangers, 0, "192.0.2.1"), 3);
        assert_eq!(answered(&mut strangers, 0, "2001:db8::1"), 3);
        assert_eq!(
            answered(&mut strangers, 0, "2001:db8::2"),
            0,
            "the same /64"
        );
        assert_eq!(answered(&mut strangers, 1000, "192.0.2.1"), 2);
        assert_eq!(answered(&mut strangers, 60_000, "192.0.2.1"), 3);
    }

    #[test]
    fn withheld_answers_are_said_once_a_minute() {
        let mut strangers = Strangers::default();
        let source = "192.0.2.1".parse().unwrap();
        let mut take = |at| strangers.take(Now::from_millis(at), source, (1, 0));
        assert_eq!(take(0), Verdict::Answer);
        assert_eq!(take(0), Verdict::WithholdAndSay);
        assert_eq!(take(59_999), Verdict::Withhold);
        assert_eq!(take(60_000), Verdict::WithholdAndSay);
    }

    #[test]
    fn who_has_proven_itself_is_answered_always() {
        let mut strangers = Strangers::default();
        strangers.prove(Now::ZERO, "192.0.2.1".parse().unwrap());
        assert_eq!(answered(&mut strangers, 3_599_999, "192.0.2.1"), 10);
        assert_eq!(answered(&mut strangers, 3_600_000, "192.0.2.1"), 3);
    }
}
