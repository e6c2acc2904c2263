//! A return URI with a name: its servers are looked up (RFC 3263), tried in order, and judged by their addresses.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sip_message::{Message, Method};
use stories::{Call, Lab, NameServer, Received, Target, Transport, Zone, text};

const AT_ONCE: Duration = Duration::from_millis(300);

fn return_to(uri: &str) -> Value {
    json!({ "returnTransferType": "INVITE", "returnURI": uri })
}

async fn lab(names: &NameServer, settings: &[(&str, &str)]) -> Lab {
    let address = names.address.to_string();
    let own = [
        ("agent.hook", "builtin:lab"),
        ("sip.nameservers", address.as_str()),
    ];
    let settings: Vec<_> = own.into_iter().chain(settings.iter().copied()).collect();
    Lab::start(&settings).await
}

/// `desk.test` with these servers for a transport, in this order.
async fn desk(service: &str, servers: &[SocketAddr]) -> NameServer {
    let mut zone = Zone::default();
    for (number, server) in (1..).zip(servers) {
        let host = format!("host{number}.desk.test");
        zone = zone
            .srv(
                &format!("{service}.desk.test"),
                (number, 0),
                server.port(),
                &host,
            )
            .address(&host, &server.ip().to_string());
    }
    NameServer::start(zone).await
}

async fn no_invite(target: &mut Target) {
    let invite = |message: &Message| message.is_request() && message.method() == Method::Invite;
    target.peer.assert_none(AT_ONCE, invite).await;
}

/// The call ends by our BYE, with the status of the failed return.
async fn ended_by_bye(call: &mut Call, status: u16) {
    let bye = call.peer.request("BYE").await;
    call.peer.answer(&bye, "200 OK").await;
    let reason = text(&bye.message, "Reason");
    assert!(
        reason.starts_with(&format!("SIP;cause={status}")),
        "{reason}"
    );
}

