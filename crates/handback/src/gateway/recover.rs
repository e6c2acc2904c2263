//! Calls of processes that are gone, brought to their end here.

use std::sync::Arc;
use std::time::Instant;

use agent_hook::{CallFacts, HookToken};
use call_control::transfer::{InputContext, Transfer};
use call_control::{Call, Recovered};
use sip_core::{LegId, Restore, TrunkId};
use sip_transport::{LegEvents, SipHandle};
use tokio::sync::{mpsc, watch};
use transfer_store::{CallRecord, Checkpoint, Orphan, TakenOver};

use super::admission::{LEG_EVENTS, ORDERS};
use super::call_task::{CallTask, Mailbox};
use super::checkpoint::{Dialog, State};
use super::directory::Trunk;
use super::live_calls::{CallHandle, Snapshot};
use super::shared::Shared;

/// Begins a task for each call.
pub(super) async fn resume(shared: &Arc<Shared>, taken: TakenOver) {
    let Some(sip) = shared.sip.get().cloned() else {
        return;
    };
    for orphan in taken.calls {
        let Orphan {
            checkpoint,
            transfer,
            ..
        } = orphan;
        match (read(shared, &checkpoint), transfer) {
            (Some((state, trunk_id, trunk)), Some(transfer)) => {
                let found = Found {
                    state,
                    trunk_id,
                    trunk,
                    checkpoint,
                    transfer,
                };
                found.begin(shared, &sip).await;
            }
            (_, _) => give_up(shared, checkpoint).await,
        }
    }
}

/// A call that can be ended well.
struct Found {
    state: State,
    trunk_id: TrunkId,
    trunk: Arc<Trunk>,
    checkpoint: Checkpoint,
    transfer: Transfer,
}

/// The state, and the trunk that the call came over; should that be gone, another one of its account.
fn read(shared: &Shared, checkpoint: &Checkpoint) -> Option<(State, TrunkId, Arc<Trunk>)> {
    let state: State = match serde_json::from_str(&checkpoint.state) {
        Ok(state) => state,
        Err(error) => {
            tracing::error!(call = checkpoint.call, %error, "a checkpoint cannot be read");
            return None;
        }
    };
    let rules = shared.rules();
    let found = rules.directory.find(&checkpoint.account, &state.base.trunk);
    if found.is_none() {
        tracing::error!(
            call = checkpoint.call,
            trunk = state.base.trunk,
            "the trunk of a call that was taken over is not configured"
        );
    }
    let (trunk_id, trunk) = found?;
    Some((state, trunk_id, trunk))
}

/// Nothing can be done for its caller; its transfer does not stay ONGOING.
async fn give_up(shared: &Shared, checkpoint: Checkpoint) {
    let now = timebase::wall_now();
    let Checkpoint {
        call,
        account,
        transfer,
        fence,
        ..
    } = checkpoint;
    let completed = shared.store.complete(&account, &transfer, fence, None);
    if let Err(error) = completed.await {
        tracing::warn!(%error, call, "a call that was taken over is not completed");
    }
    let record = CallRecord {
        call,
        account,
        transfer,
        trunk: String::new(),
        outcome: "node_lost".to_owned(),
        arrived_at: now,
        ended_at: now,
        record: "{}".to_owned(),
    };
    if let Err(error) = shared.store.record_call(record).await {
        tracing::warn!(%error, "a call that was taken over is not recorded");
    }
}

impl Found {
    async fn begin(self, shared: &Arc<Shared>, sip: &SipHandle) {
        let Self {
            state,
            trunk_id,
            trunk,
            checkpoint,
            transfer,
        } = self;
        let (leg_events, legs) = mpsc::channel(LEG_EVENTS);
        let (orders_in, orders) = mpsc::channel(ORDERS);
        let caller = restore(sip, &state.caller, Some(trunk_id), &leg_events).await;
        let target = match &state.target {
            Some(target) => Some(restore(sip, target, None, &leg_events).await),
            None => None,
        };
        let snapshot =
            (state.base).snapshot(&checkpoint.call, &checkpoint.account, &checkpoint.transfer);
        let agent = agent_facts(&snapshot);
        let (snapshots, shown) = watch::channel(snapshot);
        let handle = CallHandle::new(orders_in, shown, agent.token.clone());
        if !(shared.live).admit(checkpoint.call.clone(), handle, usize::MAX) {
            return;
        }
        let allow_refer = state.caller.allows_refer();
        let legs_of = (caller, trunk_id);
        let facts = (state.base).facts(legs_of, &trunk, &transfer.registered, allow_refer);
        let recovered = Recovered {
            transfer: Box::new(transfer),
            fence: checkpoint.fence.0,
            stage: state.stage(),
            agent: state.agent.clone(),
            target,
        };
        let now = shared.clock.now();
        let call = Call::recovered(now, facts, trunk.policy.clone(), recovered);
        let mailbox = Mailbox {
            leg_events,
            legs,
            orders,
        };
        let slot = trunk.take_place();
        let toward = state.caller.remote.ip();
        let task = CallTask::new(Arc::clone(shared), trunk, sip.clone(), call, mailbox)
            .toward(toward)
            .keeping(state.base);
        let turn = shared.turns.wait(Instant::now());
        tokio::spawn(task.run(agent, snapshots, (slot, turn)));
    }
}

async fn restore(
    sip: &SipHandle,
    dialog: &Dialog,
    trunk: Option<TrunkId>,
    events: &LegEvents,
) -> LegId {
    let (dialog, flow) = dialog.restored(sip);
    let leg = sip.new_leg();
    let restore = Restore {
        leg,
        dialog,
        flow,
        trunk,
    };
    if sip.restore(restore, events.clone()).await.is_err() {
        tracing::warn!("the SIP driver has ended");
    }
    leg
}

/// No agent is told of it: it goes back to the customer.
fn agent_facts(snapshot: &Snapshot) -> CallFacts {
    CallFacts {
        call: snapshot.call.clone(),
        account: snapshot.account.clone(),
        transfer: snapshot.transfer.clone(),
        conversation: String::new(),
        from: snapshot.from.clone(),
        to: snapshot.to.clone(),
        sip_call_id: snapshot.sip_call_id.clone(),
        referred_by: None,
        input: InputContext::default(),
        token: HookToken::random(),
        resume: false,
        checkpoint: None,
        earlier: Vec::new(),
        headers: Default::default(),
        bodies: Default::default(),
        sessions: Default::default(),
    }
}
