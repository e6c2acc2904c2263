//! Keys that the caller presses for the built-in agent reach the result.

use serde_json::json;
use stories::{Call, Lab, Transport};

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
