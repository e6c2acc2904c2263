//! A Contact or Record-Route that names a host: it is looked up (RFC 3263), and followed where calls may go.

use std::time::Duration;

use serde_json::json;
use sip_message::{Message, Method};
use stories::{Call, Lab, NameServer, Peer, Request, Sound, Target, Transport, Zone, offer, text};

const AT_ONCE: Duration = Duration::from_millis(300);

async fn lab(zone: Zone) -> (Lab, NameServer) {
    let names = NameServer::start(zone).await;
    let address = names.address.to_string();
    let lab = Lab::start(&[
        ("agent.hook", "builtin:lab"),
        ("sip.nameservers", address.as_str()),
    ])
    .await;
    (lab, names)
}

/// A call whose INVITE has this instead of its Contact; it completes by itself, and BYE follows.
async fn call_with(lab: &Lab, id: &str, name: &str, value: &str) -> Call {
    let input = json!({ "taskName": "t", "inputVariables": { "lab_complete_after_ms": 500 } });
    lab.register(id, json!({ "inputContext": input })).await;
    let peer = Peer::calling(lab, Transport::Udp).await;
    let sound = Sound::start();
    let invite: Request = Call::invite(lab, &peer, id, &offer(&sound)).with(name, value);
    Call::send(peer, sound, invite).await
}

fn is_bye(message: &Message) -> bool {
    message.is_request() && message.method() == Method::Bye
}

#[tokio::test(flavor = "multi_thread")]
async fn bye_goes_to_the_host_that_the_contact_or_the_record_route_names() {
    for name in ["Contact", "Record-Route"] {
        let (lab, _names) = lab(Zone::default().address("sbc.test", "127.0.0.1")).await;
        let mut there = Peer::waiting(Transport::Udp).await;
        let value = format!("<sip:x@sbc.test:{};lr>", there.address.port());
        let mut call = call_with(&lab, "named", name, &value).await;
        let bye = there.request("BYE").await;
        there.answer(&bye, "200 OK").await;
        call.peer.assert_none(AT_ONCE, is_bye).await;
        lab.until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_that_calls_may_not_go_to_and_one_that_does_not_exist_are_not_followed() {
    let zone = Zone::default().address("inside.test", "10.11.12.13");
    let (lab, _names) = lab(zone).await;
    for (id, host) in [("inside", "inside.test"), ("nowhere", "nowhere.test")] {
        let contact = format!("<sip:x@{host}:5060>");
        let mut call = call_with(&lab, id, "Contact", &contact).await;
        let bye = call.peer.request("BYE").await;
        let uri = String::from_utf8_lossy(bye.message.request_uri().unwrap()).into_owned();
        assert_eq!(uri, format!("sip:x@{host}:5060"));
        call.peer.answer(&bye, "200 OK").await;
    }
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn target_that_answers_with_a_contact_by_name_gets_ack_and_bye_there() {
    let (lab, _names) = lab(Zone::default().address("pbx.test", "127.0.0.1")).await;
    let mut target = Target::waiting(Transport::Udp).await;
    let mut there = Peer::waiting(Transport::Udp).await;
    let to = json!({ "returnTransferType": "INVITE", "returnURI": format!("sip:q@{}", target.peer.address) });
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "pbx", to).await;
    let invite = target.peer.request("INVITE").await;
    let contact = format!("<sip:pbx@pbx.test:{}>", there.address.port());
    let sdp = offer(&target.sound);
    let fields = [("Contact", contact.as_str())];
    target
        .peer
        .answer_with(&invite, "200 OK", &fields, &sdp)
        .await;
    let ack = there.request("ACK").await;
    assert_eq!(text(&ack.message, "CSeq"), "1 ACK");
    call.hang_up().await;
    let bye = there.request("BYE").await;
    there.answer(&bye, "200 OK").await;
    lab.until_idle().await;
}
