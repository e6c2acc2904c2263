//! Messages from the agent.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::extension;
use crate::agent::{AgentEvent, AgentOutput};
use crate::link::{Features, Ignored};

/// Base64 as agents write it: with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The longest name of a mark that is kept.
const MAX_MARK: usize = 1024;

/// What an agent said.
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for a moment; boxing would allocate for every media message"
)]
#[derive(Debug, PartialEq)]
pub(super) enum FromAgent {
    /// For the shard.
    Output(AgentOutput),
    /// `hook.hello`: the agent opts in to these features.
    Hello(Features),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default, rename = "streamSid")]
    stream_sid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    media: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mark: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Media<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Mark {
    name: String,
}

/// Reads one text message.
pub(super) fn decode(text: &str, stream_sid: &str) -> Result<FromAgent, Ignored> {
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| Ignored::BadJson)?;
    if envelope
        .stream_sid
        .is_some_and(|named| !names(named, stream_sid))
    {
        return Err(Ignored::WrongStream);
    }
    match envelope.event.as_ref() {
        "media" => audio(envelope.media)
            .map(AgentOutput::Audio)
            .map(FromAgent::Output),
        "mark" => mark(envelope.mark)
            .map(AgentOutput::Mark)
            .map(FromAgent::Output),
        "clear" => Ok(FromAgent::Output(AgentOutput::Clear)),
        "hook.hello" => extension::hello(text).map(FromAgent::Hello),
        "hook.update" => extension::update(text).map(event),
        "hook.complete" => extension::complete(text).map(event),
        "hook.sendDtmf" => extension::send_dtmf(text).map(event),
        "hook.transcript" => extension::transcript(text).map(event),
        _ => Err(Ignored::UnknownEvent),
    }
}

fn event(event: AgentEvent) -> FromAgent {
    FromAgent::Output(AgentOutput::Event(event))
}

/// Whether the JSON value is that string (a stream's name needs no escapes) or nothing at all.
fn names(value: &RawValue, stream_sid: &str) -> bool {
    let text = value.get();
    text == "null" || text.trim_matches('"') == stream_sid
}

fn audio(media: Option<&RawValue>) -> Result<Bytes, Ignored> {
    let media = media.ok_or(Ignored::BadPayload)?;
    let media: Media<'_> = serde_json::from_str(media.get()).map_err(|_| Ignored::BadPayload)?;
    let audio = BASE64
        .decode(media.payload.as_ref())
        .map_err(|_| Ignored::BadPayload)?;
    if audio.is_empty() {
        Err(Ignored::BadPayload)
    } else {
        Ok(audio.into())
    }
}

fn mark(mark: Option<&RawValue>) -> Result<String, Ignored> {
    let mark: Mark = mark
        .and_then(|mark| serde_json::from_str(mark.get()).ok())
        .ok_or(Ignored::BadMark)?;
    if mark.name.len() > MAX_MARK {
        Err(Ignored::BadMark)
    } else {
        Ok(mark.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FromAgent, Ignored> {
        decode(text, "MZ1")
    }

    #[test]
    fn media_mark_and_clear_are_read() {
        let audio = FromAgent::Output(AgentOutput::Audio(Bytes::from_static(&[0xff, 0x00])));
        assert_eq!(
            read(r#"{"event":"media","streamSid":"MZ1","media":{"payload":"/wA="}}"#),
            Ok(audio)
        );
        let mark = FromAgent::Output(AgentOutput::Mark("end \"1\"".to_owned()));
        assert_eq!(
            read(r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"end \"1\""}}"#),
            Ok(mark)
        );
        assert_eq!(
            read(r#"{"streamSid":"MZ1","event":"clear"}"#),
            Ok(FromAgent::Output(AgentOutput::Clear))
        );
    }

    #[test]
    fn padding_and_escaped_slashes_do_not_matter() {
        let audio = FromAgent::Output(AgentOutput::Audio(Bytes::from_static(&[0xff, 0x00])));
        assert_eq!(
            read(r#"{"event":"media","media":{"payload":"\/wA"}}"#),
            Ok(audio)
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let table = [
            ("", Ignored::BadJson),
            ("nonsense", Ignored::BadJson),
            ("[]", Ignored::BadJson),
            (r#"{"event":1}"#, Ignored::BadJson),
            (r#"{"media":{}}"#, Ignored::BadJson),
            (
                r#"{"event":"whatever","streamSid":"MZ1"}"#,
                Ignored::UnknownEvent,
            ),
            (r#"{"event":"media"}"#, Ignored::BadPayload),
            (r#"{"event":"media","media":{}}"#, Ignored::BadPayload),
            (
                r#"{"event":"media","media":{"payload":7}}"#,
                Ignored::BadPayload,
            ),
            (
                r#"{"event":"media","media":{"payload":"!!"}}"#,
                Ignored::BadPayload,
            ),
            (
                r#"{"event":"media","media":{"payload":""}}"#,
                Ignored::BadPayload,
            ),
            (
                r#"{"event":"media","streamSid":"MZ2","media":{"payload":"/wA="}}"#,
                Ignored::WrongStream,
            ),
            (r#"{"event":"clear","streamSid":7}"#, Ignored::WrongStream),
            (r#"{"event":"mark"}"#, Ignored::BadMark),
            (r#"{"event":"mark","mark":{"name":null}}"#, Ignored::BadMark),
        ];
        for (text, why) in table {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }
}
