//! One story: a gateway, an SBC and a return target on free loopback ports, a transfer, a call, a hand-back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call_control::transfer::ReturnType;
use serde_json::{Value, json};
use sip_core::Transport;
use sip_transport::{Direction, Packet};
use timebase::Now;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::checks::{self, Check};
use super::ladder::{Entry, Party, Step, label};
use super::stage::Stage;
use crate::caller::{CallEvent, OnRefer, Order, Phone, Report, Script, What};
use crate::config::ConfigErrors;
use crate::gateway::StartError;
use crate::wav::{self, WavError};

/// What the caller says, in the voice slt of flite.
static SPEECH: &[u8] = include_bytes!("../../assets/speech.wav");
/// What the caller presses.
pub(super) const DIGITS: &str = "1234";
/// The agent greets meanwhile.
const LISTEN: Duration = Duration::from_millis(2100);
/// From the keys to the moment that the bridged caller speaks.
const BRIDGING: Duration = Duration::from_millis(2500);
/// How long the returned call lasts.
const RETURNED_CALL: Duration = Duration::from_secs(4);
/// How long the bridged call lasts.
const BRIDGED_CALL: Duration = Duration::from_millis(5500);
/// The story ends by then, well or not.
const LONGEST: Duration = Duration::from_secs(40);
const SBC: usize = 0;
const GATEWAY: usize = 1;
const TARGET: usize = 2;

