//! Two-way paced G.711 of many calls on one socket: every frame is recognised when it comes back.

use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::batch::{Batched, time_of_day};
use crate::figures::Delays;

/// The pump's tick; a call sends in every fourth one.
const TICK: Duration = Duration::from_millis(5);
const PHASES: u64 = 4;

/// Bytes of 20 ms.
const FRAME: usize = 160;
/// Bytes of the RTP header (RFC 3550 §5.1).
const HEADER: usize = 12;
/// Frames whose time of sending is remembered: five seconds.
const REMEMBERED: usize = 256;

/// What the pump is asked.
enum Order {
    Add(usize, SocketAddrV4),
    Remove(usize),
    /// Frames sent from now on count, or do not any more.
    Count(bool),
    Report(Sender<Report>),
}

/// What became of the frames that counted.
pub(crate) struct Report {
    pub(crate) lines: HashMap<usize, LineFigures>,
    /// From sending to return.
    pub(crate) delays: Delays,
    /// How late the pump itself ticked.
    pub(crate) lateness: Delays,
    /// Datagrams that the kernel would not send.
    pub(crate) unsent: u64,
}

/// One call's audio.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineFigures {
    /// Frames sent that count.
    pub(crate) sent: u64,
    /// Frames that came back whole and in order.
    pub(crate) returned: u64,
    /// Frames that came back again, or behind a later one.
    pub(crate) disordered: u64,
    /// Frames of which a byte had changed.
    pub(crate) damaged: u64,
    /// Packets with something else in them (silence, concealment, comfort noise).
    pub(crate) filler: u64,
    /// Gaps in the RTP sequence numbers that came back.
    pub(crate) sequence_gaps: u64,
    /// Jumps of the RTP timestamp other than a frame.
    pub(crate) timestamp_jumps: u64,
    /// The longest time between two frames.
    pub(crate) longest_gap: Duration,
    /// Since the last frame.
    pub(crate) silent_for: Duration,
}

impl LineFigures {
    pub(crate) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.returned + self.disordered)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.returned += other.returned;
        self.disordered += other.disordered;
        self.damaged += other.damaged;
        self.filler += other.filler;
        self.sequence_gaps += other.sequence_gaps;
        self.timestamp_jumps += other.timestamp_jumps;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.silent_for = self.silent_for.max(other.silent_for);
    }
}

/// A thread that sends and receives.
pub(crate) struct Pump {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
    /// Where the gateway has to send.
    pub(crate) address: SocketAddr,
}

impl Pump {
    pub(crate) fn start(own: SocketAddr) -> std::io::Result<Self> {
        let (orders, inbox) = channel();
        let (bound, answer) = channel();
        // the socket's headers belong to the thread that uses them
        let work = move || {
            let socket = Batched::bind(own);
            let _ = bound.send(match &socket {
                Ok(socket) => socket.address(),
                Err(error) => Err(std::io::Error::other(error.to_string())),
            });
            if let Ok(socket) = socket {
                Work::new(socket).run(&inbox);
            }
        };
        let thread = std::thread::Builder::new()
            .name("audio".to_owned())
            .spawn(work)?;
        let address = answer.recv().map_err(std::io::Error::other)??;
        Ok(Self {
            orders,
            thread: Some(thread),
            address,
        })
    }

    /// Begins to speak with a call's media port.
    pub(crate) fn add(&self, call: usize, to: SocketAddrV4) {
        let _ = self.orders.send(Order::Add(call, to));
    }

    pub(crate) fn remove(&self, call: usize) {
        let _ = self.orders.send(Order::Remove(call));
    }

    /// Whether what is sent from now on counts; beginning anew forgets what was counted.
    pub(crate) fn count(&self, counts: bool) {
        let _ = self.orders.send(Order::Count(counts));
    }

