//! One call's media.

use crate::codec::{Audio, softer};
use crate::comfort::ComfortSource;
use crate::dtmf::Digit;
use crate::keys::{Keys, Way};
use crate::leg::Leg;
use crate::playout::Playout;
use crate::tone::ToneSource;
use crate::{Codec, FRAME, Figures, Input, LegMedia, Output, Side, mixed};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use timebase::Now;

/// The length of a slot.
const SLOT: Duration = Duration::from_millis(20);
/// Time that is made up for after a stall; beyond, it is taken to have stood still.
const MAKES_UP: Duration = Duration::from_millis(200);

/// One call's media: two legs, the agent's play-out queue and its taps.
///
/// Slots of 20 ms run from the first [`Input::Connect`] on; each slot every
/// connected leg is heard and sent to once.
#[derive(Debug)]
pub struct Session {
    caller: Option<Leg>,
    target: Option<Leg>,
    playout: Playout,
    tone: Option<ToneSource>,
    /// Stands in for an agent that is not there.
    comfort: Option<ComfortSource>,
    bridged: bool,
    /// The agent is heard softer.
    ducked: bool,
    caller_keys: Keys,
    target_keys: Keys,
    /// What the caller heard in the slot before was somebody speaking.
    speaking: bool,
    /// When the next slot is due.
    next: Option<Now>,
    /// Samples of slots gone by: the clock of the taps.
    samples: u64,
    seed: u64,
    /// Slots fall on whole multiples of their length after this.
    origin: Now,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session without legs whose slots fall on whole multiples of 20 ms after `now`;
    /// `seed` chooses SSRCs and first sequence numbers.
    #[must_use]
    pub const fn new(now: Now, seed: u64) -> Self {
        Self {
            origin: now,
            caller: None,
            target: None,
            playout: Playout::new(),
            tone: None,
            comfort: None,
            bridged: false,
            ducked: false,
            caller_keys: Keys::new(),
            target_keys: Keys::new(),
            speaking: false,
            next: None,
            samples: 0,
            seed,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Packet { side, from, data } => self.packet(now, side, from, data),
            Input::Connect { side, media } => self.connect(now, side, media),
            Input::Control { side, from, data } => {
                if let Some(leg) = self.leg_mut(side).filter(|leg| leg.connected) {
                    leg.control(now, from, data);
                }
            }
            Input::Disconnect { side } => self.disconnect(now, side),
            Input::Play(audio) => {
                self.comfort = None;
                if self.agent_is_heard() && self.playout.push(&audio) {
                    self.outputs.push_back(Output::QueueFull);
                }
            }
            Input::Mark(name) if self.agent_is_heard() => self.playout.mark(name),
            Input::Mark(name) => self.playout.refuse_mark(name),
            Input::Clear => self.playout.clear(),
            Input::Comfort(prompt) if self.agent_is_heard() => {
                self.comfort.get_or_insert(ComfortSource::new(prompt));
            }
            Input::Comfort(_) => {}
            Input::Duck(ducked) => self.ducked = ducked,
            Input::Tone(tone) => {
                self.tone = tone.map(ToneSource::new);
                self.silence_agent();
            }
            Input::Bridge(bridged) => {
                self.bridged = bridged;
                self.silence_agent();
            }
            Input::Pressed {
                side,
                digit,
                duration_ms,
            } => {
                let digit = Digit { digit, duration_ms };
                self.pressed(now, side, digit, Way::Signalled);
            }
            Input::SendDtmf {
                side,
                digits,
                duration_ms,
            } => {
                if let Some(leg) = self.leg_mut(side) {
                    leg.queue_digits(&digits, duration_ms);
                }
            }
            Input::Drain {
                skip_trailing_silence,
            } => self.playout.drain(skip_trailing_silence),
        }
        self.report_playout();
    }

    /// Does the next slot if it is due. After a stall several are: they are done one by one, each
    /// with its outputs and the inputs these cause, so that the agent keeps up with its slots.
    pub fn handle_timeout(&mut self, now: Now) {
        let Some(due) = self.next.filter(|due| *due <= now) else {
            return;
        };
        let due = if now.since(due) < MAKES_UP {
            due
        } else {
            let behind = MAKES_UP - SLOT + self.past_slot(now);
            Now(now.0.saturating_sub(behind))
        };
        self.next = Some(due + SLOT);
        self.slot(due);
    }

