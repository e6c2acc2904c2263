//! A telephone's audio: RTP out at its pace, RTP in as it came.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SLOT: Duration = Duration::from_millis(20);
const FRAME: usize = 160;
const TELEPHONE_EVENT: u8 = 101;
const KEYS: &str = "0123456789*#ABCD";

/// An RTP packet that came.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When it came.
    pub at: Instant,
    /// Its payload type.
    pub payload_type: u8,
    /// Its sequence number.
    pub sequence: u16,
    /// Its timestamp.
    pub timestamp: u32,
    /// Its source.
    pub ssrc: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// The audio of one telephone.
#[derive(Debug)]
pub struct Sound {
    socket: Arc<UdpSocket>,
    heard: Arc<Mutex<Vec<Packet>>>,
    ended: Arc<AtomicBool>,
    sequence: u16,
    timestamp: u32,
}

impl Sound {
    /// On a free port.
    #[must_use]
    pub fn start() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let ear = (Arc::clone(&socket), Arc::clone(&heard), Arc::clone(&ended));
        std::thread::spawn(move || listen(&ear.0, &ear.1, &ear.2));
        Self {
            socket,
            heard,
            ended,
            sequence: 65_500,
            timestamp: u32::MAX - 8000,
        }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// What came so far.
    #[must_use]
    pub fn packets(&self) -> Vec<Packet> {
        self.heard.lock().unwrap().clone()
    }

    /// The audio that came so far.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        let packets = self.packets().into_iter();
        packets
            .filter(|packet| packet.payload_type == 0)
            .flat_map(|packet| packet.payload)
            .collect()
    }

    /// The A-law audio that came so far, as linear samples.
    #[must_use]
    pub fn heard_as_alaw(&self) -> Vec<i32> {
        let packets = self.packets().into_iter();
        packets
            .filter(|packet| packet.payload_type == 8)
            .flat_map(|packet| packet.payload)
            .map(linear_of_alaw)
            .collect()
    }

    /// The keys that came so far.
    #[must_use]
    pub fn keys(&self) -> String {
        let mut last = None;
        let mut keys = String::new();
        for packet in self.packets() {
            if packet.payload_type == TELEPHONE_EVENT && last != Some(packet.timestamp) {
                last = Some(packet.timestamp);
                keys.push(char::from(KEYS.as_bytes()[usize::from(packet.payload[0])]));
            }
        }
        keys
    }

    /// Says µ-law audio, 20 ms a packet; gives the longest that a packet was late.
    pub async fn say(&mut self, to: SocketAddr, audio: &[u8]) -> Duration {
        let packets = self.frames(audio);
        self.send(to, packets).await.1
    }

    /// The same; gives when the first packet was due.
    pub async fn say_from(&mut self, to: SocketAddr, audio: &[u8]) -> Instant {
        let packets = self.frames(audio);
        self.send(to, packets).await.0
    }

    fn frames(&mut self, audio: &[u8]) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        for frame in audio.chunks(FRAME) {
            packets.push(self.packet(0, self.timestamp, frame));
            self.timestamp = self.timestamp.wrapping_add(frame.len() as u32);
        }
        packets
    }

    /// Presses keys, 80 ms each and 60 ms apart (RFC 4733).
    pub async fn press(&mut self, to: SocketAddr, keys: &str) {
        let mut packets = Vec::new();
        for key in keys.chars() {
            let event = KEYS.find(key).unwrap() as u8;
            for (n, end) in [(1_u16, 0), (2, 0), (3, 0), (4, 0x80), (4, 0x80), (4, 0x80)] {
                let [high, low] = (n * 160).to_be_bytes();
                packets.push(self.packet(
                    TELEPHONE_EVENT,
                    self.timestamp,
                    &[event, end | 10, high, low],
                ));
            }
            self.timestamp = self.timestamp.wrapping_add(7 * 160);
        }
        self.send(to, packets).await;
    }

    fn packet(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(u32::from(self.port()).to_be_bytes());
        packet.extend(payload);
        packet
    }

    /// Gives when the first one was due, and the longest that one was late.
    async fn send(&self, to: SocketAddr, packets: Vec<Vec<u8>>) -> (Instant, Duration) {
        let socket = Arc::clone(&self.socket);
        let sending = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let mut latest = Duration::ZERO;
            for (due, packet) in (0..).map(|n| start + SLOT * n).zip(packets) {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                latest = latest.max(due.elapsed());
                socket.send_to(&packet, to).unwrap();
            }
            (start, latest)
        });
        sending.await.unwrap()
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn listen(socket: &UdpSocket, heard: &Mutex<Vec<Packet>>, ended: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !ended.load(Ordering::Relaxed) {
        let Ok(size @ 12..) = socket.recv(&mut buffer) else {
            continue;
        };
        let four = |at: usize| u32::from_be_bytes(buffer[at..at + 4].try_into().unwrap());
        let packet = Packet {
            at: Instant::now(),
            payload_type: buffer[1] & 0x7F,
            sequence: u16::from_be_bytes([buffer[2], buffer[3]]),
            timestamp: four(4),
            ssrc: four(8),
            payload: buffer[12..size].to_vec(),
        };
        heard.lock().unwrap().push(packet);
    }
}

/// µ-law audio that is built as speech is: a voice that rises and falls, syllables, breath, pauses.
/// Two frames of it are never equal, nor is any of it silence.
#[must_use]
pub fn speech(frames: usize) -> Vec<u8> {
    let mut noise = 12_345_u32;
    let mut phase = 0.0_f64;
    let sample = |n: usize| {
        let time = n as f64 / 8000.0;
        let pitch = 130.0 + 40.0 * (time * 5.1).sin() + 15.0 * (time * 1.3).cos();
        phase += pitch / 8000.0;
        let voice: f64 = (1..12)
            .map(|harmonic| {
                let frequency = pitch * f64::from(harmonic);
                let formant = 1.0 / (1.0 + ((frequency - 700.0) / 300.0).powi(2))
                    + 0.5 / (1.0 + ((frequency - 1200.0) / 400.0).powi(2));
                formant * (std::f64::consts::TAU * phase * f64::from(harmonic)).sin()
            })
            .sum();
        let syllable = (time * 4.0 * std::f64::consts::TAU).sin().max(0.0);
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let breath = f64::from(noise >> 16) / 65_536.0 - 0.5;
        mulaw((voice * syllable * 9000.0 + breath * 600.0) as i16)
    };
    (0..frames * FRAME).map(sample).collect()
}

/// ITU-T G.711 µ-law.
fn mulaw(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(32_635) + BIAS;
    let exponent = magnitude.ilog2() - 7;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    !(sign | ((exponent as u8) << 4) | mantissa as u8)
}

/// ITU-T G.711 µ-law, read.
#[must_use]
pub fn linear_of_mulaw(byte: u8) -> i32 {
    let byte = !byte;
    let (exponent, mantissa) = (i32::from(byte >> 4 & 7), i32::from(byte & 0x0F));
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if byte & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// ITU-T G.711 A-law, read.
fn linear_of_alaw(byte: u8) -> i32 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = (i32::from(byte >> 4 & 7), i32::from(byte & 0x0F));
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        exponent => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if byte & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}
