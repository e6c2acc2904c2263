//! Keys that the caller presses for the built-in agent reach the result.

use serde_json::json;
use stories::{Call, Dialog, Lab, Peer, Target, Transport, eventually, text};

async fn pressed(transport: Transport, id: &str, keys: &str) -> serde_json::Value {
    let lab = Lab::with_lab_agent().await;
    let mut call = Call::registered(&lab, transport, id).await;
    let media = call.media;
    call.sound.press(media, keys).await;
    call.until_handed_back_by_bye(&lab, id).await;
    let transfer = lab.fetch(id).await;
    lab.until_idle().await;
    transfer["outputContext"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_and_digits_complete_as_system_with_the_digits() {
    assert_eq!(
        pressed(Transport::Udp, "digits", "14725#").await,
        json!({
            "transferType": "SYSTEM",
            "currentTaskName": "billing",
            "referenceVariables": { "customer": "Ann", "balance": 12.50, "tags": ["a", 1] },
            "transferVariables": { "digits": "14725" },
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_completes_as_agent() {
    let output = pressed(Transport::Tcp, "zero", "0").await;
    assert_eq!(output["transferType"], "AGENT");
    assert_eq!(output["currentTaskName"], "billing");
    assert_eq!(output["referenceVariables"]["customer"], "Ann");
}

/// Presses a key by INFO, as `application/dtmf-relay`.
async fn inform(peer: &mut Peer, dialog: &mut Dialog, key: char) {
    let body = format!("Signal={key}\r\nDuration=120\r\n");
    let info = dialog
        .request("INFO")
        .with_body("application/dtmf-relay", body);
    peer.exchange(&info, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_by_info_reach_the_agent_once_beside_those_in_the_media() {
    let lab = Lab::with_lab_agent().await;
    let mut call = Call::registered(&lab, Transport::Udp, "info").await;
    let media = call.media;
    inform(&mut call.peer, &mut call.dialog, '1').await;
    // The same press once more in the media, and one that is only there.
    call.sound.press(media, "12").await;
    for key in ['3', '#'] {
        inform(&mut call.peer, &mut call.dialog, key).await;
    }
    call.until_handed_back_by_bye(&lab, "info").await;
    let output = lab.fetch("info").await["outputContext"].clone();
    assert_eq!(output["transferVariables"]["digits"], "123");
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_cross_between_bridged_legs_in_the_form_that_each_takes() {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let to = json!({ "returnTransferType": "INVITE", "returnURI": target.uri("desk", "") });
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "cross", to).await;
    let invite = target.peer.request("INVITE").await;
    // A telephone without telephone events.
    let sdp = stories::offer(&target.sound);
    let plain: String = sdp
        .split_inclusive("\r\n")
        .filter(|line| !line.contains("101 ") || line.starts_with("m="))
        .map(|line| line.replace(" 0 101", " 0"))
        .collect();
    assert!(!plain.contains("telephone-event"), "{plain}");
    let (mut desk, _) = target.answer_with(&invite, &plain).await;

    let media = call.media;
    call.sound.press(media, "4").await;
    let info = target.peer.request("INFO").await;
    assert_eq!(
        text(&info.message, "Content-Type"),
        "application/dtmf-relay"
    );
    let body = String::from_utf8(info.message.body().to_vec()).unwrap();
    assert!(body.starts_with("Signal=4\r\nDuration="), "{body}");
    target.peer.answer(&info, "200 OK").await;

    inform(&mut target.peer, &mut desk, '9').await;
    eventually("the caller to be sent the key", async || {
        (call.sound.keys() == "9").then_some(())
    })
    .await;

    let bye = desk.request("BYE");
    target.peer.exchange(&bye, 200).await;
    let bye = call.peer.request("BYE").await;
    call.peer.answer(&bye, "200 OK").await;
    lab.until_idle().await;
}
