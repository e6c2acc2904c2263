//! `handback ladder`: what was said in SIP for one call.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::admin::{Admin, Gateway, Unanswered};
use super::{Paint, say};
use crate::demo::{Entry, Party, Step, render};

/// Parties beside the caller and the gateway that are shown.
const MOST_TARGETS: usize = 4;
/// The gateway's column.
const GATEWAY: usize = 1;

/// Arguments of `handback ladder`.
#[derive(Debug, Args)]
pub(super) struct LadderOf {
    /// The gateway's id of the call, as `handback calls` and the log have it
    call: String,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Debug, Deserialize)]
struct Ladder {
    lines: Vec<Line>,
    dropped: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    at_ms: u64,
    direction: String,
    local: SocketAddr,
    remote: SocketAddr,
    what: String,
}

/// A call as far as its ladder is concerned; live ones have no record yet.
#[derive(Debug, Deserialize)]
struct Call {
    record: Option<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    #[serde(default)]
    timeline: Vec<Moment>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Moment {
    at_ms: u64,
    what: String,
}

impl LadderOf {
    pub(super) async fn run(self) -> ExitCode {
        let found = match self.admin.gateway() {
            Ok(gateway) => asked(&gateway, &self.call).await,
            Err(problem) => Err(problem),
        };
        match found {
            Ok((ladder, moments)) => {
                say(&drawn(&ladder, &moments, Paint::for_stdout()));
                ExitCode::SUCCESS
            }
            Err(problem) => problem.say(),
        }
    }
}

async fn asked(gateway: &Gateway, call: &str) -> Result<(Ladder, Vec<Moment>), Unanswered> {
    let id = utf8_percent_encode(call, NON_ALPHANUMERIC);
    let ladder = gateway.get(&format!("/calls/{id}/ladder")).await?;
    let shown: Call = gateway.get(&format!("/calls/{id}")).await?;
    let moments = shown.record.map_or_else(Vec::new, |record| record.timeline);
    Ok((ladder, moments))
}

fn drawn(ladder: &Ladder, moments: &[Moment], paint: Paint) -> String {
    let parties = parties(ladder);
    let of = |line: &Line| {
        let peer = parties
            .iter()
            .position(|party| party.address == Some(line.remote));
        let peer = peer.unwrap_or(0);
        let (from, to) = if line.direction == "in" {
            (peer, GATEWAY)
        } else {
            (GATEWAY, peer)
        };
        Step::Message {
            from,
            to,
            label: line.what.clone(),
        }
    };
    let messages = ladder.lines.iter().map(|line| (line.at_ms, of(line)));
    let notes = moments
        .iter()
        .map(|moment| (moment.at_ms, Step::Note(moment.what.clone())));
    let mut steps: Vec<(u64, Step)> = messages.chain(notes).collect();
    steps.sort_by_key(|(at, _)| *at);
    let entries: Vec<Entry> = steps
        .into_iter()
        .map(|(at, step)| Entry {
            at: Duration::from_millis(at),
            step,
        })
        .collect();
    let mut text = render(&parties, &entries, paint);
    if ladder.dropped > 0 {
        text.push_str(&format!("\n{} more messages are not kept", ladder.dropped));
    }
    text
}

/// The caller, the gateway, and whom the call was returned to, in the order in which they are met.
fn parties(ladder: &Ladder) -> Vec<Party> {
    let first = ladder.lines.first();
    let party = |name: &str, address: Option<SocketAddr>| Party {
        name: name.to_owned(),
        address,
    };
    let mut parties = vec![
        party("caller", first.map(|line| line.remote)),
        party("handback", first.map(|line| line.local)),
    ];
    for line in &ladder.lines {
        let is_new = parties
            .iter()
            .all(|party| party.address != Some(line.remote));
        if is_new && parties.len() < 2 + MOST_TARGETS {
            parties.push(party("target", Some(line.remote)));
        }
    }
    parties
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at_ms: u64, direction: &str, remote: u16, what: &str) -> Line {
        Line {
            at_ms,
            direction: direction.to_owned(),
            local: ([127, 0, 0, 1], 5060).into(),
            remote: ([127, 0, 0, 1], remote).into(),
            what: what.to_owned(),
        }
    }

    #[test]
    fn caller_gateway_and_target_stand_side_by_side_with_what_happened_between() {
        let ladder = Ladder {
            lines: vec![
                line(0, "in", 6000, "INVITE"),
                line(5, "out", 6000, "200 OK INVITE"),
                line(900, "out", 7000, "INVITE"),
            ],
            dropped: 2,
        };
        let moment = Moment {
            at_ms: 800,
            what: "agent completed".to_owned(),
        };
        let text = drawn(&ladder, &[moment], Paint::plain());
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].contains("caller") && lines[0].contains("target"),
            "{text}"
        );
        assert!(
            lines[2].contains("│── INVITE ") && lines[2].contains("▶│"),
            "{text}"
        );
        assert!(lines[3].contains("◀"), "{text}");
        assert!(lines[4].contains("agent completed"), "{text}");
        assert!(lines[5].ends_with("▶│"), "{text}");
        assert_eq!(lines[6], "2 more messages are not kept");
    }
}
