//! What an agent does at the far side of a wire comes to the same on every wire.

use agent_hook::{AgentEvent, AgentInput, AgentOutput, Phase};
use call_control::transfer::TransferType;
use serde_json::json;

use crate::far::{Act, Seen};
use crate::links::{Link, WIRES, connected};

const QUIET: [u8; 160] = [0xff; 160];

#[tokio::test]
async fn what_the_agent_plays_comes_out_bit_for_bit_in_order() {
    for link in WIRES {
        let (mut subject, far) = connected(link).await;
        let mut far = far.unwrap();
        let spoken: Vec<u8> = (0..4_000_u32).map(|n| (n * 7) as u8).collect();
        for part in spoken.chunks(333) {
            far.act(Act::Play(part.to_vec())).await;
        }
        let mut heard = Vec::new();
        while heard.len() < spoken.len() {
            let AgentOutput::Audio(audio) = subject.output().await else {
                panic!("{link:?}: not audio")
            };
            heard.extend_from_slice(&audio);
        }
        assert_eq!(heard, spoken, "{link:?}");
    }
}

#[tokio::test]
async fn caller_is_heard_frame_by_frame_and_keys_in_their_place() {
    for link in WIRES {
        let (mut subject, far) = connected(link).await;
        let mut far = far.unwrap();
        for n in 0..50_u8 {
            subject.slot(&[n; 160], None);
            if n == 20 {
                subject.tell(AgentInput::Dtmf { digit: '#' });
            }
            let Seen::Audio(inbound, other) = far.see().await else {
                panic!("{link:?}: not audio")
            };
            assert_eq!(inbound, [n; 160], "{link:?}");
            assert_eq!(other, (link == Link::Stereo).then(|| QUIET.to_vec()));
            if n == 20 {
                assert_eq!(far.see().await, Seen::Key("#".to_owned()), "{link:?}");
            }
        }
    }
}

#[tokio::test]
async fn agent_that_barges_in_clears_what_is_queued() {
    for link in WIRES {
        let (mut subject, far) = connected(link).await;
        let mut far = far.unwrap();
        far.act(Act::Play(vec![1; 800])).await;
        far.act(Act::Clear).await;
        far.act(Act::Play(vec![2; 800])).await;
        let mut wanted = Vec::new();
        while wanted.len() < 3 {
            wanted.push(subject.output().await);
        }
        let expected = [
            AgentOutput::Audio(vec![1; 800].into()),
            AgentOutput::Clear,
            AgentOutput::Audio(vec![2; 800].into()),
        ];
        assert_eq!(wanted, expected, "{link:?}");
    }
}

#[tokio::test]
async fn result_comes_with_its_variables() {
    for link in WIRES {
        let (mut subject, far) = connected(link).await;
        let mut far = far.unwrap();
        let context = json!({
            "transferType": "SYSTEM",
            "currentTaskName": "pay",
            "referenceVariables": { "order": { "id": 7 } },
            "transferVariables": { "amount": "12.50" },
        });
        far.act(Act::Complete(context)).await;
        let AgentEvent::Complete {
            output: Ok(output), ..
        } = subject.event().await
        else {
            panic!("{link:?}: no result")
        };
        assert_eq!(output.transfer_type, TransferType::System, "{link:?}");
        assert_eq!(output.current_task_name.as_deref(), Some("pay"));
        assert_eq!(output.reference_variables["order"]["id"], 7);
        assert_eq!(output.transfer_variables["amount"], "12.50");
    }
}

#[tokio::test]
async fn wrong_result_is_told_as_wrong() {
    for link in WIRES {
        let (mut subject, far) = connected(link).await;
        let mut far = far.unwrap();
        far.act(Act::Complete(json!({ "transferType": "agent" })))
            .await;
        let AgentEvent::Complete {
            output: Err(problem),
            ..
        } = subject.event().await
        else {
            panic!("{link:?}: taken")
        };
        assert!(problem.contains("transferType"), "{link:?}: {problem}");
    }
}

#[tokio::test]
async fn transcripts_are_passed_on() {
    for link in WIRES {
        let (mut subject, far) = connected(link).await;
        let mut far = far.unwrap();
        far.act(Act::Transcript("hello")).await;
        let AgentEvent::Transcript { text, is_final, .. } = subject.event().await else {
            panic!("{link:?}: no transcript")
        };
        assert_eq!((text.as_str(), is_final), ("hello", true), "{link:?}");
    }
}

#[tokio::test]
async fn clean_end_and_crash_are_told_apart_once() {
    for link in WIRES {
        for (act, expected) in [(Act::CloseCleanly, true), (Act::Crash, false)] {
            let (mut subject, far) = connected(link).await;
            let mut far = far.unwrap();
            far.act(Act::Play(vec![3; 160])).await;
            far.act(act.clone()).await;
            assert_eq!(
                subject.output().await,
                AgentOutput::Audio(vec![3; 160].into()),
                "{link:?}: the audio before the end is lost"
            );
            let AgentEvent::Closed { clean, .. } = subject.event().await else {
                panic!("{link:?}: {act:?} is not told")
            };
            assert_eq!(clean, expected, "{link:?}: {act:?}");
            assert_eq!(subject.agent.poll_output(), None);
        }
    }
}

#[tokio::test]
async fn stopped_agent_is_told_good_bye() {
    for link in WIRES {
        let (mut subject, far) = connected(link).await;
        let mut far = far.unwrap();
        subject.slot(&QUIET, None);
        subject.tell(AgentInput::Stop);
        let mut seen = far.see().await;
        while let Seen::Audio(..) = seen {
            seen = far.see().await;
        }
        assert_eq!(seen, Seen::Bye, "{link:?}");
    }
}

#[tokio::test]
async fn audio_of_an_agent_is_discarded_while_the_call_is_handed_back() {
    for link in WIRES {
        let (mut subject, far) = connected(link).await;
        let mut far = far.unwrap();
        subject.tell(AgentInput::Phase {
            phase: Phase::HandingBack,
            method: Some("REFER"),
        });
        far.act(Act::Play(vec![4; 160])).await;
        far.act(Act::Transcript("still here")).await;
        let output = subject.output().await;
        assert!(
            matches!(output, AgentOutput::Event(AgentEvent::Transcript { .. })),
            "{link:?}: {output:?}"
        );
    }
}

#[tokio::test]
async fn both_parties_of_a_bridged_call_are_heard_sample_by_sample() {
    for link in [Link::Twilio, Link::Stereo] {
        let (mut subject, far) = connected(link).await;
        let mut far = far.unwrap();
        far.act(Act::Hello).await;
        subject.tell(AgentInput::Phase {
            phase: Phase::Bridged,
            method: Some("INVITE"),
        });
        for n in 0..50_u8 {
            subject.slot(&[n; 160], Some(&[200 - n; 160]));
            let expected = Seen::Audio(vec![n; 160], Some(vec![200 - n; 160]));
            assert_eq!(far.see().await, expected, "{link:?}");
        }
    }
}
