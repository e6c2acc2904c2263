//! `wss://`: the server's certificate is verified against the authorities given.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail tests"
)]

use std::sync::Arc;
use std::time::Duration;

use agent_hook::{AgentInput, CallFacts, HookConfig, HookToken, Hooks};
use call_control::transfer::InputContext;
use futures_util::StreamExt as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use timebase::Now;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

fn facts() -> CallFacts {
    CallFacts {
        call: "call-1".to_owned(),
        account: "lab".into(),
        transfer: "t-1".into(),
        conversation: "c-1".to_owned(),
        from: "a".to_owned(),
        to: "b".to_owned(),
        sip_call_id: "x".to_owned(),
        referred_by: None,
        input: InputContext::default(),
        token: HookToken::random(),
        resume: false,
        checkpoint: None,
        earlier: Vec::new(),
        headers: std::collections::BTreeMap::new(),
        bodies: Vec::new(),
        sessions: Default::default(),
    }
}

/// An authority, and a server with its certificate for 127.0.0.1.
fn authority_and_server() -> (CertificateDer<'static>, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (authority, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn agent_behind_tls_is_reached_when_its_authority_is_trusted() {
    let (authority, acceptor) = authority_and_server();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = vec![format!("wss://{}", listener.local_addr().unwrap())];
    let config = HookConfig {
        urls,
        authorities: vec![authority],
        ..HookConfig::default()
    };
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        accept_async(acceptor.accept(stream).await.unwrap())
            .await
            .unwrap()
    };
    let (hooks, facts) = (Hooks::new(config).unwrap(), facts());
    let (agent, mut server) = tokio::join!(hooks.connect(&facts, Duration::from_secs(10)), serve);
    agent
        .unwrap()
        .handle_input(Now::ZERO, AgentInput::Dtmf { digit: '4' });
    for event in ["connected", "start", "dtmf", "stop"] {
        let Some(Ok(Message::Text(text))) = server.next().await else {
            panic!("no {event}")
        };
        assert!(
            text.as_str().contains(&format!(r#""event":"{event}""#)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn server_of_an_unknown_authority_is_not_talked_to() {
    let (_, acceptor) = authority_and_server();
    let (other, _) = authority_and_server();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = vec![format!("wss://{}", listener.local_addr().unwrap())];
    let config = HookConfig {
        urls,
        authorities: vec![other],
        ..HookConfig::default()
    };
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_ok()
    };
    let (hooks, facts) = (Hooks::new(config).unwrap(), facts());
    let (agent, shook_hands) =
        tokio::join!(hooks.connect(&facts, Duration::from_millis(200)), serve);
    let error = agent.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(!shook_hands);
}
