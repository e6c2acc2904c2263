//! The virtual network: datagrams that are lost, doubled, late and out of order, and streams that are not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use sip_core::{ConnectionId, Flow, Transport};
use timebase::Now;

use crate::agenda::Agenda;
use crate::dice::Dice;

/// How long a connection lives on after the first bytes that do not get through.
const GIVES_UP: Duration = Duration::from_secs(15);

/// How bad the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Datagrams lost, in percent; segments of streams come late instead.
    pub loss: u8,
    /// Datagrams that arrive twice, in percent.
    pub duplicates: u8,
    /// Datagrams held up so long that later ones overtake them, in percent.
    pub reordered: u8,
    /// Datagrams of which some bits arrive turned over, in percent.
    pub corrupted: u8,
    /// Messages on streams in the middle of which the connection breaks, in percent.
    pub cuts: u8,
    /// The shortest and the longest time on the way, in milliseconds.
    pub delay: (u64, u64),
}

impl Weather {
    /// Nothing is lost, and everything takes five milliseconds.
    pub const CALM: Self = Self {
        loss: 0,
        duplicates: 0,
        reordered: 0,
        corrupted: 0,
        cuts: 0,
        delay: (5, 6),
    };
}

/// Something that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Over which path, seen from the one it arrives at.
    pub flow: Flow,
    /// A datagram, or some bytes of a stream.
    pub bytes: Bytes,
    /// Whether these are other bytes than those that were sent.
    pub corrupted: bool,
}

/// What becomes of something that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at these instants: once, or more often.
    Arrives(Vec<Now>),
    /// It is lost.
    Lost,
    /// Nobody accepts connections there.
    Refused,
}

/// The network between hosts.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    dice: Dice,
    hosts: BTreeSet<IpAddr>,
    /// Pairs of hosts between which nothing passes for a while.
    parted: BTreeSet<(IpAddr, IpAddr)>,
    flying: Agenda<Arrival>,
    /// Connections that break in the middle of a message.
    cuts: Agenda<ConnectionId>,
    streams: BTreeMap<(SocketAddr, SocketAddr), Stream>,
    connections: u64,
}

/// One end of a connection that is no more: whose it was, and to whom it led.
pub type End = (SocketAddr, ConnectionId, SocketAddr);

/// One direction of a connection.
#[derive(Clone, Copy, Debug)]
struct Stream {
    connection: ConnectionId,
    /// When its last byte arrives; nothing overtakes it.
    last: Now,
    /// Nothing more passes: it is about to break.
    cut: bool,
}

impl Network {
    /// A network in this weather, whose accidents follow from the dice.
    #[must_use]
    pub fn new(weather: Weather, dice: Dice) -> Self {
        Self {
            weather,
            dice,
            hosts: BTreeSet::new(),
            parted: BTreeSet::new(),
            flying: Agenda::default(),
            cuts: Agenda::default(),
            streams: BTreeMap::new(),
            connections: 0,
        }
    }

    /// A host that can be reached from now on.
    pub fn attach(&mut self, address: SocketAddr) {
        self.hosts.insert(address.ip());
    }

    /// A host that can no longer be reached, and what was on its way to it.
    pub fn detach(&mut self, address: SocketAddr) {
        self.hosts.remove(&address.ip());
    }

    /// Sends something over a path as the sender sees it.
    pub fn send(&mut self, now: Now, flow: Flow, payload: &Bytes) -> Fate {
        match flow.transport {
            Transport::Udp => self.send_datagram(now, flow, payload),
            Transport::Tcp | Transport::Tls => self.send_on_stream(now, flow, payload),
        }
    }

    /// The next thing that has arrived.
    pub fn arrival(&mut self, now: Now) -> Option<Arrival> {
        while let Some(arrival) = self.flying.due(now) {
            if self.hosts.contains(&arrival.flow.local.ip()) && self.is_whole(arrival.flow) {
                return Some(arrival);
            }
        }
        None
    }

    /// From now on nothing passes between two hosts, or everything does again.
    pub fn part(&mut self, ends: (SocketAddr, SocketAddr), parted: bool) {
        let ends = (ends.0.ip(), ends.1.ip());
        for pair in [ends, (ends.1, ends.0)] {
            if parted {
                self.parted.insert(pair);
            } else {
                self.parted.remove(&pair);
            }
        }
    }

