//! What the call says to its agent, in the agent's own words, and the other way round.

use agent_hook::{AgentEvent, AgentInput, Phase, TransferOutcome, When};
use call_control::{AgentPhase, AgentSaid};

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

/// What the call learns of an event; nothing of those that do not concern it.
pub(super) fn said(event: AgentEvent) -> Option<AgentSaid> {
    Some(match event {
        AgentEvent::Update(checkpoint) => AgentSaid::Update(checkpoint),
        AgentEvent::Complete { id, output, when } => AgentSaid::Complete {
            id,
            output: output.map(Box::new),
            drain: match when {
                When::Drained => true,
                When::Now => false,
            },
        },
        AgentEvent::Closed { clean, reason, .. } => AgentSaid::Closed { clean, reason },
        AgentEvent::SendDtmf {
            digits: keys,
            duration_ms,
        } => AgentSaid::Press { keys, duration_ms },
        AgentEvent::Transcript { .. } | AgentEvent::Stalled => return None,
    })
}
