//! Each row of the arrival table, with its exact status.

use std::time::Duration;

use serde_json::json;
use sip_message::Message;
use stories::{
    AgentServer, Call, Lab, Peer, Request, Sound, TRANSFER_HEADER, Transport, offer, text,
};

/// A row: what is wrong, the request that has it, what it gets, and a field of the answer.
type Row = (
    &'static str,
    Request,
    u16,
    Option<(&'static str, &'static str)>,
);

const G729: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n";
const VIDEO: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 4000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";

/// What is wrong with the message itself.
fn rows_of_the_message(good: &Request) -> Vec<Row> {
    let good = || good.clone().as_another_call();
    let version = format!("INVITE {} SIP/3.0", good().uri());
    let many = (0..300).fold(good(), |request, n| request.and(&format!("X-{n}"), "1"));
    let two_lengths = good()
        .with("Content-Length", "0")
        .and("Content-Length", "10");
    vec![
        ("no CSeq", good().without("CSeq"), 400, None),
        (
            "CSeq of another method",
            good().with("CSeq", "1 BYE"),
            400,
            None,
        ),
        ("no Call-ID", good().without("Call-ID"), 400, None),
        ("two From", good().and("From", "<sip:b@c>;tag=2"), 400, None),
        (
            "negative Content-Length",
            good().with("Content-Length", "-1"),
            400,
            None,
        ),
        ("two Content-Lengths", two_lengths, 400, None),
        (
            "another version of SIP",
            good().with_line(version),
            505,
            None,
        ),
        ("300 more header fields", many, 513, None),
    ]
}

/// What is wrong with what it asks for, RFC 3261 §8.2.
fn rows_of_the_wish(good: &Request) -> Vec<Row> {
    let good = || good.clone().as_another_call();
    let uri = good().uri().to_owned();
    let asking = |method: &str| {
        let line = format!("{method} {uri} SIP/2.0");
        good().with_line(line).with("CSeq", format!("1 {method}"))
    };
    let nobody = format!("INVITE {} SIP/2.0", uri.replace("agent@", "nobody@"));
    let lacking = good().with("Require", "teleport");
    let allow = Some(("Allow", "INVITE"));
    vec![
        ("unknown method", asking("DANCE"), 501, allow),
        ("REGISTER", asking("REGISTER"), 405, allow),
        (
            "tel URI",
            good().with_line("INVITE tel:+15551234567 SIP/2.0"),
            416,
            None,
        ),
        ("unknown user", good().with_line(nobody), 404, None),
        (
            "extension that we lack",
            lacking,
            420,
            Some(("Unsupported", "teleport")),
        ),
        (
            "our own Via below",
            good().and("Via", own_via(&uri)),
            482,
            None,
        ),
    ]
}

/// What is wrong with its body and its transfer.
fn rows_of_the_call(good: &Request) -> Vec<Row> {
    let good = || good.clone().as_another_call();
    let accept = Some(("Accept", "application/sdp"));
    let named = Some(("reason", TRANSFER_HEADER));
    let offering = |sdp| good().with_body("application/sdp", sdp);
    vec![
        ("text", good().with_body("text/plain", "hello"), 415, accept),
        (
            "compressed",
            good().with("Content-Encoding", "gzip"),
            415,
            accept,
        ),
        ("no transfer", good().without(TRANSFER_HEADER), 400, named),
        (
            "empty transfer",
            good().with(TRANSFER_HEADER, "  "),
            400,
            named,
        ),
        (
            "two transfers",
            good().and(TRANSFER_HEADER, "other"),
            400,
            named,
        ),
        (
            "no codec of ours",
            offering(G729),
            488,
            Some(("Warning", "305")),
        ),
        ("no audio", offering(VIDEO), 488, Some(("Warning", "304"))),
        (
            "unknown transfer",
            good().with(TRANSFER_HEADER, "never-registered"),
            404,
            None,
        ),
    ]
}

fn branch_of(request: &Request) -> &str {
    request.value("Via").rsplit_once('=').unwrap().1
}

fn own_via(uri: &str) -> String {
    let (_, host) = uri.split_once('@').unwrap();
    format!("SIP/2.0/UDP {host};branch=z9hG4bKours")
}

