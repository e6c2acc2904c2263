//! The words in which the endpoint and its shell talk: inputs, outputs, commands, events.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use sip_message::{Message, ParseError};

use crate::checkpoint::Restore;
use crate::config::{Credentials, EndpointConfig};
use crate::ended::Ended;
use crate::flow::{ConnectionId, Flow};
use crate::ping::{Ping, PingId};
pub use crate::reason::ReasonValue;

/// A leg: one INVITE dialog (or the attempt at one) between us and a peer.
///
/// Arriving legs are even and numbered by the endpoint, placed legs are odd and numbered by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

impl LegId {
    /// Whether the leg came to us (we answer it) rather than being placed by us.
    #[must_use]
    pub const fn is_arriving(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// A trunk: its index in [`EndpointConfig::trunks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrunkId(pub u32);

/// A header field that the shell adds to a message.
///
/// Line breaks in either part are neutralised when the message is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The field's name.
    pub name: String,
    /// The field's value.
    pub value: Bytes,
}

impl Header {
    /// A header field of a name and a value.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// A final response that the shell chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, 300 to 699.
    pub status: u16,
    /// The reason phrase; the RFC's own where absent.
    pub reason: Option<String>,
    /// Further header fields.
    pub headers: Vec<Header>,
}

impl Response {
    /// A response with the RFC's reason phrase and no further header.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self {
            status,
            reason: None,
            headers: Vec::new(),
        }
    }

    /// The same response with another reason phrase.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The same response with one more header field.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }
}

/// An outgoing call: a new leg whose INVITE leaves at once, RFC 3261 §13.2.
#[derive(Clone, Debug)]
pub struct Place {
    /// The leg's number, odd and never used before.
    pub leg: LegId,
    /// Where the INVITE goes.
    pub flow: Flow,
    /// The Request-URI, sent byte for byte.
    pub uri: Bytes,
    /// The From header's name-addr, without a tag.
    pub from: Bytes,
    /// The To header's name-addr.
    pub to: Bytes,
    /// Further header fields of the INVITE.
    pub headers: Vec<Header>,
    /// The offer; without one the peer offers in its 200 and [`Command::Answer`] goes into the ACK.
    pub sdp: Option<Bytes>,
    /// Credentials for challenges to the INVITE. Those to later requests are answered with the
    /// trunk's [`crate::TrunkRule::outbound_auth`], and only towards the trunk.
    pub credentials: Option<Credentials>,
    /// The trunk on whose behalf the call is placed.
    pub trunk: Option<TrunkId>,
    /// The INVITE's Max-Forwards.
    pub max_forwards: u8,
    /// A Route header field's value, for an outbound proxy.
    pub route: Option<Bytes>,
    /// Addresses from which the peer's in-dialog requests are taken, besides the flow's and its Contact's.
    pub sources: Vec<IpAddr>,
    /// How long silence is put up with, where another server waits (RFC 3263 §4.3): timer B, where it is
    /// to be shorter than 64·T1.
    pub patience: Option<Duration>,
}

/// What the INVITE says of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Caller {
    /// The From header's display name, unquoted.
    pub display: Option<String>,
    /// The user part of the From URI, as written.
    pub user: Option<String>,
    /// The From URI.
    pub from_uri: Bytes,
    /// The To URI.
    pub to_uri: Bytes,
    /// The Call-ID.
    pub call_id: String,
    /// The values of P-Asserted-Identity (RFC 3325), as written.
    pub p_asserted_identity: Vec<Bytes>,
    /// The header fields whose names begin with `X-`, in their order.
    pub x_headers: Vec<(String, String)>,
}

/// What the peer says of reliable provisional responses (`100rel`, RFC 3262).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reliability {
    /// Nothing, or nothing that counts on its trunk: provisional responses are sent once.
    #[default]
    Unsupported,
    /// It takes them: those that carry a session description, or answer an INVITE with an offer, are
    /// repeated until their PRACK.
    Supported,
    /// It insists on them. The first one to an INVITE without an offer carries ours.
    Required,
}

/// A body that came beside the session description, as one part of a multipart body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Its Content-Type as written; empty where it states none.
    pub content_type: String,
    /// The bytes.
    pub content: Bytes,
}

/// An INVITE that passed the screening; nothing but its leg's number is kept for it yet.
///
/// The shell answers it with [`Input::Admit`] or [`Input::Refuse`].
#[derive(Clone, Debug)]
pub struct Invitation {
    /// The leg that it will be.
    pub leg: LegId,
    /// Where it came from.
    pub flow: Flow,
    /// The trunk that it came over.
    pub trunk: TrunkId,
    /// The request itself.
    pub request: Message,
    /// The SDP offer, also when it was a part of a multipart body.
    pub offer: Option<Bytes>,
    /// What a multipart body has besides the offer (RFC 5621), in order.
    pub bodies: Vec<Body>,
    /// Whether provisional responses are to be reliable.
    pub reliability: Reliability,
    /// The required header's value, trimmed.
    pub correlation: Option<String>,
    /// Who calls.
    pub caller: Caller,
    /// Whether the peer takes REFER: no Allow header, or one that names it.
    pub allow_refer: bool,
    /// The request's Max-Forwards; 70 where it has none.
    pub max_forwards: u8,
}

