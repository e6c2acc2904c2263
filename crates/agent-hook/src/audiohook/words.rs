//! What stands in AudioHook's messages: times, ids, entities, samples.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::agent::{AgentEvent, AgentOutput, Track};
use crate::link::FRAME;

/// Entities of an `event`: barge-in and transcripts; others are passed over.
pub(super) fn events(parameters: &Map<String, Value>) -> Vec<AgentOutput> {
    let entities = parameters.get("entities").and_then(Value::as_array);
    let mut outputs = Vec::new();
    for entity in entities.into_iter().flatten() {
        match entity.get("type").and_then(Value::as_str) {
            Some("barge_in") => outputs.push(AgentOutput::Clear),
            Some("transcript") => outputs.extend(transcript(entity.get("data"))),
            Some(_) | None => {}
        }
    }
    outputs
}

fn transcript(data: Option<&Value>) -> Option<AgentOutput> {
    let data = data?;
    let channel = data.get("channelId");
    let outbound = channel
        .is_some_and(|channel| channel.as_str() == Some("INTERNAL") || channel.as_u64() == Some(1));
    let best = data.get("alternatives")?.as_array()?.first()?;
    let interpretation = best.get("interpretations")?.as_array()?.first()?;
    let text = interpretation.get("transcript")?.as_str()?;
    let offset = data.get("offset").and_then(Value::as_str).and_then(millis);
    let lasts = data
        .get("duration")
        .and_then(Value::as_str)
        .and_then(millis);
    let end_ms = offset.zip(lasts).map(|(offset, lasts)| offset + lasts);
    Some(AgentOutput::Event(AgentEvent::Transcript {
        utterance: data.get("id").and_then(Value::as_str).map(str::to_owned),
        track: if outbound {
            Track::Outbound
        } else {
            Track::Inbound
        },
        is_final: data.get("isFinal").and_then(Value::as_bool).unwrap_or(true),
        text: text.chars().take(16 * 1024).collect(),
        start_ms: offset,
        end_ms,
    }))
}

pub(super) fn reason(parameters: &Map<String, Value>) -> String {
    let text = |name: &str| parameters.get(name).and_then(Value::as_str);
    match (text("reason"), text("info")) {
        (Some(reason), Some(info)) => format!("{reason}: {info}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => "closed".to_owned(),
    }
}

/// Both channels, sample by sample.
pub(super) fn interleaved(external: &[u8; FRAME], internal: &[u8; FRAME]) -> Bytes {
    let mut both = BytesMut::with_capacity(2 * FRAME);
    for (external, internal) in external.iter().zip(internal) {
        both.put_u8(*external);
        both.put_u8(*internal);
    }
    both.freeze()
}

/// A time on the timeline as ISO 8601 has it: `PT1.5S`.
pub(super) fn duration(samples: u64) -> String {
    let (seconds, ms) = (samples / 8000, samples % 8000 / 8);
    if ms == 0 {
        return format!("PT{seconds}S");
    }
    let fraction = format!("{ms:03}");
    format!("PT{seconds}.{}S", fraction.trim_end_matches('0'))
}

/// Milliseconds of an ISO 8601 duration in seconds.
pub(super) fn millis(duration: &str) -> Option<u64> {
    let seconds = duration.strip_prefix("PT")?.strip_suffix('S')?;
    let seconds: f64 = seconds.parse().ok()?;
    (0.0..1e9)
        .contains(&seconds)
        .then_some((seconds * 1000.0) as u64)
}

/// A UUID that is the same whenever it is asked for.
pub(super) fn derived_uuid(what: &str, name: &str) -> String {
    let digest = Sha256::new()
        .chain_update(what)
        .chain_update([0])
        .chain_update(name)
        .finalize();
    let mut bytes = [0; 16];
    for (byte, digested) in bytes.iter_mut().zip(digest) {
        *byte = digested;
    }
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_iso_durations_of_the_samples() {
        assert_eq!(duration(0), "PT0S");
        assert_eq!(duration(160), "PT0.02S");
        assert_eq!(duration(12_000), "PT1.5S");
        assert_eq!(duration(8_000 * 61), "PT61S");
        assert_eq!(millis("PT1.5S"), Some(1500));
        assert_eq!(millis("1.5"), None);
    }

    #[test]
    fn channels_stand_sample_by_sample() {
        let both = interleaved(&[1; FRAME], &[2; FRAME]);
        assert_eq!(both.len(), 320);
        assert_eq!(both[..4], [1, 2, 1, 2]);
    }

    #[test]
    fn derived_ids_are_uuids_that_do_not_change() {
        let id = derived_uuid("a", "b");
        assert_eq!(id, derived_uuid("a", "b"));
        assert_ne!(id, derived_uuid("a", "c"));
        assert!(uuid::Uuid::parse_str(&id).is_ok());
    }
}
