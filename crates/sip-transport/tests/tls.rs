//! TLS on loopback, with certificates made for the test: who is taken, who is turned away, and what a name must be.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bytes::Bytes;
use ipnet::IpNet;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use sip_core::{
    Advertised, Command, Ended, Endpoint, EndpointConfig, Flow, LegEvent, LegId, Place, Response,
    Transport, TrunkRule,
};
use sip_transport::{
    LegEvents, Listen, SipHandle, Sockets, Tls, TlsMaterial, TlsPart, TransportOptions,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use timebase::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const PATIENCE: Duration = Duration::from_secs(5);
const LOOPBACK: &str = "127.0.0.1";
const LOOPBACK6: &str = "[::1]";

type Events = mpsc::Receiver<(LegId, LegEvent)>;

/// An authority that vouches for whom the test likes.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// A certificate for some names, and its key.
    fn vouch(&self, names: &[SanType]) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (
            certificate.pem().into_bytes(),
            key.serialize_pem().into_bytes(),
        )
    }

    /// What a server or client by some names is made of, who trusts this authority.
    fn material(&self, names: &[SanType]) -> TlsMaterial {
        let (certificate, key) = self.vouch(names);
        TlsMaterial {
            certificate: Some(certificate),
            key: Some(key),
            ca: Some(self.pem()),
            allow_tls12: true,
            ..TlsMaterial::default()
        }
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

fn ip(address: &str) -> SanType {
    SanType::IpAddress(address.parse().unwrap())
}

fn config(advertise: &[&str]) -> EndpointConfig {
    let allow: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let advertise = advertise.iter();
    EndpointConfig {
        advertise: advertise
            .map(|own| own.parse::<Advertised>().unwrap())
            .collect(),
        trunks: vec![TrunkRule { allow, ..trunk() }],
        ..EndpointConfig::default()
    }
}

fn trunk() -> TrunkRule {
    TrunkRule {
        name: "loopback".to_owned(),
        allow: Vec::new(),
        require_all: false,
        digest: None,
        outbound_auth: None,
        header_optional: false,
        reliable_where_supported: false,
    }
}

/// A node with one TLS listener that takes every call.
async fn node(
    host: &str,
    material: &TlsMaterial,
    options: TransportOptions,
) -> (SipHandle, Events) {
    let listen = Listen {
        transport: Transport::Tls,
        address: format!("{host}:0").parse().unwrap(),
    };
    let sockets = Sockets::bind(&[listen]).await.unwrap();
    let (owner, events) = mpsc::channel(64);
    let gate = Box::new(move |_, invitation: &sip_core::Invitation| {
        owner
            .try_send((invitation.leg, LegEvent::AllowsRefer(true)))
            .map_err(|_| Response::new(503))?;
        Ok(owner.clone())
    });
    let options = TransportOptions {
        tls: Some(Arc::new(Tls::new(material).unwrap())),
        ..options
    };
    let endpoint = Endpoint::new(config(&[]), rand_seed());
    (sockets.run(endpoint, Clock::start(), gate, options), events)
}

/// A seed that no two endpoints of a test share.
fn rand_seed() -> [u8; 32] {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    [NEXT.fetch_add(1, Ordering::Relaxed); 32]
}

async fn simple(host: &str, material: &TlsMaterial) -> (SipHandle, Events) {
    node(host, material, TransportOptions::default()).await
}

fn address(node: &SipHandle) -> SocketAddr {
    node.listeners()[0].address
}

async fn next(events: &mut Events) -> (LegId, LegEvent) {
    timeout(PATIENCE, events.recv())
        .await
        .expect("an event in time")
        .expect("a running driver")
}

/// Calls `uri` at the address of `callee`; the events of the leg.
async fn call(caller: &SipHandle, flow: Flow, uri: &str) -> (LegId, Events) {
    let (owner, placed): (LegEvents, _) = mpsc::channel(64);
    let leg = caller.new_leg();
    let place = Place {
        leg,
        flow,
        uri: uri.to_owned().into(),
        from: Bytes::from_static(b"<sip:anna@127.0.0.1>"),
        to: Bytes::from_static(b"<sip:agent@127.0.0.1>"),
        headers: Vec::new(),
        sdp: Some(Bytes::from_static(SDP)),
        credentials: None,
        max_forwards: 70,
        route: None,
        sources: Vec::new(),
        patience: None,
        trunk: None,
    };
    caller.place(place, owner).await.unwrap();
    (leg, placed)
}

fn to(caller: &SipHandle, callee: &SipHandle) -> Flow {
    caller.flow_to(Transport::Tls, address(callee))
}

/// How a call to `uri` over TLS begins: 200, or the status of its refusal.
async fn outcome(
    caller: &SipHandle,
    callee: (&SipHandle, &mut Events),
    flow: Flow,
    uri: &str,
) -> u16 {
    let (_, mut placed) = call(caller, flow, uri).await;
    let accept = async {
        let (leg, _) = next(callee.1).await;
        let accept = Command::Accept {
            sdp: Some(Bytes::from_static(SDP)),
            headers: Vec::new(),
        };
        callee.0.command(leg, accept).unwrap();
        std::future::pending::<()>().await;
    };
    let status = async {
        loop {
            let event = next(&mut placed).await.1;
            if matches!(event, LegEvent::Answered { .. }) {
                return 200;
            }
            if let LegEvent::Refused { status, .. } = event {
                return status;
            }
        }
    };
    tokio::select! {
        () = accept => unreachable!("it waits for ever"),
        status = status => status,
    }
}

/// Both ends by their addresses; the whole call, ended by the called side.
async fn whole_call(host: &str, material: &TlsMaterial) {
    let (callee, mut arriving) = simple(host, material).await;
    let (caller, _unused) = simple(host, material).await;
    let mut packets = callee.tap(64).await.unwrap();
    let remote = address(&callee);
    let uri = format!("sips:agent@{remote}");
    let (_, mut placed) = call(&caller, to(&caller, &callee), &uri).await;
    let (leg, _) = next(&mut arriving).await;
    let accept = Command::Accept {
        sdp: Some(Bytes::from_static(SDP)),
        headers: Vec::new(),
    };
    callee.command(leg, accept).unwrap();
    while !matches!(next(&mut placed).await.1, LegEvent::Answered { .. }) {}
    assert!(matches!(
        next(&mut arriving).await.1,
        LegEvent::Confirmed { .. }
    ));
    let hang_up = Command::HangUp {
        headers: Vec::new(),
    };
    callee.command(leg, hang_up).unwrap();
    while !matches!(
        next(&mut placed).await.1,
        LegEvent::Ended { why: Ended::HungUp }
    ) {}
    let invite = packets.recv().await.unwrap();
    assert_eq!(invite.flow.transport, Transport::Tls);
    let text = String::from_utf8_lossy(&invite.bytes).into_owned();
    let own = address(&caller);
    assert!(text.contains(&format!("Via: SIP/2.0/TLS {own};")), "{text}");
    assert!(text.contains(&format!("<sips:anna@{own}>")), "{text}");
    assert_eq!(
        (callee.figures().accepted, caller.figures().accepted),
        (1, 0),
        "every request of the dialog goes over its one connection"
    );
}

#[tokio::test]
async fn call_is_set_up_and_ended_over_tls_on_one_connection_with_sips_contacts() {
    let material = Authority::new().material(&[ip("127.0.0.1")]);
    whole_call(LOOPBACK, &material).await;
    let newest = TlsMaterial {
        allow_tls12: false,
        ..material
    };
    whole_call(LOOPBACK, &newest).await;
}

#[tokio::test]
async fn call_is_set_up_and_ended_over_tls_and_ipv6() {
    let material = Authority::new().material(&[ip("::1")]);
    whole_call(LOOPBACK6, &material).await;
}

#[tokio::test]
async fn certificate_must_carry_the_domain_that_was_resolved() {
    let authority = Authority::new();
    let table: [(&[SanType], &str, u16); 8] = [
        (&[dns("sip.example.com")], "sip.example.com", 200),
        (&[dns("SIP.example.com")], "sip.Example.com.", 200),
        (&[dns("other.example.com")], "sip.example.com", 503),
        (&[dns("*.example.com")], "sip.example.com", 503),
        (&[uri("sip:example.com")], "example.com", 200),
        // Where there is a SIP URI, DNS names do not count (RFC 5922 §7.1).
        (
            &[uri("sip:example.com"), dns("sip.example.com")],
            "sip.example.com",
            503,
        ),
        (
            &[uri("sip:user@example.com"), dns("example.com")],
            "example.com",
            200,
        ),
        (&[uri("https://example.com")], "example.com", 503),
    ];
    let (caller, _unused) = simple(LOOPBACK, &authority.material(&[dns("caller.example")])).await;
    for (names, domain, expected) in table {
        let (callee, mut events) = simple(LOOPBACK, &authority.material(names)).await;
        let flow = caller
            .flow_to_server(Transport::Tls, address(&callee), domain)
            .unwrap();
        let found = outcome(
            &caller,
            (&callee, &mut events),
            flow,
            "sip:agent@ignored.example",
        )
        .await;
        assert_eq!(found, expected, "{names:?} as {domain}");
    }
}

#[tokio::test]
async fn without_a_resolved_name_the_host_of_the_request_uri_counts() {
    let authority = Authority::new();
    let (callee, mut events) = simple(LOOPBACK, &authority.material(&[dns("a.example")])).await;
    let (caller, _unused) = simple(LOOPBACK, &authority.material(&[dns("caller.example")])).await;
    let flow = to(&caller, &callee);
    let status = |uri| (flow, uri);
    for (uri, expected) in [("sips:agent@a.example", 200), ("sips:agent@b.example", 503)] {
        let (flow, uri) = status(uri);
        let found = outcome(&caller, (&callee, &mut events), flow, uri).await;
        assert_eq!(found, expected, "{uri}");
    }
}

#[tokio::test]
async fn server_of_an_unknown_authority_is_not_called() {
    let material = Authority::new().material(&[ip("127.0.0.1")]);
    let stranger = Authority::new().material(&[ip("127.0.0.1")]);
    let (callee, mut events) = simple(LOOPBACK, &stranger).await;
    let (caller, _unused) = simple(LOOPBACK, &material).await;
    let flow = to(&caller, &callee);
    let uri = format!("sips:agent@{}", address(&callee));
    assert_eq!(
        outcome(&caller, (&callee, &mut events), flow, &uri).await,
        503
    );
    assert_eq!(caller.figures().handshakes_failed, 1);
    let careless = TlsMaterial {
        insecure: true,
        ..material
    };
    let (caller, _unused) = simple(LOOPBACK, &careless).await;
    let flow = to(&caller, &callee);
    assert_eq!(
        outcome(&caller, (&callee, &mut events), flow, &uri).await,
        200
    );
}

#[tokio::test]
async fn client_without_the_required_certificate_is_turned_away() {
    let authority = Authority::new();
    let server = TlsMaterial {
        client_ca: Some(authority.pem()),
        require_client_certificate: true,
        ..authority.material(&[ip("127.0.0.1")])
    };
    let (callee, mut events) = simple(LOOPBACK, &server).await;
    let uri = format!("sips:agent@{}", address(&callee));
    let anonymous = TlsMaterial {
        ca: Some(authority.pem()),
        allow_tls12: true,
        ..TlsMaterial::default()
    };
    let stranger = TlsMaterial {
        ca: Some(authority.pem()),
        ..Authority::new().material(&[dns("stranger.example")])
    };
    let known = authority.material(&[dns("known.example")]);
    for (client, expected) in [(anonymous, 503), (stranger, 503), (known, 200)] {
        let (caller, _unused) = simple(LOOPBACK, &client).await;
        let flow = to(&caller, &callee);
        let found = outcome(&caller, (&callee, &mut events), flow, &uri).await;
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn new_certificate_is_shown_to_new_connections_while_a_call_stands_on_the_old_one() {
    let authority = Authority::new();
    let (callee, mut events) = simple(LOOPBACK, &authority.material(&[dns("old.example")])).await;
    let (caller, _unused) = simple(LOOPBACK, &authority.material(&[dns("caller.example")])).await;
    let by = |name| {
        caller
            .flow_to_server(Transport::Tls, address(&callee), name)
            .unwrap()
    };
    let (standing, mut placed) = call(&caller, by("old.example"), "sip:agent@old.example").await;
    let (leg, _) = next(&mut events).await;
    let accept = Command::Accept {
        sdp: Some(Bytes::from_static(SDP)),
        headers: Vec::new(),
    };
    callee.command(leg, accept).unwrap();
    while !matches!(next(&mut placed).await.1, LegEvent::Answered { .. }) {}
    assert!(matches!(
        next(&mut events).await.1,
        LegEvent::Confirmed { .. }
    ));

    let renewed = Tls::new(&authority.material(&[dns("new.example")])).unwrap();
    callee.set_tls(Arc::new(renewed)).unwrap();
    let uri = "sip:agent@new.example";
    let found = outcome(&caller, (&callee, &mut events), by("new.example"), uri).await;
    assert_eq!(found, 200, "the new certificate is shown");
    while !matches!(next(&mut events).await.1, LegEvent::Confirmed { .. }) {}

    let hang_up = Command::HangUp {
        headers: Vec::new(),
    };
    caller.command(standing, hang_up).unwrap();
    let ended = loop {
        if let LegEvent::Ended { why } = next(&mut placed).await.1 {
            break why;
        }
    };
    assert_eq!(
        ended,
        Ended::ByeAnswered(200),
        "the standing call ends as ever"
    );
    assert_eq!(
        callee.figures().accepted,
        2,
        "its connection was not closed"
    );
}

#[tokio::test]
async fn handshake_that_does_not_come_about_is_given_up() {
    let bounds = TransportOptions {
        handshake_timeout: Duration::from_millis(100),
        ..TransportOptions::default()
    };
    let material = Authority::new().material(&[ip("127.0.0.1")]);
    let (callee, _events) = node(LOOPBACK, &material, bounds).await;
    let mut silent = TcpStream::connect(address(&callee)).await.unwrap();
    let end = timeout(PATIENCE, silent.read(&mut [0; 8])).await.unwrap();
    assert_eq!(end.unwrap_or(0), 0);
    let mut plain = TcpStream::connect(address(&callee)).await.unwrap();
    plain
        .write_all(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(!answer.starts_with(b"SIP/2.0"), "{answer:?}");
    assert_eq!(callee.figures().handshakes_failed, 2);
}

#[test]
fn unusable_certificates_are_refused_with_the_part_that_is_wrong() {
    let authority = Authority::new();
    let good = authority.material(&[dns("a.example")]);
    let other = authority.material(&[dns("a.example")]);
    let part = |material: TlsMaterial| Tls::new(&material).map_err(|error| error.part).err();
    assert_eq!(part(good.clone()), None);
    let without_key = TlsMaterial {
        key: None,
        ..good.clone()
    };
    assert_eq!(part(without_key), Some(TlsPart::Key));
    let another_key = TlsMaterial {
        key: other.key,
        ..good.clone()
    };
    assert_eq!(part(another_key), Some(TlsPart::Certificate));
    let text = TlsMaterial {
        certificate: Some(b"hello".to_vec()),
        ..good.clone()
    };
    assert_eq!(part(text), Some(TlsPart::Certificate));
    let nobody_to_judge = TlsMaterial {
        require_client_certificate: true,
        ..good.clone()
    };
    assert_eq!(part(nobody_to_judge), Some(TlsPart::ClientCa));
    let authorities = TlsMaterial {
        ca: Some(b"hello".to_vec()),
        ..good
    };
    assert_eq!(part(authorities), Some(TlsPart::Ca));
}
