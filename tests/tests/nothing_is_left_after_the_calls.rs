//! Ports, calls and dialogs come back to what they were.

use std::time::Duration;

use serde_json::json;
use stories::{Call, Lab, Target, Transport};

#[tokio::test(flavor = "multi_thread")]
async fn ports_calls_and_legs_come_back_after_calls_of_every_kind() {
    let lab = Lab::with_lab_agent().await;
    let (sip, _) = lab.gateway.sip_census().await.unwrap();
    assert_eq!((sip.legs, sip.dialogs, sip.transactions), (0, 0, 0));
    let mut target = Target::waiting(Transport::Tcp).await;
    let back_to = target.uri("queue", "");

    let mut by_bye = Call::that_completes_itself(&lab, Transport::Udp, "left-bye", json!({})).await;
    let refer =
        json!({ "returnTransferType": "REFER", "returnURI": "sip:queue@customer.example.com" });
    let mut by_refer = Call::that_completes_itself(&lab, Transport::Tcp, "left-refer", refer).await;
    let invite = json!({ "returnTransferType": "INVITE", "returnURI": back_to });
    let mut by_invite =
        Call::that_completes_itself(&lab, Transport::Udp, "left-invite", invite).await;
    let mut hung_up = Call::registered(&lab, Transport::Tcp, "left-caller").await;
    assert!(!lab.gateway.live_calls().is_empty());
    assert!(lab.gateway.media_census().ports_in_use > 0);

    hung_up.hang_up().await;
    by_bye.until_handed_back_by_bye(&lab, "left-bye").await;
    let refer = by_refer.peer.request("REFER").await;
    by_refer.peer.answer(&refer, "202 Accepted").await;
    by_refer.hang_up().await;
    let invite = target.peer.request("INVITE").await;
    target.answer(&invite).await;
    by_invite.hang_up().await;
    let bye = target.peer.request("BYE").await;
    target.peer.answer(&bye, "200 OK").await;
    lab.until_idle().await;
    for id in ["left-bye", "left-refer", "left-invite", "left-caller"] {
        assert_eq!(lab.fetch(id).await["status"], "COMPLETED", "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_hangs_up_and_frees_the_addresses() {
    let lab = Lab::start(&[]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "shutdown").await;
    let address = lab.sip(Transport::Udp);
    let leaving = tokio::spawn(lab.shutdown());
    let bye = call.peer.request("BYE").await;
    call.peer.answer(&bye, "200 OK").await;
    tokio::time::timeout(Duration::from_secs(15), leaving)
        .await
        .unwrap()
        .unwrap();
    std::net::UdpSocket::bind(address).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_transfer_is_there_after_a_restart() {
    let lab = Lab::start(&[]).await;
    lab.register("kept", json!({})).await;
    let lab = lab.restart(&[]).await;
    lab.assert_unclaimed("kept").await;
    let mut call = Call::place(&lab, Transport::Udp, "kept").await;
    call.hang_up().await;
    lab.until_completed_without_output("kept").await;
}
