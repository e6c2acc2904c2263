//! Which shift makes a piece of speech most like itself: the pitch, where there is one.

/// How alike two pieces are, -1 to 1; two silent ones are alike.
pub(crate) fn likeness(a: &[i16], b: &[i16]) -> f32 {
    let (mut both, mut first, mut second) = (0.0_f32, 1.0_f32, 1.0_f32);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f32::from(*a), f32::from(*b));
        both += a * b;
        first += a * a;
        second += b * b;
    }
    if first + second < 1000.0 {
        return 1.0;
    }
    both / (first * second).sqrt()
}

/// The lag whose pieces are most alike, and how much: every other lag first, then the neighbours.
/// Of lags that are nearly as good the first counts.
pub(crate) fn best_lag<'a>(
    lags: impl DoubleEndedIterator<Item = usize> + ExactSizeIterator + Clone,
    pieces: impl Fn(usize) -> (&'a [i16], &'a [i16]),
) -> (usize, f32) {
    let alike = |lag: usize| {
        let (a, b) = pieces(lag);
        (lag, likeness(a, b))
    };
    const NEARLY: f32 = 0.01;
    let better = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
    let much_better = |best: (usize, f32), next: (usize, f32)| {
        if next.1 > best.1 + NEARLY { next } else { best }
    };
    let none = (0, f32::MIN);
    let coarse = lags.clone().step_by(2).map(alike).fold(none, much_better);
    lags.filter(|lag| lag.abs_diff(coarse.0) == 1)
        .map(alike)
        .fold(coarse, better)
}

/// Goes over from one sample to another: at step `at` of `steps`, counted from 1.
pub(crate) fn crossed(from: i16, to: i16, at: usize, steps: usize) -> i16 {
    let (from, to) = (i32::from(from), i32::from(to));
    (from + (to - from) * at as i32 / (steps as i32 + 1)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_of_a_voice_is_found() {
        let voice: Vec<i16> = (0..400)
            .map(|at| if at % 57 < 5 { 9000 } else { -400 })
            .collect();
        let (lag, alike) = best_lag((20..110).rev(), |lag| {
            (&voice[..160], &voice[lag..lag + 160])
        });
        assert_eq!(lag, 57);
        assert!(alike > 0.99);
    }
}
