//! Agents that fail while calls are up: every caller of theirs is handed back or resumed in time, and nobody else hears of it.

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::audio::{LineFigures, Report};
use crate::echo::EchoAgent;
use crate::gateway::{Gateway, Setup, signal};
use crate::talkers::Talkers;
use crate::{Bounds, say};

/// `agent.reconnect_timeout` by default, and time to notice and to say good-bye on a machine that is busy.
const HANDED_BACK_WITHIN: Duration = Duration::from_secs(5 + 4);
/// An agent that gives no sign of life is dead after 20 s; then as above.
const DEAD_WITHIN: Duration = Duration::from_secs(20 + 5 + 6);
/// How long an agent that comes back was away.
const AWAY: Duration = Duration::from_secs(2);
/// A resumed call's audio is back by then.
const RESUMED_WITHIN: Duration = Duration::from_secs(2 + 5 + 2);
/// Frames a second and call of which a caller hears hardly anything, and nearly all.
const STARVED: f64 = 10.0;
const FED: f64 = 40.0;
/// A generator that was late by as much was a network that the jitter buffer does not make good.
const GENERATOR_LATE_MS: f64 = 20.0;
/// From the start of the calls to the slow agent's first pause, which is after the others' faults began.
const SLOW_AFTER: u64 = 10;
/// Memory that the faults may cost at the most, in kB.
const MEMORY_KB: u64 = 20_000;

/// What is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FaultsOrder {
    /// Calls of each kind of agent that fails; with the healthy ones, as many as all these together.
    #[arg(long, default_value_t = 5)]
    calls: usize,
    /// Only the faults that show within seconds: agents killed, and killed and started again.
    #[arg(long)]
    short: bool,
    /// Drop the packets of one agent with iptables; only inside a network namespace made for it.
    #[arg(long)]
    half_open: bool,
    #[command(flatten)]
    setup: Setup,
}

/// What befalls an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// kill -9.
    Killed,
    /// kill -9, and there again two seconds later.
    Restarted,
    /// SIGSTOP: its kernel takes data, nobody reads them.
    Stopped,
    /// It reads far less than it is sent.
    SlowReader,
    /// Packets neither come nor go any more.
    HalfOpen,
}

/// An agent and its callers.
struct Group {
    fault: Fault,
    agent: EchoAgent,
    talkers: Talkers,
    /// When its callers' audio was first heard again.
    resumed: Option<Instant>,
    /// Frames that had come back when that was looked at last.
    looked: (Instant, u64),
    /// Hardly anything came back.
    starved: bool,
}

/// Runs it; false when a caller was left or disturbed.
pub(crate) fn run(order: &FaultsOrder) -> io::Result<bool> {
    let mut faults = vec![Fault::None, Fault::Killed, Fault::Restarted];
    if !order.short {
        faults.extend([Fault::Stopped, Fault::SlowReader]);
    }
    if order.half_open {
        faults.push(Fault::HalfOpen);
    }
    let mut agents = Vec::new();
    for fault in &faults {
        let slow_after = (*fault == Fault::SlowReader).then_some(SLOW_AFTER);
        agents.push(EchoAgent::start(order.setup.free_address()?, slow_after)?);
    }
    let hooks: Vec<String> = agents.iter().map(EchoAgent::url).collect();
    let gateway = Gateway::start(&order.setup, &hooks)?;
    let mut groups = Vec::new();
    for (account, (fault, agent)) in faults.iter().copied().zip(agents).enumerate() {
        let calls = match fault {
            Fault::None => order.calls * (faults.len() - 1),
            Fault::Killed
            | Fault::Restarted
            | Fault::Stopped
            | Fault::SlowReader
            | Fault::HalfOpen => order.calls,
        };
        let mut talkers = Talkers::new(&gateway, &order.setup, account, calls)?;
        talkers.call(50.0);
        groups.push(Group {
            fault,
            agent,
            talkers,
            resumed: None,
            looked: (Instant::now(), 0),
            starved: false,
        });
    }
    let mut bounds = Bounds::default();
    befall(&gateway, &mut groups, order.short, &mut bounds)?;
    Ok(bounds.hold())
}

fn befall(
    gateway: &Gateway,
    groups: &mut [Group],
    short: bool,
    bounds: &mut Bounds,
) -> io::Result<()> {
    wait(groups, Duration::from_secs(3));
    for group in groups.iter() {
        group.talkers.pump.count(true);
    }
    let before = gateway.usage()?;
    wait(groups, Duration::from_secs(2));
    let began = Instant::now();
    for group in groups.iter_mut() {
        group.strike()?;
    }
    let mut highest = before.resident_kb;
    let longest = if short {
        HANDED_BACK_WITHIN
    } else {
        DEAD_WITHIN + Duration::from_secs(SLOW_AFTER)
    };
    while began.elapsed() < longest {
        wait(groups, Duration::from_millis(100));
        highest = highest.max(gateway.usage()?.resident_kb);
        for group in groups.iter_mut() {
            group.look(began)?;
        }
    }
    for group in groups.iter() {
        group.talkers.pump.count(false);
    }
    wait(groups, Duration::from_millis(1500));
    for group in groups.iter_mut() {
        group.judge(gateway, began, bounds)?;
    }
    let grown = highest - before.resident_kb;
    say(format_args!(
        "memory: {} kB before the faults, at most {grown} kB more after them",
        before.resident_kb
    ));
    bounds.at_most_count("memory grown, kB", grown, Some(MEMORY_KB));
    Ok(())
}

fn wait(groups: &mut [Group], time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        for group in groups.iter_mut() {
            group.talkers.progress(Duration::from_millis(1));
        }
    }
}

