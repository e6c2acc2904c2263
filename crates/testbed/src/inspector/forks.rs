//! The phones that answered an INVITE: each is acknowledged, and all but one are let go (RFC 3261 §13.2.2.4).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use timebase::Now;

use super::{Broken, Rule};
use crate::ladder;

/// How long after the first final answer others are taken for forks (RFC 6026 §7.2, timer M), less
/// what a moment takes.
const TAKEN_FOR: Duration = Duration::from_secs(31);

/// 64·T1: after so long without any answer an INVITE is given up (RFC 3261 §17.1.1.2, timer B).
const GIVES_UP: Duration = Duration::from_secs(32);

/// A dialog as the caller sees it: Call-ID, local and remote tag.
type Names = (SocketAddr, Bytes, Bytes, Bytes);

/// The INVITEs that began calls, and who answered them.
#[derive(Debug, Default)]
pub(super) struct Forks {
    /// By host and branch: Call-ID, CSeq, From tag, and the first final answer.
    placed: BTreeMap<(SocketAddr, Bytes), Placed>,
    answered: BTreeSet<Names>,
    acknowledged: BTreeSet<Names>,
    ended: BTreeSet<Names>,
}

#[derive(Debug)]
struct Placed {
    call_id: Bytes,
    number: u32,
    from_tag: Bytes,
    at: Now,
    /// Something was heard of it in time; without that it was given up (timer B).
    progressed: bool,
    first: Option<(u16, Now)>,
    cancelled: Option<Now>,
}

impl Forks {
    pub(super) fn placed(
        &mut self,
        at: Now,
        branch: (SocketAddr, Bytes),
        names: (Bytes, Bytes, u32),
    ) {
        let (call_id, from_tag, number) = names;
        self.placed.entry(branch).or_insert(Placed {
            call_id,
            number,
            from_tag,
            at,
            progressed: false,
            first: None,
            cancelled: None,
        });
    }

    /// The From tag of the INVITE with this branch, whatever its answers say.
    pub(super) fn own_tag(&self, branch: &(SocketAddr, Bytes)) -> Option<&Bytes> {
        self.placed.get(branch).map(|placed| &placed.from_tag)
    }

    /// CANCEL: without a final answer in 64·T1 the INVITE is over (RFC 3261 §9.1).
    pub(super) fn cancelled(&mut self, now: Now, branch: &(SocketAddr, Bytes)) {
        if let Some(placed) = self.placed.get_mut(branch) {
            placed.cancelled.get_or_insert(now);
        }
    }

    /// A provisional response to an INVITE that began a call.
    pub(super) fn progressed(&mut self, now: Now, branch: &(SocketAddr, Bytes)) {
        if let Some(placed) = self.placed.get_mut(branch) {
            placed.progressed |= now - placed.at < GIVES_UP;
        }
    }

    /// A final answer to an INVITE that began a call. The transaction is over when its connection
    /// breaks: who answers after that finds nobody (RFC 3261 §17.1.4).
    pub(super) fn answered(
        &mut self,
        (now, failed): (Now, Option<Now>),
        branch: &(SocketAddr, Bytes),
        (status, number): (u16, u32),
        names: &Names,
    ) {
        let Some(placed) = self.placed.get_mut(branch) else {
            return;
        };
        let same = placed.call_id == names.1 && placed.from_tag == names.2;
        let given_up = !placed.progressed && placed.first.is_none() && now - placed.at >= GIVES_UP;
        let cancelled = placed.cancelled.is_some_and(|at| now - at >= GIVES_UP);
        let over = given_up || cancelled || failed.is_some_and(|failed| failed >= placed.at);
        if !same || over || placed.number != number {
            return;
        }
        let (first, since) = *placed.first.get_or_insert((status, now));
        let succeeds = |status| (200..300).contains(&status);
        let taken = succeeds(status) && succeeds(first) && now - since < TAKEN_FOR;
        if taken && !names.3.is_empty() {
            self.answered.insert(names.clone());
        }
    }

    pub(super) fn acknowledged(&mut self, names: &Names) {
        self.acknowledged.insert(names.clone());
    }

    /// BYE, in either direction.
    pub(super) fn ended(&mut self, names: &Names) {
        self.ended.insert(names.clone());
    }

    pub(super) fn forget(&mut self, host: SocketAddr) {
        self.placed.retain(|(of, _), _| *of != host);
        self.answered.retain(|(of, ..)| *of != host);
    }

    pub(super) fn close(&self) -> Result<(), Broken> {
        for (done, what) in [(&self.acknowledged, "ACK"), (&self.ended, "BYE")] {
            if let Some((host, _, _, tag)) = self.answered.difference(done).next() {
                let (host, tag) = (ladder::name(*host), String::from_utf8_lossy(tag));
                let detail = format!("{host}: the 200 with tag {tag} has no {what}");
                return Err((Rule::ForksEnd, detail));
            }
        }
        Ok(())
    }
}
