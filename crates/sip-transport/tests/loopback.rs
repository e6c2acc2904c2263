//! Whole calls and raw bytes over loopback sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bytes::Bytes;
use sip_core::{
    Command, Ended, Endpoint, EndpointConfig, LegEvent, LegId, Place, Response, Transport,
    TrunkRule,
};
use sip_transport::{Direction, Listen, SipHandle, Sockets, TransportOptions};
use std::net::SocketAddr;
use std::time::Duration;
use timebase::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

const SDP: &[u8] = b"v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const PATIENCE: Duration = Duration::from_secs(5);

type Events = mpsc::Receiver<(LegId, LegEvent)>;

fn config() -> EndpointConfig {
    let loopback = TrunkRule {
        name: "loopback".to_owned(),
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        require_all: false,
        digest: None,
        outbound_auth: None,
        header_optional: false,
        reliable_where_supported: false,
    };
    EndpointConfig {
        trunks: vec![loopback],
        ..EndpointConfig::default()
    }
}

/// A node on free loopback ports that admits every call; its legs' events come out of the receiver.
async fn node(seed: u8, options: TransportOptions) -> (SipHandle, Events) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listen = [Transport::Udp, Transport::Tcp].map(|transport| Listen {
        transport,
        address: any,
    });
    let sockets = Sockets::bind(&listen).await.unwrap();
    let (owner, events) = mpsc::channel(64);
    let gate = Box::new(move |_, invitation: &sip_core::Invitation| {
        owner
            .try_send((invitation.leg, LegEvent::AllowsRefer(true)))
            .map_err(|_| Response::new(503))?;
        Ok(owner.clone())
    });
    let endpoint = Endpoint::new(config(), [seed; 32]);
    (sockets.run(endpoint, Clock::start(), gate, options), events)
}

fn address(node: &SipHandle, transport: Transport) -> SocketAddr {
    node.listeners()
        .iter()
        .find(|listen| listen.transport == transport)
        .unwrap()
        .address
}

async fn next(events: &mut Events) -> (LegId, LegEvent) {
    timeout(PATIENCE, events.recv())
        .await
        .expect("an event in time")
        .expect("a running driver")
}

fn place(caller: &SipHandle, transport: Transport, remote: SocketAddr, pad: usize) -> Place {
    Place {
        leg: caller.new_leg(),
        flow: caller.flow_to(transport, remote),
        uri: format!("sip:agent@{remote};transport={transport}").into(),
        from: Bytes::from_static(b"<sip:anna@127.0.0.1>"),
        to: Bytes::from_static(b"<sip:agent@127.0.0.1>"),
        headers: vec![sip_core::Header::new("X-Pad", "p".repeat(pad))],
        sdp: Some(Bytes::from_static(SDP)),
        credentials: None,
        trunk: None,
        max_forwards: 70,
        route: None,
        sources: Vec::new(),
        patience: None,
    }
}

/// The answer of a placed call, behind whatever progress it makes.
async fn answer_of(placed: &mut Events) -> Option<Bytes> {
    loop {
        let event = next(placed).await.1;
        if let LegEvent::Answered { sdp, .. } = event {
            return sdp;
        }
        assert!(matches!(event, LegEvent::Progress { .. }), "{event:?}");
    }
}

/// Places a call, lets it be answered, and hangs up from the called side.
async fn whole_call(transport: Transport, pad: usize) -> (SipHandle, SipHandle) {
    let (callee, mut arriving) = node(1, TransportOptions::default()).await;
    let (caller, _unused) = node(2, TransportOptions::default()).await;
    let (owner, mut placed) = mpsc::channel(64);
    caller
        .place(
            place(&caller, transport, address(&callee, transport), pad),
            owner,
        )
        .await
        .unwrap();
    let (leg, _) = next(&mut arriving).await;
    callee
        .command(
            leg,
            Command::Accept {
                sdp: Some(Bytes::from_static(SDP)),
                headers: Vec::new(),
            },
        )
        .unwrap();
    assert_eq!(answer_of(&mut placed).await.as_deref(), Some(SDP));
    let confirmed = next(&mut arriving).await.1;
    assert_eq!(confirmed, LegEvent::Confirmed { answer: None });
    callee
        .command(
            leg,
            Command::HangUp {
                headers: Vec::new(),
            },
        )
        .unwrap();
    let last = [
        next(&mut placed).await.1,
        next(&mut placed).await.1,
        next(&mut arriving).await.1,
    ];
    let hung_up = LegEvent::HungUp {
        reasons: Vec::new(),
    };
    let ended = |why| LegEvent::Ended { why };
    assert_eq!(
        last,
        [
            hung_up,
            ended(Ended::HungUp),
            ended(Ended::ByeAnswered(200))
        ]
    );
    (callee, caller)
}

