//! The torture messages of `tests/torture` against the whole endpoint, from a listed source and from a stranger.

#[path = "../../../../../tests/torture/table.rs"]
#[allow(dead_code, unreachable_pub)]
mod table;

use super::*;
use table::{Row, folder, rows};

fn all() -> Vec<Row> {
    rows(&folder(env!("CARGO_MANIFEST_DIR")))
}

/// What one message leads to: `invited`, a status, or `none`; nothing more, and nothing kept.
fn outcome(config: &EndpointConfig, bytes: &[u8]) -> String {
    let mut bench = Bench::new(config.clone());
    bench.admits = false;
    let message = Message::parse(Bytes::copy_from_slice(bytes), &Limits::default());
    let flow = bench.flow;
    bench.input(Input::Received { flow, message });
    assert!(
        bench.sent.len() + bench.invited.len() <= 1,
        "one answer at most"
    );
    let census = bench.endpoint.census();
    assert_eq!(
        census.legs + census.transactions + census.dialogs,
        0,
        "refusals are stateless"
    );
    match (bench.sent.pop(), bench.invited.pop()) {
        (Some((_, answer)), _) => answer
            .status()
            .map_or_else(|| "a request".to_owned(), |status| status.to_string()),
        (None, Some(_)) => "invited".to_owned(),
        (None, None) => "none".to_owned(),
    }
}

#[test]
fn every_torture_message_has_its_verdict_from_the_endpoint() {
    let config = gateway();
    let wrong: Vec<String> = all()
        .iter()
        .map(|row| (row, outcome(&config, &row.bytes)))
        .filter(|(row, outcome)| *outcome != row.endpoint)
        .map(|(row, outcome)| format!("{}: {outcome} and not {}", row.name, row.endpoint))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Strangers learn that their message is broken (the table's first row), that no dialog is theirs,
/// and nothing else.
#[test]
fn a_torture_message_of_a_stranger_gets_403_or_what_is_wrong_with_it() {
    let config = EndpointConfig {
        trunks: vec![trunk(&["198.51.100.0/24"])],
        ..gateway()
    };
    let mut wrong = Vec::new();
    for row in all() {
        let found = outcome(&config, &row.bytes);
        let wanted = match (row.parser.as_str(), row.endpoint.as_str()) {
            (_, "none") => "none",
            ("valid", "481") if !found.contains("403") => "481",
            ("valid", _) => "403",
            (broken, _) => broken,
        };
        if found != wanted {
            wrong.push(format!("{}: {found} and not {wanted}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_torture_message_of_a_stranger_gets_nothing_where_strangers_get_silence() {
    let config = EndpointConfig {
        trunks: vec![trunk(&["198.51.100.0/24"])],
        unauthenticated: crate::Unauthenticated::Silence,
        ..gateway()
    };
    let heard: Vec<String> = all()
        .into_iter()
        .filter(|row| outcome(&config, &row.bytes) != "none")
        .map(|row| row.name)
        .collect();
    assert!(heard.is_empty(), "{heard:?}");
}

#[test]
fn an_answer_to_a_stranger_is_not_much_longer_than_what_it_answers() {
    let config = EndpointConfig {
        trunks: vec![trunk(&["198.51.100.0/24"])],
        ..gateway()
    };
    for row in all() {
        let mut bench = Bench::new(config.clone());
        let message = Message::parse(Bytes::copy_from_slice(&row.bytes), &Limits::default());
        let flow = bench.flow;
        bench.input(Input::Received { flow, message });
        let sent: usize = bench
            .sent
            .iter()
            .map(|(_, answer)| answer.bytes().len())
            .sum();
        assert!(
            sent <= row.bytes.len() + 200,
            "{}: {sent} bytes for {}",
            row.name,
            row.bytes.len()
        );
    }
}
