//! What the call says to its agent, in the agent's own words.

use agent_hook::{AgentInput, Phase, TransferOutcome};
use call_control::AgentPhase;

pub(super) const fn phase(phase: AgentPhase) -> AgentInput<'static> {
    let phase = match phase {
        AgentPhase::Agent => Phase::Agent,
        AgentPhase::HandingBack => Phase::HandingBack,
        AgentPhase::Bridged => Phase::Bridged,
    };
    AgentInput::Phase {
        phase,
        method: None,
    }
}

pub(super) const fn transfer_failed(code: Option<u16>) -> AgentInput<'static> {
    AgentInput::TransferResult {
        outcome: TransferOutcome::Failed,
        code,
    }
}
