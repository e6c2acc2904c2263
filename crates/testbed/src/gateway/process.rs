//! The gateway's process: how it dies, and how another takes its place with nothing but the store.

use call_control::StoreRequest;
use timebase::Now;

use super::{Due, Gateway, setting};
use crate::host::Fact;
use crate::race::End;

impl Gateway {
    /// Everything but the store is lost. A completion that was on its way there may still arrive.
    pub(super) fn die(&mut self, _now: Now) {
        let seed = self.dice.seed();
        self.host
            .restart(setting::config(self.session_expires), seed);
        let arrives = self.dice.chance(50);
        self.agenda.retain(|due| {
            let completes = matches!(due, Due::Store(_, StoreRequest::Complete { .. }));
            completes && arrives || matches!(due, Due::AgentsDie)
        });
        self.by_leg.clear();
        for seat in &mut self.seats {
            seat.lost |= !seat.call.is_ended();
            seat.media.close(&mut self.ports);
            seat.media.sounding = None;
        }
    }

    /// Another process takes the place of the one that died: what that had is completed.
    pub(crate) fn recover(&mut self, now: Now) {
        while let Some(arrived) = self.agenda.due(now) {
            self.happen(now, arrived);
        }
        let transfers = self.store.recover(now);
        for id in &transfers {
            self.host
                .note(format!("store: {id} completed by the restart"));
        }
        self.recovered.extend(transfers.iter().cloned());
        self.host.tell(Fact::Recovered { transfers });
    }

    /// When the first call was answered.
    pub(crate) fn answered_at(&self) -> Option<Now> {
        self.seats.first()?.answered
    }

    /// The first call ends at this instant, one way or another.
    pub(crate) fn end(&mut self, at: Now, end: End) {
        self.agenda.add(at, Due::End(0, end));
    }
}
