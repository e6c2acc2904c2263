//! Whatever an agent does or fails to do, its caller hears somebody and is handed back.
//!
//! The races between an agent and its call, and where each is held to a test (`call-control` and
//! `media-core` on virtual time, the rest here):
//!
//! | race | test |
//! |---|---|
//! | complete with a full queue | `call-control`: `last_words_are_cut_after_ten_seconds`; `media-core`: `drain_of_a_full_queue_is_told_when_the_queue_is_emptied` |
//! | clear, then close | `agent_that_clears_and_closes_is_done_at_once` |
//! | two completes | `second_completion_is_refused_and_the_first_counts`; `call-control`: `second_completion_is_refused_and_a_bad_one_may_be_tried_again` |
//! | complete while the caller presses keys | `key_pressed_during_the_last_words_reaches_the_agent_and_changes_nothing` |
//! | BYE between complete and REFER | `call-control`: `caller_who_hangs_up_between_completion_and_refer_is_not_referred` |
//! | media after complete | `media-bridge`: `what_an_agent_says_after_it_has_completed_is_not_heard` |
//! | socket dies during the hand-back | `call-control`: `socket_that_dies_during_the_hand_back_changes_nothing` |
//! | result by REST and on the socket at once | `result_by_rest_and_on_the_socket_are_two_completions` |
//! | caller hangs up while the agent is connected again | `caller_who_hangs_up_while_the_agent_is_away_ends_the_call` |

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stories::{
    AgentServer, AgentSession, Call, Lab, Peer, Sound, Target, Transport, Webhook, eventually,
    offer, speech, text,
};

const ONE_MOMENT: &[u8] = include_bytes!("../../crates/agent-hook/assets/one_moment.wav");

fn contains(heard: &[u8], said: &[u8]) -> bool {
    heard.windows(said.len()).any(|window| window == said)
}

async fn until_heard(what: &str, said: &[u8], heard: impl Fn() -> Vec<u8>) {
    eventually(what, async || contains(&heard(), said).then_some(())).await;
}

/// The middle of what a caller hears whose agent is away.
fn one_moment() -> Vec<u8> {
    ONE_MOMENT[4000..6400].to_vec()
}

async fn talking(
    agent: &AgentServer,
    settings: &[(&str, &str)],
    id: &str,
    extra: Value,
) -> (Lab, Call, AgentSession) {
    let url = agent.url();
    let hook = [("agent.hook", url.as_str())];
    let lab = Lab::start(&[&hook, settings].concat()).await;
    lab.register(id, extra).await;
    let (call, session) = tokio::join!(Call::place(&lab, Transport::Udp, id), agent.accept());
    (lab, call, session)
}

fn context(transfer_type: &str, task: &str) -> Value {
    json!({
        "transferType": transfer_type,
        "currentTaskName": task,
        "referenceVariables": { "order": 7 },
        "transferVariables": { "confirmation": "A-77" },
    })
}

fn complete(task: &str) -> Value {
    json!({ "event": "hook.complete", "outputContext": context("SYSTEM", task) })
}

fn parameter(session: &AgentSession, name: &str) -> String {
    let value = &session.start["start"]["customParameters"][name];
    value.as_str().unwrap_or_default().to_owned()
}

fn sid(session: &AgentSession, name: &str) -> String {
    session.start["start"][name].as_str().unwrap().to_owned()
}

