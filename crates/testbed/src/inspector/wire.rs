//! What RFC 3261 asks of the messages that a host sends, given those that it heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use sip_message::{Message, Method, NameAddr, ParseError, Via};
use timebase::Now;

use super::forks::Forks;
use super::{Broken, Rule};
use crate::plan;

/// 64·T1: how long a transaction lasts; after this long without an ACK, BYE is sent all the same
/// (RFC 3261 §13.3.1.4).
const GIVES_UP: Duration = Duration::from_secs(32);

/// T4: how long a refused INVITE's transaction goes on after its ACK (RFC 3261 §17.2.1, timer I).
const CONFIRMED: Duration = Duration::from_secs(5);

/// A transaction as its responder names it: the top Via's sent-by and branch, and the method.
type Answering = (SocketAddr, Bytes, Bytes, Method);

/// A dialog as one of its ends names it: Call-ID, local tag, remote tag.
type DialogKey = (SocketAddr, Bytes, Bytes, Bytes);

/// The messages of a run, as far as later ones are judged by them.
#[derive(Debug, Default)]
pub(super) struct Wire {
    asked: BTreeSet<Answering>,
    /// Of those, what also came corrupted: one copy may pass where the other is refused.
    spoiled: BTreeSet<Answering>,
    finals: BTreeMap<Answering, (u16, Bytes, Now)>,
    /// The Call-ID, CSeq and method that a branch was first used for.
    branches: BTreeMap<(SocketAddr, Bytes), (Bytes, u32, Method)>,
    /// The highest CSeq in each direction of a dialog; the remote tag is empty before there is one.
    highest: BTreeMap<DialogKey, u32>,
    /// When each request was last begun, by its dialog, CSeq and method.
    begun: BTreeMap<(DialogKey, u32, Method), Now>,
    /// When a host last learnt that something did not get through.
    failures: BTreeMap<SocketAddr, Now>,
    dialogs: BTreeMap<DialogKey, Dialog>,
    /// Hosts that heard something which nobody said.
    misled: BTreeSet<SocketAddr>,
    forks: Forks,
    /// Requests in dialogs that those who heard them do not know.
    unknown: BTreeSet<Answering>,
}

#[derive(Debug, Default)]
struct Dialog {
    /// Whether its INVITE was ours.
    placed: bool,
    /// When the first 2xx left or came.
    answered: Option<Now>,
    acknowledged: bool,
    /// The peer's BYE was answered.
    over: bool,
}

/// What identifies a message.
struct Names {
    call_id: Bytes,
    number: u32,
    method: Method,
    from_tag: Bytes,
    to_tag: Bytes,
    sent_by: Bytes,
    branch: Bytes,
}

impl Names {
    fn of(message: &Message) -> Result<Self, ParseError> {
        let tag = |name: NameAddr| Bytes::copy_from_slice(name.tag().unwrap_or_default());
        let via = message.via()?;
        let cseq = message.cseq()?;
        Ok(Self {
            call_id: Bytes::copy_from_slice(message.call_id()?),
            number: cseq.number,
            method: cseq.method,
            from_tag: tag(message.from()?),
            to_tag: tag(message.to()?),
            sent_by: sent_by(&via),
            branch: Bytes::copy_from_slice(via.branch().unwrap_or_default()),
        })
    }

    fn answering(&self, host: SocketAddr) -> Answering {
        let (by, branch) = (self.sent_by.clone(), self.branch.clone());
        (host, by, branch, self.method.clone())
    }

    /// The dialog as the end sees it whose tag is in From, or in To.
    fn dialog(&self, host: SocketAddr, local_is_from: bool) -> DialogKey {
        let (local, remote) = if local_is_from {
            (&self.from_tag, &self.to_tag)
        } else {
            (&self.to_tag, &self.from_tag)
        };
        (host, self.call_id.clone(), local.clone(), remote.clone())
    }
}

fn sent_by(via: &Via) -> Bytes {
    let mut text = via.host().to_vec();
    text.extend(via.port().unwrap_or(5060).to_be_bytes());
    text.into()
}

impl Wire {
    /// A connection of a host broke, or could not be opened.
    pub(super) fn failed(&mut self, now: Now, host: SocketAddr) {
        self.failures.insert(host, now);
    }

