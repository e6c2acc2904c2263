//! A leg in a dialog that another process made, and what it needs of ours should we die.

use sip_message::NameAddr;

use super::offers::{Offers, Session, State};
use super::session::{Life, Up};
use super::session_timer::SessionTimer;
use super::{Leg, Phase};
use crate::checkpoint::{DialogCheckpoint, Restore};
use crate::dialog::Dialog;
use crate::digest;
use crate::stack::Stack;

impl Leg {
    /// The leg stands at once, with nothing open; its session has no timer until one is negotiated.
    pub(crate) fn restore(stack: &Stack, restore: Restore) -> Self {
        let Restore {
            leg,
            dialog,
            flow,
            trunk,
        } = restore;
        let (allows_refer, allows_update) = (dialog.allows_refer, dialog.allows_update);
        let before = NameAddr::parse(dialog.contact.clone()).ok();
        let contact = stack.contact(
            &flow,
            before.as_ref().map(NameAddr::uri),
            dialog.contact.starts_with(b"<sips:"),
        );
        let dialog = Dialog::restored(dialog, flow, contact);
        let rule = trunk.and_then(|trunk| stack.config.trunks.get(trunk.0 as usize));
        let allow = rule.map(|rule| rule.allow.clone()).unwrap_or_default();
        let mut peers = allow.clone();
        if trunk.is_some() {
            peers.push(flow.remote.ip().to_canonical().into());
        }
        let mut offers = Offers::initial(None, None);
        offers.state = State::Stable;
        let (tag, call_id) = (dialog.local_tag.clone(), dialog.call_id.clone());
        let up = Up::new(Session { dialog, offers }, SessionTimer::default(), 0);
        Self {
            id: leg,
            tag,
            call_id,
            trunk,
            allow,
            sources: Vec::new(),
            credentials: rule.and_then(|rule| rule.outbound_auth.clone()),
            peers,
            digest: digest::Client::default(),
            allows_refer,
            allows_update,
            locating: 0,
            phase: Phase::Up(Box::new(up)),
        }
    }

    /// The dialog as plain data while nobody has hung up; of an INVITE that came, also before its answer,
    /// so that it can be kept before the answer leaves.
    pub(crate) fn checkpoint(&self) -> Option<DialogCheckpoint> {
        let dialog = match &self.phase {
            Phase::Arriving(arriving) => &arriving.session.dialog,
            Phase::Up(up) if matches!(up.life, Life::Standing) => &up.session.dialog,
            Phase::Up(_) | Phase::Calling(_) | Phase::Ended(_) => return None,
        };
        Some(dialog.checkpoint((self.allows_refer, self.allows_update)))
    }
}
