//! A host of the network: an endpoint behind an address, and the bytes that come and go.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use sip_core::{
    Command, ConnectionId, Ended, Endpoint, EndpointConfig, Flow, Input, Invitation, LegEvent,
    LegId, Output, Place, Response, Transport, TrunkRule,
};
use sip_message::{Frame, FramingError, Limits, Message, ParseError, StreamDecoder};
use timebase::Now;

use crate::network::Arrival;
use crate::voice::Datagram;

/// What a machine does that others see.
#[derive(Debug)]
pub(crate) enum Deed {
    /// It sends something.
    Transmit { flow: Flow, payload: Bytes },
    /// It did something that the inspector is to know of.
    Fact(Fact),
    /// A message reached it, as it was sent or not.
    Heard {
        message: Box<Message>,
        corrupted: bool,
    },
    /// Bytes reached it that are no message.
    Garbled,
    /// It sends media; if the listener is the caller of one of the gateway's calls, of which.
    Media {
        datagram: Datagram,
        listener: Option<usize>,
    },
    /// It closes a connection.
    Close(ConnectionId),
}

/// What the inspector is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A leg is to end some day, exactly once.
    LegBegan(LegId),
    /// A leg said something, with whether it was its last word.
    LegSaid { leg: LegId, last: bool },
    /// An INVITE became a call of the gateway.
    Admitted {
        seat: usize,
        leg: LegId,
        call_id: String,
        transfer: String,
    },
    /// The ACK of the call's 200 came.
    Acknowledged { seat: usize },
    /// A transfer is this call's.
    Claimed { seat: usize, transfer: String },
    /// A claim was undone.
    Released { seat: usize, transfer: String },
    /// The agent's completion was accepted, or one was made for it.
    Completion { seat: usize },
    /// The agent's link is lost, or has come back or is not needed any more.
    Agent { seat: usize, lost: bool },
    /// A completion goes to the store, with the agent's result or without.
    ResultStored { seat: usize, empty: bool },
    /// The store has a completion.
    Completed { transfer: String },
    /// After a restart the store completed what the dead process had.
    Recovered { transfers: Vec<String> },
    /// A write to the store with a claim that does not stand.
    StaleWrite { seat: usize },
    /// The call's record.
    Recorded {
        seat: usize,
        handed_back: bool,
        answered: bool,
    },
    /// A leg ended because its session was not refreshed.
    Expired { leg: LegId },
    /// For the ladder only.
    Note(String),
}

/// What an endpoint tells the machine that drives it.
#[derive(Debug)]
pub(crate) enum HostEvent {
    Invited(Box<Invitation>),
    Leg(LegId, LegEvent),
}

/// An endpoint behind an address.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    decoders: BTreeMap<ConnectionId, StreamDecoder>,
    events: VecDeque<HostEvent>,
    pub(crate) deeds: VecDeque<Deed>,
}

impl Host {
    pub(crate) fn new(address: SocketAddr, config: EndpointConfig, seed: [u8; 32]) -> Self {
        Self {
            address,
            endpoint: Endpoint::new(config, seed),
            decoders: BTreeMap::new(),
            events: VecDeque::new(),
            deeds: VecDeque::new(),
        }
    }

    pub(crate) fn receive(&mut self, now: Now, arrival: Arrival) {
        let Arrival {
            flow,
            bytes,
            corrupted,
        } = arrival;
        match flow.connection {
            None => {
                let message = Message::parse(bytes, &Limits::default());
                self.message(now, flow, message, corrupted);
            }
            Some(connection) => {
                let decoder = self.decoders.entry(connection);
                let decoder = decoder.or_insert_with(|| StreamDecoder::new(Limits::default()));
                decoder.push(&bytes);
                let mut framed = Ok(());
                let mut messages = Vec::new();
                let mut next = || match decoder.next() {
                    Ok(frame) => frame,
                    Err(FramingError { error }) => {
                        framed = Err(error);
                        None
                    }
                };
                while let Some(frame) = next() {
                    match frame {
                        Frame::Message(message) => messages.push(message),
                        Frame::Ping => {}
                    }
                }
                for message in messages {
                    self.message(now, flow, message, corrupted);
                }
                // Where a message ends cannot be known any more.
                if let Err(error) = framed {
                    self.message(now, flow, Err(error), corrupted);
                    self.close(connection);
                }
            }
        }
    }

    fn message(
        &mut self,
        now: Now,
        flow: Flow,
        message: Result<Message, ParseError>,
        corrupted: bool,
    ) {
        self.deeds.push_back(match &message {
            Ok(message) => Deed::Heard {
                message: Box::new(message.clone()),
                corrupted,
            },
            Err(_) => Deed::Garbled,
        });
        self.input(now, Input::Received { flow, message });
    }

