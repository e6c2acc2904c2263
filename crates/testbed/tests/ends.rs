//! Everything that can end a call, at the same time and at any stage of it: `.ci/run` runs ten thousand of
//! these races, `cargo run --release -p testbed -- --race --seeds 0..10000 --loss 0..31`.

use std::collections::BTreeMap;

use testbed::{Options, World};

/// What the runs of some seeds came to: the outcomes of their calls, and how often each.
fn outcomes(seeds: std::ops::Range<u64>, loss: u8) -> BTreeMap<String, u32> {
    let options = Options::race(loss);
    let mut outcomes = BTreeMap::new();
    for seed in seeds {
        let verdict = World::run(seed, &options);
        let broken = verdict.violation.is_some();
        assert!(!broken, "{}{verdict}\n{options:?}", verdict.ladder);
        let ladder = verdict.ladder.to_string();
        let ends = ladder.lines().filter_map(|line| {
            let (_, outcome) = line.split_once("is over: ")?;
            Some(outcome.to_owned())
        });
        let ends: Vec<String> = ends.collect();
        assert_eq!(ends.len(), 1, "one outcome each:\n{ladder}");
        for end in ends {
            *outcomes.entry(end).or_default() += 1;
        }
    }
    outcomes
}

/// The runs of these seeds, over as many threads as there are.
fn race(seeds: std::ops::Range<u64>, loss: u8) -> BTreeMap<String, u32> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let each = (seeds.end - seeds.start).div_ceil(threads);
    let mut all = BTreeMap::new();
    std::thread::scope(|scope| {
        let starts = (0..threads).map(|thread| seeds.start + thread * each);
        let parts = starts.map(|start| start..(start + each).min(seeds.end));
        let workers: Vec<_> = parts
            .map(|part| scope.spawn(move || outcomes(part, loss)))
            .collect();
        for worker in workers {
            let part = worker.join().unwrap_or_else(|panic| {
                std::panic::resume_unwind(panic);
            });
            for (outcome, times) in part {
                *all.entry(outcome).or_default() += times;
            }
        }
    });
    all
}

#[test]
fn call_that_everything_ends_at_once_has_one_outcome_and_leaves_nothing() {
    let outcomes = race(0..2_000, 0);
    for wanted in [
        "cancelled",
        "caller_hangup",
        "operator_hangup",
        "media_timeout",
        "BYE succeeded 200",
        "BYE succeeded",
        "REFER succeeded 200",
        "REFER caller_hangup_during_transfer",
        "REFER accepted_unknown",
        "INVITE succeeded 200",
        "INVITE caller_hangup_during_transfer",
    ] {
        assert!(outcomes.contains_key(wanted), "no {wanted}: {outcomes:#?}");
    }
}

#[test]
fn so_has_one_whose_ends_are_lost_late_and_doubled_on_the_way() {
    race(20_000..20_500, 20);
}