/// What happens to the endpoint.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the common one, and it is moved once"
)]
pub enum Input {
    /// A message came, or something that should have been one.
    Received {
        /// Over which path.
        flow: Flow,
        /// What it was.
        message: Result<Message, ParseError>,
    },
    /// A connection was closed, by either side.
    ConnectionClosed {
        /// The connection.
        connection: ConnectionId,
        /// The peer's address: requests that were sent to it without naming a connection may have
        /// gone over this one.
        remote: SocketAddr,
    },
    /// An [`Output::Transmit`] could not be sent, RFC 3261 §18.4.
    SendFailed {
        /// The flow of the output.
        flow: Flow,
        /// The payload of the output.
        payload: Bytes,
    },
    /// The invitation becomes a leg: 100 is sent and events follow.
    Admit(Box<Invitation>),
    /// The invitation is refused without any state, RFC 3261 §8.2.7.
    Refuse {
        /// The invitation.
        invitation: Box<Invitation>,
        /// The answer.
        refusal: Response,
    },
    /// A command to a leg. Commands to legs that have ended are ignored.
    Command {
        /// The leg.
        leg: LegId,
        /// What it shall do.
        command: Command,
    },
    /// A new outgoing leg.
    Place(Box<Place>),
    /// A leg in the dialog of a process that is gone.
    Restore(Box<Restore>),
    /// An OPTIONS outside every dialog; [`Output::Pinged`] says what came of it.
    Ping(Ping),
    /// New rules; legs stay as they are.
    Reconfigure(Box<EndpointConfig>),
    /// Whether the node is draining: OPTIONS is then answered 503.
    Drain(bool),
}

/// What the endpoint wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// Over which path.
        flow: Flow,
        /// The message.
        payload: Bytes,
    },
    /// A call wants in.
    Invited(Box<Invitation>),
    /// Something happened on a leg.
    Leg {
        /// The leg.
        leg: LegId,
        /// What happened.
        event: LegEvent,
    },
    /// What came of an [`Input::Ping`].
    Pinged {
        /// The ping.
        ping: PingId,
        /// The final answer's status; 408 when none came, 503 when it could not be sent.
        status: u16,
    },
    /// The peer broke the framing rules; close the connection.
    Close(ConnectionId),
}

/// What a leg is told to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// A provisional response, 180 or 183; reliable as [`Invitation::reliability`] says.
    Ring {
        /// The status code.
        status: u16,
        /// The answer (early media); in a reliable response to an INVITE without one, our offer,
        /// which [`LegEvent::OfferAnswered`] answers.
        sdp: Option<Bytes>,
    },
    /// 200 to the INVITE, with the answer, or with our offer where the INVITE had none. It waits for
    /// the PRACK of a reliable provisional response with a session description (RFC 3262 §3).
    Accept {
        /// The answer or offer; none where offer and answer went in reliable provisional responses.
        sdp: Option<Bytes>,
        /// Further header fields.
        headers: Vec<Header>,
    },
    /// A final refusal of the INVITE, after admission and before the 200.
    Refuse(Response),
    /// End the leg, whatever its state: CANCEL, BYE, or 480.
    HangUp {
        /// Further header fields of the request, Reason for one.
        headers: Vec<Header>,
    },
    /// Our re-INVITE.
    Reoffer {
        /// The offer.
        sdp: Bytes,
    },
    /// Takes back a [`Command::Reoffer`]. One that waits is never sent and counts as refused with 487;
    /// one that is out is cancelled (RFC 3261 §9.1) and ends as its peer answers.
    WithdrawOffer,
    /// The answer to [`LegEvent::Reoffered`]; our offer where that had none.
    Answer {
        /// The session description.
        sdp: Bytes,
    },
    /// A refusal of [`LegEvent::Reoffered`], 488 for one.
    RefuseOffer {
        /// The status code.
        status: u16,
    },
    /// REFER inside the dialog, RFC 3515.
    Refer {
        /// The Refer-To URI, sent byte for byte in angle brackets.
        target: Bytes,
        /// Further header fields, Referred-By for one.
        headers: Vec<Header>,
    },
    /// The answer to [`LegEvent::Referred`].
    AnswerRefer {
        /// The status code; every 2xx begins the implicit subscription.
        status: u16,
    },
    /// NOTIFY in the subscription of an accepted REFER, RFC 3515 §2.4.4.
    Notify {
        /// The status line of the referred call: `SIP/2.0 200 OK`.
        fragment: String,
        /// Whether it is the last one.
        terminated: bool,
    },
    /// The answer to [`LegEvent::Locate`]: where the host is reached, the best first. Each is taken
    /// as it stands, so what is not to be dialled is left out before.
    Located {
        /// The URI of the event.
        uri: Bytes,
        /// The paths to it; none where it cannot be found.
        flows: Vec<Flow>,
    },
    /// A key, sent by INFO to a peer that takes no telephone events.
    Press {
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        key: char,
        /// How long it is held.
        duration_ms: u32,
    },
}

