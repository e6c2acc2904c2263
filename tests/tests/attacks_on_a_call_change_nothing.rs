//! Somebody who has seen a call's messages, or guesses at them, cannot end, move or change it.

use std::time::Duration;

use serde_json::json;
use stories::{
    Call, Lab, Peer, Request, Sound, TRANSFER_HEADER, Transport, eventually, offer, text,
};

/// Between two packets on a machine that does much else besides.
const NO_GAP: Duration = Duration::from_millis(250);

async fn lab() -> Lab {
    Lab::start(&[("account.0.trunk.0.allow", r#"["127.0.0.1/32"]"#)]).await
}

fn from(peer: &Peer, request: Request, branch: &str) -> Request {
    let via = format!("SIP/2.0/UDP {};rport;branch=z9hG4bK{branch}", peer.address);
    request.with("Via", via)
}

/// The caller still hears every packet in its turn.
async fn is_heard_without_a_gap(call: &Call, since: usize) {
    eventually("audio after the attack", async || {
        (call.sound.packets().len() > since + 10).then_some(())
    })
    .await;
    let packets = call.sound.packets();
    let gaps = packets[since.max(1) - 1..]
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at);
    assert!(gaps.max().unwrap() < NO_GAP);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_seen_the_dialog_from_elsewhere_gets_403_and_the_audio_goes_on() {
    let lab = lab().await;
    let mut call = Call::registered(&lab, Transport::Udp, "seen").await;
    let mut stranger = Peer::calling_from("127.0.0.2", &lab, Transport::Udp).await;
    let own = Sound::start();
    let before = call.sound.packets().len();
    for method in [
        "BYE", "INVITE", "UPDATE", "REFER", "INFO", "NOTIFY", "OPTIONS", "PRACK",
    ] {
        let mut request = from(&stranger, call.dialog.request(method), method);
        if matches!(method, "INVITE" | "UPDATE") {
            request = request.with_body("application/sdp", offer(&own));
        }
        let request = request.with("Refer-To", "<sip:thief@127.0.0.2>");
        let answer = stranger.exchange(&request, 403).await.message;
        assert_eq!(
            text(&answer, "WWW-Authenticate"),
            "",
            "nor is it challenged"
        );
    }
    let ack = from(&stranger, call.dialog.request("ACK"), "ack");
    stranger
        .send(&ack.with_body("application/sdp", offer(&own)))
        .await;
    let cancel = from(&stranger, call.invite.clone(), "cancel")
        .with_line(format!("CANCEL {} SIP/2.0", call.invite.uri()))
        .with("CSeq", "1 CANCEL");
    stranger.exchange(&cancel, 481).await;
    is_heard_without_a_gap(&call, before).await;
    assert!(own.packets().is_empty(), "the audio was never moved");
    assert_eq!(lab.fetch("seen").await["status"], "ONGOING");
    call.hang_up().await;
    lab.until_completed_without_output("seen").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessed_tags_get_481_and_old_numbers_500_from_the_trunk_itself() {
    let lab = lab().await;
    let mut call = Call::registered(&lab, Transport::Udp, "guessed").await;
    let before = call.sound.packets().len();
    let ours = call.dialog.remote.clone();
    let theirs = call.dialog.local.clone();
    for method in ["BYE", "INVITE", "UPDATE", "INFO"] {
        for (name, value) in [
            ("To", format!("{ours}x")),
            ("To", ours.replace(";tag=", ";tag=0")),
            ("From", format!("{theirs}x")),
            ("Call-ID", "another".to_owned()),
        ] {
            let request = call.dialog.request(method).with(name, value);
            call.peer.exchange(&request, 481).await;
        }
        let old = call
            .dialog
            .request(method)
            .with("CSeq", format!("1 {method}"));
        call.peer.exchange(&old, 500).await;
    }
    is_heard_without_a_gap(&call, before).await;
    call.hang_up().await;
    lab.until_completed_without_output("guessed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_messages_of_an_ended_call_do_nothing_to_the_next_one() {
    let lab = lab().await;
    let mut first = Call::registered(&lab, Transport::Udp, "first").await;
    let bye = first.dialog.request("BYE");
    first.peer.exchange(&bye, 200).await;
    lab.until_completed_without_output("first").await;
    let call = Call::registered(&lab, Transport::Udp, "next").await;
    let before = call.sound.packets().len();
    let replayed = bye.clone().again().with("CSeq", bye.value("CSeq"));
    first.peer.exchange(&replayed, 481).await;
    let invite = first.invite.clone().again();
    first.peer.exchange(&invite, 410).await;
    is_heard_without_a_gap(&call, before).await;
    assert_eq!(lab.fetch("next").await["status"], "ONGOING");
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_a_stranger_is_answered_only_so_often_while_the_call_goes_on() {
    let lab = lab().await;
    let mut call = Call::registered(&lab, Transport::Udp, "flood").await;
    let stranger = Peer::calling_from("127.0.0.2", &lab, Transport::Udp).await;
    let before = call.sound.packets().len();
    for n in 0..1_000 {
        let invite = Call::invite(&lab, &stranger, "flood", "").with(TRANSFER_HEADER, "flood");
        stranger
            .send(&from(&stranger, invite, &format!("flood{n}")))
            .await;
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    eventually("most of it to be counted", async || {
        let (_, counters) = lab.gateway.sip_census().await.unwrap();
        (counters.unanswered > 500).then_some(())
    })
    .await;
    is_heard_without_a_gap(&call, before).await;
    let options = call.dialog.request("OPTIONS");
    call.peer.exchange(&options, 200).await;
    lab.register("another", json!({})).await;
    call.hang_up().await;
    lab.until_idle().await;
}
