//! `testbed --seed N [--loss 0..30]`, `testbed --seeds A..B`: see USAGE.

use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use call_control::transfer::ReturnType;
use testbed::{Behaviour, Options, Verdict, World};

const USAGE: &str =
    "testbed [--seed N | --seeds A..B] [--loss P | --loss A..B] [--plain bye|refer|invite] \
[--race] [--only B,B…] [--without B,B…] [--calls N] [--jobs N] [--shrink] [--quiet]
One seed: its ladder is printed. Several: only those that break a rule, and the sum.
--loss A..B: the loss of a seed is drawn from it, A + seed mod (B - A).
--race: one call that everything ends at the same time, at any stage of it.
--shrink: behaviours and calls are left out one by one as long as the rule is still broken.
behaviours: ";

struct Order {
    seeds: Range<u64>,
    loss: Range<u8>,
    jobs: usize,
    quiet: bool,
    shrink: bool,
    race: bool,
    plain: Option<ReturnType>,
    only: Option<Vec<Behaviour>>,
    without: Vec<Behaviour>,
    calls: Option<u8>,
}

fn main() -> ExitCode {
    let order = match order(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(problem) => {
            let all = Behaviour::ALL.map(|behaviour| behaviour.to_string());
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "{problem}\n{USAGE}{}", all.join(" "));
            return ExitCode::from(64);
        }
    };
    match run(&order, &mut io::stdout().lock()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

/// What came of many runs.
#[derive(Default)]
struct Sum {
    events: u64,
    broken: Vec<u64>,
}

/// Runs all seeds; says how many broke a rule.
#[expect(clippy::disallowed_methods, reason = "the time that people wait")]
fn run(order: &Order, out: &mut impl Write) -> io::Result<usize> {
    let began = Instant::now();
    if order.seeds.end - order.seeds.start == 1 {
        return run_one(order, order.seeds.start, out);
    }
    let sum = run_many(order);
    for seed in &sum.broken {
        run_one(order, *seed, out)?;
    }
    let runs = order.seeds.end - order.seeds.start;
    let seconds = began.elapsed().as_secs_f64();
    let rate = runs as f64 / seconds * 60.0;
    let (events, broken) = (sum.events, sum.broken.len());
    writeln!(
        out,
        "{runs} seeds, {events} events, {broken} broke a rule; {seconds:.1} s, {rate:.0} seeds a minute"
    )?;
    Ok(broken)
}

fn run_many(order: &Order) -> Sum {
    let next = AtomicU64::new(order.seeds.start);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= order.seeds.end {
                return sum;
            }
            let verdict = World::run(seed, &order.options(seed));
            sum.events += verdict.events;
            if verdict.violation.is_some() {
                sum.broken.push(seed);
            }
        }
    };
    let mut all = Sum::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..order.jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(sum) => {
                    all.events += sum.events;
                    all.broken.extend(sum.broken);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    all.broken.sort_unstable();
    all
}

fn run_one(order: &Order, seed: u64, out: &mut impl Write) -> io::Result<usize> {
    let mut options = order.options(seed);
    let mut verdict = World::run(seed, &options);
    if order.shrink && verdict.violation.is_some() {
        (verdict, options) = shrink(verdict, options);
        let left: Vec<String> = options
            .behaviours
            .iter()
            .map(Behaviour::to_string)
            .collect();
        let (calls, loss) = (options.calls, options.weather.loss);
        let left = left.join(",");
        writeln!(out, "left: --loss {loss} --calls {calls} --only {left}")?;
    }
    report(&verdict, order.quiet, out)?;
    Ok(usize::from(verdict.violation.is_some()))
}