    /// Breaks every connection, and says whose they were. What is on its way on them is lost.
    pub fn break_connections(&mut self) -> Vec<End> {
        self.break_those(|_, _| true)
    }

    /// Breaks the connections of one host.
    pub fn break_connections_of(&mut self, host: SocketAddr) -> Vec<End> {
        self.break_those(|(from, to), _| host == from || host == to)
    }

    /// Breaks the connection whose time has come, in the middle of a message.
    pub fn cut(&mut self, now: Now) -> Vec<End> {
        let Some(connection) = self.cuts.due(now) else {
            return Vec::new();
        };
        self.break_those(|_, stream| stream.connection == connection)
    }

    /// Closes a connection; its ends are said.
    pub fn close(&mut self, connection: ConnectionId) -> Vec<End> {
        self.break_those(|_, stream| stream.connection == connection)
    }

    /// When a connection breaks in the middle of a message.
    #[must_use]
    pub fn next_cut(&self) -> Option<Now> {
        self.cuts.poll_timeout()
    }

    fn break_those(
        &mut self,
        which: impl Fn((SocketAddr, SocketAddr), &Stream) -> bool,
    ) -> Vec<End> {
        let mut ends = Vec::new();
        self.streams.retain(|pair, stream| {
            let breaks = which(*pair, stream);
            if breaks {
                ends.push((pair.0, stream.connection, pair.1));
            }
            !breaks
        });
        ends
    }

    /// Whether a connection is open.
    #[must_use]
    pub fn is_open(&self, flow: Flow) -> bool {
        let stream = self.streams.get(&(flow.local, flow.remote));
        flow.connection.is_none() || flow.connection == stream.map(|stream| stream.connection)
    }

    /// Whether the path's connection, if it has one, is not broken.
    fn is_whole(&self, flow: Flow) -> bool {
        let stream = self.streams.get(&(flow.remote, flow.local));
        flow.connection.is_none() || flow.connection == stream.map(|stream| stream.connection)
    }

