//! Flows on virtual time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use call_control::transfer::OutputContext;
use serde_json::{Value, json};
use timebase::Now;

use super::load::read;
use super::{Dialogue, Flow};
use crate::agent::{Agent, AgentEvent, AgentInput, AgentOutput, Phase, Track};
use crate::builtin::wav;
use crate::facts::tests::facts;

const SILENCE: [u8; 160] = [0xff; 160];

/// The flow of the specification.
const EXAMPLE: &str = r##"
version: 1
start: greet
prompts: {dir: prompts}
states:
  greet: {say: greet.wav, bargein: [dtmf, speech], next: menu}
  menu:
    say: menu.wav
    collect: {dtmf: {max: 1, timeout_ms: 5000}, speech: {min_ms: 250, end_ms: 700, max_ms: 8000}}
    on:
      "1": {set: {referenceVariables.topic: billing}, goto: account}
      "0": {complete: {transferType: AGENT, currentTaskName: "${taskName}"}}
      speech: {goto: account}
      timeout: {retry: 2, say: sorry.wav, else: fail}
  account:
    say: account.wav
    collect: {dtmf: {min: 4, max: 4, end: "#", inter_digit_ms: 3000}, into: referenceVariables.account}
    next: done
  done: {say: thanks.wav, complete: {transferType: SYSTEM, currentTaskName: done}}
  fail: {complete: {transferType: AGENT, transferVariables: {reason: no_input}}}
"##;

/// Prompts of a tenth of a second each, which are told apart by their samples.
const PROMPTS: [&str; 6] = ["greet", "menu", "sorry", "account", "thanks", "other"];

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("handback-flow-{}", std::process::id()));
    let prompts = folder.join("prompts");
    std::fs::create_dir_all(&prompts).unwrap();
    for (n, name) in PROMPTS.iter().enumerate() {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x20\x03\0\0".to_vec();
        file.extend([0x20 + n as u8; 800]);
        // whole at once, since tests run beside each other
        let draft = prompts.join(format!("{name}-{:08x}", rand::random::<u32>()));
        std::fs::write(&draft, file).unwrap();
        std::fs::rename(draft, prompts.join(format!("{name}.wav"))).unwrap();
    }
    folder.join("flow.yaml")
}

fn flow(text: &str) -> Flow {
    read(text, &folder()).unwrap_or_else(|error| panic!("{error}"))
}

/// The findings, without the file's name.
fn findings(text: &str) -> Vec<String> {
    let file = folder();
    let prefix = format!("{}:", file.display());
    let error = read(text, &file)
        .expect_err("nothing was found")
        .to_string();
    error
        .lines()
        .map(|line| line.strip_prefix(&prefix).unwrap_or(line).to_owned())
        .collect()
}

/// A call with a flow, slot by slot.
struct Run {
    agent: Dialogue,
    now: Now,
    queue: VecDeque<AgentOutput>,
    log: Vec<String>,
    said: Option<OutputContext>,
}

impl Run {
    fn new(text: &str) -> Self {
        let mut facts = facts();
        facts.input = serde_json::from_value(json!({
            "taskName": "pay", "inputVariables": { "limit": 3 },
        }))
        .unwrap();
        Self {
            agent: Dialogue::new(Arc::new(flow(text)), &facts),
            now: Now::ZERO,
            queue: VecDeque::new(),
            log: Vec::new(),
            said: None,
        }
    }

    fn wait(self, millis: u64) -> Self {
        self.hear(millis, |_| SILENCE)
    }

    fn speak(self, millis: u64) -> Self {
        let speech = wav::greeting();
        self.hear(millis, |n| {
            let mut frame = SILENCE;
            let start = (n * 160) % (speech.len() - 160);
            frame.copy_from_slice(&speech[start..start + 160]);
            frame
        })
    }

