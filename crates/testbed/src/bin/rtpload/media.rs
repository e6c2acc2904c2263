//! Calls that talk: what their audio costs the gateway, and whether all of it comes back.

use std::io;
use std::time::{Duration, Instant};

use crate::audio::{LineFigures, Report};
use crate::echo::EchoAgent;
use crate::figures::{Histogram, metric};
use crate::gateway::{Gateway, Setup, Usage, usage_of};
use crate::talkers::Talkers;
use crate::{Bounds, say};

/// From the last call's answer to the window.
const SETTLE: Duration = Duration::from_secs(3);

/// What is run and what is demanded.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MediaOrder {
    /// Calls at once.
    #[arg(long, default_value_t = 100)]
    calls: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Calls started in a second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// The agent: `ws` is an echo server of this program on Twilio's wire; anything else is the account's `hook`.
    #[arg(long, default_value = "builtin:echo")]
    hook: String,
    /// Measure this many windows and give the figures of each; the bound of CPU time is held by the best.
    #[arg(long, default_value_t = 1)]
    windows: u32,
    /// At most this share of a core for each call, in percent.
    #[arg(long)]
    max_core_percent: Option<f64>,
    /// At most this much memory for each call, in kB.
    #[arg(long)]
    max_kb: Option<f64>,
    /// At most this many frames lost.
    #[arg(long)]
    max_lost: Option<u64>,
    /// At most this many frames damaged or out of order.
    #[arg(long)]
    max_damaged: Option<u64>,
    /// 99 % of the ticks at most this late, in ms.
    #[arg(long)]
    max_tick_ms: Option<f64>,
    /// 99 % of the frames written to the agent at most this long after the jitter buffer's release, in ms.
    #[arg(long)]
    max_hook_ms: Option<f64>,
    #[command(flatten)]
    setup: Setup,
}

/// The gateway at one moment.
struct Moment {
    at: Instant,
    usage: Usage,
    agent: Option<Usage>,
    page: String,
}

/// The world of one run.
struct Run<'a> {
    order: &'a MediaOrder,
    talkers: Talkers,
    gateway: Gateway,
    agent: Option<EchoAgent>,
    bounds: Bounds,
}

/// Runs it; false when a bound was missed.
pub(crate) fn run(order: &MediaOrder) -> io::Result<bool> {
    let agent = match order.hook.as_str() {
        "ws" => Some(EchoAgent::start(order.setup.free_address()?, None)?),
        _ => None,
    };
    let hook = agent
        .as_ref()
        .map_or_else(|| order.hook.clone(), EchoAgent::url);
    let gateway = Gateway::start(&order.setup, &[hook])?;
    let talkers = Talkers::new(&gateway, &order.setup, 0, order.calls)?;
    let mut run = Run {
        order,
        talkers,
        gateway,
        agent,
        bounds: Bounds::default(),
    };
    run.measure()?;
    Ok(run.bounds.hold())
}