#[tokio::test]
async fn call_is_set_up_and_ended_over_udp() {
    let (callee, _caller) = whole_call(Transport::Udp, 1).await;
    assert_eq!(callee.census().await.unwrap().1.admitted, 1);
}

#[tokio::test]
async fn call_is_set_up_and_ended_over_tcp() {
    let (callee, _caller) = whole_call(Transport::Tcp, 1).await;
    assert_eq!(callee.census().await.unwrap().0.legs, 0);
}

#[tokio::test]
async fn large_request_meant_for_udp_travels_over_tcp_when_the_peer_listens_there() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = TcpListener::bind(any).await.unwrap();
    let remote = listener.local_addr().unwrap();
    let (caller, _unused) = node(2, TransportOptions::default()).await;
    let (owner, _placed) = mpsc::channel(64);
    caller
        .place(place(&caller, Transport::Udp, remote, 1400), owner)
        .await
        .unwrap();
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let text = read_until(&mut stream, "m=audio").await;
    assert!(text.contains("Via: SIP/2.0/TCP"), "{text}");
}

#[tokio::test]
async fn large_request_falls_back_to_udp_when_the_connection_is_refused() {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (caller, _unused) = node(2, TransportOptions::default()).await;
    let (owner, _placed) = mpsc::channel(64);
    caller
        .place(
            place(&caller, Transport::Udp, peer.local_addr().unwrap(), 1400),
            owner,
        )
        .await
        .unwrap();
    let mut buffer = vec![0; 65_535];
    let (length, _) = timeout(PATIENCE, peer.recv_from(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]);
    assert!(
        text.starts_with("INVITE ") && text.contains("Via: SIP/2.0/UDP"),
        "{text}"
    );
}

