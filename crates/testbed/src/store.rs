//! The store of transfers, in memory: ACTIVE, ONGOING, COMPLETED, and a fence for every claim.

use std::collections::BTreeMap;

use call_control::transfer::{NewTransfer, OutputContext, Status, Transfer};
use call_control::{NotClaimed, StoreReply};
use timebase::{Now, UnixMillis};

/// The transfers of a run.
#[derive(Debug, Default)]
pub(crate) struct Store {
    rows: BTreeMap<String, Row>,
}

#[derive(Debug)]
struct Row {
    transfer: Transfer,
    fence: i64,
    /// The call that has it.
    holder: Option<usize>,
    /// How often it became COMPLETED.
    completions: u32,
}

/// A write was made with a claim that does not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale;

impl Store {
    pub(crate) fn register(&mut self, registered: NewTransfer) {
        let id = registered.id.0.clone();
        let transfer = Transfer {
            registered,
            status: Status::Active,
            created_at: UnixMillis(0),
            call_received_at: None,
            completed_at: None,
            output: None,
        };
        let row = Row {
            transfer,
            fence: 0,
            holder: None,
            completions: 0,
        };
        self.rows.insert(id, row);
    }

    pub(crate) fn claim(&mut self, now: Now, id: &str, seat: usize) -> StoreReply {
        let Some(row) = self.rows.get_mut(id) else {
            return StoreReply::NotClaimed(NotClaimed::Unknown);
        };
        match row.transfer.status {
            Status::Active => {
                row.transfer.status = Status::Ongoing;
                row.transfer.call_received_at = Some(wall(now));
                row.fence += 1;
                row.holder = Some(seat);
                StoreReply::Claimed {
                    transfer: Box::new(row.transfer.clone()),
                    fence: row.fence,
                }
            }
            Status::Ongoing => StoreReply::NotClaimed(NotClaimed::Ongoing),
            Status::Completed | Status::Expired => StoreReply::NotClaimed(NotClaimed::Over),
        }
    }

    pub(crate) fn release(&mut self, id: &str, fence: i64) -> Result<(), Stale> {
        let row = self.held(id, fence)?;
        if row.transfer.status != Status::Ongoing {
            return Err(Stale);
        }
        row.transfer.status = Status::Active;
        row.transfer.call_received_at = None;
        row.holder = None;
        Ok(())
    }

    pub(crate) fn complete(
        &mut self,
        now: Now,
        id: &str,
        fence: i64,
        output: Option<OutputContext>,
    ) -> Result<(), Stale> {
        let row = self.held(id, fence)?;
        if row.transfer.status == Status::Active {
            return Err(Stale);
        }
        row.completions += u32::from(row.transfer.status != Status::Completed);
        row.transfer.status = Status::Completed;
        row.transfer.completed_at.get_or_insert(wall(now));
        row.transfer.output = output.or(row.transfer.output.take());
        Ok(())
    }

    /// Completes what a dead process had, so that nothing it left behind can write; says what it was.
    pub(crate) fn recover(&mut self, now: Now) -> Vec<String> {
        let ongoing = |(_, row): &(&String, &mut Row)| row.transfer.status == Status::Ongoing;
        let mut recovered = Vec::new();
        for (id, row) in self.rows.iter_mut().filter(ongoing) {
            row.fence += 1;
            row.holder = None;
            row.completions += 1;
            row.transfer.status = Status::Completed;
            row.transfer.completed_at.get_or_insert(wall(now));
            recovered.push(id.clone());
        }
        recovered
    }

    /// Whether a transfer is COMPLETED with the agent's result.
    pub(crate) fn has_result(&self, id: &str) -> bool {
        self.rows.get(id).is_some_and(|row| {
            row.transfer.status == Status::Completed && row.transfer.output.is_some()
        })
    }

    /// The call that has a transfer, if it is ONGOING.
    pub(crate) fn holder(&self, id: &str) -> Option<usize> {
        let row = self.rows.get(id)?;
        row.holder
            .filter(|_| row.transfer.status == Status::Ongoing)
    }

    /// Every transfer's status, and how often it became COMPLETED.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (&str, Status, u32)> {
        self.rows
            .iter()
            .map(|(id, row)| (id.as_str(), row.transfer.status, row.completions))
    }

    fn held(&mut self, id: &str, fence: i64) -> Result<&mut Row, Stale> {
        let row = self.rows.get_mut(id);
        row.filter(|row| row.fence == fence && row.holder.is_some())
            .ok_or(Stale)
    }
}

fn wall(now: Now) -> UnixMillis {
    UnixMillis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}