    pub(crate) fn report(&self) -> Option<Report> {
        let (asked, answer) = channel();
        self.orders.send(Order::Report(asked)).ok()?;
        answer.recv_timeout(Duration::from_secs(10)).ok()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let (orders, _) = channel();
        self.orders = orders;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Line {
    to: SocketAddrV4,
    removed: bool,
    /// The number of the next frame, which is RTP's sequence number too.
    next: u32,
    sent_at: [Duration; REMEMBERED],
    /// The first frame that counts, and the first that does not any more.
    counted: (u32, u32),
    /// The last frame that came back.
    last: Option<u32>,
    last_at: Option<Duration>,
    /// The last sequence number and timestamp that came back.
    rtp: Option<(u16, u32)>,
    /// The payload before the one that comes, and that one behind it.
    heard: [u8; 2 * FRAME],
    /// Where in these a frame began last: a jitter buffer that plays faster or slower shifts what is behind.
    shift: usize,
    figures: LineFigures,
}

struct Work {
    socket: Batched,
    lines: HashMap<usize, Line>,
    by_port: HashMap<SocketAddrV4, usize>,
    counts: bool,
    delays: Delays,
    lateness: Delays,
}

impl Work {
    fn new(socket: Batched) -> Self {
        Self {
            socket,
            lines: HashMap::new(),
            by_port: HashMap::new(),
            counts: false,
            delays: Delays::new(),
            lateness: Delays::new(),
        }
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        let origin = Instant::now();
        let mut tick: u64 = 0;
        loop {
            let due = origin + TICK * u32::try_from(tick).unwrap_or(u32::MAX);
            let left = due.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(left) {
                Ok(order) => {
                    self.obey(order);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.counts {
                self.lateness.add(due.elapsed());
            }
            self.send(tick % PHASES);
            self.receive();
            tick += 1;
            loop {
                match inbox.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Add(call, to) => {
                self.by_port.insert(to, call);
                self.lines.insert(call, Line::new(to, self.counts));
            }
            Order::Remove(call) => {
                if let Some(line) = self.lines.get_mut(&call) {
                    line.removed = true;
                    line.counted.1 = line.counted.1.min(line.next);
                }
            }
            Order::Count(counts) => self.count(counts),
            Order::Report(asked) => {
                self.receive();
                let _ = asked.send(self.report());
            }
        }
    }

    fn count(&mut self, counts: bool) {
        self.counts = counts;
        for line in self.lines.values_mut().filter(|line| !line.removed) {
            if counts {
                line.counted = (line.next, u32::MAX);
                line.figures = LineFigures::default();
            } else {
                line.counted.1 = line.next;
            }
        }
        if counts {
            self.delays = Delays::new();
            self.lateness = Delays::new();
            self.socket.unsent = 0;
        }
    }

    fn report(&mut self) -> Report {
        let now = time_of_day();
        let lines = self
            .lines
            .iter()
            .map(|(call, line)| (*call, line.figures(now)));
        Report {
            lines: lines.collect(),
            delays: std::mem::replace(&mut self.delays, Delays::new()),
            lateness: std::mem::replace(&mut self.lateness, Delays::new()),
            unsent: self.socket.unsent,
        }
    }

    fn send(&mut self, phase: u64) {
        let now = time_of_day();
        for (call, line) in &mut self.lines {
            if *call as u64 % PHASES == phase && !line.removed {
                let number = line.next;
                line.next += 1;
                if let Some(at) = line.sent_at.get_mut(number as usize % REMEMBERED) {
                    *at = now;
                }
                self.socket
                    .queue(line.to, |packet| write(packet, *call, number));
            }
        }
        self.socket.flush();
    }

    fn receive(&mut self) {
        let Self {
            socket,
            lines,
            by_port,
            delays,
            ..
        } = self;
        socket.receive(|from, packet, at| {
            let line = by_port
                .get(&from)
                .and_then(|call| Some((*call, lines.get_mut(call)?)));
            // a call whose answer was not read yet sends already
            if let Some((call, line)) = line {
                line.returned(call, packet, at, delays);
            }
        });
    }
}

impl Line {
    fn new(to: SocketAddrV4, counts: bool) -> Self {
        Self {
            to,
            removed: false,
            next: 0,
            sent_at: [Duration::ZERO; REMEMBERED],
            counted: if counts {
                (0, u32::MAX)
            } else {
                (u32::MAX, u32::MAX)
            },
            last: None,
            last_at: None,
            rtp: None,
            heard: [0; 2 * FRAME],
            shift: FRAME,
            figures: LineFigures::default(),
        }
    }

    fn figures(&self, now: Duration) -> LineFigures {
        let (first, end) = self.counted;
        LineFigures {
            sent: u64::from(self.next.min(end).saturating_sub(first)),
            silent_for: self
                .last_at
                .map_or(Duration::MAX, |at| now.saturating_sub(at)),
            ..self.figures.clone()
        }
    }

    /// A packet came back.
    fn returned(&mut self, call: usize, packet: &[u8], at: Duration, delays: &mut Delays) {
        let Some((sequence, timestamp, payload)) = read(packet) else {
            self.figures.damaged += 1;
            return;
        };
        if let Some((last, stamp)) = self.rtp.replace((sequence, timestamp)) {
            let step = sequence.wrapping_sub(last);
            self.figures.sequence_gaps += u64::from(step.wrapping_sub(1));
            let expected = stamp.wrapping_add(u32::from(step) * FRAME as u32);
            self.figures.timestamp_jumps += u64::from(timestamp != expected);
        }
        match self.content(payload, call) {
            Content::Frame(number) => self.frame(number, at, delays),
            Content::Damaged => self.figures.damaged += 1,
            Content::Other if self.last.is_some() => self.figures.filler += 1,
            Content::Other => {}
        }
    }

    /// The frame that ends in this payload, where it began last or wherever it begins now.
    fn content(&mut self, payload: &[u8], call: usize) -> Content {
        if payload.len() != FRAME {
            return Content::Other;
        }
        self.heard.copy_within(FRAME.., 0);
        self.heard[FRAME..].copy_from_slice(payload);
        let frame_at = |at: usize| number_of(&self.heard[at..at + FRAME], call);
        let found = frame_at(self.shift);
        if matches!(found, Content::Frame(_)) {
            return found;
        }
        let elsewhere = (1..=FRAME).find(|at| matches!(frame_at(*at), Content::Frame(_)));
        let Some(at) = elsewhere else { return found };
        let content = frame_at(at);
        self.shift = at;
        content
    }

    fn frame(&mut self, number: u32, at: Duration, delays: &mut Delays) {
        let in_order = self.last.is_none_or(|last| number > last);
        if in_order {
            self.last = Some(number);
        }
        let gap = self.last_at.replace(at).map(|last| at.saturating_sub(last));
        if !(self.counted.0..self.counted.1).contains(&number) {
            return;
        }
        self.figures.longest_gap = self.figures.longest_gap.max(gap.unwrap_or_default());
        if in_order {
            self.figures.returned += 1;
        } else {
            self.figures.disordered += 1;
        }
        if self.next - number < REMEMBERED as u32
            && let Some(sent) = self.sent_at.get(number as usize % REMEMBERED)
        {
            delays.add(at.saturating_sub(*sent));
        }
    }
}

/// What a payload holds.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Frame(u32),
    Damaged,
    Other,
}

/// An RTP packet (RFC 3550 §5.1) of PCMU with frame `number` of a call.
fn write(packet: &mut Vec<u8>, call: usize, number: u32) {
    packet.push(0x80);
    packet.push(if number == 0 { 0x80 } else { 0 });
    packet.extend_from_slice(&(number as u16).to_be_bytes());
    packet.extend_from_slice(&number.wrapping_mul(FRAME as u32).to_be_bytes());
    packet.extend_from_slice(&(call as u32 + 1).to_be_bytes());
    packet.extend_from_slice(&payload_of(call, number));
}

/// Sequence number, timestamp and payload.
fn read(packet: &[u8]) -> Option<(u16, u32, &[u8])> {
    let (header, payload) = packet.split_at_checked(HEADER)?;
    let sequence = u16::from_be_bytes(header.get(2..4)?.try_into().ok()?);
    let timestamp = u32::from_be_bytes(header.get(4..8)?.try_into().ok()?);
    let plain = header.first() == Some(&0x80) && header.get(1)? & 0x7f == 0;
    plain.then_some((sequence, timestamp, payload))
}

/// 160 bytes that no other frame of any call has: the call, the number, and noise made of both.
fn payload_of(call: usize, number: u32) -> [u8; FRAME] {
    let mut payload = [0; FRAME];
    let mut state = ((call as u64) << 32 | u64::from(number)) ^ 0x5DEE_CE66_D1B5_4A32;
    for chunk in payload.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    payload[..4].copy_from_slice(&(call as u32).to_be_bytes());
    payload[4..8].copy_from_slice(&number.to_be_bytes());
    payload
}

fn number_of(payload: &[u8], call: usize) -> Content {
    let head = payload.get(..4).zip(payload.get(4..8));
    let Some((named, number)) = head.filter(|_| payload.len() == FRAME) else {
        return Content::Other;
    };
    if named != (call as u32).to_be_bytes() {
        return Content::Other;
    }
    let number = u32::from_be_bytes(number.try_into().unwrap_or_default());
    if payload == payload_of(call, number) {
        Content::Frame(number)
    } else {
        Content::Damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn line() -> Line {
        let mut line = Line::new(SocketAddrV4::new([127, 0, 0, 1].into(), 4000), true);
        line.next = 10;
        line
    }

    fn packet(call: usize, number: u32) -> Vec<u8> {
        let mut packet = Vec::new();
        write(&mut packet, call, number);
        packet
    }

    #[test]
    fn frames_are_recognised_and_a_changed_byte_is_seen() {
        let sent = packet(7, 3);
        let (sequence, _, payload) = read(&sent).unwrap();
        assert_eq!((sequence, number_of(payload, 7)), (3, Content::Frame(3)));
        let mut changed = payload.to_vec();
        changed[100] ^= 1;
        assert_eq!(number_of(&changed, 7), Content::Damaged);
        assert_eq!(number_of(&[0xff; FRAME], 7), Content::Other);
        assert_eq!(
            number_of(payload, 8),
            Content::Other,
            "another call's audio"
        );
    }

    #[test]
    fn frames_are_found_behind_audio_that_was_left_out() {
        let (mut line, mut delays) = (line(), Delays::new());
        let mut audio: Vec<u8> = (0..5).flat_map(|number| payload_of(7, number)).collect();
        // a pitch period of the second frame is gone
        audio.drain(200..240);
        for (n, payload) in audio.chunks_exact(FRAME).enumerate() {
            let mut packet = packet(7, n as u32);
            packet.truncate(HEADER);
            packet.extend_from_slice(payload);
            line.returned(7, &packet, at(100 + 20 * n as u64), &mut delays);
        }
        let figures = line.figures(at(200));
        assert_eq!(figures.returned, 3, "the first, the third and the fourth");
        assert_eq!(figures.filler + figures.damaged, 1);
    }

    #[test]
    fn losses_repetitions_and_gaps_are_told_apart() {
        let (mut line, mut delays) = (line(), Delays::new());
        for (ms, number) in [(100, 0), (120, 1), (160, 3), (180, 3), (200, 5)] {
            line.returned(7, &packet(7, number), at(ms), &mut delays);
        }
        let figures = line.figures(at(200));
        assert_eq!((figures.sent, figures.returned), (10, 4));
        assert_eq!((figures.disordered, figures.lost()), (1, 5));
        assert_eq!(figures.longest_gap, at(40));
    }
}
