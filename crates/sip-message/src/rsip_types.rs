//! Conversions to and from the types of the `rsip` crate, for code of that ecosystem.
//!
//! `rsip` knows neither compact names nor folds nor bytes that are not UTF-8, so a message is
//! written out plainly for it, and what it cannot read is an error.

use rsip::SipMessage;

use crate::{Limits, Message, ParseError, StartLine};

impl TryFrom<&Message> for SipMessage {
    type Error = rsip::Error;

    fn try_from(message: &Message) -> Result<Self, Self::Error> {
        Self::try_from(plain(message))
    }
}

impl TryFrom<&SipMessage> for Message {
    type Error = ParseError;

    fn try_from(message: &SipMessage) -> Result<Self, Self::Error> {
        Self::parse(message.to_string().into(), &Limits::default())
    }
}

/// The message with long names and without folds.
fn plain(message: &Message) -> Vec<u8> {
    let mut text = match message.start() {
        StartLine::Request { method, uri } => {
            [method.as_str().as_bytes(), b" ", uri, b" SIP/2.0\r\n"].concat()
        }
        StartLine::Response { status, reason } => {
            [format!("SIP/2.0 {status} ").as_bytes(), reason, b"\r\n"].concat()
        }
    };
    for field in message.fields() {
        text.extend_from_slice(field.long_name());
        text.extend_from_slice(b": ");
        text.extend_from_slice(&field.value());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&message.body());
    text
}
