//! One leg: what is negotiated, what comes and what goes.

use crate::codec::Audio;
use crate::dtmf::{Digit, DigitSender};
use crate::latch::{Latch, Rate, Verdict};
use crate::quality::{Meter, opinion, rating};
use crate::receiver::Receiver;
use crate::reports::{Reports, ntp};
use crate::rtcp::{Compound, SenderInfo, Voip};
use crate::rtp::Writer;
use crate::sender::Sender;
use crate::srtp::{LARGEST, Opener, Sealer};
use crate::{Control, Figures, LegMedia, Protection, rtcp, rtp};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;
use timebase::Now;

/// After this long without a packet, early media are taken to have stopped.
const STOPPED: Duration = Duration::from_secs(3);

/// The longest play-out delay that the jitter buffer goes to.
const MOST_MS: u16 = 200;

/// One leg's media.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) media: LegMedia,
    latch: Latch,
    rate: Rate,
    protected: Option<Protected>,
    receiver: Receiver,
    sender: Sender,
    digits: DigitSender,
    figures: Figures,
    pub(crate) last_packet: Option<Now>,
    /// When the last RTCP came.
    pub(crate) last_control: Option<Now>,
    reports: Reports,
    heard: Meter,
    said: Meter,
    /// Whether the leg stands; its figures remain afterwards.
    pub(crate) connected: bool,
}

