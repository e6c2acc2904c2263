//! Callers over SIP on UDP (RFC 3261 §17.1): as many calls as wanted on one socket.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::batch::Batched;
use crate::words::{Dialogue, Received, answer_to};

/// RFC 3261's T1, and 64 times that.
const T1: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(32);

/// What the calls tell.
#[derive(Debug)]
pub(crate) enum Event {
    /// 200 and ACK; where its audio goes.
    Answered {
        call: usize,
        media: Option<SocketAddrV4>,
    },
    /// A final answer that is not 200.
    Refused,
    /// The call is over by a BYE of ours that was answered.
    HungUp,
    /// The gateway sent BYE.
    HandedBack { call: usize },
    /// No answer for 32 s.
    NoAnswer,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) started: u64,
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    /// Refusals with another status than 503.
    pub(crate) refused_otherwise: u64,
    /// Refusals by 503 without Retry-After.
    pub(crate) without_retry_after: u64,
    pub(crate) hung_up: u64,
    pub(crate) handed_back: u64,
    pub(crate) no_answer: u64,
    /// Requests that were sent again, and final answers that came again.
    pub(crate) again: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Inviting,
    /// 100 came: the INVITE is not repeated any more.
    Proceeding,
    Up,
    Leaving,
    Over,
}

struct Call {
    state: State,
    /// When the request that waits for an answer was sent.
    since: Instant,
    dialogue: Dialogue,
}

/// All calls of this process.
pub(crate) struct Caller {
    socket: Batched,
    own: SocketAddr,
    media: SocketAddr,
    gateway: SocketAddrV4,
    /// Makes Call-IDs and tags of two runs different.
    run: u32,
    calls: Vec<Call>,
    timers: BinaryHeap<Reverse<(Instant, usize, Duration)>>,
    events: VecDeque<Event>,
    pub(crate) counters: Counters,
    /// From INVITE to 200.
    pub(crate) answers: crate::figures::Delays,
}

impl Caller {
    pub(crate) fn new(
        own: SocketAddr,
        media: SocketAddr,
        gateway: SocketAddrV4,
    ) -> io::Result<Self> {
        let socket = Batched::bind(own)?;
        let own = socket.address()?;
        Ok(Self {
            socket,
            own,
            media,
            gateway,
            run: crate::batch::time_of_day().subsec_nanos(),
            calls: Vec::new(),
            timers: BinaryHeap::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            answers: crate::figures::Delays::new(),
        })
    }

    /// Sends an INVITE for a registered transfer; the call's number.
    pub(crate) fn invite(&mut self, transfer: &str) -> usize {
        let call = self.calls.len();
        let now = Instant::now();
        self.calls.push(Call {
            state: State::Inviting,
            since: now,
            dialogue: Dialogue::new(transfer),
        });
        self.counters.started += 1;
        self.request(call);
        self.timers.push(Reverse((now + T1, call, T1)));
        call
    }

    /// Sends BYE.
    pub(crate) fn hang_up(&mut self, call: usize) {
        let now = Instant::now();
        let Some(it) = self.calls.get_mut(call) else {
            return;
        };
        if it.state == State::Up {
            it.state = State::Leaving;
            it.since = now;
            self.request(call);
            self.timers.push(Reverse((now + T1, call, T1)));
        }
    }

    /// Calls that wait for an answer to an INVITE or BYE.
    pub(crate) fn pending(&self) -> usize {
        let pending = |call: &&Call| match call.state {
            State::Inviting | State::Proceeding | State::Leaving => true,
            State::Up | State::Over => false,
        };
        self.calls.iter().filter(pending).count()
    }