impl Run<'_> {
    fn measure(&mut self) -> io::Result<()> {
        // what checking API keys took goes back to the system
        self.talkers.wait(SETTLE);
        let _ = self.gateway.metrics()?;
        let idle = self.gateway.usage()?;
        self.talkers.call(self.order.rate);
        let Talkers { up, caller, .. } = &self.talkers;
        say(format_args!(
            "{up} of {} calls up, answered in p50 {:.1} ms p99 {:.1} ms",
            self.order.calls,
            caller.answers.share_ms(0.5),
            caller.answers.share_ms(0.99)
        ));
        let wanted = self.order.calls as f64;
        self.bounds.at_least("calls up", *up as f64, Some(wanted));
        self.talkers.wait(SETTLE);
        let mut best = f64::INFINITY;
        for _ in 0..self.order.windows {
            best = best.min(self.window()?);
        }
        let bound = self.order.max_core_percent;
        self.bounds.at_most("core per call, %", best, bound);
        self.judge_memory(idle)?;
        self.talkers.end();
        self.talkers.wait(Duration::from_secs(3));
        self.judge_end()
    }

    fn judge_memory(&mut self, idle: Usage) -> io::Result<()> {
        let before = idle.resident_kb;
        let used = self.gateway.usage()?.resident_kb.saturating_sub(before);
        let each = used as f64 / self.talkers.up.max(1) as f64;
        say(format_args!(
            "memory: {before} kB before the calls, {each:.1} kB for each call"
        ));
        let bound = self.order.max_kb;
        self.bounds.at_most("memory per call, kB", each, bound);
        Ok(())
    }

    fn judge_end(&mut self) -> io::Result<()> {
        let left = metric(&self.gateway.metrics()?, "handback_calls");
        let (failed, ended) = (self.talkers.failed, self.talkers.handed_back.len());
        say(format_args!(
            "after the calls: {left} held, {} kB, {} warnings in the log; {failed} calls failed, {ended} ended by the gateway",
            self.gateway.usage()?.resident_kb,
            self.gateway.warnings(),
        ));
        let bounds = &mut self.bounds;
        bounds.at_most("calls left", left, Some(0.0));
        bounds.at_most("calls failed", failed as f64, Some(0.0));
        bounds.at_most("calls ended by the gateway", ended as f64, Some(0.0));
        Ok(())
    }

    fn moment(&self) -> io::Result<Moment> {
        let agent = self.agent.as_ref();
        let agent = agent.map(|agent| usage_of(agent.child.id())).transpose()?;
        // the page costs something itself: it is read outside what is measured
        Ok(Moment {
            page: self.gateway.metrics()?,
            at: Instant::now(),
            usage: self.gateway.usage()?,
            agent,
        })
    }

    /// One window; the share of a core for each call in percent.
    fn window(&mut self) -> io::Result<f64> {
        let before = self.moment()?;
        self.talkers.pump.count(true);
        self.talkers.wait(Duration::from_secs(self.order.seconds));
        self.talkers.pump.count(false);
        let usage = self.gateway.usage()?;
        let elapsed = before.at.elapsed();
        let after = self.moment()?;
        self.talkers.wait(Duration::from_millis(1500));
        let call_seconds = elapsed.as_secs_f64() * self.talkers.up.max(1) as f64;
        let share = (usage.cpu - before.usage.cpu).as_secs_f64() / call_seconds * 100.0;
        say(format_args!(
            "CPU: {:.6} s of the gateway for each call-second = {share:.4} % of a core for each call",
            share / 100.0
        ));
        if let (Some(a), Some(b)) = (before.agent, after.agent) {
            let share = (b.cpu - a.cpu).as_secs_f64() / call_seconds * 100.0;
            say(format_args!(
                "     {share:.4} % of a core for each call by the echo server"
            ));
        }
        let (report, sum) = self.talkers.report()?;
        self.judge_audio(&report, &sum);
        self.judge_gateway(&before.page, &after.page);
        Ok(share)
    }

    fn judge_audio(&mut self, report: &Report, all: &LineFigures) {
        let Report {
            delays, lateness, ..
        } = report;
        crate::faults::say_audio("all", report.unsent, all);
        say(format_args!(
            "delay there and back: p50 {:.1} p99 {:.1} p99.9 {:.1} longest {:.1} ms; the generator ticked p99 {:.1} ms late",
            delays.share_ms(0.5),
            delays.share_ms(0.99),
            delays.share_ms(0.999),
            delays.longest.as_secs_f64() * 1e3,
            lateness.share_ms(0.99)
        ));
        let (order, bounds) = (self.order, &mut self.bounds);
        let expected = self.talkers.up as u64 * order.seconds * 50;
        let damaged = all.damaged + all.disordered;
        bounds.at_least("frames sent", all.sent as f64, Some(expected as f64 * 0.9));
        bounds.at_most_count("frames lost", all.lost(), order.max_lost);
        bounds.at_most_count("frames damaged", damaged, order.max_damaged);
    }

    /// What the gateway says of itself.
    fn judge_gateway(&mut self, before: &str, after: &str) {
        let between = |name| Histogram::read(after, name).since(&Histogram::read(before, name));
        let more = |name| metric(after, name) - metric(before, name);
        let (order, bounds) = (self.order, &mut self.bounds);
        let ticks = between("handback_media_tick_lateness_seconds");
        say(format_args!(
            "ticks: {} of them, late by p50 {:.2} p99 {:.2} p99.9 {:.2} ms; {} packets not sent",
            ticks.count(),
            ticks.share_ms(0.5),
            ticks.share_ms(0.99),
            ticks.share_ms(0.999),
            more("handback_rtp_packets_unsent_total")
        ));
        bounds.at_most(
            "tick lateness p99, ms",
            ticks.share_ms(0.99),
            order.max_tick_ms,
        );
        let writes = between("handback_hook_ws_write_seconds");
        if writes.count() > 0.0 {
            say(format_args!(
                "hook queue, jitter buffer to WebSocket: {} writes, p50 {:.2} p99 {:.2} p99.9 {:.2} ms; {} frames dropped",
                writes.count(),
                writes.share_ms(0.5),
                writes.share_ms(0.99),
                writes.share_ms(0.999),
                more("handback_hook_media_dropped_total")
            ));
            bounds.at_most(
                "hook queue p99, ms",
                writes.share_ms(0.99),
                order.max_hook_ms,
            );
        }
    }
}
