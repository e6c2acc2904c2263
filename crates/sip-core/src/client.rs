//! What is kept of a request of ours.

use bytes::Bytes;
use sip_message::Message;
use smallvec::SmallVec;

use crate::flow::{ConnectionId, Flow};
use crate::stack::Purpose;
use crate::vocabulary::{Header, LegId};

/// A request of ours that has no final answer yet, or whose 2xx may come again.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The leg; `None` for what only has to be sent.
    pub(crate) leg: Option<LegId>,
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// The request.
    pub(crate) request: Message,
    /// Where it went.
    pub(crate) flow: Flow,
    /// The ACKs of its 2xx, one for each fork.
    pub(crate) acks: SmallVec<[Ack; 1]>,
    /// The latest sequence number of requests of ours in each early dialog, by its tag.
    pub(crate) forks: SmallVec<[(Bytes, u32); 1]>,
    /// Its connection was lost, and it was sent over another one.
    pub(crate) rescued: bool,
    /// What its CANCEL said, Reason for one.
    pub(crate) parting: Option<Vec<Header>>,
}

/// The ACK of a 2xx, sent again with every repetition of that.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    /// The peer's tag: each fork has its own.
    pub(crate) tag: Bytes,
    /// Where it goes.
    pub(crate) flow: Flow,
    /// Where it goes when the connection is gone.
    pub(crate) elsewhere: Flow,
    /// The message.
    pub(crate) bytes: Bytes,
}

impl Client {
    /// A connection was closed: what may still have to be sent over it takes another.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        // A request that waits for its answer is sent elsewhere by its leg.
        if self.flow.connection == Some(connection) && !self.acks.is_empty() {
            self.flow = self.flow.unconnected();
        }
        let gone = |ack: &&mut Ack| ack.flow.connection == Some(connection);
        for ack in self.acks.iter_mut().filter(gone) {
            ack.flow = ack.elsewhere;
        }
    }
}
