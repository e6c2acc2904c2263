//! Registered over REST, called, talked to, handed back by BYE, result fetched.

use serde_json::json;
use stories::{Call, Lab, TRANSFER_HEADER, Transport, text};

async fn story(transport: Transport) {
    let lab = Lab::with_lab_agent().await;
    let mut call = Call::that_completes_itself(
        &lab,
        transport,
        "bye-1",
        json!({ "returnTransferType": "BYE" }),
    )
    .await;
    let talking = lab.fetch("bye-1").await;
    assert_eq!(talking["status"], "ONGOING");
    assert!(talking["callReceivedAt"].is_string());

    let bye = call.until_handed_back_by_bye(&lab, "bye-1").await;
    assert_eq!(
        text(&bye, "Reason"),
        r#"SIP;cause=200;text="completed", Q.850;cause=16;text="Normal call clearing""#
    );
    assert_eq!(text(&bye, TRANSFER_HEADER), "bye-1");

    let transfer = lab.fetch("bye-1").await;
    assert_eq!(
        transfer["outputContext"],
        json!({
            "transferType": "SYSTEM",
            "currentTaskName": "billing",
            "referenceVariables": { "customer": "Ann", "balance": 12.50, "lab_complete_after_ms": 300 },
            "transferVariables": {},
        })
    );
    assert_eq!(
        transfer["inputContext"]["inputVariables"]["customer"],
        "Ann"
    );
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_over_udp_is_handed_back_by_bye() {
    story(Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_over_tcp_is_handed_back_by_bye() {
    story(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bye_that_is_refused_ends_the_call_all_the_same() {
    let lab = Lab::with_lab_agent().await;
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "bye-2", json!({})).await;
    let bye = call.peer.request("BYE").await;
    call.peer
        .answer(&bye, "481 Call/Transaction Does Not Exist")
        .await;
    lab.assert_completed_with_output("bye-2").await;
    lab.until_idle().await;
}
