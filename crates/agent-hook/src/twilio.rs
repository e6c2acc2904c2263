//! The gateway's part of Twilio Media Streams (`<Connect><Stream>`), with `hook.*` messages on the same
//! socket.

mod decode;
mod encode;
mod extension;
mod identity;
mod rest;

use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use bytes::Bytes;

use crate::agent::{Phase, Track};
use crate::facts::CallFacts;
use crate::link::{Features, Heard, Ignored, ToAgent, Wire};
use decode::{FromAgent, decode};
use encode::Encoder;

pub(crate) use encode::{StreamKind, custom_parameters};
pub use extension::output_context;
pub(crate) use identity::Identity;
pub use identity::{account_sid, call_sid};
pub use rest::{CallUpdate, RestError};

/// One stream on the Twilio wire.
#[derive(Debug)]
pub(crate) struct TwilioWire {
    encoder: Encoder,
    /// What the agent opted in to, once it said hello.
    hello: Option<Features>,
    bridged: bool,
    /// The stream only listens, to both parties.
    listens: bool,
}

impl TwilioWire {
    /// The wire, and its two first messages.
    pub(crate) fn open(
        facts: &CallFacts,
        parameters: &[(String, String)],
        kind: StreamKind<'_>,
    ) -> (Self, [Message; 2]) {
        let mut encoder = Encoder::new(Identity::new(facts));
        let first = [
            text(Encoder::connected()),
            text(encoder.start(facts, parameters, kind)),
        ];
        let wire = Self {
            encoder,
            hello: None,
            bridged: false,
            listens: kind != StreamKind::Conversation,
        };
        (wire, first)
    }
}

/// A text message of bytes that are text.
fn text(message: Bytes) -> Message {
    Message::Text(Utf8Bytes::try_from(message).unwrap_or_default())
}

impl Wire for TwilioWire {
    fn stream(&self) -> &str {
        &self.encoder.identity().stream_sid
    }

    fn encode(&mut self, message: ToAgent) -> Option<Message> {
        match &message {
            ToAgent::Phase { phase, .. } => self.bridged = *phase == Phase::Bridged,
            ToAgent::Media {
                track: Track::Outbound,
                ..
            } if !self.hears_outbound() => return None,
            ToAgent::Media { .. }
            | ToAgent::Dtmf { .. }
            | ToAgent::Mark { .. }
            | ToAgent::TransferResult { .. }
            | ToAgent::Completed { .. }
            | ToAgent::Flow { .. }
            | ToAgent::Error { .. }
            | ToAgent::Welcome(_)
            | ToAgent::Stop => {}
        }
        self.encoder.message(message, self.hello).map(text)
    }

    fn decode(&mut self, message: Message) -> Heard {
        let text = match message {
            Message::Text(text) => text,
            Message::Pong(_) => return Heard::Pong,
            Message::Binary(_) => return Heard::Ignored(Ignored::Binary),
            Message::Ping(_) | Message::Close(_) | Message::Frame(_) => return Heard::Nothing,
        };
        match decode(text.as_str(), self.stream()) {
            Ok(FromAgent::Output(output)) => Heard::Output(output),
            Ok(FromAgent::Hello(features)) => {
                self.hello = Some(features);
                Heard::Hello(features)
            }
            Err(why) => Heard::Ignored(why),
        }
    }

    fn ping(&mut self) -> Message {
        Message::Ping(Bytes::new())
    }
}

impl TwilioWire {
    fn hears_outbound(&self) -> bool {
        self.listens || self.bridged && self.hello.is_some_and(|features| features.tracks)
    }
}
