//! Header-based transfers: no registration before, the context comes and goes in SIP headers.

use serde_json::{Value, json};
use stories::{Call, Lab, Peer, Request, Sound, TRANSFER_HEADER, Target, Transport, offer, text};

const RETURN_URI: &str = "sip:back@customer.example.com;x=%41";

async fn lab(return_type: &str, return_uri: &str) -> Lab {
    Lab::start(&[
        ("agent.hook", "builtin:lab"),
        ("account.0.return_transfer_type", return_type),
        ("account.0.return_uri", return_uri),
        ("account.0.trunk.0.header_transfers", "true"),
    ])
    .await
}

fn invite(lab: &Lab, peer: &Peer, sound: &Sound) -> Request {
    Call::invite(lab, peer, "", &offer(sound))
        .without(TRANSFER_HEADER)
        .with("X-GA-taskName", "billing")
        .with("X-GA-extConversationId", "conversation 7/8")
        .with("X-GA-customerId", "c-42")
        .with("X-GA-iv-lab_complete_after_ms", "300")
        .with("x-ga-iv-userName", "Ann & Bob?")
}

async fn called(lab: &Lab) -> Call {
    let peer = Peer::calling(lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = invite(lab, &peer, &sound);
    Call::send(peer, sound, invite).await
}

async fn only_transfer(lab: &Lab) -> Value {
    let transfers: Value = serde_json::from_str(&lab.admin("/transfers").await).unwrap();
    let transfers = transfers["transfers"].as_array().unwrap().clone();
    assert_eq!(transfers.len(), 1, "{transfers:?}");
    transfers[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn refer_target_carries_the_result_escaped_behind_the_static_return_uri() {
    let lab = lab("REFER", RETURN_URI).await;
    let mut call = called(&lab).await;
    let refer = call.peer.request("REFER").await;
    let transfer = only_transfer(&lab).await;
    assert_eq!(transfer["status"], "COMPLETED");
    assert_eq!(transfer["externalConversationId"], "conversation 7/8");
    assert_eq!(transfer["inputContext"]["taskName"], "billing");
    assert_eq!(
        transfer["inputContext"]["inputVariables"],
        json!({ "lab_complete_after_ms": "300", "userName": "Ann & Bob?", "customerId": "c-42" })
    );
    assert_eq!(
        text(&refer.message, "Refer-To"),
        format!(
            "<{RETURN_URI}?X-GA-extConId=conversation%207%2F8&X-GA-transfer=SYSTEM\
             &X-GA-rv-lab_complete_after_ms=300&X-GA-rv-userName=Ann%20%26%20Bob%3F&X-GA-rv-customerId=c-42>"
        )
    );
    call.peer.answer(&refer, "202 Accepted").await;
    call.hang_up().await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invite_return_carries_the_result_as_headers() {
    let mut target = Target::waiting(Transport::Udp).await;
    let lab = lab("INVITE", &target.uri("back", "")).await;
    let mut call = called(&lab).await;
    let invite = target.peer.request("INVITE").await;
    assert_eq!(text(&invite.message, "X-GA-extConId"), "conversation 7/8");
    assert_eq!(text(&invite.message, "X-GA-transfer"), "SYSTEM");
    assert_eq!(text(&invite.message, "X-GA-rv-userName"), "Ann & Bob?");
    target.peer.answer(&invite, "486 Busy Here").await;
    let bye = call.peer.request("BYE").await;
    assert_eq!(text(&bye.message, "X-GA-transfer"), "SYSTEM");
    call.peer.answer(&bye, "200 OK").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_transfer_over_the_same_trunk_goes_by_its_own_context() {
    let lab = lab("REFER", RETURN_URI).await;
    let mut call = Call::that_completes_itself(
        &lab,
        Transport::Udp,
        "own-1",
        json!({ "returnTransferType": "BYE" }),
    )
    .await;
    let bye = call.until_handed_back_by_bye(&lab, "own-1").await;
    assert!(bye.fields_named("X-GA-transfer").next().is_none());
    lab.until_idle().await;
}
