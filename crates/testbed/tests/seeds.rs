//! Hundreds of seeds: three calls each, on which anything may happen.

use std::collections::BTreeSet;

use testbed::{Behaviour, Options, Verdict, World};

/// Runs seeds at a loss; the first that breaks a rule is shown with its ladder.
fn hold(seeds: std::ops::Range<u64>, options: &Options) -> Vec<Verdict> {
    let run = |seed| {
        let verdict = World::run(seed, options);
        let broken = verdict.violation.is_some();
        assert!(!broken, "{}{verdict}\n{options:?}", verdict.ladder);
        verdict
    };
    seeds.map(run).collect()
}

#[test]
fn every_rule_holds_where_nothing_is_lost() {
    hold(0..100, &Options::wild(0));
}

#[test]
fn every_rule_holds_with_ten_percent_lost() {
    hold(1_000..1_100, &Options::wild(10));
}

#[test]
fn every_rule_holds_with_twenty_percent_lost() {
    hold(2_000..2_100, &Options::wild(20));
}

#[test]
fn every_rule_holds_with_thirty_percent_lost() {
    hold(3_000..3_100, &Options::wild(30));
}

#[test]
fn same_seed_makes_the_same_ladder_and_another_does_not() {
    let run = |seed| World::run(seed, &Options::wild(20)).ladder.to_string();
    for seed in 10..20 {
        assert_eq!(run(seed), run(seed));
    }
    let ladders: BTreeSet<String> = (10..20).map(run).collect();
    assert_eq!(ladders.len(), 10);
}

#[test]
fn seeds_reach_every_end_that_a_call_can_have() {
    let ladders = hold(5_000..5_150, &Options::wild(10));
    let all: String = ladders
        .iter()
        .map(|verdict| verdict.ladder.to_string())
        .collect();
    for outcome in [
        "BYE succeeded 200",
        "REFER succeeded 200",
        "INVITE succeeded 200",
        "REFER accepted_unknown",
        "REFER caller_hangup_during_transfer",
        "REFER timed_out",
        "REFER failed 603, INVITE",
        "INVITE unreachable, BYE succeeded",
        "INVITE timed_out, BYE succeeded",
        "INVITE failed 408, BYE succeeded",
        "refused 486",
        "refused 410",
        "refused 503",
        "cancelled",
        "caller_hangup",
        "media_timeout",
    ] {
        let wanted = format!("is over: {outcome}");
        assert!(all.contains(&wanted), "no call ended as {outcome}");
    }
    for happening in [
        "302 INVITE",
        "401 INVITE",
        "183 INVITE",
        "✗ lost",
        "(×2)",
        "store not available",
        "connections break",
    ] {
        assert!(all.contains(happening), "no {happening}");
    }
}

#[test]
fn rough_caller_gets_for_each_of_its_doings_what_the_rfcs_say() {
    let mut options = Options::wild(0);
    options.behaviours = [Behaviour::Rough, Behaviour::ReferFails].into();
    let ladders = hold(7_000..7_300, &options);
    let messages = ladders.iter().flat_map(|verdict| verdict.ladder.messages());
    let messages: BTreeSet<String> = messages.collect();
    for answer in [
        "420 INVITE",
        "482 INVITE",
        "487 INVITE",
        "488 INVITE",
        "500 INVITE",
        "500 OPTIONS",
        "501 FROB",
        "405 MESSAGE",
        "481 BYE",
        "481 CANCEL",
        "481 NOTIFY",
        "489 NOTIFY",
        "481 PRACK",
        "200 INFO",
        "200 OPTIONS",
        "200 UPDATE",
        "400 INFO",
        "505 INFO",
    ] {
        let wanted = format!("gateway>rough {answer}");
        assert!(messages.contains(&wanted), "{wanted} is missing");
    }
    for answer in [
        "401 BYE",
        "407 BYE",
        "401 REFER",
        "202 REFER",
        "603 REFER",
        "NOTIFY 100",
    ] {
        let wanted = format!("rough>gateway {answer}");
        assert!(messages.contains(&wanted), "{wanted} is missing");
    }
}
