//! The plane over loopback sockets. A phone here is clocked by the packets it receives, so that
//! nothing depends on the test's own timing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail tests"
)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use agent_hook::{
    Agent, AgentEvent, AgentInput, AgentOutput, CallFacts, HookConfig, HookToken, Hooks, Track,
    When,
};
use call_control::transfer::{OutputContext, TransferType};
use media_bridge::{
    BargeIn, MediaAddress, MediaCommand, MediaConfig, MediaEvent, MediaHandle, MediaPlane,
};
use media_core::{Codec, Control, LegMedia, Side};
use timebase::{Clock, Now};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(10);

/// A plane on ports that nobody uses at this moment.
fn plane(pairs: u16) -> MediaPlane {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = (std::process::id() % 200) as u16 * 100;
    let is_free = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let ports = std::iter::repeat_with(|| {
        let start = 10_000 + (spread + NEXT.fetch_add(pairs * 2, Ordering::Relaxed)) % 18_000;
        start..=start + pairs * 2 - 1
    })
    .take(500)
    .find(|ports| ports.clone().all(is_free))
    .expect("free ports");
    let config = MediaConfig {
        addresses: vec![MediaAddress {
            listen: Ipv4Addr::LOCALHOST.into(),
            advertise: None,
        }],
        ports,
        dscp: 46,
        shards: 1,
    };
    MediaPlane::start(config, Clock::start()).unwrap()
}

fn leg(phone: &Phone) -> LegMedia {
    LegMedia {
        remote: phone.socket.local_addr().unwrap(),
        codec: Codec::Pcmu,
        payload_type: 0,
        dtmf: Some(101),
        ptime_ms: 20,
        send: true,
        receive: true,
        control: Control::default(),
        latch: false,
        protection: None,
    }
}

/// A telephone's RTP socket, blocking.
struct Phone {
    socket: UdpSocket,
    gateway: Option<SocketAddr>,
    sequence: u16,
    ssrc: u8,
}

impl Phone {
    fn new(ssrc: u8) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            gateway: None,
            sequence: 0,
            ssrc,
        }
    }

    fn packet(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend([0, 0, 0, self.ssrc]);
        packet.extend(payload);
        self.sequence += 1;
        self.socket.send_to(&packet, self.gateway.unwrap()).unwrap();
    }

    fn talk(&mut self, frame: &[u8]) {
        let timestamp = u32::from(self.sequence) * 160;
        self.packet(0, timestamp, frame);
    }

    /// The sequence number and payload of the next packet.
    fn listen(&self) -> (u16, Vec<u8>) {
        let mut packet = [0; 512];
        let (len, from) = self.socket.recv_from(&mut packet).unwrap();
        assert_eq!(Some(from), self.gateway, "media from another port");
        (
            u16::from_be_bytes([packet[2], packet[3]]),
            packet[12..len].to_vec(),
        )
    }

    /// Sends a frame for each received, three ahead, and gives all that was received.
    fn converse(mut self, frames: &[[u8; 160]], listen_on: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        let mut last: Option<u16> = None;
        let total = frames.len() + listen_on;
        let mut frames = frames.iter();
        frames.by_ref().take(3).for_each(|frame| self.talk(frame));
        for _ in 0..total {
            let (sequence, payload) = self.listen();
            assert!(
                last.is_none_or(|last| sequence == last.wrapping_add(1)),
                "a packet was left out"
            );
            last = Some(sequence);
            heard.extend(payload);
            if let Some(frame) = frames.next() {
                self.talk(frame);
            }
        }
        heard
    }
}