    fn hear(mut self, millis: u64, sound: impl Fn(usize) -> [u8; 160]) -> Self {
        for n in 0..millis / 20 {
            self.now += Duration::from_millis(20);
            self.play();
            let frame = &sound(n as usize);
            let timestamp_ms = self.now.as_millis();
            let track = Track::Inbound;
            self.tell(AgentInput::Heard {
                track,
                timestamp_ms,
                frame,
            });
            if self.agent.poll_timeout().is_some_and(|at| at <= self.now) {
                self.agent.handle_timeout(self.now);
            }
            self.drain();
        }
        self
    }

    fn tell(&mut self, input: AgentInput<'_>) {
        self.agent.handle_input(self.now, input);
        self.drain();
    }

    fn press(mut self, keys: &str) -> Self {
        for digit in keys.chars() {
            self.tell(AgentInput::Dtmf { digit });
            self = self.wait(100);
        }
        self
    }

    fn play(&mut self) {
        let mut left = 160;
        while let Some(output) = self.queue.pop_front() {
            match output {
                AgentOutput::Audio(mut audio) if audio.len() > left => {
                    bytes::Buf::advance(&mut audio, left);
                    self.queue.push_front(AgentOutput::Audio(audio));
                    return;
                }
                AgentOutput::Audio(audio) => left -= audio.len(),
                AgentOutput::Mark(name) => {
                    let (played, sample) = (true, 0);
                    self.tell(AgentInput::MarkPlayed {
                        name,
                        played,
                        sample,
                    });
                }
                AgentOutput::Clear | AgentOutput::Event(_) => unreachable!("not queued"),
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            let at = self.now.as_millis();
            match output {
                AgentOutput::Audio(ref audio) => {
                    let name = PROMPTS[usize::from(audio[0] - 0x20)];
                    self.log.push(format!("{at} say {name}"));
                    self.queue.push_back(output);
                }
                AgentOutput::Mark(_) => self.queue.push_back(output),
                AgentOutput::Clear => {
                    self.queue.clear();
                    self.log.push(format!("{at} clear"));
                }
                AgentOutput::Event(AgentEvent::Update(_)) => self.log.push(format!("{at} update")),
                AgentOutput::Event(AgentEvent::Complete { output, .. }) => {
                    let output = output.unwrap();
                    self.log.push(format!("{at} {:?}", output.transfer_type));
                    self.said = Some(output);
                }
                AgentOutput::Event(event) => panic!("{event:?}"),
            }
        }
    }

    fn result(&self) -> Value {
        serde_json::to_value(self.said.as_ref().expect("not completed")).unwrap()
    }
}

#[test]
fn flow_of_the_specification_collects_and_completes() {
    let run = Run::new(EXAMPLE)
        .wait(300)
        .press("1")
        .wait(200)
        .press("1234")
        .wait(300);
    assert_eq!(
        run.log,
        [
            "20 say greet",
            "120 say menu",
            "300 update",
            "300 say account",
            "900 update",
            "900 say thanks",
            "1000 System",
        ]
    );
    assert_eq!(
        run.result(),
        json!({
            "transferType": "SYSTEM", "currentTaskName": "done",
            "referenceVariables": { "topic": "billing", "account": "1234" },
            "transferVariables": {},
        })
    );
}

#[test]
fn key_that_completes_takes_the_task_of_the_input() {
    let run = Run::new(EXAMPLE).wait(300).press("0");
    assert_eq!(run.result()["transferType"], "AGENT");
    assert_eq!(run.result()["currentTaskName"], "pay");
}

#[test]
fn caller_who_does_nothing_is_asked_three_times_and_given_to_a_person() {
    let run = Run::new(EXAMPLE).wait(20_000);
    let asked = run.log.iter().filter(|line| line.ends_with("menu")).count();
    let sorry = run
        .log
        .iter()
        .filter(|line| line.ends_with("sorry"))
        .count();
    assert_eq!((asked, sorry), (3, 2), "{:?}", run.log);
    assert_eq!(
        run.result()["transferVariables"],
        json!({ "reason": "no_input" })
    );
}

#[test]
fn key_interrupts_a_prompt_that_allows_it_and_counts_in_the_next_state() {
    let run = Run::new(EXAMPLE).wait(60).press("0").wait(200);
    assert_eq!(
        run.log,
        ["20 say greet", "60 clear", "60 say menu", "160 Agent"]
    );
}

#[test]
fn key_during_a_prompt_that_may_not_be_interrupted_counts_when_it_is_over() {
    let run = Run::new(EXAMPLE).wait(160).press("0").wait(200);
    assert_eq!(run.log, ["20 say greet", "120 say menu", "220 Agent"]);
}

#[test]
fn speech_interrupts_and_speech_is_an_input() {
    let long = EXAMPLE.replace("say: greet.wav", "say: [greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav, greet.wav]");
    let run = Run::new(&long).wait(100).speak(1500).wait(2000);
    let log = run.log.join(", ");
    assert!(log.contains("clear") && log.contains("say menu"), "{log}");
    let run = Run::new(EXAMPLE).wait(300).speak(1500).wait(1000);
    assert_eq!(
        run.log.last().map(|line| line.split_once(' ').unwrap().1),
        Some("say account")
    );
    let at: u64 = run
        .log
        .last()
        .unwrap()
        .split_once(' ')
        .unwrap()
        .0
        .parse()
        .unwrap();
    assert!(
        (2200..=2700).contains(&at),
        "700 ms after the last word: {at}"
    );
}

#[test]
fn caller_who_is_speaking_is_not_timed_out() {
    let run = Run::new(EXAMPLE).wait(4500).speak(3000).wait(1000);
    assert!(
        !run.log.iter().any(|line| line.contains("sorry")),
        "{:?}",
        run.log
    );
}

#[test]
fn pause_between_keys_and_the_end_key_end_a_sequence() {
    let text = r##"
version: 1
start: a
states:
  a:
    collect: {dtmf: {min: 2, max: 8, end: "#", inter_digit_ms: 1000}, into: transferVariables.keys}
    on:
      "42": {complete: {transferType: SYSTEM, transferVariables: {exactly: "${digits}"}}}
      digits: {complete: {transferType: SYSTEM, transferVariables: {other: "${collected.a}", limit: "${inputVariables.limit}"}}}
      invalid: {complete: {transferType: AGENT, currentTaskName: "bad ${digits}"}}
"##;
    let result = |keys: &str, wait| Run::new(text).wait(40).press(keys).wait(wait).result();
    assert_eq!(
        result("42#", 40)["transferVariables"],
        json!({ "keys": "42", "exactly": "42" })
    );
    let other = json!({ "keys": "123", "other": "123", "limit": 3 });
    assert_eq!(result("123", 1100)["transferVariables"], other);
    assert_eq!(result("1#", 40)["currentTaskName"], "bad ");
    assert_eq!(
        result("12345678", 0)["transferVariables"]["other"],
        "12345678"
    );
}

#[test]
fn input_that_leads_nowhere_is_asked_for_again_before_a_person_comes() {
    let text = "version: 1\nstart: a\nstates:\n  a: {collect: {dtmf: {max: 1}}, on: {\"1\": {complete: {transferType: SYSTEM}}}}\n";
    let run = Run::new(text).wait(40).press("55").press("5");
    assert_eq!(run.result()["transferVariables"]["reason"], "invalid_input");
    let run = Run::new(text).wait(16_000);
    assert_eq!(run.result()["transferVariables"]["reason"], "no_input");
    assert_eq!(
        Run::new(text).wait(40).press("51").result()["transferType"],
        "SYSTEM"
    );
}

#[test]
fn refused_result_gives_the_caller_to_a_person_once() {
    let mut run = Run::new(EXAMPLE).wait(300).press("0");
    let refuse = || AgentInput::Completed {
        id: None,
        accepted: false,
        error: Some("too large".to_owned()),
    };
    run.tell(refuse());
    assert_eq!(
        run.result()["transferVariables"],
        json!({ "reason": "result_refused" })
    );
    let lines = run.log.len();
    run.tell(refuse());
    assert_eq!(run.log.len(), lines);
}

#[test]
fn caller_who_comes_back_begins_again() {
    let mut run = Run::new(EXAMPLE).wait(300).press("0");
    let phase = |phase| AgentInput::Phase {
        phase,
        method: None,
    };
    run.tell(phase(Phase::HandingBack));
    run.tell(phase(Phase::Agent));
    assert!(
        run.log.last().unwrap().ends_with("say greet"),
        "{:?}",
        run.log
    );
    run.tell(AgentInput::Stop);
    assert!(run.wait(20_000).log.last().unwrap().ends_with("say greet"));
}

/// Flows with a mistake, and what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "version: 1\nstart: a\nstates:\n  a:\n    sya: x\n",
        "5:5: unknown field `sya`",
    ),
    (
        "version: 2\nstart: a\nstates:\n  a: {next: a}\n",
        "1:10: version must be 1",
    ),
    (
        "version: 1\nstart: b\nstates:\n  a: {next: c}\n",
        "2:8: there is no state \"b\"",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a:\n    next: c\n",
        "5:11: there is no state \"c\"",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {complete: {transferType: AGENT}}\n  b: {next: a}\n",
        "5:1: state \"b\" is never reached",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {next: b}\n  b: {next: a}\n",
        "loop without input: a → b → a",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {collect: {dtmf: {}}, on: {timeout: {goto: a}}}\n",
        "4:1: loop without input: a → a",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {say: gone.wav, complete: {transferType: AGENT}}\n",
        "gone.wav: ",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {say: hello, complete: {transferType: AGENT}}\n",
        "neither voice nor command",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {complete: {transferType: agent}}\n",
        "neither AGENT nor SYSTEM",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {say: x.wav}\n",
        "leads nowhere",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {set: {x: 1}, complete: {transferType: AGENT}}\n",
        "4:13: \"x\" cannot be set",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {complete: {transferType: AGENT, currentTaskName: \"${nope}\"}}\n",
        "${nope} is not known",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {collect: {dtmf: {max: 1}}, on: {\"12\": {goto: a}}}\n",
        "cannot be collected",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {collect: {dtmf: {max: 1}}, on: {speech: {goto: a}}}\n",
        "speech is not collected",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {collect: {speech: {}, into: referenceVariables.x}, next: a}\n",
        "into needs dtmf",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {collect: {dtmf: {min: 5, max: 4}}, next: a}\n",
        "min 5 is above max 4",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {on: {timeout: {goto: a}}}\n",
        "on needs collect",
    ),
    (
        "version: 1\nstart: a\nprompts: {voice: siri}\nstates:\n  a: {complete: {transferType: AGENT}}\n",
        "3:18: voice \"siri\"",
    ),
    (
        "version: 1\nstart: a\nstates:\n  a: {next: a}\n  a: {next: a}\n",
        "5:3: duplicate",
    ),
    ("version: 1\nstates: [\n", ""),
];

#[test]
fn what_is_wrong_in_a_flow_is_said_with_its_line() {
    for (text, expected) in MISTAKES {
        let findings = findings(text);
        assert!(
            findings.iter().any(|finding| finding.contains(expected)),
            "{text}: {findings:?}"
        );
    }
}

#[test]
fn everything_wrong_is_said_at_once_in_the_order_of_the_file() {
    let text = EXAMPLE
        .replace("next: menu", "next: manu")
        .replace("goto: account", "goto: acount");
    let lines: Vec<u64> = findings(&text)
        .iter()
        .map(|finding| finding.split(':').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(lines, [6, 11, 13]);
}

#[test]
fn file_that_is_not_there_is_named() {
    let error = super::load(Path::new("/nonexistent/flow.yaml"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("/nonexistent/flow.yaml: "), "{error}");
}

#[test]
fn example_of_the_documentation_is_a_flow() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let flow = super::load(&root.join("docs/examples/flow/ivr.yaml"));
    assert_eq!(
        flow.map(|flow| flow.states.len())
            .map_err(|error| error.to_string()),
        Ok(5)
    );
}