    /// Whether one of these hosts heard something which nobody said.
    pub(super) fn misled(&self, hosts: &[SocketAddr]) -> bool {
        hosts.iter().any(|host| self.misled.contains(host))
    }

    pub(super) fn garbled(&mut self, host: SocketAddr) {
        self.misled.insert(host);
    }

    /// A message reaches a host.
    pub(super) fn heard(&mut self, now: Now, host: SocketAddr, message: &Message, corrupted: bool) {
        if corrupted {
            self.misled.insert(host);
        }
        let Ok(names) = Names::of(message) else {
            return self.garbled(host);
        };
        match message.status() {
            None if message.method() == Method::Ack => {
                if let Some(dialog) = self.dialogs.get_mut(&names.dialog(host, false)) {
                    dialog.acknowledged = true;
                }
            }
            None => self.heard_request(host, &names, corrupted),
            Some(status) => self.heard_response(now, host, (status, corrupted), names),
        }
    }

    fn heard_request(&mut self, host: SocketAddr, names: &Names, corrupted: bool) {
        if corrupted {
            self.spoiled.insert(names.answering(host));
        }
        self.asked.insert(names.answering(host));
        self.heard_inside(host, names);
        // Whoever goes on inside the dialog has the 2xx that made it (RFC 5407 §3.1.4).
        if names.method != Method::Cancel
            && let Some(dialog) = self.dialogs.get_mut(&names.dialog(host, false))
        {
            dialog.acknowledged |= dialog.answered.is_some();
        }
    }

    fn heard_response(
        &mut self,
        now: Now,
        host: SocketAddr,
        (status, corrupted): (u16, bool),
        mut names: Names,
    ) {
        if matches!(status, 408 | 481) {
            // The peer knows the dialog no more (RFC 3261 §12.2.1.2).
            self.forks.ended(&names.dialog(host, true));
        }
        if names.method != Method::Invite {
            return;
        }
        let branch = (host, names.branch.clone());
        if let Some(tag) = self.forks.own_tag(&branch) {
            // An answer is known by its branch (RFC 3261 §17.1.3), not by its From tag.
            names.from_tag = tag.clone();
        }
        if status < 200 {
            self.forks.progressed(now, &branch);
        } else if !corrupted {
            self.forks_answer(now, host, status, &names);
        }
        if (101..300).contains(&status) {
            let dialog = self.dialogs.entry(names.dialog(host, true)).or_default();
            dialog.placed = true;
            if status >= 200 {
                dialog.answered.get_or_insert(now);
            }
        }
    }

    fn forks_answer(&mut self, now: Now, host: SocketAddr, status: u16, names: &Names) {
        let branch = (host, names.branch.clone());
        let dialog = names.dialog(host, true);
        let failed = self.failures.get(&host).copied();
        self.forks
            .answered((now, failed), &branch, (status, names.number), &dialog);
    }

    /// A request reaches a host: whether it knows the dialog.
    fn heard_inside(&mut self, host: SocketAddr, names: &Names) {
        let dialog = names.dialog(host, false);
        if names.method == Method::Bye {
            self.forks.ended(&dialog);
        }
        // A peer of RFC 2543 may have answered without a tag (RFC 3261 §12.1.2).
        let mut untagged = dialog.clone();
        untagged.3.clear();
        let known = [&dialog, &untagged].map(|dialog| self.dialogs.contains_key(dialog));
        if !names.to_tag.is_empty() && known == [false; 2] {
            self.unknown.insert(names.answering(host));
        }
    }

    /// The host's process died: nothing of what it knew binds it, and nothing serves it.
    pub(super) fn forget(&mut self, host: SocketAddr) {
        self.asked.retain(|(of, ..)| *of != host);
        self.finals.retain(|(of, ..), _| *of != host);
        self.unknown.retain(|(of, ..)| *of != host);
        self.highest.retain(|(of, ..), _| *of != host);
        self.begun.retain(|((of, ..), ..), _| *of != host);
        self.dialogs.retain(|(of, ..), _| *of != host);
        self.forks.forget(host);
    }

    /// Everything is quiet.
    pub(super) fn close(&self) -> Result<(), Broken> {
        if self.misled.is_empty() {
            self.forks.close()
        } else {
            Ok(())
        }
    }