fn assert_row(row: &Row, answer: &Message) {
    let (what, _, status, field) = row;
    assert_eq!(
        answer.status(),
        Some(*status),
        "{what}: {:?}",
        answer.bytes()
    );
    match field {
        None => {}
        Some(("reason", wanted)) => {
            let reason = String::from_utf8_lossy(answer.reason_phrase().unwrap());
            assert!(reason.contains(wanted), "{what}: {reason}");
        }
        Some((name, wanted)) => {
            let value = text(answer, *name);
            assert!(value.contains(wanted), "{what}: {name} is {value:?}");
        }
    }
}

async fn story(transport: Transport) {
    let lab = Lab::start(&[]).await;
    lab.register("rows", json!({})).await;
    let sound = Sound::start();
    // One connection each: after some of them the end of a message cannot be known.
    let peer = Peer::calling(&lab, transport).await;
    let good = Call::invite(&lab, &peer, "rows", &offer(&sound));
    let rows = [
        rows_of_the_message(&good),
        rows_of_the_wish(&good),
        rows_of_the_call(&good),
    ];
    for row in rows.concat() {
        let (what, request, ..) = &row;
        let mut peer = Peer::calling(&lab, transport).await;
        peer.send(request).await;
        let branch = branch_of(request).to_owned();
        let answer = peer.wait(what, |message| {
            message.status().is_some_and(|status| status >= 200)
                && text(message, "Via").contains(&branch)
        });
        assert_row(&row, &answer.await.message);
        // Refusals before admission leave nothing behind.
        lab.assert_unclaimed("rows").await;
    }
    assert_eq!(lab.gateway.live_calls().len(), 0);
    let mut call = Call::send(Peer::calling(&lab, transport).await, sound, good).await;
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_request_itself_over_udp() {
    story(Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_request_itself_over_tcp() {
    story(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_row_that_applies_decides() {
    let lab = Lab::start(&[]).await;
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let good = Call::invite(&lab, &peer, "order", "");
    let uri = good.uri().to_owned();
    let everything_wrong = good
        .with_line(format!("DANCE {uri} SIP/2.0").replace("agent@", "nobody@"))
        .with("CSeq", "1 DANCE")
        .with("Require", "teleport")
        .with_body("text/plain", "hello")
        .without(TRANSFER_HEADER);
    peer.exchange(&everything_wrong, 501).await;
    let nearer = everything_wrong
        .with_line(format!("INVITE {uri} SIP/2.0").replace("agent@", "nobody@"))
        .with("CSeq", "1 INVITE");
    peer.exchange(&nearer.clone().as_another_call(), 404).await;
    let nearer = nearer.with_line(format!("INVITE {uri} SIP/2.0"));
    peer.exchange(&nearer.clone().as_another_call(), 420).await;
    let nearer = nearer.without("Require");
    peer.exchange(&nearer.clone().as_another_call(), 415).await;
    let nearer = nearer.with_body("application/sdp", G729);
    peer.exchange(&nearer.clone().as_another_call(), 400).await;
    let nearer = nearer.with(TRANSFER_HEADER, "unknown");
    peer.exchange(&nearer.clone().as_another_call(), 488).await;
    let sound = Sound::start();
    peer.exchange(&nearer.with_body("application/sdp", offer(&sound)), 404)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn source_of_no_trunk_is_refused_or_challenged_or_hears_nothing() {
    let elsewhere = r#"["192.0.2.0/24"]"#;
    let refusing = Lab::start(&[("account.0.trunk.0.allow", elsewhere)]).await;
    let challenging = Lab::start(&[
        ("account.0.trunk.0.allow", elsewhere),
        (
            "account.0.trunk.0.digest",
            r#"{ username = "ann", password = "secret" }"#,
        ),
    ])
    .await;
    let silent = Lab::start(&[
        ("account.0.trunk.0.allow", elsewhere),
        ("sip.unauthenticated", "silence"),
    ])
    .await;
    for (lab, status) in [(&refusing, 403), (&challenging, 401)] {
        let mut peer = Peer::calling(lab, Transport::Udp).await;
        // Whatever else is wrong with it: strangers learn nothing.
        let invite = Call::invite(lab, &peer, "x", "")
            .with("Require", "teleport")
            .without(TRANSFER_HEADER);
        let refused = peer.exchange(&invite, status).await.message;
        assert_eq!(
            text(&refused, "WWW-Authenticate").contains("realm=\"handback\""),
            status == 401
        );
        let options = Request::new("OPTIONS", invite.uri());
        let options = ["Via", "Max-Forwards", "From", "To", "Call-ID"]
            .into_iter()
            .fold(options, |request, name| {
                request.with(name, invite.value(name))
            });
        peer.exchange(&options.with("CSeq", "1 OPTIONS").as_another_call(), status)
            .await;
    }
    let mut peer = Peer::calling(&silent, Transport::Udp).await;
    let invite = Call::invite(&silent, &peer, "x", "");
    peer.send(&invite).await;
    peer.assert_none(Duration::from_millis(300), |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn same_call_by_another_path_is_482() {
    let lab = Lab::start(&[]).await;
    lab.register("merged", json!({})).await;
    let mut call = Call::place(&lab, Transport::Udp, "merged").await;
    let before = call.invite.value("Via").to_owned();
    let by_another_path = call.invite.clone().with("Via", format!("{before}x"));
    call.peer.send(&by_another_path).await;
    let branch = branch_of(&by_another_path).to_owned();
    let answer = call
        .peer
        .wait("482", |message| text(message, "Via").contains(&branch));
    let answer = answer.await.message;
    assert_eq!(answer.status(), Some(482));
    assert_eq!(lab.fetch("merged").await["status"], "ONGOING");
    call.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_invite_gets_the_same_answer_again() {
    let lab = Lab::start(&[("account.0.trunk.0.allow", r#"["127.0.0.1/32"]"#)]).await;
    let mut gone = Call::registered(&lab, Transport::Udp, "gone").await;
    gone.hang_up().await;
    lab.until_completed_without_output("gone").await;
    let busy = Call::registered(&lab, Transport::Udp, "busy").await;
    lab.register("free", json!({})).await;
    let sound = Sound::start();
    let video = offer(&sound).replace("m=audio", "m=video");
    for (host, id, status, sdp) in [
        ("127.0.0.2", "free", 403, ""),
        ("127.0.0.1", "", 400, ""),
        ("127.0.0.1", "nobody", 404, ""),
        ("127.0.0.1", "busy", 486, ""),
        ("127.0.0.1", "free", 488, video.as_str()),
        ("127.0.0.1", "gone", 410, ""),
    ] {
        let mut peer = Peer::calling_from(host, &lab, Transport::Udp).await;
        let mut invite = Call::invite(&lab, &peer, id, &offer(&sound));
        if !sdp.is_empty() {
            invite = invite.with_body("application/sdp", sdp);
        }
        let refused = peer.exchange(&invite, status).await.message;
        peer.send(&invite).await;
        // Sooner than timer G repeats what has a transaction.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(peer.repeats(), 1, "{status}");
        peer.send(&invite.beside("ACK", &text(&refused, "To")))
            .await;
    }
    lab.assert_unclaimed("free").await;
    drop(busy);
}

#[tokio::test(flavor = "multi_thread")]
async fn transfer_that_has_its_call_is_busy_and_then_gone() {
    let lab = Lab::start(&[("agent.hook", "builtin:lab")]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "once").await;
    let again = call.invite.clone().as_another_call();
    call.peer.exchange(&again, 486).await;
    assert_eq!(lab.fetch("once").await["status"], "ONGOING");
    call.hang_up().await;
    lab.until_completed_without_output("once").await;
    let again = call.invite.clone().as_another_call();
    call.peer.exchange(&again, 410).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfer_past_its_time_to_live_is_gone() {
    let lab = Lab::start(&[("transfer.time_to_live", "1s")]).await;
    lab.register("late", json!({})).await;
    let expired = lab.until_status("late", "EXPIRED").await;
    assert!(expired.get("callReceivedAt").is_none());
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "late", &offer(&sound));
    peer.exchange(&invite, 410).await;
    assert_eq!(lab.fetch("late").await["status"], "EXPIRED");
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_is_not_reached_is_503_and_the_transfer_is_active_again_before() {
    let agent = AgentServer::start().await;
    let url = agent.url();
    let lab = Lab::start(&[("agent.hook", &url), ("agent.connect_timeout", "1s")]).await;
    drop(agent);
    lab.register("unreached", json!({})).await;
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut peer = Peer::calling(&lab, transport).await;
        let sound = Sound::start();
        let invite = Call::invite(&lab, &peer, "unreached", &offer(&sound));
        peer.send(&invite).await;
        let refused = peer.response(&invite).await;
        lab.assert_unclaimed("unreached").await;
        assert_eq!(refused.message.status(), Some(503));
        assert!(refused.message.retry_after().is_none());
    }
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_refuses_is_503() {
    let agent = AgentServer::start().await;
    let url = agent.url();
    let lab = Lab::start(&[("agent.hook", &url), ("agent.connect_timeout", "1s")]).await;
    lab.register("refused", json!({})).await;
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "refused", &offer(&sound));
    peer.send(&invite).await;
    let refusing = async {
        loop {
            agent.refuse_next().await;
        }
    };
    let refused = tokio::select! {
        () = refusing => unreachable!(),
        refused = peer.response(&invite) => refused,
    };
    lab.assert_unclaimed("refused").await;
    assert_eq!(refused.message.status(), Some(503));
    assert!(refused.message.retry_after().is_none());
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_without_an_offer_gets_ours_in_the_200() {
    let lab = Lab::start(&[]).await;
    lab.register("late-offer", json!({})).await;
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "late-offer", "").without("Content-Type");
    let answer = peer.exchange(&invite, 200).await.message;
    assert!(String::from_utf8_lossy(&answer.body()).contains("m=audio"));
    let mut dialog = stories::Dialog::calling((peer.transport, peer.address), &answer);
    peer.send(
        &dialog
            .request("ACK")
            .with_body("application/sdp", offer(&sound)),
    )
    .await;
    stories::eventually("RTP", async || (!sound.packets().is_empty()).then_some(())).await;
    peer.exchange(&dialog.request("BYE"), 200).await;
    lab.until_completed_without_output("late-offer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_answer_in_the_acknowledgement_ends_the_call_with_488() {
    let lab = Lab::start(&[]).await;
    for (id, answer) in [("none", ""), ("video", VIDEO), ("unknown-codec", G729)] {
        lab.register(id, json!({})).await;
        let mut peer = Peer::calling(&lab, Transport::Udp).await;
        let invite = Call::invite(&lab, &peer, id, "").without("Content-Type");
        let offered = peer.exchange(&invite, 200).await.message;
        let here = (peer.transport, peer.address);
        let mut dialog = stories::Dialog::calling(here, &offered);
        let ack = dialog.request("ACK");
        let ack = match answer {
            "" => ack,
            answer => ack.with_body("application/sdp", answer),
        };
        peer.send(&ack).await;
        let bye = peer.request("BYE").await;
        assert!(
            text(&bye.message, "Reason").contains("SIP;cause=488"),
            "{id}"
        );
        peer.answer(&bye, "200 OK").await;
        lab.until_completed_without_output(id).await;
    }
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_calls_for_one_transfer_exactly_one_is_taken() {
    let lab = Lab::start(&[]).await;
    lab.register("race", json!({})).await;
    let sound = Sound::start();
    let mut peers = Vec::new();
    for transport in [Transport::Udp, Transport::Tcp].repeat(5) {
        let peer = Peer::calling(&lab, transport).await;
        let invite = Call::invite(&lab, &peer, "race", &offer(&sound));
        peers.push((peer, invite));
    }
    for (peer, invite) in &peers {
        peer.send(invite).await;
    }
    let mut taken = 0;
    for (peer, invite) in &mut peers {
        let answer = peer.response(invite).await.message;
        match answer.status() {
            Some(200) => taken += 1,
            status => assert_eq!(status, Some(486)),
        }
    }
    assert_eq!(taken, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ringing_is_heard_where_it_is_wanted() {
    let lab = Lab::start(&[("agent.ringing", "true")]).await;
    lab.register("rings", json!({})).await;
    let mut peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "rings", &offer(&sound));
    peer.send(&invite).await;
    for status in [100, 180, 200] {
        peer.response_of(&invite, status).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn call_without_hops_left_ends_here_all_the_same() {
    let lab = Lab::start(&[]).await;
    lab.register("hops", json!({})).await;
    let peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "hops", &offer(&sound)).with("Max-Forwards", "0");
    let mut call = Call::send(peer, sound, invite).await;
    call.hang_up().await;
}
