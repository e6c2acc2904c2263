//! What is written when a call is over.

use call_control::{Outcome, Record};

/// The log line and the figures of a call that is over.
pub(super) fn call_ended(record: &Record) {
    let seconds = record.answered.map(|at| (record.ended - at).as_secs_f64());
    metrics::counter!("handback_calls_ended_total", "outcome" => label(&record.outcome))
        .increment(1);
    if let Some(seconds) = seconds {
        metrics::histogram!("handback_call_seconds").record(seconds);
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

/// The cause that the one who ended the call gave in a protocol, RFC 3326.
fn cause(record: &Record, protocol: &str) -> Option<u16> {
    let of = |cause: &&call_control::Cause| cause.protocol.eq_ignore_ascii_case(protocol);
    record.causes.iter().find(of)?.cause
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Refused(_) => "refused",
        Outcome::Cancelled => "cancelled",
        Outcome::CallerHungUp => "caller_hangup",
        Outcome::NoAck => "no_ack",
        Outcome::SessionExpired => "session_expired",
        Outcome::MediaTimeout => "media_timeout",
        Outcome::BadAnswer => "bad_answer",
        Outcome::HungUpByOperator => "operator_hangup",
        Outcome::HandedBack(_) => "handed_back",
    }
}
