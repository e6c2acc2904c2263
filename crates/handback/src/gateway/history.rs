//! The earlier transfers of a conversation, as its next agent is told of them.

use agent_hook::CallFacts;
use agent_hook::wire::{EarlierTransfer, OutputContext, TransferTo};
use call_control::transfer::{self, TransferType};
use transfer_store::{Earlier, Store};

/// Transfers that an agent is told of.
const MOST: u32 = 10;
/// Bytes of all their transcripts; the latest transfers come first.
const MOST_TRANSCRIPT: usize = 256 * 1024;

/// The finished transfers of the same account and conversation, the latest first. None when the
/// store cannot be asked: an agent that knows less is better than none.
pub(super) async fn earlier(store: &Store, facts: &CallFacts) -> Vec<EarlierTransfer> {
    let found = store
        .conversation(&facts.account, &facts.conversation, MOST)
        .await;
    let Ok(found) = found else {
        tracing::warn!("the conversation's earlier transfers were not read");
        return Vec::new();
    };
    let mut room = MOST_TRANSCRIPT;
    let others = found
        .into_iter()
        .filter(|earlier| earlier.transfer.registered.id != facts.transfer);
    others.map(|earlier| told(earlier, &mut room)).collect()
}

fn told(earlier: Earlier, room: &mut usize) -> EarlierTransfer {
    let Earlier {
        transfer,
        transcript,
    } = earlier;
    let fits = transcript.filter(|text| text.len() <= *room);
    *room -= fits.as_ref().map_or(0, String::len);
    EarlierTransfer {
        transfer_id: transfer.registered.id.0,
        completed_at_ms: transfer.completed_at.map(|at| at.0),
        output_context: transfer.output.map(output_context),
        transcript: fits
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
    }
}

fn output_context(output: transfer::OutputContext) -> OutputContext {
    OutputContext {
        transfer_type: match output.transfer_type {
            TransferType::Agent => TransferTo::Agent,
            TransferType::System => TransferTo::System,
        },
        current_task_name: output.current_task_name,
        reference_variables: output.reference_variables,
        transfer_variables: output.transfer_variables,
    }
}
