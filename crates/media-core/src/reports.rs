//! When a leg's reports are sent and what comes of the peer's (RFC 3550 §6.2 to §6.4, A.7, A.8).
//!
//! Our NTP timestamps count from the shell's origin (§6.4.1 allows that where there is no wall clock).

use crate::rtcp::{Block, Compound, SenderInfo, Told};
use crate::{RemoteFigures, mixed};
use std::time::Duration;
use timebase::Now;

/// The smallest mean interval between reports, and half of it before the first.
const INTERVAL: f32 = 5.0;
/// Bytes a second that reports may take: 5 % of a G.711 session of two.
const BANDWIDTH: f32 = 500.0;
/// Makes up for what reconsideration adds in the mean: e - 3/2.
const COMPENSATION: f32 = 1.218_28;
/// Bytes of IP and UDP below a report.
const BELOW: f32 = 28.0;

/// What is known of the stream that a leg sends us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) ssrc: u32,
    pub(crate) highest: u32,
    pub(crate) expected: u64,
    pub(crate) received: u64,
    /// In units of the timestamp.
    pub(crate) jitter: u32,
}

/// The reports of a leg.
#[derive(Debug)]
pub(crate) struct Reports {
    name: [u8; 16],
    random: u64,
    /// The last report and the next one; none before the leg is connected.
    times: Option<(Now, Now)>,
    initial: bool,
    /// The mean size of a report, the peer's as well.
    size: f32,
    /// Packets sent up to the last report, and up to the one before.
    sent: [u64; 2],
    /// The peer's last sender report: the middle of its timestamp, and when it came.
    heard: Option<(u32, Now)>,
    /// What was expected and received up to the last report.
    before: (u64, u64),
    round_trip: Option<Duration>,
    remote: RemoteFigures,
    is_remote_known: bool,
}

impl Reports {
    /// The reports of a leg that starts.
    pub(crate) fn new(mut random: u64) -> Self {
        const HEX: [u8; 16] = *b"0123456789abcdef";
        random = mixed(random);
        let name = std::array::from_fn(|at| HEX[(random >> (at * 4)) as usize % 16]);
        Self {
            name,
            random,
            times: None,
            initial: true,
            size: 120.0,
            sent: [0; 2],
            heard: None,
            before: (0, 0),
            round_trip: None,
            remote: RemoteFigures::default(),
            is_remote_known: false,
        }
    }

    /// Whether a report is due. The interval is drawn anew when it is over, and waited for again
    /// where the new one is longer (§6.3.6).
    pub(crate) fn is_due(&mut self, now: Now) -> bool {
        let Some((last, next)) = self.times else {
            self.times = Some((now, now + self.interval()));
            return false;
        };
        if now < next {
            return false;
        }
        let again = last + self.interval();
        self.times = Some((last, again));
        again <= now
    }

    /// An interval, §6.3.1 with A.7: two members, both of which may send.
    fn interval(&mut self) -> Duration {
        let smallest = if self.initial {
            INTERVAL / 2.0
        } else {
            INTERVAL
        };
        let mean = (2.0 * self.size / BANDWIDTH).max(smallest);
        self.random = mixed(self.random);
        #[allow(clippy::cast_precision_loss)]
        let drawn = 0.5 + (self.random >> 40) as f32 / (1_u32 << 24) as f32;
        Duration::from_secs_f32(mean * drawn / COMPENSATION)
    }

    /// A report; `sent` packets have left so far.
    pub(crate) fn report(
        &mut self,
        now: Now,
        ssrc: u32,
        sender: SenderInfo,
        sent: u64,
        received: Option<Received>,
    ) -> Compound {
        // who has sent nothing since the report before the last is no sender (§6.4)
        let sends = sent > self.sent[1];
        self.sent = [sent, self.sent[0]];
        let block = received.map(|received| self.block(now, received));
        let compound = Compound::new(ssrc, sends.then_some(sender), block).named(&self.name);
        self.initial = false;
        let next = now + self.interval();
        self.times = Some((now, next));
        self.measured(compound.bytes().len());
        compound
    }

    fn block(&mut self, now: Now, received: Received) -> Block {
        let (expected, came) = (
            received.expected.saturating_sub(self.before.0),
            received.received.saturating_sub(self.before.1),
        );
        self.before = (received.expected, received.received);
        let lost = expected.saturating_sub(came);
        let fraction = (lost * 256).checked_div(expected).unwrap_or(0).min(255);
        let lost = received.expected.saturating_sub(received.received);
        let delay = self.heard.map_or(0, |(_, at)| short(now.since(at)));
        Block {
            ssrc: received.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost: i32::try_from(lost).unwrap_or(i32::MAX),
            highest: received.highest,
            jitter: received.jitter,
            last_report: self.heard.map_or(0, |(middle, _)| middle),
            delay,
        }
    }

    /// Takes what a packet of the peer's tells of our source, or of its own.
    pub(crate) fn told(&mut self, now: Now, ours: u32, told: Told) {
        match told {
            Told::Sender { middle, .. } => self.heard = Some((middle, now)),
            Told::Block(block) if block.ssrc == ours => {
                self.round_trip = round_trip(now, &block).or(self.round_trip);
                self.remote.lost = block.lost;
                self.remote.highest = block.highest;
                #[allow(clippy::cast_precision_loss)]
                {
                    self.remote.jitter_ms = block.jitter as f32 / 8.0;
                }
                self.is_remote_known = true;
            }
            Told::Voip(voip) if voip.ssrc == ours => {
                let opinion = Some(voip.opinions[1]).filter(|opinion| (10..=50).contains(opinion));
                self.remote.mos = opinion.map(|opinion| f32::from(opinion) / 10.0);
            }
            Told::Block(_) | Told::Voip(_) | Told::Bye(_) => {}
        }
    }

