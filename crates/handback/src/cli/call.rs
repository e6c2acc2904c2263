//! `handback call`: a test call, as an SBC would place it.

use std::fs::File;
use std::io::{self, BufWriter};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use sip_core::{Credentials, Transport};
use sip_transport::{Direction, Packet, Tls, TlsMaterial};
use timebase::{Clock, UnixMillis, wall_now};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::hook_call::{HookOptions, Shared};
use super::hook_proofs::TlsFiles;
use super::{FAILED, Paint, USAGE, say, say_error};
use crate::caller::{
    CallEvent, OnRefer, Order, PcapWriter, Phone, PhoneOptions, Report, Script, What,
    local_address, resolve,
};
use crate::wav;

/// News that may wait to be printed.
const NEWS: usize = 256;
/// How long a returned call is kept unless --hangup-after says otherwise.
const RETURNED_CALL: Duration = Duration::from_secs(2);
const MEDIA_PORTS: std::ops::RangeInclusive<u16> = 40_000..=40_999;
const RETURN_MEDIA_PORTS: std::ops::RangeInclusive<u16> = 41_000..=41_999;

/// Arguments of `handback call`.
#[derive(Debug, Args)]
pub(super) struct Call {
    /// The URI to call, as sip:agent@127.0.0.1:5060
    #[arg(long, value_name = "URI", required_unless_present = "hook")]
    to: Option<String>,
    /// The transfer's id, sent as X-ASAPP-CallTransferId
    #[arg(long, value_name = "ID")]
    transfer: Option<String>,
    /// The URI to call as
    #[arg(
        long,
        value_name = "URI",
        default_value = "sip:caller@handback.invalid"
    )]
    from: String,
    /// What to call over
    #[arg(long, default_value = "udp")]
    transport: Over,
    /// The authorities that the server's certificate over TLS is judged by, in PEM; without it, the system's. With --hook,
    /// beside the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Take any certificate over TLS
    #[arg(long)]
    insecure: bool,
    /// The certificate to show over TLS, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The oldest version of TLS to speak
    #[arg(long, value_name = "VERSION", default_value = "1.2")]
    tls_min: TlsMin,
    /// The user that digest challenges are answered as
    #[arg(long, value_name = "USER", requires = "password")]
    user: Option<String>,
    /// Its password
    #[arg(long, value_name = "PASSWORD", requires = "user")]
    password: Option<String>,
    /// What to say: a WAV file of 8 kHz, mono, 16 bits; any other with --hook
    #[arg(long, value_name = "FILE.wav")]
    play: Option<PathBuf>,
    /// Keys to press after that; a comma is a pause. With --hook when to press them, as 12#@3s, any number of times
    #[arg(long, value_name = "DIGITS")]
    dtmf: Vec<String>,
    /// Where to keep what is heard
    #[arg(long, value_name = "FILE.wav")]
    record: Option<PathBuf>,
    /// Offer and take SRTP only, with keys in SDP
    #[arg(long)]
    srtp: bool,
    /// Hold the call for a second, that many seconds after the answer
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    hold_after: Option<Duration>,
    /// Hang up that many seconds after the answer
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    hangup_after: Option<Duration>,
    /// Place the call that a REFER asks for, and take a returned call at --return-listen
    #[arg(long)]
    answer_return: bool,
    /// Where a returned call is taken, over UDP and TCP
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5070")]
    return_listen: SocketAddr,
    /// Where to keep the SIP messages, those of TCP as UDP; RTP is not in it
    #[arg(long, value_name = "FILE.pcap")]
    pcap: Option<PathBuf>,
    #[command(flatten)]
    hook: HookOptions,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Over {
    Udp,
    Tcp,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TlsMin {
    #[value(name = "1.2")]
    V12,
    #[value(name = "1.3")]
    V13,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl Call {
    /// As [`HookOptions::claim_log`].
    pub(super) fn claim_log(&mut self, log: Option<String>) -> Option<String> {
        self.hook.claim_log(log)
    }

    pub(super) async fn run(self) -> ExitCode {
        if self.hook.hook.is_some() {
            let shared = Shared {
                from: self.from,
                play: self.play,
                keys: self.dtmf,
                record: self.record,
                hang_up: self.hangup_after,
                tls: TlsFiles {
                    authority: self.ca,
                    certificate: self.certificate,
                    key: self.key,
                },
            };
            return self.hook.run(shared).await;
        }
        let say_wav = match self.play.as_deref().map(wav::read).transpose() {
            Ok(audio) => audio.unwrap_or_default(),
            Err(error) => {
                say_error(&format!("--play: {error}"));
                return ExitCode::from(USAGE);
            }
        };
        match self.place(say_wav).await {
            Ok(failure) => conclude(failure),
            Err(error) => conclude(Some(error.to_string())),
        }
    }

    /// Places the call and stays with it; why it did not go as asked.
    async fn place(self, audio: Bytes) -> io::Result<Option<String>> {
        let clock = Clock::start();
        let (_, remote) = resolve(self.to(), self.transport())
            .await
            .map_err(io::Error::other)?;
        let address = local_address(remote)?;
        let tls = self.tls()?;
        let at = SocketAddr::new(address, 0);
        let phone = start("caller", at, MEDIA_PORTS, (clock, &tls)).await?;
        let target = if self.answer_return {
            let at = self.return_listen;
            Some(start("return", at, RETURN_MEDIA_PORTS, (clock, &tls)).await?)
        } else {
            None
        };
        let captures = self.capture(&phone, target.as_ref(), clock).await?;
        let (events, news) = mpsc::channel(NEWS);
        let printer = tokio::spawn(print(news));
        let taken = target.clone().map(|target| {
            let events = events.clone();
            let script = returned_script(self.srtp);
            tokio::spawn(async move { target.take(script, events).await })
        });
        hang_up_on_interrupt(&phone);
        let report = phone.call(self.order(audio), events).await;
        let taken = returned_report(target.as_ref(), taken).await;
        phone.shutdown().await;
        if let Some(target) = target {
            target.shutdown().await;
        }
        // Both end with their senders, which are gone by now.
        let _ = printer.await;
        if let Some(capture) = captures {
            capture.await.map_err(io::Error::other)??;
        }
        if let Some(path) = &self.record {
            wav::write(path, &report.heard).map_err(io::Error::other)?;
        }
        Ok(report
            .failure()
            .or_else(|| taken.and_then(|taken| taken.failure())))
    }

    /// The URI to call, which is there where no hook is.
    fn to(&self) -> &str {
        self.to.as_deref().unwrap_or_default()
    }

    fn transport(&self) -> Transport {
        match self.transport {
            Over::Udp => Transport::Udp,
            Over::Tcp => Transport::Tcp,
            Over::Tls => Transport::Tls,
        }
    }

    /// The certificates and keys of calls over TLS.
    fn tls(&self) -> io::Result<Arc<Tls>> {
        let read = |path: &Option<PathBuf>| {
            let Some(path) = path else {
                return Ok(None);
            };
            let named = |error| io::Error::other(format!("{}: {error}", path.display()));
            std::fs::read(path).map(Some).map_err(named)
        };
        let material = TlsMaterial {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            ca: read(&self.ca)?,
            allow_tls12: self.tls_min == TlsMin::V12,
            insecure: self.insecure,
            ..TlsMaterial::default()
        };
        let tls = Tls::new(&material).map_err(io::Error::other)?;
        Ok(Arc::new(tls))
    }

    fn order(&self, audio: Bytes) -> Order {
        let credentials =
            self.user
                .clone()
                .zip(self.password.clone())
                .map(|(username, password)| Credentials {
                    realm: None,
                    username,
                    password: password.into(),
                });
        Order {
            to: self.to().to_owned(),
            from: self.from.clone(),
            transport: self.transport(),
            transfer: self.transfer.clone(),
            credentials,
            script: Script {
                say: audio,
                digits: (!self.dtmf.is_empty()).then(|| self.dtmf.concat()),
                then_say: Bytes::new(),
                hold_after: self.hold_after,
                hangup_after: self.hangup_after,
                srtp: self.srtp,
                on_refer: if self.answer_return {
                    OnRefer::Call(Box::new(returned_script(self.srtp)))
                } else {
                    OnRefer::Pretend
                },
            },
        }
    }

    async fn capture(
        &self,
        phone: &Phone,
        target: Option<&Phone>,
        clock: Clock,
    ) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        let Some(path) = &self.pcap else {
            return Ok(None);
        };
        let file = PcapWriter::new(BufWriter::new(File::create(path)?))?;
        let own = phone.tap().await?;
        let other = match target {
            Some(target) => Some(target.tap().await?),
            None => None,
        };
        let origin = UnixMillis(wall_now().0 - clock.now().as_millis() as i64);
        Ok(Some(tokio::spawn(write_capture(
            file,
            own,
            other,
            (phone.address(), origin),
        ))))
    }
}

/// A returned call is listened to for a moment and ended.
fn returned_script(srtp: bool) -> Script {
    Script {
        srtp,
        hangup_after: Some(RETURNED_CALL),
        ..Script::default()
    }
}

async fn start(
    name: &'static str,
    at: SocketAddr,
    media_ports: std::ops::RangeInclusive<u16>,
    (clock, tls): (Clock, &Arc<Tls>),
) -> io::Result<Phone> {
    let (address, port) = (at.ip(), at.port());
    let takes_calls = port != 0;
    Phone::start(PhoneOptions {
        name,
        address,
        port,
        media_ports,
        takes_calls,
        tls: Some(Arc::clone(tls)),
        clock,
    })
    .await
}

/// The first interrupt hangs up.
fn hang_up_on_interrupt(phone: &Phone) {
    let phone = phone.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            phone.stop();
        }
    });
}

