//! What a call's task stores while the call lives, and when it is over.

use std::sync::Arc;
use std::time::Duration;

use agent_hook::CallFacts;
use call_control::{Input, Progress, Stage};
use timebase::UnixMillis;
use tokio::task::JoinSet;
use tracing::Instrument;
use transfer_store::CallRecord;

use super::super::checkpoint::{self, Base, Kept, Whose};
use super::super::record;
use super::CallTask;

/// How long a message waits for what has to be stored before it.
const AHEAD: Duration = Duration::from_secs(2);

/// Checkpoints: one is written at a time, and what changes meanwhile is in the next.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    base: Option<Arc<Base>>,
    last: Option<Progress>,
    pub(super) writes: JoinSet<Kept>,
}

impl CallTask {
    /// The same with what its checkpoints begin with.
    pub(in super::super) fn keeping(mut self, base: Base) -> Self {
        self.keeping.base = Some(Arc::new(base));
        self
    }

    /// Stores how far the call is, if that is news.
    pub(super) fn keep(&mut self, facts: &CallFacts) {
        let (Some(base), Some(progress)) = (&self.keeping.base, self.call.progress()) else {
            return;
        };
        let is_news = self.keeping.last.as_ref() != Some(&progress);
        if !is_news || !self.keeping.writes.is_empty() {
            return;
        }
        let base = Arc::clone(base);
        self.write(facts, base, progress);
    }

    /// What has to be in the store before the call's next message leaves: the dialog before its 200, since a
    /// caller that nobody knows of would be left in silence, and a REFER before it is made, since it is not to be
    /// made twice. A store that does not answer delays the message, and no more.
    pub(super) async fn keep_ahead(&mut self, facts: &CallFacts) {
        let (Some(base), Some(progress)) = (&self.keeping.base, self.call.progress()) else {
            return;
        };
        let last = self.keeping.last.as_ref();
        let refers = |progress: &Progress| progress.stage == Stage::Referred;
        let is_due = last.is_none_or(|last| refers(&progress) && !refers(last));
        if !is_due {
            return;
        }
        let base = Arc::clone(base);
        while self.keeping.writes.join_next().await.is_some() {}
        self.write(facts, base, progress);
        let written = self.keeping.writes.join_next();
        if let Ok(Some(Ok(kept))) = tokio::time::timeout(AHEAD, written).await {
            if kept == Kept::TakenOver {
                while self.call.poll_output().is_some() {}
            }
            self.kept(kept);
        }
    }

    fn write(&mut self, facts: &CallFacts, base: Arc<Base>, progress: Progress) {
        self.keeping.last = Some(progress.clone());
        let whose = Whose {
            call: facts.call.clone(),
            account: facts.account.clone(),
            transfer: facts.transfer.clone(),
        };
        let (store, sip) = (self.shared.store.clone(), self.sip.clone());
        let write = checkpoint::store(store, sip, base, whose, progress);
        self.keeping.writes.spawn(write.in_current_span());
    }

    pub(super) fn kept(&mut self, kept: Kept) {
        match kept {
            Kept::Stored => {}
            Kept::Failed => self.keeping.last = None,
            Kept::TakenOver => {
                tracing::error!("the call is another process's now");
                self.feed(Input::TakenOver);
            }
        }
    }

    /// The record takes the checkpoint's place, so it waits for one that is being written.
    pub(super) fn record(&mut self, mut kept: CallRecord) {
        if let Some(base) = &self.keeping.base {
            kept.arrived_at = UnixMillis(base.arrived_at);
        }
        let mut writes = std::mem::take(&mut self.keeping.writes);
        let shared = Arc::clone(&self.shared);
        let keep = async move {
            while writes.join_next().await.is_some() {}
            record::keep((&shared.store, &shared.backlog), kept).await;
        };
        tokio::spawn(keep.in_current_span());
    }
}
