//! What the caller does, and when the call is over.

use std::time::Duration;

use agent_hook::AgentInput;
use timebase::Now;

use super::{Fault, SLOT, Stage, Talk};
use crate::hooked::cue::Moment;

/// How long the caller waits for anybody to be heard once his script is over.
const PATIENCE: Duration = Duration::from_secs(5);

impl Talk {
    /// Does what the script has for this moment.
    pub(super) fn cues(&mut self, now: Now) {
        if self.stage != Stage::Talking {
            return;
        }
        let mut say = std::mem::take(&mut self.plan.say);
        for (sound, _) in self.due(now, &mut say) {
            self.tell(now, "caller speaks");
            self.voice = [self.voice.as_ref(), &sound].concat().into();
        }
        self.plan.say = say;
        let mut keys = std::mem::take(&mut self.plan.keys);
        for (pressed, _) in self.due(now, &mut keys) {
            self.tell(now, format!("caller presses {} keys", pressed.len()));
            for digit in pressed.chars().filter(|digit| *digit != ',') {
                self.input(now, AgentInput::Dtmf { digit });
            }
        }
        self.plan.keys = keys;
    }

    /// Takes what is due; of what follows the agent's silence, and of what interrupts it, one after
    /// the other.
    pub(super) fn due<T>(&mut self, now: Now, cues: &mut Vec<(T, Moment)>) -> Vec<(T, Moment)> {
        let (mut silence, mut play, mut never) = (false, false, false);
        cues.extract_if(.., |(_, when)| {
            let turn = match when {
                Moment::At(_) => &mut never,
                Moment::AfterSilence(_) => &mut silence,
                Moment::Play(_) => &mut play,
            };
            let waits = std::mem::replace(turn, true) && !matches!(when, Moment::At(_));
            !waits && self.is_due(now, *when)
        })
        .collect()
    }

    pub(super) fn is_due(&mut self, now: Now, when: Moment) -> bool {
        let ears = &mut self.ears;
        match when {
            Moment::At(time) => now.since(self.began) >= time,
            Moment::AfterSilence(time) => {
                let silent = ears.agent.is_some_and(|last| now.since(last) >= time);
                silent && self.voice.is_empty() && std::mem::take(&mut ears.replied)
            }
            Moment::Play(time) => {
                let playing = ears.agent.is_some_and(|last| now.since(last) <= 3 * SLOT);
                let long = ears.spurt.is_some_and(|since| now.since(since) >= time);
                playing && long && !std::mem::replace(&mut ears.spurt_used, true)
            }
        }
    }

    pub(super) async fn faults(&mut self, now: Now) {
        let since = self.since(now);
        let due: Vec<Fault> = self
            .plan
            .faults
            .extract_if(.., |(at, _)| *at <= since)
            .map(|(_, fault)| fault)
            .collect();
        for fault in due {
            self.tell(
                now,
                match fault {
                    Fault::Drop => "the connection is cut".to_owned(),
                    Fault::Stall(time) => {
                        format!("the connection stalls for {} ms", time.as_millis())
                    }
                },
            );
            self.cut |= fault == Fault::Drop;
            if let Some(faults) = &self.faults {
                // the other end is the connection's own
                let _ = faults.send(fault).await;
            }
        }
    }

    pub(super) fn move_on(&mut self, now: Now) {
        if self.plan.hang_up.is_some_and(|at| self.since(now) >= at) {
            self.tell(now, "caller hangs up");
            self.stage = Stage::Over;
        }
        match self.stage {
            Stage::Talking if self.is_done(now) => {
                self.tell(now, "nobody is heard any more: caller hangs up");
                self.stage = Stage::Over;
            }
            Stage::Draining { until } if until <= now => self.stage = Stage::Over,
            Stage::Talking | Stage::Draining { .. } | Stage::Bridged { .. } | Stage::Over => {}
        }
    }

    /// The script is over and it has been quiet since.
    pub(super) fn is_done(&self, now: Now) -> bool {
        let plan = &self.plan;
        let over = |when: &Moment| !matches!(when, Moment::At(_));
        plan.say.iter().all(|(_, when)| over(when))
            && plan.keys.iter().all(|(_, when)| over(when))
            && plan.faults.is_empty()
            && plan.hang_up.is_none()
            && self.voice.is_empty()
            && now.since(self.ears.anybody.unwrap_or(self.began)) >= PATIENCE
    }
}