    /// Takes the size of a report sent or received (§6.3.3).
    pub(crate) fn measured(&mut self, bytes: usize) {
        #[allow(clippy::cast_precision_loss)]
        let size = bytes as f32 + BELOW;
        self.size += (size - self.size) / 16.0;
    }

    /// The time to the peer and back.
    pub(crate) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// What the peer says of what it hears.
    pub(crate) fn remote(&self) -> Option<RemoteFigures> {
        self.is_remote_known.then_some(self.remote)
    }
}

/// The time as an NTP timestamp: 32 bits of seconds, 32 of their fraction.
pub(crate) fn ntp(now: Now) -> u64 {
    let fraction = (u64::from(now.0.subsec_nanos()) << 32) / 1_000_000_000;
    (now.0.as_secs() << 32) | fraction
}

/// A duration in 65536ths of a second.
fn short(duration: Duration) -> u32 {
    let units = duration.as_micros() * 65_536 / 1_000_000;
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// §6.4.1: the arrival less the report's time less the delay at the peer; none where the peer has
/// had no report of ours, or tells nonsense.
fn round_trip(now: Now, block: &Block) -> Option<Duration> {
    if block.last_report == 0 {
        return None;
    }
    #[allow(clippy::cast_possible_truncation)]
    let arrived = (ntp(now) >> 16) as u32;
    let units = arrived
        .wrapping_sub(block.last_report)
        .wrapping_sub(block.delay);
    // a peer that counts its delay too long by a little has a round trip of nothing
    if units.cast_signed() < 0 {
        return (units.cast_signed() > -3277).then_some(Duration::ZERO);
    }
    let trip = Duration::from_micros(u64::from(units) * 1_000_000 / 65_536);
    (trip < Duration::from_secs(10)).then_some(trip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now::from_millis(millis)
    }

    fn sender(now: Now) -> SenderInfo {
        SenderInfo {
            ntp: ntp(now),
            timestamp: 0,
            packets: 0,
            octets: 0,
        }
    }

    #[test]
    fn reports_come_every_five_seconds_in_the_mean_and_never_in_step() {
        let mut reports = Reports::new(7);
        let mut sent = Vec::new();
        for millis in (0..2_000_000).step_by(20) {
            if reports.is_due(at(millis)) {
                reports.report(at(millis), 1, sender(at(millis)), millis, None);
                sent.push(millis);
            }
        }
        let first = sent[0];
        assert!((1000..=3100).contains(&first), "{first}");
        let gaps: Vec<u64> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<u64>() / gaps.len() as u64;
        assert!((4500..=5500).contains(&mean), "{mean}");
        let shortest = *gaps.iter().min().unwrap();
        let longest = *gaps.iter().max().unwrap();
        assert!(
            shortest >= 2050 && longest <= 12_000,
            "{shortest} {longest}"
        );
        assert!(longest - shortest > 2000);
    }

    #[test]
    fn round_trip_is_what_is_left_without_the_time_at_the_peer() {
        let mut reports = Reports::new(1);
        let report = Block {
            ssrc: 9,
            last_report: (ntp(at(10_000)) >> 16) as u32,
            delay: short(Duration::from_millis(2000)),
            ..Block::default()
        };
        reports.told(at(12_080), 9, Told::Block(report));
        let trip = reports.round_trip().unwrap();
        assert!(trip.abs_diff(Duration::from_millis(80)) < Duration::from_millis(1));
        // of somebody else's stream, or without a report of ours
        let others = [
            Block { ssrc: 8, ..report },
            Block {
                last_report: 0,
                ..report
            },
        ];
        for block in others {
            reports.told(at(50_000), 9, Told::Block(block));
        }
        assert_eq!(reports.round_trip(), Some(trip));
    }

    #[test]
    fn block_tells_the_loss_since_the_report_before_and_the_delay_since_the_peers() {
        let mut reports = Reports::new(1);
        let received = |expected, received| Received {
            ssrc: 4,
            highest: 70_000,
            expected,
            received,
            jitter: 16,
        };
        reports.told(
            at(1000),
            9,
            Told::Sender {
                ssrc: 4,
                middle: 77,
            },
        );
        let first = reports.block(at(1500), received(100, 75));
        assert_eq!((first.fraction_lost, first.lost), (64, 25));
        assert_eq!((first.last_report, first.delay), (77, 32_768));
        let second = reports.block(at(2000), received(200, 175));
        assert_eq!((second.fraction_lost, second.lost), (0, 25));
    }

    #[test]
    fn who_falls_silent_sends_receiver_reports() {
        let mut reports = Reports::new(1);
        let kind = |reports: &mut Reports, sent| {
            reports.report(at(0), 1, sender(at(0)), sent, None).bytes()[1]
        };
        assert_eq!(kind(&mut reports, 0), 201);
        assert_eq!(kind(&mut reports, 10), 200);
        assert_eq!(
            kind(&mut reports, 10),
            200,
            "it has sent since the one before the last"
        );
        assert_eq!(kind(&mut reports, 10), 201);
    }
}