impl Leg {
    /// A leg that starts.
    pub(crate) fn new(media: LegMedia, random: u64) -> Self {
        Self {
            media,
            latch: Latch::new(media.remote, media.latch),
            rate: Rate::new(),
            protected: media.protection.map(Protected::new),
            receiver: Receiver::new(&media),
            sender: Sender::new(random),
            digits: DigitSender::default(),
            figures: Figures::default(),
            last_packet: None,
            last_control: None,
            reports: Reports::new(random),
            heard: Meter::default(),
            said: Meter::default(),
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
        self.latch.signalled(media.remote, media.latch);
        self.protected = match (self.protected.take(), media.protection) {
            (Some(mut protected), Some(protection)) => {
                protected.rekey(protection);
                Some(protected)
            }
            (_, protection) => protection.map(Protected::new),
        };
        self.media = media;
    }

    /// Takes a datagram; gives the digit that it completes.
    pub(crate) fn receive(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) -> Option<Digit> {
        if self.media.control.muxed && rtcp::is_muxed(datagram) {
            self.control(now, from, datagram);
            return None;
        }
        let verdict = self.latch.judge(from);
        if verdict == Verdict::Foreign {
            self.figures.foreign += 1;
            return None;
        }
        if !self.rate.takes(now) {
            self.figures.excess += 1;
            return None;
        }
        let mut room = [0; LARGEST];
        let plain = match &mut self.protected {
            Some(protected) => protected.opener.rtp(datagram, &mut room),
            None => Some(datagram),
        };
        let Some(plain) = plain else {
            self.figures.unauthentic += 1;
            return None;
        };
        let Some(packet) = rtp::read(plain) else {
            self.figures.malformed += 1;
            return None;
        };
        if verdict == Verdict::Candidate && !self.is_believed(from, &packet) {
            self.figures.foreign += 1;
            return None;
        }
        self.latch.heard(from);
        self.figures.packets_in += 1;
        self.figures.bytes_in += datagram.len() as u64;
        self.last_packet = Some(now);
        let digit = self
            .receiver
            .take(now, &packet, &self.media, &mut self.figures);
        self.count(digit)
    }

    /// Whether a packet from an address that was not signalled makes it the peer's.
    fn is_believed(&mut self, from: SocketAddr, packet: &rtp::Packet<'_>) -> bool {
        let LegMedia {
            payload_type, dtmf, ..
        } = self.media;
        let fits = packet.payload_type == payload_type || Some(packet.payload_type) == dtmf;
        fits && self.latch.convince(from, packet)
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
        if !self.media.receive {
            return Audio::silence(self.media.codec);
        }
        let audio = self.receiver.jitter.pull();
        if self.receiver.jitter.is_running() {
            self.heard.take(audio.codec, &audio.frame);
        }
        audio
    }

    /// Takes RTCP. What is none, or a stranger's, changes nothing.
    pub(crate) fn control(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) {
        let ours = self.sender.ssrc();
        let reports = &mut self.reports;
        let apart = self.media.control.to.map(|to| to.ip().to_canonical());
        let known = self.latch.is_peers_host(from) || Some(from.ip().to_canonical()) == apart;
        let mut room = [0; LARGEST];
        let plain = match &mut self.protected {
            Some(protected) if known => protected.opener.rtcp(datagram, &mut room),
            Some(_) | None => Some(datagram).filter(|_| known),
        };
        if !plain.is_some_and(|plain| rtcp::read(plain, |told| reports.told(now, ours, told))) {
            self.figures.rtcp_refused += 1;
            return;
        }
        reports.measured(datagram.len());
        self.figures.rtcp_in += 1;
        self.last_control = Some(now);
    }

    /// The report that is due.
    pub(crate) fn due_report(&mut self, now: Now) -> Option<(SocketAddr, Bytes)> {
        let to = self.control_address()?;
        if !self.reports.is_due(now) {
            return None;
        }
        let mut report = self.report(now);
        if let Some(voip) = self.voip().filter(|_| self.media.control.voip_metrics) {
            report = report.with_voip(&voip);
        }
        Some((to, self.sent_report(&report)?))
    }

    /// Where reports go: beside RTP where that goes to another address than the signalled one.
    fn control_address(&self) -> Option<SocketAddr> {
        let Control { to, muxed, .. } = self.media.control;
        let to = to.filter(|to| !to.ip().is_unspecified())?;
        let media = self.latch.destination(self.media.remote);
        Some(match (media == self.media.remote, muxed) {
            (true, _) => to,
            (false, true) => media,
            (false, false) => SocketAddr::new(media.ip(), media.port().saturating_add(1)),
        })
    }

    /// The last report: the source ends (RFC 3550 §6.3.7). None where nothing was ever sent.
    pub(crate) fn goodbye(&mut self, now: Now) -> Option<(SocketAddr, Bytes)> {
        let to = self.control_address()?;
        if self.figures.packets_out + self.figures.rtcp_out == 0 {
            return None;
        }
        let report = self.report(now).goodbye();
        Some((to, self.sent_report(&report)?))
    }

    fn report(&mut self, now: Now) -> Compound {
        const HEADER: u64 = 12;
        let Figures {
            packets_out,
            bytes_out,
            ..
        } = self.figures;
        #[allow(clippy::cast_possible_truncation)]
        let sender = SenderInfo {
            ntp: ntp(now),
            timestamp: self.sender.timestamp(),
            packets: packets_out as u32,
            octets: (bytes_out - HEADER * packets_out) as u32,
        };
        let received = self.receiver.received();
        self.reports
            .report(now, self.sender.ssrc(), sender, packets_out, received)
    }

    fn sent_report(&mut self, report: &Compound) -> Option<Bytes> {
        self.figures.rtcp_out += 1;
        let mut room = [0; LARGEST];
        let bytes = match &mut self.protected {
            Some(protected) => protected.sealer.rtcp(report.bytes(), &mut room)?,
            None => report.bytes(),
        };
        Some(self.sender.report(bytes))
    }

    /// The VoIP metrics of what comes (RFC 3611 §4.7).
    fn voip(&self) -> Option<Voip> {
        const UNKNOWN: i8 = 127;
        let ssrc = self.receiver.received()?.ssrc;
        let figures = self.figures();
        let bursts = self.receiver.misses().bursts();
        let expected = figures.packets_in + figures.lost;
        let rate = |count: u64| share(count, expected);
        let level = |level: Option<f32>| level.map_or(UNKNOWN, |level| level as i8);
        let packet_ms = f32::from(self.media.ptime_ms);
        let buffer = u16::try_from(figures.delay_ms).unwrap_or(u16::MAX);
        let opinion = (figures.mos.unwrap_or(0.0) * 10.0) as u8;
        let in_256ths = |share: f32| (share * 256.0) as u8;
        Some(Voip {
            ssrc,
            rates: [
                in_256ths(rate(figures.lost)),
                in_256ths(rate(figures.late + figures.discarded)),
                in_256ths(bursts.burst_density),
                in_256ths(bursts.gap_density),
            ],
            times: [
                (bursts.burst_length * packet_ms) as u16,
                (bursts.gap_length * packet_ms) as u16,
                figures.round_trip_ms.unwrap_or(0.0) as u16,
                buffer.saturating_add(self.media.ptime_ms),
            ],
            levels: [level(figures.level_in), level(figures.noise_in)],
            rating: figures.rating.unwrap_or(0.0) as u8,
            opinions: [opinion; 2],
            buffer: [buffer, buffer, MOST_MS],
        })
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
            said,
            latch,
            protected,
            ..
        } = self;
        if !media.send || media.remote.ip().is_unspecified() {
            sender.pass();
            return;
        }
        let to = latch.destination(media.remote);
        let mut sent = |data: Bytes| {
            figures.packets_out += 1;
            figures.bytes_out += data.len() as u64;
            let data = match protected {
                Some(protected) => protected.sealed(&data),
                None => Some(data),
            };
            data.into_iter().for_each(|data| sent(to, data));
        };
        match (media.dtmf, media.dtmf.and_then(|_| digits.next_slot())) {
            (Some(payload_type), Some(event)) => {
                sender
                    .event(event, payload_type)
                    .into_iter()
                    .for_each(&mut sent);
                figures.dtmf_out += u64::from(event.last);
            }
            (Some(_) | None, _) => {
                said.take(audio.codec, &audio.frame);
                sender.audio(audio, spurt, media, sent);
            }
        }
    }