/// Tells what it is told.
#[derive(Debug)]
struct Recorder(std_mpsc::Sender<AgentInput<'static>>);

impl Agent for Recorder {
    fn handle_input(&mut self, _now: Now, input: AgentInput<'_>) {
        let owned = match input {
            AgentInput::Heard {
                track,
                timestamp_ms,
                frame,
            } => {
                let frame: &'static [u8] = frame.to_vec().leak();
                AgentInput::Heard {
                    track,
                    timestamp_ms,
                    frame,
                }
            }
            AgentInput::Dtmf { digit } => AgentInput::Dtmf { digit },
            AgentInput::MarkPlayed {
                name,
                played,
                sample,
            } => AgentInput::MarkPlayed {
                name,
                played,
                sample,
            },
            AgentInput::Stop => AgentInput::Stop,
            AgentInput::Phase { .. }
            | AgentInput::TransferResult { .. }
            | AgentInput::Completed { .. }
            | AgentInput::Flow { .. } => return,
        };
        let _ = self.0.send(owned);
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_output(&mut self) -> Option<AgentOutput> {
        None
    }

    fn poll_timeout(&self) -> Option<Now> {
        None
    }
}

async fn builtin(url: &str, variables: &str) -> Box<dyn Agent> {
    let facts = CallFacts {
        call: "call".to_owned(),
        account: "lab".into(),
        transfer: "t".into(),
        conversation: "c".to_owned(),
        from: "a".to_owned(),
        to: "b".to_owned(),
        sip_call_id: "x".to_owned(),
        referred_by: None,
        input: serde_json::from_str(&format!(r#"{{"inputVariables":{variables}}}"#)).unwrap(),
        token: HookToken::random(),
        resume: false,
        checkpoint: None,
        earlier: Vec::new(),
        headers: std::collections::BTreeMap::new(),
        bodies: Vec::new(),
        sessions: Default::default(),
    };
    let config = HookConfig {
        urls: vec![url.to_owned()],
        ..HookConfig::default()
    };
    Hooks::new(config)
        .unwrap()
        .connect(&facts, PATIENCE)
        .await
        .unwrap()
}

/// A session with its caller's phone connected.
fn call(plane: &MediaPlane) -> (MediaHandle, mpsc::Receiver<MediaEvent>, Phone) {
    let (sender, events) = mpsc::channel(32);
    let handle = plane.open(None, sender).unwrap();
    let mut phone = Phone::new(1);
    phone.gateway = handle.address(Side::Caller);
    handle
        .send(MediaCommand::Connect {
            side: Side::Caller,
            media: leg(&phone),
        })
        .unwrap();
    (handle, events, phone)
}

/// The next event but an agent's hello.
async fn next(events: &mut mpsc::Receiver<MediaEvent>) -> MediaEvent {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await;
        let event = event.unwrap().unwrap();
        if !matches!(event, MediaEvent::Agent(AgentEvent::Hello { .. })) {
            return event;
        }
    }
}

async fn until(what: impl Fn() -> bool) {
    let reached = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

/// Speech that repeats nowhere.
fn speech(frames: usize) -> Vec<[u8; 160]> {
    let mut state = 0x2545_f491_u32;
    let mut sample = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..frames)
        .map(|_| std::array::from_fn(|_| sample()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn echo_returns_the_waveform_bit_for_bit_and_without_a_gap() {
    let plane = plane(8);
    let spoken = speech(60);
    let bytes = spoken.concat();
    for _ in 0..5 {
        let (handle, _events, phone) = call(&plane);
        handle.attach(builtin("builtin:echo", "{}").await).unwrap();
        let said = spoken.clone();
        let heard = tokio::task::spawn_blocking(move || phone.converse(&said, 20))
            .await
            .unwrap();
        let figures = handle.figures().await.unwrap().caller;
        assert_eq!(figures.packets_in, 60);
        let start = heard
            .windows(160)
            .position(|window| window == &bytes[..160]);
        if figures.late > 0
            || start.is_none_or(|start| heard[start..start + bytes.len()] != bytes)
                && figures.concealed > 0
        {
            // the machine stood still for longer than a jitter buffer lasts: the run says nothing
            continue;
        }
        let start = start.expect("the speech did not come back");
        assert!(
            heard[start..start + bytes.len()] == bytes,
            "the waveform differs"
        );
        assert!(start <= 10 * 160, "the echo took {} ms", start / 8);
        return;
    }
    panic!("no run without disturbance in five");
}

fn by_info(digit: char) -> MediaCommand {
    MediaCommand::Pressed {
        side: Side::Caller,
        digit,
        duration_ms: 80,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn key_is_told_to_the_call_and_to_the_agent_once() {
    let plane = plane(4);
    let (handle, mut events, mut phone) = call(&plane);
    let (recorder, told) = std_mpsc::channel();
    handle.attach(Box::new(Recorder(recorder))).unwrap();
    let phone = tokio::task::spawn_blocking(move || {
        phone.listen();
        for (end, duration) in [
            (0, 160_u16),
            (0, 320),
            (0x80, 800),
            (0x80, 800),
            (0x80, 800),
        ] {
            phone.packet(
                101,
                16_000,
                &[5, end | 10, (duration >> 8) as u8, duration as u8],
            );
        }
        phone
    });
    let _phone = phone.await.unwrap();
    assert_eq!(
        next(&mut events).await,
        MediaEvent::FirstPacket(Side::Caller)
    );
    assert_eq!(
        next(&mut events).await,
        MediaEvent::Dtmf {
            side: Side::Caller,
            digit: '5',
            duration_ms: 100
        }
    );
    // The same press by the other way, and one of its own.
    handle.send(by_info('5')).unwrap();
    handle.send(by_info('#')).unwrap();
    assert_eq!(
        next(&mut events).await,
        MediaEvent::Dtmf {
            side: Side::Caller,
            digit: '#',
            duration_ms: 80
        }
    );
    drop(handle);
    let mut log: Vec<_> = tokio::task::spawn_blocking(move || told.iter().collect())
        .await
        .unwrap();
    log.retain(|input| !matches!(input, AgentInput::Heard { .. }));
    assert_eq!(
        log,
        [
            AgentInput::Dtmf { digit: '5' },
            AgentInput::Dtmf { digit: '#' },
            AgentInput::Stop
        ]
    );
    assert!(events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn bridged_parties_hear_each_other_and_the_agent_hears_both() {
    let plane = plane(4);
    let (handle, _events, caller) = call(&plane);
    let (recorder, told) = std_mpsc::channel();
    handle.attach(Box::new(Recorder(recorder))).unwrap();
    let mut target = Phone::new(2);
    target.gateway = Some(handle.open_target(None).await.unwrap());
    assert_eq!(handle.address(Side::Target), target.gateway);
    handle
        .send(MediaCommand::Connect {
            side: Side::Target,
            media: leg(&target),
        })
        .unwrap();
    handle.send(MediaCommand::Bridge(true)).unwrap();
    let (of_caller, of_target) = ([0x11; 160], [0x22; 160]);
    let caller = tokio::task::spawn_blocking(move || caller.converse(&[of_caller; 50], 5));
    let target = tokio::task::spawn_blocking(move || target.converse(&[of_target; 50], 5));
    let (to_caller, to_target) = (caller.await.unwrap(), target.await.unwrap());
    drop(handle);
    let frames =
        |heard: &[u8], frame: [u8; 160]| heard.chunks(160).filter(|chunk| *chunk == frame).count();
    assert!(
        frames(&to_caller, of_target) >= 20,
        "the caller heard {}",
        frames(&to_caller, of_target)
    );
    assert!(
        frames(&to_target, of_caller) >= 20,
        "the target heard {}",
        frames(&to_target, of_caller)
    );
    assert_eq!(frames(&to_caller, of_caller), 0);
    let mut tracks = [0, 0];
    for input in told.try_iter() {
        match input {
            AgentInput::Heard {
                track: Track::Inbound,
                frame,
                ..
            } if frame == of_caller => tracks[0] += 1,
            AgentInput::Heard {
                track: Track::Outbound,
                frame,
                ..
            } if frame == of_target => tracks[1] += 1,
            AgentInput::Heard { .. } | AgentInput::Stop => {}
            other @ (AgentInput::Dtmf { .. }
            | AgentInput::MarkPlayed { .. }
            | AgentInput::Phase { .. }
            | AgentInput::TransferResult { .. }
            | AgentInput::Completed { .. }
            | AgentInput::Flow { .. }) => panic!("{other:?}"),
        }
    }
    assert!(tracks[0] >= 20 && tracks[1] >= 20, "{tracks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_come_back_when_calls_end_and_none_is_lost() {
    let plane = plane(20);
    for _ in 0..3 {
        let mut calls = Vec::new();
        for _ in 0..10 {
            calls.push(call(&plane));
        }
        let (sender, _events) = mpsc::channel(1);
        assert!(
            plane.open(None, sender).is_err(),
            "more sessions than pairs"
        );
        for (handle, _, _) in &calls {
            handle.open_target(None).await.unwrap();
        }
        let census = plane.census();
        assert_eq!(
            (
                census.sessions,
                census.ports_in_use,
                census.ports_reserved,
                census.ports
            ),
            (10, 40, 0, 40)
        );
        drop(calls);
        until(|| plane.census().sessions == 0 && plane.census().ports_in_use == 0).await;
        assert_eq!(plane.census().ports_reserved, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn target_that_was_disconnected_can_be_opened_again() {
    let plane = plane(4);
    let (handle, _events, _phone) = call(&plane);
    let first = handle.open_target(None).await.unwrap();
    assert_eq!(handle.open_target(None).await.unwrap(), first);
    handle.send(MediaCommand::Disconnect(Side::Target)).unwrap();
    assert_eq!(handle.address(Side::Target), None);
    let second = handle.open_target(None).await.unwrap();
    assert_ne!(second, first);
    assert_eq!(plane.census().ports_in_use, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn rtcp_keeps_a_silent_call_alive_and_its_end_is_told_once() {
    let plane = plane(4);
    let (handle, mut events, phone) = call(&plane);
    handle
        .send(MediaCommand::WatchTimeout(Some(Duration::from_millis(800))))
        .unwrap();
    let rtp = phone.gateway.unwrap();
    let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
    for _ in 0..50 {
        phone
            .socket
            .send_to(&[0x80, 201, 0, 1, 0, 0, 0, 1], rtcp)
            .unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(events.try_recv().is_err());
    }
    assert_eq!(
        next(&mut events).await,
        MediaEvent::MediaTimeout(Side::Caller)
    );
    for _ in 0..30 {
        phone.listen();
    }
    assert!(events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn goodbye_leaves_before_the_ports_are_closed() {
    let plane = plane(4);
    let (handle, _events, phone) = call(&plane);
    let control = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    control.set_read_timeout(Some(PATIENCE)).unwrap();
    let media = LegMedia {
        control: Control {
            to: Some(control.local_addr().unwrap()),
            ..Control::default()
        },
        ..leg(&phone)
    };
    let side = Side::Caller;
    handle.send(MediaCommand::Connect { side, media }).unwrap();
    (0..5).for_each(|_| {
        phone.listen();
    });
    let mut figures = handle.watched_figures();
    drop(handle);
    let mut report = [0; 256];
    let (length, from) = control.recv_from(&mut report).unwrap();
    assert_eq!(from.port(), phone.gateway.unwrap().port() + 1);
    assert_eq!(report[..2], [0x80, 200], "a sender report");
    assert_eq!(report[length - 8..length - 6], [0x81, 203], "and BYE");
    while figures.changed().await.is_ok() {}
    assert!(figures.borrow().caller.packets_out >= 5, "the last figures");
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_completes_and_the_queue_drains() {
    let plane = plane(4);
    let (handle, mut events, _phone) = call(&plane);
    handle
        .attach(builtin("builtin:lab", r#"{"lab_complete_after_ms":100}"#).await)
        .unwrap();
    assert!(matches!(
        next(&mut events).await,
        MediaEvent::Agent(AgentEvent::Complete { output: Ok(_), .. })
    ));
    handle
        .send(MediaCommand::Drain {
            skip_trailing_silence: true,
        })
        .unwrap();
    assert_eq!(next(&mut events).await, MediaEvent::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_stops_agents_and_closes_sessions() {
    let plane = plane(4);
    let (handle, _events, _phone) = call(&plane);
    let (recorder, told) = std_mpsc::channel();
    handle.attach(Box::new(Recorder(recorder))).unwrap();
    handle.figures().await.unwrap();
    plane.shutdown().await;
    assert_eq!(told.iter().last(), Some(AgentInput::Stop));
    assert!(handle.send(MediaCommand::Clear).is_err());
    assert!(handle.figures().await.is_none());
    assert_eq!(
        (plane.census().sessions, plane.census().ports_in_use),
        (0, 0)
    );
    let (sender, _events) = mpsc::channel(1);
    assert!(plane.open(None, sender).is_err());
}

/// Speaks, completes, and goes on speaking.
#[derive(Debug)]
struct Talkative(std::collections::VecDeque<AgentOutput>);

const BEFORE: u8 = 0x42;
const AFTER: u8 = 0x55;

impl Talkative {
    fn new() -> Self {
        let output = OutputContext {
            transfer_type: TransferType::System,
            current_task_name: None,
            reference_variables: serde_json::Map::new(),
            transfer_variables: serde_json::Map::new(),
        };
        let complete = AgentEvent::Complete {
            id: None,
            output: Ok(output),
            when: When::Drained,
        };
        let spoken = |sample: u8| AgentOutput::Audio(vec![sample; 1600].into());
        Self([spoken(BEFORE), AgentOutput::Event(complete), spoken(AFTER)].into())
    }
}

impl Agent for Talkative {
    fn handle_input(&mut self, _now: Now, _input: AgentInput<'_>) {}

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_output(&mut self) -> Option<AgentOutput> {
        self.0.pop_front()
    }

    fn poll_timeout(&self) -> Option<Now> {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_after_it_has_completed_is_not_heard() {
    let plane = plane(8);
    let (handle, _events, mut phone) = call(&plane);
    handle.attach(Box::new(Talkative::new())).unwrap();
    let mut heard = Vec::new();
    for _ in 0..60 {
        let (_, payload) = phone.listen();
        heard.extend_from_slice(&payload);
        phone.talk(&[0xff; 160]);
    }
    let count = |sample: u8| heard.iter().filter(|it| **it == sample).count();
    assert_eq!((count(BEFORE), count(AFTER)), (1600, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_is_not_heard_while_the_call_is_handed_back() {
    let plane = plane(8);
    let (handle, _events, mut phone) = call(&plane);
    handle.attach(builtin("builtin:echo", "{}").await).unwrap();
    let phase = |phase| {
        let input = AgentInput::Phase {
            phase,
            method: None,
        };
        handle.send(MediaCommand::Agent(input)).unwrap();
    };
    let mut echoed = |packets: usize| {
        let mut sounding = 0;
        for _ in 0..packets {
            let (_, payload) = phone.listen();
            sounding += usize::from(payload.iter().any(|sample| *sample != 0xff));
            phone.talk(&[0x42; 160]);
        }
        sounding
    };
    assert!(
        echoed(40) > 20,
        "the echo is not heard while the agent has the caller"
    );
    phase(agent_hook::Phase::HandingBack);
    echoed(20);
    assert_eq!(echoed(20), 0, "the agent is heard during the hand-back");
    phase(agent_hook::Phase::Agent);
    assert!(
        echoed(60) > 20,
        "the agent is not heard when it has the caller again"
    );
}

/// An agent that says one thing for long, once.
#[derive(Debug)]
struct Lecturer(Option<AgentOutput>);

impl Agent for Lecturer {
    fn handle_input(&mut self, _now: Now, _input: AgentInput<'_>) {}

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_output(&mut self) -> Option<AgentOutput> {
        self.0.take()
    }

    fn poll_timeout(&self) -> Option<Now> {
        None
    }
}

/// What a caller hears of a lecture while he says this: the share of it before, meanwhile and in
/// the end.
fn lecture_meets(wanted: BargeIn, words: &[[u8; 160]]) -> [f32; 3] {
    const LOUD: u8 = 0x10;
    let plane = plane(8);
    let (handle, _events, mut phone) = call(&plane);
    handle.send(MediaCommand::BargeIn(wanted)).unwrap();
    let lecture = AgentOutput::Audio(vec![LOUD; 160 * 600].into());
    handle.attach(Box::new(Lecturer(Some(lecture)))).unwrap();
    let mut heard = |said: &mut dyn Iterator<Item = [u8; 160]>| {
        let mut loud = 0;
        let mut all = 0;
        for frame in said {
            let (_, payload) = phone.listen();
            all += payload.len();
            loud += payload.iter().filter(|it| **it == LOUD).count();
            phone.talk(&frame);
        }
        loud as f32 / all as f32
    };
    let quiet = || std::iter::repeat_n([0xff; 160], 60);
    let before = heard(&mut quiet().take(30));
    let meanwhile = heard(&mut words.iter().copied());
    heard(&mut quiet());
    [before, meanwhile, heard(&mut quiet().take(20))]
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_who_speaks_makes_the_agent_softer_or_silent_where_that_is_wanted() {
    let file = include_bytes!("../../handback/assets/speech.wav");
    let speech = agent_hook::sound::decode_wav(file).unwrap();
    let words: Vec<[u8; 160]> = speech
        .chunks_exact(160)
        .take(75)
        .map(|frame| frame.try_into().unwrap())
        .collect();
    let duck = lecture_meets(BargeIn::Duck, &words);
    let clear = lecture_meets(BargeIn::Clear, &words);
    assert!(
        duck[0] > 0.7 && duck[1] < 0.7 && duck[2] > 0.9,
        "duck: {duck:?}"
    );
    assert!(
        clear[0] > 0.7 && clear[1] < 0.7 && clear[2] < 0.01,
        "clear: {clear:?}"
    );
}