/// The same seed with less and less, as long as it breaks the same rule.
fn shrink(verdict: Verdict, options: Options) -> (Verdict, Options) {
    let (mut verdict, mut options) = (verdict, options);
    let rule = |verdict: &Verdict| verdict.violation.as_ref().map(|broken| broken.rule);
    loop {
        let without = options.behaviours.iter();
        let mut smaller: Vec<Options> = without
            .map(|behaviour| options.clone().without(*behaviour))
            .collect();
        if options.calls > 1 {
            smaller.push(Options {
                calls: options.calls - 1,
                ..options.clone()
            });
        }
        let found = smaller.into_iter().find_map(|smaller| {
            let again = World::run(verdict.seed, &smaller);
            (rule(&again) == rule(&verdict)).then_some((again, smaller))
        });
        match found {
            Some(found) => (verdict, options) = found,
            None => return (verdict, options),
        }
    }
}

fn report(verdict: &Verdict, quiet: bool, out: &mut impl Write) -> io::Result<()> {
    if !quiet {
        write!(out, "{}", verdict.ladder)?;
    }
    writeln!(out, "{verdict}")
}

impl Order {
    /// What the run of a seed is like.
    fn options(&self, seed: u64) -> Options {
        let among = u64::from(self.loss.end.saturating_sub(self.loss.start)).max(1);
        let loss = self.loss.start + u8::try_from(seed % among).unwrap_or(0);
        let mut options = if self.race {
            Options::race(loss)
        } else {
            Options::wild(loss)
        };
        if let Some(returns) = self.plain {
            let weather = options.weather;
            options = Options::plain(returns);
            if loss > 0 {
                options.weather = weather;
            }
        }
        if let Some(only) = &self.only {
            options.behaviours = only.iter().copied().collect();
        }
        for behaviour in &self.without {
            options.behaviours.remove(behaviour);
        }
        options.calls = self.calls.unwrap_or(options.calls);
        options
    }
}

fn order(mut words: impl Iterator<Item = String>) -> Result<Order, String> {
    let mut order = Order {
        seeds: 1..2,
        loss: 10..10,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        quiet: false,
        shrink: false,
        race: false,
        plain: None,
        only: None,
        without: Vec::new(),
        calls: None,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quiet" => order.quiet = true,
            "--shrink" => order.shrink = true,
            "--race" => order.race = true,
            _ => {
                let value = words.next().ok_or(format!("{word} needs a value"))?;
                valued(&mut order, &word, &value)?;
            }
        }
    }
    Ok(order)
}

fn valued(order: &mut Order, word: &str, value: &str) -> Result<(), String> {
    match word {
        "--seed" => order.seeds = number(value).map(|seed| seed..seed + 1)?,
        "--seeds" => order.seeds = range(value)?,
        "--loss" => {
            let range = range(value).or_else(|_| number(value).map(|loss| loss..loss))?;
            let percent = |number: u64| u8::try_from(number.min(100)).unwrap_or(100);
            order.loss = percent(range.start)..percent(range.end);
        }
        "--jobs" => order.jobs = usize::try_from(number(value)?.clamp(1, 64)).unwrap_or(1),
        "--calls" => order.calls = Some(u8::try_from(number(value)?.clamp(1, 20)).unwrap_or(1)),
        "--plain" => order.plain = Some(return_type(value)?),
        "--only" => order.only = Some(behaviours(value)?),
        "--without" => order.without = behaviours(value)?,
        _ => return Err(format!("{word} is not known")),
    }
    Ok(())
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text} is no range such as 0..100");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let range = number(from)?..number(to)?;
    if range.is_empty() {
        Err(wrong())
    } else {
        Ok(range)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn return_type(text: &str) -> Result<ReturnType, String> {
    match text {
        "bye" => Ok(ReturnType::Bye),
        "refer" => Ok(ReturnType::Refer),
        "invite" => Ok(ReturnType::Invite),
        _ => Err(format!("{text} is no return type")),
    }
}

fn behaviours(list: &str) -> Result<Vec<Behaviour>, String> {
    let names = list.split(',').filter(|name| !name.is_empty());
    names.map(str::parse).collect()
}
