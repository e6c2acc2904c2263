//! The admin listener: health, readiness, metrics, and the console's live calls.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use secrecy::SecretString;
use sip_transport::TransportFigures;
use tokio::sync::mpsc;
use transfer_api::{AdminState, NodeOrder, admin_router};

use super::live_calls::Console;
use super::shared::Shared;

/// The process has one recorder of metrics, however many gateways it runs.
static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

#[derive(Clone)]
struct Admin {
    shared: Arc<Shared>,
}

/// Orders to the node that may wait.
const NODE_ORDERS: usize = 4;
/// The bounds of the histograms, in seconds.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0,
];
/// The bounds of the histograms of opinions (MOS) and of shares.
const OPINIONS: [f64; 10] = [1.5, 2.0, 2.5, 3.0, 3.3, 3.6, 3.8, 4.0, 4.2, 4.4];
const SHARES: [f64; 9] = [0.0, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];
/// How often what was recorded is put together; it is kept whole until then.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

fn recorder() -> Option<PrometheusHandle> {
    let named = |name: &str| Matcher::Full(name.to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .and_then(|all| all.set_buckets_for_metric(Matcher::Suffix("_mos".to_owned()), &OPINIONS))
        .and_then(|all| all.set_buckets_for_metric(named("handback_leg_loss_ratio"), &SHARES))
        .and_then(|all| all.set_buckets_for_metric(named("handback_leg_late_ratio"), &SHARES))
        .ok()?;
    builder.install_recorder().ok()
}

/// Puts the recorded figures together from time to time, so that they do not pile up unread.
pub(super) async fn upkeep() {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        if let Some(Some(handle)) = METRICS.get() {
            handle.run_upkeep();
        }
    }
}

/// Health, readiness and metrics for everybody; the admin API behind its token; the console's page.
///
/// The receiver gets what operators ask of the node.
pub(super) fn router(shared: &Arc<Shared>) -> (Router, mpsc::Receiver<NodeOrder>) {
    METRICS.get_or_init(recorder);
    let (node, orders) = mpsc::channel(NODE_ORDERS);
    let rules = shared.rules();
    let token = rules.config.admin.token.as_ref();
    let state = AdminState {
        store: shared.store.clone(),
        live: Arc::new(Console(Arc::clone(shared))),
        node,
        token: token.map(|token| Arc::new(SecretString::from(token.expose().to_owned()))),
    };
    let admin = Admin {
        shared: Arc::clone(shared),
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .with_state(admin)
        .merge(admin_router(state))
        .merge(console::router());
    (router, orders)
}

async fn ready(State(admin): State<Admin>) -> Response {
    if *admin.shared.draining.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match admin.shared.store.health().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("store: {error}\n")).into_response()
        }
    }
}

async fn figures(State(admin): State<Admin>) -> Response {
    let media = admin.shared.media.census();
    gauge("handback_calls", admin.shared.live.len());
    gauge("handback_store_backlog", admin.shared.backlog.len());
    gauge("handback_media_sessions", media.sessions);
    gauge("handback_media_ports_in_use", media.ports_in_use);
    if let Some(sip) = admin.shared.sip.get()
        && let Ok((census, counters)) = sip.census().await
    {
        gauge("handback_sip_legs", census.legs);
        gauge("handback_sip_dialogs", census.dialogs);
        gauge("handback_sip_transactions", census.transactions);
        count("handback_sip_messages_received_total", counters.received);
        count("handback_sip_messages_sent_total", counters.sent);
        count("handback_sip_retransmissions_total", counters.retransmitted);
        count("handback_sip_unparseable_total", counters.unparseable);
        count(
            "handback_sip_unauthenticated_total",
            counters.unauthenticated,
        );
        count("handback_sip_refused_total", counters.refused);
        count("handback_sip_stray_total", counters.stray);
        count("handback_sip_foreign_responses_total", counters.foreign);
        count("handback_sip_unanswered_total", counters.unanswered);
        count("handback_sip_overloaded_total", counters.overloaded);
        sockets(&sip.figures());
    }
    match METRICS.get() {
        Some(Some(handle)) => {
            handle.run_upkeep();
            (
                [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
                handle.render(),
            )
                .into_response()
        }
        Some(None) | None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn sockets(figures: &TransportFigures) {
    let open = usize::try_from(figures.connections).unwrap_or(usize::MAX);
    gauge("handback_sip_connections", open);
    for (name, value) in [
        ("handback_sip_connections_accepted_total", figures.accepted),
        ("handback_sip_connections_refused_total", figures.refused),
        ("handback_sip_connections_slow_total", figures.slow),
        ("handback_sip_connections_idle_total", figures.idle),
        ("handback_sip_connections_stuck_total", figures.stuck),
        (
            "handback_sip_tls_handshakes_failed_total",
            figures.handshakes_failed,
        ),
        (
            "handback_sip_datagrams_dropped_total",
            figures.datagrams_dropped,
        ),
        ("handback_sip_accept_failed_total", figures.accept_failed),
    ] {
        count(name, value);
    }
}

fn gauge(name: &'static str, value: usize) {
    metrics::gauge!(name).set(u32::try_from(value).unwrap_or(u32::MAX));
}

fn count(name: &'static str, value: u64) {
    metrics::counter!(name).absolute(value);
}
