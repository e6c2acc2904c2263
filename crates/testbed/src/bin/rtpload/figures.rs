//! Percentiles, and what the gateway's own histograms say.

use std::time::Duration;

/// Width of a bucket.
const STEP: Duration = Duration::from_micros(100);

/// Delays up to two seconds in steps of 0.1 ms.
pub(crate) struct Delays {
    buckets: Vec<u32>,
    pub(crate) count: u64,
    pub(crate) longest: Duration,
}

impl Delays {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; 20_000],
            count: 0,
            longest: Duration::ZERO,
        }
    }

    pub(crate) fn add(&mut self, delay: Duration) {
        let last = self.buckets.len() - 1;
        let at = (delay.as_nanos() / STEP.as_nanos()) as usize;
        if let Some(bucket) = self.buckets.get_mut(at.min(last)) {
            *bucket += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(delay);
    }

    /// The delay that a share of them does not exceed, in milliseconds.
    pub(crate) fn share_ms(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            seen += u64::from(*bucket);
            if seen >= wanted {
                return (at + 1) as f64 * STEP.as_secs_f64() * 1e3;
            }
        }
        self.longest.as_secs_f64() * 1e3
    }
}

/// A histogram of the metrics page: upper bounds in seconds, and how many did not exceed each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// The one of that name, over all labels.
    pub(crate) fn read(page: &str, name: &str) -> Self {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for line in page.lines() {
            let Some(rest) = line
                .strip_prefix(name)
                .and_then(|it| it.strip_prefix("_bucket"))
            else {
                continue;
            };
            let bound = rest
                .split("le=\"")
                .nth(1)
                .and_then(|it| it.split('"').next());
            let count = line
                .rsplit(' ')
                .next()
                .and_then(|it| it.parse::<f64>().ok());
            let (Some(bound), Some(count)) = (bound, count) else {
                continue;
            };
            let bound = bound.parse().unwrap_or(f64::INFINITY);
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { buckets }
    }

    /// What came between an earlier reading and this one.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            let found = earlier.buckets.iter().find(|(known, _)| *known == bound);
            found.map_or(0.0, |(_, count)| *count)
        };
        let buckets = self.buckets.iter();
        Self {
            buckets: buckets
                .map(|(bound, count)| (*bound, count - before(*bound)))
                .collect(),
        }
    }

    pub(crate) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// An upper bound of that share, in milliseconds: interpolated within its bucket.
    pub(crate) fn share_ms(&self, share: f64) -> f64 {
        let wanted = self.count() * share;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= wanted && *count > below {
                let part = (wanted - below) / (count - below);
                let bound = if bound.is_finite() { *bound } else { low };
                return (low + (bound - low) * part) * 1e3;
            }
            (low, below) = (*bound, *count);
        }
        low * 1e3
    }
}

/// The sum of a counter or gauge over all labels.
pub(crate) fn metric(page: &str, name: &str) -> f64 {
    let lines = page.lines().filter_map(|line| line.strip_prefix(name));
    lines
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_delays_are_those_of_their_order() {
        let mut delays = Delays::new();
        for ms in 1..=1000 {
            delays.add(Duration::from_millis(ms));
        }
        assert!((delays.share_ms(0.5) - 500.1).abs() < 0.01);
        assert!((delays.share_ms(0.99) - 990.1).abs() < 0.01);
        assert_eq!(delays.longest, Duration::from_secs(1));
    }

    #[test]
    fn histogram_is_read_over_labels_and_between_two_moments() {
        let page = |a: u32, b: u32| {
            format!(
                "x_seconds_bucket{{shard=\"0\",le=\"0.001\"}} {a}\nx_seconds_bucket{{shard=\"1\",le=\"0.001\"}} {a}\n\
                 x_seconds_bucket{{shard=\"0\",le=\"+Inf\"}} {b}\nx_seconds_sum 1\n"
            )
        };
        let earlier = Histogram::read(&page(1, 4), "x_seconds");
        let later = Histogram::read(&page(51, 204), "x_seconds").since(&earlier);
        assert_eq!(later.count(), 200.0);
        assert_eq!(later.share_ms(0.25), 0.5);
    }

    #[test]
    fn metric_is_summed_over_labels_and_not_mistaken_for_a_longer_name() {
        let page = "a_total{x=\"1\"} 2\na_total{x=\"2\"} 3\na_total_other 9\n";
        assert_eq!(metric(page, "a_total"), 5.0);
    }
}
