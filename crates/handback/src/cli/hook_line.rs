//! The line between a test call and its hook: messages kept in a file, stalls and cuts.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use agent_hook::{LineState, Probe, Seen, Speaker};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::hooked::Fault;

/// Messages that may wait to be written: ten seconds of both directions.
const SEEN: usize = 2048;

/// Faults that may wait.
const FAULTS: usize = 16;

/// How long a cut line stays cut: the connection looks at it every 20 ms.
const CUT: Duration = Duration::from_millis(200);

/// How long the last messages may take to be written.
const LAST: Duration = Duration::from_secs(4);

/// What does the line's work.
pub(super) struct Line {
    writer: JoinHandle<std::io::Result<()>>,
}

impl Line {
    /// The line, with its probe and where faults are asked for.
    pub(super) fn start(
        file: Option<&Path>,
    ) -> std::io::Result<(Self, Probe, mpsc::Sender<Fault>)> {
        let file = file.map(File::create).transpose()?;
        let (seen, messages) = mpsc::channel(SEEN);
        let (line, watched) = watch::channel(LineState::Open);
        let (faults, wanted) = mpsc::channel(FAULTS);
        tokio::spawn(disturb(line, wanted));
        let writer = tokio::task::spawn_blocking(move || keep(file, messages));
        Ok((Self { writer }, Probe::new(seen, watched), faults))
    }

    /// Waits until everything is written; what went wrong.
    pub(super) async fn finish(self) -> Option<String> {
        match timeout(LAST, self.writer).await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(error))) => Some(format!("the messages cannot be kept: {error}")),
            Ok(Err(error)) => Some(format!("the messages cannot be kept: {error}")),
            Err(_) => Some("the connection did not end in time".to_owned()),
        }
    }
}

async fn disturb(line: watch::Sender<LineState>, mut wanted: mpsc::Receiver<Fault>) {
    while let Some(fault) = wanted.recv().await {
        let (state, time) = match fault {
            Fault::Drop => (LineState::Cut, CUT),
            Fault::Stall(time) => (LineState::Stalled, time),
        };
        // an error means that there is no connection
        let _ = line.send(state);
        sleep(time).await;
        let _ = line.send(LineState::Open);
    }
}

fn keep(file: Option<File>, mut messages: mpsc::Receiver<Seen>) -> std::io::Result<()> {
    let began = Instant::now();
    let mut file = file.map(BufWriter::new);
    while let Some(Seen { from, text }) = messages.blocking_recv() {
        let Some(file) = &mut file else { continue };
        let at = began.elapsed().as_millis();
        let from = match from {
            Speaker::Gateway => "gateway",
            Speaker::Agent => "agent",
        };
        // what is no JSON is kept as a string, which lint objects to
        match serde_json::from_str::<&RawValue>(&text) {
            Ok(message) if !text.contains('\n') => writeln!(
                file,
                r#"{{"at_ms":{at},"from":"{from}","message":{message}}}"#
            )?,
            Ok(_) | Err(_) => {
                let message =
                    serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
                writeln!(
                    file,
                    "{}",
                    json!({ "at_ms": at as u64, "from": from, "message": message })
                )?
            }
        }
    }
    file.map_or(Ok(()), |mut file| file.flush())
}
