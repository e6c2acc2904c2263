//! Messages that are passed over: counted each time, logged once a stream.

use std::collections::BTreeSet;

/// Why a message of the agent is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ignored {
    UnknownEvent,
    BadJson,
    BadFields,
    BadPayload,
    Binary,
    WrongStream,
    BadMark,
}

impl Ignored {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UnknownEvent => "unknown_event",
            Self::BadJson => "bad_json",
            Self::BadFields => "bad_fields",
            Self::BadPayload => "bad_payload",
            Self::Binary => "binary",
            Self::WrongStream => "wrong_stream",
            Self::BadMark => "bad_mark",
        }
    }
}

impl Ignored {
    /// What the agent is told of it.
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::UnknownEvent => "the event is not one of this protocol",
            Self::BadJson => "the message is no JSON object with an event",
            Self::BadFields => "a field of the message is missing or wrong",
            Self::BadPayload => "media.payload is missing, empty or not base64",
            Self::Binary => "binary messages are not used on this wire",
            Self::WrongStream => "the streamSid is not that of this stream",
            Self::BadMark => "mark.name is missing or too long",
        }
    }
}

/// What was passed over on one stream.
#[derive(Debug, Default)]
pub(super) struct IgnoredLog {
    seen: BTreeSet<Ignored>,
}

impl IgnoredLog {
    /// Counts one; says whether it is the first of its kind.
    pub(super) fn note(&mut self, why: Ignored, stream_sid: &str) -> bool {
        metrics::counter!("handback_hook_messages_ignored_total", "reason" => why.name())
            .increment(1);
        let first = self.seen.insert(why);
        if first {
            tracing::info!(
                stream_sid,
                reason = why.name(),
                "message of the agent ignored (said once a stream)"
            );
        }
        first
    }
}
