//! What holds for every agent, even one that nobody scripts.

use agent_hook::{AgentEvent, AgentInput, AgentOutput, Phase, TransferOutcome};

use crate::links::{ALL, Subject, connected};

const QUIET: [u8; 160] = [0xff; 160];

/// Everything that a shard may tell an agent.
fn everything() -> Vec<AgentInput<'static>> {
    vec![
        AgentInput::MarkPlayed {
            name: "nobody's".to_owned(),
            played: true,
            sample: 1,
        },
        AgentInput::Flow {
            hold: true,
            queued_ms: 30_000,
        },
        AgentInput::Flow {
            hold: false,
            queued_ms: 0,
        },
        AgentInput::Completed {
            id: None,
            accepted: false,
            error: Some("no".to_owned()),
        },
        AgentInput::TransferResult {
            outcome: TransferOutcome::Failed,
            code: Some(486),
        },
        AgentInput::Phase {
            phase: Phase::HandingBack,
            method: Some("REFER"),
        },
        AgentInput::Phase {
            phase: Phase::Bridged,
            method: Some("INVITE"),
        },
        AgentInput::Phase {
            phase: Phase::Agent,
            method: None,
        },
    ]
}

fn drain(subject: &mut Subject) -> Vec<AgentOutput> {
    let mut outputs = Vec::new();
    while let Some(output) = subject.agent.poll_output() {
        outputs.push(output);
        assert!(outputs.len() < 10_000, "the agent never comes to an end");
    }
    outputs
}

#[tokio::test]
async fn agent_takes_everything_that_may_happen_in_any_order() {
    for link in ALL {
        let (mut subject, _far) = connected(link).await;
        for round in 0..3 {
            for input in everything() {
                subject.tell(input);
                subject.slot(&QUIET, (round == 1).then_some(&QUIET));
                drain(&mut subject);
            }
        }
    }
}

#[tokio::test]
async fn nothing_follows_a_stop() {
    for link in ALL {
        let (mut subject, _far) = connected(link).await;
        for _ in 0..10 {
            subject.slot(&QUIET, None);
        }
        subject.tell(AgentInput::Stop);
        for _ in 0..100 {
            subject.slot(&[0x20; 160], None);
            subject.tell(AgentInput::Dtmf { digit: '0' });
            assert_eq!(drain(&mut subject), [], "{link:?} speaks after its end");
        }
        subject.tell(AgentInput::Stop);
        assert_eq!(drain(&mut subject), [], "{link:?}");
    }
}

#[tokio::test]
async fn agent_wants_a_bounded_amount_in_a_slot_and_never_blocks() {
    for link in ALL {
        let (mut subject, _far) = connected(link).await;
        let begun = std::time::Instant::now();
        let mut bytes = 0;
        for _ in 0..500 {
            subject.slot(&[0x35; 160], None);
            for output in drain(&mut subject) {
                if let AgentOutput::Audio(audio) = output {
                    bytes += audio.len();
                }
            }
        }
        // ten seconds of call, and what may be said ahead of it
        assert!(bytes <= 500 * 160 + 64_000, "{link:?}: {bytes} bytes");
        let took = begun.elapsed().as_millis();
        assert!(took < 5_000, "{link:?} took {took} ms for 500 slots");
    }
}

#[tokio::test]
async fn agent_that_was_not_scripted_does_not_close_by_itself() {
    for link in ALL {
        let (mut subject, _far) = connected(link).await;
        for _ in 0..50 {
            subject.slot(&QUIET, None);
            let closed = drain(&mut subject)
                .iter()
                .any(|output| matches!(output, AgentOutput::Event(AgentEvent::Closed { .. })));
            assert!(!closed, "{link:?}");
        }
    }
}
