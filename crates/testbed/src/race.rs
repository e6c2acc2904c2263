//! Everything that can end a call, at the same time, at any stage of it.

use std::time::Duration;

use timebase::Now;

use crate::dice::Dice;
use crate::plan::CallPlan;

/// How far the ends lie apart at most, in milliseconds.
const APART: u64 = 9;
/// At most so many lines of the ladder are waited for.
const LINES: u64 = 36;

/// What ends a call, besides its longest duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// CANCEL or BYE.
    CallerHangsUp,
    TargetHangsUp,
    AgentCompletes,
    AgentDies,
    AgentCloses,
    /// No media came for too long.
    Silence,
    /// The API hangs up.
    Operator,
    /// The node is drained, and calls are handed back.
    Drain,
}

impl End {
    const ALL: [Self; 8] = [
        Self::CallerHangsUp,
        Self::TargetHangsUp,
        Self::AgentCompletes,
        Self::AgentDies,
        Self::AgentCloses,
        Self::Silence,
        Self::Operator,
        Self::Drain,
    ];
}

/// When everything happens.
#[derive(Clone, Copy, Debug)]
enum Trigger {
    /// When the ladder has so many lines: at any stage of any call.
    Lines(usize),
    /// When the longest duration of the call is over, so long after its 200.
    Duration(Duration),
}

/// What happens when.
#[derive(Clone, Debug)]
pub(crate) struct Race {
    trigger: Trigger,
    ends: Vec<(End, Duration)>,
}

impl Race {
    /// Draws the moment, and two ends at least in any order.
    pub(crate) fn draw(transfers: &mut [CallPlan], dice: &mut Dice) -> Self {
        let trigger = if dice.chance(25) {
            Trigger::Duration(dice.millis(20, 9_000))
        } else {
            Trigger::Lines(1 + dice.below(LINES) as usize)
        };
        if let Trigger::Duration(after) = trigger {
            transfers
                .iter_mut()
                .for_each(|plan| plan.call_duration = after);
        }
        let mut left = End::ALL.to_vec();
        let count = 2 + dice.below(End::ALL.len() as u64 - 1);
        let mut ends = Vec::new();
        for _ in 0..count {
            let end = left.swap_remove(dice.below(left.len() as u64) as usize);
            let together = dice.chance(50);
            let after = if together {
                Duration::ZERO
            } else {
                dice.millis(0, APART)
            };
            ends.push((end, after));
        }
        Self { trigger, ends }
    }

    /// What ends the call from now on and when, once its moment has come.
    pub(crate) fn due(
        &self,
        now: Now,
        lines: usize,
        answered: Option<Now>,
    ) -> Option<Vec<(Now, End)>> {
        let from = match self.trigger {
            Trigger::Lines(wanted) => (lines >= wanted).then_some(now)?,
            Trigger::Duration(after) => {
                let over = answered? + after;
                let half = Duration::from_millis(APART / 2);
                Now(over.0.saturating_sub(half)).max(now)
            }
        };
        let end = |(end, after): &(End, Duration)| (from + *after, *end);
        Some(self.ends.iter().map(end).collect())
    }
}
