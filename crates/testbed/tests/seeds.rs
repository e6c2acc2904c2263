//! Hundreds of seeds: three calls each, on which anything may happen.

use std::collections::BTreeSet;

use call_control::transfer::ReturnType;
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

/// Runs with these behaviours and nothing else.
fn only(seeds: std::ops::Range<u64>, loss: u8, behaviours: &[Behaviour]) -> Vec<Verdict> {
    let mut options = Options::wild(loss);
    options.behaviours = behaviours.iter().copied().collect();
    if behaviours.contains(&Behaviour::Forks) || behaviours.contains(&Behaviour::Unruly) {
        options.returns = Some(ReturnType::Invite);
    }
    hold(seeds, &options)
}

fn has_all(verdicts: &[Verdict], wanted: &[&str]) {
    let all: String = verdicts
        .iter()
        .map(|verdict| verdict.ladder.to_string())
        .collect();
    let messages: BTreeSet<String> = verdicts
        .iter()
        .flat_map(|verdict| verdict.ladder.messages())
        .collect();
    for wanted in wanted {
        let found = messages.contains(*wanted) || all.contains(wanted);
        assert!(found, "{wanted} is missing");
    }
}

#[test]
fn restarted_gateway_knows_no_dialog_and_the_store_has_what_the_dead_one_left() {
    let behaviours = [Behaviour::GatewayRestarts, Behaviour::HangUp];
    let verdicts = only(8_000..8_300, 0, &behaviours);
    has_all(
        &verdicts,
        &[
            "gateway dies",
            "gateway is there again",
            "completed by the restart",
            "gateway>sbc 481 BYE",
            "gateway>target 481 BYE",
        ],
    );
}

#[test]
fn restarted_sbc_and_target_know_no_dialog_and_the_gateway_lets_go_of_theirs() {
    let behaviours = [Behaviour::SbcRestarts, Behaviour::TargetRestarts];
    let verdicts = only(8_300..8_600, 0, &behaviours);
    let wanted = ["sbc>gateway 481 BYE", "target>gateway 481 BYE"];
    has_all(&verdicts, &wanted);
}

#[test]
fn of_several_phones_that_answer_one_is_kept_and_the_others_are_let_go() {
    let verdicts = only(9_000..9_200, 10, &[Behaviour::Forks]);
    let wanted = ["ring: 4, answer: 3", "INVITE succeeded 200"];
    has_all(&verdicts, &wanted);
}

#[test]
fn unruly_target_gets_for_each_of_its_doings_what_the_rfcs_say() {
    let behaviours = [Behaviour::Unruly, Behaviour::Stream];
    let verdicts = only(9_200..9_600, 0, &behaviours);
    has_all(
        &verdicts,
        &[
            "gateway>unruly 481 BYE",
            "gateway>unruly 481 NOTIFY",
            "gateway>unruly 488 INVITE",
            "gateway>unruly 500 OPTIONS",
            "gateway>unruly 501 FROB",
            "gateway>unruly 603 REFER",
            "gateway>unruly 200 INFO",
            "gateway>unruly 200 UPDATE",
            "gateway>unruly CANCEL",
            "gateway>unruly BYE",
        ],
    );
}

#[test]
fn calls_outlast_their_session_intervals_with_refreshes_of_every_kind() {
    let verdicts = only(9_600..10_000, 20, &[Behaviour::Long, Behaviour::Rough]);
    has_all(
        &verdicts,
        &[
            "gateway>sbc UPDATE",
            "target>gateway UPDATE",
            "gateway>rough UPDATE",
            "gateway>rough INVITE",
            "rough>gateway UPDATE",
            "rough>gateway INVITE",
        ],
    );
}

#[test]
fn agent_may_say_anything_and_die_at_any_time() {
    let behaviours = [
        Behaviour::AgentFails,
        Behaviour::AgentsRestart,
        Behaviour::ReferFails,
    ];
    let verdicts = only(10_400..10_550, 5, &behaviours);
    has_all(
        &verdicts,
        &[
            "agent stalls",
            "agent updates",
            "agent says hello",
            "agent has the call again",
            "agent gone",
            "agent not reached",
        ],
    );
}