/// POSTs to the API's listener, as a framework beside its socket does.
async fn beside(lab: &Lab, path: &str, proof: Proof<'_>, body: String) -> (u16, Value) {
    let url = format!("http://{}{path}", lab.gateway.api_address());
    let request = reqwest::Client::new().post(url).body(body);
    let request = match proof {
        Proof::Bearer(token) => request.bearer_auth(token),
        Proof::Basic(user, token) => request.basic_auth(user, Some(token)),
        Proof::None => request,
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

#[derive(Clone, Copy)]
enum Proof<'a> {
    Bearer(&'a str),
    Basic(&'a str, &'a str),
    None,
}

#[tokio::test(flavor = "multi_thread")]
async fn result_comes_by_rest_with_the_calls_own_token_and_what_is_queued_is_heard_first() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "rest-1", json!({})).await;
    let path = format!("/v1/calls/{}/output-context", sid(&session, "callSid"));
    let token = parameter(&session, "hookToken");
    let good = context("SYSTEM", "by rest").to_string();

    for proof in [
        Proof::None,
        Proof::Bearer("wrong"),
        Proof::Basic("lab", &token),
    ] {
        let (status, answer) = beside(&lab, &path, proof, good.clone()).await;
        assert_eq!(status, 401, "{answer}");
    }
    let wrong = context("SOMEBODY", "by rest").to_string();
    let (status, answer) = beside(&lab, &path, Proof::Bearer(&token), wrong).await;
    assert_eq!(status, 422);
    assert!(answer["error"].as_str().unwrap().contains("transferType"));
    let (status, _) = beside(&lab, &path, Proof::Bearer(&token), "{".to_owned()).await;
    assert_eq!(status, 400);
    assert_eq!(lab.fetch("rest-1").await["status"], "ONGOING");

    let farewell = speech(40);
    session.say(&farewell).await;
    // both go by different ways: the farewell must have come before the result
    until_heard("the farewell to begin", &farewell[..160], || {
        call.sound.heard()
    })
    .await;
    let (status, answer) = beside(&lab, &path, Proof::Bearer(&token), good.clone()).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(true)));
    let (status, answer) = beside(&lab, &path, Proof::Bearer(&token), good).await;
    assert_eq!(status, 409, "a second one: {answer}");
    call.until_handed_back_by_bye(&lab, "rest-1").await;
    assert!(contains(&call.sound.heard(), &farewell), "cut off");
    let output = lab.fetch("rest-1").await["outputContext"].clone();
    assert_eq!(output, context("SYSTEM", "by rest"));
    lab.until_idle().await;
    let (status, _) = beside(&lab, &path, Proof::Bearer(&token), "{}".to_owned()).await;
    assert_eq!(
        status, 401,
        "the token is good for the call, and while it lasts"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn status_completed_in_twilios_way_plays_what_is_queued_and_goes_to_the_system() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "rest-2", json!({})).await;
    let account = sid(&session, "accountSid");
    let path = format!(
        "/2010-04-01/Accounts/{account}/Calls/{}.json",
        sid(&session, "callSid")
    );
    let token = parameter(&session, "hookToken");
    // as pipecat does it: two seconds of silence at the end, then the request, then the close
    let farewell = speech(50);
    session.say(&farewell).await;
    session.say(&[0xff; 16_000]).await;
    until_heard("the farewell to begin", &farewell[..160], || {
        call.sound.heard()
    })
    .await;
    let form = "Status=completed".to_owned();
    let (status, answer) = beside(&lab, &path, Proof::Basic(&account, &token), form).await;
    assert_eq!((status, &answer["status"]), (200, &json!("completed")));
    session.close().await;
    let asked = Instant::now();
    call.until_handed_back_by_bye(&lab, "rest-2").await;
    assert!(
        asked.elapsed() < Duration::from_millis(2500),
        "silence at the end is waited for: {:?}",
        asked.elapsed()
    );
    assert!(contains(&call.sound.heard(), &farewell), "cut off");
    let output = lab.fetch("rest-2").await["outputContext"].clone();
    assert_eq!(output["transferType"], "SYSTEM");
    assert_eq!(output["currentTaskName"], "billing");
}