#[tokio::test]
async fn refused_connection_ends_the_leg_as_503() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = free.local_addr().unwrap();
    drop(free);
    let (caller, _unused) = node(2, TransportOptions::default()).await;
    let (owner, mut placed) = mpsc::channel(64);
    caller
        .place(place(&caller, Transport::Tcp, remote, 1), owner)
        .await
        .unwrap();
    let refused = next(&mut placed).await.1;
    assert!(
        matches!(refused, LegEvent::Refused { status: 503, .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn several_calls_to_one_peer_share_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = listener.local_addr().unwrap();
    let (caller, _unused) = node(2, TransportOptions::default()).await;
    let (owner, _placed) = mpsc::channel(64);
    for _ in 0..3 {
        caller
            .place(place(&caller, Transport::Tcp, remote, 1), owner.clone())
            .await
            .unwrap();
    }
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut text = String::new();
    while text.matches("INVITE sip:").count() < 3 || text.matches("m=audio").count() < 3 {
        text += &read_until(&mut stream, "m=audio").await;
    }
    assert!(
        timeout(Duration::from_millis(100), listener.accept())
            .await
            .is_err(),
        "a second connection was opened"
    );
}

#[tokio::test]
async fn request_cut_into_single_bytes_is_answered_on_the_connection_it_came_by() {
    let (callee, _events) = node(1, TransportOptions::default()).await;
    let mut stream = TcpStream::connect(address(&callee, Transport::Tcp))
        .await
        .unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in options("127.0.0.1:1") {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
}

#[tokio::test]
async fn two_requests_in_one_segment_are_both_answered() {
    let (callee, _events) = node(1, TransportOptions::default()).await;
    let mut stream = TcpStream::connect(address(&callee, Transport::Tcp))
        .await
        .unwrap();
    let first = options("127.0.0.1:1");
    let second = String::from_utf8(first.clone())
        .unwrap()
        .replace("z9hG4bKone", "z9hG4bKtwo")
        .replace("one@", "two@");
    stream
        .write_all(&[first, second.into_bytes()].concat())
        .await
        .unwrap();
    let answers = read_until(&mut stream, "z9hG4bKtwo").await;
    assert!(
        answers.contains("z9hG4bKone") && answers.contains("z9hG4bKtwo"),
        "{answers}"
    );
}

#[tokio::test]
async fn cancel_in_the_same_segment_as_its_invite_finds_the_call() {
    let (node, mut events) = node(1, TransportOptions::default()).await;
    let mut stream = TcpStream::connect(address(&node, Transport::Tcp))
        .await
        .unwrap();
    let request = |method: &str, more: &str| {
        format!(
            "{method} sip:agent@127.0.0.1 SIP/2.0\r\n\
             Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKcancelled\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=f\r\nTo: <sip:agent@127.0.0.1>\r\n\
             Call-ID: cancelled\r\nCSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n"
        )
    };
    let both = request("INVITE", "Contact: <sip:a@127.0.0.1:9;transport=tcp>\r\n")
        + &request("CANCEL", "");
    stream.write_all(both.as_bytes()).await.unwrap();
    next(&mut events).await;
    assert!(matches!(
        next(&mut events).await.1,
        LegEvent::Cancelled { .. }
    ));
    let answers = read_until(&mut stream, "CSeq: 1 CANCEL").await;
    assert!(answers.contains("SIP/2.0 200 OK"), "{answers}");
    node.shutdown().await;
}

#[tokio::test]
async fn keep_alive_is_answered_by_one_line_break() {
    let (callee, _events) = node(1, TransportOptions::default()).await;
    let mut stream = TcpStream::connect(address(&callee, Transport::Tcp))
        .await
        .unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    timeout(PATIENCE, stream.read_exact(&mut pong))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&pong, b"\r\n");
}

#[tokio::test]
async fn broken_framing_is_answered_400_and_the_connection_closed() {
    let (callee, _events) = node(1, TransportOptions::default()).await;
    let mut stream = TcpStream::connect(address(&callee, Transport::Tcp))
        .await
        .unwrap();
    let broken = String::from_utf8(options("127.0.0.1:1"))
        .unwrap()
        .replace("Content-Length: 0", "Content-Length: -5");
    stream.write_all(broken.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect("the end of the stream")
        .unwrap();
    assert!(answer.starts_with("SIP/2.0 400"), "{answer}");
}

#[tokio::test]
async fn connection_that_never_says_anything_is_closed() {
    let options = TransportOptions {
        first_message_timeout: Duration::from_millis(50),
        ..TransportOptions::default()
    };
    let (callee, _events) = node(1, options).await;
    let mut stream = TcpStream::connect(address(&callee, Transport::Tcp))
        .await
        .unwrap();
    assert_eq!(
        timeout(PATIENCE, stream.read(&mut [0; 8]))
            .await
            .unwrap()
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn connections_over_the_limit_are_closed() {
    let bounds = TransportOptions {
        max_connections: 1,
        ..TransportOptions::default()
    };
    let (callee, _events) = node(1, bounds).await;
    let mut kept = TcpStream::connect(address(&callee, Transport::Tcp))
        .await
        .unwrap();
    kept.write_all(&options("127.0.0.1:1")).await.unwrap();
    read_until(&mut kept, "\r\n\r\n").await;
    let mut refused = TcpStream::connect(address(&callee, Transport::Tcp))
        .await
        .unwrap();
    assert_eq!(
        timeout(PATIENCE, refused.read(&mut [0; 8]))
            .await
            .unwrap()
            .unwrap_or(0),
        0
    );
}

#[tokio::test]
async fn answer_over_udp_goes_to_the_source_when_rport_is_asked_for_and_taps_see_both_packets() {
    let (callee, _events) = node(1, TransportOptions::default()).await;
    let mut packets = callee.tap(16).await.unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = String::from_utf8(options("192.0.2.1:5060"))
        .unwrap()
        .replace("TCP", "UDP")
        .replace(";branch", ";rport;branch");
    peer.send_to(request.as_bytes(), address(&callee, Transport::Udp))
        .await
        .unwrap();
    let mut buffer = vec![0; 65_535];
    let (length, _) = timeout(PATIENCE, peer.recv_from(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let port = peer.local_addr().unwrap().port();
    assert!(
        answer.contains("received=127.0.0.1") && answer.contains(&format!("rport={port}")),
        "{answer}"
    );
    let seen = [packets.recv().await.unwrap(), packets.recv().await.unwrap()];
    assert_eq!(
        seen.each_ref().map(|packet| packet.direction),
        [Direction::In, Direction::Out]
    );
    assert_eq!(seen[1].bytes, answer.as_bytes());
}

#[tokio::test]
async fn shutdown_writes_what_is_queued_and_frees_the_ports() {
    let (callee, _events) = node(1, TransportOptions::default()).await;
    let (udp, tcp) = (
        address(&callee, Transport::Udp),
        address(&callee, Transport::Tcp),
    );
    callee.shutdown().await;
    UdpSocket::bind(udp)
        .await
        .expect("the UDP port is free again");
    TcpListener::bind(tcp)
        .await
        .expect("the TCP port is free again");
    assert!(callee.drain(true).is_err());
}

fn options(sent_by: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:agent@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP {sent_by};branch=z9hG4bKone\r\n\
         From: <sip:anna@127.0.0.1>;tag=1\r\nTo: <sip:agent@127.0.0.1>\r\nCall-ID: one@test\r\nCSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(end) {
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes))
            .await
            .expect("bytes in time")
            .unwrap();
        assert_ne!(
            read,
            0,
            "closed after {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
