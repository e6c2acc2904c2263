//! RFC 3263 against a name server of our own, with everything that goes wrong with real ones.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use sip_message::Uri;
use sip_transport::dns::{Located, Locator, NotLocated, Reach};
use stories::{NameServer, Transport, Zone};

const REACH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

fn reach(transports: &[Transport]) -> Reach {
    Reach {
        transports: transports.to_vec(),
        ipv4: true,
        ipv6: true,
    }
}

fn locator(server: &NameServer) -> Locator {
    Locator::new(&[server.address]).unwrap()
}

async fn locate(locator: &Locator, uri: &str, reach: &Reach) -> Result<Located, NotLocated> {
    let uri = Uri::parse(uri.as_bytes()).map_err(|_| NotLocated::NotSip)?;
    locator.locate(&uri, reach).await
}

/// The servers as text, or the failure.
async fn servers(locator: &Locator, uri: &str) -> String {
    match locate(locator, uri, &reach(&REACH)).await {
        Ok(located) => located
            .servers
            .iter()
            .map(|server| format!("{}://{}", server.transport, server.address))
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => error.to_string(),
    }
}

/// example.test has everything; plain.test has addresses alone.
fn usual() -> Zone {
    Zone::default()
        .naptr(
            "example.test",
            (10, 10),
            "SIPS+D2T",
            "_sips._tcp.example.test",
        )
        .naptr(
            "example.test",
            (20, 10),
            "SIP+D2T",
            "_sip._tcp.example.test",
        )
        .naptr(
            "example.test",
            (20, 20),
            "SIP+D2U",
            "_sip._udp.example.test",
        )
        .srv("_sips._tcp.example.test", (1, 1), 5071, "a.example.test")
        .srv("_sip._tcp.example.test", (1, 1), 5070, "a.example.test")
        .srv("_sip._udp.example.test", (2, 1), 5080, "b.example.test")
        .srv("_sip._udp.example.test", (1, 1), 5060, "a.example.test")
        .address("a.example.test", "192.0.2.1")
        .address("a.example.test", "2001:db8::1")
        .address("b.example.test", "192.0.2.2")
        .address("plain.test", "192.0.2.9")
        .alias("alias.test", "plain.test")
}

#[tokio::test]
async fn naptr_leads_to_srv_and_srv_to_addresses_of_both_families() {
    let server = NameServer::start(usual()).await;
    let locator = locator(&server);
    assert_eq!(
        servers(&locator, "sip:x@example.test").await,
        "tcp://[2001:db8::1]:5070 tcp://192.0.2.1:5070 udp://[2001:db8::1]:5060 udp://192.0.2.1:5060 udp://192.0.2.2:5080"
    );
    let all = reach(&[Transport::Udp, Transport::Tcp, Transport::Tls]);
    let secure = locate(&locator, "sips:x@example.test", &all).await.unwrap();
    assert_eq!(secure.domain, "example.test");
    assert_eq!(secure.servers[0].transport, Transport::Tls);
    assert_eq!(secure.servers[0].address.port(), 5071);
    let v4 = Reach {
        ipv6: false,
        ..reach(&REACH)
    };
    let located = locate(&locator, "sip:x@example.test;transport=udp", &v4)
        .await
        .unwrap();
    let addresses: Vec<String> = located
        .servers
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    assert_eq!(addresses, ["192.0.2.1:5060", "192.0.2.2:5080"]);
}

#[tokio::test]
async fn uri_with_a_port_asks_for_addresses_alone() {
    let server = NameServer::start(usual()).await;
    let locator = locator(&server);
    assert_eq!(
        servers(&locator, "sip:x@b.example.test:5099").await,
        "udp://192.0.2.2:5099"
    );
    assert_eq!(
        servers(&locator, "sip:x@b.example.test:5099;transport=tcp").await,
        "tcp://192.0.2.2:5099"
    );
    assert_eq!(server.asked("b.example.test", RecordType::NAPTR), (0, 0));
    assert_eq!(
        server.asked("_sip._udp.b.example.test", RecordType::SRV),
        (0, 0)
    );
}

