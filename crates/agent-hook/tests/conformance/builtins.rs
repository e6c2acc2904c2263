//! The cases of `wires.rs` on the agents that nobody can tell what to do: they are brought to it by
//! what they hear, and a dialogue in YAML by its text.

use agent_hook::{AgentEvent, AgentInput, AgentOutput};
use call_control::transfer::{OutputContext, TransferType};

use crate::links::{BUILTINS, Link, Subject, connected, dialogue};
use crate::scratch::Scratch;

const QUIET: [u8; 160] = [0xff; 160];

/// Everything that the agent wants in so many slots, its hello left out.
fn wants(subject: &mut Subject, slots: usize) -> Vec<AgentOutput> {
    let mut outputs = Vec::new();
    for _ in 0..slots {
        subject.slot(&QUIET, None);
        while let Some(output) = subject.agent.poll_output() {
            if !matches!(output, AgentOutput::Event(AgentEvent::Hello { .. })) {
                outputs.push(output);
            }
        }
    }
    outputs
}

fn audio(outputs: &[AgentOutput]) -> Vec<u8> {
    let parts = outputs.iter().filter_map(|output| match output {
        AgentOutput::Audio(audio) => Some(audio.to_vec()),
        AgentOutput::Mark(_) | AgentOutput::Clear | AgentOutput::Event(_) => None,
    });
    parts.flatten().collect()
}

/// The marks wanted are reported as the play-out does.
fn reach_marks(subject: &mut Subject, outputs: &[AgentOutput], played: bool) {
    for output in outputs {
        if let AgentOutput::Mark(name) = output {
            subject.tell(AgentInput::MarkPlayed {
                name: name.clone(),
                played,
                sample: 0,
            });
        }
    }
}

fn result(outputs: &[AgentOutput]) -> Option<OutputContext> {
    outputs.iter().find_map(|output| match output {
        AgentOutput::Event(AgentEvent::Complete { output, .. }) => output.clone().ok(),
        AgentOutput::Audio(_)
        | AgentOutput::Mark(_)
        | AgentOutput::Clear
        | AgentOutput::Event(_) => None,
    })
}

/// What the agent wants, its prompts heard to their end.
fn wants_hearing_prompts(subject: &mut Subject, slots: usize) -> Vec<AgentOutput> {
    let mut all = Vec::new();
    for _ in 0..slots {
        let outputs = wants(subject, 1);
        reach_marks(subject, &outputs, true);
        all.extend(outputs);
    }
    all
}

