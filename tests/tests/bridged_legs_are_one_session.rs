//! Caller and return target are bridged: what one side asks of its session, the other is asked too.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use stories::{
    AgentServer, Call, Dialog, Lab, Peer, Received, Request, Sound, Target, Transport, eventually,
    offer, speech, text,
};

/// Both legs, up.
struct Bridged {
    call: Call,
    target: Target,
    desk: Dialog,
    /// Where the gateway hears the target.
    to_caller: SocketAddr,
    /// The INVITE that the target was called with.
    invite: Received,
}

fn return_to(uri: &str) -> Value {
    json!({ "returnTransferType": "INVITE", "returnURI": uri })
}

impl Bridged {
    async fn start(lab: &Lab, transport: Transport, id: &str) -> Self {
        let mut target = Target::waiting(transport).await;
        let sip = return_to(&target.uri("queue", ""));
        let call = Call::that_completes_itself(lab, transport, id, sip).await;
        let invite = target.peer.request("INVITE").await;
        let (desk, to_caller) = target.answer(&invite).await;
        Self {
            call,
            target,
            desk,
            to_caller,
            invite,
        }
    }

    /// What each side says now is heard by the other.
    async fn both_are_heard(&mut self, seed: usize) {
        let said = speech(50 + seed).split_off(seed * 160);
        let (from_caller, from_desk) = (said[..25 * 160].to_vec(), said[25 * 160..].to_vec());
        let media = self.call.media;
        tokio::join!(
            self.call.sound.say(media, &from_caller),
            self.target.sound.say(self.to_caller, &from_desk)
        );
        until_heard("the caller", &self.target.sound, &from_caller).await;
        until_heard("the desk", &self.call.sound, &from_desk).await;
    }

    async fn hang_up(&mut self) {
        self.call.hang_up().await;
        let bye = self.target.peer.request("BYE").await;
        self.target.peer.answer(&bye, "200 OK").await;
    }
}

/// Five frames in a row of what was said: a machine that stands still in between loses others.
async fn until_heard(who: &str, sound: &Sound, said: &[u8]) {
    eventually(&format!("{who} to be heard"), async || {
        any_of(&sound.heard(), said).then_some(())
    })
    .await;
}

fn any_of(heard: &[u8], said: &[u8]) -> bool {
    let mut parts = said.windows(5 * 160).step_by(160);
    parts.any(|part| heard.windows(part.len()).any(|window| window == part))
}

fn sdp(sound: &Sound, direction: &str) -> String {
    offer(sound).replace("sendrecv", direction)
}

fn body(received: &Received) -> String {
    String::from_utf8_lossy(&received.message.body()).into_owned()
}

/// One side asks by a re-INVITE or UPDATE; gives the request that went to the other side.
async fn ask(
    asker: (&Peer, &mut Dialog),
    method: &str,
    sdp: &str,
    other: &mut Peer,
) -> (Request, Received) {
    let request = asker.1.request(method).with_body("application/sdp", sdp);
    asker.0.send(&request).await;
    (request, other.request("INVITE").await)
}

/// The other side's answer crosses back, and everything is acknowledged.
async fn answered(
    other: (&mut Peer, &Received, &str),
    asker: (&mut Peer, &mut Dialog),
    request: &Request,
) -> String {
    let (peer, crossed, sdp) = other;
    let contact = format!("<sip:peer@{}>", peer.address);
    let fields = [("Contact", contact.as_str())];
    peer.answer_with(crossed, "200 OK", &fields, sdp).await;
    peer.request("ACK").await;
    let answer = asker.0.response(request).await;
    assert_eq!(answer.message.status(), Some(200));
    if request.method() == "INVITE" {
        asker.0.send(&asker.1.request("ACK")).await;
    }
    body(&answer)
}

