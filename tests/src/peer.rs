//! A SIP peer: sends what it is told to, and shows what comes.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_core::Transport;
use sip_message::{Frame, HeaderName, Limits, Message, StreamDecoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Mutex, mpsc};

use crate::lab::{Lab, PATIENCE};
use crate::request::{Request, respond, text, unique};

const QUEUE: usize = 1024;

/// What came, and the way back.
#[derive(Clone, Debug)]
pub struct Received {
    /// When it came.
    pub at: Instant,
    /// The message.
    pub message: Message,
    way: Way,
}

/// The way to somebody.
#[derive(Clone, Debug)]
enum Way {
    Datagram(Arc<UdpSocket>, SocketAddr),
    Stream(Arc<Mutex<OwnedWriteHalf>>),
}

impl Way {
    async fn send(&self, bytes: &[u8]) {
        match self {
            Self::Datagram(socket, to) => {
                assert_eq!(socket.send_to(bytes, to).await.unwrap(), bytes.len())
            }
            Self::Stream(stream) => stream.lock().await.write_all(bytes).await.unwrap(),
        }
    }
}

/// A SIP peer.
#[derive(Debug)]
pub struct Peer {
    /// What it speaks.
    pub transport: Transport,
    /// Where it is.
    pub address: SocketAddr,
    /// The tag that it answers with.
    pub tag: String,
    way: Option<Way>,
    arrivals: mpsc::Receiver<Received>,
    /// Arrived, and not what was waited for.
    waiting: VecDeque<Received>,
    repeats: Arc<AtomicUsize>,
}

impl Peer {
    /// A peer that calls the gateway.
    pub async fn calling(lab: &Lab, transport: Transport) -> Self {
        Self::calling_from("127.0.0.1", lab, transport).await
    }

    /// A peer that calls the gateway from an address of its own.
    pub async fn calling_from(host: &str, lab: &Lab, transport: Transport) -> Self {
        let gateway = lab.sip(transport);
        let (sender, arrivals) = mpsc::channel(QUEUE);
        let repeats = Arc::default();
        let (address, way) = match transport {
            Transport::Udp => {
                let socket = Arc::new(UdpSocket::bind((host, 0)).await.unwrap());
                tokio::spawn(datagrams(Arc::clone(&socket), sender, Arc::clone(&repeats)));
                (socket.local_addr().unwrap(), Way::Datagram(socket, gateway))
            }
            Transport::Tcp | Transport::Tls => {
                let stream = TcpStream::connect(gateway).await.unwrap();
                (stream.local_addr().unwrap(), connection(stream, sender))
            }
        };
        Self {
            repeats,
            ..Self::new(transport, address, Some(way), arrivals)
        }
    }

