//! Two telephones, bridged by a gateway: every payload comes out as it went in, and in time.

use std::time::{Duration, Instant};

use serde_json::json;
use stories::{Call, Lab, Packet, Target, Transport, eventually, speech};

use crate::audio_is_heard_without_a_gap::on_a_steady_machine;

/// What the jitter buffer adds on a path without jitter, and what the bridge may add to it.
const JITTER_BUFFER: Duration = Duration::from_millis(40);
const BRIDGE: Duration = Duration::from_millis(20);
/// What this machine may be late by at both ends together, where it is steady.
const MACHINE: Duration = Duration::from_millis(15);
const FRAMES: usize = 100;

/// Every frame that was said came, in its order, in packets of its own, and none later than it may.
fn judge(who: &str, said: &[u8], start: Instant, came: &[Packet]) -> Result<(), String> {
    let first = came.iter().position(|it| it.payload == said[..160]);
    let first = first.ok_or(format!("{who}: the first frame did not come"))?;
    let mut slowest = Duration::ZERO;
    for (number, frame) in (0..).zip(said.chunks(160)) {
        let packet = came.get(first + number as usize);
        let packet = packet.ok_or(format!("{who}: frame {number} did not come"))?;
        if packet.payload != frame {
            return Err(format!("{who}: frame {number} is another"));
        }
        let sent = start + Duration::from_millis(20) * number;
        slowest = slowest.max(packet.at.saturating_duration_since(sent));
    }
    if slowest > JITTER_BUFFER + BRIDGE + MACHINE {
        return Err(format!("{who}: a frame took {slowest:?}"));
    }
    println!("{who}: {FRAMES} frames bit for bit, the slowest after {slowest:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_cross_bit_for_bit_both_ways_and_at_most_a_slot_after_the_jitter_buffer() {
    let lab = Lab::with_lab_agent().await;
    on_a_steady_machine(async |attempt| {
        let mut target = Target::waiting(Transport::Udp).await;
        let sip = json!({ "returnTransferType": "INVITE", "returnURI": target.uri("queue", "") });
        let id = format!("audio-{attempt}");
        let mut call = Call::that_completes_itself(&lab, Transport::Udp, &id, sip).await;
        let invite = target.peer.request("INVITE").await;
        let (_, to_caller) = target.answer(&invite).await;
        let (from_caller, from_desk) = (speech(FRAMES), speech(2 * FRAMES).split_off(FRAMES * 160));
        let media = call.media;
        let (from, desk) = tokio::join!(
            call.sound.say_from(media, &from_caller),
            target.sound.say_from(to_caller, &from_desk)
        );
        // the last frames are on their way
        let count = call.sound.packets().len();
        eventually("five more slots", async || {
            (call.sound.packets().len() > count + 5).then_some(())
        })
        .await;
        let heard = [
            judge("the desk", &from_caller, from, &target.sound.packets()),
            judge("the caller", &from_desk, desk, &call.sound.packets()),
        ];
        call.hang_up().await;
        let bye = target.peer.request("BYE").await;
        target.peer.answer(&bye, "200 OK").await;
        heard.into_iter().collect()
    })
    .await;
}