    pub(crate) fn command(&mut self, now: Now, leg: LegId, command: Command) {
        self.input(now, Input::Command { leg, command });
    }

    pub(crate) fn place(&mut self, now: Now, place: Place) {
        self.tell(Fact::LegBegan(place.leg));
        self.input(now, Input::Place(Box::new(place)));
    }

    pub(crate) fn admit(&mut self, now: Now, invitation: Box<Invitation>) {
        self.tell(Fact::LegBegan(invitation.leg));
        self.input(now, Input::Admit(invitation));
    }

    pub(crate) fn refuse(&mut self, now: Now, invitation: Box<Invitation>, refusal: Response) {
        self.input(
            now,
            Input::Refuse {
                invitation,
                refusal,
            },
        );
    }

    pub(crate) fn input(&mut self, now: Now, input: Input) {
        self.endpoint.handle_input(now, input);
        self.drain();
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.endpoint.handle_timeout(now);
        self.drain();
    }

    /// The next thing that the endpoint has told.
    pub(crate) fn event(&mut self) -> Option<HostEvent> {
        self.events.pop_front()
    }

    pub(crate) fn tell(&mut self, fact: Fact) {
        self.deeds.push_back(Deed::Fact(fact));
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.tell(Fact::Note(note.into()));
    }

    /// A path to another host.
    pub(crate) const fn flow_to(&self, remote: SocketAddr, transport: Transport) -> Flow {
        Flow {
            transport,
            local: self.address,
            remote,
            connection: None,
            server_name: None,
        }
    }

    /// Sends media.
    pub(crate) fn speak(&mut self, datagram: Datagram) {
        let listener = None;
        self.deeds.push_back(Deed::Media { datagram, listener });
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit { flow, payload } => {
                    self.deeds.push_back(Deed::Transmit { flow, payload });
                }
                Output::Invited(invitation) => {
                    self.events.push_back(HostEvent::Invited(invitation));
                }
                Output::Leg { leg, event } => {
                    let last = matches!(event, LegEvent::Ended { .. });
                    let why = Ended::Expired;
                    if event == (LegEvent::Ended { why }) {
                        self.tell(Fact::Expired { leg });
                    }
                    self.tell(Fact::LegSaid { leg, last });
                    self.events.push_back(HostEvent::Leg(leg, event));
                }
                Output::Pinged { .. } => {}
                Output::Close(connection) => self.close(connection),
            }
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        self.decoders.remove(&connection);
        self.deeds.push_back(Deed::Close(connection));
    }

    /// The process dies and another takes its place, which knows nothing of what was.
    pub(crate) fn restart(&mut self, config: EndpointConfig, seed: [u8; 32]) {
        self.endpoint = Endpoint::new(config, seed);
        self.decoders.clear();
        self.events.clear();
    }
}

/// A trunk that takes calls from these addresses without credentials.
pub(crate) fn trunk(allow: &[SocketAddr]) -> TrunkRule {
    TrunkRule {
        name: "testbed".to_owned(),
        allow: allow.iter().map(|address| address.ip().into()).collect(),
        require_all: false,
        digest: None,
        outbound_auth: None,
        header_optional: false,
        reliable_where_supported: true,
    }
}

/// A host with somebody at it.
pub(crate) trait Machine {
    /// Its host.
    fn host(&mut self) -> &mut Host;
    /// Where it is.
    fn address(&self) -> SocketAddr;
    /// Reacts to what the endpoint has told.
    fn settle(&mut self, now: Now);
    /// Its process dies: nothing is due until it is started again, and nothing is known then.
    fn restart(&mut self, _now: Now) {}
    /// When something is due.
    fn poll_timeout(&self) -> Option<Now>;
    /// Does one thing that is due.
    fn handle_timeout(&mut self, now: Now);

    /// Something arrives.
    fn receive(&mut self, now: Now, arrival: Arrival) {
        self.host().receive(now, arrival);
        self.settle(now);
    }

    /// Media arrive.
    fn media(&mut self, _now: Now, _datagram: &Datagram) {}

    /// A connection broke.
    fn connection_closed(&mut self, now: Now, connection: ConnectionId, remote: SocketAddr) {
        let closed = Input::ConnectionClosed { connection, remote };
        self.host().input(now, closed);
        self.settle(now);
    }

    /// Something could not be sent.
    fn send_failed(&mut self, now: Now, flow: Flow, payload: Bytes) {
        self.host().input(now, Input::SendFailed { flow, payload });
        self.settle(now);
    }
}