    /// Whether a dialog has its 2xx; without a remote tag, from a peer that gave none.
    fn has_answer(&self, dialog: &DialogKey) -> bool {
        let known = self.dialogs.get(dialog);
        known.is_some_and(|dialog| dialog.answered.is_some())
    }

    /// What a request that leaves means for who answered before.
    fn asks(&mut self, now: Now, host: SocketAddr, names: &Names) {
        let dialog = names.dialog(host, true);
        let begins = names.to_tag.is_empty() && !self.has_answer(&dialog);
        if names.method == Method::Invite && begins {
            let placed = (names.call_id.clone(), names.from_tag.clone(), names.number);
            self.forks.placed(now, (host, names.branch.clone()), placed);
        } else if names.method == Method::Cancel {
            self.forks.cancelled(now, &(host, names.branch.clone()));
        } else if names.method == Method::Ack {
            self.forks.acknowledged(&dialog);
        } else if names.method == Method::Bye {
            self.forks.ended(&dialog);
        }
    }

    /// Once the peer's BYE is answered the dialog has its end (RFC 3261 §15.1.2).
    fn one_bye(&self, host: SocketAddr, names: &Names) -> Result<(), Broken> {
        let known = self.branches.contains_key(&(host, names.branch.clone()));
        let dialog = self.dialogs.get(&names.dialog(host, true));
        let over = dialog.is_some_and(|dialog| dialog.over);
        if names.method == Method::Bye && over && !known {
            let detail = format!("BYE {} after the peer's was answered", names.number);
            return Err((Rule::OneBye, detail));
        }
        Ok(())
    }

    /// A message leaves a host; as an echo, at once upon something that nobody said.
    pub(super) fn sent(
        &mut self,
        now: Now,
        ends: (SocketAddr, SocketAddr),
        message: &Message,
        echo: bool,
    ) -> Result<(), Broken> {
        let Ok(names) = Names::of(message) else {
            let broken = (Rule::WellFormed, "a message without its names".to_owned());
            return if echo { Ok(()) } else { Err(broken) };
        };
        match message.status() {
            Some(200..) if echo => Ok(()),
            Some(status) => self.response(now, ends.0, status, &names),
            None => {
                self.asks(now, ends.0, &names);
                let one_bye = self.one_bye(ends.0, &names);
                self.branch(now, ends.0, &names, &message.method())?;
                if !self.misled.is_empty() {
                    // What one host was misled by, its answers tell the others.
                    return Ok(());
                }
                one_bye?;
                self.inside(now, ends.0, &names)?;
                credentials(ends.1, message)
            }
        }
    }

    fn response(
        &mut self,
        now: Now,
        host: SocketAddr,
        status: u16,
        names: &Names,
    ) -> Result<(), Broken> {
        let key = names.answering(host);
        let spoiled = self.spoiled.contains(&key);
        let misled = self.misled.contains(&host);
        if !misled && (names.method == Method::Ack || !self.asked.contains(&key)) {
            let detail = format!("{status} to {} that never came", names.method);
            return Err((Rule::AnswersWhatCame, detail));
        }
        let succeeds = (200..300).contains(&status);
        if succeeds && !misled && self.unknown.contains(&key) {
            let detail = format!("{status} to {} in an unknown dialog", names.method);
            return Err((Rule::UnknownDialogsGone, detail));
        }
        if succeeds && names.method == Method::Bye {
            let dialog = self.dialogs.entry(names.dialog(host, false)).or_default();
            dialog.over = true;
        }
        if names.method == Method::Invite && (101..300).contains(&status) {
            let dialog = self.dialogs.entry(names.dialog(host, false)).or_default();
            if status >= 200 {
                dialog.answered.get_or_insert(now);
            }
        }
        if status < 200 {
            return Ok(());
        }
        let this = (status, names.to_tag.clone(), now);
        let first = self.finals.entry(key).or_insert_with(|| this.clone());
        // A straggler that comes when the transaction is over is another request.
        let same = (first.0, &first.1) == (this.0, &this.1);
        // A CANCEL that overtook its INVITE and comes again finds it (RFC 3261 §9.2).
        let found = names.method == Method::Cancel && (first.0, status) == (481, 200);
        // What comes again over another connection does so after its transaction's end: timer J is
        // zero on streams (RFC 3261 §17.2.2).
        let failed = self.failures.get(&host).copied();
        let anew = failed.is_some_and(|failed| failed >= first.2);
        // 482 says that the same INVITE is being answered as another transaction, which may be over
        // meanwhile, or may have begun with something that nobody said.
        let merged = first.0 == 482 || status == 482;
        let anew = anew || merged && (misled || now - first.2 >= CONFIRMED);
        if now - first.2 >= GIVES_UP || same || found || anew || spoiled {
            return Ok(());
        }
        let detail = format!("{status} {} after {}", names.method, first.0);
        Err((Rule::OneFinalResponse, detail))
    }