#[tokio::test(flavor = "multi_thread")]
async fn twiml_that_dials_takes_the_caller_to_a_person() {
    let agent = AgentServer::start().await;
    let (lab, mut call, session) = talking(&agent, &[], "rest-3", json!({})).await;
    let account = sid(&session, "accountSid");
    let path = format!(
        "/2010-04-01/Accounts/{account}/Calls/{}.json",
        sid(&session, "callSid")
    );
    let token = parameter(&session, "hookToken");
    let proof = Proof::Basic(&account, &token);
    let (status, _) = beside(&lab, &path, proof, "Twiml=nonsense".to_owned()).await;
    assert_eq!(status, 400);
    let dial = "Twiml=%3CResponse%3E%3CDial%3E%2B15550199%3C%2FDial%3E%3C%2FResponse%3E";
    let (status, _) = beside(&lab, &path, proof, dial.to_owned()).await;
    assert_eq!(status, 200);
    call.until_handed_back_by_bye(&lab, "rest-3").await;
    let output = lab.fetch("rest-3").await["outputContext"].clone();
    assert_eq!(output["transferType"], "AGENT");
    assert_eq!(
        output["transferVariables"],
        json!({ "target": "+15550199" })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_of_an_agent_that_is_away_hears_its_last_words_then_one_moment_then_soft_noise() {
    let agent = AgentServer::start().await;
    let (_lab, mut call, mut session) = talking(&agent, &[], "away-1", json!({})).await;
    let last_words = speech(30);
    session.say(&last_words).await;
    session.until_taken().await;
    session.die().await;
    // its next connection is taken, and not answered for a while
    let waiting = agent.connection().await;
    until_heard("its last words", &last_words, || call.sound.heard()).await;
    until_heard("one moment", &one_moment(), || call.sound.heard()).await;
    let soft = |frame: &[u8]| {
        let loudest = frame.iter().map(|byte| 0x7f - (byte & 0x7f)).max();
        frame.iter().any(|byte| byte & 0x7f != 0x7f) && loudest < Some(0x20)
    };
    eventually("noise instead of a dead line", async || {
        let heard = call.sound.heard();
        let last = heard.rchunks_exact(160).take(10);
        last.into_iter().all(soft).then_some(())
    })
    .await;
    drop(waiting);
    let mut again = agent.accept().await;
    let word = speech(40).split_off(30 * 160);
    again.say(&word).await;
    until_heard("the agent that came back", &word, || call.sound.heard()).await;
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_comes_back_after_two_refusals_goes_on_from_its_checkpoint() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "away-2", json!({})).await;
    let checkpoint = json!({
        "currentTaskName": "half",
        "referenceVariables": { "n": 1 },
        "transferVariables": { "t": [1, 2.50] },
    });
    let mut update = checkpoint.clone();
    update["event"] = json!("hook.update");
    session.send(update).await;
    session.until_taken().await;
    session.die().await;
    agent.refuse_next().await;
    agent.refuse_next().await;
    let mut again = agent.accept().await;
    assert_eq!(parameter(&again, "resume"), "1");
    assert_eq!(again.start["hook"]["update"], checkpoint);
    again.send(complete("whole")).await;
    again.event("hook.completed").await;
    call.until_handed_back_by_bye(&lab, "away-2").await;
    assert_eq!(
        lab.fetch("away-2").await["outputContext"],
        context("SYSTEM", "whole")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_stays_away_is_referred_to_a_person_with_what_it_knew() {
    let agent = AgentServer::start().await;
    let window = [("agent.reconnect_timeout", "1s")];
    let sip = json!({ "sip": {
        "returnTransferType": "REFER", "returnURI": "sip:queue@customer.example.com" } });
    let (lab, mut call, mut session) = talking(&agent, &window, "away-3", sip).await;
    session
        .send(json!({ "event": "hook.update", "currentTaskName": "half" }))
        .await;
    session.until_taken().await;
    session.die().await;
    drop(agent);
    let refer = call.peer.request("REFER").await;
    let output = lab.fetch("away-3").await["outputContext"].clone();
    assert_eq!(output["transferType"], "AGENT");
    assert_eq!(output["currentTaskName"], "half");
    assert!(output["transferVariables"]["hookFailure"].is_string());
    call.peer.answer(&refer, "202 Accepted").await;
    call.hang_up().await;
    let record = lab.until_recorded("away-3").await;
    assert_eq!(record["record"]["agent"]["lost"], true, "{record}");
    let counted = lab
        .admin("/metrics")
        .await
        .contains("handback_agents_lost_total");
    assert!(counted, "not counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_who_hangs_up_while_the_agent_is_away_ends_the_call() {
    let agent = AgentServer::start().await;
    let (lab, mut call, session) = talking(&agent, &[], "away-4", json!({})).await;
    session.die().await;
    let waiting = agent.connection().await;
    call.hang_up().await;
    lab.until_completed_without_output("away-4").await;
    drop(waiting);
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn next_url_of_the_list_takes_the_call_when_the_first_does_not() {
    let gone = AgentServer::start().await;
    let gone_url = gone.url();
    drop(gone);
    let (refusing, agent) = (AgentServer::start().await, AgentServer::start().await);
    let list = format!("[{gone_url:?}, {:?}, {:?}]", refusing.url(), agent.url());
    let lab = Lab::start(&[("agent.hook", &list)]).await;
    lab.register("list-1", json!({})).await;
    let (mut call, (), mut session) = tokio::join!(
        Call::place(&lab, Transport::Udp, "list-1"),
        refusing.refuse_next(),
        agent.accept()
    );
    session.send(complete("second")).await;
    call.until_handed_back_by_bye(&lab, "list-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_is_tried_again_while_time_lasts_and_then_the_caller_stays_with_his_sbc() {
    let agent = AgentServer::start().await;
    let url = agent.url();
    let settings = [
        ("agent.hook", url.as_str()),
        ("agent.connect_timeout", "1s"),
    ];
    let lab = Lab::start(&settings).await;
    lab.register("retry-1", json!({})).await;
    let refused_twice = async {
        agent.refuse_next().await;
        agent.refuse_next().await;
        agent.accept().await
    };
    let (mut call, mut session) =
        tokio::join!(Call::place(&lab, Transport::Udp, "retry-1"), refused_twice);
    session.send(complete("late")).await;
    call.until_handed_back_by_bye(&lab, "retry-1").await;
    drop(agent);

    lab.register("retry-2", json!({})).await;
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "retry-2", &offer(&sound));
    let begun = Instant::now();
    let refused = peer.exchange(&invite, 503).await.message;
    let took = begun.elapsed();
    assert!(
        (700..3000).contains(&took.as_millis()),
        "refused after {took:?}"
    );
    // with it the SBC would leave the whole gateway alone
    assert_eq!(text(&refused, "Retry-After"), "");
    lab.assert_unclaimed("retry-2").await;
}

/// Bridged with a desk, after an agent that knows no `hook.hello`.
async fn bridged(
    settings: &[(&str, &str)],
    agent: &AgentServer,
    id: &str,
) -> (Lab, Call, Target, std::net::SocketAddr, AgentSession) {
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = json!({ "sip": {
        "returnTransferType": "INVITE", "returnURI": target.uri("queue", "") } });
    let (lab, call, mut session) = talking(agent, settings, id, sip).await;
    session.send(complete("done")).await;
    let invite = target.peer.request("INVITE").await;
    let (_, to_caller) = target.answer(&invite).await;
    (lab, call, target, to_caller, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn second_socket_hears_both_sides_of_a_bridged_call_aligned() {
    let agent = AgentServer::start().await;
    let (_lab, mut call, mut target, to_caller, mut session) =
        bridged(&[], &agent, "bridged-1").await;
    session.until_event("stop").await;
    let listener = agent.accept().await;
    let start = &listener.start["start"];
    assert_eq!(start["tracks"], json!(["inbound", "outbound"]));
    assert_eq!(start["callSid"], session.start["start"]["callSid"]);
    assert_ne!(start["streamSid"], session.start["start"]["streamSid"]);
    let parent = parameter(&listener, "parentStreamSid");
    assert_eq!(parent, sid(&session, "streamSid"));
    assert_eq!(parameter(&listener, "phase"), "bridged");

    let (from_caller, from_desk) = (speech(25), speech(50).split_off(25 * 160));
    let media = call.media;
    tokio::join!(
        call.sound.say(media, &from_caller),
        target.sound.say(to_caller, &from_desk)
    );
    until_heard("the caller's track", &from_caller[160..], || {
        listener.heard("inbound")
    })
    .await;
    until_heard("the desk's track", &from_desk[160..], || {
        listener.heard("outbound")
    })
    .await;
    let inbound = listener.timestamps("inbound");
    let outbound = listener.timestamps("outbound");
    let from = inbound.iter().position(|at| *at == outbound[0]).unwrap();
    let mut together = inbound[from..].iter().zip(&outbound);
    assert!(together.len() > 20);
    assert!(together.all(|(inbound, outbound)| inbound == outbound));
    call.hang_up().await;
    target.peer.request("BYE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_the_second_socket_never_touches_the_call_and_its_gap_is_told_by_the_time() {
    let agent = AgentServer::start().await;
    let (_lab, mut call, mut target, to_caller, _session) = bridged(&[], &agent, "bridged-5").await;
    let mut listener = agent.accept().await;
    let word = speech(60).split_off(50 * 160);
    listener.say(&word).await;
    listener.until_taken().await;
    let last = eventually("audio", async || listener.timestamps("inbound").pop()).await;
    listener.die().await;

    let (from_caller, from_desk) = (speech(25), speech(50).split_off(25 * 160));
    let media = call.media;
    tokio::join!(
        call.sound.say(media, &from_caller),
        target.sound.say(to_caller, &from_desk)
    );
    until_heard("the caller at the desk", &from_caller, || {
        target.sound.heard()
    })
    .await;
    until_heard("the desk at the caller", &from_desk, || call.sound.heard()).await;
    assert!(!contains(&call.sound.heard(), &word), "a listener is heard");
    let again = agent.accept().await;
    assert_eq!(parameter(&again, "phase"), "bridged");
    let first = eventually("audio after the gap", async || {
        again.timestamps("inbound").first().copied()
    })
    .await;
    assert!(first >= last + 500, "the gap is not told: {last}, {first}");
    call.hang_up().await;
    target.peer.request("BYE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_go_to_the_transcribers_own_url_where_there_is_one() {
    let (agent, transcriber) = (AgentServer::start().await, AgentServer::start().await);
    let url = transcriber.url();
    let settings = [("agent.transcribe_url", url.as_str())];
    let (lab, mut call, mut target, to_caller, _session) =
        bridged(&settings, &agent, "bridged-2").await;
    let mut listener = transcriber.accept().await;
    let said = json!({ "event": "hook.transcript", "track": "outbound", "text": "at the desk" });
    listener.send(said).await;
    let from_desk = speech(25);
    target.sound.say(to_caller, &from_desk).await;
    until_heard("the desk's track", &from_desk[160..], || {
        listener.heard("outbound")
    })
    .await;
    call.hang_up().await;
    target.peer.request("BYE").await;
    listener.until_closed().await;
    // what a listener writes down is kept with the transfer as well
    let conversation = "conversation of bridged-2";
    lab.register(
        "bridged-3",
        json!({ "externalConversationId": conversation }),
    )
    .await;
    let (mut call, session) = tokio::join!(
        Call::place(&lab, Transport::Udp, "bridged-3"),
        agent.accept()
    );
    let earlier = &session.start["hook"]["earlier"][0];
    assert_eq!(earlier["transcript"][0]["text"], "at the desk");
    assert_eq!(earlier["transcript"][0]["track"], "outbound");
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_to_a_bridged_call_of_an_account_that_does_not_want_it() {
    let agent = AgentServer::start().await;
    let settings = [("account.0.transcribe", "stop")];
    let (lab, mut call, mut target, _, mut session) = bridged(&settings, &agent, "bridged-4").await;
    session.until_event("stop").await;
    session.until_closed().await;
    let nobody = tokio::time::timeout(Duration::from_millis(500), agent.connection()).await;
    assert!(nobody.is_err(), "somebody listens");
    call.hang_up().await;
    let bye = target.peer.request("BYE").await;
    target.peer.answer(&bye, "200 OK").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_is_told_of_the_conversations_earlier_transfers_with_what_was_said() {
    let agent = AgentServer::start().await;
    let conversation = json!({ "externalConversationId": "chat-9" });
    let (lab, mut call, mut session) = talking(&agent, &[], "first", conversation).await;
    assert!(session.start["hook"].get("earlier").is_none());
    for (text, is_final) in [("my ord", false), ("my order is late", true)] {
        session
            .send(
                json!({ "event": "hook.transcript", "utterance": "u1", "text": text,
                "final": is_final, "startMs": 20, "endMs": 900 }),
            )
            .await;
    }
    session.send(complete("first part")).await;
    call.until_handed_back_by_bye(&lab, "first").await;
    lab.until_idle().await;

    let admin = lab.admin("/transfers/lab/first").await;
    let admin: Value = serde_json::from_str(&admin).unwrap();
    assert_eq!(
        admin["transcript"][0]["text"], "my order is late",
        "{admin}"
    );
    let conversation = json!({ "externalConversationId": "chat-9" });
    lab.register("second", conversation).await;
    let place = Call::place(&lab, Transport::Udp, "second");
    let (mut call, session) = tokio::join!(place, agent.accept());
    let earlier = &session.start["hook"]["earlier"];
    assert_eq!(earlier.as_array().unwrap().len(), 1, "{earlier}");
    assert_eq!(earlier[0]["transferId"], "first");
    assert_eq!(earlier[0]["outputContext"], context("SYSTEM", "first part"));
    let said = json!([{ "utterance": "u1", "track": "inbound", "final": true,
        "text": "my order is late", "startMs": 20, "endMs": 900 }]);
    assert_eq!(earlier[0]["transcript"], said);
    assert!(earlier[0]["completedAtMs"].is_i64());
    assert_eq!(
        parameter(&session, "resume"),
        "0",
        "it is a call of its own"
    );
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_names_the_agent_and_its_request_is_signed_as_twilio_signs() {
    let agent = AgentServer::start().await;
    let webhook = Webhook::start().await;
    let (url, token) = (webhook.url(), "twilio-token");
    let settings = [("agent.hook", url.as_str()), ("agent.twilio_token", token)];
    let lab = Lab::start(&settings).await;
    lab.register("webhook-1", json!({})).await;
    let twiml = format!(
        "<Response><Say>passed over</Say><Connect><Stream url=\"{}\">\
         <Parameter name=\"flavour\" value=\"a &amp; b\"/></Stream></Connect></Response>",
        agent.url()
    );
    let (mut call, asked, mut session) = tokio::join!(
        Call::place(&lab, Transport::Udp, "webhook-1"),
        webhook.answer(&twiml),
        agent.accept()
    );
    assert_eq!(asked.field("CallSid"), sid(&session, "callSid"));
    assert_eq!(asked.field("AccountSid"), sid(&session, "accountSid"));
    assert_eq!(asked.field("Direction"), "inbound");
    assert_eq!(asked.field("Hook_taskName"), "billing");
    assert_eq!(asked.field("Hook_customer"), "Ann");
    assert_eq!(
        asked.field("Hook_hookToken"),
        "",
        "a webhook needs no secret"
    );
    assert_eq!(
        asked.header("x-twilio-signature"),
        asked.signature(&url, token)
    );
    assert_eq!(parameter(&session, "flavour"), "a & b");
    session.send(complete("by webhook")).await;
    call.until_handed_back_by_bye(&lab, "webhook-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_that_rejects_refuses_the_call_with_its_status() {
    let webhook = Webhook::start().await;
    let url = webhook.url();
    let lab = Lab::start(&[("agent.hook", url.as_str())]).await;
    let table = [
        ("<Response><Reject reason=\"busy\"/></Response>", 486),
        ("<Response><Reject/></Response>", 603),
        ("<Response><Hangup/></Response>", 603),
    ];
    for (n, (twiml, status)) in table.into_iter().enumerate() {
        let id = format!("reject-{n}");
        lab.register(&id, json!({})).await;
        let mut peer = Peer::calling(&lab, Transport::Udp).await;
        let sound = Sound::start();
        let invite = Call::invite(&lab, &peer, &id, &offer(&sound));
        tokio::join!(peer.exchange(&invite, status), webhook.answer(twiml));
        lab.assert_unclaimed(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_clears_and_closes_is_done_at_once() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "race-1", json!({})).await;
    let long = speech(500);
    session.say(&long).await;
    until_heard("the beginning", &long[..1600], || call.sound.heard()).await;
    session.send(json!({ "event": "clear" })).await;
    let closed = Instant::now();
    session.close().await;
    call.until_handed_back_by_bye(&lab, "race-1").await;
    assert!(
        closed.elapsed() < Duration::from_secs(2),
        "{:?}",
        closed.elapsed()
    );
    assert!(!contains(&call.sound.heard(), &long[long.len() - 160..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn second_completion_is_refused_and_the_first_counts() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "race-2", json!({})).await;
    session.say(&speech(20)).await;
    session.send(complete("first")).await;
    session.send(complete("second")).await;
    assert_eq!(session.event("hook.completed").await["accepted"], true);
    assert_eq!(session.event("hook.completed").await["accepted"], false);
    call.until_handed_back_by_bye(&lab, "race-2").await;
    let output = lab.fetch("race-2").await["outputContext"].clone();
    assert_eq!(output["currentTaskName"], "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_pressed_during_the_last_words_reaches_the_agent_and_changes_nothing() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "race-3", json!({})).await;
    let farewell = speech(75);
    session.say(&farewell).await;
    session.send(complete("pressed")).await;
    session.event("hook.completed").await;
    let media = call.media;
    call.sound.press(media, "5").await;
    assert_eq!(session.event("dtmf").await["dtmf"]["digit"], "5");
    call.until_handed_back_by_bye(&lab, "race-3").await;
    assert!(contains(&call.sound.heard(), &farewell), "cut off");
    let output = lab.fetch("race-3").await["outputContext"].clone();
    assert_eq!(output, context("SYSTEM", "pressed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn result_by_rest_and_on_the_socket_are_two_completions() {
    let agent = AgentServer::start().await;
    let (lab, mut call, mut session) = talking(&agent, &[], "race-4", json!({})).await;
    let path = format!("/v1/calls/{}/output-context", sid(&session, "callSid"));
    let token = parameter(&session, "hookToken");
    session.say(&speech(50)).await;
    let rest = context("AGENT", "by rest").to_string();
    let by_rest = beside(&lab, &path, Proof::Bearer(&token), rest);
    let on_socket = async {
        session.send(complete("on the socket")).await;
        session.event("hook.completed").await["accepted"] == true
    };
    let ((status, _), on_socket) = tokio::join!(by_rest, on_socket);
    assert_ne!(status == 200, on_socket, "exactly one counts");
    call.until_handed_back_by_bye(&lab, "race-4").await;
    let output = lab.fetch("race-4").await["outputContext"].clone();
    let expected = if on_socket {
        "on the socket"
    } else {
        "by rest"
    };
    assert_eq!(output["currentTaskName"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_who_interrupts_an_agent_that_does_not_listen_for_it_silences_it() {
    let agent = AgentServer::start().await;
    let clear = [("agent.bargein", "clear")];
    let (lab, mut call, mut session) = talking(&agent, &clear, "barge-1", json!({})).await;
    // noise, which is no voice
    let lecture = speech(500);
    session.say(&lecture).await;
    let mark = json!({ "event": "mark", "mark": { "name": "end" } });
    session.send(mark).await;
    until_heard("the lecture", &lecture[..1600], || call.sound.heard()).await;
    let media = call.media;
    let spoken = &SPEECH[44..44 + 2 * 16_000];
    let samples = spoken
        .chunks_exact(2)
        .map(|it| i16::from_le_bytes([it[0], it[1]]));
    let words: Vec<u8> = samples.map(mulaw).collect();
    call.sound.say(media, &words).await;
    let mark = session.event("mark").await;
    assert_eq!(mark["mark"]["name"], "end");
    assert_eq!(mark["mark"]["played"], false);
    let metrics = lab.admin("/metrics").await;
    assert!(
        metrics.contains("handback_hook_barge_ins_total"),
        "not counted"
    );
    call.hang_up().await;
}

const SPEECH: &[u8] = include_bytes!("../../crates/handback/assets/speech.wav");

/// G.711 as its tables have it: the segment, then four bits in it.
fn mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let size = (i32::from(sample).abs() + 132).min(32_635);
    let segment = (31 - size.leading_zeros()).saturating_sub(7).min(7);
    let low = (size >> (segment + 3)) & 0x0f;
    !(sign | (segment as u8) << 4 | low as u8)
}