    /// A peer that waits to be called.
    pub async fn waiting(transport: Transport) -> Self {
        let (sender, arrivals) = mpsc::channel(QUEUE);
        let repeats = Arc::default();
        let address = match transport {
            Transport::Udp => {
                let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                tokio::spawn(datagrams(Arc::clone(&socket), sender, Arc::clone(&repeats)));
                socket.local_addr().unwrap()
            }
            Transport::Tcp | Transport::Tls => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        connection(stream, sender.clone());
                    }
                });
                address
            }
        };
        Self {
            repeats,
            ..Self::new(transport, address, None, arrivals)
        }
    }

    fn new(
        transport: Transport,
        address: SocketAddr,
        way: Option<Way>,
        arrivals: mpsc::Receiver<Received>,
    ) -> Self {
        Self {
            transport,
            address,
            tag: unique("peer"),
            way,
            arrivals,
            waiting: VecDeque::new(),
            repeats: Arc::default(),
        }
    }

    /// How many datagrams came again as they were.
    #[must_use]
    pub fn repeats(&self) -> usize {
        self.repeats.load(Ordering::Relaxed)
    }

    /// Sends to the gateway: where it is known to be, else where it last wrote from.
    pub async fn send(&self, request: &Request) {
        self.send_bytes(request.to_text().as_bytes()).await;
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&self, bytes: &[u8]) {
        self.way.as_ref().unwrap().send(bytes).await;
    }

    /// Closes the connection.
    pub async fn disconnect(&self) {
        if let Some(Way::Stream(stream)) = &self.way {
            stream.lock().await.shutdown().await.unwrap();
        }
    }

    /// Answers a request.
    pub async fn answer(&self, to: &Received, status: &str) {
        self.answer_with(to, status, &[], "").await;
    }

    /// Answers a request with fields and SDP.
    pub async fn answer_with(
        &self,
        to: &Received,
        status: &str,
        fields: &[(&str, &str)],
        sdp: &str,
    ) {
        let answer = respond(&to.message, status, &self.tag, fields, sdp);
        to.way.send(answer.as_bytes()).await;
    }

    /// The next request of a method.
    pub async fn request(&mut self, method: &str) -> Received {
        let found = self.wait(method, |message| {
            message.is_request() && message.method().as_str() == method
        });
        let found = found.await;
        self.way.get_or_insert_with(|| found.way.clone());
        found
    }

    /// The final response to a request.
    pub async fn response(&mut self, to: &Request) -> Received {
        let (call_id, cseq) = (to.value("Call-ID").to_owned(), to.value("CSeq").to_owned());
        let what = format!("the response to {cseq}");
        self.wait(&what, |message| {
            message.status().is_some_and(|status| status >= 200)
                && text(message, HeaderName::CallId) == call_id
                && text(message, HeaderName::CSeq) == cseq
        })
        .await
    }

    /// The response of this status to a request.
    pub async fn response_of(&mut self, to: &Request, status: u16) -> Received {
        let cseq = to.value("CSeq").to_owned();
        self.wait(&format!("{status} to {cseq}"), |message| {
            message.status() == Some(status) && text(message, HeaderName::CSeq) == cseq
        })
        .await
    }

    /// Sends a request; its final response must have this status.
    pub async fn exchange(&mut self, request: &Request, status: u16) -> Received {
        self.send(request).await;
        let answer = self.response(request).await;
        assert_eq!(
            answer.message.status(),
            Some(status),
            "{:?}",
            answer.message.bytes()
        );
        answer
    }

    /// The next message that fits; others wait for their turn.
    pub async fn wait(&mut self, what: &str, fits: impl Fn(&Message) -> bool) -> Received {
        if let Some(at) = self
            .waiting
            .iter()
            .position(|received| fits(&received.message))
        {
            return self.waiting.remove(at).unwrap();
        }
        let until = tokio::time::Instant::now() + PATIENCE;
        while let Ok(Some(received)) = tokio::time::timeout_at(until, self.arrivals.recv()).await {
            if fits(&received.message) {
                return received;
            }
            self.waiting.push_back(received);
        }
        panic!("waited in vain for {what}; there came {:#?}", self.waiting);
    }

    /// Nothing that fits has come or comes in this time.
    pub async fn assert_none(&mut self, span: Duration, fits: impl Fn(&Message) -> bool) {
        let until = tokio::time::Instant::now() + span;
        while let Ok(Some(received)) = tokio::time::timeout_at(until, self.arrivals.recv()).await {
            self.waiting.push_back(received);
        }
        let found = self.waiting.iter().find(|received| fits(&received.message));
        assert!(found.is_none(), "{found:?}");
    }
}

/// Repetitions are dropped: on loopback nothing is lost, so that they mean a slow machine.
#[derive(Debug, Default)]
struct Once(HashSet<Bytes>);

impl Once {
    fn is_new(&mut self, bytes: &Bytes) -> bool {
        self.0.insert(bytes.clone())
    }
}

/// What the gateway says is well formed; only what it answers to nonsense may lack what that lacked.
fn check(message: &Message) {
    if message.status() != Some(400) {
        message.validate().unwrap();
    }
}

async fn datagrams(
    socket: Arc<UdpSocket>,
    sender: mpsc::Sender<Received>,
    repeats: Arc<AtomicUsize>,
) {
    let mut once = Once::default();
    let mut buffer = vec![0; 65_536];
    while let Ok((size, from)) = socket.recv_from(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(&buffer[..size]);
        if !once.is_new(&bytes) {
            repeats.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let message = Message::parse(bytes, &Limits::default()).unwrap();
        check(&message);
        let way = Way::Datagram(Arc::clone(&socket), from);
        if sender
            .send(Received {
                at: Instant::now(),
                message,
                way,
            })
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Reads a connection on, and gives the way to its other end.
fn connection(stream: TcpStream, sender: mpsc::Sender<Received>) -> Way {
    stream.set_nodelay(true).unwrap();
    let (read, write) = stream.into_split();
    let way = Way::Stream(Arc::new(Mutex::new(write)));
    tokio::spawn(stream_messages(read, way.clone(), sender));
    way
}

async fn stream_messages(mut read: OwnedReadHalf, way: Way, sender: mpsc::Sender<Received>) {
    let mut once = Once::default();
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut buffer = vec![0; 65_536];
    while let Ok(size @ 1..) = read.read(&mut buffer).await {
        decoder.push(&buffer[..size]);
        while let Some(frame) = decoder.next().unwrap() {
            let Frame::Message(message) = frame else {
                continue;
            };
            let message = message.unwrap();
            check(&message);
            if !once.is_new(message.bytes()) {
                continue;
            }
            let way = way.clone();
            if sender
                .send(Received {
                    at: Instant::now(),
                    message,
                    way,
                })
                .await
                .is_err()
            {
                return;
            }
        }
    }
}
