//! Peers that are broken, slow, many, or gone at the wrong moment.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bytes::Bytes;
use sip_core::{Endpoint, EndpointConfig, LegEvent, LegId, Place, Response, Transport, TrunkRule};
use sip_transport::{Listen, SipHandle, Sockets, TransportOptions};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use timebase::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

type Events = mpsc::Receiver<(LegId, LegEvent)>;

async fn node(host: &str, options: TransportOptions) -> (SipHandle, Events) {
    let address: SocketAddr = format!("{host}:0").parse().unwrap();
    let listen = [Transport::Udp, Transport::Tcp].map(|transport| Listen { transport, address });
    let sockets = Sockets::bind(&listen).await.unwrap();
    let (owner, events) = mpsc::channel(1024);
    let gate = Box::new(move |_, invitation: &sip_core::Invitation| {
        owner
            .try_send((invitation.leg, LegEvent::AllowsRefer(true)))
            .map_err(|_| Response::new(503))?;
        Ok(owner.clone())
    });
    let config = EndpointConfig {
        trunks: vec![TrunkRule {
            name: "loopback".to_owned(),
            allow: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            require_all: false,
            digest: None,
            outbound_auth: None,
            header_optional: false,
            reliable_where_supported: false,
        }],
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::new(config, [7; 32]);
    (sockets.run(endpoint, Clock::start(), gate, options), events)
}

async fn plain() -> (SipHandle, Events) {
    node("127.0.0.1", TransportOptions::default()).await
}

fn address(node: &SipHandle, transport: Transport) -> SocketAddr {
    let listeners = node.listeners();
    let found = listeners
        .iter()
        .find(|listen| listen.transport == transport);
    found.unwrap().address
}

fn request(method: &str, id: &str, more: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} sip:agent@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:1;branch=z9hG4bK{id}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:anna@127.0.0.1>;tag={id}\r\nTo: <sip:agent@127.0.0.1>\r\nCall-ID: {id}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:anna@127.0.0.1:1;transport=tcp>\r\n{more}\r\n{body}"
    )
    .into_bytes()
}

fn options(id: &str) -> Vec<u8> {
    request("OPTIONS", id, "Content-Length: 0\r\n", "")
}

async fn connect(node: &SipHandle) -> TcpStream {
    TcpStream::connect(address(node, Transport::Tcp))
        .await
        .unwrap()
}

/// Reads until the text has `end` in it.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(end) {
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        assert_ne!(read.expect("bytes in time").unwrap(), 0, "closed");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads to the end of the stream, whichever way it ends.
async fn rest(stream: &mut TcpStream) -> String {
    timeout(PATIENCE, rest_of(stream))
        .await
        .expect("the end in time")
}

