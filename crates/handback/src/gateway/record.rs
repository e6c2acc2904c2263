//! What is written when a call is over: a log line, the figures, and the record in the store.

use std::time::Duration;

use agent_hook::CallFacts;
use call_control::transfer::OutputContext;
use call_control::{Cause, Ender, Moment, Record, Step};
use media_bridge::MediaFigures;
use serde::Serialize;
use timebase::{Now, UnixMillis};
use tokio::sync::watch;
use transfer_api::{CallMedia, whole_milliseconds};
use transfer_store::{CallRecord, Store};

use super::backlog::{Backlog, Write};

/// How long the end of the media may take.
const MEDIA_END_WITHIN: Duration = Duration::from_millis(200);

/// The log line and the figures of a call that is over.
pub(super) fn call_ended(record: &Record) {
    let seconds = record.answered.map(|at| (record.ended - at).as_secs_f64());
    metrics::counter!("handback_calls_ended_total", "outcome" => record.outcome.name())
        .increment(1);
    metrics::counter!("handback_agent_reconnects_total").increment(record.reconnects.into());
    metrics::counter!("handback_agents_lost_total").increment(record.agent_lost.into());
    for step in steps(record) {
        let labels = [
            ("method", step.method.to_string()),
            ("result", step.result.name().to_owned()),
        ];
        metrics::counter!("handback_hand_back_steps_total", &labels).increment(1);
    }
    if let Some(seconds) = seconds {
        metrics::histogram!("handback_call_seconds").record(seconds);
    }
    if let Some(connect) = record.agent_connect {
        metrics::histogram!("handback_agent_connect_seconds").record(connect.as_secs_f64());
    }
    tracing::info!(
        outcome = %record.outcome,
        setup_ms = record.answered.map(|at| millis(at - record.arrived)),
        duration_ms = record.answered.map(|at| millis(record.ended - at)),
        ended_by = record.ended_by.name(),
        sip_cause = cause(record, "SIP"),
        q850_cause = cause(record, "Q.850"),
        reconnects = record.reconnects,
        "call ended"
    );
}

/// Every step of every chain, in order.
fn steps(record: &Record) -> impl Iterator<Item = &Step> {
    record.earlier_steps.iter().chain(record.outcome.steps())
}

/// The cause that the one who ended the call gave in a protocol, RFC 3326.
fn cause(record: &Record, protocol: &str) -> Option<u16> {
    let of = |cause: &&Cause| cause.protocol.eq_ignore_ascii_case(protocol);
    record.causes.iter().find(of)?.cause
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Everything about a call that the admin API shows as its `record`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept<'a> {
    sip_call_id: &'a str,
    from: &'a str,
    to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<String>,
    /// The status of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    ended_by: Ender,
    #[serde(skip_serializing_if = "<[Cause]>::is_empty")]
    causes: &'a [Cause],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<&'a Step>,
    agent: Agent,
    /// How its media were.
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<CallMedia>,
    #[serde(skip_serializing_if = "<[OutputContext]>::is_empty")]
    output_contexts: &'a [OutputContext],
    timeline: &'a [Moment],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<u64>,
    reconnects: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
}

/// The record of a call as the store keeps it.
pub(super) fn kept(
    record: &Record,
    facts: &CallFacts,
    trunk: &str,
    arrived_at: UnixMillis,
    media: Option<CallMedia>,
) -> CallRecord {
    let at = |now: Now| {
        let since = i64::try_from((now - record.arrived).as_millis()).unwrap_or(i64::MAX);
        UnixMillis(arrived_at.0.saturating_add(since))
    };
    let kept = Kept {
        sip_call_id: &facts.sip_call_id,
        from: &facts.from,
        to: &facts.to,
        answered_at: record.answered.map(|now| whole_milliseconds(at(now))),
        status: record.outcome.refusal(),
        ended_by: record.ended_by,
        causes: &record.causes,
        steps: steps(record).collect(),
        agent: Agent {
            connect_ms: record.agent_connect.map(millis),
            reconnects: record.reconnects,
            lost: record.agent_lost,
        },
        media,
        output_contexts: &record.results,
        timeline: &record.timeline,
    };
    CallRecord {
        call: facts.call.clone(),
        account: facts.account.clone(),
        transfer: facts.transfer.clone(),
        trunk: trunk.to_owned(),
        outcome: record.outcome.name().to_owned(),
        arrived_at,
        ended_at: at(record.ended),
        record: serde_json::to_string(&kept).unwrap_or_else(|_| "{}".to_owned()),
    }
}

/// The last figures of a call's media, once its session has ended; those of a second before where
/// that does not come.
pub(super) async fn last_figures(
    watched: Option<watch::Receiver<MediaFigures>>,
) -> Option<MediaFigures> {
    let mut watched = watched?;
    let ended = async { while watched.changed().await.is_ok() {} };
    let _ = tokio::time::timeout(MEDIA_END_WITHIN, ended).await;
    let last = *watched.borrow();
    Some(last)
}

/// Keeps a record; behind what waits for the store when that is away.
pub(super) async fn keep((store, backlog): (&Store, &Backlog), record: CallRecord) {
    if backlog.has(&record.account, &record.transfer)
        || store.record_call(record.clone()).await.is_err()
    {
        backlog.add(Write::Record(Box::new(record)));
    }
}
