//! `handback call --hook`: the gateway's part of a call with a hook, played from files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use agent_hook::sound::read_wav;
use agent_hook::{CallFacts, HookConfig, HookToken, Hooks, Probe};
use bytes::Bytes;
use call_control::transfer::InputContext;
use clap::Args;
use tokio::sync::mpsc;

use super::hook_line::Line;
use super::hook_proofs::{Proofs, TlsFiles, text_of};
use super::{FAILED, Paint, USAGE, say, say_error};
use crate::hooked::{
    Cue, Expectation, Fault, Moment, News, Outcome, Plan, Recording, Talk, time_of,
};

/// News that may wait to be printed.
const NEWS: usize = 256;

/// When a stall begins that does not say.
const STALL_AT: Duration = Duration::from_secs(2);

/// The options of `handback call --hook`.
#[derive(Debug, Args)]
pub(super) struct HookOptions {
    /// Play the gateway's part to this hook instead: ws://…, wss://…, builtin:…
    #[arg(long, value_name = "URL", conflicts_with_all = ["to", "transfer", "pcap"], help_heading = "With a hook")]
    pub(super) hook: Option<String>,
    /// Where to keep both sides: the caller on the left, what he hears on the right
    #[arg(
        long,
        value_name = "FILE.wav",
        requires = "hook",
        help_heading = "With a hook"
    )]
    stereo: Option<PathBuf>,
    /// Where to keep every message; --log FILE.jsonl does the same
    #[arg(
        long,
        value_name = "FILE.jsonl",
        requires = "hook",
        help_heading = "With a hook"
    )]
    messages: Option<PathBuf>,
    /// The inputContext, as {"taskName":"…","inputVariables":{…}}
    #[arg(
        long,
        value_name = "FILE.json",
        requires = "hook",
        help_heading = "With a hook"
    )]
    input_context: Option<PathBuf>,
    /// What the caller says and when, as a.wav@after-silence:800 or a.wav@3s
    #[arg(
        long,
        value_name = "FILE.wav@WHEN",
        requires = "hook",
        help_heading = "With a hook"
    )]
    say: Vec<Cue>,
    /// What the caller says while the agent speaks, as b.wav@play:1500ms
    #[arg(
        long,
        value_name = "FILE.wav@WHEN",
        requires = "hook",
        help_heading = "With a hook"
    )]
    barge: Vec<Cue>,
    /// Cut the connection then, and connect again as the gateway does
    #[arg(long, value_name = "TIME", value_parser = time_of, requires = "hook", help_heading = "With a hook")]
    drop_at: Option<Duration>,
    /// Neither read nor write for so long, as 4s or 4s@2s
    #[arg(
        long,
        value_name = "TIME[@WHEN]",
        requires = "hook",
        help_heading = "With a hook"
    )]
    stall: Option<String>,
    /// After the result, go on with the caller's and the other party's tracks: on the same socket if the agent opted in
    /// to that, else on a second one that only listens
    #[arg(long, requires = "hook", help_heading = "With a hook")]
    both_tracks: bool,
    /// What the other party says then
    #[arg(
        long,
        value_name = "FILE.wav",
        requires = "both_tracks",
        help_heading = "With a hook"
    )]
    far: Option<PathBuf>,
    /// What must hold in the end, as complete.transferType=AGENT or heard.ms>500
    #[arg(
        long,
        value_name = "PATH=VALUE",
        requires = "hook",
        help_heading = "With a hook"
    )]
    expect: Vec<Expectation>,
    /// The agent must be heard within this time
    #[arg(long, value_name = "TIME", value_parser = time_of, requires = "hook", help_heading = "With a hook")]
    max_first_audio: Option<Duration>,
    #[command(flatten)]
    proofs: Proofs,
    /// How long connecting may take
    #[arg(long, value_name = "TIME", value_parser = time_of, default_value = "5s", help_heading = "With a hook")]
    connect_timeout: Duration,
}

/// What `call` has for either kind of call.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) from: String,
    pub(super) play: Option<PathBuf>,
    pub(super) keys: Vec<String>,
    pub(super) record: Option<PathBuf>,
    pub(super) hang_up: Option<Duration>,
    pub(super) tls: TlsFiles,
}

impl HookOptions {
    /// Takes the value of --log for the messages' file when it is one, and gives the log's filter.
    pub(super) fn claim_log(&mut self, log: Option<String>) -> Option<String> {
        match log {
            Some(file)
                if self.hook.is_some()
                    && Path::new(&file).extension().is_some_and(|it| it == "jsonl") =>
            {
                self.messages.get_or_insert(file.into());
                None
            }
            other => other,
        }
    }

