//! `builtin:record`: keeps what is said, for voice mail and for tests.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use audio_codec_algorithms::decode_ulaw;
use call_control::transfer::{OutputContext, TransferType, Variables};
use hound::{SampleFormat, WavSpec, WavWriter};
use serde_json::{Value, json};
use timebase::{Now, UnixMillis, wall_now};
use tokio::sync::mpsc;

use crate::agent::{
    Agent, AgentEvent, AgentInput, AgentOutput, Phase, Track, TransferOutcome, When,
};
use crate::facts::CallFacts;

/// The longest recording.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// What may wait to be written: more than ten seconds of both tracks.
const QUEUE: usize = 1024;

/// Samples in a frame, and in the file's header renewed at a time.
const FRAME: usize = 160;
const RENEWED: usize = 8000;

/// Keeps the caller on the left, the party reached by the hand-back on the right, and what
/// happened as JSON lines. `#` or the longest time completes as SYSTEM.
#[derive(Debug)]
pub(super) struct Recorder {
    lines: mpsc::Sender<Line>,
    name: String,
    longest: Duration,
    stage: Stage,
    task: Option<String>,
    /// Where the first frame stood on the timeline.
    origin: Option<u64>,
    position_ms: u64,
    lost: u64,
    outputs: VecDeque<AgentOutput>,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    Recording { until: Now },
    Done,
}

/// What the writer is told.
#[derive(Debug)]
enum Line {
    Sound {
        track: Track,
        at: usize,
        frame: [u8; FRAME],
    },
    Note(Value),
}

impl Recorder {
    /// Opens the files, and leaves them to a thread.
    pub(super) fn start(dir: &Path, longest: Duration, facts: &CallFacts) -> Result<Self, String> {
        let UnixMillis(now) = wall_now();
        let call: String = facts
            .call
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .take(64)
            .collect();
        let name = format!("{now}-{call}.wav");
        let sheet = Sheet::create(&dir.join(&name))
            .map_err(|error| format!("the recording cannot be kept: {error}"))?;
        let (lines, taken) = mpsc::channel(QUEUE);
        tokio::task::spawn_blocking(move || write(sheet, taken));
        let mut recorder = Self {
            lines,
            name,
            longest,
            stage: Stage::Waiting,
            task: facts.input.task_name.clone(),
            origin: None,
            position_ms: 0,
            lost: 0,
            outputs: VecDeque::new(),
        };
        recorder.note(json!({
            "event": "start", "unixMs": now, "transferId": facts.transfer.as_str(),
            "from": facts.from, "to": facts.to, "resume": facts.resume,
        }));
        Ok(recorder)
    }

    fn note(&mut self, mut line: Value) {
        if let Some(line) = line.as_object_mut() {
            line.insert("ms".to_owned(), json!(self.position_ms));
        }
        self.post(Line::Note(line));
    }

    fn post(&mut self, line: Line) {
        if self.lines.try_send(line).is_err() {
            self.lost += 1;
            metrics::counter!("handback_recording_lost_total").increment(1);
            if self.lost == 1 {
                tracing::warn!(
                    file = self.name,
                    "the disk does not keep up with a recording"
                );
            }
        }
    }

    fn heard(&mut self, track: Track, timestamp_ms: u64, audio: &[u8]) {
        let origin = *self.origin.get_or_insert(timestamp_ms);
        let ms = timestamp_ms.saturating_sub(origin);
        self.position_ms = self.position_ms.max(ms + 20);
        let mut frame = [0xff; FRAME];
        let length = audio.len().min(FRAME);
        frame[..length].copy_from_slice(&audio[..length]);
        let at = usize::try_from(ms).unwrap_or(usize::MAX / 8) * 8;
        if ms < LONGEST.as_millis() as u64 * 5 {
            self.post(Line::Sound { track, at, frame });
        }
    }

