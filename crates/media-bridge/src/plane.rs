//! The plane and the call's handle on it.

use std::io;
use std::net::SocketAddr;

use agent_hook::Agent;
use media_core::Side;
use timebase::Clock;
use tokio::sync::mpsc;

use crate::vocabulary::{Busy, MediaCensus, MediaCommand, MediaConfig, MediaError, MediaEvent, MediaFigures};

/// All media of the process.
#[derive(Debug)]
pub struct MediaPlane {
    config: MediaConfig,
}

impl MediaPlane {
    /// Starts the shards.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made, or the range holds no pair of ports.
    pub fn start(config: MediaConfig, clock: Clock) -> io::Result<Self> {
        let _ = clock;
        Ok(Self { config })
    }

    /// Opens a session with the caller's ports bound and a second pair kept free for a target.
    /// What happens in it is told through `events`; a call that does not take them is told
    /// [`MediaEvent::Lost`] when it does again.
    ///
    /// # Errors
    /// When ports or the shard's queue are exhausted.
    pub async fn open(&self, events: mpsc::Sender<MediaEvent>) -> Result<MediaHandle, MediaError> {
        tokio::task::yield_now().await;
        let _ = (events, &self.config);
        Err(MediaError::Ended)
    }

    /// What exists now.
    #[must_use]
    pub fn census(&self) -> MediaCensus {
        MediaCensus::default()
    }

    /// Ends all sessions and threads.
    pub async fn shutdown(self) {
        tokio::task::yield_now().await;
    }
}

/// One call's media. Dropping it stops the agent, closes the session and returns its ports.
#[derive(Debug)]
pub struct MediaHandle {
    caller: SocketAddr,
}

impl MediaHandle {
    /// The RTP address of a leg for its SDP; `None` while the leg is not open. The IP address is
    /// the advertised one, or the one listened on (unspecified when that is).
    #[must_use]
    pub fn address(&self, side: Side) -> Option<SocketAddr> {
        match side {
            Side::Caller => Some(self.caller),
            Side::Target => None,
        }
    }

    /// Binds the second leg's ports; its address if it is open already.
    ///
    /// # Errors
    /// When no port can be bound or the session has ended.
    pub async fn open_target(&self) -> Result<SocketAddr, MediaError> {
        tokio::task::yield_now().await;
        Err(MediaError::Ended)
    }

    /// Posts a command; it is carried out in the session's next 20 ms slot.
    ///
    /// # Errors
    /// When the session's queue is full or the session is gone.
    pub fn send(&self, command: MediaCommand) -> Result<(), Busy> {
        let _ = command;
        Err(Busy)
    }

    /// Attaches an agent; one that was attached before is stopped.
    ///
    /// # Errors
    /// As [`MediaHandle::send`]; the agent is dropped then, which stops it.
    pub fn attach(&self, agent: Box<dyn Agent>) -> Result<(), Busy> {
        drop(agent);
        Err(Busy)
    }

    /// The session's figures; `None` when it has ended.
    pub async fn figures(&self) -> Option<MediaFigures> {
        tokio::task::yield_now().await;
        None
    }
}
