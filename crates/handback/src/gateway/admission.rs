//! The door: an invitation that the endpoint let through becomes a call, or is refused at once.
//!
//! Runs in the SIP driver, so it never waits. The order of the refusals is that of the arrival table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use call_control::{Call, Facts, MediaRules, screen_offer};
use sip_core::{Invitation, Response};
use sip_transport::{Gate, LegEvents};
use timebase::Now;
use tokio::sync::{mpsc, watch};

use super::call_task::{CallTask, Mailbox};
use super::checkpoint::Base;
use super::directory::advertised;
use super::directory::{Trunk, TrunkSlot};
use super::families;
use super::identity;
use super::live_calls::{CallHandle, Snapshot};
use super::outward::Outward;
use super::shared::{Rules, Shared};

/// Events of its legs that may wait for a call; more than any call has in one round trip.
pub(super) const LEG_EVENTS: usize = 64;
pub(super) const ORDERS: usize = 4;

/// The gate of a gateway.
pub(super) fn gate(shared: Arc<Shared>) -> Gate {
    let mut rate = Rate::default();
    Box::new(move |now, invitation| admit(&shared, &mut rate, now, invitation))
}

fn admit(
    shared: &Arc<Shared>,
    rate: &mut Rate,
    now: Now,
    invitation: &Invitation,
) -> Result<LegEvents, Response> {
    let rules = shared.rules();
    let trunk = rules
        .directory
        .trunk(invitation.trunk)
        .ok_or_else(|| Response::new(403))?;
    if let Some(offer) = &invitation.offer {
        screen(offer, invitation, trunk)?;
    }
    let slot = trunk
        .admit()
        .ok_or_else(|| refused("trunk_limit", Response::new(503)))?;
    admit_to_node(shared, &rules, rate, now)?;
    if *shared.draining.borrow() {
        return Err(refused(
            "draining",
            Response::new(503).with_header("Retry-After", "5"),
        ));
    }
    start(shared, trunk, slot, &rules, now, invitation).ok_or_else(|| refused("node_limit", busy()))
}

fn screen(offer: &[u8], invitation: &Invitation, trunk: &Trunk) -> Result<(), Response> {
    screen_offer(offer, invitation.flow.local, &trunk.codecs, trunk.srtp).map_err(|why| {
        let refusal = Response::new(why.status());
        let refusal = match why.warning(&invitation.flow.local.to_string()) {
            Some(warning) => refusal.with_header("Warning", warning),
            None => refusal.with_reason("Bad SDP"),
        };
        refused("offer", refusal)
    })
}

fn admit_to_node(
    shared: &Shared,
    rules: &Rules,
    rate: &mut Rate,
    now: Now,
) -> Result<(), Response> {
    let limits = &rules.config.limits;
    let full = shared.live.len() >= usize::try_from(limits.calls).unwrap_or(usize::MAX);
    if full || !rate.take(now, limits.calls_per_second) {
        return Err(refused("node_limit", busy()));
    }
    if shared.turns.are_late() {
        return Err(refused("overload", busy()));
    }
    Ok(())
}

fn busy() -> Response {
    Response::new(503).with_header("Retry-After", "1")
}

fn refused(why: &'static str, refusal: Response) -> Response {
    metrics::counter!("handback_calls_refused_total", "reason" => why).increment(1);
    tracing::debug!(why, status = refusal.status, "call refused at the door");
    refusal
}

fn start(
    shared: &Arc<Shared>,
    trunk: &Arc<Trunk>,
    slot: TrunkSlot,
    rules: &Rules,
    now: Now,
    invitation: &Invitation,
) -> Option<LegEvents> {
    let sip = shared.sip.get()?.clone();
    let call_id = identity::new_call_id();
    let facts = facts(trunk, rules, invitation);
    let (leg_events, legs) = mpsc::channel(LEG_EVENTS);
    let (orders_in, orders) = mpsc::channel(ORDERS);
    let (snapshots, snapshot) = watch::channel(Snapshot {
        call: call_id.clone(),
        transfer: facts.transfer.clone(),
        account: trunk.policy.account.clone(),
        trunk: trunk.name.clone(),
        sip_call_id: invitation.caller.call_id.clone(),
        from: identity::calling(&invitation.caller),
        to: identity::called(&invitation.caller),
        arrived_at: timebase::wall_now(),
        phase: "arriving",
        figures: None,
    });
    let limit = usize::try_from(rules.config.limits.calls).unwrap_or(usize::MAX);
    let agent = identity::agent_facts(invitation, &snapshots.borrow());
    let handle = CallHandle::new(orders_in, snapshot, agent.token.clone());
    let base = Base::of(&facts, &handle.snapshot());
    if !shared.live.admit(call_id, handle, limit) {
        return None;
    }
    shared
        .ladders
        .begin(&invitation.caller.call_id, &facts.transfer);
    let call = Call::new(now, facts, trunk.policy.clone());
    let mailbox = Mailbox {
        leg_events: leg_events.clone(),
        legs,
        orders,
    };
    let task = CallTask::new(Arc::clone(shared), Arc::clone(trunk), sip, call, mailbox)
        .toward(families::caller(invitation))
        .keeping(base);
    let turn = shared.turns.wait(Instant::now());
    tokio::spawn(task.run(agent, snapshots, (slot, turn)));
    Some(leg_events)
}

fn facts(trunk: &Trunk, rules: &Rules, invitation: &Invitation) -> Facts {
    let host = sip_core::sent_by(&advertised(&rules.config), &invitation.flow);
    let mut outward = Outward::of(invitation, &trunk.profile);
    let brought = invitation
        .correlation
        .is_none()
        .then(|| Box::new(trunk.brought(invitation)));
    let transfer = match (&brought, &invitation.correlation) {
        (Some(brought), _) => brought.id.clone(),
        (None, correlation) => correlation.as_deref().unwrap_or_default().into(),
    };
    let said = identity::headers(&trunk.return_headers, &host, invitation, &transfer.0);
    outward.replace(said);
    Facts {
        leg: invitation.leg,
        trunk: invitation.trunk,
        transfer,
        offer: invitation.offer.clone(),
        reliability: invitation.reliability,
        allow_refer: invitation.allow_refer,
        max_forwards: invitation.max_forwards,
        caller_identity: identity::caller(&host, &invitation.caller),
        passed_on: outward.on_invite,
        on_refer: outward.on_refer,
        on_bye: outward.on_bye,
        in_refer_to: outward.in_refer_to,
        refer_to_parameters: outward.refer_to_parameters,
        refer_to_host: trunk.profile.refer_to_host(),
        referred_by: identity::referred_by(&trunk.profile.referred_by, &host, &invitation.caller),
        brought,
        tel_host: trunk.tel_host.clone(),
        session_id: identity::session_id(),
        codecs: trunk.codecs.clone(),
        media: MediaRules::new(trunk.srtp, trunk.latch, rand::random()),
    }
}

/// Calls in the current second, against `limits.calls_per_second`.
#[derive(Debug, Default)]
struct Rate {
    since: Now,
    taken: u32,
}

impl Rate {
    fn take(&mut self, now: Now, limit: u32) -> bool {
        if now - self.since >= Duration::from_secs(1) {
            *self = Self {
                since: now,
                taken: 0,
            };
        }
        let granted = self.taken < limit;
        self.taken += u32::from(granted);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_beyond_the_rate_wait_for_the_next_second() {
        let mut rate = Rate::default();
        let at = Now::from_millis;
        assert!((0..3).all(|_| rate.take(at(5_000), 3)));
        assert!(!rate.take(at(5_999), 3));
        assert!(rate.take(at(6_000), 3));
    }
}