    pub(super) async fn run(self, shared: Shared) -> ExitCode {
        let (line, probe, faults) = match Line::start(self.messages.as_deref()) {
            Ok(started) => started,
            Err(error) => {
                say_error(&format!("--messages: {error}"));
                return ExitCode::from(USAGE);
            }
        };
        let (hooks, facts, plan) = match self.prepare(&shared, probe) {
            Ok(prepared) => prepared,
            Err(problem) => {
                say_error(&problem);
                return ExitCode::from(USAGE);
            }
        };
        let (news, printed) = mpsc::channel(NEWS);
        let printer = tokio::spawn(print(printed));
        let begun = Talk::begin(hooks, facts, plan, self.connect_timeout, news).await;
        let mut talk = match begun {
            Ok(talk) => talk,
            Err(problem) => {
                say_error(&format!("the hook cannot be connected: {problem}"));
                return ExitCode::from(FAILED);
            }
        };
        talk.faults_to(faults);
        let (outcome, recording) = talk.run().await;
        let kept = line.finish().await;
        // ends with its sender
        let _ = printer.await;
        let kept = kept.or_else(|| self.keep(&shared, &recording));
        let failures = self.failures(&outcome);
        say(&serde_json::to_string_pretty(&outcome).unwrap_or_default());
        for failure in kept.iter().chain(&failures) {
            say_error(failure);
        }
        if kept.is_none() && failures.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(FAILED)
        }
    }

    fn prepare(&self, shared: &Shared, probe: Probe) -> Result<(Hooks, CallFacts, Plan), String> {
        let hooks = Hooks::new(HookConfig {
            urls: self.hook.iter().cloned().collect(),
            probe: Some(probe),
            ..self.proofs.config(&shared.tls)?
        })
        .map_err(|error| error.to_string())?;
        let input = match &self.input_context {
            None => InputContext::default(),
            Some(file) => serde_json::from_str(&text_of(file)?)
                .map_err(|error| format!("{}: {error}", file.display()))?,
        };
        Ok((hooks, facts(&shared.from, input), self.plan(shared)?))
    }

    fn plan(&self, shared: &Shared) -> Result<Plan, String> {
        let mut plan = Plan {
            hang_up: shared.hang_up,
            ..Plan::default()
        };
        if let Some(file) = &shared.play {
            plan.say.push((sound(file)?, Moment::At(Duration::ZERO)));
        }
        for cue in self.say.iter().chain(&self.barge) {
            plan.say.push((sound(Path::new(&cue.what))?, cue.when));
        }
        for keys in &shared.keys {
            let cue: Cue = keys.parse().map_err(|error| format!("--dtmf: {error}"))?;
            if !cue
                .what
                .chars()
                .all(|c| matches!(c, '0'..='9' | '*' | '#' | 'A'..='D' | ','))
            {
                return Err(format!(
                    "--dtmf: {:?} has other characters than 0-9, *, #, A-D and comma",
                    cue.what
                ));
            }
            plan.keys.push((cue.what, cue.when));
        }
        if let Some(at) = self.drop_at {
            plan.faults.push((at, Fault::Drop));
        }
        if let Some(stall) = &self.stall {
            let (time, at) = stall.split_once('@').unwrap_or((stall, ""));
            let time = time_of(time).map_err(|error| format!("--stall: {error}"))?;
            let at = if at.is_empty() {
                Ok(STALL_AT)
            } else {
                time_of(at)
            };
            let at = at.map_err(|error| format!("--stall: {error}"))?;
            plan.faults.push((at, Fault::Stall(time)));
        }
        if self.both_tracks {
            plan.far = Some(match &self.far {
                Some(file) => sound(file)?,
                None => Bytes::from_static(&[0xff; 16_000]),
            });
        }
        Ok(plan)
    }

    fn keep(&self, shared: &Shared, recording: &Recording) -> Option<String> {
        let failed =
            |file: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let heard = shared.record.as_deref();
        let heard = heard.and_then(|file| {
            recording
                .write_heard(file)
                .err()
                .map(|error| failed(file, &error))
        });
        let stereo = self.stereo.as_deref();
        let stereo = stereo.and_then(|file| {
            recording
                .write_stereo(file)
                .err()
                .map(|error| failed(file, &error))
        });
        heard.or(stereo)
    }

    /// What did not go as expected.
    fn failures(&self, outcome: &Outcome) -> Vec<String> {
        let mut failures: Vec<String> = self
            .expect
            .iter()
            .filter_map(|expectation| expectation.failure(outcome))
            .collect();
        if let Some(limit) = self.max_first_audio {
            let limit = limit.as_millis() as u64;
            match outcome.heard.first_audio_ms {
                Some(first) if first <= limit => {}
                Some(first) => failures.push(format!(
                    "the agent was first heard after {first} ms, not within {limit}"
                )),
                None => failures.push("the agent was never heard".to_owned()),
            }
        }
        let lost = outcome.closed.as_ref().filter(|closed| !closed.clean);
        if let (Some(lost), None, true) = (lost, &outcome.complete, self.expect.is_empty()) {
            failures.push(format!("the hook was lost: {}", lost.reason));
        }
        failures
    }
}

fn sound(file: &Path) -> Result<Bytes, String> {
    read_wav(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// The call as the hook is told of it.
fn facts(from: &str, input: InputContext) -> CallFacts {
    let call = uuid::Uuid::new_v4().to_string();
    CallFacts {
        account: "lab".into(),
        transfer: call.as_str().into(),
        conversation: format!("conversation-{call}"),
        from: from.to_owned(),
        to: "sip:agent@handback.invalid".to_owned(),
        sip_call_id: format!("{call}@handback.invalid"),
        referred_by: None,
        input,
        token: HookToken::random(),
        resume: false,
        checkpoint: None,
        earlier: Vec::new(),
        headers: std::collections::BTreeMap::new(),
        bodies: Vec::new(),
        sessions: agent_hook::SessionLog::default(),
        call,
    }
}

async fn print(mut news: mpsc::Receiver<News>) {
    let paint = Paint::for_stdout();
    while let Some(News { at, what }) = news.recv().await {
        let at = format!("{:>8.3}", at.as_secs_f64());
        say(&format!("{}  {what}", paint.dim(&at)));
    }
}
