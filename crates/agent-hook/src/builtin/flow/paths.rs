//! Where a flow can go: states that are never reached, and circles in which nobody is asked anything.

use super::program::{Flow, Outcome, State, Target};

/// What is wrong with the flow's paths: the line of a state and a sentence.
pub(super) fn findings(flow: &Flow) -> Vec<(u64, String)> {
    let mut findings = unreached(flow);
    findings.extend(circles(flow));
    findings
}

fn unreached(flow: &Flow) -> Vec<(u64, String)> {
    let mut reached = vec![false; flow.states.len()];
    let mut ahead = vec![flow.start];
    while let Some(number) = ahead.pop() {
        if !std::mem::replace(&mut reached[number], true) {
            ahead.extend(followers(&flow.states[number]));
        }
    }
    let states = flow.states.iter().zip(reached);
    states
        .filter(|(_, reached)| !reached)
        .map(|(state, _)| {
            (
                state.line,
                format!("state {:?} is never reached", state.name),
            )
        })
        .collect()
}

/// Circles that a caller who does nothing never leaves.
fn circles(flow: &Flow) -> Vec<(u64, String)> {
    // 0: not visited, 1: on the way, 2: done
    let mut visited = vec![0_u8; flow.states.len()];
    let mut findings = Vec::new();
    for first in 0..flow.states.len() {
        let mut way = Vec::new();
        let mut next = Some(first);
        while let Some(number) = next {
            if visited[number] == 1 {
                let start = way.iter().position(|seen| *seen == number).unwrap_or(0);
                let names: Vec<&str> = way[start..]
                    .iter()
                    .map(|n: &usize| flow.states[*n].name.as_str())
                    .collect();
                let finding = format!(
                    "loop without input: {} → {}",
                    names.join(" → "),
                    names.first().unwrap_or(&"")
                );
                findings.push((flow.states[number].line, finding));
            }
            if visited[number] != 0 {
                break;
            }
            visited[number] = 1;
            way.push(number);
            next = without_input(&flow.states[number]);
        }
        for number in way {
            visited[number] = 2;
        }
    }
    findings
}

/// Where a state leads when the caller does nothing.
fn without_input(state: &State) -> Option<usize> {
    let target = match &state.collect {
        None => state.then.as_ref(),
        Some(collect) => collect.action(&Outcome::Timeout).map(|action| &action.then),
    };
    target.and_then(number)
}

fn followers(state: &State) -> Vec<usize> {
    let actions = state.collect.iter().flat_map(|collect| &collect.on);
    let targets = actions.map(|(_, action)| &action.then);
    targets.chain(&state.then).filter_map(number).collect()
}

fn number(target: &Target) -> Option<usize> {
    match target {
        Target::State(number) => Some(*number),
        Target::Complete(_) => None,
    }
}
