//! What the caller says to `builtin:echo` comes back, sample for sample.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use handback::caller::{Order, Phone, PhoneOptions, Script, TRANSFER_HEADER};
use stories::{Call, Lab, Packet, Transport, eventually, speech};

/// Less than the jitter buffer bridges.
const STALL: Duration = Duration::from_millis(15);
const ATTEMPTS: usize = 8;

/// Watches whether this machine keeps time; one that stops for longer than a jitter buffer bridges
/// proves nothing about audio.
struct Steadiness {
    over: Arc<AtomicBool>,
    watch: std::thread::JoinHandle<Duration>,
}

impl Steadiness {
    fn watch() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&over);
        let watch = std::thread::spawn(move || {
            let step = Duration::from_millis(2);
            let mut worst = Duration::ZERO;
            while !watched.load(Ordering::Relaxed) {
                let before = Instant::now();
                std::thread::sleep(step);
                worst = worst.max(before.elapsed().saturating_sub(step));
            }
            worst
        });
        Self { over, watch }
    }

    fn worst(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        self.watch.join().unwrap()
    }
}

/// Repeats a story until the machine was steady while it was told, or it went well anyhow.
pub(crate) async fn on_a_steady_machine(mut tell: impl AsyncFnMut(usize) -> Result<(), String>) {
    let mut unsteady = Duration::ZERO;
    for attempt in 0..ATTEMPTS {
        let steadiness = Steadiness::watch();
        let told = tell(attempt).await;
        unsteady = steadiness.worst();
        match told {
            Ok(()) => return,
            Err(problem) => assert!(
                unsteady > STALL,
                "{problem} (machine steady within {unsteady:?})"
            ),
        }
    }
    panic!("this machine stood still for {unsteady:?}: audio cannot be judged on it");
}

/// Sequence numbers and timestamps go up without a gap, from one source.
fn assert_continuous(packets: &[Packet]) {
    for pair in packets.windows(2) {
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(160));
        assert_eq!(pair[1].payload.len(), 160);
    }
}

fn compare(said: &[u8], heard: &[u8]) -> Result<(), String> {
    let begins = heard.windows(160).position(|window| window == &said[..160]);
    let begins = begins.ok_or("the first frame did not come back")?;
    let came = &heard[begins..];
    let equal = said
        .iter()
        .zip(came)
        .take_while(|(said, came)| said == came)
        .count();
    if equal == said.len() {
        return Ok(());
    }
    let next = came.get(equal..equal + 160).unwrap_or_default();
    let goes_on = said.windows(160).position(|window| window == next);
    Err(format!(
        "{equal} of {} samples came back as they were, then it went on at {goes_on:?}",
        said.len()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_comes_back_sample_for_sample() {
    let lab = Lab::start(&[("agent.hook", "builtin:echo")]).await;
    let said = speech(150);
    on_a_steady_machine(async |attempt| {
        let mut call = Call::registered(&lab, Transport::Udp, &format!("echo-{attempt}")).await;
        let media = call.media;
        call.sound.say(media, &said).await;
        let last = said[said.len() - 160..].to_vec();
        eventually("audio after the speech", async || {
            let heard = call.sound.heard();
            // Half a second after the last packet was said, whatever came of it.
            let ended = heard.len() > said.len() + 4000 || heard.ends_with(&last);
            ended.then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        call.hang_up().await;
        assert_continuous(&call.sound.packets());
        compare(&said, &call.sound.heard())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn test_caller_plays_and_records_speech_sample_for_sample() {
    let lab = Lab::start(&[("agent.hook", "builtin:echo")]).await;
    let phone = Phone::start(PhoneOptions {
        name: "caller",
        address: "127.0.0.1".parse().unwrap(),
        port: 0,
        media_ports: 30_000..=30_999,
        takes_calls: false,
        tls: None,
        clock: timebase::Clock::start(),
    })
    .await
    .unwrap();
    let said = speech(140);
    assert_eq!(TRANSFER_HEADER, stories::TRANSFER_HEADER);
    on_a_steady_machine(async |attempt| {
        let id = format!("recorded-{attempt}");
        lab.register(&id, serde_json::json!({})).await;
        let script = Script {
            say: said.clone().into(),
            hangup_after: Some(Duration::from_millis(3600)),
            ..Script::default()
        };
        let order = Order {
            to: format!("sip:agent@{}", lab.sip(Transport::Udp)),
            from: "sip:caller@127.0.0.1".to_owned(),
            transport: Transport::Udp,
            transfer: Some(id),
            credentials: None,
            script,
        };
        let (events, _news) = tokio::sync::mpsc::channel(64);
        let report = phone.call(order, events).await;
        assert_eq!(report.failure(), None);
        compare(&said, &report.heard)
    })
    .await;
    phone.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_flows_to_the_caller_from_the_answer_on_whatever_the_agent_does() {
    let lab = Lab::start(&[("agent.hook", "builtin:silence")]).await;
    let mut call = Call::registered(&lab, Transport::Udp, "quiet").await;
    eventually("half a second of audio", async || {
        (call.sound.packets().len() >= 25).then_some(())
    })
    .await;
    assert_continuous(&call.sound.packets());
    assert!(call.sound.heard().iter().all(|sample| *sample == 0xFF));
    call.hang_up().await;
}