/// What happens on a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegEvent {
    /// The ACK of our 200 to the first INVITE came.
    Confirmed {
        /// The answer to our offer, where the INVITE had none.
        answer: Option<Bytes>,
    },
    /// The caller cancelled before our 200: [`Command::Refuse`] with 487, which is sent after five
    /// seconds at the latest.
    Cancelled {
        /// The CANCEL's Reason values.
        reasons: Vec<ReasonValue>,
    },
    /// A reliable provisional response was not acknowledged for 64·T1 (RFC 3262 §3):
    /// [`Command::Refuse`] with a 5xx, which is sent after five seconds at the latest.
    NoPrack,
    /// A provisional response to our INVITE, above 100.
    Progress {
        /// The status code.
        status: u16,
        /// Early media: the answer, or, in a reliable response to an INVITE of ours without one, the
        /// peer's offer: [`Command::Answer`] goes into the PRACK.
        sdp: Option<Bytes>,
    },
    /// 2xx to our INVITE; it is acknowledged.
    Answered {
        /// The answer, or the peer's offer where our INVITE had none; `None` also where both went in
        /// reliable provisional responses.
        sdp: Option<Bytes>,
        /// Whether the peer takes REFER: no Allow header, or one that names it.
        allow_refer: bool,
    },
    /// Final refusal of our INVITE; 408 when nobody answered, 503 when it could not be sent.
    Refused {
        /// The status code.
        status: u16,
        /// The reason phrase.
        reason: String,
        /// The URIs of the Contacts of a 3xx, in order of preference.
        contacts: Vec<Bytes>,
        /// The Reason values.
        reasons: Vec<ReasonValue>,
        /// Retry-After, in seconds.
        retry_after: Option<u32>,
        /// Whether a response of the peer says so, rather than its silence or the lack of a path.
        answered: bool,
    },
    /// The peer's re-INVITE or UPDATE: [`Command::Answer`] or [`Command::RefuseOffer`].
    Reoffered {
        /// The offer; `None` asks for ours.
        sdp: Option<Bytes>,
    },
    /// The peer cancelled its re-INVITE (RFC 3261 §9.2), which is answered 487.
    ReofferCancelled,
    /// The answer to our offer: to [`Command::Reoffer`], or to the offer in [`Command::Answer`].
    OfferAnswered {
        /// The answer; `None` where the peer left it out.
        sdp: Option<Bytes>,
    },
    /// Our re-INVITE was refused.
    OfferRefused {
        /// The status code.
        status: u16,
    },
    /// A key that the peer sent by INFO; once for each.
    Pressed {
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        key: char,
        /// How long it was held, where the peer says so.
        duration_ms: Option<u32>,
    },
    /// The next hop of the leg's requests, the first route or the peer's Contact, is a host by name
    /// (RFC 3263 §4): [`Command::Located`]. Until it comes, and without it, they go where the
    /// dialog's messages came from.
    Locate {
        /// The URI to be looked up.
        uri: Bytes,
    },
    /// The peer's latest Allow header now says otherwise about REFER.
    AllowsRefer(bool),
    /// The peer's REFER: [`Command::AnswerRefer`].
    Referred {
        /// The Refer-To URI, byte for byte.
        uri: Bytes,
        /// The Referred-By value.
        referred_by: Option<Bytes>,
        /// The header fields whose names begin with `X-`.
        x_headers: Vec<(String, String)>,
    },
    /// The final answer to our REFER; 408 when none came.
    ReferAnswered {
        /// The status code.
        status: u16,
        /// The reason phrase.
        reason: String,
        /// The value of Refer-Sub, RFC 4488.
        refer_sub: Option<bool>,
        /// Whether a response says so; else the status is our own: 408 for silence, 503 for a way that is gone.
        answered: bool,
    },
    /// A NOTIFY of our REFER's subscription, answered 200. May also come after [`LegEvent::HungUp`] and after
    /// our own [`Command::HangUp`].
    Notified {
        /// Whether it is of the leg's latest REFER; else of an earlier one.
        latest: bool,
        /// The status code of the sipfrag.
        status: Option<u16>,
        /// The reason phrase of the sipfrag.
        reason: String,
        /// The whole fragment.
        fragment: Bytes,
        /// Whether the subscription is over.
        terminated: bool,
    },
    /// The final answer to our NOTIFY; 408 when none came.
    NotifyAnswered {
        /// The status code.
        status: u16,
    },
    /// The peer's BYE, answered 200.
    ///
    /// [`LegEvent::Ended`] follows: at once, or, where a REFER's subscription is still open, with
    /// its last NOTIFY, a second later, or on [`Command::HangUp`].
    HungUp {
        /// The BYE's Reason values.
        reasons: Vec<ReasonValue>,
    },
    /// The leg is over. Always the last event of a leg, and exactly once.
    ///
    /// After our BYE it comes with its answer, or, where a REFER's subscription is still open, with the last
    /// NOTIFY or a second later.
    Ended {
        /// Why.
        why: Ended,
    },
}
