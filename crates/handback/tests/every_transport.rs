//! Calls over UDP, TCP and TLS, by IPv4 and IPv6, with audio both ways.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handback::caller::{Order, Phone, PhoneOptions, Report, Script};
use handback::config::{Config, LAB, Listener, Protocol, Secret};
use handback::gateway::{self, Gateway};
use handback::wav;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use sip_core::Transport;
use sip_transport::{Tls, TlsMaterial};
use timebase::Clock;
use tokio::sync::mpsc;

static SPEECH: &[u8] = include_bytes!("../assets/speech.wav");

/// An authority, and a certificate of its for loopback.
struct Certificates {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: String,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = ["127.0.0.1", "::1"]
            .map(|own| SanType::IpAddress(own.parse().unwrap()))
            .into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap().pem();
        Self {
            authority: authority.pem().into_bytes(),
            certificate: certificate.into_bytes(),
            key: key.serialize_pem(),
        }
    }

    fn of_caller(&self) -> Arc<Tls> {
        let material = TlsMaterial {
            ca: Some(self.authority.clone()),
            allow_tls12: true,
            ..TlsMaterial::default()
        };
        Arc::new(Tls::new(&material).unwrap())
    }
}

/// A gateway that listens on every transport of one address and has media at some.
async fn gateway(certificates: &Certificates, address: IpAddr, media: &[IpAddr]) -> Gateway {
    let mut config = Config::parse(LAB, []).unwrap().config;
    config.sip.listen = [Protocol::Udp, Protocol::Tcp, Protocol::Tls]
        .map(|protocol| Listener {
            protocol,
            address: SocketAddr::new(address, 0),
        })
        .into();
    config.sip.tls.certificate = Some(certificates.certificate.clone());
    config.sip.tls.key = Some(Secret::new(certificates.key.clone()));
    config.media.listen = media.to_vec();
    config.api.listen.set_port(0);
    config.admin.listen.set_port(0);
    config.store.url = "memory://".to_owned();
    config.agent.hook = vec!["builtin:echo".to_owned()];
    gateway::start(config).await.unwrap()
}

async fn register(gateway: &Gateway, id: &str) {
    let transfer = serde_json::json!({
        "id": id, "externalConversationId": "c", "type": "SIP", "sip": { "returnTransferType": "BYE" }
    });
    let url = format!(
        "http://{}/generativeagent/v1/call-transfers",
        gateway.api_address()
    );
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(url)
        .header("asapp-api-id", "lab")
        .header("asapp-api-secret", "lab-secret");
    assert_eq!(request.json(&transfer).send().await.unwrap().status(), 200);
}

/// A call that says something, holds and resumes, and hangs up.
async fn call(gateway: &Gateway, transport: Transport, tls: Arc<Tls>, said: Bytes) -> Report {
    let listener = gateway.sip_address(transport).unwrap();
    let id = format!("{transport}-{}", listener.is_ipv6());
    register(gateway, &id).await;
    let phone = Phone::start(PhoneOptions {
        name: "caller",
        address: listener.ip(),
        port: 0,
        media_ports: 45_000..=45_999,
        takes_calls: false,
        tls: Some(tls),
        clock: Clock::start(),
    });
    let phone = phone.await.unwrap();
    let scheme = if transport == Transport::Tls {
        "sips"
    } else {
        "sip"
    };
    let order = Order {
        to: format!("{scheme}:agent@{listener}"),
        from: "sip:caller@example.com".to_owned(),
        transport,
        transfer: Some(id),
        credentials: None,
        script: Script {
            say: said,
            hold_after: Some(Duration::from_millis(3200)),
            hangup_after: Some(Duration::from_millis(4600)),
            ..Script::default()
        },
    };
    let (events, _news) = mpsc::channel(64);
    let report = phone.call(order, events).await;
    phone.shutdown().await;
    report
}

async fn is_heard_on_every_transport(address: &str) {
    let address: IpAddr = address.parse().unwrap();
    let certificates = Certificates::new();
    let gateway = gateway(
        &certificates,
        address,
        &["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
    )
    .await;
    let said: Bytes = wav::from_bytes(SPEECH).unwrap();
    let place = |transport| call(&gateway, transport, certificates.of_caller(), said.clone());
    let (udp, tcp, tls) = tokio::join!(
        place(Transport::Udp),
        place(Transport::Tcp),
        place(Transport::Tls)
    );
    gateway.shutdown().await;
    let voiced = &said[2400..16_000];
    for (transport, report) in [("udp", udp), ("tcp", tcp), ("tls", tls)] {
        assert_eq!(report.failure(), None, "{transport}");
        let found = report
            .heard
            .windows(voiced.len())
            .any(|heard| heard == voiced);
        assert!(
            found,
            "{transport}: {} samples are not what was said",
            report.heard.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_is_heard_over_udp_tcp_and_tls_by_ipv4() {
    is_heard_on_every_transport("127.0.0.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_is_heard_over_udp_tcp_and_tls_by_ipv6() {
    is_heard_on_every_transport("::1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offer_of_a_family_without_media_gets_488() {
    let certificates = Certificates::new();
    let six: IpAddr = "::1".parse().unwrap();
    let gateway = gateway(&certificates, six, &["127.0.0.1".parse().unwrap()]).await;
    let report = call(
        &gateway,
        Transport::Udp,
        certificates.of_caller(),
        Bytes::new(),
    )
    .await;
    gateway.shutdown().await;
    assert_eq!(report.refused.map(|(status, _)| status), Some(488));
}
