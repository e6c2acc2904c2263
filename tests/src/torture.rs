//! Plays torture messages to a gateway from outside, over UDP and TCP, one at a time.
//!
//! After each message an OPTIONS must be answered: the gateway lives, and since it hears one
//! message after the other, what it had to say to the message itself has been said by then.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::{Limits, Message, StreamDecoder};

#[path = "../torture/table.rs"]
mod table;

pub use table::{Row, folder, rows};

/// Where the messages come from: an address of no other test.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// How long an answer may take that must come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection is watched for what must not come.
const PAUSE: Duration = Duration::from_millis(60);

/// What a message led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The final answers: status and reason phrase.
    pub answers: Vec<(u16, String)>,
    /// The Call-IDs of the answers.
    pub call_ids: Vec<String>,
    /// Whether the connection was closed.
    pub closed: bool,
    /// Whether a keep-alive was answered.
    pub pong: bool,
    /// Whether the gateway answered an OPTIONS afterwards.
    pub alive: bool,
    /// How many answers are waited for.
    pub wanted: usize,
    /// The Request-URI, which an ACK of RFC 2543 is known by too.
    target: String,
    /// The Via as it was sent, which such an ACK is known by as well.
    via: String,
}

impl Heard {
    /// The statuses, in order.
    #[must_use]
    pub fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|(status, _)| *status).collect()
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<String> = self
            .answers
            .iter()
            .map(|(status, reason)| format!("{status} {reason}"))
            .collect();
        let said = if answers.is_empty() {
            "nothing".to_owned()
        } else {
            answers.join(" + ")
        };
        let closed = if self.closed { ", closed" } else { "" };
        let dead = if self.alive { "" } else { ", DEAD" };
        write!(f, "{said}{closed}{dead}")
    }
}

/// A gateway that torture messages are played to.
#[derive(Clone, Copy, Debug)]
pub struct Player {
    /// Its UDP listener.
    pub udp: SocketAddr,
    /// Its TCP listener.
    pub tcp: SocketAddr,
}