impl Group {
    fn strike(&mut self) -> io::Result<()> {
        let pid = self.agent.child.id();
        match self.fault {
            Fault::None | Fault::SlowReader => {}
            Fault::Killed | Fault::Restarted => {
                self.agent.child.kill()?;
                self.agent.child.wait()?;
            }
            Fault::Stopped => signal(pid, Signal::SIGSTOP),
            Fault::HalfOpen => {
                let port = self.agent.listen.port().to_string();
                for side in ["--sport", "--dport"] {
                    let rule = ["-I", "INPUT", "-p", "tcp", side, &port, "-j", "DROP"];
                    if !Command::new("iptables").args(rule).status()?.success() {
                        return Err(io::Error::other("iptables does not take the rule"));
                    }
                }
            }
        }
        Ok(())
    }

    /// What happens later: the agent that comes back, the audio that does.
    fn look(&mut self, began: Instant) -> io::Result<()> {
        if !matches!(self.fault, Fault::Restarted | Fault::SlowReader) {
            return Ok(());
        }
        let running = matches!(self.agent.child.try_wait(), Ok(None));
        if !running && began.elapsed() >= AWAY {
            self.agent.restart()?;
        }
        let (since, before) = self.looked;
        if self.resumed.is_some() || since.elapsed() < Duration::from_secs(1) {
            return Ok(());
        }
        let (_, sum) = self.talkers.report()?;
        let frames = sum.returned.saturating_sub(before) as f64;
        let rate = frames / since.elapsed().as_secs_f64() / self.talkers.up.max(1) as f64;
        self.looked = (Instant::now(), sum.returned);
        self.starved |= rate < STARVED && before > 0;
        if self.starved && rate > FED {
            self.resumed = Some(Instant::now());
        }
        Ok(())
    }

    fn judge(&mut self, gateway: &Gateway, began: Instant, bounds: &mut Bounds) -> io::Result<()> {
        let (report, sum) = self.talkers.report()?;
        let name = format!("{:?}", self.fault);
        let up = self.talkers.up;
        let back = &self.talkers.handed_back;
        let last = back.iter().map(|(_, at)| at.duration_since(began)).max();
        let last = last.unwrap_or_default();
        say(format_args!(
            "{name}: {up} calls, {} handed back, the last after {:.1} s",
            back.len(),
            last.as_secs_f64()
        ));
        say_audio(&name, report.unsent, &sum);
        bounds.at_most_count(
            &format!("{name}: calls failed"),
            self.talkers.failed as u64,
            Some(0),
        );
        let within = self.within(began, &report, bounds);
        let expected = if within.is_some() { up } else { 0 };
        bounds.exactly(
            &format!("{name}: calls handed back"),
            back.len() as u64,
            expected as u64,
        );
        if let Some(within) = within {
            bounds.at_most(
                &format!("{name}: seconds to the last hand-back"),
                last.as_secs_f64(),
                Some(within.as_secs_f64()),
            );
            for (call, _) in back {
                let given = self.talkers.was_given_to_an_agent(gateway, *call)?;
                bounds.exactly(
                    &format!("{name}: transfers given to AGENT by call {call}"),
                    u64::from(given),
                    1,
                );
            }
        }
        self.talkers.end();
        Ok(())
    }

    /// Callers whose agent is well hear nothing of it. What the generator itself sent late, the jitter buffer may discard or make
    /// up for: a machine that stalls is no fault of an agent's.
    fn judge_others(&self, report: &Report, bounds: &mut Bounds) {
        let mut sum = LineFigures::default();
        for line in report.lines.values() {
            sum.add(line);
        }
        let broken = sum.disordered + sum.sequence_gaps;
        bounds.at_most_count("frames of others out of order", broken, Some(0));
        let late = report.lateness.longest.as_secs_f64() * 1e3;
        let changed = sum.lost() + sum.damaged;
        if late < GENERATOR_LATE_MS {
            bounds.at_most_count("frames of others lost or changed", changed, Some(0));
        } else {
            say(format_args!(
                "the generator was {late:.0} ms late once: {changed} frames of others lost or changed are not judged"
            ));
        }
    }

    /// Within what time its calls are to be handed back; what is demanded of calls that are not.
    fn within(&self, began: Instant, report: &Report, bounds: &mut Bounds) -> Option<Duration> {
        match self.fault {
            Fault::None => {
                self.judge_others(report, bounds);
                None
            }
            Fault::Restarted | Fault::SlowReader => {
                let after = self
                    .resumed
                    .map_or(Duration::MAX, |at| at.duration_since(began))
                    .as_secs_f64();
                say(format_args!(
                    "{:?}: audio again after {after:.1} s",
                    self.fault
                ));
                let within = match self.fault {
                    Fault::SlowReader => DEAD_WITHIN + Duration::from_secs(SLOW_AFTER),
                    Fault::None
                    | Fault::Killed
                    | Fault::Restarted
                    | Fault::Stopped
                    | Fault::HalfOpen => RESUMED_WITHIN,
                };
                let bound = Some(within.as_secs_f64());
                bounds.at_most("seconds to resume", after, bound);
                None
            }
            Fault::Killed => Some(HANDED_BACK_WITHIN),
            Fault::Stopped | Fault::HalfOpen => Some(DEAD_WITHIN),
        }
    }
}

/// Prints what became of the frames.
pub(crate) fn say_audio(whose: &str, unsent: u64, sum: &LineFigures) {
    say(format_args!(
        "audio of {whose}: {} frames sent, {} lost, {} damaged, {} out of order, {} packets of filler, {} missing in sequence, \
         {} jumps of timestamp, {unsent} unsent here, longest gap {} ms",
        sum.sent,
        sum.lost(),
        sum.damaged,
        sum.disordered,
        sum.filler,
        sum.sequence_gaps,
        sum.timestamp_jumps,
        sum.longest_gap.as_millis()
    ));
}