#[tokio::test]
async fn literal_address_is_not_looked_up_at_all() {
    let locator = Locator::new(&["127.0.0.1:9".parse().unwrap()]).unwrap();
    assert_eq!(
        servers(&locator, "sip:x@192.0.2.7").await,
        "udp://192.0.2.7:5060"
    );
    assert_eq!(
        servers(&locator, "sip:x@[2001:db8::7];transport=tcp").await,
        "tcp://[2001:db8::7]:5060"
    );
}

#[tokio::test]
async fn domain_without_naptr_is_asked_for_every_service_that_we_speak() {
    let zone = Zone::default()
        .srv("_sip._tcp.only.test", (1, 1), 5070, "h.only.test")
        .address("h.only.test", "192.0.2.3");
    let server = NameServer::start(zone).await;
    let locator = locator(&server);
    assert_eq!(
        servers(&locator, "sip:x@only.test").await,
        "tcp://192.0.2.3:5070"
    );
    assert_eq!(server.asked("_sip._udp.only.test", RecordType::SRV), (1, 0));
    assert_eq!(
        server.asked("_sips._tcp.only.test", RecordType::SRV),
        (0, 0)
    );
}

#[tokio::test]
async fn domain_without_srv_is_called_at_its_own_address() {
    let server = NameServer::start(usual()).await;
    let locator = locator(&server);
    assert_eq!(
        servers(&locator, "sip:x@plain.test").await,
        "udp://192.0.2.9:5060"
    );
    assert_eq!(
        servers(&locator, "sip:x@plain.test;transport=tcp").await,
        "tcp://192.0.2.9:5060"
    );
    assert_eq!(
        server.asked("_sip._tcp.plain.test", RecordType::SRV),
        (1, 0)
    );
}

#[tokio::test]
async fn alias_is_followed_and_maddr_replaces_the_host() {
    let server = NameServer::start(usual()).await;
    let locator = locator(&server);
    assert_eq!(
        servers(&locator, "sip:x@alias.test").await,
        "udp://192.0.2.9:5060"
    );
    assert_eq!(
        servers(&locator, "sip:x@nowhere.test:5061;maddr=plain.test").await,
        "udp://192.0.2.9:5061"
    );
}

#[tokio::test]
async fn calls_are_shared_by_weight() {
    let zone = Zone::default()
        .srv("_sip._udp.shared.test", (1, 75), 5060, "a.shared.test")
        .srv("_sip._udp.shared.test", (1, 25), 5060, "b.shared.test")
        .address("a.shared.test", "192.0.2.1")
        .address("b.shared.test", "192.0.2.2");
    let server = NameServer::start(zone).await;
    let locator = locator(&server);
    let mut first: HashMap<String, u32> = HashMap::new();
    for _ in 0..800 {
        let found = servers(&locator, "sip:x@shared.test;transport=udp").await;
        *first.entry(found[6..15].to_owned()).or_default() += 1;
    }
    // Six standard deviations either way: 600 of 800, deviation 12.2.
    let larger = first["192.0.2.1"];
    assert!((527..=673).contains(&larger), "{first:?}");
    assert_eq!(
        server.asked("_sip._udp.shared.test", RecordType::SRV),
        (1, 0)
    );
}

#[tokio::test]
async fn truncated_answer_is_asked_for_again_over_tcp() {
    let server = NameServer::start(usual().truncated()).await;
    let locator = locator(&server);
    assert_eq!(
        servers(&locator, "sip:x@plain.test:5060").await,
        "udp://192.0.2.9:5060"
    );
    let (over_udp, over_tcp) = server.asked("plain.test", RecordType::A);
    assert!(over_udp >= 1 && over_tcp >= 1, "{over_udp} {over_tcp}");
}

#[tokio::test]
async fn answers_are_kept_as_long_as_they_live_and_negative_ones_too() {
    let server = NameServer::start(usual().living(1)).await;
    let locator = locator(&server);
    for _ in 0..5 {
        servers(&locator, "sip:x@plain.test:5060").await;
        servers(&locator, "sip:x@missing.test:5060").await;
    }
    assert_eq!(server.asked("plain.test", RecordType::A), (1, 0));
    assert_eq!(server.asked("missing.test", RecordType::A), (1, 0));
    server.change(Zone::default().address("plain.test", "192.0.2.10"));
    stories::eventually("the record's end", async || {
        let now = servers(&locator, "sip:x@plain.test:5060").await;
        (now == "udp://192.0.2.10:5060").then_some(())
    })
    .await;
}