    /// The next output; drain to `None` after each input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is due; after a stall, that may have gone by again after a call.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Now> {
        self.next
    }

    /// Audio of the agent that waits to be played, in milliseconds.
    #[must_use]
    pub fn queued_ms(&self) -> u64 {
        self.playout.queued() as u64 / 8
    }

    /// When the last RTP packet of a leg came.
    #[must_use]
    pub fn last_packet(&self, side: Side) -> Option<Now> {
        self.leg(side)?.last_packet
    }

    /// When the last RTCP packet of a leg came.
    #[must_use]
    pub fn last_control(&self, side: Side) -> Option<Now> {
        self.leg(side)?.last_control
    }

    /// The figures of a leg; they stay readable after [`Input::Disconnect`].
    #[must_use]
    pub fn figures(&self, side: Side) -> Figures {
        self.leg(side).map(Leg::figures).unwrap_or_default()
    }

    fn packet(&mut self, now: Now, side: Side, from: SocketAddr, data: &[u8]) {
        let leg = self.leg_mut(side).filter(|leg| leg.connected);
        if let Some(digit) = leg.and_then(|leg| leg.receive(now, from, data)) {
            self.pressed(now, side, digit, Way::Event);
        }
    }

    fn connect(&mut self, now: Now, side: Side, media: LegMedia) {
        match self.leg_mut(side).filter(|leg| leg.connected) {
            Some(leg) => leg.update(media),
            None => {
                let random = self.random();
                *self.place(side) = Some(Leg::new(media, random));
            }
        }
        let slot = self.slot_after(now);
        self.next.get_or_insert(slot);
    }

    fn disconnect(&mut self, now: Now, side: Side) {
        let Some(leg) = self.leg_mut(side).filter(|leg| leg.connected) else {
            return;
        };
        leg.connected = false;
        let goodbye = leg.goodbye(now);
        self.control(side, goodbye);
    }

    /// Sends a report.
    fn control(&mut self, side: Side, report: Option<(SocketAddr, Bytes)>) {
        let muxed = self.leg(side).is_some_and(|leg| leg.media.control.muxed);
        let output = report.map(|(to, data)| Output::Rtcp {
            side,
            to,
            data,
            muxed,
        });
        self.outputs.extend(output);
    }

    fn slot_after(&self, now: Now) -> Now {
        now + (SLOT - self.past_slot(now))
    }

    /// Time since the latest slot.
    fn past_slot(&self, now: Now) -> Duration {
        let past_slot = now.since(self.origin).as_nanos() % SLOT.as_nanos();
        Duration::from_nanos(u64::try_from(past_slot).unwrap_or(0))
    }

    /// One slot: hear both legs, send to both legs.
    fn slot(&mut self, due: Now) {
        let from_caller = self.hear(due, Side::Caller);
        let from_target = self.hear(due, Side::Target);
        self.samples += FRAME as u64;
        let (to_caller, spurt) = self.for_caller(due, from_target);
        self.send(Side::Caller, to_caller, spurt);
        let to_target = from_caller
            .filter(|_| self.bridged)
            .unwrap_or(Audio::silence(Codec::Pcmu));
        self.send(Side::Target, to_target, false);
        for side in [Side::Caller, Side::Target] {
            let leg = self.leg_mut(side).filter(|leg| leg.connected);
            let report = leg.and_then(|leg| leg.due_report(due));
            self.control(side, report);
        }
        self.report_playout();
    }

    /// What a leg says in this slot; the agent hears it too.
    fn hear(&mut self, due: Now, side: Side) -> Option<Audio> {
        let timestamp_ms = self.samples / 8;
        let leg = self.leg_mut(side).filter(|leg| leg.connected)?;
        let audio = leg.pull();
        let digit = leg.overdue_digit(due);
        self.outputs.push_back(Output::Heard {
            side,
            frame: audio.to(Codec::Pcmu),
            timestamp_ms,
        });
        if let Some(digit) = digit {
            self.pressed(due, side, digit, Way::Event);
        }
        Some(audio)
    }

    /// What the caller hears in this slot, and whether it starts a talk-spurt.
    fn for_caller(&mut self, due: Now, from_target: Option<Audio>) -> (Audio, bool) {
        let sounds = self.target.as_ref().is_some_and(|leg| leg.sounds(due));
        let early = self.tone.is_some() && sounds;
        if let Some(tone) = self.tone.as_mut().filter(|_| early) {
            // Should the early media stop, it is heard at once.
            tone.restart();
        }
        if let Some(audio) = from_target.filter(|_| self.bridged || early) {
            return (audio, !std::mem::replace(&mut self.speaking, true));
        }
        if let Some(tone) = &mut self.tone {
            return (
                Audio::ulaw(tone.next_frame()),
                !std::mem::replace(&mut self.speaking, true),
            );
        }
        self.speaking = false;
        let played = self.playout.pull();
        match &mut self.comfort {
            Some(comfort) if !played.sounds => (Audio::ulaw(comfort.next_frame()), false),
            Some(_) | None if self.ducked => (Audio::ulaw(softer(played.frame)), played.spurt),
            Some(_) | None => (Audio::ulaw(played.frame), played.spurt),
        }
    }

    fn send(&mut self, side: Side, audio: Audio, spurt: bool) {
        let (leg, outputs) = match side {
            Side::Caller => (&mut self.caller, &mut self.outputs),
            Side::Target => (&mut self.target, &mut self.outputs),
        };
        if let Some(leg) = leg.as_mut().filter(|leg| leg.connected) {
            leg.send(audio, spurt, |to, data| {
                outputs.push_back(Output::Rtp { side, to, data })
            });
        }
    }

    /// Reports a digit, and passes it on to the other leg while bridged.
    fn pressed(&mut self, now: Now, side: Side, digit: Digit, way: Way) {
        let Digit { digit, duration_ms } = digit;
        let keys = match side {
            Side::Caller => &mut self.caller_keys,
            Side::Target => &mut self.target_keys,
        };
        if !keys.is_new(now, digit, way) {
            return;
        }
        self.outputs.push_back(Output::Dtmf {
            side,
            digit,
            duration_ms,
        });
        if self.bridged
            && let Some(other) = self.leg_mut(side.other())
        {
            other.queue_digits(digit.encode_utf8(&mut [0; 4]), duration_ms);
        }
    }

    /// Whether what the agent plays reaches the caller now.
    const fn agent_is_heard(&self) -> bool {
        !self.bridged && self.tone.is_none()
    }

    fn silence_agent(&mut self) {
        if !self.agent_is_heard() {
            self.comfort = None;
            self.playout.clear();
        }
    }

    fn report_playout(&mut self) {
        while let Some(mark) = self.playout.reached.pop_front() {
            let (name, played, sample) = (mark.name, mark.played, mark.sample);
            self.outputs.push_back(Output::MarkPlayed {
                name,
                played,
                sample,
            });
        }
        if let Some(slots) = self.playout.take_gap() {
            let silence_ms = u16::from(slots) * 20;
            self.outputs.push_back(Output::Underrun { silence_ms });
        }
        if self.playout.drained() {
            self.outputs.push_back(Output::Drained);
        }
    }

    /// The next number of the seeded sequence (splitmix64).
    const fn random(&mut self) -> u64 {
        let drawn = mixed(self.seed);
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        drawn
    }

    const fn place(&mut self, side: Side) -> &mut Option<Leg> {
        match side {
            Side::Caller => &mut self.caller,
            Side::Target => &mut self.target,
        }
    }

    fn leg_mut(&mut self, side: Side) -> Option<&mut Leg> {
        self.place(side).as_mut()
    }

    const fn leg(&self, side: Side) -> Option<&Leg> {
        match side {
            Side::Caller => self.caller.as_ref(),
            Side::Target => self.target.as_ref(),
        }
    }
}
