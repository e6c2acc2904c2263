//! The figures of a call's media, as the admin API, the record and the metrics show them.

use media_bridge::MediaFigures;
use media_core::{Figures, RemoteFigures};
use transfer_api::{CallMedia, LegMedia, RemoteMedia};

/// The figures as they are shown; none before a leg had any media.
pub(super) fn shown(figures: &MediaFigures) -> Option<CallMedia> {
    Some(CallMedia {
        caller: leg(&figures.caller)?,
        target: leg(&figures.target),
    })
}

fn leg(figures: &Figures) -> Option<LegMedia> {
    if figures.packets_in + figures.packets_out == 0 {
        return None;
    }
    Some(LegMedia {
        packets_in: figures.packets_in,
        packets_out: figures.packets_out,
        lost: figures.lost,
        loss_percent: hundredths(100.0 * loss(figures)),
        late: figures.late,
        discarded: figures.discarded,
        duplicates: figures.duplicates,
        foreign: figures.foreign,
        concealed_ms: figures.concealed * 20,
        jitter_ms: hundredths(figures.jitter_ms),
        delay_ms: figures.delay_ms,
        round_trip_ms: figures.round_trip_ms.map(hundredths),
        mos: figures.mos.map(hundredths),
        level_in: figures.level_in.map(hundredths),
        level_out: figures.level_out.map(hundredths),
        digits_in: figures.dtmf_in,
        remote: figures.remote.map(|remote| shown_remote(&remote, figures)),
    })
}

fn shown_remote(remote: &RemoteFigures, figures: &Figures) -> RemoteMedia {
    let lost = u64::try_from(remote.lost).unwrap_or(0);
    RemoteMedia {
        lost: remote.lost,
        loss_percent: hundredths(100.0 * share(lost, figures.packets_out)),
        jitter_ms: hundredths(remote.jitter_ms),
        mos: remote.mos.map(hundredths),
    }
}

/// Records the figures of a call that is over, for each leg that had media.
pub(super) fn record(figures: &MediaFigures) {
    for (name, figures) in [("caller", &figures.caller), ("target", &figures.target)] {
        let Some(mos) = figures.mos else { continue };
        let of = |what: &'static str, value: f32| {
            metrics::histogram!(what, "leg" => name).record(f64::from(value));
        };
        of("handback_leg_mos", mos);
        of("handback_leg_loss_ratio", loss(figures));
        of(
            "handback_leg_late_ratio",
            share(figures.late + figures.discarded, figures.packets_in),
        );
        of("handback_leg_jitter_seconds", figures.jitter_ms / 1000.0);
        if let Some(trip) = figures.round_trip_ms {
            of("handback_leg_round_trip_seconds", trip / 1000.0);
        }
        if let Some(mos) = figures.remote.and_then(|remote| remote.mos) {
            of("handback_leg_remote_mos", mos);
        }
    }
}

fn loss(figures: &Figures) -> f32 {
    share(figures.lost, figures.packets_in + figures.lost)
}

#[allow(clippy::cast_precision_loss)]
fn share(part: u64, of: u64) -> f32 {
    part as f32 / of.max(1) as f32
}

fn hundredths(value: f32) -> f32 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leg_without_media_is_not_shown_and_shares_are_in_percent() {
        assert_eq!(shown(&MediaFigures::default()), None);
        let caller = Figures {
            packets_in: 950,
            packets_out: 1000,
            lost: 50,
            concealed: 40,
            mos: Some(3.834),
            remote: Some(RemoteFigures {
                lost: 10,
                ..RemoteFigures::default()
            }),
            ..Figures::default()
        };
        let figures = MediaFigures {
            caller,
            ..MediaFigures::default()
        };
        let shown = shown(&figures).unwrap();
        assert_eq!(shown.target, None);
        let caller = shown.caller;
        assert_eq!((caller.loss_percent, caller.concealed_ms), (5.0, 800));
        assert_eq!(caller.mos, Some(3.83));
        assert_eq!(caller.remote.unwrap().loss_percent, 1.0);
    }
}