    pub(crate) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Sends what is queued, waits for something to come, and takes it.
    pub(crate) fn progress(&mut self, wait: Duration) {
        self.socket.flush();
        let mut fds = [PollFd::new(self.socket.socket().as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut fds, timeout);
        let mut arrived = Vec::new();
        self.socket
            .receive(|from, datagram, _| arrived.push((from, datagram.to_vec())));
        for (from, datagram) in arrived {
            let text = String::from_utf8_lossy(&datagram);
            match Received::read(&text) {
                Some(message @ Received::Response { .. }) => self.response(&message, &text),
                Some(Received::Request { method, call_id }) => {
                    self.asked(&method, &call_id, &text, from)
                }
                None => {}
            }
        }
        self.repeat();
        self.socket.flush();
    }

    fn number(&self, call_id: &str) -> Option<usize> {
        let (run, number) = call_id.split('@').next()?.split_once('-')?;
        (run == self.run.to_string()).then_some(())?;
        number
            .parse()
            .ok()
            .filter(|number| *number < self.calls.len())
    }

    /// Writes the request that the call waits with.
    fn request(&mut self, call: usize) {
        let (own, media, gateway, run) = (self.own, self.media, self.gateway, self.run);
        let Some(it) = self.calls.get(call) else {
            return;
        };
        let to = it.dialogue.next_hop(gateway);
        match it.state {
            State::Inviting => self.socket.queue(to, |out| {
                it.dialogue.invite(out, (run, call), own, media, gateway);
            }),
            State::Leaving => {
                self.socket
                    .queue(to, |out| it.dialogue.bye(out, (run, call), own, gateway));
            }
            State::Proceeding | State::Up | State::Over => {}
        }
    }

    fn response(&mut self, message: &Received, text: &str) {
        let Received::Response {
            status,
            method,
            call_id,
        } = message
        else {
            return;
        };
        let Some(call) = self.number(call_id) else {
            return;
        };
        match (method.as_str(), *status) {
            ("INVITE", 100..=199) => {
                if let Some(it) = self.calls.get_mut(call)
                    && it.state == State::Inviting
                {
                    it.state = State::Proceeding;
                }
            }
            ("INVITE", 200..=299) => self.answered(call, text),
            ("INVITE", _) => self.refused(call, *status, text),
            ("BYE", 200..) => self.left(call),
            _ => {}
        }
    }

    fn answered(&mut self, call: usize, text: &str) {
        let (own, gateway, run) = (self.own, self.gateway, self.run);
        let Some(it) = self.calls.get_mut(call) else {
            return;
        };
        if matches!(it.state, State::Inviting | State::Proceeding) {
            it.state = State::Up;
            it.dialogue.learn(text);
            self.answers.add(it.since.elapsed());
            self.counters.answered += 1;
            let media = crate::words::media_of(text);
            self.events.push_back(Event::Answered { call, media });
        } else {
            self.counters.again += 1;
        }
        let to = it.dialogue.next_hop(gateway);
        self.socket.queue(to, |out| {
            it.dialogue.ack(out, (run, call), own, gateway, true)
        });
    }

    fn refused(&mut self, call: usize, status: u16, text: &str) {
        let (own, gateway, run) = (self.own, self.gateway, self.run);
        let Some(it) = self.calls.get_mut(call) else {
            return;
        };
        if it.state == State::Over {
            self.counters.again += 1;
        } else {
            it.state = State::Over;
            it.dialogue.learn(text);
            self.counters.refused += 1;
            if status == 503 {
                let told = crate::words::header(text, "Retry-After").is_some();
                self.counters.without_retry_after += u64::from(!told);
            } else {
                self.counters.refused_otherwise += 1;
            }
            self.events.push_back(Event::Refused);
        }
        self.socket.queue(gateway, |out| {
            it.dialogue.ack(out, (run, call), own, gateway, false)
        });
    }

    fn left(&mut self, call: usize) {
        let Some(it) = self.calls.get_mut(call) else {
            return;
        };
        if it.state == State::Leaving {
            it.state = State::Over;
            it.dialogue.forget();
            self.counters.hung_up += 1;
            self.events.push_back(Event::HungUp);
        }
    }

    /// A request of the gateway: BYE ends the call, all others are answered alike.
    fn asked(&mut self, method: &str, call_id: &str, text: &str, from: SocketAddrV4) {
        let Some(call) = self.number(call_id) else {
            return;
        };
        if method == "ACK" {
            return;
        }
        if method == "BYE"
            && let Some(it) = self.calls.get_mut(call)
            && it.state != State::Over
        {
            it.state = State::Over;
            self.counters.handed_back += 1;
            self.events.push_back(Event::HandedBack { call });
        }
        let answer = answer_to(text);
        self.socket
            .queue(from, |out| out.extend_from_slice(answer.as_bytes()));
    }

    /// Sends again what was not answered (timers A and E), gives up what never is (B and F).
    fn repeat(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, call, after))) = self.timers.peek().copied() {
            if due > now {
                return;
            }
            self.timers.pop();
            let Some(it) = self.calls.get_mut(call) else {
                continue;
            };
            let waits = matches!(
                it.state,
                State::Inviting | State::Proceeding | State::Leaving
            );
            if !waits {
                continue;
            }
            if now.duration_since(it.since) >= PATIENCE {
                it.state = State::Over;
                self.counters.no_answer += 1;
                self.events.push_back(Event::NoAnswer);
                continue;
            }
            if it.state != State::Proceeding {
                self.counters.again += 1;
                self.request(call);
            }
            self.timers
                .push(Reverse((now + after * 2, call, after * 2)));
        }
    }
}
