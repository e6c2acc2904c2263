//! The planes around a call: media that only counts ports, and names.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call_control::{Hop, Input, MediaRequest, MediaSaid};
use media_core::Side;
use sip_core::{LegId, Transport};
use sip_message::Uri;
use timebase::Now;

use super::media::Sounding;
use super::{Due, Gateway};
use crate::plan::{NOBODY, TargetPlan};

/// The range of media ports.
#[derive(Debug)]
pub(super) struct Ports {
    free: BTreeSet<u16>,
    all: usize,
}

impl Ports {
    pub(super) fn new(count: u16) -> Self {
        let free: BTreeSet<u16> = (0..count).map(|n| 20_000 + 2 * n).collect();
        let all = free.len();
        Self { free, all }
    }

    pub(super) fn in_use(&self) -> usize {
        self.all - self.free.len()
    }
}

/// One call's media.
#[derive(Debug, Default)]
pub(super) struct Media {
    pub(super) caller: Option<u16>,
    pub(super) target: Option<u16>,
    closed: bool,
    bridged: bool,
    watch: Option<Duration>,
    watches: u32,
    /// Real packets, where the run has them.
    pub(super) sounding: Option<Sounding>,
}

impl Media {
    /// The ports go back.
    pub(super) fn close(&mut self, ports: &mut Ports) {
        self.closed = true;
        let own = [self.caller.take(), self.target.take()];
        ports.free.extend(own.into_iter().flatten());
    }
}

impl Gateway {
    pub(super) fn media_request(&mut self, now: Now, seat: usize, request: &MediaRequest) {
        let sounds = self.seats[seat].media.sounding.is_some();
        let media = &mut self.seats[seat].media;
        match request {
            MediaRequest::Drain if sounds => {}
            MediaRequest::Open { side } => {
                let at = now + self.dice.millis(1, 20);
                self.agenda.add(at, Due::Port(seat, *side));
            }
            MediaRequest::Close => media.close(&mut self.ports),
            MediaRequest::Drain => {
                let at = now + self.dice.millis(0, 3_000);
                let drained = Box::new(Input::Media(MediaSaid::Drained));
                self.agenda.add(at, Due::Tell(seat, drained));
            }
            MediaRequest::Watch(limit) => {
                media.watch = *limit;
                media.watches += 1;
                let watches = media.watches;
                if let Some(limit) = limit {
                    self.agenda.add(now + *limit, Due::Listen(seat, watches));
                }
            }
            MediaRequest::Bridge(on) => media.bridged = *on,
            MediaRequest::Ask => {
                let heard = self.hears_caller(now, seat).unwrap_or(true);
                let heard = Box::new(Input::Media(MediaSaid::Heard(heard)));
                self.agenda
                    .add(now + self.dice.millis(1, 1_000), Due::Tell(seat, heard));
            }
            MediaRequest::Connect { .. }
            | MediaRequest::Disconnect { .. }
            | MediaRequest::Clear
            | MediaRequest::Pressed { .. }
            | MediaRequest::Comfort
            | MediaRequest::Tone(_) => {}
        }
        self.sound(now, seat, request);
    }

    pub(super) fn open_port(&mut self, now: Now, seat: usize, side: Side) {
        let media = &mut self.seats[seat].media;
        if media.closed && !self.late_ports {
            return;
        }
        let kept = match side {
            Side::Caller => &mut media.caller,
            Side::Target => &mut media.target,
        };
        if kept.is_none() && !media.closed {
            *kept = self.ports.free.pop_first();
        }
        if side == Side::Caller && kept.is_some() && self.sounds {
            media.sounding = Some(Sounding::new(now, self.dice.roll()));
        }
        let said = match *kept {
            Some(port) => {
                let address = SocketAddr::new(self.host.address.ip(), port);
                MediaSaid::Opened { side, address }
            }
            None => MediaSaid::NoPort { side },
        };
        self.feed(now, seat, Input::Media(said));
    }

    /// News that the media are silent, if anybody is to be told.
    pub(super) fn silence(&mut self, now: Now, seat: usize, side: Side) {
        let media = &self.seats[seat].media;
        if media.watch.is_some() && !media.closed {
            self.host.note("no media");
            self.feed(now, seat, Input::Media(MediaSaid::Silent { side }));
        }
    }

    /// Silence is told once; where there was media, the watch goes on.
    pub(super) fn listen(&mut self, now: Now, seat: usize, watch: u32) {
        let id = &self.plan(seat).transfer;
        let caller = self.audible.callers.contains(id);
        let target = self.audible.targets.contains(id);
        let media = &self.seats[seat].media;
        let Some(limit) = media
            .watch
            .filter(|_| media.watches == watch && !media.closed)
        else {
            return;
        };
        let again = match self.quiet_since(seat) {
            Some(since) => Some(since + limit).filter(|at| *at > now),
            None => (caller && (target || !media.bridged)).then_some(now + limit),
        };
        if let Some(again) = again {
            self.agenda.add(again, Due::Listen(seat, watch));
        } else {
            let side = if caller { Side::Target } else { Side::Caller };
            self.silence(now, seat, side);
        }
    }

    pub(super) fn resolve(&mut self, now: Now, seat: usize, uri: &Bytes) {
        let hops = self.hops(seat, uri);
        let at = now + self.dice.millis(1, 50);
        let input = Box::new(Input::Resolved(Ok(hops)));
        self.agenda.add(at, Due::Tell(seat, input));
    }

    fn hops(&mut self, seat: usize, uri: &Bytes) -> Vec<Hop> {
        let Ok(uri) = Uri::from_bytes(uri.clone()) else {
            return Vec::new();
        };
        let Some(ip) = uri.host_ip() else {
            return Vec::new();
        };
        let stream = uri.param("transport") == Some(b"tcp");
        let transport = if stream {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let there = SocketAddr::new(ip, uri.port().unwrap_or(5060));
        let addresses = match self.plan(seat).target {
            TargetPlan::SecondAddress => vec![NOBODY, there],
            TargetPlan::Answers { .. }
            | TargetPlan::Refuses(..)
            | TargetPlan::Redirects(_)
            | TargetPlan::RingsForEver
            | TargetPlan::NotThere
            | TargetPlan::Forks
            | TargetPlan::Unruly
            | TargetPlan::Unresolved => vec![there],
        };
        let hop = |address| Hop {
            doubtful: false,
            leg: self.new_leg(),
            flow: self.host.flow_to(address, transport),
            route: None,
        };
        addresses.into_iter().map(hop).collect()
    }

    const fn new_leg(&mut self) -> LegId {
        self.placed += 1;
        LegId(self.placed * 2 - 1)
    }
}