    /// RFC 3261 §8.1.1.7 and §12.2.1.1: a new transaction has a new branch and a higher CSeq.
    fn branch(
        &mut self,
        now: Now,
        host: SocketAddr,
        names: &Names,
        method: &Method,
    ) -> Result<(), Broken> {
        let key = (host, names.branch.clone());
        let follows = matches!(method, Method::Ack | Method::Cancel);
        if let Some((call_id, number, first)) = self.branches.get(&key) {
            let same = *call_id == names.call_id && *number == names.number;
            if same && (first == method || follows && *first == Method::Invite) {
                return Ok(());
            }
            let detail = format!(
                "{first} {number} and {method} {} share a branch",
                names.number
            );
            return Err((Rule::BranchesUnique, detail));
        }
        if !names.branch.starts_with(b"z9hG4bK") || *method == Method::Cancel {
            let detail = format!("{method} with the branch of no INVITE, or no branch");
            return Err((Rule::BranchesUnique, detail));
        }
        self.branches
            .insert(key, (names.call_id.clone(), names.number, method.clone()));
        if *method == Method::Ack {
            return Ok(());
        }
        self.sequence(now, host, names)
    }

    /// After a failure the same request may go out again as another transaction (RFC 3263 §4.3).
    fn sequence(&mut self, now: Now, host: SocketAddr, names: &Names) -> Result<(), Broken> {
        let misled = self.misled.contains(&host);
        let inside = self.has_answer(&names.dialog(host, true));
        if names.to_tag.is_empty() && (inside || misled) {
            // To a peer that answered without a tag, or so it seemed: a dialog of its own.
            return Ok(());
        }
        let key = names.dialog(host, true);
        let this = (key.clone(), names.number, names.method.clone());
        let failed = self.failures.get(&host).copied();
        if let Some(at) = self.begun.insert(this, now)
            && failed.is_some_and(|failed| failed >= at)
        {
            return Ok(());
        }
        let outside = (key.0, key.1.clone(), key.2.clone(), Bytes::new());
        let first = self.highest.get(&outside).copied();
        let last = first.max(self.highest.get(&key).copied());
        if let Some(last) = last.filter(|last| names.number <= *last) {
            let detail = format!("{} {} after {last}", names.method, names.number);
            return Err((Rule::SequenceRises, detail));
        }
        self.highest.insert(key, names.number);
        Ok(())
    }

    /// RFC 3261 §12.2 and §15: inside a dialog there must be one, and a callee waits for the ACK.
    fn inside(&self, now: Now, host: SocketAddr, names: &Names) -> Result<(), Broken> {
        if names.to_tag.is_empty() || names.method == Method::Ack {
            return Ok(());
        }
        let method = &names.method;
        let Some(dialog) = self.dialogs.get(&names.dialog(host, true)) else {
            return Err((Rule::DialogFirst, format!("{method} in no dialog")));
        };
        let early = matches!(method, Method::Update | Method::Prack);
        let overdue = dialog.answered.is_some_and(|at| now - at >= GIVES_UP);
        if dialog.placed || early || dialog.acknowledged || overdue {
            return Ok(());
        }
        Err((Rule::DialogFirst, format!("{method} before the ACK")))
    }
}

/// Whether the credentials of a request are for where it goes.
fn credentials(to: SocketAddr, request: &Message) -> Result<(), Broken> {
    let own = request.authorization().chain(request.proxy_authorization());
    for credentials in own.flatten() {
        let realm = credentials.param("realm").unwrap_or_default();
        let realm = String::from_utf8_lossy(&realm);
        let invite = matches!(request.method(), Method::Invite | Method::Ack);
        if !plan::knows(to, &realm, invite) {
            let detail = format!("credentials for {realm} go to {to}");
            return Err((Rule::NoForeignCredentials, detail));
        }
    }
    Ok(())
}
