//! The calls' media where a run has them: the product's own sessions, driven as its media loops do.

use std::net::SocketAddr;

use bytes::Bytes;
use call_control::{Input, MediaRequest, MediaSaid};
use media_core::{Input as ToSession, LegMedia, Output as FromSession, Session, Side};
use timebase::{Now, earliest};

use super::{Due, Gateway};
use crate::host::Deed;
use crate::voice::Datagram;

/// How much the agent says when it gets the caller, in samples.
const SPEECH: usize = 16_000;

/// One call's sounding media.
#[derive(Debug)]
pub(super) struct Sounding {
    session: Session,
    /// Per side: connected, and when it was last alive.
    sides: [(bool, Now); 2],
}

const fn index(side: Side) -> usize {
    match side {
        Side::Caller => 0,
        Side::Target => 1,
    }
}

impl Sounding {
    pub(super) fn new(now: Now, seed: u64) -> Self {
        Self {
            session: Session::new(now, seed),
            sides: [(false, now); 2],
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Now> {
        self.session.poll_timeout()
    }

    /// The silence of the side that has been silent for longest; none where no side is connected.
    fn quiet_since(&self) -> Option<Now> {
        let alive = [Side::Caller, Side::Target].map(|side| self.session.last_packet(side));
        let alive = |(at, (connected, since)): (usize, &(bool, Now))| {
            connected.then(|| alive[at].map_or(*since, |alive| alive.max(*since)))
        };
        self.sides.iter().enumerate().filter_map(alive).min()
    }

    fn connect(&mut self, now: Now, side: Side, media: LegMedia) {
        let kept = &mut self.sides[index(side)];
        if !kept.0 {
            *kept = (true, now);
        }
        self.session
            .handle_input(now, ToSession::Connect { side, media });
    }
}

impl Gateway {
    /// Carries out a request at a call's session, if it has one.
    pub(super) fn sound(&mut self, now: Now, seat: usize, request: &MediaRequest) {
        let Some(sounding) = &mut self.seats[seat].media.sounding else {
            return;
        };
        let session = &mut sounding.session;
        match *request {
            MediaRequest::Connect { side, media } => sounding.connect(now, side, media),
            MediaRequest::Disconnect { side } => {
                sounding.sides[index(side)].0 = false;
                session.handle_input(now, ToSession::Disconnect { side });
            }
            MediaRequest::Clear => session.handle_input(now, ToSession::Clear),
            MediaRequest::Pressed {
                side,
                key: digit,
                duration_ms,
            } => {
                let pressed = ToSession::Pressed {
                    side,
                    digit,
                    duration_ms,
                };
                session.handle_input(now, pressed);
            }
            MediaRequest::Tone(tone) => session.handle_input(now, ToSession::Tone(tone)),
            MediaRequest::Bridge(on) => session.handle_input(now, ToSession::Bridge(on)),
            MediaRequest::Drain => {
                let skip_trailing_silence = true;
                let drain = ToSession::Drain {
                    skip_trailing_silence,
                };
                session.handle_input(now, drain);
            }
            MediaRequest::Watch(_) => {
                for (_, since) in &mut sounding.sides {
                    *since = now.max(*since);
                }
            }
            MediaRequest::Close => self.seats[seat].media.sounding = None,
            MediaRequest::Comfort => {
                session.handle_input(now, ToSession::Comfort(Bytes::new()));
            }
            MediaRequest::Open { .. } | MediaRequest::Ask => {}
        }
        self.carry(now, seat);
    }

    /// The agent begins to speak.
    pub(super) fn speak(&mut self, now: Now, seat: usize) {
        if let Some(sounding) = &mut self.seats[seat].media.sounding {
            let speech: Vec<u8> = (0..SPEECH).map(|sample| (sample * 5) as u8).collect();
            let speech = ToSession::Play(Bytes::from(speech));
            sounding.session.handle_input(now, speech);
        }
        self.carry(now, seat);
    }

    /// A packet reaches one of the media ports.
    pub(super) fn packet(&mut self, now: Now, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        let port = Some(to.port());
        let found = self.seats.iter().enumerate().find_map(|(at, seat)| {
            let side = match port {
                port if seat.media.caller == port => Side::Caller,
                port if seat.media.target == port => Side::Target,
                _ => return None,
            };
            Some((at, side))
        });
        let Some((seat, side)) = found else { return };
        if let Some(sounding) = &mut self.seats[seat].media.sounding {
            let packet = ToSession::Packet { side, from, data };
            sounding.session.handle_input(now, packet);
        }
        self.carry(now, seat);
    }

    pub(super) fn next_slot(&self) -> Option<Now> {
        let sounding = self
            .seats
            .iter()
            .filter_map(|seat| seat.media.sounding.as_ref());
        sounding.fold(None, |first, one| earliest(first, one.poll_timeout()))
    }

    /// Does the slot of one session that is due.
    pub(super) fn slot(&mut self, now: Now) {
        let due = |media: &super::planes::Media| {
            let sounding = media.sounding.as_ref();
            sounding
                .and_then(Sounding::poll_timeout)
                .is_some_and(|at| at <= now)
        };
        if let Some(seat) = self.seats.iter().position(|seat| due(&seat.media))
            && let Some(sounding) = &mut self.seats[seat].media.sounding
        {
            sounding.session.handle_timeout(now);
            self.carry(now, seat);
        }
    }

    /// Since when a call with sounding media hears nothing; none where it has none.
    pub(super) fn quiet_since(&self, seat: usize) -> Option<Now> {
        self.seats[seat].media.sounding.as_ref()?.quiet_since()
    }

    /// Whether the caller was heard within the last second.
    pub(super) fn hears_caller(&self, now: Now, seat: usize) -> Option<bool> {
        let sounding = self.seats[seat].media.sounding.as_ref()?;
        let last = sounding.session.last_packet(Side::Caller);
        Some(last.is_some_and(|at| now - at < std::time::Duration::from_secs(1)))
    }

    fn carry(&mut self, now: Now, seat: usize) {
        loop {
            let Some(sounding) = &mut self.seats[seat].media.sounding else {
                return;
            };
            match sounding.session.poll_output() {
                Some(FromSession::Rtp { side, to, data }) => self.rtp(seat, side, to, data),
                Some(FromSession::Drained) => {
                    let drained = Box::new(Input::Media(MediaSaid::Drained));
                    self.agenda.add(now, Due::Tell(seat, drained));
                }
                Some(
                    // the virtual phones have no port for reports
                    FromSession::Rtcp { .. }
                    | FromSession::Heard { .. }
                    | FromSession::Dtmf { .. }
                    | FromSession::MarkPlayed { .. }
                    | FromSession::QueueFull
                    | FromSession::Underrun { .. },
                ) => {}
                None => return,
            }
        }
    }

    fn rtp(&mut self, seat: usize, side: Side, to: SocketAddr, bytes: Bytes) {
        let media = &self.seats[seat].media;
        let port = match side {
            Side::Caller => media.caller,
            Side::Target => media.target,
        };
        let from = SocketAddr::new(self.host.address.ip(), port.unwrap_or_default());
        let datagram = Datagram { from, to, bytes };
        let listener = (side == Side::Caller).then_some(seat);
        self.host
            .deeds
            .push_back(Deed::Media { datagram, listener });
    }
}
