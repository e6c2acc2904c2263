//! What must be true of the story, each thing with its proof.

use call_control::transfer::ReturnType;
use serde_json::{Value, json};

use super::story::Told;
use crate::caller::Report;
use crate::wav;

/// Samples of 100 ms.
const STRETCH: usize = 800;
/// What is louder than this is no silence.
const AUDIBLE_DB: f32 = -40.0;

/// One thing that must be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub what: String,
    /// Whether it is.
    pub passed: bool,
    /// What was seen, when it is not.
    pub seen: String,
}

impl Check {
    fn new(what: impl Into<String>, passed: bool, seen: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            passed,
            seen: seen.into(),
        }
    }
}

/// Every check of a story.
pub(super) fn all(told: &Told) -> Vec<Check> {
    let mut checks = vec![
        Check::new(
            "the transfer was registered, ACTIVE",
            told.registered["status"] == "ACTIVE",
            told.registered.to_string(),
        ),
        Check::new(
            "the gateway answered the call",
            told.caller.answered.is_some(),
            failure(&told.caller),
        ),
        status(
            "ONGOING while the agent talked",
            "ONGOING",
            &told.seen_during_call,
        ),
        heard("the caller heard the agent greet", &told.caller, 0.2, 1.8),
        heard(
            "the agent heard the caller: the echo came back",
            &told.caller,
            2.4,
            3.8,
        ),
    ];
    checks.extend(match told.method {
        ReturnType::Bye => bye(told),
        ReturnType::Refer => refer(told),
        ReturnType::Invite => invite(told),
    });
    checks.push(status(
        "COMPLETED as soon as the hand-back was seen",
        "COMPLETED",
        &told.seen_at_hand_back,
    ));
    checks.extend(result(told));
    checks.push(Check::new(
        "every leg ended well",
        told.caller.failure().is_none(),
        failure(&told.caller),
    ));
    let left = format!(
        "{} calls, {} ports in use",
        told.calls_left, told.ports_left
    );
    checks.push(Check::new(
        "the gateway holds no call and no port",
        told.calls_left + told.ports_left == 0,
        left,
    ));
    checks
}

fn bye(told: &Told) -> Vec<Check> {
    let reasons = told.caller.peer_hung_up.clone().unwrap_or_default();
    let completed = reasons
        .iter()
        .any(|reason| reason.protocol == "SIP" && reason.cause == Some(200));
    vec![Check::new(
        "the gateway sent BYE with Reason SIP 200",
        completed,
        format!("{reasons:?}"),
    )]
}

fn refer(told: &Told) -> Vec<Check> {
    let exact = told.caller.referred == [told.return_uri.clone()];
    let followed = told
        .caller
        .returned
        .as_deref()
        .is_some_and(|report| report.failure().is_none());
    vec![
        Check::new(
            "Refer-To was the returnURI, byte for byte",
            exact,
            format!("{:?}", told.caller.referred),
        ),
        Check::new(
            "the SBC reached the target",
            followed,
            format!("{:?}", told.caller.returned.is_some()),
        ),
        target_heard("the target heard the caller", told),
    ]
}

fn invite(told: &Told) -> Vec<Check> {
    let exact = told.target_called_as.as_deref() == Some(told.return_uri.as_str());
    let bridged = (told.caller.heard.len() as f64 / f64::from(wav::RATE) - 5.0).max(5.0);
    vec![
        Check::new(
            "the Request-URI was the returnURI, byte for byte",
            exact,
            format!("{:?}", told.target_called_as),
        ),
        target_heard("the target heard the caller", told),
        heard(
            "the caller heard the target",
            &told.caller,
            bridged,
            f64::MAX,
        ),
        Check::new(
            "the target's BYE crossed to the caller",
            told.caller.peer_hung_up.is_some(),
            "no BYE",
        ),
    ]
}

/// The outputContext that the customer fetched.
fn result(told: &Told) -> Vec<Check> {
    let output = &told.fetched["outputContext"];
    let is = |what: &str, found: &Value, wanted: &Value| {
        Check::new(what, found == wanted, format!("{found}"))
    };
    vec![
        is(
            "the result says SYSTEM",
            &output["transferType"],
            &json!("SYSTEM"),
        ),
        is(
            "the result has the keys pressed",
            &output["transferVariables"]["digits"],
            &json!(told.digits),
        ),
        is(
            "the result has the task",
            &output["currentTaskName"],
            &told.registered["inputContext"]["taskName"],
        ),
        is(
            "the result refers to what was registered",
            &output["referenceVariables"],
            &told.registered["inputContext"]["inputVariables"],
        ),
    ]
}

fn status(what: &str, wanted: &str, seen: &Option<String>) -> Check {
    Check::new(what, seen.as_deref() == Some(wanted), format!("{seen:?}"))
}

fn target_heard(what: &str, told: &Told) -> Check {
    let silence = Report::default();
    heard(
        what,
        told.target.as_ref().unwrap_or(&silence),
        0.0,
        f64::MAX,
    )
}

/// Whether something audible came between two moments, in seconds after the answer.
fn heard(what: &str, report: &Report, from: f64, to: f64) -> Check {
    let levels = wav::levels(&report.heard, STRETCH);
    let stretches_a_second = f64::from(wav::RATE) / STRETCH as f64;
    let (first, last) = (from * stretches_a_second, to * stretches_a_second);
    let within = levels
        .iter()
        .enumerate()
        .filter(|(index, _)| (first..last).contains(&(*index as f64)));
    let loudest = within
        .map(|(_, level)| *level)
        .fold(f32::NEG_INFINITY, f32::max);
    Check::new(
        what,
        loudest > AUDIBLE_DB,
        format!("at most {loudest:.0} dB in {} samples", report.heard.len()),
    )
}

fn failure(report: &Report) -> String {
    report.failure().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_counts_only_where_it_belongs() {
        let report = Report {
            heard: [[0xff; 8000], [0x80; 8000]].concat(),
            ..Report::default()
        };
        assert!(!heard("", &report, 0.0, 1.0).passed);
        assert!(heard("", &report, 1.0, 2.0).passed);
        assert!(!heard("", &report, 2.0, 3.0).passed);
        assert!(!heard("", &Report::default(), 0.0, f64::MAX).passed);
    }
}