#[tokio::test]
async fn built_in_agent_says_hello_first_and_hears_both_parties() {
    for name in BUILTINS {
        let (mut subject, _) = connected(Link::Builtin(name)).await;
        assert_eq!(
            subject.agent.poll_output(),
            Some(AgentOutput::Event(AgentEvent::Hello { tracks: true })),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_the_agent_plays_comes_out_bit_for_bit_in_order() {
    let (mut echo, _) = connected(Link::Builtin("builtin:echo")).await;
    echo.agent.poll_output();
    for n in 0..=255_u8 {
        echo.slot(&[n; 160], None);
        let heard = AgentOutput::Audio(vec![n; 160].into());
        assert_eq!(echo.agent.poll_output(), Some(heard));
    }

    let scratch = Scratch::new();
    // no negative zero: it does not come through 16 bits
    let spoken: Vec<u8> = (0..4_000_u32)
        .map(|n| (n * 7) as u8)
        .map(|byte| if byte == 0x7f { 0xff } else { byte })
        .collect();
    scratch.prompt("hello.wav", &spoken);
    let text = "
version: 1
start: say
states:
  say: {say: hello.wav, complete: {transferType: SYSTEM}}
";
    let mut flow = dialogue(text, scratch).await;
    let outputs = wants_hearing_prompts(&mut flow, 50);
    assert!(
        audio(&outputs) == spoken,
        "the prompt is not what was in its file"
    );
    assert!(result(&outputs).is_some());
}

#[tokio::test]
async fn keys_are_heard_and_the_result_comes_with_its_variables() {
    let cases = [
        ("builtin:lab", '1', TransferType::System),
        ("builtin:lab", '0', TransferType::Agent),
        ("builtin:record", '#', TransferType::System),
        ("builtin:flow", '0', TransferType::Agent),
    ];
    for (name, digit, expected) in cases {
        let (mut subject, _) = connected(Link::Builtin(name)).await;
        let before = wants_hearing_prompts(&mut subject, 10);
        assert_eq!(result(&before), None, "{name} did not wait");
        subject.tell(AgentInput::Dtmf { digit });
        let outputs = wants_hearing_prompts(&mut subject, 300);
        let Some(output) = result(&outputs) else {
            panic!("{name}: {digit} comes to nothing")
        };
        assert_eq!(output.transfer_type, expected, "{name}");
        if name != "builtin:flow" {
            assert_eq!(output.current_task_name.as_deref(), Some("pay"), "{name}");
        }
        if name == "builtin:lab" {
            let amount = &output.reference_variables["amount"];
            assert_eq!(amount.to_string(), "12.50", "as it was written");
        }
        let completions = outputs
            .iter()
            .filter(|it| matches!(it, AgentOutput::Event(AgentEvent::Complete { .. })));
        assert_eq!(completions.count(), 1, "{name} completes more than once");
    }
}

#[tokio::test]
async fn key_that_interrupts_a_prompt_clears_what_is_queued_of_it() {
    let scratch = Scratch::new();
    scratch.prompt("long.wav", &[0x20; 40_000]);
    scratch.prompt("next.wav", &[0x30; 800]);
    let text = "
version: 1
start: greet
states:
  greet: {say: long.wav, bargein: [dtmf], next: ask}
  ask:
    say: next.wav
    collect: {dtmf: {max: 1, timeout_ms: 60000}, into: transferVariables.key}
    next: done
  done: {complete: {transferType: SYSTEM, currentTaskName: done}}
";
    let mut subject = dialogue(text, scratch).await;
    let first = wants(&mut subject, 10);
    assert!(audio(&first).starts_with(&[0x20; 160]));
    subject.tell(AgentInput::Dtmf { digit: '5' });
    let after = wants(&mut subject, 5);
    let cleared = after.iter().position(|it| *it == AgentOutput::Clear);
    let Some(at) = cleared else {
        panic!("the prompt goes on: {after:?}")
    };
    assert!(audio(&after[..at]).is_empty(), "audio before the clear");
    reach_marks(&mut subject, &first, false);
    reach_marks(&mut subject, &after, true);
    let mut outputs = after;
    outputs.extend(wants_hearing_prompts(&mut subject, 200));
    let output = result(&outputs).unwrap();
    assert_eq!(output.transfer_variables["key"], "5", "the key counts");
    assert!(
        !audio(&outputs).contains(&0x20),
        "the prompt is taken up again"
    );
}

#[tokio::test]
async fn speech_that_interrupts_a_prompt_clears_it() {
    let scratch = Scratch::new();
    scratch.prompt("long.wav", &[0x20; 80_000]);
    let text = "
version: 1
start: greet
states:
  greet:
    say: long.wav
    bargein: [speech]
    collect: {speech: {min_ms: 250, end_ms: 300, max_ms: 4000}}
    on:
      speech: {complete: {transferType: SYSTEM, currentTaskName: spoke}}
      timeout: {complete: {transferType: AGENT}}
";
    let mut subject = dialogue(text, scratch).await;
    let speech = include_bytes!("../../../handback/assets/speech.wav");
    let speech = agent_hook::sound::decode_wav(speech).unwrap();
    let mut outputs = wants(&mut subject, 5);
    for frame in speech.chunks_exact(160).take(200) {
        subject.slot(frame.try_into().unwrap(), None);
        while let Some(output) = subject.agent.poll_output() {
            outputs.push(output);
        }
    }
    assert!(
        outputs.contains(&AgentOutput::Clear),
        "speech does not interrupt"
    );
    outputs.extend(wants_hearing_prompts(&mut subject, 100));
    let output = result(&outputs).unwrap();
    assert_eq!(output.current_task_name.as_deref(), Some("spoke"));
}

#[tokio::test]
async fn wrong_result_of_a_dialogue_is_refused_when_it_is_loaded() {
    let scratch = Scratch::new();
    let text = "
version: 1
start: done
states:
  done: {complete: {transferType: agent}}
";
    let file = scratch.write("flow.yaml", text);
    let config = agent_hook::HookConfig {
        urls: vec![format!("builtin:flow?file={}", file.display())],
        ..agent_hook::HookConfig::default()
    };
    let problem = agent_hook::Hooks::new(config).unwrap_err().to_string();
    assert!(problem.contains("flow.yaml:5:"), "{problem}");
    assert!(
        problem.contains("transferType") || problem.contains("AGENT"),
        "{problem}"
    );
}

#[tokio::test]
async fn recording_has_both_parties_and_is_whole_after_the_stop() {
    let (mut subject, _) = connected(Link::Builtin("builtin:record")).await;
    for n in 0..50_u8 {
        subject.slot(&[0x10 + n; 160], Some(&[0x90 + n; 160]));
    }
    subject.tell(AgentInput::Stop);
    // as a shard does with an agent that it has stopped
    let Subject { agent, scratch, .. } = subject;
    drop(agent);
    let folder = scratch.path();
    let whole = async {
        loop {
            let files = std::fs::read_dir(folder)
                .unwrap()
                .map(|it| it.unwrap().path());
            let wav = files
                .filter(|path| path.extension().is_some_and(|it| it == "wav"))
                .find(|path| std::fs::metadata(path).unwrap().len() == 44 + 50 * 160 * 4);
            match wav {
                Some(wav) => return std::fs::read(wav).unwrap(),
                None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    };
    let file = tokio::time::timeout(crate::links::PATIENCE, whole)
        .await
        .expect("the recording is not whole");
    let samples: Vec<i16> = file[44..]
        .chunks_exact(2)
        .map(|it| i16::from_le_bytes([it[0], it[1]]))
        .collect();
    // µ-law with the sign bit turned is the same with the other sign
    assert!(samples.chunks_exact(2).all(|pair| pair[0] == -pair[1]));
}
