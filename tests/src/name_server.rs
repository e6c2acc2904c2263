//! A name server of one's own on the loopback: records as written, and everything that goes wrong with real ones.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NAPTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

const TTL: u32 = 60;

/// What the server answers.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    records: Vec<Record>,
    ttl: Option<u32>,
    broken: HashSet<Name>,
    silent: HashSet<(Name, Option<RecordType>)>,
    truncated: bool,
}

/// A running name server; it ends when dropped.
#[derive(Debug)]
pub struct NameServer {
    /// Where it listens, UDP and TCP.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    zone: Mutex<Zone>,
    asked: Mutex<HashMap<(String, RecordType, bool), usize>>,
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}

impl Zone {
    /// An A or AAAA record.
    #[must_use]
    pub fn address(self, host: &str, address: &str) -> Self {
        let data = match address.parse().unwrap() {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        self.with(host, data)
    }

    /// `SRV priority weight port target`.
    #[must_use]
    pub fn srv(self, service: &str, (priority, weight): (u16, u16), port: u16, to: &str) -> Self {
        let to = if to == "." { Name::root() } else { name(to) };
        self.with(service, RData::SRV(SRV::new(priority, weight, port, to)))
    }

    /// `NAPTR order preference "s" service "" replacement`.
    #[must_use]
    pub fn naptr(
        self,
        domain: &str,
        (order, preference): (u16, u16),
        service: &str,
        to: &str,
    ) -> Self {
        let part = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
        let record = NAPTR::new(
            order,
            preference,
            part("s"),
            part(service),
            part(""),
            name(to),
        );
        self.with(domain, RData::NAPTR(record))
    }

    /// An alias.
    #[must_use]
    pub fn alias(self, alias: &str, of: &str) -> Self {
        self.with(alias, RData::CNAME(CNAME(name(of))))
    }

    /// SERVFAIL for this name.
    #[must_use]
    pub fn broken(mut self, host: &str) -> Self {
        self.broken.insert(name(host));
        self
    }

    /// No answer about this name: of one type, or of any.
    #[must_use]
    pub fn silent(mut self, host: &str, kind: Option<RecordType>) -> Self {
        self.silent.insert((name(host), kind));
        self
    }

    /// Over UDP every answer is truncated.
    #[must_use]
    pub const fn truncated(mut self) -> Self {
        self.truncated = true;
        self
    }

    /// All records live for so many seconds.
    #[must_use]
    pub const fn living(mut self, seconds: u32) -> Self {
        self.ttl = Some(seconds);
        self
    }

    fn with(mut self, owner: &str, data: RData) -> Self {
        self.records
            .push(Record::from_rdata(name(owner), TTL, data));
        self
    }

    fn is_silent(&self, owner: &Name, kind: RecordType) -> bool {
        self.silent.contains(&(owner.clone(), None))
            || self.silent.contains(&(owner.clone(), Some(kind)))
    }

    /// The records of a question, aliases followed.
    fn answers(&self, owner: &Name, kind: RecordType) -> Vec<Record> {
        let mut found = Vec::new();
        let mut owner = owner.clone();
        for _ in 0..8 {
            let own = || self.records.iter().filter(|record| record.name == owner);
            found.extend(own().filter(|record| record.record_type() == kind).cloned());
            let alias = own().find_map(|record| {
                let RData::CNAME(to) = &record.data else {
                    return None;
                };
                Some((record.clone(), to.0.clone()))
            });
            let Some((record, to)) = alias.filter(|_| kind != RecordType::CNAME) else {
                break;
            };
            found.push(record);
            owner = to;
        }
        for record in &mut found {
            record.ttl = self.ttl.unwrap_or(TTL);
        }
        found
    }

    fn respond(&self, request: &Message, over_udp: bool) -> Option<Message> {
        let question = request.queries.first()?;
        let mut owner = question.name().to_lowercase();
        owner.set_fqdn(true);
        if self.is_silent(&owner, question.query_type()) {
            return None;
        }
        let mut response = Message::response(request.metadata.id, OpCode::Query);
        response.metadata.recursion_desired = true;
        response.metadata.recursion_available = true;
        response.add_query(question.clone());
        if self.broken.contains(&owner) {
            response.metadata.response_code = ResponseCode::ServFail;
            return Some(response);
        }
        let answers = self.answers(&owner, question.query_type());
        if over_udp && self.truncated {
            response.metadata.truncation = true;
            return Some(response);
        }
        if answers.is_empty() {
            let known = self.records.iter().any(|record| record.name == owner);
            if !known {
                response.metadata.response_code = ResponseCode::NXDomain;
            }
            response.add_authority(authority(self.ttl.unwrap_or(TTL)));
        }
        response.add_answers(answers);
        Some(response)
    }
}

/// By its last number a negative answer lives (RFC 2308 §3).
fn authority(ttl: u32) -> Record {
    let (primary, mailbox) = (name("ns.test"), name("admin.test"));
    let lives = i32::try_from(ttl).unwrap();
    let data = SOA::new(primary, mailbox, 1, lives, lives, lives, ttl);
    Record::from_rdata(name("test"), ttl, RData::SOA(data))
}

impl NameServer {
    /// A server for a zone.
    pub async fn start(zone: Zone) -> Self {
        // The same port is needed for both.
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let shared = Arc::new(Shared {
            zone: Mutex::new(zone),
            asked: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(datagrams(udp, Arc::clone(&shared)));
        tasks.spawn(streams(tcp, Arc::clone(&shared)));
        Self {
            address,
            shared,
            _tasks: tasks,
        }
    }

    /// From now on this is what is answered.
    pub fn change(&self, zone: Zone) {
        *self.shared.zone.lock().unwrap() = zone;
    }

    /// How often a question came, over UDP and over TCP.
    #[must_use]
    pub fn asked(&self, owner: &str, kind: RecordType) -> (usize, usize) {
        let asked = self.shared.asked.lock().unwrap();
        let count = |over_udp| {
            let key = (name(owner).to_ascii(), kind, over_udp);
            asked.get(&key).copied().unwrap_or(0)
        };
        (count(true), count(false))
    }
}

impl Shared {
    fn answer(&self, bytes: &[u8], over_udp: bool) -> Option<Vec<u8>> {
        let request = Message::from_vec(bytes).ok()?;
        let question = request.queries.first()?;
        let owner = question.name().to_lowercase().to_ascii();
        let key = (owner, question.query_type(), over_udp);
        *self.asked.lock().unwrap().entry(key).or_default() += 1;
        let response = self.zone.lock().unwrap().respond(&request, over_udp)?;
        response.to_vec().ok()
    }
}

async fn datagrams(socket: UdpSocket, shared: Arc<Shared>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if let Some(response) = shared.answer(&buffer[..length], true) {
            // Whoever asked may be gone.
            let _ = socket.send_to(&response, from).await;
        }
    }
}

async fn streams(listener: TcpListener, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        open.spawn(stream_of_questions(stream, Arc::clone(&shared)));
    }
}

async fn stream_of_questions(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; length.into()];
        if stream.read_exact(&mut question).await.is_err() {
            return;
        }
        if let Some(response) = shared.answer(&question, false) {
            let length = u16::try_from(response.len()).unwrap();
            let framed = [&length.to_be_bytes()[..], &response].concat();
            if stream.write_all(&framed).await.is_err() {
                return;
            }
        }
    }
}
