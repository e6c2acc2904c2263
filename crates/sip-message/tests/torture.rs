//! The torture messages of `tests/torture`: accepted or refused, and read as they are meant.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::too_many_lines, reason = "a table")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "the table serves other crates too"
)]

#[path = "../../../tests/torture/table.rs"]
mod table;

use std::collections::BTreeSet;

use bytes::Bytes;
use sip_message::{Limits, Message, NameAddr, find_part};
use table::{Row, folder, rows};

fn all() -> Vec<Row> {
    rows(&folder(env!("CARGO_MANIFEST_DIR")))
}

fn judge(bytes: &[u8]) -> String {
    let parsed = Message::parse(Bytes::copy_from_slice(bytes), &Limits::default());
    match parsed.and_then(|message| message.validate()) {
        Ok(()) => "valid".to_owned(),
        Err(error) if error.salvage.is_some() => error.status.to_string(),
        Err(_) => "none".to_owned(),
    }
}

#[test]
fn every_torture_message_has_its_verdict_from_the_parser() {
    let wrong: Vec<String> = all()
        .iter()
        .filter(|row| judge(&row.bytes) != row.parser)
        .map(|row| format!("{}: {} and not {}", row.name, judge(&row.bytes), row.parser))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_section_of_rfc_4475_and_rfc_5118_has_a_message_and_every_message_a_row() {
    let folder = folder(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(folder.join("verdicts.md")).unwrap();
    let sections: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `rfc"))
        .filter_map(|line| line.split('|').nth(2).map(str::trim))
        .collect();
    let counted =
        |prefix: &'static str, count: usize| (1..=count).map(move |n| format!("{prefix}.{n}"));
    let wanted = counted("3.1.1", 13)
        .chain(counted("3.1.2", 19))
        .chain(counted("3.2", 1))
        .chain(counted("3.3", 15))
        .chain(counted("3.4", 1))
        .chain(counted("4", 10));
    let missing: Vec<String> = wanted
        .filter(|section| !sections.contains(section.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let named: BTreeSet<String> = all().into_iter().map(|row| row.name).collect();
    for group in ["rfc4475", "rfc5118", "tricks"] {
        for file in std::fs::read_dir(folder.join("messages").join(group)).unwrap() {
            let stem = file
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            assert!(
                named.contains(&format!("{group}/{stem}")),
                "{group}/{stem} has no row"
            );
        }
    }
}

/// What a reader of the message sees.
fn reading(name: &str) -> Vec<String> {
    let row = all().into_iter().find(|row| row.name == name).expect(name);
    let message = Message::parse(Bytes::from(row.bytes), &Limits::default()).expect(name);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let address = |found: NameAddr| {
        let display = found.display().map(|name| text(&name)).unwrap_or_default();
        let tag = found.tag().map(text).unwrap_or_default();
        format!("{display}|{}|{tag}", found.uri())
    };
    let via = message.via().unwrap();
    let cseq = message.cseq().unwrap();
    let mut seen = vec![
        format!(
            "via {} {:?} {}",
            text(via.host()),
            via.port(),
            text(via.branch().unwrap_or_default())
        ),
        format!("vias {}", message.vias().flatten().count()),
        format!("from {}", message.from().map(address).unwrap()),
        format!("to {}", message.to().map(address).unwrap()),
        format!("call {}", text(message.call_id().unwrap())),
        format!("cseq {} {}", cseq.number, cseq.method),
        format!("hops {:?}", message.max_forwards().unwrap()),
        format!("body {}", message.body().len()),
    ];
    if message.is_request() {
        let target = message.target().unwrap();
        let user = target.user_decoded().unwrap_or_default();
        seen.push(format!("user {}", text(&user)));
        seen.push(format!("host {} {:?}", text(target.host()), target.port()));
    }
    seen.extend(
        message
            .contacts()
            .flatten()
            .map(|contact| format!("contact {}", address(contact))),
    );
    if let Some(reason) = message.reason_phrase() {
        seen.push(format!("reason {}", text(reason)));
    }
    if let Some(id) = message.header("X-ASAPP-CallTransferId") {
        seen.push(format!("transfer {}", text(&id)));
    }
    if let Some(sdp) = find_part(&message, "application/sdp") {
        seen.push(format!("sdp {}", sdp.starts_with(b"v=0\r\n")));
    }
    seen
}

#[test]
fn odd_messages_are_read_as_they_are_meant() {
    let table: &[(&str, &[&str])] = &[
        (
            "rfc4475/tortuous_invite",
            &[
                "via harbour.example Some(5066) z9hG4bKtort",
                "vias 2",
                "from Quill Ink|sip:quill@harbour.example|77a-Zz",
                "to Night \\ desk \"|sip:agent@gw.lantern.example|",
                "call whitespace.everywhere(1)@harbour.example",
                "cseq 12 INVITE",
                "hops Some(69)",
                "user agent",
                "contact Quill \\\"Q\\\"|sip:quill@127.0.0.66:5066|",
                "transfer torture",
                "sdp true",
            ],
        ),
        (
            "rfc4475/every_character_a_token_may_have",
            &[
                "cseq 1 -.!%*_+`'~Lantern09",
                "from lamp1~` lamp2'+_ lit*%!.-|sip:quill@harbour.example|_lamp~1'+`*%!-.",
                "call lamp%Q*-.!_+`'~()<>:\\\"/[]?{}@harbour.example",
                "user &=+$,;?/-_.!~*'()lamp",
                "host gw.lantern.example Some(5060)",
            ],
        ),
        (
            "rfc4475/escapes_are_no_separators",
            &[
                "user sip:agent@gw.lantern.example",
                "to |sip:%61gent@gw.lantern.example|",
            ],
        ),
        ("rfc4475/user_in_escapes_is_the_user", &["user agent"]),
        ("rfc4475/escaped_nul_in_the_user", &["user agent\0"]),
        (
            "rfc4475/percent_that_escapes_nothing",
            &[
                "cseq 5 RE%46ER",
                "from %Quill%|sip:quill@harbour.example|%41",
            ],
        ),
        (
            "rfc4475/no_space_before_the_bracket",
            &["from Quill|sip:quill@harbour.example|323"],
        ),
        ("rfc4475/long_values", &["vias 31", "user agent"]),
        (
            "rfc4475/semicolon_in_the_user",
            &["user agent;lamp=u@edge", "host gw.lantern.example None"],
        ),
        ("rfc4475/transports_of_any_name", &["vias 4"]),
        ("rfc4475/multipart_with_binary_part", &["sdp true"]),
        (
            "rfc4475/unusual_reason_phrase",
            &["reason = lamp(s) 2**3 \"лампа\" <lit>"],
        ),
        ("rfc4475/empty_reason_phrase", &["reason "]),
        (
            "rfc4475/schemes_that_nobody_knows_in_addresses",
            &[
                "from |http://harbour.example/quill|4",
                "to |isbn:2983792873|",
            ],
        ),
        (
            "rfc4475/invite_of_rfc_2543",
            &[
                "via harbour.example Some(5066) ",
                "from Quill Ink|sip:quill@harbour.example|",
                "hops None",
            ],
        ),
        (
            "rfc5118/port_inside_the_brackets",
            &["host [2001:db8::10:5070] None"],
        ),
        (
            "rfc5118/port_behind_the_brackets",
            &["host [2001:db8::10] Some(5070)"],
        ),
        (
            "rfc5118/several_addresses_in_vias",
            &["via [2001:db8::66] Some(5066) z9hG4bK-six-vias", "vias 3"],
        ),
        (
            "rfc5118/mapped_ipv4_address",
            &["contact Quill|sip:quill@[::ffff:192.0.2.66]|"],
        ),
        ("rfc5118/two_colons", &["host [2001:db8::192.0.2.1] None"]),
        ("tricks/transfer_header_with_a_space", &["transfer torture"]),
        ("tricks/transfer_header_with_a_tab", &["transfer torture"]),
        ("tricks/transfer_header_folded", &["transfer torture"]),
        (
            "tricks/transfer_header_folded_in_the_value",
            &["transfer tor ture"],
        ),
        (
            "tricks/transfer_id_of_escaped_line_ends",
            &["transfer t%0d%0aVia: SIP/2.0/UDP trap.example", "vias 1"],
        ),
        (
            "tricks/line_ends_in_the_display_name",
            &["from Quill INFO forged line|sip:quill@harbour.example|e"],
        ),
        ("tricks/length_in_a_fold_of_another_field", &["body 5"]),
        ("tricks/length_with_leading_zeros", &["body 5"]),
    ];
    for (name, wanted) in table {
        let seen = reading(name);
        for line in *wanted {
            assert!(
                seen.iter().any(|have| have == line),
                "{name}: {line:?} is not in {seen:#?}"
            );
        }
    }
    assert!(
        !reading("tricks/transfer_header_hidden_in_a_fold")
            .iter()
            .any(|line| line.starts_with("transfer"))
    );
    assert!(
        !reading("tricks/transfer_header_in_the_body")
            .iter()
            .any(|line| line.starts_with("transfer"))
    );
}
