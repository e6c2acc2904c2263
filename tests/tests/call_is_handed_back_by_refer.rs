//! Handed back by REFER: followed to its final NOTIFY, then BYE.

use std::time::Duration;

use serde_json::{Value, json};
use stories::{Call, Lab, Received, TRANSFER_HEADER, Target, Transport, text};

/// Every character that a URI may have and that software likes to change.
const RETURN_URI: &str = "sip:queue%2D7;isub=12@customer.example.com:5070;user=phone;X-odd=%41%2c!~*'();Maddr-like=1?X-Case=a%20b&User-to-User=00%3Bencoding%3Dhex";

fn refer() -> Value {
    json!({ "returnTransferType": "REFER", "returnURI": RETURN_URI })
}

/// Waits for the REFER, reads what the customer reads at that moment.
async fn referred(call: &mut Call, lab: &Lab, id: &str) -> Received {
    let refer = call.peer.request("REFER").await;
    lab.assert_completed_with_output(id).await;
    refer
}

async fn notify(call: &mut Call, state: &str, fragment: &str) {
    let notify = call
        .dialog
        .request("NOTIFY")
        .with("Event", "refer")
        .with("Subscription-State", state)
        .with_body("message/sipfrag;version=2.0", fragment);
    call.peer.exchange(&notify, 200).await;
}

async fn story(transport: Transport) {
    let lab = Lab::with_lab_agent().await;
    let mut call = Call::that_completes_itself(&lab, transport, "refer-1", refer()).await;
    let refer = referred(&mut call, &lab, "refer-1").await;
    assert_eq!(text(&refer.message, "Refer-To"), format!("<{RETURN_URI}>"));
    assert_eq!(text(&refer.message, TRANSFER_HEADER), "refer-1");
    let referred_by = text(&refer.message, "Referred-By");
    assert!(
        referred_by.starts_with("<sip:agent@127.0.0.1:"),
        "{referred_by}"
    );

    call.peer.answer(&refer, "202 Accepted").await;
    notify(&mut call, "active;expires=60", "SIP/2.0 100 Trying\r\n").await;
    notify(&mut call, "active;expires=60", "SIP/2.0 180 Ringing").await;
    notify(
        &mut call,
        "terminated;reason=noresource",
        "SIP/2.0 200 OK\r\n",
    )
    .await;
    let notified = std::time::Instant::now();
    let bye = call.peer.request("BYE").await;
    let waited = bye.at - notified;
    assert!(
        waited >= Duration::from_millis(900),
        "BYE came after {waited:?}"
    );
    assert!(text(&bye.message, "Reason").starts_with("SIP;cause=200"));
    call.peer.answer(&bye, "200 OK").await;
    let transfer = lab.fetch("refer-1").await;
    assert_eq!(transfer["sip"]["returnURI"], RETURN_URI);
    let recorded = lab.until_recorded("refer-1").await;
    assert_eq!(recorded["outcome"], "handed_back");
    let step = &recorded["record"]["steps"][0];
    assert_eq!(
        *step,
        json!({
            "method": "REFER", "result": "succeeded", "status": 200, "reason": "OK", "answer": 202,
            "fragments": [
                { "status": 100, "reason": "Trying" },
                { "status": 180, "reason": "Ringing" },
                { "status": 200, "reason": "OK" },
            ],
        })
    );
    assert_eq!(recorded["record"]["endedBy"], "gateway");
    assert_eq!(
        recorded["record"]["outputContexts"][0],
        transfer["outputContext"]
    );
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_over_udp_is_handed_back_by_refer() {
    story(Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_over_tcp_is_handed_back_by_refer() {
    story(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_that_hangs_up_after_success_hears_no_bye() {
    let lab = Lab::with_lab_agent().await;
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "refer-2", refer()).await;
    let refer = referred(&mut call, &lab, "refer-2").await;
    call.peer.answer(&refer, "202 Accepted").await;
    notify(
        &mut call,
        "terminated;reason=noresource",
        "SIP/2.0 200 OK\r\n",
    )
    .await;
    call.hang_up().await;
    call.peer
        .assert_none(Duration::from_millis(1500), |message| {
            message.method().as_str() == "BYE" && message.is_request()
        })
        .await;
    lab.assert_completed_with_output("refer-2").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_refer_falls_back_to_bye() {
    let lab = Lab::start(&[
        ("agent.hook", "builtin:lab"),
        ("handback.fallback", r#"["BYE"]"#),
    ])
    .await;
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "refer-3", refer()).await;
    let refer = referred(&mut call, &lab, "refer-3").await;
    call.peer.answer(&refer, "603 Decline").await;
    call.until_handed_back_by_bye(&lab, "refer-3").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_refer_becomes_an_invite() {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = json!({ "returnTransferType": "REFER", "returnURI": target.uri("queue", "") });
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "refer-6", sip).await;
    let refer = referred(&mut call, &lab, "refer-6").await;
    call.peer.answer(&refer, "405 Method Not Allowed").await;
    let invite = target.peer.request("INVITE").await;
    target.answer(&invite).await;
    call.hang_up().await;
    let bye = target.peer.request("BYE").await;
    target.peer.answer(&bye, "200 OK").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refer_that_reports_failure_falls_back_to_bye() {
    let lab = Lab::start(&[
        ("agent.hook", "builtin:lab"),
        ("handback.fallback", r#"["BYE"]"#),
    ])
    .await;
    let mut call = Call::that_completes_itself(&lab, Transport::Tcp, "refer-4", refer()).await;
    let refer = referred(&mut call, &lab, "refer-4").await;
    call.peer.answer(&refer, "200 OK").await;
    notify(
        &mut call,
        "terminated;reason=noresource",
        "SIP/2.0 486 Busy Here\r\n",
    )
    .await;
    call.until_handed_back_by_bye(&lab, "refer-4").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_whose_allow_lacks_refer_is_not_referred() {
    let lab = Lab::start(&[
        ("agent.hook", "builtin:lab"),
        ("handback.fallback", r#"["BYE"]"#),
    ])
    .await;
    let input = json!({ "inputVariables": { "lab_complete_after_ms": 100 } });
    lab.register("refer-5", json!({ "sip": refer(), "inputContext": input }))
        .await;
    let peer = stories::Peer::calling(&lab, Transport::Udp).await;
    let sound = stories::Sound::start();
    let invite = Call::invite(&lab, &peer, "refer-5", &stories::offer(&sound))
        .with("Allow", "INVITE, ACK, BYE, CANCEL");
    let mut call = Call::send(peer, sound, invite).await;
    call.until_handed_back_by_bye(&lab, "refer-5").await;
    call.peer
        .assert_none(Duration::from_millis(100), |message| {
            message.method().as_str() == "REFER"
        })
        .await;
    lab.until_idle().await;
}