    /// When the next thing arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        self.flying.poll_timeout()
    }

    fn send_datagram(&mut self, now: Now, flow: Flow, payload: &Bytes) -> Fate {
        let reached = self.hosts.contains(&flow.remote.ip()) && !self.is_parted(flow);
        if !reached || self.dice.chance(self.weather.loss) {
            return Fate::Lost;
        }
        let corrupted = self.dice.chance(self.weather.corrupted);
        let mut payload = payload.clone();
        if corrupted {
            payload = self.corrupt(&payload);
        }
        let copies = 1 + usize::from(self.dice.chance(self.weather.duplicates));
        let mut at = Vec::with_capacity(copies);
        for _ in 0..copies {
            let mut arrives = now + self.delay();
            if self.dice.chance(self.weather.reordered) {
                arrives += self.dice.millis(50, 1_500);
            }
            at.push(arrives);
            let flow = Flow::udp(flow.remote, flow.local);
            let bytes = payload.clone();
            self.flying.add(
                arrives,
                Arrival {
                    flow,
                    bytes,
                    corrupted,
                },
            );
        }
        Fate::Arrives(at)
    }

    /// What a datagram would lose, a stream sends again: the bytes come late, and in order.
    fn send_on_stream(&mut self, now: Now, flow: Flow, payload: &Bytes) -> Fate {
        if !self.hosts.contains(&flow.remote.ip()) {
            let open = self.streams.contains_key(&(flow.local, flow.remote));
            return if open { Fate::Lost } else { Fate::Refused };
        }
        let open = self.streams.contains_key(&(flow.local, flow.remote));
        if self.is_parted(flow) && !open {
            return Fate::Refused;
        }
        let stream = self.stream(now, flow);
        if stream.cut {
            return Fate::Lost;
        }
        if self.is_parted(flow) {
            // What would be acknowledged in time is not: the connection is given up.
            self.cuts.add(now + GIVES_UP, stream.connection);
            return Fate::Lost;
        }
        let mut at = now + self.delay();
        if self.dice.chance(self.weather.loss) {
            at += self.dice.millis(200, 1_000);
        }
        let at = at.max(stream.last);
        let there = Flow {
            transport: flow.transport,
            local: flow.remote,
            remote: flow.local,
            connection: Some(stream.connection),
            server_name: None,
        };
        let mut rest = payload.clone();
        let cut = self.dice.chance(self.weather.cuts);
        if cut {
            rest.truncate(self.dice.below(payload.len() as u64) as usize);
        }
        let last = self.fly_in_pieces(at, there, rest);
        self.streams.insert(
            (flow.local, flow.remote),
            Stream {
                last,
                cut,
                ..stream
            },
        );
        if cut {
            self.cuts.add(last, stream.connection);
            return Fate::Lost;
        }
        Fate::Arrives(vec![last])
    }

    /// Bytes of a stream come in pieces, in order; when the last one arrives.
    fn fly_in_pieces(&mut self, at: Now, flow: Flow, mut rest: Bytes) -> Now {
        let mut at = at;
        while !rest.is_empty() {
            let cut = 1 + self.dice.below(rest.len() as u64 * 2) as usize;
            let bytes = rest.split_to(cut.min(rest.len()));
            self.flying.add(
                at,
                Arrival {
                    flow,
                    bytes,
                    corrupted: false,
                },
            );
            if !rest.is_empty() {
                at += self.dice.millis(0, 3);
            }
        }
        at
    }

    /// The stream between two hosts, which is opened when it is first written to.
    fn stream(&mut self, now: Now, flow: Flow) -> Stream {
        if let Some(stream) = self.streams.get(&(flow.local, flow.remote)) {
            return *stream;
        }
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let stream = Stream {
            connection,
            last: now,
            cut: false,
        };
        self.streams.insert((flow.local, flow.remote), stream);
        self.streams.insert((flow.remote, flow.local), stream);
        stream
    }

    fn is_parted(&self, flow: Flow) -> bool {
        self.parted.contains(&(flow.local.ip(), flow.remote.ip()))
    }

    /// The bytes with up to three bits turned over.
    fn corrupt(&mut self, payload: &Bytes) -> Bytes {
        let mut bytes = payload.to_vec();
        for _ in 0..=self.dice.below(3) {
            let at = self.dice.below(bytes.len() as u64) as usize;
            let bit = 1 << self.dice.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bit;
            }
        }
        bytes.into()
    }

    fn delay(&mut self) -> Duration {
        let (from, to) = self.weather.delay;
        self.dice.millis(from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "10.0.0.1:5060";
    const B: &str = "10.0.0.2:5060";

    fn network(weather: Weather) -> Network {
        let mut network = Network::new(weather, Dice::new(3));
        network.attach(A.parse().unwrap());
        network.attach(B.parse().unwrap());
        network
    }

    fn flow(transport: Transport) -> Flow {
        let flow = Flow::udp(A.parse().unwrap(), B.parse().unwrap());
        Flow { transport, ..flow }
    }

    fn arrivals(network: &mut Network) -> Vec<Arrival> {
        std::iter::from_fn(|| network.arrival(Now::from_millis(u64::MAX / 2))).collect()
    }

    #[test]
    fn datagrams_are_lost_doubled_and_overtaken_as_the_weather_says() {
        let weather = Weather {
            loss: 20,
            duplicates: 10,
            reordered: 20,
            delay: (1, 30),
            ..Weather::CALM
        };
        let mut network = network(weather);
        let sent: Vec<Fate> = (0..1_000u64)
            .map(|n| {
                let payload = Bytes::from(n.to_string());
                network.send(Now::from_millis(n), flow(Transport::Udp), &payload)
            })
            .collect();
        let lost = sent.iter().filter(|fate| **fate == Fate::Lost).count();
        let twice = sent
            .iter()
            .filter(|fate| matches!(fate, Fate::Arrives(at) if at.len() == 2))
            .count();
        assert!((150..250).contains(&lost), "{lost}");
        assert!((50..110).contains(&twice), "{twice}");
        let order = |arrival: &Arrival| String::from_utf8_lossy(&arrival.bytes).parse::<u64>();
        let got: Vec<u64> = arrivals(&mut network)
            .iter()
            .map(|arrival| order(arrival).unwrap())
            .collect();
        assert_eq!(got.len(), 1_000 - lost + twice);
        assert!(!got.is_sorted());
    }

    #[test]
    fn streams_bring_every_byte_once_and_in_order() {
        let weather = Weather {
            loss: 30,
            duplicates: 30,
            reordered: 30,
            delay: (1, 200),
            ..Weather::CALM
        };
        let mut network = network(weather);
        let mut sent = Vec::new();
        for n in 0..200u64 {
            let payload = Bytes::from(format!("message {n};"));
            sent.extend_from_slice(&payload);
            network.send(Now::from_millis(n), flow(Transport::Tcp), &payload);
        }
        let got = arrivals(&mut network);
        assert!(got.len() > 200, "some messages come in pieces");
        let connection = got[0].flow.connection;
        assert!(connection.is_some() && got.iter().all(|a| a.flow.connection == connection));
        let got: Vec<u8> = got.iter().flat_map(|a| a.bytes.to_vec()).collect();
        assert_eq!(got, sent);
    }

    #[test]
    fn broken_connection_takes_its_bytes_along_and_the_next_one_is_another() {
        let mut network = network(Weather::CALM);
        let payload = Bytes::from_static(b"x");
        network.send(Now::ZERO, flow(Transport::Tcp), &payload);
        let broken = network.break_connections();
        let ends: Vec<String> = broken.iter().map(|(end, ..)| end.to_string()).collect();
        assert_eq!(ends, [A, B]);
        assert_eq!(arrivals(&mut network), []);
        network.send(Now::ZERO, flow(Transport::Tcp), &payload);
        let again = arrivals(&mut network);
        assert!(
            again[0]
                .flow
                .connection
                .is_some_and(|now| now != broken[0].1)
        );
    }

    #[test]
    fn cut_connection_brings_a_part_of_its_last_message_and_is_told_to_both_ends() {
        let weather = Weather {
            cuts: 100,
            ..Weather::CALM
        };
        let mut network = network(weather);
        let payload = Bytes::from(vec![b'x'; 1_000]);
        let fate = network.send(Now::ZERO, flow(Transport::Tcp), &payload);
        assert_eq!(fate, Fate::Lost);
        let got: usize = arrivals(&mut network).iter().map(|a| a.bytes.len()).sum();
        assert!(got < 1_000, "{got}");
        let at = network.next_cut().unwrap();
        let ends: Vec<String> = network
            .cut(at)
            .iter()
            .map(|(end, ..)| end.to_string())
            .collect();
        assert_eq!(ends, [A, B]);
    }

    #[test]
    fn corrupted_datagrams_differ_in_a_few_bits_and_are_known() {
        let weather = Weather {
            corrupted: 50,
            ..Weather::CALM
        };
        let mut network = network(weather);
        let payload = Bytes::from(vec![0; 100]);
        for n in 0..200 {
            network.send(Now::from_millis(n), flow(Transport::Udp), &payload);
        }
        let got = arrivals(&mut network);
        let bits = |a: &Arrival| a.bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert!(got.iter().any(|a| a.corrupted));
        // Turned over twice, a bit is as it was.
        assert!(
            got.iter()
                .all(|a| bits(a) <= if a.corrupted { 3 } else { 0 })
        );
    }

    #[test]
    fn nothing_passes_between_parted_hosts_until_they_are_joined_again() {
        let mut network = network(Weather::CALM);
        let ends = (A.parse().unwrap(), B.parse().unwrap());
        let payload = Bytes::from_static(b"x");
        let mut send = |parted| {
            network.part(ends, parted);
            network.send(Now::ZERO, flow(Transport::Udp), &payload)
        };
        assert_eq!(send(true), Fate::Lost);
        assert!(matches!(send(false), Fate::Arrives(_)));
    }

    #[test]
    fn nobody_at_the_address_means_loss_for_datagrams_and_refusal_for_streams() {
        let mut network = network(Weather::CALM);
        network.detach(B.parse().unwrap());
        let payload = Bytes::from_static(b"x");
        let fates =
            [Transport::Udp, Transport::Tcp].map(|by| network.send(Now::ZERO, flow(by), &payload));
        assert_eq!(fates, [Fate::Lost, Fate::Refused]);
        assert_eq!(network.poll_timeout(), None);
    }
}
