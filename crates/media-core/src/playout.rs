//! The play-out queue of the agent's audio: bytes and marks, one frame per slot.

use crate::{FRAME, Frame};
use std::collections::VecDeque;

/// Bytes that the queue holds: 600 s.
const MAX_BYTES: usize = 4_800_000;
/// Marks that the queue holds; one more is given back as not played.
const MAX_MARKS: usize = 4096;
/// Bytes that start a talk-spurt: 60 ms.
const PREBUFFER: usize = 3 * FRAME;
/// Slots without more data that start a talk-spurt: 100 ms.
const PATIENCE: u8 = 5;
/// Empty slots after which a talk-spurt is over: 500 ms.
const SPURT_END: u8 = 25;
/// Capacity that an empty queue keeps.
const KEPT: usize = 64 * 1024;

/// A mark that was reached or cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) name: String,
    pub(crate) played: bool,
    pub(crate) sample: u64,
}

/// Where the queue stands in a talk-spurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Silence; the next data starts a talk-spurt.
    Idle,
    /// Data wait for more; `quiet` slots without.
    Waiting { quiet: u8, again: bool },
    /// A talk-spurt; `empty` slots since the last audio.
    Playing { empty: u8, again: bool },
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Playout {
    audio: VecDeque<u8>,
    marks: VecDeque<(u64, String)>,
    /// Bytes ever queued and still counted: the position of the queue's end.
    end: u64,
    /// Samples played since the start, silence included.
    clock: u64,
    state: State,
    warned: bool,
    draining: bool,
    /// Slots of the last gap in a talk-spurt, until it is told.
    gap: Option<u8>,
    /// Marks to be reported.
    pub(crate) reached: VecDeque<Reached>,
}

/// What a slot plays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Played {
    pub(crate) frame: Frame,
    /// The first frame of a talk-spurt.
    pub(crate) spurt: bool,
    /// Some of it was queued, or is about to be played.
    pub(crate) sounds: bool,
}

impl Playout {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        Self {
            audio: VecDeque::new(),
            marks: VecDeque::new(),
            end: 0,
            clock: 0,
            state: State::Idle,
            warned: false,
            draining: false,
            gap: None,
            reached: VecDeque::new(),
        }
    }

    /// Queues audio. What does not fit is dropped; true the first time that happens.
    pub(crate) fn push(&mut self, audio: &[u8]) -> bool {
        let fits = audio.len().min(MAX_BYTES - self.audio.len());
        self.audio.extend(&audio[..fits]);
        self.end += fits as u64;
        if fits > 0 {
            if let State::Playing {
                empty: gap @ 1.., ..
            } = self.state
            {
                self.gap = Some(gap);
            }
            self.state = match self.state {
                State::Idle => State::Waiting {
                    quiet: 0,
                    again: false,
                },
                State::Waiting { again, .. } => State::Waiting { quiet: 0, again },
                State::Playing {
                    empty: 1..,
                    again: false,
                } => State::Waiting {
                    quiet: 0,
                    again: true,
                },
                State::Playing { again, .. } => State::Playing { empty: 0, again },
            };
        }
        fits < audio.len() && !std::mem::replace(&mut self.warned, true)
    }

    /// Queues a mark behind the audio.
    pub(crate) fn mark(&mut self, name: String) {
        if self.marks.len() < MAX_MARKS {
            self.marks.push_back((self.end, name));
        } else {
            self.reached.push_back(Reached {
                name,
                played: false,
                sample: self.clock,
            });
        }
    }

    /// Gives a mark back at once, as nothing is played now.
    pub(crate) fn refuse_mark(&mut self, name: String) {
        self.reached.push_back(Reached {
            name,
            played: false,
            sample: self.clock,
        });
    }

    /// Empties the queue; marks are reported as not played, in order.
    pub(crate) fn clear(&mut self) {
        self.audio.clear();
        self.audio.shrink_to(KEPT);
        let sample = self.clock;
        let cleared = self.marks.drain(..).map(|(_, name)| Reached {
            name,
            played: false,
            sample,
        });
        self.reached.extend(cleared);
        self.state = State::Idle;
    }

    /// Asks to be told when the queue is empty.
    pub(crate) fn drain(&mut self, skip_trailing_silence: bool) {
        self.draining = true;
        if skip_trailing_silence {
            self.skip_trailing_silence();
        }
    }

    /// Whether a drain that was asked for is over; true once.
    pub(crate) fn drained(&mut self) -> bool {
        let over = self.draining && self.audio.is_empty() && self.marks.is_empty();
        self.draining &= !over;
        over
    }

    /// Cuts digital silence off the end; marks in it move to the new end.
    pub(crate) fn skip_trailing_silence(&mut self) {
        let silent = self
            .audio
            .iter()
            .rev()
            .take_while(|byte| matches!(byte, 0xFF | 0x7F))
            .count();
        self.audio.truncate(self.audio.len() - silent);
        self.end -= silent as u64;
        for (at, _) in self
            .marks
            .iter_mut()
            .rev()
            .take_while(|(at, _)| *at > self.end)
        {
            *at = self.end;
        }
    }

    /// The next 20 ms.
    pub(crate) fn pull(&mut self) -> Played {
        let spurt = self.start();
        let mut frame = [0xFF; FRAME];
        let mut taken = 0;
        if let State::Playing { again, .. } = self.state {
            taken = self.take(&mut frame);
            self.run_on(taken, again);
        }
        self.reach(taken);
        self.clock += FRAME as u64;
        let sounds = taken > 0 || !self.audio.is_empty();
        Played {
            frame,
            spurt,
            sounds,
        }
    }

    /// How long the caller heard silence in the middle of a talk-spurt, in slots; told once.
    pub(crate) const fn take_gap(&mut self) -> Option<u8> {
        self.gap.take()
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.audio.len()
    }

    /// Starts the talk-spurt that waits when it has waited enough; true if it starts now.
    fn start(&mut self) -> bool {
        let State::Waiting { quiet, again } = self.state else {
            return false;
        };
        let ready = self.audio.len() >= PREBUFFER
            || !self.marks.is_empty()
            || quiet >= PATIENCE
            || self.draining;
        self.state = if ready {
            State::Playing { empty: 0, again }
        } else {
            State::Waiting {
                quiet: quiet + 1,
                again,
            }
        };
        ready
    }

    fn take(&mut self, frame: &mut Frame) -> usize {
        let taken = self.audio.len().min(FRAME);
        let (first, second) = self.audio.as_slices();
        let from_first = first.len().min(taken);
        frame[..from_first].copy_from_slice(&first[..from_first]);
        frame[from_first..taken].copy_from_slice(&second[..taken - from_first]);
        self.audio.drain(..taken);
        taken
    }

    fn run_on(&mut self, taken: usize, again: bool) {
        let State::Playing { empty, .. } = self.state else {
            return;
        };
        self.state = match (taken, empty) {
            (0, SPURT_END..) => {
                self.audio.shrink_to(KEPT);
                State::Idle
            }
            (0, _) => State::Playing {
                empty: empty + 1,
                again,
            },
            _ => State::Playing { empty: 0, again },
        };
    }

    /// Reports the marks whose audio has left, each with the sample at which it did.
    fn reach(&mut self, taken: usize) {
        let played_to = self.end - self.audio.len() as u64;
        let played_from = played_to - taken as u64;
        while let Some((at, _)) = self.marks.front() {
            if *at > played_to {
                break;
            }
            let sample = self.clock + at.saturating_sub(played_from);
            if let Some((_, name)) = self.marks.pop_front() {
                self.reached.push_back(Reached {
                    name,
                    played: true,
                    sample,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
