//! Calls that are up and talk: a caller's signalling and audio together.

use std::io;
use std::time::{Duration, Instant};

use crate::audio::{LineFigures, Pump, Report};
use crate::caller::{Caller, Event};
use crate::gateway::{Gateway, Setup};

/// How long the gateway may take to answer all calls, and to end them.
const PATIENCE: Duration = Duration::from_secs(60);

/// The callers of one account.
pub(crate) struct Talkers {
    pub(crate) caller: Caller,
    pub(crate) pump: Pump,
    account: usize,
    calls: usize,
    prefix: String,
    /// Calls that were answered.
    pub(crate) up: usize,
    /// Calls that the gateway ended, and when.
    pub(crate) handed_back: Vec<(usize, Instant)>,
    /// Calls that were refused, not answered, or answered without audio.
    pub(crate) failed: usize,
}

impl Talkers {
    /// Registers as many transfers and prepares the callers.
    pub(crate) fn new(
        gateway: &Gateway,
        setup: &Setup,
        account: usize,
        calls: usize,
    ) -> io::Result<Self> {
        let prefix = format!("talk-{account}");
        gateway.register(account, &prefix, calls)?;
        let pump = Pump::start(setup.own(account))?;
        let caller = Caller::new(setup.own(account), pump.address, gateway.sip)?;
        Ok(Self {
            caller,
            pump,
            account,
            calls,
            prefix,
            up: 0,
            handed_back: Vec::new(),
            failed: 0,
        })
    }

    /// Calls, so many in a second, and waits until each was answered or not.
    pub(crate) fn call(&mut self, rate: f64) {
        let began = Instant::now();
        let calling = Duration::from_secs_f64(self.calls as f64 / rate);
        let mut started = 0;
        while began.elapsed() < PATIENCE + calling {
            let due = (began.elapsed().as_secs_f64() * rate) as usize + 1;
            while started < due.min(self.calls) {
                self.caller.invite(&format!("{}-{started}", self.prefix));
                started += 1;
            }
            self.progress(Duration::from_millis(2));
            if started == self.calls && self.caller.pending() == 0 {
                return;
            }
        }
    }

    /// Takes what came, waiting at most so long for it.
    pub(crate) fn progress(&mut self, wait: Duration) {
        self.caller.progress(wait);
        while let Some(event) = self.caller.event() {
            match event {
                Event::Answered { call, media } => match media {
                    Some(to) => {
                        self.up += 1;
                        self.pump.add(call, to);
                    }
                    None => self.failed += 1,
                },
                Event::HandedBack { call } => {
                    self.pump.remove(call);
                    self.handed_back.push((call, Instant::now()));
                }
                Event::Refused | Event::NoAnswer => self.failed += 1,
                Event::HungUp => {}
            }
        }
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.progress(Duration::from_millis(20));
        }
    }

    /// What became of the audio that counted, line by line and in sum.
    pub(crate) fn report(&self) -> io::Result<(Report, LineFigures)> {
        let report = self.pump.report();
        let report = report.ok_or_else(|| io::Error::other("no report of the audio"))?;
        let mut sum = LineFigures::default();
        for line in report.lines.values() {
            sum.add(line);
        }
        Ok((report, sum))
    }

    /// Whether the transfer of a call was given to people.
    pub(crate) fn was_given_to_an_agent(&self, gateway: &Gateway, call: usize) -> io::Result<bool> {
        let shown = gateway.transfer(self.account, &format!("{}-{call}", self.prefix))?;
        Ok(shown.contains(r#""transferType":"AGENT""#))
    }

    /// Hangs up whatever is up.
    pub(crate) fn end(&mut self) {
        for call in 0..self.calls {
            self.pump.remove(call);
            self.caller.hang_up(call);
            if call % 20 == 19 {
                self.progress(Duration::from_millis(1));
            }
        }
        let began = Instant::now();
        while self.caller.pending() > 0 && began.elapsed() < PATIENCE {
            self.progress(Duration::from_millis(5));
        }
    }
}