/// What became of the call that was returned to us, if one was.
async fn returned_report(
    target: Option<&Phone>,
    taken: Option<JoinHandle<Option<Report>>>,
) -> Option<Report> {
    let (target, taken) = target.zip(taken)?;
    target.stop();
    taken
        .await
        .unwrap_or_else(|error| Some(Report::failed(error.to_string())))
}

async fn write_capture(
    mut file: PcapWriter<BufWriter<File>>,
    mut own: mpsc::Receiver<Packet>,
    mut other: Option<mpsc::Receiver<Packet>>,
    (caller, origin): (Option<SocketAddr>, UnixMillis),
) -> io::Result<()> {
    loop {
        let packet = tokio::select! {
            Some(packet) = own.recv() => packet,
            // What both phones have is written once, as the caller has it.
            Some(packet) = next(&mut other) => if Some(packet.flow.remote) == caller { continue } else { packet },
            else => break,
        };
        let at = UnixMillis(origin.0 + packet.at.as_millis() as i64);
        let (from, to) = match packet.direction {
            Direction::In => (packet.flow.remote, packet.flow.local),
            Direction::Out => (packet.flow.local, packet.flow.remote),
        };
        file.message(at, from, to, &packet.bytes)?;
    }
    file.finish().map(drop)
}

async fn next(packets: &mut Option<mpsc::Receiver<Packet>>) -> Option<Packet> {
    packets.as_mut()?.recv().await
}

