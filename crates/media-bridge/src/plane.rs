//! The plane and the call's handle on it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use agent_hook::Agent;
use media_core::Side;
use timebase::Clock;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::ports::{Pair, Ports};
use crate::seat::{Opening, Seat, ToSeat};
use crate::shard::{Door, Shard};
use crate::vocabulary::{
    Busy, MediaCensus, MediaCommand, MediaConfig, MediaError, MediaEvent, MediaFigures,
};

/// Commands that may wait for a session's next slot.
const COMMANDS: usize = 64;

/// All media of the process. Dropping it ends every session.
#[derive(Debug)]
pub struct MediaPlane {
    ports: Arc<Ports>,
    shards: Vec<Shard>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl MediaPlane {
    /// Starts the shards, at least one.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made, or the range holds no pair of ports.
    pub fn start(config: MediaConfig, clock: Clock) -> io::Result<Self> {
        let MediaConfig {
            addresses,
            ports,
            dscp,
            shards,
        } = config;
        let ports = Arc::new(Ports::new(addresses, &ports, dscp)?);
        let started = (0..shards.max(1)).map(|index| Shard::start(index, clock));
        let (shards, threads): (Vec<_>, Vec<_>) =
            started.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        Ok(Self {
            ports,
            shards,
            threads: Mutex::new(threads),
        })
    }

    /// Opens a session with the caller's ports bound, of the family of the address `toward` that it is
    /// to talk to where there is one (the first address's else), and a second pair kept free for a target.
    /// What happens in it is told through `events`; a call that does not take them is told
    /// [`MediaEvent::Lost`] when it does again.
    ///
    /// # Errors
    /// When ports or the shard's queue are exhausted.
    pub fn open(
        &self,
        toward: Option<IpAddr>,
        events: mpsc::Sender<MediaEvent>,
    ) -> Result<MediaHandle, MediaError> {
        let (pair, right) = self.ports.first(toward)?;
        let caller = told(&pair)?;
        let (sender, commands) = mpsc::channel(COMMANDS);
        let (figures, told) = watch::channel(MediaFigures::default());
        self.admit(Opening {
            pair,
            right,
            commands,
            events,
            figures,
        })?;
        let ports = Arc::clone(&self.ports);
        Ok(MediaHandle {
            caller,
            target: Mutex::new(None),
            ports,
            commands: sender,
            figures: told,
        })
    }

    /// What exists now.
    #[must_use]
    pub fn census(&self) -> MediaCensus {
        let (ports_in_use, ports_reserved, ports) = self.ports.count();
        let sessions = self
            .shards
            .iter()
            .map(|shard| shard.load.load(Ordering::Relaxed))
            .sum();
        MediaCensus {
            sessions,
            ports_in_use,
            ports_reserved,
            ports,
        }
    }

    /// Ends all sessions and threads; handles that are left answer [`Busy`].
    pub async fn shutdown(&self) {
        for shard in &self.shards {
            // an error means that the shard has ended
            let _ = shard.door.send(Door::Stop).await;
        }
        let threads = std::mem::take(&mut *lock(&self.threads));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }

    /// Hands an opening to the shard with the fewest sessions, which finds it at its next tick.
    fn admit(&self, opening: Opening) -> Result<(), MediaError> {
        let least = self
            .shards
            .iter()
            .min_by_key(|shard| shard.load.load(Ordering::Relaxed));
        let shard = least.ok_or(MediaError::Ended)?;
        let seat = {
            let _runtime = shard.runtime.enter();
            Seat::new(opening).map_err(MediaError::Bind)?
        };
        shard.load.fetch_add(1, Ordering::Relaxed);
        shard
            .door
            .try_send(Door::Open(Box::new(seat)))
            .map_err(|error| {
                shard.load.fetch_sub(1, Ordering::Relaxed);
                match error {
                    TrySendError::Full(_) => MediaError::Busy,
                    TrySendError::Closed(_) => MediaError::Ended,
                }
            })
    }
}

/// One call's media. Dropping it stops the agent, closes the session and returns its ports, all
/// in the session's next slot.
#[derive(Debug)]
pub struct MediaHandle {
    caller: SocketAddr,
    target: Mutex<Option<SocketAddr>>,
    ports: Arc<Ports>,
    /// Boxed, since a queue holds room for some dozens from its start.
    commands: mpsc::Sender<Box<ToSeat>>,
    figures: watch::Receiver<MediaFigures>,
}

impl MediaHandle {
    /// The RTP address of a leg for its SDP; `None` while the leg is not open. The IP address is
    /// the advertised one, or the one listened on (unspecified when that is).
    #[must_use]
    pub fn address(&self, side: Side) -> Option<SocketAddr> {
        match side {
            Side::Caller => Some(self.caller),
            Side::Target => *lock(&self.target),
        }
    }

    /// Binds the second leg's ports, of the family of the address `toward` that it is to talk to, the
    /// caller's where that is not known; its address if it is open already. After
    /// [`MediaCommand::Disconnect`] of the target it can be opened again.
    ///
    /// # Errors
    /// When no port can be bound or the session has ended.
    pub async fn open_target(&self, toward: Option<IpAddr>) -> Result<SocketAddr, MediaError> {
        if let Some(open) = self.address(Side::Target) {
            return Ok(open);
        }
        let pair = self.ports.second(toward.unwrap_or(self.caller.ip()))?;
        let address = told(&pair)?;
        let (opened, answer) = oneshot::channel();
        self.commands
            .try_send(Box::new(ToSeat::Target(pair, opened)))
            .map_err(|error| match error {
                TrySendError::Full(_) => MediaError::Busy,
                TrySendError::Closed(_) => MediaError::Ended,
            })?;
        answer
            .await
            .map_err(|_| MediaError::Ended)?
            .map_err(MediaError::Bind)?;
        *lock(&self.target) = Some(address);
        Ok(address)
    }

    /// Posts a command; it is carried out in the session's next 20 ms slot.
    ///
    /// # Errors
    /// When the session's queue is full or the session is gone.
    pub fn send(&self, command: MediaCommand) -> Result<(), Busy> {
        let closes_target = matches!(command, MediaCommand::Disconnect(Side::Target));
        self.post(ToSeat::Command(command))?;
        if closes_target {
            *lock(&self.target) = None;
        }
        Ok(())
    }

    /// Attaches an agent; one that was attached before is stopped.
    ///
    /// # Errors
    /// As [`MediaHandle::send`]; the agent is dropped then, which stops it.
    pub fn attach(&self, agent: Box<dyn Agent>) -> Result<(), Busy> {
        self.post(ToSeat::Attach(agent))
    }

    /// The session's figures; `None` when it has ended.
    pub async fn figures(&self) -> Option<MediaFigures> {
        let (asked, answer) = oneshot::channel();
        self.post(ToSeat::Figures(asked)).ok()?;
        answer.await.ok()
    }

    /// The figures as they were told last, once a second and when the session ends; the channel closes then.
    #[must_use]
    pub fn watched_figures(&self) -> watch::Receiver<MediaFigures> {
        self.figures.clone()
    }

    fn post(&self, message: ToSeat) -> Result<(), Busy> {
        self.commands.try_send(Box::new(message)).map_err(|_| Busy)
    }
}

/// The address of a pair as it is told to peers.
fn told(pair: &Pair) -> Result<SocketAddr, MediaError> {
    let local = pair.rtp.local_addr().map_err(MediaError::Bind)?;
    Ok(SocketAddr::new(pair.told, local.port()))
}

/// Nothing that holds these locks can panic or wait.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
