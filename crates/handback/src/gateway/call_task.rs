//! The task that owns one call: it carries what happens to the machine, and what the machine wants
//! to the planes. It decides nothing.

mod agent;
mod keeping;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_hook::{Agent, CallFacts, ConnectError};
use call_control::{
    AgentSaid, Call, Hop, Input, MediaRequest, MediaSaid, Output, StoreReply, StoreRequest,
};
use media_bridge::{MediaCommand, MediaError, MediaEvent, MediaFigures, MediaHandle};
use media_core::Side;
use sip_core::{Command, Flow, LegEvent, LegId};
use sip_transport::{LegEvents, SendError, SipHandle};
use timebase::Now;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::beside::Beside;
use super::directory::{Trunk, TrunkSlot};
use super::families::Target;
use super::live_calls::{Order, Snapshot, phase_name};
use super::shared::Shared;
use super::turns::Turn;
use super::{agent_words, dial, identity, media_figures, media_words, record, store_writes};
use keeping::Keeping;

const MEDIA_EVENTS: usize = 256;
/// A caller who is heard sends packets within this.
const HEARD_OVER: Duration = Duration::from_secs(1);
/// How long a command waits when the driver's queue is full.
const COMMAND_PAUSE: Duration = Duration::from_millis(5);

/// What a call is told things by.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) leg_events: LegEvents,
    pub(super) legs: mpsc::Receiver<(LegId, LegEvent)>,
    pub(super) orders: mpsc::Receiver<Order>,
}

pub(super) struct CallTask {
    shared: Arc<Shared>,
    trunk: Arc<Trunk>,
    sip: SipHandle,
    call: Call,
    mailbox: Mailbox,
    media: Media,
    /// Connected and not yet attached.
    agent: Option<Box<dyn Agent>>,
    beside: Beside,
    lookups: JoinSet<Found>,
    arrived_at: timebase::UnixMillis,
    keeping: Keeping,
    /// The last leg that was placed, and where.
    placed: Option<(LegId, Flow)>,
}

/// The call's media, and the way its events come.
struct Media {
    events: mpsc::Receiver<MediaEvent>,
    sender: mpsc::Sender<MediaEvent>,
    handle: Option<Arc<MediaHandle>>,
    figures: Option<watch::Receiver<MediaFigures>>,
    closed: bool,
    /// Where the caller's will come from.
    toward_caller: Option<IpAddr>,
    /// Where a return target's will.
    target: Target,
}

/// The call's entry among the live calls, which goes with its task whatever ends that.
struct Listed {
    shared: Arc<Shared>,
    call: String,
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(handle) = self.shared.live.get(&self.call) {
            let ended = handle.snapshot().sip_call_id;
            self.shared.ladders.end(&ended);
        }
        self.shared.live.remove(&self.call);
    }
}

/// What a look-up found.
enum Found {
    Store(StoreReply),
    Agent(Result<Box<dyn Agent>, ConnectError>),
    Media(Result<MediaHandle, MediaError>),
    Target(Result<std::net::SocketAddr, MediaError>),
    Hops(Result<Vec<Hop>, String>),
    NextHop(LegId, Command),
    Heard(bool),
}

