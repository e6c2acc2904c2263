//! Calls that come and go without talking: INVITE, 100, 200, ACK, BYE, 200.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::caller::{Caller, Counters, Event};
use crate::figures::Delays;
use crate::gateway::{Gateway, Setup, Usage};
use crate::talkers::Talkers;
use crate::{Bounds, say};

/// How much faster each step of the search is.
const STEP: f64 = 1.25;
/// The share of calls that may have had a retransmission.
const AGAIN: f64 = 0.001;

/// What is run and what is demanded.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SignallingOrder {
    /// Calls in a second; where the search begins, with `--find`.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Seconds of calls.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Runs at that rate; the bound of CPU time is held by the best.
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// Go up by a quarter until calls fail or more than a thousandth has a retransmission.
    #[arg(long)]
    find: bool,
    /// Then twice the highest clean rate (or twice `--rate`), with calls that talk beside it, and a minute later the rate again.
    #[arg(long)]
    overload: bool,
    /// Then hold this many calls whose callers send no audio, and give the memory of each.
    #[arg(long)]
    hold: Option<usize>,
    /// Seconds between overload and the look at the recovery.
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// Calls that talk during the overload.
    #[arg(long, default_value_t = 20)]
    talkers: usize,
    /// At most this much CPU time of the gateway for a call, in µs.
    #[arg(long)]
    max_us: Option<f64>,
    /// At most so many retransmissions for a hundred calls.
    #[arg(long)]
    max_again_percent: Option<f64>,
    /// Calls answered during overload, at least this share of the clean rate.
    #[arg(long)]
    min_share: Option<f64>,
    /// At most this much memory for each call that is held, in kB.
    #[arg(long)]
    max_held_kb: Option<f64>,
    #[command(flatten)]
    setup: Setup,
}

/// What came of some seconds of calls.
struct Burst {
    rate: f64,
    elapsed: Duration,
    counters: Counters,
    cpu: Duration,
    resident_kb: u64,
    answers: Delays,
}

impl Burst {
    /// Every call completed, and hardly a retransmission.
    fn is_clean(&self) -> bool {
        let it = &self.counters;
        it.hung_up == it.started && (it.again as f64) < it.started as f64 * AGAIN
    }

    fn us_per_call(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.counters.hung_up.max(1) as f64
    }

    fn say(&self) {
        let it = &self.counters;
        say(format_args!(
            "{:.0}/s: {} calls, {} completed, {} refused ({} not by 503, {} without Retry-After), {} unanswered, {} ended by the \
             gateway, {} retransmissions; answered in p50 {:.1} p99 {:.1} ms; {:.0} µs of CPU for each completed call, {:.0} % of a \
             core; {} kB",
            self.rate,
            it.started,
            it.hung_up,
            it.refused,
            it.refused_otherwise,
            it.without_retry_after,
            it.no_answer,
            it.handed_back,
            it.again,
            self.answers.share_ms(0.5),
            self.answers.share_ms(0.99),
            self.us_per_call(),
            self.cpu.as_secs_f64() / self.elapsed.as_secs_f64() * 100.0,
            self.resident_kb
        ));
    }
}

struct Bench<'a> {
    order: &'a SignallingOrder,
    gateway: Gateway,
    /// Takes the little audio that comes between an answer and its BYE.
    deaf: UdpSocket,
    bursts: u32,
    bounds: Bounds,
}

/// Runs it; false when a bound was missed.
pub(crate) fn run(order: &SignallingOrder) -> io::Result<bool> {
    let gateway = Gateway::start(&order.setup, &["builtin:echo".to_owned()])?;
    let mut bench = Bench {
        order,
        gateway,
        deaf: UdpSocket::bind(order.setup.own(0))?,
        bursts: 0,
        bounds: Bounds::default(),
    };
    bench.measure()?;
    Ok(bench.bounds.hold())
}

