//! Early dialogs of an INVITE of ours, one for each fork that answers, and the PRACKs in them:
//! RFC 3261 §12.1.2 and §13.2.2.1, RFC 3262 §4.

use bytes::Bytes;
use sip_message::{Message, Method};
use smallvec::SmallVec;
use timebase::{Now, earliest};

use super::offers::{Offers, Session, State};
use super::{Extra, Leg, Phase};
use crate::answers::sdp_of;
use crate::dialog::Dialog;
use crate::stack::{Purpose, Stack};
use crate::vocabulary::{Header, LegEvent};

/// How many forks are told apart; of further ones only the final response counts.
const MAX_FORKS: usize = 16;

/// The early dialogs of one INVITE.
#[derive(Debug, Default)]
pub(super) struct Early {
    forks: SmallVec<[Fork; 1]>,
    current: usize,
}

#[derive(Debug)]
struct Fork {
    session: Session,
    /// The RSeq of the latest reliable response, in its own space for each fork.
    rseq: Option<u32>,
}

/// What a provisional response is to its early dialog.
enum Provisional {
    /// Once, and maybe never again.
    Unreliable,
    /// The next one in order.
    Reliable(u32),
    /// A repetition, or one that came before its predecessor: ignored (RFC 3262 §4).
    OutOfOrder,
}

impl Early {
    /// The dialog that requests and answers are for now.
    pub(super) fn current(&self) -> Option<&Session> {
        self.forks.get(self.current).map(|fork| &fork.session)
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Session> {
        self.forks
            .get_mut(self.current)
            .map(|fork| &mut fork.session)
    }

    pub(super) fn dialogs_mut(&mut self) -> impl Iterator<Item = &mut Dialog> {
        self.forks.iter_mut().map(|fork| &mut fork.session.dialog)
    }

    pub(super) fn awaits_answer(&self) -> bool {
        self.forks
            .iter()
            .any(|fork| fork.session.offers.awaits_answer())
    }

    fn select(&mut self, wanted: impl Fn(&Session) -> bool) -> bool {
        let found = self.forks.iter().position(|fork| wanted(&fork.session));
        self.current = found.unwrap_or(self.current);
        found.is_some()
    }

    /// The dialog with a tag becomes the current one; `false`: there is none.
    pub(super) fn select_tag(&mut self, tag: &[u8]) -> bool {
        self.select(|session| session.dialog.remote_tag == tag)
    }

    /// The dialog that waits for the shell's answer becomes the current one.
    pub(super) fn select_awaiting(&mut self) {
        self.select(|session| session.offers.awaits_answer());
    }

    /// The dialog in which an offer of ours is out in this transaction becomes the current one.
    pub(super) fn select_in(&mut self, tx: crate::transaction::TxId) {
        self.select(|session| session.offers.is_in(tx));
    }

    /// The dialog with something due becomes the current one.
    pub(super) fn select_due(&mut self, now: Now) {
        self.select(|session| session.offers.poll_timeout().is_some_and(|at| at <= now));
    }

    pub(super) fn poll_timeout(&self) -> Option<Now> {
        let deadlines = self.forks.iter();
        deadlines
            .map(|fork| fork.session.offers.poll_timeout())
            .fold(None, earliest)
    }

    /// The dialog with a tag, to be confirmed by its 2xx.
    pub(super) fn take(&mut self, tag: &[u8]) -> Option<Session> {
        let position = self
            .forks
            .iter()
            .position(|fork| fork.session.dialog.remote_tag == tag)?;
        Some(self.forks.remove(position).session)
    }

    /// The INVITE was sent again: its early dialogs are over.
    pub(super) fn clear(&mut self) {
        self.forks.clear();
    }

    /// The peer's requests that have no final response yet.
    pub(super) fn open_requests(&self) -> impl Iterator<Item = &crate::stack::Incoming> {
        self.forks
            .iter()
            .filter_map(|fork| fork.session.offers.open_request())
    }

    /// Adds the dialog of a response that begins one, RFC 3261 §12.1.2.
    fn add(&mut self, dialog: Dialog, offer: Option<Bytes>) {
        if self.forks.len() < MAX_FORKS {
            let offers = Offers::initial(offer, None);
            let session = Session { dialog, offers };
            self.forks.push(Fork {
                session,
                rseq: None,
            });
        }
    }

    fn order(&mut self, tag: &[u8], response: &Message) -> Provisional {
        let is_100rel = |tag: &str| tag.eq_ignore_ascii_case("100rel");
        let rseq = response.rseq().ok().flatten();
        let Some(rseq) = rseq.filter(|_| response.require().any(is_100rel)) else {
            return Provisional::Unreliable;
        };
        let fork = self
            .forks
            .iter_mut()
            .find(|fork| fork.session.dialog.remote_tag == tag);
        match fork {
            Some(fork) if fork.rseq.is_none_or(|last| last.wrapping_add(1) == rseq) => {
                fork.rseq = Some(rseq);
                Provisional::Reliable(rseq)
            }
            Some(_) | None => Provisional::OutOfOrder,
        }
    }
}

impl Leg {
    /// A provisional response above 100 to our INVITE: PRACK where it is reliable, then the event.
    pub(super) fn progressed(&mut self, now: Now, stack: &mut Stack, response: &Message) {
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        let tag = super::response_tag(response);
        if !tag.is_empty()
            && !calling
                .early
                .forks
                .iter()
                .any(|fork| fork.session.dialog.remote_tag == tag)
        {
            let request = stack.client(calling.tx).map(|client| &client.request);
            let dialog = request.and_then(|request| {
                Dialog::calling(request, response, calling.flow, calling.contact.clone())
            });
            if let Some(dialog) = dialog {
                calling.early.add(dialog, calling.offer.clone());
            }
        }
        let order = calling.early.order(&tag, response);
        let described = sdp_of(response);
        let sdp = match order {
            Provisional::OutOfOrder => return,
            Provisional::Unreliable => self.unreliable_description(&tag, described),
            Provisional::Reliable(rseq) => {
                self.reliable_description(now, stack, (&tag, rseq), described)
            }
        };
        let status = response.status().unwrap_or_default();
        if matches!(&self.phase, Phase::Calling(calling) if calling.is_wanted()) {
            self.note_allow(stack, response);
            stack.emit(self.id, LegEvent::Progress { status, sdp });
        }
    }