async fn callers_hold(transport: Transport, method: &str) {
    let lab = Lab::with_lab_agent().await;
    let mut up = Bridged::start(&lab, transport, "hold").await;
    up.both_are_heard(1).await;
    let port_line = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("m=audio"));
        line.unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let ours = port_line(&body(&up.invite));
    for (direction, other, seed) in [("sendonly", "recvonly", 0), ("sendrecv", "sendrecv", 60)] {
        let callers = sdp(&up.call.sound, direction);
        let asker = (&up.call.peer, &mut up.call.dialog);
        let (request, crossed) = ask(asker, method, &callers, &mut up.target.peer).await;
        let asked = body(&crossed);
        assert!(asked.contains(&format!("a={direction}\r\n")), "{asked}");
        assert_eq!(port_line(&asked), ours, "the media address stays");
        let targets = sdp(&up.target.sound, other);
        let heard = answered(
            (&mut up.target.peer, &crossed, &targets),
            (&mut up.call.peer, &mut up.call.dialog),
            &request,
        )
        .await;
        assert!(heard.contains(&format!("a={other}\r\n")), "{heard}");
        if seed == 0 {
            // The holder may play music; it hears nothing.
            let music = speech(90).split_off(80 * 160);
            let media = up.call.media;
            let before = up.call.sound.packets().len();
            up.call.sound.say(media, &music).await;
            until_heard("the music", &up.target.sound, &music).await;
            assert!(up.call.sound.packets().len() <= before + 2, "heard on hold");
        } else {
            up.both_are_heard(seed).await;
        }
    }
    let sources: std::collections::BTreeSet<u32> =
        up.call.sound.packets().iter().map(|it| it.ssrc).collect();
    assert_eq!(sources.len(), 1, "one source to the caller all along");
    up.hang_up().await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_hold_and_resumption_by_re_invite_cross_over_udp_and_tcp() {
    callers_hold(Transport::Udp, "INVITE").await;
    callers_hold(Transport::Tcp, "INVITE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_hold_and_resumption_by_update_cross_as_re_invites() {
    callers_hold(Transport::Udp, "UPDATE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_hold_and_resumption_cross_and_the_listening_agent_hears_both_again() {
    let agent = AgentServer::start().await;
    let lab = Lab::start(&[("agent.hook", &agent.url())]).await;
    let mut target = Target::waiting(Transport::Udp).await;
    lab.register("th", json!({ "sip": return_to(&target.uri("queue", "")) }))
        .await;
    let (call, mut session) = tokio::join!(Call::place(&lab, Transport::Udp, "th"), agent.accept());
    let hello = json!({ "event": "hook.hello", "version": "1.0.0", "features": ["tracks"] });
    session.send(hello).await;
    session.event("hook.welcome").await;
    let output = json!({ "transferType": "AGENT", "currentTaskName": "t", "referenceVariables": {}, "transferVariables": {} });
    session
        .send(json!({ "event": "hook.complete", "outputContext": output }))
        .await;
    let invite = target.peer.request("INVITE").await;
    let (desk, to_caller) = target.answer(&invite).await;
    let mut up = Bridged {
        call,
        target,
        desk,
        to_caller,
        invite,
    };
    up.both_are_heard(1).await;
    for (direction, other) in [("inactive", "inactive"), ("sendrecv", "sendrecv")] {
        let targets = sdp(&up.target.sound, direction);
        let asker = (&up.target.peer, &mut up.desk);
        let (request, crossed) = ask(asker, "INVITE", &targets, &mut up.call.peer).await;
        let asked = body(&crossed);
        assert!(asked.contains(&format!("a={direction}\r\n")), "{asked}");
        let callers = sdp(&up.call.sound, other);
        let heard = answered(
            (&mut up.call.peer, &crossed, &callers),
            (&mut up.target.peer, &mut up.desk),
            &request,
        )
        .await;
        assert!(heard.contains(&format!("a={other}\r\n")), "{heard}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let said = speech(150).split_off(100 * 160);
    let (from_caller, from_desk) = said.split_at(25 * 160);
    let media = up.call.media;
    tokio::join!(
        up.call.sound.say(media, from_caller),
        up.target.sound.say(up.to_caller, from_desk)
    );
    for (track, said) in [("inbound", from_caller), ("outbound", from_desk)] {
        eventually(&format!("the {track} track after the hold"), async || {
            any_of(&session.heard(track), said).then_some(())
        })
        .await;
    }
    up.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_hold_is_refused_to_the_asker_and_the_call_goes_on() {
    let lab = Lab::with_lab_agent().await;
    let mut up = Bridged::start(&lab, Transport::Udp, "refused").await;
    for (status, line) in [
        (488, "488 Not Acceptable Here"),
        (500, "500 Server Internal Error"),
    ] {
        let callers = sdp(&up.call.sound, "sendonly");
        let asker = (&up.call.peer, &mut up.call.dialog);
        let (request, crossed) = ask(asker, "INVITE", &callers, &mut up.target.peer).await;
        up.target.peer.answer(&crossed, line).await;
        up.target.peer.request("ACK").await;
        let answer = up.call.peer.response(&request).await;
        assert_eq!(answer.message.status(), Some(status));
        let to = text(&answer.message, "To");
        up.call.peer.send(&request.beside("ACK", &to)).await;
        up.both_are_heard(usize::from(status) % 7).await;
    }
    up.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_of_both_sides_that_meet_are_both_answered() {
    let lab = Lab::with_lab_agent().await;
    let mut up = Bridged::start(&lab, Transport::Udp, "glare").await;
    let callers = sdp(&up.call.sound, "sendonly");
    let asker = (&up.call.peer, &mut up.call.dialog);
    let (of_caller, crossed) = ask(asker, "INVITE", &callers, &mut up.target.peer).await;
    // The target's own hold meets ours: both are 491.
    let targets = sdp(&up.target.sound, "sendonly");
    let request = up
        .desk
        .request("INVITE")
        .with_body("application/sdp", targets.as_str());
    let refused = up.target.peer.exchange(&request, 491).await;
    let to = text(&refused.message, "To");
    up.target.peer.send(&request.beside("ACK", &to)).await;
    up.target.peer.answer(&crossed, "491 Request Pending").await;
    up.target.peer.request("ACK").await;
    // It owns no Call-ID and is to come again sooner than we are (RFC 3261 §14.1).
    tokio::time::sleep(Duration::from_millis(400)).await;
    let request = up
        .desk
        .request("INVITE")
        .with_body("application/sdp", targets.as_str());
    let answer = up.target.peer.exchange(&request, 200).await;
    assert!(body(&answer).contains("a=inactive\r\n"));
    up.target.peer.send(&up.desk.request("ACK")).await;
    let answer = up.call.peer.response(&of_caller).await;
    assert_eq!(answer.message.status(), Some(200));
    assert!(body(&answer).contains("a=inactive\r\n"));
    up.call.peer.send(&up.call.dialog.request("ACK")).await;
    // Ours is not sent again.
    let again = |message: &sip_message::Message| {
        message.is_request() && message.method().as_str() == "INVITE"
    };
    up.target
        .peer
        .assert_none(Duration::from_millis(4_200), again)
        .await;
    up.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_of_either_side_is_answered_and_does_not_cross() {
    let lab = Lab::with_lab_agent().await;
    let mut up = Bridged::start(&lab, Transport::Udp, "refresh").await;
    let callers = sdp(&up.call.sound, "sendrecv");
    let refresh = up
        .call
        .dialog
        .request("INVITE")
        .with_body("application/sdp", callers.as_str());
    up.call.peer.exchange(&refresh, 200).await;
    up.call.peer.send(&up.call.dialog.request("ACK")).await;
    let refresh = up.desk.request("UPDATE");
    up.target.peer.exchange(&refresh, 200).await;
    let targets = sdp(&up.target.sound, "sendrecv");
    let refresh = up
        .desk
        .request("INVITE")
        .with_body("application/sdp", targets.as_str());
    up.target.peer.exchange(&refresh, 200).await;
    up.target.peer.send(&up.desk.request("ACK")).await;
    let request =
        |message: &sip_message::Message| message.is_request() && message.method().as_str() != "ACK";
    let span = Duration::from_millis(200);
    up.target.peer.assert_none(span, request).await;
    up.call.peer.assert_none(span, request).await;
    up.hang_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_of_either_side_ends_both_and_hold_does_not() {
    let timeout = [("agent.hook", "builtin:lab"), ("media.timeout", "1500ms")];
    for silent in ["target", "caller"] {
        let lab = Lab::start(&timeout).await;
        let mut up = Bridged::start(&lab, Transport::Udp, "silence").await;
        let callers = sdp(&up.call.sound, "sendonly");
        let asker = (&up.call.peer, &mut up.call.dialog);
        let (request, crossed) = ask(asker, "INVITE", &callers, &mut up.target.peer).await;
        let targets = sdp(&up.target.sound, "recvonly");
        let (target, call) = (&mut up.target, &mut up.call);
        let other = (&mut target.peer, &crossed, targets.as_str());
        answered(other, (&mut call.peer, &mut call.dialog), &request).await;
        let bye = |message: &sip_message::Message| {
            message.is_request() && message.method().as_str() == "BYE"
        };
        up.call
            .peer
            .assert_none(Duration::from_millis(2_500), bye)
            .await;
        let callers = sdp(&up.call.sound, "sendrecv");
        let asker = (&up.call.peer, &mut up.call.dialog);
        let (request, crossed) = ask(asker, "INVITE", &callers, &mut up.target.peer).await;
        let targets = sdp(&up.target.sound, "sendrecv");
        let (target, call) = (&mut up.target, &mut up.call);
        let other = (&mut target.peer, &crossed, targets.as_str());
        answered(other, (&mut call.peer, &mut call.dialog), &request).await;
        let talk = speech(120);
        let media = up.call.media;
        match silent {
            "target" => up.call.sound.say(media, &talk).await,
            _ => up.target.sound.say(up.to_caller, &talk).await,
        };
        for peer in [&mut up.call.peer, &mut up.target.peer] {
            let bye = peer.request("BYE").await;
            let reason = text(&bye.message, "Reason");
            assert!(reason.contains("Q.850;cause=102"), "{reason}");
            peer.answer(&bye, "200 OK").await;
        }
        let record = lab.until_recorded("silence").await["record"].clone();
        let whose = format!("{silent}'s media stopped");
        let mut moments = record["timeline"].as_array().unwrap().iter();
        assert!(moments.any(|it| it["what"] == whose.as_str()), "{record}");
        assert_eq!(record["endedBy"], "gateway");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn return_that_a_proxy_leads_back_to_us_is_refused_482_and_the_next_step_follows() {
    let lab = Lab::with_lab_agent().await;
    let mut proxy = Target::waiting(Transport::Udp).await;
    let sip = return_to(&proxy.uri("queue", ""));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "looped", sip).await;
    let invite = proxy.peer.request("INVITE").await;
    // A proxy sends it on (RFC 3261 §16.6): another Request-URI, one hop less, its own Via on top.
    let bytes = invite.message.bytes().clone();
    let asked = String::from_utf8_lossy(&bytes);
    let (_, rest) = asked.split_once("\r\n").unwrap();
    let via = format!(
        "Via: SIP/2.0/UDP {};branch=z9hG4bKproxied",
        proxy.peer.address
    );
    let gateway = lab.sip(Transport::Udp);
    let forwarded = format!("INVITE sip:agent@{gateway} SIP/2.0\r\n{via}\r\n{rest}")
        .replace("Max-Forwards: 69", "Max-Forwards: 68");
    proxy.peer.send_bytes(forwarded.as_bytes()).await;
    let refused = |message: &sip_message::Message| message.status() == Some(482);
    proxy.peer.wait("482", refused).await;
    proxy.peer.answer(&invite, "482 Loop Detected").await;
    call.until_handed_back_by_bye(&lab, "looped").await;
    let record = lab.until_recorded("looped").await["record"].clone();
    assert_eq!(record["steps"][0]["result"], "loop", "{record}");
    assert_eq!(record["steps"][0]["status"], 482);
    assert_eq!(record["steps"][1]["method"], "BYE");
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_without_a_hop_left_is_not_returned_and_ends_with_bye() {
    let lab = Lab::with_lab_agent().await;
    let target = Target::waiting(Transport::Udp).await;
    let input = json!({ "inputVariables": { "lab_complete_after_ms": 100 } });
    let transfer = json!({ "sip": return_to(&target.uri("queue", "")), "inputContext": input });
    lab.register("far", transfer).await;
    let peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "far", &offer(&sound)).with("Max-Forwards", "1");
    let mut call = Call::send(peer, sound, invite).await;
    let bye = call.until_handed_back_by_bye(&lab, "far").await;
    assert!(
        text(&bye, "Reason").contains("cause=483"),
        "{}",
        text(&bye, "Reason")
    );
    let record = lab.until_recorded("far").await["record"].clone();
    assert_eq!(record["steps"][0]["status"], 483, "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn return_says_who_calls_as_the_trunk_wants_it_and_nothing_of_the_callers_own() {
    const ACCOUNTS: &str = r#"
[[account]]
id = "lab"
return_transfer_type = "BYE"
  [[account.api_key]]
  id = "lab"
  secret_hash = "$argon2id$v=19$m=19456,t=2,p=1$teKf915p5MgOFW1jFPMDBw$DNW5rDjINzpyEzRIDHHvHyYLBmkzelDMl8WhYD7a5cI"
  [[account.trunk]]
  name = "sbc"
  allow = ["127.0.0.0/8"]
  return_headers = [
    'P-Asserted-Identity: "{display}" <sip:{user}@{host}>',
    'Diversion: <sip:{called}@{host}>;reason=deflection',
    'History-Info: <{to}>;index=1, <sip:{called}@{host}>;index=1.1',
  ]
"#;
    let lab = Lab::with_accounts(ACCOUNTS, &[("agent.hook", "builtin:lab")]).await;
    let mut target = Target::waiting(Transport::Udp).await;
    let input = json!({ "inputVariables": { "lab_complete_after_ms": 100 } });
    let transfer = json!({ "sip": return_to(&target.uri("queue", "")), "inputContext": input });
    lab.register("who", transfer).await;
    let peer = Peer::calling(&lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite = Call::invite(&lab, &peer, "who", &offer(&sound))
        .with("P-Asserted-Identity", "<sip:spoof@sbc.example.com>")
        .with("X-Internal", "secret")
        .with("Authorization", "Digest username=\"x\"");
    let mut call = Call::send(peer, sound, invite).await;
    let asked = target.peer.request("INVITE").await;
    let of = |name: &'static str| text(&asked.message, name);
    let own = lab.sip(Transport::Udp).to_string();
    assert_eq!(
        of("P-Asserted-Identity"),
        format!("\"Ann Lee\" <sip:+15551234567@{own}>")
    );
    assert_eq!(
        of("Diversion"),
        format!("<sip:agent@{own}>;reason=deflection")
    );
    assert!(
        of("History-Info").contains(";index=1.1"),
        "{}",
        of("History-Info")
    );
    assert!(of("From").starts_with("\"Ann Lee\" <sip:+15551234567@"));
    assert_eq!(
        (of("X-Internal"), of("Authorization")),
        (String::new(), String::new())
    );
    target.peer.answer(&asked, "486 Busy Here").await;
    call.until_handed_back_by_bye(&lab, "who").await;
}
