//! Handed back by INVITE: the return target is called, and the two are connected.

use serde_json::{Value, json};
use sip_message::Message;
use stories::{
    Call, Hash, Lab, TRANSFER_HEADER, Target, Transport, eventually, respond, speech, text,
};

fn return_to(uri: &str) -> Value {
    json!({ "returnTransferType": "INVITE", "returnURI": uri })
}

fn uri(invite: &Message) -> String {
    String::from_utf8_lossy(invite.request_uri().unwrap()).into_owned()
}

/// The call stands and the target has answered.
async fn connected(lab: &Lab, transport: Transport, id: &str) -> (Call, Target, stories::Dialog) {
    let mut target = Target::waiting(transport).await;
    let to = target.uri("queue", "");
    let call = Call::that_completes_itself(lab, transport, id, return_to(&to)).await;
    let invite = target.peer.request("INVITE").await;
    let (dialog, _) = target.answer(&invite).await;
    (call, target, dialog)
}

async fn story(transport: Transport) {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(transport).await;
    let odd = target.uri("queue%2D7;isub=12", ";user=phone;X-odd=%41%2c!~*'()");
    let registered = format!(
        "{odd};method=INVITE?User-To-User=00%3Bencoding%3Dhex&Replaces=a%40b&X-Ticket=a%20b"
    );
    let mut call =
        Call::that_completes_itself(&lab, transport, "invite-1", return_to(&registered)).await;

    let invite = target.peer.request("INVITE").await;
    lab.assert_completed_with_output("invite-1").await;
    let asked = &invite.message;
    assert_eq!(uri(asked), odd);
    assert_eq!(text(asked, TRANSFER_HEADER), "invite-1");
    assert_eq!(text(asked, "Max-Forwards"), "69");
    assert_eq!(text(asked, "User-To-User"), "00;encoding=hex");
    assert_eq!(text(asked, "X-Ticket"), "a b");
    assert_eq!(text(asked, "Replaces"), "");
    let from = text(asked, "From");
    assert!(from.starts_with("\"Ann Lee\" <sip:+15551234567@"), "{from}");
    assert_ne!(text(asked, "Call-ID"), call.dialog.call_id);

    target.peer.answer(&invite, "180 Ringing").await;
    let (mut desk, to_caller) = target.answer(&invite).await;
    // Audio crosses both ways, bit for bit.
    let (from_caller, from_desk) = (speech(20), speech(35).split_off(15 * 160));
    let media = call.media;
    tokio::join!(
        call.sound.say(media, &from_caller),
        target.sound.say(to_caller, &from_desk)
    );
    heard(&target, &from_caller).await;
    eventually("the caller to hear the desk", async || {
        contains(&call.sound.heard(), &from_desk).then_some(())
    })
    .await;

    let bye = desk.request("BYE").with("Reason", "Q.850;cause=16");
    target.peer.exchange(&bye, 200).await;
    let crossed = call.peer.request("BYE").await;
    call.peer.answer(&crossed, "200 OK").await;
    lab.assert_completed_with_output("invite-1").await;
    lab.until_idle().await;
}

async fn heard(target: &Target, audio: &[u8]) {
    eventually("the desk to hear the caller", async || {
        contains(&target.sound.heard(), audio).then_some(())
    })
    .await;
}

fn contains(heard: &[u8], said: &[u8]) -> bool {
    heard.windows(said.len()).any(|window| window == said)
}

