//! The directory of live calls: handles to the tasks that own them, and snapshots of what they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_hook::HookToken;

use call_control::Phase;
use call_control::transfer::{AccountId, OutputContext, TransferId};
use dashmap::DashMap;
use media_bridge::MediaFigures;
use subtle::ConstantTimeEq;
use timebase::UnixMillis;
use tokio::sync::{mpsc, oneshot, watch};
use transfer_api::{CallOrder, Ladder, LiveCall, TrunkShown};

use super::media_figures;
use super::shared::Shared;

/// What an operator, or an agent beside its link, asks of a call.
#[derive(Debug)]
pub enum Order {
    /// Hang up on both sides.
    HangUp,
    /// Hand the call back as if its agent were lost.
    HandBack(&'static str),
    /// Another process has the call.
    TakenOver,
    /// The agent is done, without a result.
    AgentHangUp,
    /// The agent's result.
    Complete {
        /// The result.
        output: Box<OutputContext>,
        /// Told whether it counts, and if not, why.
        answer: oneshot::Sender<Result<(), String>>,
    },
}

/// What a call is doing, for those who look.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The gateway's id of the call.
    pub call: String,
    /// The transfer it came for.
    pub transfer: TransferId,
    /// Whose.
    pub account: AccountId,
    /// The trunk it came over.
    pub trunk: String,
    /// Call-ID of the INVITE.
    pub sip_call_id: String,
    /// The caller's user part or URI.
    pub from: String,
    /// The URI that was called.
    pub to: String,
    /// When the INVITE came.
    pub arrived_at: UnixMillis,
    /// Where it is.
    pub phase: &'static str,
    /// The figures of its media, once there are any.
    pub figures: Option<watch::Receiver<MediaFigures>>,
}

/// A live call, as others know it.
#[derive(Clone, Debug)]
pub struct CallHandle {
    orders: mpsc::Sender<Order>,
    snapshot: watch::Receiver<Snapshot>,
    /// The secret by which the agent names this call beside its link.
    token: HookToken,
    account_sid: Arc<str>,
}

impl CallHandle {
    pub(super) fn new(
        orders: mpsc::Sender<Order>,
        snapshot: watch::Receiver<Snapshot>,
        token: HookToken,
    ) -> Self {
        let account_sid = agent_hook::account_sid(&snapshot.borrow().account).into();
        Self {
            orders,
            snapshot,
            token,
            account_sid,
        }
    }

    /// Whether a secret is that of this call's agent; compared in constant time.
    pub(super) fn is_token(&self, given: &str) -> bool {
        self.token
            .expose()
            .as_bytes()
            .ct_eq(given.as_bytes())
            .into()
    }

    /// The accountSid that the agent was told.
    pub(super) fn account_sid(&self) -> &str {
        &self.account_sid
    }

    /// Posts an order; false if the call is over or has one waiting.
    #[must_use]
    pub fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// What the call is doing.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }
}

/// All live calls.
#[derive(Debug, Default)]
pub struct LiveCalls {
    by_call: DashMap<String, CallHandle>,
    /// The gateway's ids of the calls by their callSid.
    by_sid: DashMap<String, String>,
    count: AtomicUsize,
}

impl LiveCalls {
    /// Takes a place among `limit` calls; [`LiveCalls::remove`] gives it back.
    pub(super) fn admit(&self, call: String, handle: CallHandle, limit: usize) -> bool {
        let counted = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < limit).then_some(count + 1)
            });
        if counted.is_ok() {
            self.by_sid
                .insert(agent_hook::call_sid(&call), call.clone());
            self.by_call.insert(call, handle);
        }
        counted.is_ok()
    }

    pub(super) fn remove(&self, call: &str) {
        if self.by_call.remove(call).is_some() {
            self.by_sid.remove(&agent_hook::call_sid(call));
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The handle of a call.
    #[must_use]
    pub fn get(&self, call: &str) -> Option<CallHandle> {
        self.by_call.get(call).map(|handle| handle.clone())
    }

    /// The handle of the call that agents know by a callSid.
    pub(super) fn by_sid(&self, sid: &str) -> Option<CallHandle> {
        let call = self.by_sid.get(sid)?.clone();
        self.get(&call)
    }

    /// Handles of all calls.
    #[must_use]
    pub fn all(&self) -> Vec<CallHandle> {
        self.by_call
            .iter()
            .map(|entry| entry.value().clone())
            .collect()
    }
}

/// The name of a phase, as the admin API shows it.
pub(super) const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Arriving => "arriving",
        Phase::Answering => "answering",
        Phase::WithAgent => "with_agent",
        Phase::HandingBack => "handing_back",
        Phase::Bridged => "bridged",
        Phase::Ending => "ending",
        Phase::Ended => "ended",
    }
}

impl From<Snapshot> for LiveCall {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            call: snapshot.call,
            transfer: snapshot.transfer,
            account: snapshot.account,
            trunk: snapshot.trunk,
            sip_call_id: snapshot.sip_call_id,
            from: snapshot.from,
            to: snapshot.to,
            arrived_at: snapshot.arrived_at,
            phase: snapshot.phase,
            media: snapshot
                .figures
                .and_then(|figures| media_figures::shown(&figures.borrow())),
        }
    }
}

/// The live calls as the admin API sees them.
#[derive(Debug)]
pub(super) struct Console(pub(super) Arc<Shared>);

impl transfer_api::LiveCalls for Console {
    fn all(&self) -> Vec<LiveCall> {
        let all = self.0.live.all();
        all.iter().map(|call| call.snapshot().into()).collect()
    }

    fn one(&self, call: &str) -> Option<LiveCall> {
        self.0.live.get(call).map(|call| call.snapshot().into())
    }

    fn trunks(&self) -> Vec<TrunkShown> {
        let rules = self.0.rules();
        let shown = rules.directory.trunks().map(|trunk| {
            let health = self.0.trunk_health.of(trunk);
            let health = health.and_then(|health| serde_json::to_value(health).ok());
            TrunkShown {
                account: trunk.policy.account.clone(),
                trunk: trunk.name.clone(),
                calls: trunk.calls(),
                max_calls: trunk.max_calls,
                outbound_proxy: trunk.outbound_proxy.clone(),
                health: match health {
                    Some(serde_json::Value::Object(health)) => health,
                    Some(_) | None => serde_json::Map::new(),
                },
            }
        });
        shown.collect()
    }

    fn ladder(&self, sip_call_id: &str) -> Option<Ladder> {
        self.0.ladders.of(sip_call_id)
    }

    fn order(&self, call: &str, order: CallOrder) -> bool {
        let order = match order {
            CallOrder::HangUp => Order::HangUp,
            CallOrder::HandBack => Order::HandBack("operator"),
        };
        self.0.live.get(call).is_some_and(|call| call.order(order))
    }
}
