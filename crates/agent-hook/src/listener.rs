//! A link that only listens to both parties of a bridged call. It looks after itself: a connection
//! that is lost is opened anew, and what was said meanwhile is a jump of the timestamps.

use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{Instant, sleep_until, timeout};

use crate::agent::Agent;
use crate::facts::CallFacts;
use crate::hooks::{Hooks, Target};
use crate::link::{Ends, ToAgent, WireAgent};
use crate::twilio::StreamKind;

/// The pauses before a connection is opened anew; the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Starts a listening link on its own task.
pub(crate) fn start(
    hooks: Hooks,
    targets: Vec<Target>,
    facts: CallFacts,
    parent: Option<String>,
) -> Box<dyn Agent> {
    let parent = parent.unwrap_or_default();
    let (agent, ends) = WireAgent::listening(&parent);
    tokio::spawn(listen(hooks, targets, facts, parent, ends));
    Box::new(agent)
}

async fn listen(
    hooks: Hooks,
    targets: Vec<Target>,
    facts: CallFacts,
    parent: String,
    mut ends: Ends,
) {
    let mut attempt = 0;
    let kind = StreamKind::Bridged { parent: &parent };
    loop {
        let before = Instant::now();
        for target in &targets {
            let dialed = timeout(ATTEMPT, hooks.dial(target, &facts, kind)).await;
            match dialed {
                Ok(Ok(connection)) => {
                    attempt = 0;
                    match connection.serve(ends).await {
                        Some(kept) => ends = kept,
                        None => return,
                    }
                    break;
                }
                Ok(Err(problem)) => tracing::info!(%problem, "no link to listen by"),
                Err(_elapsed) => tracing::info!("no link to listen by: no answer"),
            }
        }
        // what came while the attempts lasted is older than the pause
        let pause = PAUSES[attempt.min(PAUSES.len() - 1)];
        attempt += 1;
        metrics::counter!("handback_hook_listener_retries_total").increment(1);
        if !pass_time(&mut ends, Instant::now().max(before) + pause).await {
            return;
        }
    }
}

/// Lets the time pass, and what is said in it; false when the call is over.
async fn pass_time(ends: &mut Ends, until: Instant) -> bool {
    loop {
        tokio::select! {
            message = ends.from_shard.recv() => match message {
                None | Some(ToAgent::Stop) => return false,
                Some(_) => {}
            },
            () = sleep_until(until) => break,
        }
    }
    loop {
        match ends.from_shard.try_recv() {
            Ok(ToAgent::Stop) | Err(TryRecvError::Disconnected) => return false,
            Ok(_) => {}
            Err(TryRecvError::Empty) => return true,
        }
    }
}
