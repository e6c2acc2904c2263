//! Sees the messages of a connection, and can stall or cut it: for people who build hooks.

use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Who said a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The gateway.
    Gateway,
    /// The agent.
    Agent,
}

/// A text message as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who said it.
    pub from: Speaker,
    /// The message.
    pub text: String,
}

/// What the connection is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineState {
    /// As it is.
    #[default]
    Open,
    /// Nothing is read or written.
    Stalled,
    /// It breaks, without a word.
    Cut,
}

/// What is put on a connection. Messages that nobody takes in time are not seen.
#[derive(Clone, Debug)]
pub struct Probe {
    seen: mpsc::Sender<Seen>,
    line: watch::Receiver<LineState>,
}

impl Probe {
    /// A probe that tells what it sees, and does what it is told.
    #[must_use]
    pub const fn new(seen: mpsc::Sender<Seen>, line: watch::Receiver<LineState>) -> Self {
        Self { seen, line }
    }

    /// The probe for a new connection, which a cut before it does not concern.
    pub(crate) fn renewed(mut self) -> Self {
        self.line.mark_unchanged();
        self
    }

    pub(crate) fn saw(&self, from: Speaker, message: &Message) {
        if let Message::Text(text) = message {
            let text = text.to_string();
            // who does not keep up misses some, rather than holding a call up
            let _ = self.seen.try_send(Seen { from, text });
        }
    }

    /// Waits while the line is stalled; fails when it is cut.
    pub(crate) async fn wait(&mut self) -> Result<(), Error> {
        loop {
            let news = self.line.has_changed().unwrap_or_default();
            match *self.line.borrow_and_update() {
                LineState::Cut if news => return Err(Error::ConnectionClosed),
                LineState::Open | LineState::Cut => return Ok(()),
                LineState::Stalled => {}
            }
            if self.line.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}