    /// The description of an unreliable response: early media, unless a reliable one came before.
    fn unreliable_description(&mut self, tag: &[u8], sdp: Option<Bytes>) -> Option<Bytes> {
        let Phase::Calling(calling) = &mut self.phase else {
            return None;
        };
        let sdp = sdp.filter(|_| calling.offer.is_some())?;
        if calling.early.awaits_answer() || !calling.early.select_tag(tag) {
            return Some(sdp);
        }
        let session = calling.early.current()?;
        matches!(session.offers.state, State::Initial).then_some(sdp)
    }

    /// The description of a reliable response: the answer to our offer, or an offer whose answer
    /// goes into the PRACK. A later one says nothing new (RFC 3261 §13.2.1).
    fn reliable_description(
        &mut self,
        now: Now,
        stack: &mut Stack,
        (tag, rseq): (&[u8], u32),
        sdp: Option<Bytes>,
    ) -> Option<Bytes> {
        let Phase::Calling(calling) = &mut self.phase else {
            return None;
        };
        let (offered, wanted) = (calling.offer.is_some(), calling.is_wanted());
        let busy = calling.early.awaits_answer();
        calling.early.select_tag(tag);
        let offers = &mut calling.early.current_mut()?.offers;
        let sdp = sdp.filter(|_| matches!(offers.state, State::Initial));
        if sdp.is_some() {
            offers.remote.clone_from(&sdp);
            offers.state = State::Stable;
        }
        match &sdp {
            Some(_) if !offered && wanted && !busy => offers.state = State::PrackOwed { rseq },
            Some(_) | None => self.send_prack(now, stack, rseq, None),
        }
        sdp
    }

    /// PRACK in the current early dialog, RFC 3262 §4.
    pub(super) fn send_prack(
        &mut self,
        now: Now,
        stack: &mut Stack,
        rseq: u32,
        sdp: Option<&Bytes>,
    ) {
        let invite = match &self.phase {
            Phase::Calling(calling) => calling.cseq,
            Phase::Up(up) => up.invite_cseq,
            Phase::Arriving(_) | Phase::Ended(_) => return,
        };
        let headers = [Header::new("RAck", format!("{rseq} {invite} INVITE"))];
        let extra = Extra {
            contact: false,
            headers: &headers,
            body: sdp.map(|sdp| (crate::answers::SDP, sdp)),
        };
        self.request(now, stack, &Method::Prack, Purpose::Prack, extra);
    }
}
