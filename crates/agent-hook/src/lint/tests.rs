use super::*;
use serde_json::{Value, json};

const SID: &str = "MZ00000000000000000000000000000001";

fn start() -> Value {
    json!({"event":"start","sequenceNumber":"1","streamSid":SID,"start":{
        "accountSid":"AC00000000000000000000000000000001","callSid":"CA00000000000000000000000000000001",
        "streamSid":SID,"tracks":["inbound"],
        "mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},"customParameters":{}}})
}

fn connected() -> Value {
    json!({"event":"connected","protocol":"Call","version":"1.0.0"})
}

fn media(sequence: u64, chunk: u64) -> Value {
    json!({"event":"media","sequenceNumber":sequence.to_string(),"streamSid":SID,"media":{
        "track":"inbound","chunk":chunk.to_string(),"timestamp":(chunk * 20 - 20).to_string(),
        "payload":STANDARD.encode([0xff; 160])}})
}

fn stop(sequence: u64) -> Value {
    json!({"event":"stop","sequenceNumber":sequence.to_string(),"streamSid":SID,"stop":{
        "accountSid":"AC00000000000000000000000000000001","callSid":"CA00000000000000000000000000000001"}})
}

fn said(payload: &[u8]) -> Value {
    json!({"event":"media","streamSid":SID,"media":{"payload":STANDARD.encode(payload)}})
}

/// `line: rule` of everything found.
fn lint(messages: &[Value]) -> Vec<String> {
    let mut linter = Linter::new();
    for message in messages {
        linter.line(&message.to_string());
    }
    let (count, findings) = linter.finish();
    assert_eq!(count, messages.len());
    findings
        .iter()
        .map(|finding| format!("{}: {}", finding.line, finding.rule))
        .collect()
}

#[test]
fn recording_of_both_directions_that_keeps_to_the_protocol_passes() {
    let mark = json!({"event":"mark","sequenceNumber":"5","streamSid":SID,"mark":{"name":"a","played":true,"sample":320}});
    let answered = json!({"event":"hook.completed","accepted":true});
    let messages = [
        connected(),
        start(),
        media(2, 1),
        json!({"event":"hook.hello","version":"1.0","features":["marks2"]}),
        json!({"event":"hook.welcome","version":"1.0","features":["marks2"]}),
        said(&[0; 500]),
        json!({"event":"mark","streamSid":SID,"mark":{"name":"a"}}),
        media(4, 3),
        mark,
        json!({"event":"hook.complete","outputContext":{"transferType":"AGENT"}}),
        answered,
        stop(7),
    ];
    assert_eq!(lint(&messages), [""; 0]);
    let wrapped: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(n, message)| json!({"at_ms": n, "from": if [3, 5, 6, 9].contains(&n) { "agent" } else { "gateway" }, "message": message}))
        .collect();
    assert_eq!(lint(&wrapped), [""; 0]);
}

#[test]
fn deviations_of_a_gateway_are_named_with_their_line() {
    let table = [
        (vec![start(), media(2, 1)], vec![]),
        (
            vec![connected(), media(1, 1), start()],
            vec!["2: order", "3: sequence"],
        ),
        (
            vec![connected(), start(), start()],
            vec!["3: order", "3: sequence"],
        ),
        (
            vec![connected(), start(), media(2, 1), media(2, 2)],
            vec!["4: sequence"],
        ),
        (
            vec![connected(), start(), media(2, 2), media(3, 2)],
            vec!["4: timestamp"],
        ),
        (
            vec![connected(), start(), stop(2), media(3, 1)],
            vec!["4: order"],
        ),
    ];
    for (messages, expected) in table {
        assert_eq!(lint(&messages), expected, "{messages:?}");
    }
    let changed = |pointer: &str, value: Value| {
        let mut message = media(2, 1);
        *message.pointer_mut(pointer).unwrap() = value;
        lint(&[connected(), start(), message])
    };
    assert_eq!(changed("/media/timestamp", json!("20")), ["3: timestamp"]);
    assert_eq!(changed("/media/timestamp", json!(0)), ["3: fields"]);
    assert_eq!(changed("/media/chunk", json!("0x1")), ["3: media-number"]);
    assert_eq!(changed("/media/payload", json!("/w==")), ["3: media-size"]);
    assert_eq!(changed("/media/track", json!("outbound")), ["3: track"]);
    assert_eq!(changed("/streamSid", json!("MZ2")), ["3: stream-sid"]);
}

#[test]
fn deviations_of_an_agent_are_named_with_their_line() {
    let complete = json!({"event":"hook.complete","outputContext":{"transferType":"SYSTEM"}});
    let large = json!({"event":"hook.update","referenceVariables":{"x":"y".repeat(65_536)}});
    let table = [
        (vec![said(b"RIFF....WAVE")], "1: payload"),
        (
            vec![json!({"event":"media","media":{"payload":"!"}})],
            "1: payload",
        ),
        (vec![json!({"event":"media","media":{}})], "1: fields"),
        (vec![json!({"event":"speak"})], "1: unknown-event"),
        (vec![json!({"evnt":"media"})], "1: event"),
        (vec![json!([1])], "1: json"),
        (
            vec![start(), json!({"event":"clear","streamSid":"MZ9"})],
            "2: stream-sid",
        ),
        (
            vec![json!({"event":"hook.hello","features":[]})],
            "1: hello",
        ),
        (
            vec![json!({"event":"hook.hello","version":"1.0","features":["magic"]})],
            "1: hello",
        ),
        (
            vec![json!({"event":"hook.complete","outputContext":{"transferType":"agent"}})],
            "1: fields",
        ),
        (vec![complete, said(&[0; 160])], "2: after-complete"),
        (
            vec![json!({"event":"hook.sendDtmf","digits":"12x"})],
            "1: digits",
        ),
        (vec![large], "1: variables"),
        (
            vec![json!({"event":"hook.transcript","text":"a","startMs":20,"endMs":10})],
            "1: transcript",
        ),
    ];
    for (messages, expected) in table {
        assert_eq!(lint(&messages), [expected], "{expected}");
    }
}

#[test]
fn marks_must_come_back_and_nothing_else_may() {
    let ask = |name: &str| json!({"event":"mark","streamSid":SID,"mark":{"name":name}});
    let give = |n: u64, name: &str| json!({"event":"mark","sequenceNumber":n.to_string(),"streamSid":SID,"mark":{"name":name}});
    let begin = || vec![connected(), start()];
    let run = |rest: Vec<Value>| lint(&[begin(), rest].concat());
    assert_eq!(
        run(vec![
            ask("a"),
            ask("b"),
            give(2, "a"),
            give(3, "b"),
            stop(4)
        ]),
        [""; 0]
    );
    assert_eq!(
        run(vec![
            ask("a"),
            ask("b"),
            give(2, "b"),
            give(3, "a"),
            stop(4)
        ]),
        ["5: mark"]
    );
    assert_eq!(run(vec![ask("a"), stop(2)]), ["4: mark"]);
    assert_eq!(run(vec![ask("a"), give(2, "a"), give(3, "a")]), ["5: mark"]);
}

#[test]
fn what_only_follows_a_hello_is_not_said_before_it() {
    let phase = json!({"event":"hook.phase","phase":"bridged","tracks":["inbound"]});
    assert_eq!(
        lint(&[connected(), start(), said(&[0; 160]), phase]),
        ["4: hello"]
    );
}
