//! Limits of a trunk and of the node, and a gateway that drains.

use serde_json::json;
use sip_message::Message;
use stories::{Call, Lab, Peer, Request, Sound, Transport, eventually, offer};

async fn refused(lab: &Lab, id: &str) -> Message {
    let mut peer = Peer::calling(lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(lab, &peer, id, &offer(&sound));
    let answer = peer.exchange(&invite, 503).await.message;
    lab.assert_unclaimed(id).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn full_trunk_is_503_without_retry_after() {
    let lab = Lab::start(&[("account.0.trunk.0.max_calls", "1")]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "trunk-1").await;
    lab.register("trunk-2", json!({})).await;
    assert_eq!(refused(&lab, "trunk-2").await.retry_after(), None);
    call.hang_up().await;
    lab.until_idle().await;
    let mut call = Call::place(&lab, Transport::Udp, "trunk-2").await;
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_node_is_503_with_retry_after_1() {
    let lab = Lab::start(&[("limits.calls", "1")]).await;
    let mut call = Call::registered(&lab, Transport::Tcp, "node-1").await;
    lab.register("node-2", json!({})).await;
    assert_eq!(refused(&lab, "node-2").await.retry_after(), Some(1));
    call.hang_up().await;
    lab.until_idle().await;
    let mut call = Call::place(&lab, Transport::Tcp, "node-2").await;
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_nodes_rate_are_503_with_retry_after_1() {
    let lab = Lab::start(&[("limits.calls_per_second", "1")]).await;
    for id in ["rate-1", "rate-2", "rate-3"] {
        lab.register(id, json!({})).await;
    }
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invites =
        ["rate-1", "rate-2", "rate-3"].map(|id| Call::invite(&lab, &peer, id, &offer(&sound)));
    for invite in &invites {
        peer.send(invite).await;
    }
    let mut refused = 0;
    for invite in &invites {
        let answer = peer.response(invite).await.message;
        if answer.status() == Some(503) {
            assert_eq!(answer.retry_after(), Some(1));
            refused += 1;
        }
    }
    // Two of three within a second that may change between them.
    assert!(refused >= 1, "none was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_gateway_is_503_with_retry_after_5_and_finishes_its_calls() {
    let lab = Lab::start(&[]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "drain-1").await;
    lab.register("drain-2", json!({})).await;
    let options = options(&lab, &call.peer);
    call.peer
        .exchange(&options.clone().as_another_call(), 200)
        .await;
    let leaving = async {
        eventually("the drain", async || {
            let mut peer = Peer::calling(&lab, Transport::Udp).await;
            let options = options.clone().as_another_call();
            peer.send(&options).await;
            let answer = peer.response(&options).await.message;
            (answer.status() == Some(503) && answer.retry_after() == Some(5)).then_some(())
        })
        .await;
        assert_eq!(refused(&lab, "drain-2").await.retry_after(), Some(5));
        // Live calls go on.
        assert_eq!(lab.fetch("drain-1").await["status"], "ONGOING");
        call.hang_up().await;
    };
    tokio::join!(lab.gateway.drain(), leaving);
    lab.until_idle().await;
}

fn options(lab: &Lab, peer: &Peer) -> Request {
    let invite = Call::invite(lab, peer, "x", "");
    let fields = ["Via", "Max-Forwards", "From", "To", "Call-ID"];
    let options = Request::new("OPTIONS", invite.uri());
    let options = fields.into_iter().fold(options, |request, name| {
        request.with(name, invite.value(name))
    });
    options.with("CSeq", "7 OPTIONS")
}
