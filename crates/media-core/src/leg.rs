//! One leg: what is negotiated, what comes and what goes.

use crate::codec::Audio;
use crate::dtmf::{Digit, DigitSender};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::{Figures, LegMedia, rtp};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;
use timebase::Now;

/// After this long without a packet, early media are taken to have stopped.
const STOPPED: Duration = Duration::from_secs(3);

/// One leg's media.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) media: LegMedia,
    /// Packets are taken from this host; it outlives a hold with an unspecified address.
    expected: SocketAddr,
    /// Packets came from the signalled port: those from other ports of the host are somebody else's.
    exact: bool,
    receiver: Receiver,
    sender: Sender,
    digits: DigitSender,
    figures: Figures,
    pub(crate) last_packet: Option<Now>,
    /// Whether the leg stands; its figures remain afterwards.
    pub(crate) connected: bool,
}

impl Leg {
    /// A leg that starts.
    pub(crate) fn new(media: LegMedia, random: u64) -> Self {
        Self {
            media,
            expected: canonical(media.remote),
            exact: false,
            receiver: Receiver::new(&media),
            sender: Sender::new(random),
            digits: DigitSender::default(),
            figures: Figures::default(),
            last_packet: None,
            connected: true,
        }
    }

    /// Takes over what was negotiated anew; SSRC, sequence and timestamps run on.
    pub(crate) fn update(&mut self, media: LegMedia) {
        let listens_again = media.receive && !self.media.receive;
        if listens_again || media.codec != self.media.codec {
            self.receiver.jitter.reset(media.codec);
        }
        if media.dtmf.is_none() {
            self.digits.clear();
        }
        let remote = canonical(media.remote);
        if !remote.ip().is_unspecified() && remote != self.expected {
            self.expected = remote;
            self.exact = false;
        }
        self.media = media;
    }

    /// Takes a datagram; gives the digit that it completes.
    pub(crate) fn receive(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) -> Option<Digit> {
        let from = canonical(from);
        let exact = from == self.expected;
        if from.ip() != self.expected.ip() || (self.exact && !exact) {
            self.figures.foreign += 1;
            return None;
        }
        let Some(packet) = rtp::read(datagram) else {
            self.figures.malformed += 1;
            return None;
        };
        self.exact |= exact;
        self.figures.packets_in += 1;
        self.figures.bytes_in += datagram.len() as u64;
        self.last_packet = Some(now);
        let digit = self
            .receiver
            .take(now, &packet, &self.media, &mut self.figures);
        self.count(digit)
    }

    /// Whether audio of this leg has come and has not stopped since.
    pub(crate) fn sounds(&self, now: Now) -> bool {
        let stopped = self
            .last_packet
            .is_none_or(|last| now.since(last) > STOPPED);
        self.connected && self.receiver.jitter.is_running() && !stopped
    }

    /// What this leg says in this slot.
    pub(crate) fn pull(&mut self) -> Audio {
        if self.media.receive {
            self.receiver.jitter.pull()
        } else {
            Audio::silence(self.media.codec)
        }
    }

    /// The digit whose end never came.
    pub(crate) fn overdue_digit(&mut self, now: Now) -> Option<Digit> {
        let digit = self.receiver.overdue_digit(now);
        self.count(digit)
    }

    /// Queues digits, if the leg takes events.
    pub(crate) fn queue_digits(&mut self, digits: &str, duration_ms: u32) {
        if self.media.dtmf.is_some() {
            self.digits.queue(digits, duration_ms);
        }
    }

    /// Sends this slot's frame, or the event packet that takes its place.
    pub(crate) fn send(
        &mut self,
        audio: Audio,
        spurt: bool,
        mut sent: impl FnMut(SocketAddr, Bytes),
    ) {
        let Self {
            media,
            sender,
            digits,
            figures,
            ..
        } = self;
        if !media.send || media.remote.ip().is_unspecified() {
            sender.pass();
            return;
        }
        let mut sent = |data: Bytes| {
            figures.packets_out += 1;
            figures.bytes_out += data.len() as u64;
            sent(media.remote, data);
        };
        match (media.dtmf, media.dtmf.and_then(|_| digits.next_slot())) {
            (Some(payload_type), Some(event)) => {
                sender
                    .event(event, payload_type)
                    .into_iter()
                    .for_each(&mut sent);
                figures.dtmf_out += u64::from(event.last);
            }
            (Some(_) | None, _) => sender.audio(audio, spurt, media, sent),
        }
    }

    /// The figures so far.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = self.figures;
        self.receiver.report(&mut figures);
        figures
    }

    fn count(&mut self, digit: Option<Digit>) -> Option<Digit> {
        self.figures.dtmf_in += u64::from(digit.is_some());
        digit
    }
}

/// An IPv4 address that came mapped into IPv6 is the same address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
