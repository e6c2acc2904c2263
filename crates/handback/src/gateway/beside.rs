//! What a call's task keeps beside the machine: the agent's stream, results that came beside its
//! link, the transcript.

use call_control::{AgentSaid, Input};
use tokio::sync::oneshot;

use super::live_calls::Order;
use super::transcript::Transcript;

/// The id of a completion that came beside the agent's link; no agent can choose it.
const BESIDE: &str = "\0beside";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The name of the agent's last stream.
    pub(super) stream: Option<String>,
    pub(super) transcript: Transcript,
    /// Who waits to be told whether a result counts.
    waiting: Option<oneshot::Sender<Result<(), String>>>,
}

impl Beside {
    /// What an order means to the call.
    pub(super) fn ordered(&mut self, order: Order) -> Input {
        match order {
            Order::HangUp => Input::HangUp,
            Order::HandBack(why) => Input::HandBack(why),
            Order::TakenOver => Input::TakenOver,
            Order::AgentHangUp => Input::Agent(AgentSaid::HungUp),
            Order::Complete { output, answer } => {
                self.waiting = Some(answer);
                Input::Agent(AgentSaid::Complete {
                    id: Some(BESIDE.to_owned()),
                    output: Ok(output),
                    drain: true,
                })
            }
        }
    }

    /// Tells whoever waits whether the result counts.
    pub(super) fn answer(&mut self, error: Option<String>) {
        if let Some(waiting) = self.waiting.take() {
            // it may have gone
            let _ = waiting.send(error.map_or(Ok(()), Err));
        }
    }
}

/// Whether a completion came beside the link.
pub(super) fn is_ours(id: Option<&str>) -> bool {
    id == Some(BESIDE)
}