async fn connected(target: &mut Target, call: &mut Call, invite: &Received) {
    target.answer(invite).await;
    call.hang_up().await;
    let bye = target.peer.request("BYE").await;
    target.peer.answer(&bye, "200 OK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_goes_to_the_server_that_the_dns_names_and_keeps_the_uri() {
    for (transport, service) in [(Transport::Udp, "_sip._udp"), (Transport::Tcp, "_sip._tcp")] {
        let mut target = Target::waiting(transport).await;
        let names = desk(service, &[target.peer.address]).await;
        let lab = lab(&names, &[]).await;
        let to = return_to("sip:queue@desk.test");
        let mut call = Call::that_completes_itself(&lab, transport, "named", to).await;
        let invite = target.peer.request("INVITE").await;
        let uri = String::from_utf8_lossy(invite.message.request_uri().unwrap()).into_owned();
        assert_eq!(uri, "sip:queue@desk.test");
        connected(&mut target, &mut call, &invite).await;
        lab.until_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn next_server_takes_the_call_when_the_first_says_503_and_the_first_is_left_alone_as_long_as_it_asked()
 {
    let mut busy = Target::waiting(Transport::Udp).await;
    let mut free = Target::waiting(Transport::Udp).await;
    let names = desk("_sip._udp", &[busy.peer.address, free.peer.address]).await;
    let lab = lab(&names, &[]).await;
    let to = || return_to("sip:queue@desk.test");
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "first", to()).await;
    let refused = busy.peer.request("INVITE").await;
    let pause = [("Retry-After", "60")];
    busy.peer
        .answer_with(&refused, "503 Service Unavailable", &pause, "")
        .await;
    let taken = free.peer.request("INVITE").await;
    // A new request: RFC 3263 §4.3.
    assert_ne!(text(&taken.message, "Via"), text(&refused.message, "Via"));
    connected(&mut free, &mut call, &taken).await;

    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "second", to()).await;
    let taken = free.peer.request("INVITE").await;
    no_invite(&mut busy).await;
    connected(&mut free, &mut call, &taken).await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connection_sends_the_call_to_the_next_server() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let mut target = Target::waiting(Transport::Tcp).await;
    let names = desk("_sip._tcp", &[nobody, target.peer.address]).await;
    let lab = lab(&names, &[]).await;
    let to = return_to("sip:queue@desk.test");
    let mut call = Call::that_completes_itself(&lab, Transport::Tcp, "refused", to).await;
    let invite = target.peer.request("INVITE").await;
    connected(&mut target, &mut call, &invite).await;
    lab.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_server_is_given_up_for_the_next_one_while_the_return_still_has_time() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut target = Target::waiting(Transport::Udp).await;
    let names = desk(
        "_sip._udp",
        &[silent.local_addr().unwrap(), target.peer.address],
    )
    .await;
    let lab = lab(&names, &[("handback.invite_timeout", "10s")]).await;
    let to = || return_to("sip:queue@desk.test");
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "silent", to()).await;
    let invite = target.peer.request("INVITE").await;
    connected(&mut target, &mut call, &invite).await;
    // The next call does not wait for it.
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "knowing", to()).await;
    let began = std::time::Instant::now();
    let invite = target.peer.request("INVITE").await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    connected(&mut target, &mut call, &invite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_rang_is_not_replaced_by_another_one() {
    let mut rang = Target::waiting(Transport::Udp).await;
    let mut other = Target::waiting(Transport::Udp).await;
    let names = desk("_sip._udp", &[rang.peer.address, other.peer.address]).await;
    let lab = lab(&names, &[]).await;
    let to = return_to("sip:queue@desk.test");
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "rang", to).await;
    let invite = rang.peer.request("INVITE").await;
    rang.peer.answer(&invite, "180 Ringing").await;
    rang.peer.answer(&invite, "503 Service Unavailable").await;
    ended_by_bye(&mut call, 503).await;
    no_invite(&mut other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_refusal_is_the_answer_of_all_servers() {
    for (id, said) in [
        ("busy", "486 Busy Here"),
        ("timed-out", "408 Request Timeout"),
    ] {
        let mut first = Target::waiting(Transport::Udp).await;
        let mut other = Target::waiting(Transport::Udp).await;
        let names = desk("_sip._udp", &[first.peer.address, other.peer.address]).await;
        let lab = lab(&names, &[]).await;
        let to = return_to("sip:queue@desk.test");
        let mut call = Call::that_completes_itself(&lab, Transport::Udp, id, to).await;
        let invite = first.peer.request("INVITE").await;
        first.peer.answer(&invite, said).await;
        ended_by_bye(&mut call, said[..3].parse().unwrap()).await;
        no_invite(&mut other).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn name_that_leads_to_a_private_address_or_to_us_is_not_dialled() {
    let mut inside = Target::waiting(Transport::Udp).await;
    let names = NameServer::start(Zone::default()).await;
    // Only 127.0.0.1 is this customer's; other loopback addresses are nobody's business.
    let trunk = [
        ("account.0.trunk.0.allow", "127.0.0.1/32"),
        ("account.0.return_targets", "192.0.2.0/24"),
    ];
    let lab = lab(&names, &trunk).await;
    let port = inside.peer.address.port();
    names.change(Zone::default().address("rebound.test", "127.0.0.1"));
    let to = return_to(&format!("sip:queue@rebound.test:{port}"));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "rebound", to).await;
    ended_by_bye(&mut call, 503).await;
    no_invite(&mut inside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn name_that_leads_to_our_own_listener_is_not_dialled() {
    let names = NameServer::start(Zone::default().address("mirror.test", "127.0.0.1")).await;
    let lab = lab(&names, &[]).await;
    let port = lab.sip(Transport::Udp).port();
    let to = return_to(&format!("sip:agent@mirror.test:{port}"));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "mirror", to).await;
    ended_by_bye(&mut call, 503).await;
    assert_eq!(lab.gateway.sip_census().await.unwrap().1.placed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_address_is_dialled_where_the_name_has_a_forbidden_one_too() {
    let mut target = Target::waiting(Transport::Udp).await;
    let port = target.peer.address.port();
    let zone = Zone::default()
        .address("mixed.test", "127.0.0.9")
        .address("mixed.test", "127.0.0.1");
    let names = NameServer::start(zone).await;
    let lab = lab(&names, &[("account.0.return_targets", "127.0.0.1/32")]).await;
    let to = return_to(&format!("sip:queue@mixed.test:{port}"));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "mixed", to).await;
    let invite = target.peer.request("INVITE").await;
    connected(&mut target, &mut call, &invite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_to_a_name_is_looked_up_and_judged_too() {
    let mut first = Target::waiting(Transport::Udp).await;
    let mut second = Target::waiting(Transport::Udp).await;
    let names = desk("_sip._udp", &[second.peer.address]).await;
    let lab = lab(&names, &[]).await;
    let to = return_to(&first.uri("queue", ""));
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "moved", to).await;
    let invite = first.peer.request("INVITE").await;
    let contact = [("Contact", "<sip:queue@desk.test>")];
    first
        .peer
        .answer_with(&invite, "302 Moved Temporarily", &contact, "")
        .await;
    let invite = second.peer.request("INVITE").await;
    connected(&mut second, &mut call, &invite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outbound_proxy_is_found_by_its_name_and_fails_over_too() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let mut proxy = Target::waiting(Transport::Tcp).await;
    let names = desk("_sip._tcp", &[nobody, proxy.peer.address]).await;
    let lab = lab(&names, &[("account.0.trunk.0.outbound_proxy", "desk.test")]).await;
    let to = return_to("sip:queue@elsewhere.example");
    let mut call = Call::that_completes_itself(&lab, Transport::Tcp, "proxy", to).await;
    let invite = proxy.peer.request("INVITE").await;
    assert_eq!(text(&invite.message, "Route"), "<sip:desk.test;lr>");
    connected(&mut proxy, &mut call, &invite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn name_without_an_address_ends_the_call_with_bye() {
    let names = NameServer::start(Zone::default()).await;
    let lab = lab(&names, &[]).await;
    let to = return_to("sip:queue@nowhere.test");
    let mut call = Call::that_completes_itself(&lab, Transport::Udp, "nowhere", to).await;
    ended_by_bye(&mut call, 503).await;
    lab.assert_completed_with_output("nowhere").await;
}
