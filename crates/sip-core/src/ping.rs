//! OPTIONS of ours outside every dialog: whether a peer is there, RFC 3261 §11.1.

use std::time::Duration;

use bytes::Bytes;
use sip_message::{Builder, Message, Method};
use timebase::Now;

use crate::answers::{ALLOW, SDP, SUPPORTED};
use crate::flow::Flow;
use crate::stack::{Purpose, Stack};
use crate::vocabulary::Output;

/// The number of an OPTIONS of ours, which the shell chose; none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PingId(pub u64);

/// An OPTIONS to send. It belongs to no leg, and no challenge to it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Its number.
    pub id: PingId,
    /// Where it goes.
    pub flow: Flow,
    /// The Request-URI.
    pub uri: Bytes,
    /// How long no answer at all is waited for: timer F, where it is to be shorter than 64·T1.
    pub patience: Option<Duration>,
}

/// Sends the request; [`Output::Pinged`] follows in any case.
pub(crate) fn send(now: Now, stack: &mut Stack, ping: &Ping) {
    let request = options(stack, ping);
    let purpose = Purpose::Ping(ping.id);
    match stack.send(now, ping.flow, request, purpose, None) {
        Some(tx) => {
            let patience = ping.patience.into_iter();
            patience.for_each(|patience| stack.table.limit_silence(now, tx, patience));
        }
        None => answered(stack, ping.id, 503),
    }
}

/// Tells the shell what came of it.
pub(crate) fn answered(stack: &mut Stack, ping: PingId, status: u16) {
    stack.outputs.push_back(Output::Pinged { ping, status });
}

fn options(stack: &mut Stack, ping: &Ping) -> Message {
    let via = stack.via(&ping.flow);
    let (tag, call_id) = (stack.ids.tag(), stack.ids.call_id());
    let contact = stack.contact(&ping.flow, None, false);
    let from = [&contact[..], b";tag=", tag.as_bytes()].concat();
    let agent = Some(&stack.config.user_agent).filter(|agent| !agent.is_empty());
    Builder::request(&Method::Options, &ping.uri)
        .field("Via", via)
        .field("Max-Forwards", "70")
        .field("From", from)
        .field("To", [b"<", &ping.uri[..], b">"].concat())
        .field("Call-ID", call_id)
        .field("CSeq", "1 OPTIONS")
        .field("Contact", &contact)
        .field("Allow", ALLOW)
        .field("Supported", SUPPORTED)
        .field("Accept", SDP)
        .optional("User-Agent", agent)
        .build()
}