impl CallTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        trunk: Arc<Trunk>,
        sip: SipHandle,
        call: Call,
        mailbox: Mailbox,
    ) -> Self {
        let (sender, events) = mpsc::channel(MEDIA_EVENTS);
        let media = Media {
            events,
            sender,
            handle: None,
            figures: None,
            closed: false,
            toward_caller: None,
            target: Target::Unknown,
        };
        let lookups = JoinSet::new();
        Self {
            shared,
            trunk,
            sip,
            call,
            mailbox,
            media,
            agent: None,
            beside: Beside::default(),
            lookups,
            arrived_at: timebase::wall_now(),
            keeping: Keeping::default(),
            placed: None,
        }
    }

    /// The same with the address that the caller wants its media at.
    pub(super) fn toward(mut self, caller: IpAddr) -> Self {
        self.media.toward_caller = Some(caller);
        self
    }

    /// Runs the call to its end. What it holds stands on the heap once: moved from one future into the next, each would keep
    /// room for it.
    pub(super) fn run(
        self,
        facts: CallFacts,
        snapshots: watch::Sender<Snapshot>,
        (slot, turn): (TrunkSlot, Turn),
    ) -> impl Future<Output = ()> + Send + use<> {
        let span = tracing::info_span!(
            "call",
            call = facts.call,
            transfer = identity::loggable(facts.transfer.as_str())
        );
        let listed = Listed {
            shared: Arc::clone(&self.shared),
            call: facts.call.clone(),
        };
        let driven = Box::pin(self.drive(facts, snapshots)).instrument(span);
        async move {
            turn.came(Instant::now());
            driven.await;
            drop((listed, slot));
        }
    }

    async fn drive(mut self, mut facts: CallFacts, snapshots: watch::Sender<Snapshot>) {
        tracing::info!(
            trunk = self.trunk.name,
            sip_call_id = identity::loggable(&facts.sip_call_id),
            "call started"
        );
        metrics::counter!("handback_calls_started_total").increment(1);
        self.perform_outputs(&mut facts).await;
        while !self.call.is_ended() {
            self.step().await;
            self.keep_ahead(&facts).await;
            self.perform_outputs(&mut facts).await;
            self.beside.transcript.write(&self.shared.store, &facts);
            self.keep(&facts);
            let phase = phase_name(self.call.phase());
            snapshots.send_if_modified(|snapshot| {
                let changed = snapshot.phase != phase;
                snapshot.phase = phase;
                if snapshot.figures.is_none() {
                    snapshot.figures.clone_from(&self.media.figures);
                }
                changed
            });
        }
        self.beside.transcript.write_now(&self.shared.store, &facts);
    }

    /// Waits for one thing to happen and tells the machine.
    async fn step(&mut self) {
        let deadline = self
            .call
            .poll_timeout()
            .map(|at| self.shared.clock.instant(at));
        tokio::select! {
            biased;
            Some((leg, event)) = self.mailbox.legs.recv() => {
                if let Some((_, flow)) = self.placed.filter(|(placed, _)| *placed == leg) {
                    dial::judge(&self.shared.resting, self.now(), flow, &event);
                }
                if let LegEvent::Locate { uri } = event {
                    self.locate(leg, uri);
                } else {
                    self.feed(Input::Leg { leg, event });
                }
            }
            Some(Ok(found)) = self.lookups.join_next() => self.found(found).await,
            Some(Ok(kept)) = self.keeping.writes.join_next() => self.kept(kept),
            Some(event) = self.media.events.recv() => self.media_event(event),
            Some(order) = self.mailbox.orders.recv() => {
                let input = self.beside.ordered(order);
                self.feed(input);
            }
            () = until(deadline) => self.call.handle_timeout(self.now()),
        }
    }

    fn now(&self) -> Now {
        self.shared.clock.now()
    }

    fn feed(&mut self, input: Input) {
        self.call.handle_input(self.now(), input);
    }

    async fn found(&mut self, found: Found) {
        let input = match found {
            Found::Store(reply) => Input::Store(reply),
            Found::Agent(Ok(agent)) => {
                self.beside.stream = agent.stream().map(str::to_owned);
                self.agent = Some(agent);
                Input::Agent(AgentSaid::Connected)
            }
            Found::Agent(Err(error)) => Input::Agent(agent_words::not_connected(&error)),
            Found::Media(opened) => Input::Media(self.media_opened(opened)),
            Found::Target(Ok(address)) => Input::Media(MediaSaid::Opened {
                side: Side::Target,
                address: self.reachable(address),
            }),
            Found::Target(Err(error)) => {
                tracing::warn!(%error, "no port for the target's media");
                Input::Media(MediaSaid::NoPort { side: Side::Target })
            }
            Found::Hops(hops) => {
                self.target_found(hops.as_deref().unwrap_or_default());
                Input::Resolved(hops)
            }
            Found::Heard(still) => Input::Media(MediaSaid::Heard(still)),
            Found::NextHop(leg, command) => return send_command(&self.sip, leg, command).await,
        };
        self.feed(input);
    }

    fn media_opened(&mut self, opened: Result<MediaHandle, MediaError>) -> MediaSaid {
        let side = Side::Caller;
        let address = opened.as_ref().map(|handle| handle.address(side));
        match address {
            Ok(Some(address)) if !self.media.closed => {
                let handle = opened.ok();
                self.media.figures = handle.as_ref().map(MediaHandle::watched_figures);
                self.media.handle = handle.map(Arc::new);
                MediaSaid::Opened {
                    side,
                    address: self.reachable(address),
                }
            }
            Ok(_) => MediaSaid::NoPort { side },
            Err(error) => {
                tracing::warn!(%error, "no port for the call's media");
                MediaSaid::NoPort { side }
            }
        }
    }

    /// A wildcard media address is told to peers as the SIP address that they reach.
    fn reachable(&self, address: std::net::SocketAddr) -> std::net::SocketAddr {
        let family = |own: &&std::net::SocketAddr| own.is_ipv4() == address.is_ipv4();
        match self.sip.local_addresses().iter().find(family) {
            Some(own) if address.ip().is_unspecified() => (own.ip(), address.port()).into(),
            Some(_) | None => address,
        }
    }

    fn media_event(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::Agent(event) => self.agent_event(event),
            MediaEvent::MediaTimeout(side) => self.feed(Input::Media(MediaSaid::Silent { side })),
            MediaEvent::Drained => self.feed(Input::Media(MediaSaid::Drained)),
            MediaEvent::Lost(count) => {
                tracing::warn!(count, "media events lost: the call ends");
                self.feed(Input::HangUp);
            }
            MediaEvent::Dtmf {
                side,
                digit: key,
                duration_ms,
            } => self.feed(Input::Media(MediaSaid::Pressed {
                side,
                key,
                duration_ms,
            })),
            MediaEvent::FirstPacket(_) => {}
        }
    }

    async fn perform_outputs(&mut self, facts: &mut CallFacts) {
        while let Some(output) = self.call.poll_output() {
            match output {
                Output::Sip { leg, command } => send_command(&self.sip, leg, command).await,
                Output::Place(place) => {
                    self.placed = Some((place.leg, place.flow));
                    let events = self.mailbox.leg_events.clone();
                    if self.sip.place(*place, events).await.is_err() {
                        tracing::warn!("the SIP driver has ended");
                    }
                }
                Output::Store(request) => self.store_request(facts, request),
                Output::Agent(request) => self.agent_request(facts, request),
                Output::Media(request) => self.media_request(&request),
                Output::Resolve { uri } => self.resolve(uri),
                Output::Ended(record) => {
                    record::call_ended(&record);
                    self.keep_record(facts, &record).await;
                }
            }
        }
    }

    /// Keeps the record once the media have ended, with their last figures.
    async fn keep_record(&mut self, facts: &CallFacts, record: &call_control::Record) {
        // what is left of the media ends with this
        self.media.handle = None;
        let figures = record::last_figures(self.media.figures.take()).await;
        figures.as_ref().into_iter().for_each(media_figures::record);
        let media = figures.as_ref().and_then(media_figures::shown);
        let kept = record::kept(record, facts, &self.trunk.name, self.arrived_at, media);
        self.record(kept);
    }

    fn resolve(&mut self, uri: bytes::Bytes) {
        let now = self.now();
        let dialler = self.shared.dialler(&self.sip);
        let (shared, trunk) = (Arc::clone(&self.shared), Arc::clone(&self.trunk));
        let guard = shared.guard(&trunk);
        self.media.target = Target::LookedFor;
        let look_up = async move {
            let hops = match &trunk.outbound_proxy {
                Some(proxy) => dialler.proxy_hops(Some(now), proxy).await,
                None => dialler.hops(now, uri, guard).await,
            };
            Found::Hops(hops.map(|hops| shared.trunk_health.up_first(&trunk, hops)))
        };
        self.lookups.spawn(look_up.in_current_span());
    }

    /// Looks up the next hop of a leg's dialog. A machine that waits for nothing is not told.
    fn locate(&mut self, leg: LegId, uri: bytes::Bytes) {
        let dialler = self.shared.dialler(&self.sip);
        let guard = self.shared.guard(&self.trunk);
        let look_up = async move {
            let flows = dialler.next_hop(&uri, &guard).await;
            Found::NextHop(leg, Command::Located { uri, flows })
        };
        self.lookups.spawn(look_up.in_current_span());
    }

    fn store_request(&mut self, facts: &CallFacts, request: StoreRequest) {
        let shared = Arc::clone(&self.shared);
        let (account, transfer) = (facts.account.clone(), facts.transfer.clone());
        let write = async move {
            let to = (&shared.store, &shared.backlog);
            Found::Store(store_writes::perform(to, account, transfer, request).await)
        };
        self.lookups.spawn(write.in_current_span());
    }

    fn media_command(&self, command: MediaCommand) {
        if let Some(media) = &self.media.handle
            && media.send(command).is_err()
        {
            tracing::warn!("the media loop takes no command");
        }
    }

    fn media_request(&mut self, request: &MediaRequest) {
        match *request {
            MediaRequest::Open { side } => self.open_media(side),
            MediaRequest::Ask => self.ask_media(),
            MediaRequest::Close => {
                self.media.closed = true;
                self.media.handle = None;
            }
            MediaRequest::Connect { .. }
            | MediaRequest::Disconnect { .. }
            | MediaRequest::Pressed { .. }
            | MediaRequest::Clear
            | MediaRequest::Tone(_)
            | MediaRequest::Bridge(_)
            | MediaRequest::Drain
            | MediaRequest::Watch(_) => {
                if let Some(command) = media_words::command(request) {
                    self.media_command(command);
                }
            }
            MediaRequest::Comfort => {
                self.media_command(MediaCommand::Comfort(self.trunk.comfort.clone()));
            }
        }
    }

    /// Whether packets of the caller come, over a second.
    fn ask_media(&mut self) {
        let handle = self.media.handle.clone();
        self.lookups.spawn(async move {
            let Some(handle) = handle else {
                return Found::Heard(false);
            };
            let before = handle.figures().await;
            tokio::time::sleep(HEARD_OVER).await;
            let after = handle.figures().await;
            let packets = |figures: &MediaFigures| figures.caller.packets_in;
            Found::Heard(after.as_ref().map(packets) > before.as_ref().map(packets))
        });
    }

    /// The hops of a return are known: a port that waits for them can be opened.
    fn target_found(&mut self, hops: &[Hop]) {
        let awaited = self.media.target == Target::Awaited;
        let toward = hops.first().map(|hop| hop.flow.remote.ip());
        self.media.target = Target::Found(toward);
        if awaited {
            self.open_media(Side::Target);
        }
    }

    fn open_media(&mut self, side: Side) {
        match (side, &self.media.handle) {
            (Side::Caller, _) => {
                let (shared, events) = (Arc::clone(&self.shared), self.media.sender.clone());
                let toward = self.media.toward_caller;
                self.lookups
                    .spawn(async move { Found::Media(shared.media.open(toward, events)) });
            }
            // Whether IPv4 or IPv6 is spoken with it turns out when it is found.
            (Side::Target, Some(_)) if self.media.target == Target::LookedFor => {
                self.media.target = Target::Awaited;
            }
            (Side::Target, Some(handle)) => {
                let handle = Arc::clone(handle);
                let toward = self.media.target.address();
                self.lookups
                    .spawn(async move { Found::Target(handle.open_target(toward).await) });
            }
            (Side::Target, None) => {
                self.lookups
                    .spawn(async { Found::Target(Err(MediaError::Ended)) });
            }
        }
    }
}

/// A full queue of the driver delays the call; no command is lost.
async fn send_command(sip: &SipHandle, leg: LegId, command: Command) {
    loop {
        match sip.command(leg, command.clone()) {
            Ok(()) => return,
            Err(SendError::Overloaded) => tokio::time::sleep(COMMAND_PAUSE).await,
            Err(SendError::Closed) => return tracing::warn!("the SIP driver has ended"),
        }
    }
}

/// Waits until the instant; for ever if there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