async fn rest_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn answers_options(node: &SipHandle) {
    let mut stream = connect(node).await;
    stream.write_all(&options("alive")).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn connection_reset_after_any_byte_of_an_invite_leaves_nothing_behind() {
    let (node, _events) = plain().await;
    let invite = request("INVITE", "reset", "Content-Length: 0\r\n", "");
    for end in 0..invite.len() {
        let mut stream = connect(&node).await;
        stream.write_all(&invite[..end]).await.unwrap();
        // A linger of zero closes by RST.
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(stream);
    }
    answers_options(&node).await;
    eventually("every connection to be gone", async || {
        node.figures().connections == 0
    })
    .await;
    let (census, counters) = node.census().await.unwrap();
    assert_eq!(
        (census.legs, census.transactions, counters.admitted),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn byte_now_and_then_does_not_keep_a_connection_open() {
    let bounds = TransportOptions {
        first_message_timeout: Duration::from_millis(300),
        ..TransportOptions::default()
    };
    let (node, _events) = node("127.0.0.1", bounds).await;
    let mut stream = connect(&node).await;
    let started = Instant::now();
    let mut bytes = options("slow").into_iter().cycle();
    while stream.write_all(&[bytes.next().unwrap()]).await.is_ok() {
        assert!(started.elapsed() < PATIENCE, "still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.figures().slow, 1);
}

#[tokio::test]
async fn message_that_is_begun_and_not_ended_closes_a_connection_that_was_good() {
    let bounds = TransportOptions {
        message_timeout: Duration::from_millis(100),
        ..TransportOptions::default()
    };
    let (node, _events) = node("127.0.0.1", bounds).await;
    let mut stream = connect(&node).await;
    stream.write_all(&options("good")).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    stream.write_all(b"OPTIONS sip:").await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    assert_eq!(node.figures().slow, 1);
}

#[tokio::test]
async fn body_never_lets_a_second_request_out() {
    for lengths in [
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5, 0\r\n",
        "l: 0\r\nContent-Length: 400\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "",
    ] {
        let (node, _events) = plain().await;
        let mut stream = connect(&node).await;
        let inner = String::from_utf8(options("smuggled")).unwrap();
        let outer = request("OPTIONS", "outer", lengths, &inner);
        stream.write_all(&outer).await.unwrap();
        let answers = rest(&mut stream).await;
        assert!(!answers.contains("smuggled"), "{lengths:?}: {answers}");
        assert!(
            answers.starts_with("SIP/2.0 400") || answers.starts_with("SIP/2.0 513"),
            "{lengths:?}: {answers}"
        );
        assert_eq!(node.census().await.unwrap().1.received, 1, "{lengths:?}");
    }
}

#[tokio::test]
async fn message_beyond_64_kib_gets_513_and_loses_the_connection() {
    let (node, _events) = plain().await;
    let mut stream = connect(&node).await;
    let large = request("OPTIONS", "large", "Content-Length: 70000\r\n", "");
    stream.write_all(&large).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("SIP/2.0 513"), "{answer}");
    let many: String = (0..300).map(|n| format!("X-{n}: 1\r\n")).collect();
    let mut stream = connect(&node).await;
    let many = request(
        "OPTIONS",
        "many",
        &format!("{many}Content-Length: 0\r\n"),
        "",
    );
    stream.write_all(&many).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("SIP/2.0 513"), "{answer}");
    answers_options(&node).await;
}

#[tokio::test]
async fn flood_of_silent_connections_pushes_out_its_own_and_nobody_else() {
    let bounds = TransportOptions {
        max_connections_per_source: 10,
        ..TransportOptions::default()
    };
    let (node, _events) = node("127.0.0.1", bounds).await;
    let mut good = connect(&node).await;
    good.write_all(&options("good")).await.unwrap();
    read_until(&mut good, "\r\n\r\n").await;
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(connect(&node).await);
    }
    eventually("the flood to be taken", async || {
        node.figures().accepted == 101
    })
    .await;
    assert_eq!(node.figures().connections, 10);
    assert_eq!(node.figures().refused, 91);
    assert_eq!(rest(&mut flood[0]).await, "", "the oldest has gone first");
    good.write_all(&options("again")).await.unwrap();
    let answer = read_until(&mut good, "\r\n\r\n").await;
    assert!(answer.contains("again"), "{answer}");
}

#[tokio::test]
async fn broken_datagrams_of_one_source_are_answered_only_so_often() {
    let bounds = TransportOptions {
        broken_datagrams: (5, 0),
        ..TransportOptions::default()
    };
    let (node, _events) = node("127.0.0.1", bounds).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let broken = request("OPTIONS", "broken", "Content-Length: -1\r\n", "");
    let broken = String::from_utf8(broken)
        .unwrap()
        .replace(";branch", ";rport;branch");
    for _ in 0..20 {
        let to = address(&node, Transport::Udp);
        peer.send_to(broken.as_bytes(), to).await.unwrap();
    }
    eventually("the rest to be dropped", async || {
        node.figures().datagrams_dropped == 15
    })
    .await;
    let mut answers = 0;
    let mut buffer = [0; 4096];
    while let Ok(Ok(_)) = timeout(Duration::from_millis(200), peer.recv(&mut buffer)).await {
        answers += 1;
    }
    assert_eq!(answers, 5);
}

#[tokio::test]
async fn idle_connection_is_closed_unless_a_call_is_on_it() {
    let bounds = TransportOptions {
        idle_timeout: Duration::from_millis(200),
        ..TransportOptions::default()
    };
    let (node, mut events) = node("127.0.0.1", bounds).await;
    let mut idle = connect(&node).await;
    let mut busy = connect(&node).await;
    idle.write_all(&options("idle")).await.unwrap();
    read_until(&mut idle, "\r\n\r\n").await;
    let invite = request("INVITE", "busy", "Content-Length: 0\r\n", "");
    busy.write_all(&invite).await.unwrap();
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    read_until(&mut busy, "\r\n\r\n").await;
    assert_eq!(rest(&mut idle).await, "");
    let mut more = Vec::new();
    let silence = timeout(Duration::from_millis(500), busy.read_buf(&mut more)).await;
    let more = String::from_utf8_lossy(&more).into_owned();
    assert!(
        silence.is_err(),
        "the connection of a call was closed: {silence:?} {more}"
    );
    assert_eq!(node.figures().idle, 1);
}

fn place(node: &SipHandle, transport: Transport, remote: SocketAddr, pad: usize) -> Place {
    Place {
        leg: node.new_leg(),
        flow: node.flow_to(transport, remote),
        uri: format!("sip:agent@{remote};transport={transport}").into(),
        from: Bytes::from_static(b"<sip:anna@127.0.0.1>"),
        to: Bytes::from_static(b"<sip:agent@127.0.0.1>"),
        headers: vec![sip_core::Header::new("X-Pad", "p".repeat(pad))],
        sdp: None,
        credentials: None,
        max_forwards: 70,
        route: None,
        sources: Vec::new(),
        patience: None,
        trunk: None,
    }
}

#[tokio::test]
async fn request_on_a_connection_that_breaks_fails_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let (node, _events) = plain().await;
    for reused in [false, true] {
        let (owner, mut placed) = mpsc::channel(64);
        let started = Instant::now();
        let invite = place(&node, Transport::Tcp, remote, 1);
        node.place(invite, owner).await.unwrap();
        let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        drop(stream);
        let (_, refused) = timeout(PATIENCE, placed.recv()).await.unwrap().unwrap();
        assert!(
            matches!(refused, LegEvent::Refused { status: 503, .. }),
            "{reused}: {refused:?}"
        );
        assert!(started.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn large_request_whose_connection_breaks_unanswered_goes_by_udp_after_all() {
    let udp = UdpSocket::bind("[::1]:0").await.unwrap();
    let remote = udp.local_addr().unwrap();
    let listener = TcpListener::bind(remote).await.unwrap();
    let (node, _events) = node("[::1]", TransportOptions::default()).await;
    let (owner, _placed) = mpsc::channel(64);
    let invite = place(&node, Transport::Udp, remote, 1400);
    node.place(invite, owner).await.unwrap();
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let text = read_until(&mut stream, "\r\n\r\n").await;
    let own = address(&node, Transport::Udp);
    assert!(text.contains(&format!("Via: SIP/2.0/TCP {own};")), "{text}");
    drop(stream);
    let mut buffer = vec![0; 65_535];
    let received = timeout(PATIENCE, udp.recv(&mut buffer)).await.unwrap();
    let text = String::from_utf8_lossy(&buffer[..received.unwrap()]).into_owned();
    assert!(text.contains(&format!("Via: SIP/2.0/UDP {own};")), "{text}");
}