impl Bench<'_> {
    fn measure(&mut self) -> io::Result<()> {
        let order = self.order;
        // pools and caches fill
        let _ = self.burst(100.0, 2)?;
        let mut best = f64::INFINITY;
        for _ in 0..order.runs {
            let burst = self.burst(order.rate, order.seconds)?;
            burst.say();
            best = best.min(burst.us_per_call());
            let Counters {
                started,
                hung_up,
                again,
                ..
            } = burst.counters;
            self.bounds.exactly("calls completed", hung_up, started);
            let again = again as f64 / started.max(1) as f64 * 100.0;
            let bound = order.max_again_percent;
            self.bounds.at_most("retransmissions, %", again, bound);
        }
        self.bounds.at_most("CPU per call, µs", best, order.max_us);
        let clean = if order.find { self.find()? } else { order.rate };
        if order.overload {
            self.overload(clean)?;
        }
        if let Some(calls) = order.hold {
            self.hold(calls)?;
        }
        Ok(())
    }

    /// Calls at a steady rate, each hung up as soon as it is answered.
    fn burst(&mut self, rate: f64, seconds: u64) -> io::Result<Burst> {
        self.burst_beside(rate, seconds, None)
    }

    fn burst_beside(
        &mut self,
        rate: f64,
        seconds: u64,
        mut talkers: Option<&mut Talkers>,
    ) -> io::Result<Burst> {
        self.bursts += 1;
        let prefix = format!("burst-{}", self.bursts);
        let calls = (rate * seconds as f64) as usize;
        self.register(&prefix, calls)?;
        let media: SocketAddr = self.deaf.local_addr()?;
        let mut caller = Caller::new(self.order.setup.own(0), media, self.gateway.sip)?;
        let before: Usage = self.gateway.usage()?;
        let began = Instant::now();
        let (mut started, mut quiet) = (0, Instant::now());
        while began.elapsed() < Duration::from_secs(seconds + 40) {
            let due = (began.elapsed().as_secs_f64() * rate) as usize + 1;
            // a burst of one turn is what the generator itself was late, and no more than a few
            for _ in 0..due.min(calls).saturating_sub(started).min(64) {
                caller.invite(&format!("{prefix}-{started}"));
                started += 1;
            }
            caller.progress(Duration::from_millis(1));
            while let Some(event) = caller.event() {
                quiet = Instant::now();
                if let Event::Answered { call, .. } = event {
                    caller.hang_up(call);
                }
            }
            if let Some(talkers) = &mut talkers {
                talkers.progress(Duration::ZERO);
            }
            let over = started == calls && quiet.elapsed() > Duration::from_millis(200);
            if over && caller.pending() == 0 {
                break;
            }
        }
        let after = self.gateway.usage()?;
        Ok(Burst {
            rate,
            elapsed: began.elapsed(),
            counters: caller.counters,
            cpu: after.cpu - before.cpu,
            resident_kb: after.resident_kb,
            answers: caller.answers,
        })
    }

    fn register(&self, prefix: &str, calls: usize) -> io::Result<()> {
        let (before, began) = (self.gateway.usage()?, Instant::now());
        self.gateway.register(0, prefix, calls)?;
        let cpu = self.gateway.usage()?.cpu - before.cpu;
        if calls >= 1000 {
            say(format_args!(
                "{calls} registrations at {:.0}/s, {:.0} µs of CPU for each",
                calls as f64 / began.elapsed().as_secs_f64(),
                cpu.as_secs_f64() * 1e6 / calls as f64
            ));
        }
        Ok(())
    }

    /// The highest rate at which every call completed.
    fn find(&mut self) -> io::Result<f64> {
        let (mut clean, mut rate) = (0.0, self.order.rate);
        loop {
            let burst = self.burst(rate, self.order.seconds)?;
            burst.say();
            // once more: something else may have wanted the machine
            if !burst.is_clean() {
                let again = self.burst(rate, self.order.seconds)?;
                again.say();
                if !again.is_clean() {
                    break;
                }
            }
            clean = rate;
            rate *= STEP;
        }
        say(format_args!("highest clean rate: {clean:.0}/s"));
        Ok(clean)
    }

    fn overload(&mut self, clean: f64) -> io::Result<()> {
        let order = self.order;
        let mut talkers = Talkers::new(&self.gateway, &order.setup, 0, order.talkers)?;
        talkers.call(50.0);
        talkers.wait(Duration::from_secs(1));
        talkers.pump.count(true);
        let before = self.gateway.usage()?;
        let burst = self.burst_beside(clean * 2.0, order.seconds, Some(&mut talkers))?;
        talkers.pump.count(false);
        talkers.wait(Duration::from_millis(1500));
        burst.say();
        let share = burst.counters.answered as f64 / (clean * order.seconds as f64);
        say(format_args!(
            "overload at {:.0}/s: {:.0} % of the clean rate answered; memory {} kB before, {} kB after",
            burst.rate,
            share * 100.0,
            before.resident_kb,
            burst.resident_kb
        ));
        let (report, sum) = talkers.report()?;
        crate::faults::say_audio("calls beside it", report.unsent, &sum);
        self.bounds
            .at_least("share answered in overload", share, order.min_share);
        let ended = talkers.handed_back.len() as u64;
        self.bounds
            .at_most_count("live calls ended in overload", ended, Some(0));
        talkers.end();
        let rest = Instant::now();
        while rest.elapsed() < Duration::from_secs(order.rest) {
            std::thread::sleep(Duration::from_millis(100));
        }
        say(format_args!("{} s later:", order.rest));
        self.burst(clean, order.seconds)?.say();
        Ok(())
    }

    fn hold(&mut self, calls: usize) -> io::Result<()> {
        self.bursts += 1;
        let prefix = format!("held-{}", self.bursts);
        self.register(&prefix, calls)?;
        let media = self.deaf.local_addr()?;
        let mut caller = Caller::new(self.order.setup.own(0), media, self.gateway.sip)?;
        let before = self.gateway.usage()?;
        for n in 0..calls {
            caller.invite(&format!("{prefix}-{n}"));
            caller.progress(Duration::from_millis(1));
        }
        let began = Instant::now();
        while caller.pending() > 0 && began.elapsed() < Duration::from_secs(20) {
            caller.progress(Duration::from_millis(5));
        }
        caller.progress(Duration::from_secs(1));
        let used = self
            .gateway
            .usage()?
            .resident_kb
            .saturating_sub(before.resident_kb);
        let each = used as f64 / calls.max(1) as f64;
        say(format_args!(
            "{} calls held: {each:.1} kB for each",
            caller.counters.answered
        ));
        self.bounds
            .at_most("memory per held call, kB", each, self.order.max_held_kb);
        for call in 0..calls {
            caller.hang_up(call);
            caller.progress(Duration::ZERO);
        }
        while caller.pending() > 0 && began.elapsed() < Duration::from_secs(60) {
            caller.progress(Duration::from_millis(5));
        }
        Ok(())
    }
}
