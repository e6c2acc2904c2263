//! A test caller, a gateway and `builtin:echo` on loopback: what is said comes back as it was said.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use handback::caller::{Order, Phone, PhoneOptions, Report, Script};
use handback::config::{Config, LAB};
use handback::gateway::{self, Gateway};
use handback::wav;
use sip_core::Transport;
use timebase::Clock;
use tokio::sync::mpsc;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
static SPEECH: &[u8] = include_bytes!("../assets/speech.wav");

async fn gateway(hook: &str) -> Gateway {
    let mut config = Config::parse(LAB, []).unwrap().config;
    for listener in &mut config.sip.listen {
        listener.address.set_port(0);
    }
    config.api.listen = SocketAddr::new(LOOPBACK, 0);
    config.admin.listen = SocketAddr::new(LOOPBACK, 0);
    config.store.url = "memory://".to_owned();
    config.agent.hook = vec![hook.to_owned()];
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
    let request = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(url);
    let request = request
        .header("asapp-api-id", "lab")
        .header("asapp-api-secret", "lab-secret");
    assert_eq!(request.json(&transfer).send().await.unwrap().status(), 200);
}

async fn call(gateway: &Gateway, transport: Transport, id: &str, script: Script) -> Report {
    let options = PhoneOptions {
        name: "caller",
        address: LOOPBACK,
        port: 0,
        media_ports: 44_000..=44_999,
        takes_calls: false,
        tls: None,
        clock: Clock::start(),
    };
    let phone = Phone::start(options).await.unwrap();
    let order = Order {
        to: format!("sip:agent@{}", gateway.sip_address(transport).unwrap()),
        from: "sip:caller@example.com".to_owned(),
        transport,
        transfer: Some(id.to_owned()),
        credentials: None,
        script,
    };
    let (events, _news) = mpsc::channel(64);
    let report = phone.call(order, events).await;
    phone.shutdown().await;
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_comes_back_from_the_echo_without_gap_or_click() {
    let gateway = gateway("builtin:echo").await;
    register(&gateway, "echo-1").await;
    let said: Bytes = wav::from_bytes(SPEECH).unwrap();
    let script = Script {
        say: said.clone(),
        hangup_after: Some(Duration::from_millis(4500)),
        ..Script::default()
    };
    let report = call(&gateway, Transport::Tcp, "echo-1", script).await;
    gateway.shutdown().await;
    assert_eq!(report.failure(), None);
    // From the first voiced frame on, every sample is the one that was said.
    let voiced = &said[2400..24_000];
    let found = report
        .heard
        .windows(voiced.len())
        .any(|heard| heard == voiced);
    assert!(
        found,
        "the echo of {} samples is not what was said",
        report.heard.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_transfer_of_its_account_is_refused() {
    let gateway = gateway("builtin:silence").await;
    let report = call(
        &gateway,
        Transport::Udp,
        "nobody-knows-it",
        Script::default(),
    )
    .await;
    gateway.shutdown().await;
    assert_eq!(report.refused.map(|(status, _)| status), Some(404));
}