    fn complete(&mut self, reason: &str) {
        if !matches!(self.stage, Stage::Recording { .. }) {
            return;
        }
        self.stage = Stage::Done;
        let transfer_variables = Variables::from_iter([
            ("recording".to_owned(), json!(self.name)),
            ("recordedMs".to_owned(), json!(self.position_ms)),
            ("reason".to_owned(), json!(reason)),
        ]);
        let output = OutputContext {
            transfer_type: TransferType::System,
            current_task_name: self.task.clone(),
            reference_variables: Variables::new(),
            transfer_variables,
        };
        self.outputs
            .push_back(AgentOutput::Event(AgentEvent::Complete {
                id: None,
                output: Ok(output),
                when: When::Drained,
            }));
    }
}

impl Agent for Recorder {
    fn handle_input(&mut self, _now: Now, input: AgentInput<'_>) {
        match input {
            AgentInput::Heard {
                track,
                timestamp_ms,
                frame,
            } => self.heard(track, timestamp_ms, frame),
            AgentInput::Dtmf { digit } => {
                // digits are no matter for a log, so only that there was one
                self.note(json!({ "event": "dtmf" }));
                if digit == '#' {
                    self.complete("hash");
                }
            }
            AgentInput::MarkPlayed { name, played, .. } => {
                self.note(json!({ "event": "mark", "name": name, "played": played }))
            }
            AgentInput::Phase { phase, method } => {
                let phase = match phase {
                    Phase::Agent => "agent",
                    Phase::HandingBack => "handing_back",
                    Phase::Bridged => "bridged",
                    Phase::Ended => "ended",
                };
                self.note(json!({ "event": "phase", "phase": phase, "method": method }));
            }
            AgentInput::TransferResult { outcome, code } => {
                let status = match outcome {
                    TransferOutcome::Trying => "trying",
                    TransferOutcome::Answered => "answered",
                    TransferOutcome::Failed => "failed",
                };
                self.note(json!({ "event": "transferResult", "status": status, "code": code }));
            }
            AgentInput::Completed {
                accepted, error, ..
            } => self.note(json!({ "event": "completed", "accepted": accepted, "error": error })),
            AgentInput::Stop => {
                self.stage = Stage::Done;
                self.outputs.clear();
                let lost = self.lost;
                self.note(json!({ "event": "stop", "lost": lost }));
            }
            AgentInput::Flow { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        match self.stage {
            Stage::Waiting => {
                self.stage = Stage::Recording {
                    until: now + self.longest,
                }
            }
            Stage::Recording { until } if until <= now => self.complete("longest"),
            Stage::Recording { .. } | Stage::Done => {}
        }
    }

    fn poll_output(&mut self) -> Option<AgentOutput> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Now> {
        match self.stage {
            Stage::Waiting => Some(Now::ZERO),
            Stage::Recording { until } => Some(until),
            Stage::Done => None,
        }
    }
}

/// The two files.
struct Sheet {
    wav: WavWriter<BufWriter<File>>,
    notes: BufWriter<File>,
    /// Frames not written yet, left and right, from `written` on.
    pending: VecDeque<(i16, i16)>,
    written: usize,
    since_renewed: usize,
}

impl Sheet {
    fn create(path: &Path) -> std::io::Result<Self> {
        let spec = WavSpec {
            channels: 2,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let notes: PathBuf = path.with_extension("jsonl");
        Ok(Self {
            wav: WavWriter::create(path, spec).map_err(std::io::Error::other)?,
            notes: BufWriter::new(File::create(notes)?),
            pending: VecDeque::new(),
            written: 0,
            since_renewed: 0,
        })
    }

    fn take(&mut self, line: Line) -> Result<(), hound::Error> {
        match line {
            Line::Note(note) => {
                writeln!(self.notes, "{note}")?;
                self.notes.flush()?;
            }
            Line::Sound { track, at, frame } => {
                let end = at + FRAME;
                // one second is kept open for the other track
                self.write_to(end.saturating_sub(RENEWED))?;
                let Some(end) = end.checked_sub(self.written) else {
                    return Ok(());
                };
                if self.pending.len() < end {
                    self.pending.resize(end, (0, 0));
                }
                let start = end.saturating_sub(FRAME);
                for (sample, byte) in self.pending.range_mut(start..end).zip(frame) {
                    match track {
                        Track::Inbound => sample.0 = decode_ulaw(byte),
                        Track::Outbound => sample.1 = decode_ulaw(byte),
                    }
                }
            }
        }
        Ok(())
    }

    fn write_to(&mut self, end: usize) -> Result<(), hound::Error> {
        while self.written < end {
            let (left, right) = self.pending.pop_front().unwrap_or_default();
            self.wav.write_sample(left)?;
            self.wav.write_sample(right)?;
            self.written += 1;
            self.since_renewed += 1;
        }
        if self.since_renewed >= RENEWED {
            // so that the file is whole up to here if the process ends
            self.since_renewed = 0;
            self.wav.flush()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), hound::Error> {
        self.write_to(self.written + self.pending.len())?;
        self.wav.finalize()
    }
}

fn write(mut sheet: Sheet, mut lines: mpsc::Receiver<Line>) {
    while let Some(line) = lines.blocking_recv() {
        if let Err(error) = sheet.take(line) {
            tracing::warn!(%error, "a recording cannot be written");
            return;
        }
    }
    if let Err(error) = sheet.finish() {
        tracing::warn!(%error, "a recording cannot be finished");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::facts;

    fn hear(recorder: &mut Recorder, track: Track, timestamp_ms: u64, fill: u8) {
        let frame = &[fill; FRAME];
        recorder.handle_input(
            Now::from_millis(timestamp_ms),
            AgentInput::Heard {
                track,
                timestamp_ms,
                frame,
            },
        );
    }

    #[test]
    fn both_parties_are_kept_in_their_places_and_hash_completes() {
        let dir = std::env::temp_dir().join(format!("handback-record-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let name = runtime.block_on(async {
            let mut recorder = Recorder::start(&dir, LONGEST, &facts()).unwrap();
            recorder.handle_timeout(Now::ZERO);
            for n in 0..100 {
                hear(&mut recorder, Track::Inbound, 5000 + n * 20, 0x10);
            }
            // the other party joins after half a second, and a frame of the caller is missing
            for n in 102..150 {
                hear(&mut recorder, Track::Inbound, 5000 + n * 20, 0x10);
                hear(&mut recorder, Track::Outbound, 5000 + n * 20, 0x90);
            }
            recorder.handle_input(Now::ZERO, AgentInput::Dtmf { digit: '#' });
            let Some(AgentOutput::Event(AgentEvent::Complete { output, .. })) =
                recorder.poll_output()
            else {
                panic!("not completed")
            };
            assert_eq!(
                output.unwrap().transfer_variables["recordedMs"],
                json!(3000)
            );
            recorder.handle_input(Now::ZERO, AgentInput::Stop);
            recorder.name.clone()
        });
        // waits for the writer
        drop(runtime);
        let path = dir.join(name);
        let mut reader = hound::WavReader::open(&path).unwrap();
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        let notes = std::fs::read_to_string(path.with_extension("jsonl")).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(samples.len(), 2 * 24_000);
        let at = |ms: usize| (samples[ms * 16], samples[ms * 16 + 1]);
        let loud = decode_ulaw(0x10);
        assert_eq!(at(1990), (loud, 0));
        assert_eq!(at(2010), (0, 0), "the missing frames are silence");
        assert_eq!(at(2050), (loud, -loud));
        let events: Vec<Value> = notes
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let names: Vec<&str> = events
            .iter()
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["start", "dtmf", "stop"]);
        assert_eq!(events[2]["ms"], 3000);
    }
}