#[tokio::test(flavor = "multi_thread")]
async fn call_over_udp_is_handed_back_by_invite() {
    story(Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_over_tcp_is_handed_back_by_invite() {
    story(Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_is_transcoded_for_a_target_with_another_codec() {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = return_to(&target.uri("queue", ""));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "alaw", sip).await;
    let invite = target.peer.request("INVITE").await;
    let alaw = stories::offer(&target.sound)
        .replace("AVP 0 101", "AVP 8 101")
        .replace("rtpmap:0 PCMU", "rtpmap:8 PCMA");
    target.answer_with(&invite, &alaw).await;
    let said = speech(20);
    let media = call.media;
    call.sound.say(media, &said).await;
    let said: Vec<i32> = said.into_iter().map(stories::linear_of_mulaw).collect();
    // Both laws keep about 38 dB between a sample and its error.
    let near = |(a, b): (&i32, &i32)| (a - b).abs() <= 24 + a.abs() / 12;
    eventually("the desk to hear the caller", async || {
        let heard = target.sound.heard_as_alaw();
        let mut windows = heard.windows(said.len());
        windows
            .any(|window| window.iter().zip(&said).all(near))
            .then_some(())
    })
    .await;
    call.hang_up().await;
    target.peer.request("BYE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_bye_crosses_to_the_target() {
    let lab = Lab::with_lab_agent().await;
    for (id, transport) in [("cross-udp", Transport::Udp), ("cross-tcp", Transport::Tcp)] {
        let (mut call, mut target, _) = connected(&lab, transport, id).await;
        call.hang_up().await;
        let bye = target.peer.request("BYE").await;
        target.peer.answer(&bye, "200 OK").await;
        lab.assert_completed_with_output(id).await;
    }
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_cross_to_the_target() {
    let lab = Lab::with_lab_agent().await;
    let (mut call, target, _) = connected(&lab, Transport::Udp, "keys-cross").await;
    let media = call.media;
    call.sound.press(media, "42#").await;
    eventually("the keys at the desk", async || {
        (target.sound.keys() == "42#").then_some(())
    })
    .await;
    call.hang_up().await;
}

/// A challenge of the target is answered with the transfer's credentials.
async fn challenged(status: &str, challenge: &str, answer: &str, hash: Hash) {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let mut sip = return_to(&target.uri("queue", ""));
    sip["returnInviteAuthentication"] = json!({ "username": "desk", "password": "pass phrase" });
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "challenged", sip).await;
    let first = target.peer.request("INVITE").await;
    assert_eq!(text(&first.message, answer), "");
    let value = format!(
        "Digest realm=\"desks\", nonce=\"n0nce/=\", qop=\"auth\", algorithm={}",
        hash.name()
    );
    target
        .peer
        .answer_with(&first, status, &[(challenge, &value)], "")
        .await;
    target.peer.request("ACK").await;

    let second = target.peer.request("INVITE").await;
    let authorization = text(&second.message, answer);
    assert!(
        hash.proves(&authorization, "pass phrase", "INVITE"),
        "{authorization}"
    );
    assert!(
        authorization.contains(&format!("uri=\"{}\"", uri(&second.message))),
        "{authorization}"
    );
    for same in ["Call-ID", "From"] {
        assert_eq!(text(&first.message, same), text(&second.message, same));
    }
    let number = |message: &Message| message.cseq().unwrap().number;
    assert_eq!(number(&second.message), number(&first.message) + 1);
    target.answer(&second).await;
    let fetched = lab.fetch("challenged").await;
    assert!(!fetched.to_string().contains("pass phrase"), "{fetched}");
    call.hang_up().await;
    target.peer.request("BYE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn challenge_401_of_the_target_is_answered() {
    challenged(
        "401 Unauthorized",
        "WWW-Authenticate",
        "Authorization",
        Hash::Md5,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn challenge_407_of_a_proxy_is_answered() {
    challenged(
        "407 Proxy Authentication Required",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        Hash::Sha256,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_target_falls_back_to_bye() {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = return_to(&target.uri("queue", ""));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "busy", sip).await;
    let invite = target.peer.request("INVITE").await;
    target.peer.answer(&invite, "486 Busy Here").await;
    call.until_handed_back_by_bye(&lab, "busy").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_is_followed() {
    let lab = Lab::with_lab_agent().await;
    let (mut first, mut second) = (
        Target::waiting(Transport::Udp).await,
        Target::waiting(Transport::Udp).await,
    );
    let sip = return_to(&first.uri("queue", ""));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "redirected", sip).await;
    let invite = first.peer.request("INVITE").await;
    let contact = second.contact();
    first
        .peer
        .answer_with(
            &invite,
            "302 Moved Temporarily",
            &[("Contact", &contact)],
            "",
        )
        .await;
    let invite = second.peer.request("INVITE").await;
    assert_eq!(uri(&invite.message), second.uri("desk", ""));
    second.answer(&invite).await;
    call.hang_up().await;
    second.peer.request("BYE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_to_ourselves_is_not_followed() {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = return_to(&target.uri("queue", ""));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "loop", sip).await;
    let invite = target.peer.request("INVITE").await;
    let ourselves = format!("<sip:agent@{}>", lab.sip(Transport::Udp));
    let fields = [("Contact", ourselves.as_str())];
    let moved = "302 Moved Temporarily";
    target.peer.answer_with(&invite, moved, &fields, "").await;
    call.until_handed_back_by_bye(&lab, "loop").await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_given_once_and_not_to_whom_a_redirect_names() {
    let lab = Lab::with_lab_agent().await;
    let challenge = "Digest realm=\"desks\", nonce=\"first\", qop=\"auth\", algorithm=MD5";
    let fields = [("WWW-Authenticate", challenge)];
    for (id, redirected) in [("wrong-password", false), ("redirected-away", true)] {
        let mut target = Target::waiting(Transport::Udp).await;
        let mut stranger = Target::waiting(Transport::Udp).await;
        let mut sip = return_to(&target.uri("queue", ""));
        sip["returnInviteAuthentication"] = json!({ "username": "desk", "password": "secret" });
        let mut call = Call::that_completes_itself(&lab, Transport::Udp, id, sip).await;
        let invite = target.peer.request("INVITE").await;
        if redirected {
            let contact = stranger.contact();
            let contact = [("Contact", contact.as_str())];
            let moved = "302 Moved Temporarily";
            target.peer.answer_with(&invite, moved, &contact, "").await;
            let invite = stranger.peer.request("INVITE").await;
            stranger
                .peer
                .answer_with(&invite, "401 Unauthorized", &fields, "")
                .await;
        } else {
            // The same nonce again: the password was wrong.
            for received in [Some(invite), None] {
                let invite = match received {
                    Some(invite) => invite,
                    None => target.peer.request("INVITE").await,
                };
                target
                    .peer
                    .answer_with(&invite, "401 Unauthorized", &fields, "")
                    .await;
            }
        }
        call.until_handed_back_by_bye(&lab, id).await;
        for peer in [&mut target.peer, &mut stranger.peer] {
            let invites =
                |message: &Message| message.is_request() && message.method().as_str() == "INVITE";
            peer.assert_none(std::time::Duration::from_millis(100), invites)
                .await;
        }
    }
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_answer_of_a_forked_return_is_acknowledged_and_hung_up() {
    let lab = Lab::with_lab_agent().await;
    let mut target = Target::waiting(Transport::Udp).await;
    let sip = return_to(&target.uri("queue", ""));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "forked", sip).await;
    let invite = target.peer.request("INVITE").await;
    let (mut desk, _) = target.answer(&invite).await;
    let contact = target.contact();
    let other = respond(
        &invite.message,
        "200 OK",
        "other",
        &[("Contact", &contact)],
        &stories::offer(&target.sound),
    );
    target.peer.send_bytes(other.as_bytes()).await;
    for method in ["ACK", "BYE"] {
        let request = target.peer.request(method).await;
        assert!(
            text(&request.message, "To").ends_with(";tag=other"),
            "{method}"
        );
        if method == "BYE" {
            target.peer.answer(&request, "200 OK").await;
        }
    }
    target.peer.exchange(&desk.request("BYE"), 200).await;
    let bye = call.peer.request("BYE").await;
    call.peer.answer(&bye, "200 OK").await;
    lab.until_idle().await;
}