impl Player {
    /// Plays a message in a datagram. `answered` says whether there has to be an answer, which is waited for.
    pub fn datagram(&self, message: &[u8], answered: bool) -> io::Result<Heard> {
        let socket = UdpSocket::bind((SOURCE, port_of(message)))
            .or_else(|_| UdpSocket::bind((SOURCE, 0)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut heard = Heard {
            target: target_of(message),
            via: via_of(message),
            ..Heard::default()
        };
        socket.send_to(message, self.udp)?;
        let probe = probe(&socket.local_addr()?);
        socket.send_to(probe.as_bytes(), self.udp)?;
        let until = Instant::now() + PATIENCE;
        let mut buffer = vec![0; 65_535];
        while Instant::now() < until && !(heard.alive && (!answered || !heard.answers.is_empty())) {
            let Ok((length, _)) = socket.recv_from(&mut buffer) else {
                break;
            };
            let parsed = Message::parse(
                Bytes::copy_from_slice(&buffer[..length]),
                &Limits::default(),
            );
            let Ok(found) = parsed else { continue };
            if let Some(ack) = heard.take(&found, &probe) {
                socket.send_to(&ack, self.udp)?;
            }
        }
        Ok(heard)
    }

    /// Plays bytes over a connection, cut into pieces; listens until what is expected has come.
    pub fn stream(&self, pieces: &[&[u8]], until: Until, wanted: usize) -> io::Result<Heard> {
        let mut stream = TcpStream::connect(self.tcp)?;
        stream.set_nodelay(true)?;
        let mut heard = Heard {
            wanted,
            target: target_of(&pieces.concat()),
            via: via_of(&pieces.concat()),
            ..Heard::default()
        };
        for piece in pieces {
            // The gateway may have closed the connection already.
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        let probe = probe(&self.tcp).replace("/UDP", "/TCP");
        if until == Until::Alive && stream.write_all(probe.as_bytes()).is_err() {
            heard.closed = true;
        }
        listen(&mut stream, &probe, until, &mut heard)?;
        if until != Until::Alive {
            heard.alive = self.datagram(b"\r\n\r\n", false)?.alive;
        }
        Ok(heard)
    }
}

/// What listening to a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The answer to an OPTIONS behind the message, on the same connection, and so many answers before.
    Alive,
    /// The end of the connection.
    Closed,
    /// The answer to a keep-alive.
    Pong,
    /// Nothing, for a moment.
    Silence,
}

fn listen(stream: &mut TcpStream, probe: &str, until: Until, heard: &mut Heard) -> io::Result<()> {
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut buffer = [0; 4096];
    stream.set_read_timeout(Some(if until == Until::Silence {
        PAUSE
    } else {
        PATIENCE
    }))?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match stream.read(&mut buffer) {
            Ok(0) => heard.closed = true,
            Ok(length) if buffer[..length] == *b"\r\n" => heard.pong = true,
            Ok(length) => decoder.push(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => heard.closed = true,
            Err(_) => return Ok(()),
        }
        while let Ok(Some(frame)) = decoder.next() {
            let sip_message::Frame::Message(Ok(found)) = frame else {
                continue;
            };
            if let Some(ack) = heard.take(&found, probe) {
                // A connection that is closed meanwhile shows it when it is read.
                let _ = stream.write_all(&ack);
            }
        }
        let answered = heard.alive && heard.answers.len() >= heard.wanted;
        if heard.closed
            || (heard.pong && until == Until::Pong)
            || (answered && until == Until::Alive)
        {
            return Ok(());
        }
    }
    Ok(())
}

impl Heard {
    /// Notes an answer; gives the ACK of a refusal.
    fn take(&mut self, found: &Message, probe: &str) -> Option<Vec<u8>> {
        let status = found.status().filter(|status| *status >= 200)?;
        let call_id = String::from_utf8_lossy(found.call_id().unwrap_or_default()).into_owned();
        if !call_id.is_empty() && probe.contains(&format!("Call-ID: {call_id}\r\n")) {
            self.alive = true;
            return None;
        }
        let invite = found
            .header("CSeq")
            .is_some_and(|cseq| cseq.ends_with(b"INVITE"));
        let again = invite && self.call_ids.contains(&call_id);
        if !again {
            let reason = String::from_utf8_lossy(found.reason_phrase().unwrap_or_default());
            self.answers.push((status, reason.into_owned()));
            self.call_ids.push(call_id);
        }
        invite.then(|| ack(found, &self.target, &self.via))
    }
}

/// The topmost Via of a message that can be read.
fn via_of(message: &[u8]) -> String {
    let parsed = Message::parse(Bytes::copy_from_slice(message), &Limits::default());
    let via = parsed.ok().and_then(|message| {
        let via = message.header("Via")?;
        Some(String::from_utf8_lossy(&via).into_owned())
    });
    via.unwrap_or_default()
}

/// The ACK of a refusal.
fn ack(refusal: &Message, target: &str, sent_via: &str) -> Vec<u8> {
    let value = |name: &str| {
        let found = refusal.header(name).unwrap_or_default();
        String::from_utf8_lossy(&found).into_owned()
    };
    let via = match value("Via") {
        via if via.contains("branch=") || sent_via.is_empty() => via,
        _ => sent_via.to_owned(),
    };
    format!(
        "ACK {target} SIP/2.0\r\nVia: {via}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        value("From"),
        value("To"),
        value("Call-ID"),
        value("CSeq").replace("INVITE", "ACK"),
    )
    .into_bytes()
}

/// An OPTIONS that must be answered.
fn probe(from: &SocketAddr) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-probe-{number};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:probe@127.0.0.66>;tag=p\r\nTo: <sip:127.0.0.1>\r\nCall-ID: probe-{number}-of-life\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// What stands between the method and the version.
fn target_of(message: &[u8]) -> String {
    let line = message
        .split(|byte| *byte == b'\n')
        .find(|line| line.len() > 2)
        .unwrap_or_default();
    String::from_utf8_lossy(line)
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

/// The port that the top Via names: there an answer without `rport` goes (RFC 3261 §18.2.2).
fn port_of(message: &[u8]) -> u16 {
    let limits = Limits {
        headers: 2000,
        ..Limits::default()
    };
    let read = match Message::parse(Bytes::copy_from_slice(message), &limits) {
        Ok(read) => Some(read),
        Err(error) => error.salvage.map(|salvage| *salvage),
    };
    let via = read.as_ref().and_then(|read| read.via().ok());
    via.and_then(|via| via.port()).unwrap_or(5060)
}

/// What is wrong with a row's verdict over UDP.
pub fn judge_datagram(player: &Player, row: &Row) -> io::Result<Option<String>> {
    let wanted: Vec<u16> = row.gateway.parse().into_iter().collect();
    let heard = player.datagram(&row.bytes, !wanted.is_empty())?;
    let right = heard.alive && heard.statuses() == wanted;
    Ok((!right).then(|| format!("{} over UDP: {heard}, and not {}", row.name, row.gateway)))
}

/// What is wrong with a row's verdict over TCP, in two pieces.
pub fn judge_stream(player: &Player, row: &Row) -> io::Result<Option<String>> {
    let usual: Vec<u16> = row.gateway.parse().into_iter().collect();
    let (wanted, closed) = match row.stream.as_str() {
        "=" => (usual, false),
        "waits" | "pong" => (Vec::new(), false),
        "two answers" => (vec![usual[0], usual[0]], false),
        other => match other.strip_suffix("closed") {
            Some("") => (usual, true),
            Some(status) => (
                status
                    .trim_end_matches([',', ' '])
                    .parse()
                    .into_iter()
                    .collect(),
                true,
            ),
            None => panic!("{}: what is {other:?}?", row.name),
        },
    };
    let until = match row.stream.as_str() {
        "waits" => Until::Silence,
        "pong" => Until::Pong,
        _ if closed => Until::Closed,
        _ => Until::Alive,
    };
    // One pass only: an INVITE that comes again is a retransmission.
    let (first, second) = row.bytes.split_at(row.bytes.len() / 2);
    let heard = player.stream(&[first, second], until, wanted.len())?;
    let right = heard.alive
        && heard.statuses() == wanted
        && heard.closed == closed
        && heard.pong == (row.stream == "pong");
    let wrong = || {
        let Row {
            name,
            gateway,
            stream,
            ..
        } = row;
        format!("{name} over TCP: {heard}, and not {gateway} {stream}")
    };
    Ok((!right).then(wrong))
}
