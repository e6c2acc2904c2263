//! Requests inside a call, and those that pretend to be.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use stories::{Call, Lab, Peer, Sound, Transport, eventually, offer, text};

fn held(sound: &Sound) -> String {
    offer(sound).replace("sendrecv", "sendonly")
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_is_answered_and_the_call_resumes() {
    let lab = Lab::start(&[]).await;
    for (id, transport) in [("hold-udp", Transport::Udp), ("hold-tcp", Transport::Tcp)] {
        let mut call = Call::registered(&lab, transport, id).await;
        for (sdp, direction) in [
            (held(&call.sound), "recvonly"),
            (offer(&call.sound), "sendrecv"),
        ] {
            let again = call
                .dialog
                .request("INVITE")
                .with_body("application/sdp", sdp);
            let answer = call.peer.exchange(&again, 200).await.message;
            let answer = String::from_utf8_lossy(&answer.body()).into_owned();
            assert!(answer.contains(&format!("a={direction}")), "{answer}");
            call.peer.send(&call.dialog.request("ACK")).await;
        }
        let before = call.sound.packets().len();
        eventually("audio after the hold", async || {
            (call.sound.packets().len() > before).then_some(())
        })
        .await;
        call.hang_up().await;
        lab.until_completed_without_output(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lower_sequence_number_is_500_and_unknown_dialog_481() {
    let lab = Lab::start(&[]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "order").await;
    let options = call.dialog.request("OPTIONS");
    call.peer.exchange(&options, 200).await;
    let late = call.dialog.request("INFO").with("CSeq", "1 INFO");
    call.peer.exchange(&late, 500).await;

    let bye = call.dialog.request("BYE");
    let elsewhere = bye.clone().with("Call-ID", "nobody-knows-it");
    call.peer.exchange(&elsewhere, 481).await;
    let of_another = bye.with("To", "<sip:agent@example.com>;tag=other");
    call.peer.exchange(&of_another, 481).await;
    assert_eq!(lab.fetch("order").await["status"], "ONGOING");
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stranger_cannot_hang_up() {
    let lab = Lab::start(&[("account.0.trunk.0.allow", r#"["127.0.0.1/32"]"#)]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "stranger").await;
    let mut stranger = Peer::calling_from("127.0.0.2", &lab, Transport::Udp).await;
    let via = format!(
        "SIP/2.0/UDP {};rport;branch=z9hG4bKstranger",
        stranger.address
    );
    let bye = call.dialog.request("BYE").with("Via", via);
    stranger.exchange(&bye, 403).await;
    assert_eq!(lab.fetch("stranger").await["status"], "ONGOING");
    call.hang_up().await;
    lab.until_completed_without_output("stranger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bye_from_another_address_of_the_trunk_ends_the_call() {
    let lab = Lab::start(&[]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "sibling").await;
    let mut sibling = Peer::calling_from("127.0.0.2", &lab, Transport::Udp).await;
    let via = format!(
        "SIP/2.0/UDP {};rport;branch=z9hG4bKsibling",
        sibling.address
    );
    let bye = call.dialog.request("BYE").with("Via", via);
    sibling.exchange(&bye, 200).await;
    lab.until_completed_without_output("sibling").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_outside_any_call_get_481_and_acknowledgements_nothing() {
    let lab = Lab::start(&[]).await;
    lab.register("outside", json!({})).await;
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let invite = Call::invite(&lab, &peer, "outside", "").without("Content-Type");
    let line = |method: &str| format!("{method} {} SIP/2.0", invite.uri());
    for method in ["BYE", "NOTIFY", "INFO", "UPDATE"] {
        let request = invite.clone().as_another_call().with_line(line(method));
        let request = request
            .with("CSeq", format!("1 {method}"))
            .with("To", "<sip:agent@example.com>;tag=1");
        peer.exchange(&request, 481).await;
    }
    let ack = invite
        .as_another_call()
        .with_line("ACK sip:agent@127.0.0.1 SIP/2.0")
        .with("CSeq", "1 ACK");
    peer.send(&ack).await;
    let answered =
        |message: &sip_message::Message| text(message, "Call-ID") == ack.value("Call-ID");
    peer.assert_none(Duration::from_millis(200), answered).await;
    lab.assert_unclaimed("outside").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_is_repeated_for_a_repeated_invite_and_no_second_call_begins() {
    let lab = Lab::start(&[]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "twice").await;
    let before = lab.gateway.live_calls().len();
    call.peer.send(&call.invite).await;
    call.peer
        .assert_none(Duration::from_millis(200), |message| {
            message.status().is_some_and(|status| status >= 300)
        })
        .await;
    assert_eq!(lab.gateway.live_calls().len(), before);
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_find_the_peer_when_its_connection_is_gone() {
    let lab = Lab::with_lab_agent().await;
    let mut listening = Peer::waiting(Transport::Tcp).await;
    let input = json!({ "inputVariables": { "lab_complete_after_ms": 400 } });
    lab.register("reconnect", json!({ "inputContext": input }))
        .await;
    let peer = Peer::calling(&lab, Transport::Tcp).await;
    let sound = Sound::start();
    let contact = format!("<sip:sbc@{};transport=tcp>", listening.address);
    let invite = Call::invite(&lab, &peer, "reconnect", &offer(&sound)).with("Contact", contact);
    let call = Call::send(peer, sound, invite).await;
    call.peer.disconnect().await;
    let bye = listening.request("BYE").await;
    lab.assert_completed_with_output("reconnect").await;
    listening.answer(&bye, "200 OK").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_may_be_cut_anywhere() {
    let lab = Lab::start(&[]).await;
    lab.register("cut", json!({})).await;
    let mut peer = Peer::calling(&lab, Transport::Tcp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "cut", &offer(&sound));
    for piece in invite.to_text().as_bytes().chunks(41) {
        peer.send_bytes(piece).await;
        tokio::task::yield_now().await;
    }
    let answer = peer.response_of(&invite, 200).await.message;
    // Two requests in one piece.
    let mut dialog = stories::Dialog::calling((peer.transport, peer.address), &answer);
    let (ack, bye) = (dialog.request("ACK"), dialog.request("BYE"));
    let both = format!("{}{}", ack.to_text(), bye.to_text());
    peer.send_bytes(both.as_bytes()).await;
    peer.response_of(&bye, 200).await;
    lab.until_completed_without_output("cut").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_alive_of_a_connection_is_answered() {
    let lab = Lab::start(&[]).await;
    let mut stream = TcpStream::connect(lab.sip(Transport::Tcp)).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut answer = [0; 2];
    let reading = stream.read_exact(&mut answer);
    tokio::time::timeout(stories::PATIENCE, reading)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"\r\n");
}
