//! `testbed --seed N [--loss 0..30] [--runs K] [--plain bye|refer|invite] [--without behaviour]`

use std::io::{self, Write};
use std::process::ExitCode;

use call_control::transfer::ReturnType;
use testbed::{Behaviour, Options, Verdict, World};

const USAGE: &str = "testbed [--seed N] [--runs K] [--loss 0..30] [--plain bye|refer|invite] \
[--only B,B…] [--without B,B…] [--quiet]
behaviours: cancel hang-up hold late-offer stream lines-break twice sbc-dies agent-fails agent-stays refer-fails \
target-varies store-fails few-ports late-ports";

struct Order {
    seed: u64,
    runs: u64,
    quiet: bool,
    options: Options,
}

fn main() -> ExitCode {
    let order = match order(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(problem) => {
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "{problem}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match run(&order, &mut io::stdout().lock()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}

/// Runs all seeds; says how many broke a rule.
fn run(order: &Order, out: &mut impl Write) -> io::Result<u64> {
    let mut failed = 0;
    let mut events = 0;
    for seed in (order.seed..).take(usize::try_from(order.runs).unwrap_or(usize::MAX)) {
        let verdict = World::run(seed, &order.options);
        events += verdict.events;
        failed += u64::from(verdict.violation.is_some());
        if order.runs == 1 || verdict.violation.is_some() {
            report(&verdict, order.quiet, out)?;
        }
    }
    if order.runs > 1 {
        let runs = order.runs;
        writeln!(out, "{runs} runs, {events} events, {failed} broke a rule")?;
    }
    Ok(failed)
}

fn report(verdict: &Verdict, quiet: bool, out: &mut impl Write) -> io::Result<()> {
    if !quiet {
        write!(out, "{}", verdict.ladder)?;
    }
    writeln!(out, "{verdict}")
}

fn order(mut words: impl Iterator<Item = String>) -> Result<Order, String> {
    let mut loss = 10;
    let mut order = Order {
        seed: 1,
        runs: 1,
        quiet: false,
        options: Options::wild(loss),
    };
    let mut plain = None;
    let (mut only, mut without) = (None, Vec::new());
    while let Some(word) = words.next() {
        if word == "--quiet" {
            order.quiet = true;
            continue;
        }
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        match word.as_str() {
            "--seed" => order.seed = number(&value)?,
            "--runs" => order.runs = number(&value)?,
            "--loss" => loss = u8::try_from(number(&value)?.min(100)).unwrap_or(100),
            "--plain" => plain = Some(return_type(&value)?),
            "--only" => only = Some(behaviours(&value)?),
            "--without" => without = behaviours(&value)?,
            _ => return Err(format!("{word} is not known")),
        }
    }
    order.options = Options::wild(loss);
    if let Some(returns) = plain {
        let weather = order.options.weather;
        order.options = Options::plain(returns);
        if loss > 0 {
            order.options.weather = weather;
        }
    }
    if let Some(only) = only {
        order.options.behaviours = only.into_iter().collect();
    }
    for behaviour in without {
        order.options.behaviours.remove(&behaviour);
    }
    Ok(order)
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
    list.split(',').map(str::parse).collect()
}