/// Why a story could not be told to its end.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// Its configuration.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The gateway.
    #[error("the gateway did not start: {0}")]
    Start(#[from] StartError),
    /// Sockets, files.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The API.
    #[error("the API: {0}")]
    Http(#[from] reqwest::Error),
    /// The speech.
    #[error("the speech: {0}")]
    Speech(#[from] WavError),
    /// It took too long.
    #[error("the story did not end within {} s", LONGEST.as_secs())]
    TooLong,
}

/// A story as it is shown.
#[derive(Clone, Debug)]
pub struct Story {
    /// The ladder's parties.
    pub parties: Vec<Party>,
    /// The ladder.
    pub entries: Vec<Entry>,
    /// Who heard or said what, as µ-law.
    pub sounds: Vec<(String, Bytes)>,
    /// What the API answered to the registration.
    pub registered: Value,
    /// What the customer fetched in the end.
    pub fetched: Value,
    /// What had to be true.
    pub checks: Vec<Check>,
}

/// What happened, for the checks to look at.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) method: ReturnType,
    pub(super) return_uri: String,
    pub(super) digits: &'static str,
    pub(super) registered: Value,
    pub(super) fetched: Value,
    pub(super) seen_during_call: Option<String>,
    pub(super) seen_at_hand_back: Option<String>,
    pub(super) caller: Report,
    pub(super) target: Option<Report>,
    /// The Request-URI of the first INVITE that reached the target.
    pub(super) target_called_as: Option<String>,
    pub(super) calls_left: usize,
    pub(super) ports_left: usize,
}

/// Tells one story.
///
/// # Errors
/// When something needed for it cannot be had; what goes wrong in it is in its checks.
pub async fn tell(method: ReturnType) -> Result<Story, StoryError> {
    let stage = Stage::set().await?;
    let told = tokio::time::timeout(LONGEST, play(&stage, method)).await;
    let ended = stage.strike().await;
    let story = told.map_err(|_| StoryError::TooLong)??;
    ended.map(|()| story)
}

async fn play(stage: &Stage, method: ReturnType) -> Result<Story, StoryError> {
    let began = stage.clock.now();
    let speech = wav::from_bytes(SPEECH)?;
    let taps = [listen(&stage.sbc).await?, listen(&stage.target).await?];
    let return_uri = format!("sip:desk@{};x-demo=%7Breturn%7D", stage.target_address());
    let transfer = format!("demo-{}", method.to_string().to_ascii_lowercase());
    let registered = stage
        .register(&registration(&transfer, method, &return_uri))
        .await?;
    let mut notes = vec![note(
        began,
        began,
        "customer   POST call-transfers → 200 ACTIVE",
    )];

    let (events, news) = mpsc::channel(256);
    let watcher = tokio::spawn(watch(stage.customer(&transfer), news, began));
    let taken = {
        let (target, events, script) = (
            stage.target.clone(),
            events.clone(),
            target_script(method, &speech),
        );
        tokio::spawn(async move { target.take(script, events).await })
    };
    let caller = stage
        .sbc
        .call(order(stage, &transfer, method, &speech), events)
        .await;
    stage.target.stop();
    let target = taken.await.map_err(io::Error::other)?;
    let watched = watcher.await.map_err(io::Error::other)?;
    notes.extend(watched.notes);
    let fetched = stage.fetch(&transfer).await?;
    let (calls_left, ports_left) = stage.left().await;
    notes.push(note(
        began,
        stage.clock.now(),
        &format!("customer   GET → {}", text(&fetched["status"])),
    ));

    let packets = stage.packets(taps).await?;
    let told = Told {
        method,
        return_uri,
        digits: DIGITS,
        registered,
        fetched,
        seen_during_call: watched.during_call,
        seen_at_hand_back: watched.at_hand_back,
        caller,
        target,
        target_called_as: called_as(&packets[1]),
        calls_left,
        ports_left,
    };
    Ok(show(stage, told, notes, &packets, began, &speech))
}

/// The call that the SBC places.
fn order(stage: &Stage, transfer: &str, method: ReturnType, speech: &Bytes) -> Order {
    let then_say = match method {
        ReturnType::Invite => after_silence(BRIDGING, speech),
        ReturnType::Bye | ReturnType::Refer => Bytes::new(),
    };
    let returned = Script {
        say: speech.clone(),
        hangup_after: Some(RETURNED_CALL),
        ..Script::default()
    };
    Order {
        to: format!("sip:agent@{}", stage.gateway_address()),
        from: "sip:+4930123456@sbc.example.com".to_owned(),
        transport: Transport::Udp,
        transfer: Some(transfer.to_owned()),
        credentials: None,
        script: Script {
            say: after_silence(LISTEN, speech),
            digits: Some(format!("{DIGITS}#")),
            then_say,
            on_refer: OnRefer::Call(Box::new(returned)),
            ..Script::default()
        },
    }
}

/// What the target does with the call that reaches it.
fn target_script(method: ReturnType, speech: &Bytes) -> Script {
    let hangup_after = match method {
        ReturnType::Invite => Some(BRIDGED_CALL),
        ReturnType::Bye | ReturnType::Refer => None,
    };
    Script {
        say: speech.clone(),
        hangup_after,
        ..Script::default()
    }
}

fn after_silence(silence: Duration, speech: &Bytes) -> Bytes {
    const SILENCE: u8 = 0xff;
    let samples = silence.as_millis() as usize * wav::RATE as usize / 1000;
    Bytes::from([vec![SILENCE; samples], speech.to_vec()].concat())
}

fn registration(transfer: &str, method: ReturnType, return_uri: &str) -> Value {
    json!({
        "id": transfer,
        "externalConversationId": "demo-conversation",
        "type": "SIP",
        "sip": { "returnURI": return_uri, "returnTransferType": method.to_string() },
        "inputContext": {
            "taskName": "ChangeBooking",
            "inputVariables": { "customer": "Ada", "booking": "K4-117" }
        }
    })
}

/// What the watcher saw while the call stood.
#[derive(Debug, Default)]
struct Watched {
    notes: Vec<Entry>,
    during_call: Option<String>,
    at_hand_back: Option<String>,
}

/// Fetches the transfer at the moments that matter: the answer, and the first sign of the hand-back.
async fn watch(
    customer: super::stage::Customer,
    mut news: mpsc::Receiver<CallEvent>,
    began: Now,
) -> Watched {
    let mut watched = Watched::default();
    while let Some(CallEvent { at, party, what }) = news.recv().await {
        let handed_back = match &what {
            What::Referred(_) | What::PeerHungUp(_) => party == Stage::SBC,
            What::Arrived(_) => party == Stage::TARGET,
            What::Answered if party == Stage::SBC && watched.during_call.is_none() => {
                watched.during_call = customer.status().await;
                let seen = watched.during_call.as_deref().unwrap_or("nothing");
                watched
                    .notes
                    .push(note(began, at, &format!("customer   GET → {seen}")));
                watched.notes.push(note(
                    began,
                    at,
                    "audio      the greeting, the caller, the echo of the caller",
                ));
                false
            }
            What::Answered
            | What::Calling(_)
            | What::Progress(_)
            | What::Refused(..)
            | What::Key(_)
            | What::Held(_)
            | What::HungUp
            | What::Ended(_)
            | What::Problem(_) => false,
        };
        if handed_back && watched.at_hand_back.is_none() {
            watched.at_hand_back = customer.status().await;
            let seen = watched.at_hand_back.as_deref().unwrap_or("nothing");
            watched
                .notes
                .push(note(began, at, &format!("customer   GET → {seen}")));
        }
    }
    watched
}

fn note(began: Now, at: Now, text: &str) -> Entry {
    Entry {
        at: at.since(began),
        step: Step::Note(text.to_owned()),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("nothing")
}

async fn listen(phone: &Phone) -> io::Result<JoinHandle<Vec<Packet>>> {
    let mut tap = phone.tap().await?;
    Ok(tokio::spawn(async move {
        let mut packets = Vec::new();
        while let Some(packet) = tap.recv().await {
            packets.push(packet);
        }
        packets
    }))
}

fn called_as(packets: &[Packet]) -> Option<String> {
    let invite = packets
        .iter()
        .find(|packet| packet.bytes.starts_with(b"INVITE "))?;
    let line = invite.bytes.split(|&byte| byte == b'\r').next()?;
    String::from_utf8_lossy(line)
        .split(' ')
        .nth(1)
        .map(str::to_owned)
}

fn show(
    stage: &Stage,
    told: Told,
    notes: Vec<Entry>,
    packets: &[Vec<Packet>; 2],
    began: Now,
    speech: &Bytes,
) -> Story {
    let (sbc, target) = (stage.sbc_address(), stage.target_address());
    let mut entries = notes;
    // What the SBC and the target said to each other is in the SBC's copy already.
    entries.extend(packets[0].iter().map(|packet| {
        let other = if packet.flow.remote == target {
            TARGET
        } else {
            GATEWAY
        };
        entry(packet, SBC, other, began)
    }));
    let to_gateway = packets[1].iter().filter(|packet| packet.flow.remote != sbc);
    entries.extend(to_gateway.map(|packet| entry(packet, TARGET, GATEWAY, began)));
    entries.sort_by_key(|entry| entry.at);
    let party = |name: &str, address: SocketAddr| Party {
        name: name.to_owned(),
        address: Some(address),
    };
    let mut parties = vec![
        party("SBC", sbc),
        party("handback", stage.gateway_address()),
    ];
    if !matches!(told.method, ReturnType::Bye) {
        parties.push(party("target", target));
    }
    let checks = checks::all(&told);
    let mut sounds = vec![
        ("caller says".to_owned(), after_silence(LISTEN, speech)),
        ("caller hears".to_owned(), Bytes::from(told.caller.heard)),
    ];
    sounds.extend(
        told.target
            .map(|target| ("target hears".to_owned(), Bytes::from(target.heard))),
    );
    Story {
        parties,
        entries,
        sounds,
        registered: told.registered,
        fetched: told.fetched,
        checks,
    }
}

fn entry(packet: &Packet, own: usize, other: usize, began: Now) -> Entry {
    let (from, to) = match packet.direction {
        Direction::Out => (own, other),
        Direction::In => (other, own),
    };
    Entry {
        at: packet.at.since(began),
        step: Step::Message {
            from,
            to,
            label: label(&packet.bytes),
        },
    }
}
