//! An agent behind a WebSocket, as an unmodified server of Twilio Media Streams.

use std::time::{Duration, Instant};

use serde_json::json;
use stories::{AgentServer, AgentSession, Call, Lab, Target, Transport, eventually, speech};

fn contains(heard: &[u8], said: &[u8]) -> bool {
    heard.windows(said.len()).any(|window| window == said)
}

async fn until_heard(what: &str, said: &[u8], heard: impl Fn() -> Vec<u8>) {
    eventually(what, async || contains(&heard(), said).then_some(())).await;
}

/// A call and its agent.
async fn talking(
    agent: &AgentServer,
    settings: &[(&str, &str)],
    id: &str,
    sip: serde_json::Value,
) -> (Lab, Call, AgentSession) {
    let url = agent.url();
    let hook = [("agent.hook", url.as_str())];
    let lab = Lab::start(&[&hook, settings].concat()).await;
    lab.register(id, json!({ "sip": sip })).await;
    let (call, session) = tokio::join!(Call::place(&lab, Transport::Udp, id), agent.accept());
    (lab, call, session)
}

fn complete() -> serde_json::Value {
    json!({ "event": "hook.complete", "id": "c1", "outputContext": {
        "transferType": "SYSTEM",
        "currentTaskName": "paid",
        "referenceVariables": { "nested": { "deep": [1, 2.50, null] } },
        "transferVariables": { "confirmation": "A-77" },
    } })
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_hears_speaks_gets_keys_and_marks_and_completes() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "ws-1", json!({})).await;
    let start = &session.start["start"];
    assert_eq!(start["customParameters"]["taskName"], "billing");
    assert_eq!(start["customParameters"]["customer"], "Ann");
    assert_eq!(start["customParameters"]["resume"], "0");
    assert_eq!(start["mediaFormat"]["encoding"], "audio/x-mulaw");
    assert_eq!(session.start["hook"]["call"]["transferId"], "ws-1");

    let (said, answered) = (speech(20), speech(35).split_off(15 * 160));
    let media = call.media;
    session.say(&answered).await;
    session
        .send(json!({ "event": "mark", "mark": { "name": "answered" } }))
        .await;
    call.sound.say(media, &said).await;
    until_heard("the agent to hear the caller", &said[160..], || {
        session.heard("inbound")
    })
    .await;
    until_heard("the caller to hear the agent", &answered, || {
        call.sound.heard()
    })
    .await;
    let mark = session.event("mark").await;
    assert_eq!(mark["mark"]["name"], "answered");
    assert_eq!(mark["mark"]["played"], true);

    call.sound.press(media, "5").await;
    assert_eq!(session.event("dtmf").await["dtmf"]["digit"], "5");

    session.send(complete()).await;
    assert_eq!(session.event("hook.completed").await["accepted"], true);
    call.until_handed_back_by_bye(&lab, "ws-1").await;
    assert_eq!(
        lab.fetch("ws-1").await["outputContext"],
        complete()["outputContext"]
    );
    session.event("stop").await;
    session.until_closed().await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_silences_what_is_queued_and_returns_its_marks() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "ws-2", json!({})).await;
    let long = speech(500);
    session.say(&long).await;
    session
        .send(json!({ "event": "mark", "mark": { "name": "end" } }))
        .await;
    until_heard("the beginning", &long[..1600], || call.sound.heard()).await;
    session.send(json!({ "event": "clear" })).await;
    let mark = session.event("mark").await;
    assert_eq!(mark["mark"]["name"], "end");
    assert_eq!(mark["mark"]["played"], false);
    let after = speech(510).split_off(500 * 160);
    session.say(&after).await;
    until_heard("what is said after the clear", &after, || {
        call.sound.heard()
    })
    .await;
    assert!(
        !contains(&call.sound.heard(), &long[long.len() - 160..]),
        "the end was heard"
    );
    call.hang_up().await;
    session.event("stop").await;
    session.until_closed().await;
    lab.until_completed_without_output("ws-2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_is_heard_before_the_hand_back() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "ws-3", json!({})).await;
    let farewell = speech(40);
    session.say(&farewell).await;
    session.send(complete()).await;
    call.until_handed_back_by_bye(&lab, "ws-3").await;
    assert!(
        contains(&call.sound.heard(), &farewell),
        "the farewell was cut off"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn completion_that_is_not_valid_is_refused_and_may_be_repeated() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "ws-4", json!({})).await;
    let mut wrong = complete();
    wrong["outputContext"]["transferType"] = json!("SOMEBODY");
    session.send(wrong).await;
    let refused = session.event("hook.completed").await;
    assert_eq!(refused["accepted"], false);
    assert!(refused["error"].is_string(), "{refused}");
    assert_eq!(lab.fetch("ws-4").await["status"], "ONGOING");
    session.send(complete()).await;
    assert_eq!(session.event("hook.completed").await["accepted"], true);
    call.until_handed_back_by_bye(&lab, "ws-4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_dies_is_reached_again_and_told_so() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "ws-5", json!({})).await;
    session.send(json!({ "event": "hook.update", "currentTaskName": "half", "referenceVariables": { "n": 1 }, "transferVariables": {} })).await;
    let call_sid = session.start["start"]["callSid"].clone();
    let stream_sid = session.start["start"]["streamSid"].clone();
    session.die().await;
    let mut again = agent.accept().await;
    assert_eq!(again.start["start"]["callSid"], call_sid);
    assert_ne!(again.start["start"]["streamSid"], stream_sid);
    assert_eq!(again.start["start"]["customParameters"]["resume"], "1");
    let word = speech(10);
    again.say(&word).await;
    until_heard("the agent that came back", &word, || call.sound.heard()).await;
    again.send(complete()).await;
    assert_eq!(again.event("hook.completed").await["accepted"], true);
    call.until_handed_back_by_bye(&lab, "ws-5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_stays_dead_hands_the_call_to_a_person_with_its_last_update() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(
        &agent,
        &[("agent.reconnect_timeout", "1s")],
        "ws-6",
        json!({}),
    )
    .await;
    session.send(json!({ "event": "hook.update", "currentTaskName": "half", "referenceVariables": { "n": 1 }, "transferVariables": { "t": "x" } })).await;
    // The update is read before the connection is gone: both go the same way.
    session.die().await;
    drop(agent);
    let died = Instant::now();
    call.until_handed_back_by_bye(&lab, "ws-6").await;
    assert!(
        died.elapsed() < Duration::from_secs(5),
        "handed back after {:?}",
        died.elapsed()
    );
    let output = lab.fetch("ws-6").await["outputContext"].clone();
    assert_eq!(output["transferType"], "AGENT");
    assert_eq!(output["currentTaskName"], "half");
    assert_eq!(output["referenceVariables"], json!({ "n": 1 }));
    assert!(
        output["transferVariables"]["hookFailure"].is_string(),
        "{output}"
    );
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_hears_both_sides_after_the_call_is_returned_by_invite() {
    let agent = AgentServer::start().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = json!({ "returnTransferType": "INVITE", "returnURI": target.uri("queue", "") });
    let (lab, mut call, mut session) = talking(&agent, &[], "ws-7", sip).await;
    session
        .send(json!({ "event": "hook.hello", "version": "1.0.0", "features": ["tracks"] }))
        .await;
    session.event("hook.welcome").await;
    session.send(complete()).await;
    let invite = target.peer.request("INVITE").await;
    let (_, to_caller) = target.answer(&invite).await;
    let (from_caller, from_desk) = (speech(25), speech(50).split_off(25 * 160));
    let media = call.media;
    tokio::join!(
        call.sound.say(media, &from_caller),
        target.sound.say(to_caller, &from_desk)
    );
    until_heard("the caller's track", &from_caller[160..], || {
        session.heard("inbound")
    })
    .await;
    until_heard("the desk's track", &from_desk[160..], || {
        session.heard("outbound")
    })
    .await;
    call.hang_up().await;
    target.peer.request("BYE").await;
    assert!(lab.fetch("ws-7").await["outputContext"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_gets_the_call_back_when_the_return_fails() {
    let agent = AgentServer::start().await;
    let sip =
        json!({ "returnTransferType": "REFER", "returnURI": "sip:queue@customer.example.com" });
    let fallback = [("handback.fallback", r#"["AGENT"]"#)];
    let (lab, mut call, mut session) = talking(&agent, &fallback, "ws-8", sip).await;
    session
        .send(json!({ "event": "hook.hello", "version": "1.0.0", "features": [] }))
        .await;
    session.event("hook.welcome").await;
    session.send(complete()).await;
    session.until_event("hook.completed").await;
    let refer = call.peer.request("REFER").await;
    call.peer.answer(&refer, "603 Decline").await;

    let trying = session.until_event("hook.transferResult").await;
    assert_eq!(trying["status"], "trying");
    let failed = session.until_event("hook.transferResult").await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["code"], 603);
    let sorry = speech(10);
    session.say(&sorry).await;
    until_heard("the agent once more", &sorry, || call.sound.heard()).await;
    let mut second = complete();
    second["outputContext"]["currentTaskName"] = json!("apologised");
    session.send(second.clone()).await;
    let completed = session.until_event("hook.completed").await;
    assert_eq!(completed["accepted"], true);

    let refer = call.peer.request("REFER").await;
    assert_eq!(
        lab.fetch("ws-8").await["outputContext"],
        second["outputContext"]
    );
    call.peer.answer(&refer, "202 Accepted").await;
    call.hang_up().await;
    lab.assert_completed_with_output("ws-8").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_closes_cleanly_without_completing_is_a_completion_as_system() {
    let agent = AgentServer::start().await;
    let (lab, mut call, session) = talking(&agent, &[], "ws-9", json!({})).await;
    session.close().await;
    call.until_handed_back_by_bye(&lab, "ws-9").await;
    let output = lab.fetch("ws-9").await["outputContext"].clone();
    assert_eq!(output["transferType"], "SYSTEM");
    assert_eq!(output["currentTaskName"], "billing");
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_lasts_too_long_goes_to_a_person_with_the_last_update() {
    let agent = AgentServer::start().await;
    let limit = [("limits.call_duration", "1s")];
    let (lab, mut call, mut session) = talking(&agent, &limit, "ws-10", json!({})).await;
    session
        .send(json!({ "event": "hook.update", "currentTaskName": "half" }))
        .await;
    call.until_handed_back_by_bye(&lab, "ws-10").await;
    let output = lab.fetch("ws-10").await["outputContext"].clone();
    assert_eq!(output["transferType"], "AGENT");
    assert_eq!(output["currentTaskName"], "half");
    assert!(
        output["transferVariables"]["hookFailure"].is_string(),
        "{output}"
    );
}