    /// The figures so far.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = self.figures;
        self.receiver.report(&mut figures);
        let round_trip = self.reports.round_trip();
        figures.round_trip_ms = round_trip.map(|trip| trip.as_secs_f32() * 1000.0);
        figures.level_in = self.heard.speech();
        figures.noise_in = self.heard.noise();
        figures.level_out = self.said.speech();
        self.rate(&mut figures);
        figures
    }

    /// Fills in the estimates of what listeners say, here and at the peer.
    fn rate(&self, figures: &mut Figures) {
        let one_way = figures.round_trip_ms.unwrap_or(0.0) / 2.0;
        let packet = f32::from(self.media.ptime_ms);
        if figures.packets_in > 0 {
            let expected = figures.packets_in + figures.lost;
            let missing = share(figures.lost + figures.late + figures.discarded, expected);
            let bursts = self.receiver.misses().burst_ratio();
            #[allow(clippy::cast_precision_loss)]
            let delay = one_way + packet + figures.delay_ms as f32;
            let rating = rating(self.media.codec, missing, bursts, delay);
            figures.rating = Some(rating);
            figures.mos = Some(opinion(rating));
        }
        let remote = self.reports.remote();
        figures.remote = remote.map(|mut remote| {
            let missing = share(u64::try_from(remote.lost).unwrap_or(0), figures.packets_out);
            // the delay of its jitter buffer is not known: that of ours at the start
            let rating = rating(self.media.codec, missing, 1.0, one_way + packet + 40.0);
            remote.mos = remote.mos.or(Some(opinion(rating)));
            remote
        });
    }

    fn count(&mut self, digit: Option<Digit>) -> Option<Digit> {
        self.figures.dtmf_in += u64::from(digit.is_some());
        digit
    }
}

/// SRTP in both directions.
#[derive(Debug)]
struct Protected {
    protection: Protection,
    sealer: Sealer,
    opener: Opener,
    writer: Writer,
}

impl Protected {
    fn new(protection: Protection) -> Self {
        Self {
            protection,
            sealer: Sealer::new(protection.suite, &protection.ours),
            opener: Opener::new(protection.suite, &protection.theirs),
            writer: Writer::default(),
        }
    }

    /// Takes over keys that were negotiated anew; those that stay the same go on.
    fn rekey(&mut self, new: Protection) {
        let old = std::mem::replace(&mut self.protection, new);
        if (old.suite, old.ours) != (new.suite, new.ours) {
            self.sealer.rekey(new.suite, &new.ours);
        }
        if (old.suite, old.theirs) != (new.suite, new.theirs) {
            self.opener.rekey(new.suite, &new.theirs);
        }
    }

    fn sealed(&mut self, packet: &[u8]) -> Option<Bytes> {
        let mut room = [0; LARGEST];
        let sealed = self.sealer.rtp(packet, &mut room)?;
        Some(self.writer.copy(sealed))
    }
}

#[allow(clippy::cast_precision_loss)]
fn share(part: u64, of: u64) -> f32 {
    part as f32 / of.max(1) as f32
}
