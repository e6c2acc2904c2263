//! Where the next hop of a leg is when it is a host by name: asked of the shell once, RFC 3263 §4.

use bytes::Bytes;

use super::{Leg, Phase};
use crate::dialog::Dialog;
use crate::flow::Flow;
use crate::stack::Stack;
use crate::vocabulary::LegEvent;

/// Paths to one host that are kept.
const MAX_FLOWS: usize = 8;
/// Look-ups of one leg at a time: a peer may name another host in every request.
const MAX_LOOKUPS: u8 = 2;

impl Leg {
    /// Asks where the next hop is, if that is a host by name that was not asked for yet.
    pub(crate) fn ask(&mut self, stack: &mut Stack) {
        while self.locating < MAX_LOOKUPS {
            let uri = match &mut self.phase {
                Phase::Arriving(arriving) => arriving.session.dialog.ask(),
                Phase::Up(up) => up.session.dialog.ask(),
                Phase::Calling(calling) => calling.early.dialogs_mut().find_map(Dialog::ask),
                Phase::Ended(_) => None,
            };
            let Some(uri) = uri else { return };
            self.locating += 1;
            stack.emit(self.id, LegEvent::Locate { uri });
        }
    }

    /// The shell says where it is.
    pub(super) fn located(&mut self, stack: &mut Stack, uri: &Bytes, flows: &[Flow]) {
        let flows = || flows.iter().copied().take(MAX_FLOWS).collect();
        self.locating = self.locating.saturating_sub(1);
        let placed = self.trunk.is_none();
        match &mut self.phase {
            Phase::Arriving(arriving) => {
                arriving.session.dialog.locate(uri, flows(), placed);
            }
            Phase::Up(up) => {
                let dialog = &mut up.session.dialog;
                if dialog.locate(uri, flows(), placed) {
                    stack.redirect_acks(self.id, dialog);
                }
            }
            Phase::Calling(calling) => {
                for dialog in calling.early.dialogs_mut() {
                    dialog.locate(uri, flows(), placed);
                }
            }
            Phase::Ended(_) => {}
        }
    }

    /// Another path for what could not be sent over this one.
    pub(crate) fn past(&mut self, failed: Flow) -> Option<Flow> {
        self.session_mut()?.dialog.past(failed)
    }
}
