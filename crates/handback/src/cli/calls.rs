//! `handback calls`: the calls of a running gateway, once or as they go.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::admin::{Admin, Gateway, Unanswered};
use super::{Paint, say, stopped};

/// How often a gateway is asked while it is followed.
const EVERY: Duration = Duration::from_millis(500);

/// Arguments of `handback calls`.
#[derive(Debug, Args)]
pub(super) struct Calls {
    /// Go on, with a line for each call that comes, moves on, or ends
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Live {
    call: String,
    transfer: String,
    account: String,
    trunk: String,
    from: String,
    arrived_at: String,
    phase: String,
}

/// A call that is over, in short.
#[derive(Debug, Deserialize)]
struct Over {
    outcome: String,
    #[serde(default)]
    record: Record,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(default)]
    ended_by: String,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    method: String,
    result: String,
    status: Option<u16>,
}

impl Calls {
    pub(super) async fn run(self) -> ExitCode {
        let gateway = match self.admin.gateway() {
            Ok(gateway) => gateway,
            Err(problem) => return problem.say(),
        };
        let done = if self.follow {
            tokio::select! {
                followed = follow(&gateway) => followed,
                () = stopped() => Ok(()),
            }
        } else {
            once(&gateway).await
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => problem.say(),
        }
    }
}

async fn once(gateway: &Gateway) -> Result<(), Unanswered> {
    let calls: Vec<Live> = gateway.get("/calls").await?;
    if calls.is_empty() {
        say("no call is up");
        return Ok(());
    }
    say(&Paint::for_stdout().bold(&row([
        "CALL", "PHASE", "ARRIVED", "ACCOUNT", "TRUNK", "FROM", "TRANSFER",
    ])));
    for call in &calls {
        say(&line(call));
    }
    Ok(())
}

async fn follow(gateway: &Gateway) -> Result<(), Unanswered> {
    let mut known: HashMap<String, Live> = HashMap::new();
    loop {
        let calls: Vec<Live> = gateway.get("/calls").await?;
        for call in &calls {
            let before = known.insert(call.call.clone(), call.clone());
            if before.is_none_or(|before| before.phase != call.phase) {
                say(&line(call));
            }
        }
        let gone: Vec<String> = known
            .keys()
            .filter(|id| calls.iter().all(|call| call.call != **id))
            .cloned()
            .collect();
        for id in gone {
            // The record is written a moment after the call has left the list.
            match gateway.get::<Over>(&format!("/calls/{id}")).await {
                Ok(over) => {
                    known.remove(&id);
                    say(&format!("{id:<18}{}", ended(&over)));
                }
                Err(Unanswered::Unknown) => {}
                Err(problem) => return Err(problem),
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn line(call: &Live) -> String {
    row([
        &call.call,
        &call.phase,
        &call.arrived_at,
        &call.account,
        &call.trunk,
        &call.from,
        &call.transfer,
    ])
}

fn row([call, phase, arrived, account, trunk, from, transfer]: [&str; 7]) -> String {
    format!("{call:<18}{phase:<14}{arrived:<26}{account:<14}{trunk:<18}{from:<18}{transfer}")
}

/// `ended by caller: REFER failed 603, BYE succeeded 200`.
fn ended(over: &Over) -> String {
    let step = |step: &Step| {
        let status = step
            .status
            .map_or_else(String::new, |status| format!(" {status}"));
        format!("{} {}{status}", step.method, step.result)
    };
    let steps: Vec<String> = over.record.steps.iter().map(step).collect();
    let what = if steps.is_empty() {
        over.outcome.clone()
    } else {
        steps.join(", ")
    };
    format!("ended by {}: {what}", over.record.ended_by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_that_is_over_is_told_with_its_steps_and_who_ended_it() {
        let over = |json: &str| ended(&serde_json::from_str(json).unwrap());
        assert_eq!(
            over(
                r#"{"outcome": "handed_back", "record": {"endedBy": "gateway", "steps": [
                {"method": "REFER", "result": "not_allowed"}, {"method": "BYE", "result": "succeeded", "status": 200}]}}"#
            ),
            "ended by gateway: REFER not_allowed, BYE succeeded 200"
        );
        assert_eq!(
            over(r#"{"outcome": "caller_hangup", "record": {"endedBy": "caller"}}"#),
            "ended by caller: caller_hangup"
        );
    }
}
