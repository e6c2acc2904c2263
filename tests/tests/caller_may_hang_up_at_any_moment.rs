//! The caller hangs up: before the answer, right after it, later, and while the call is handed back.

use std::time::Duration;

use serde_json::json;
use sip_message::HeaderName;
use stories::{
    AgentServer, Call, Dialog, Lab, Packet, Peer, Sound, Target, Transport, eventually, offer, text,
};

#[tokio::test(flavor = "multi_thread")]
async fn cancel_before_the_answer_undoes_the_claim_before_487() {
    // An agent that takes the connection and never says a word holds the call before its answer.
    let agent = AgentServer::start().await;
    let url = agent.url();
    let lab = Lab::start(&[("agent.hook", &url), ("agent.connect_timeout", "20s")]).await;
    for (id, transport) in [
        ("cancel-udp", Transport::Udp),
        ("cancel-tcp", Transport::Tcp),
    ] {
        lab.register(id, json!({})).await;
        let mut peer = Peer::calling(&lab, transport).await;
        let sound = Sound::start();
        let invite = Call::invite(&lab, &peer, id, &offer(&sound));
        peer.send(&invite).await;
        // The caller's side hears of us at once, whatever the agent does.
        peer.response_of(&invite, 100).await;
        let _held = agent.connection().await;
        lab.until_status(id, "ONGOING").await;

        let cancel = invite.beside("CANCEL", invite.value("To"));
        peer.exchange(&cancel, 200).await;
        let refused = peer.response(&invite).await;
        lab.assert_unclaimed(id).await;
        assert_eq!(refused.message.status(), Some(487));
        let to = text(&refused.message, HeaderName::To);
        peer.send(&invite.beside("ACK", &to)).await;
        lab.until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_who_is_gone_before_the_acknowledgement_leaves_no_output() {
    let lab = Lab::with_lab_agent().await;
    lab.register("early", json!({})).await;
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "early", &offer(&sound));
    let answer = peer.exchange(&invite, 200).await;
    let mut dialog = Dialog::calling((peer.transport, peer.address), &answer.message);
    peer.exchange(&dialog.request("BYE"), 200).await;
    lab.until_completed_without_output("early").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_who_hangs_up_on_the_agent_leaves_no_output_and_is_not_returned() {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = json!({ "returnTransferType": "INVITE", "returnURI": target.uri("queue", "") });
    for (id, transport, after) in [
        ("at-once", Transport::Udp, 0),
        ("at-once-tcp", Transport::Tcp, 0),
        ("in-the-greeting", Transport::Udp, 150),
    ] {
        lab.register(id, json!({ "sip": sip })).await;
        let mut call = Call::place(&lab, transport, id).await;
        tokio::time::sleep(Duration::from_millis(after)).await;
        call.hang_up().await;
        lab.until_completed_without_output(id).await;
    }
    lab.until_idle().await;
    let any = |_: &sip_message::Message| true;
    target
        .peer
        .assert_none(Duration::from_millis(200), any)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_who_hangs_up_while_the_return_rings_cancels_it() {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = json!({ "returnTransferType": "INVITE", "returnURI": target.uri("queue", "") });
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "ringing", sip).await;
    let invite = target.peer.request("INVITE").await;
    target.peer.answer(&invite, "180 Ringing").await;
    // The agent had its say, and that stays.
    lab.assert_completed_with_output("ringing").await;
    let before = call.sound.packets().len();
    eventually("the tone that says that it rings", async || {
        let packets = call.sound.packets().split_off(before);
        let loud = |packet: &Packet| packet.payload.iter().any(|sample| *sample & 0x70 < 0x40);
        packets.iter().any(loud).then_some(())
    })
    .await;
    call.hang_up().await;
    let cancel = target.peer.request("CANCEL").await;
    target.peer.answer(&cancel, "200 OK").await;
    target.peer.answer(&invite, "487 Request Terminated").await;
    target.peer.request("ACK").await;
    lab.assert_completed_with_output("ringing").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_crosses_the_cancel_of_a_return_is_hung_up() {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = json!({ "returnTransferType": "INVITE", "returnURI": target.uri("queue", "") });
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "crossing", sip).await;
    let invite = target.peer.request("INVITE").await;
    target.peer.answer(&invite, "180 Ringing").await;
    call.hang_up().await;
    let cancel = target.peer.request("CANCEL").await;
    target.answer(&invite).await;
    target.peer.answer(&cancel, "200 OK").await;
    let bye = target.peer.request("BYE").await;
    target.peer.answer(&bye, "200 OK").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_who_hangs_up_while_referred_keeps_the_output() {
    let lab = Lab::with_lab_agent().await;
    let sip =
        json!({ "returnTransferType": "REFER", "returnURI": "sip:queue@customer.example.com" });
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "referred", sip).await;
    let refer = call.peer.request("REFER").await;
    call.peer.answer(&refer, "202 Accepted").await;
    call.hang_up().await;
    lab.assert_completed_with_output("referred").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_whose_answer_is_never_acknowledged_is_not_lost_sight_of() {
    // The 200 is repeated while there is no ACK; then BYE after 64·T1 is for virtual time.
    let lab = Lab::start(&[]).await;
    lab.register("no-ack", json!({})).await;
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "no-ack", &offer(&sound));
    peer.exchange(&invite, 200).await;
    let before = lab.gateway.sip_census().await.unwrap().1.retransmitted;
    eventually("the 200 to be repeated", async || {
        let counters = lab.gateway.sip_census().await.unwrap().1;
        (counters.retransmitted > before).then_some(())
    })
    .await;
    assert_eq!(lab.fetch("no-ack").await["status"], "ONGOING");
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_whose_audio_is_gone_is_taken_to_have_hung_up() {
    let lab = Lab::start(&[("media.timeout", "1s")]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "gone").await;
    let media = call.media;
    call.sound.say(media, &stories::speech(10)).await;
    let bye = call.peer.request("BYE").await;
    call.peer.answer(&bye, "200 OK").await;
    lab.until_completed_without_output("gone").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_after_the_answer_changes_nothing() {
    let lab = Lab::start(&[]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "too-late").await;
    let cancel = call.invite.beside("CANCEL", call.invite.value("To"));
    call.peer.send(&cancel).await;
    call.peer.response(&cancel).await;
    assert_eq!(lab.fetch("too-late").await["status"], "ONGOING");
    call.hang_up().await;
    lab.until_completed_without_output("too-late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn byes_that_cross_are_both_answered() {
    let lab = Lab::with_lab_agent().await;
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "byes", json!({})).await;
    let theirs = call.peer.request("BYE").await;
    call.hang_up().await;
    call.peer.answer(&theirs, "200 OK").await;
    lab.assert_completed_with_output("byes").await;
    lab.until_idle().await;
}
