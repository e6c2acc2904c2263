//! The plain stories: one call, calm weather, everybody does as wished.

use call_control::transfer::ReturnType;
use testbed::{Options, Verdict, World};

fn run(returns: ReturnType) -> Verdict {
    let verdict = World::run(1, &Options::plain(returns));
    assert!(verdict.violation.is_none(), "{}{verdict}", verdict.ladder);
    verdict
}

const ARRIVAL: [&str; 4] = [
    "sbc>gateway INVITE",
    "gateway>sbc 100 INVITE",
    "gateway>sbc 200 INVITE",
    "sbc>gateway ACK",
];

const BYE: [&str; 2] = ["gateway>sbc BYE", "sbc>gateway 200 BYE"];

fn story(middle: &[&str]) -> Vec<String> {
    let all = [&ARRIVAL, middle, &BYE].concat();
    all.into_iter().map(str::to_owned).collect()
}

fn notes(verdict: &Verdict) -> String {
    verdict.ladder.to_string()
}

#[test]
fn call_is_handed_back_by_bye() {
    let verdict = run(ReturnType::Bye);
    assert_eq!(verdict.ladder.messages(), story(&[]));
    assert!(notes(&verdict).contains("call for t-0 is over: BYE succeeded 200"));
}

#[test]
fn call_is_handed_back_by_refer_which_is_followed_to_its_final_notify() {
    let verdict = run(ReturnType::Refer);
    let middle = [
        "gateway>sbc REFER",
        "sbc>gateway 202 REFER",
        "sbc>gateway NOTIFY 100",
        "gateway>sbc 200 NOTIFY",
        "sbc>gateway NOTIFY 180",
        "gateway>sbc 200 NOTIFY",
        "sbc>gateway NOTIFY 200",
        "gateway>sbc 200 NOTIFY",
    ];
    assert_eq!(verdict.ladder.messages(), story(&middle));
    assert!(notes(&verdict).contains("call for t-0 is over: REFER succeeded 200"));
}

#[test]
fn call_is_handed_back_by_invite_and_the_targets_bye_crosses() {
    let verdict = run(ReturnType::Invite);
    let middle = [
        "gateway>target INVITE",
        "target>gateway 100 INVITE",
        "target>gateway 180 INVITE",
        "gateway>target PRACK",
        "target>gateway 200 PRACK",
        "target>gateway 200 INVITE",
        "gateway>target ACK",
        "target>gateway BYE",
        "gateway>target 200 BYE",
    ];
    assert_eq!(verdict.ladder.messages(), story(&middle));
    assert!(notes(&verdict).contains("call for t-0 is over: INVITE succeeded 200"));
}

#[test]
fn run_is_quiet_when_the_last_tombstone_is_gone() {
    let verdict = run(ReturnType::Refer);
    let last = verdict.ladder.rungs().last().expect("something happened");
    let after = (verdict.ended - last.at).as_millis();
    assert!(after > 30_000, "64·T1 after the BYE's answer: {after}");
}