#[tokio::test]
async fn name_that_does_not_exist_says_so() {
    let server = NameServer::start(usual()).await;
    let locator = locator(&server);
    assert_eq!(
        servers(&locator, "sip:x@missing.test").await,
        "does not resolve: missing.test has no address"
    );
    assert_eq!(
        servers(&locator, "sip:x@missing.test;transport=ws").await,
        "wants transport ws, which is not spoken here"
    );
}

#[tokio::test]
async fn service_that_is_declined_is_not_tried_at_the_address() {
    let zone = Zone::default()
        .srv("_sip._udp.none.test", (0, 0), 0, ".")
        .address("none.test", "192.0.2.4");
    let server = NameServer::start(zone).await;
    assert_eq!(
        servers(&locator(&server), "sip:x@none.test").await,
        "does not resolve: none.test says that it takes no SIP"
    );
}

#[tokio::test]
async fn broken_name_server_is_named_as_the_reason() {
    let server = NameServer::start(usual().broken("broken.test")).await;
    let said = servers(&locator(&server), "sip:x@broken.test:5060").await;
    assert!(
        said.starts_with("does not resolve: broken.test: "),
        "{said}"
    );
    assert!(said.to_lowercase().contains("fail"), "{said}");
}

#[tokio::test]
async fn silent_name_server_costs_some_seconds_and_not_more() {
    let server = NameServer::start(usual().silent("silent.test", None)).await;
    let began = Instant::now();
    let said = servers(&locator(&server), "sip:x@silent.test:5060").await;
    assert!(
        said.starts_with("does not resolve: silent.test: "),
        "{said}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn server_that_never_answers_about_naptr_is_located_all_the_same() {
    let zone = usual().silent("plain.test", Some(RecordType::NAPTR));
    let server = NameServer::start(zone).await;
    assert_eq!(
        servers(&locator(&server), "sip:x@plain.test").await,
        "udp://192.0.2.9:5060"
    );
}

#[tokio::test]
async fn family_that_is_not_answered_for_does_not_hold_up_the_other() {
    let zone = usual().silent("plain.test", Some(RecordType::AAAA));
    let server = NameServer::start(zone).await;
    let began = Instant::now();
    assert_eq!(
        servers(&locator(&server), "sip:x@plain.test:5060").await,
        "udp://192.0.2.9:5060"
    );
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn second_name_server_answers_for_a_dead_one() {
    let server = NameServer::start(usual()).await;
    let dead = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let both = [dead.local_addr().unwrap(), server.address];
    let locator = Locator::new(&both).unwrap();
    assert_eq!(
        servers(&locator, "sip:x@plain.test:5060").await,
        "udp://192.0.2.9:5060"
    );
}

#[tokio::test]
async fn hosts_file_comes_before_the_name_server() {
    let zone = usual().address("pbx.test", "192.0.2.20");
    let server = NameServer::start(zone).await;
    let locator = locator(&server)
        .with_hosts("192.0.2.30 pbx.test pbx\n2001:db8::30 pbx.test\n")
        .unwrap();
    let both = "udp://[2001:db8::30]:5060 udp://192.0.2.30:5060";
    assert_eq!(servers(&locator, "sip:x@pbx.test:5060").await, both);
    // Also where the DNS has neither NAPTR nor SRV for the name.
    assert_eq!(servers(&locator, "sip:x@pbx.test").await, both);
    assert_eq!(server.asked("pbx.test", RecordType::A), (0, 0));
}

#[tokio::test]
async fn number_of_servers_is_bounded() {
    let mut zone = Zone::default();
    for number in 1..=40 {
        zone = zone.address("many.test", &format!("192.0.2.{number}"));
    }
    let server = NameServer::start(zone).await;
    let located = locate(&locator(&server), "sip:x@many.test:5060", &reach(&REACH)).await;
    assert_eq!(
        located.unwrap().servers.len(),
        sip_transport::dns::MOST_SERVERS
    );
}
