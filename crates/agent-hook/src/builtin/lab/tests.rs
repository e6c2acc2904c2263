use super::*;
use serde_json::json;

const LOUD: [u8; 160] = [0x10; 160];
const QUIET: [u8; 160] = [0xff; 160];

/// Runs the lab slot by slot as a shard does, playing its audio in virtual time.
struct Run {
    lab: Lab,
    now: Now,
    /// Bytes and marks that are queued.
    queue: VecDeque<AgentOutput>,
    /// Bytes heard that were spoken back.
    echoed: usize,
    log: Vec<String>,
    said: Option<OutputContext>,
}

impl Run {
    fn with(variables: &Value) -> Self {
        let input =
            serde_json::from_value(json!({ "taskName": "pay", "inputVariables": variables }))
                .unwrap();
        let (queue, log) = (VecDeque::new(), Vec::new());
        Self {
            lab: Lab::new(&input),
            now: Now::from_millis(40),
            queue,
            echoed: 0,
            log,
            said: None,
        }
    }

    fn new() -> Self {
        Self::with(&json!({}))
    }

    /// Lets so much time pass while the caller makes this sound.
    fn hear(mut self, millis: u64, frame: [u8; 160]) -> Self {
        let until = self.now + Duration::from_millis(millis);
        while self.now < until {
            self.now += Duration::from_millis(20);
            self.play();
            self.lab.handle_input(
                self.now,
                AgentInput::Heard {
                    track: Track::Inbound,
                    timestamp_ms: 0,
                    frame: &frame,
                },
            );
            if self.lab.poll_timeout().is_some_and(|at| at <= self.now) {
                self.lab.handle_timeout(self.now);
            }
            self.drain();
        }
        self
    }

    fn press(mut self, digits: &str) -> Self {
        for digit in digits.chars() {
            self = self.hear(200, QUIET);
            self.lab.handle_input(self.now, AgentInput::Dtmf { digit });
        }
        self
    }

    /// Plays 20 ms of the queue.
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
                    self.lab.handle_input(
                        self.now,
                        AgentInput::MarkPlayed {
                            name,
                            played: true,
                            sample: 0,
                        },
                    );
                }
                AgentOutput::Clear | AgentOutput::Event(_) => unreachable!("not queued"),
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.lab.poll_output() {
            let at = self.now.as_millis();
            match output {
                AgentOutput::Audio(audio) if audio[..] == LOUD => self.echoed += 1,
                AgentOutput::Audio(_) | AgentOutput::Mark(_) => self.queue.push_back(output),
                AgentOutput::Clear => {
                    self.queue.clear();
                    self.log.push(format!("{at} clear"));
                }
                AgentOutput::Event(AgentEvent::Complete { output, when, .. }) => {
                    assert!(self.said.is_none(), "completed twice");
                    let output = output.unwrap();
                    self.log
                        .push(format!("{at} {:?} {when:?}", output.transfer_type));
                    self.said = Some(output);
                }
                AgentOutput::Event(event) => panic!("{event:?}"),
            }
        }
    }

    fn digits(&self) -> Option<&str> {
        self.said
            .as_ref()?
            .transfer_variables
            .get("digits")?
            .as_str()
    }
}

#[test]
fn lab_greets_and_then_echoes_for_two_seconds() {
    let greeting_ms = wav::greeting().len() as u64 / 8;
    let run = Run::new().hear(greeting_ms + 5_000, LOUD);
    assert!(
        (95..=101).contains(&run.echoed),
        "{} frames echoed",
        run.echoed
    );
    assert!(run.log.is_empty(), "{:?}", run.log);
}

#[test]
fn one_alone_gives_system_after_the_pause() {
    let run = Run::new().hear(500, QUIET).press("1").hear(1_400, QUIET);
    assert!(run.said.is_none());
    let run = run.hear(200, QUIET);
    assert_eq!(run.digits(), Some("1"));
    assert_eq!(run.said.unwrap().transfer_type, TransferType::System);
}

#[test]
fn hash_ends_the_digits_at_once_and_is_not_one_of_them() {
    let run = Run::new().hear(500, QUIET).press("1234#").hear(20, QUIET);
    assert_eq!(run.digits(), Some("1234"));
    assert_eq!(run.log, ["760 clear", "1560 System Drained"]);
}

#[test]
fn zero_first_gives_agent_at_once_and_zero_later_is_a_digit() {
    let run = Run::new().hear(500, QUIET).press("0").hear(20, QUIET);
    assert_eq!(run.said.unwrap().transfer_type, TransferType::Agent);
    let run = Run::new().hear(500, QUIET).press("10#").hear(20, QUIET);
    assert_eq!(run.digits(), Some("10"));
}

#[test]
fn sequence_without_a_one_is_forgotten() {
    let run = Run::new()
        .hear(500, QUIET)
        .press("55")
        .hear(1_600, QUIET)
        .press("21#")
        .hear(20, QUIET);
    assert_eq!(run.digits(), Some("21"));
}

#[test]
fn ten_seconds_of_silence_give_agent() {
    let run = Run::new().hear(10_100, QUIET);
    assert_eq!(run.log, ["10060 Agent Drained"]);
}

#[test]
fn voice_puts_the_end_off() {
    let run = Run::new()
        .hear(9_000, QUIET)
        .hear(1_000, LOUD)
        .hear(9_900, QUIET);
    assert!(run.said.is_none());
    assert!(run.hear(200, QUIET).said.is_some());
}

#[test]
fn lab_completes_by_itself_after_the_time_asked_for() {
    for asked in [json!(700), json!("700")] {
        let run = Run::with(&json!({ "lab_complete_after_ms": asked })).hear(1_000, QUIET);
        assert_eq!(run.log, ["760 clear", "760 System Now"]);
    }
}

#[test]
fn completing_by_itself_wins_over_keys_being_pressed() {
    let run = Run::with(&json!({ "lab_complete_after_ms": 1000 }))
        .hear(500, QUIET)
        .press("12")
        .hear(200, QUIET);
    assert_eq!(run.digits(), Some("12"));
    assert_eq!(run.log.last().unwrap(), "1060 System Now");
}

#[test]
fn task_and_input_variables_come_back_as_they_were() {
    let variables = json!({ "b": 1.50, "a": { "deep": [true, null] }, "c": "x" });
    let run = Run::with(&variables).press("1#").hear(20, QUIET);
    let output = run.said.unwrap();
    assert_eq!(output.current_task_name.as_deref(), Some("pay"));
    assert_eq!(
        serde_json::to_string(&output.reference_variables).unwrap(),
        variables.to_string()
    );
}

#[test]
fn stopped_lab_says_nothing_more() {
    let mut run = Run::new().hear(500, QUIET).press("1");
    run.lab.handle_input(run.now, AgentInput::Stop);
    let run = run.hear(20_000, QUIET);
    assert!(run.said.is_none());
    assert_eq!(run.lab.poll_timeout(), None);
}
