//! One media loop: a thread, a current-thread runtime, one tick.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use timebase::{Clock, Now};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{Instant, sleep_until};

use crate::seat::{Seat, Work};

/// The tick.
const TICK: Duration = Duration::from_millis(5);

/// Phases of the tick: a session's slot comes once in 20 ms.
const PHASES: u64 = 4;

/// The largest datagram that is read whole.
const DATAGRAM: usize = 2048;

/// Openings that may wait for the next tick.
const DOOR: usize = 1024;

/// Ticks between two reports of the counters: one second.
const REPORT_EVERY: u64 = 200;

/// What comes through a shard's door.
#[derive(Debug)]
pub(crate) enum Door {
    Open(Box<Seat>),
    Stop,
}

/// A shard as the plane sees it.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Looked at by every tick, and wakes nobody.
    pub(crate) door: mpsc::Sender<Door>,
    /// Sessions that live in it.
    pub(crate) load: Arc<AtomicUsize>,
    /// Its runtime, in which a session's sockets are registered.
    pub(crate) runtime: Handle,
}

impl Shard {
    /// Starts the thread.
    pub(crate) fn start(index: usize, clock: Clock) -> io::Result<(Self, JoinHandle<()>)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (door, openings) = mpsc::channel(DOOR);
        let load = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&load);
        let media = Loop::new(clock, count);
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new()
            .name(format!("media-{index}"))
            .spawn(move || {
                runtime.block_on(media.run(openings));
            })?;
        let runtime = handle;
        Ok((
            Self {
                door,
                load,
                runtime,
            },
            thread,
        ))
    }
}

#[derive(Debug)]
struct Loop {
    clock: Clock,
    /// The next tick, counted from the clock's origin.
    next: u64,
    /// The sessions of each phase.
    seats: [Vec<Seat>; PHASES as usize],
    load: Arc<AtomicUsize>,
    buffer: Box<[u8; DATAGRAM]>,
    work: Work,
    reported: u64,
}

impl Loop {
    fn new(clock: Clock, load: Arc<AtomicUsize>) -> Self {
        Self {
            clock,
            next: tick_of(clock.now()) + 1,
            seats: Default::default(),
            load,
            buffer: Box::new([0; DATAGRAM]),
            work: Work::default(),
            reported: 0,
        }
    }

    async fn run(mut self, mut openings: mpsc::Receiver<Door>) {
        while self.let_in(&mut openings) {
            sleep_until(Instant::from_std(self.clock.instant(time_of(self.next)))).await;
            self.tick();
            // lets the runtime look at the sockets even when the loop is late
            tokio::task::yield_now().await;
        }
        for seats in &mut self.seats {
            let ended = seats.len();
            seats.clear();
            self.load.fetch_sub(ended, Ordering::Relaxed);
        }
    }

    /// Seats who waits at the door; false when the shard is to end.
    fn let_in(&mut self, openings: &mut mpsc::Receiver<Door>) -> bool {
        loop {
            match openings.try_recv() {
                Ok(Door::Open(seat)) => self.seat(*seat),
                Err(TryRecvError::Empty) => return true,
                Ok(Door::Stop) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Visits each phase that is due, once: a session that missed slots makes up for a few of
    /// them by itself.
    fn tick(&mut self) {
        let now = self.clock.now();
        let current = tick_of(now).max(self.next);
        let lateness = now.since(time_of(self.next));
        metrics::histogram!("handback_media_tick_lateness_seconds").record(lateness);
        for tick in self.next.max(current.saturating_sub(PHASES - 1))..=current {
            self.visit(tick);
        }
        self.next = current + 1;
        if current >= self.reported + REPORT_EVERY {
            self.reported = current;
            self.report();
        }
    }

    fn visit(&mut self, tick: u64) {
        let now = time_of(tick);
        let Self {
            seats,
            buffer,
            work,
            load,
            ..
        } = self;
        let Some(seats) = seats.get_mut((tick % PHASES) as usize) else {
            return;
        };
        let before = seats.len();
        seats.retain_mut(|seat| seat.slot(now, buffer.as_mut_slice(), work));
        load.fetch_sub(before - seats.len(), Ordering::Relaxed);
    }

    /// Seats a session in the phase with the fewest.
    fn seat(&mut self, mut seat: Seat) {
        let phases = self.seats.iter().enumerate();
        let phase = phases
            .min_by_key(|(_, seats)| seats.len())
            .map_or(0, |(phase, _)| phase);
        // slots fall on the ticks of the phase: any tick of it will do as the origin
        seat.begin(time_of(self.next - self.next % PHASES + phase as u64));
        if let Some(seats) = self.seats.get_mut(phase) {
            seats.push(seat);
        }
    }

    fn report(&mut self) {
        let Work {
            received,
            sent,
            unsent,
        } = std::mem::take(&mut self.work);
        metrics::counter!("handback_rtp_packets_total", "direction" => "in").increment(received);
        metrics::counter!("handback_rtp_packets_total", "direction" => "out").increment(sent);
        metrics::counter!("handback_rtp_packets_unsent_total").increment(unsent);
    }
}

fn tick_of(now: Now) -> u64 {
    now.as_millis() / TICK.as_millis() as u64
}

fn time_of(tick: u64) -> Now {
    Now::from_millis(tick * TICK.as_millis() as u64)
}
