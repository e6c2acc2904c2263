//! What the call says to its agent, in the agent's own words, and the other way round.

use agent_hook::{AgentEvent, AgentInput, ConnectError, Phase, TransferOutcome, When};
use call_control::transfer::ReturnType;
use call_control::{AgentPhase, AgentSaid, TransferProgress};

pub(super) fn not_connected(error: &ConnectError) -> AgentSaid {
    match error {
        ConnectError::Refused(status) => AgentSaid::Refused(*status),
        ConnectError::TimedOut { .. } => AgentSaid::NotReached(error.to_string()),
    }
}

pub(super) const fn phase(phase: AgentPhase, method: Option<ReturnType>) -> AgentInput<'static> {
    let phase = match phase {
        AgentPhase::Agent => Phase::Agent,
        AgentPhase::HandingBack => Phase::HandingBack,
        AgentPhase::Bridged => Phase::Bridged,
        AgentPhase::Ended => Phase::Ended,
    };
    AgentInput::Phase {
        phase,
        method: match method {
            Some(ReturnType::Bye) => Some("BYE"),
            Some(ReturnType::Refer) => Some("REFER"),
            Some(ReturnType::Invite) => Some("INVITE"),
            None => None,
        },
    }
}

pub(super) const fn transfer_result(
    progress: TransferProgress,
    code: Option<u16>,
) -> AgentInput<'static> {
    let outcome = match progress {
        TransferProgress::Trying => TransferOutcome::Trying,
        TransferProgress::Answered => TransferOutcome::Answered,
        TransferProgress::Failed => TransferOutcome::Failed,
    };
    AgentInput::TransferResult { outcome, code }
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
        AgentEvent::Hello { tracks } => AgentSaid::Hello { tracks },
        AgentEvent::Stalled => AgentSaid::Stalled,
        AgentEvent::Transcript { .. } => return None,
    })
}