async fn print(mut news: mpsc::Receiver<CallEvent>) {
    let paint = Paint::for_stdout();
    while let Some(event) = news.recv().await {
        let at = format!("{:>8.3}", event.at.0.as_secs_f64());
        let party = format!("{:<7}", event.party);
        say(&format!(
            "{}  {}  {}",
            paint.dim(&at),
            paint.cyan(&party),
            line(&event.what)
        ));
    }
}

fn line(what: &What) -> String {
    match what {
        What::Calling(uri) => format!("calls {uri}"),
        What::Arrived(uri) => format!("is called by {uri}"),
        What::Progress(status) => format!("hears {status}"),
        What::Answered => "talks".to_owned(),
        What::Refused(status, reason) => format!("is refused: {status} {reason}"),
        What::Key(digit) => format!("hears key {digit}"),
        What::Held(true) => "holds".to_owned(),
        What::Held(false) => "resumes".to_owned(),
        What::Referred(uri) => format!("is referred to {uri}"),
        What::PeerHungUp(reasons) if reasons.is_empty() => "is hung up on".to_owned(),
        What::PeerHungUp(reasons) => format!("is hung up on: {}", reasons.join(", ")),
        What::HungUp => "hangs up".to_owned(),
        What::Ended(_) => "call over".to_owned(),
        What::Problem(problem) => format!("problem: {problem}"),
    }
}

fn conclude(failure: Option<String>) -> ExitCode {
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            say_error(&format!("the call did not go as asked: {failure}"));
            ExitCode::from(FAILED)
        }
    }
}
