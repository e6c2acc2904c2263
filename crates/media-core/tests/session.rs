//! A call's media from outside: packets in, packets and events out.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::match_wildcard_for_single_variants
)]

mod common;

use Side::{Caller, Target};
use bytes::Bytes;
use common::{World, address, media, rtp, sent, speech};
use std::net::SocketAddr;

use media_core::{Codec, FRAME, Input, LegMedia, Output, Side, Tone};

/// Lets the agent answer each frame heard with itself, while the caller speaks; gives what the caller hears.
fn echoed(world: &mut World, audio: &[u8], packet: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut said = 0;
    for slot in 1..=audio.len() / FRAME + 30 {
        while said + packet <= (slot * FRAME).min(audio.len()) {
            let sequence = u16::try_from(said / packet).unwrap();
            let data = rtp(
                0,
                sequence,
                u32::try_from(said).unwrap(),
                &audio[said..said + packet],
            );
            world.packet(Caller, &data);
            said += packet;
        }
        for output in world.slot() {
            heard.extend(
                sent(&output, Caller)
                    .into_iter()
                    .flat_map(|sent| sent.payload),
            );
            if let Output::Heard { frame, .. } = output {
                world.input(Input::Play(Bytes::copy_from_slice(&frame)));
            }
        }
    }
    heard
}

#[test]
fn speech_comes_back_from_an_echoing_agent_sample_for_sample() {
    let audio = speech(10 * 8000);
    for packet in [80, 160, 320] {
        let mut world = World::with_caller();
        let heard = echoed(&mut world, &audio, packet);
        let start = heard.iter().position(|byte| *byte != 0xFF).unwrap();
        assert!(start <= 10 * FRAME, "delay of {start} samples");
        let different = heard[start..]
            .iter()
            .zip(&audio)
            .position(|(heard, said)| heard != said);
        assert_eq!(different, None, "packets of {packet}");
        let figures = world.session.figures(Caller);
        assert_eq!(
            (figures.lost, figures.late, figures.skew_corrections),
            (0, 0, 0)
        );
    }
}

#[test]
fn caller_gets_a_packet_every_20_ms_with_running_numbers_from_connect_on() {
    let mut world = World::with_caller();
    let packets = world.sent(Caller, 100);
    assert_eq!(packets.len(), 100);
    for (at, packet) in packets.iter().enumerate() {
        assert_eq!(packet.sequence, packets[0].sequence.wrapping_add(at as u16));
        assert_eq!(
            packet.timestamp,
            packets[0].timestamp.wrapping_add(at as u32 * 160)
        );
        assert_eq!((packet.ssrc, packet.to), (packets[0].ssrc, address(Caller)));
        assert_eq!(packet.payload, [0xFF; FRAME]);
        assert_eq!(packet.marker, at == 0);
    }
}

#[test]
fn agent_hears_20_ms_by_20_ms_even_when_nothing_comes() {
    let mut world = World::with_caller();
    let heard: Vec<_> = (0..50)
        .flat_map(|_| world.slot())
        .filter_map(|output| match output {
            Output::Heard {
                side: Caller,
                frame,
                timestamp_ms,
            } => Some((frame, timestamp_ms)),
            _ => None,
        })
        .collect();
    let expected: Vec<_> = (0..50).map(|chunk| ([0xFF; FRAME], chunk * 20)).collect();
    assert_eq!(heard, expected);
}

#[test]
fn a_law_leg_is_u_law_for_the_agent_and_a_law_for_the_caller() {
    let mut world = World::new();
    let pcma = LegMedia {
        codec: Codec::Pcma,
        payload_type: 8,
        ..media(Caller)
    };
    world.input(Input::Connect {
        side: Caller,
        media: pcma,
    });
    let spoken = [audio_codec_algorithms::encode_alaw(5000); FRAME];
    let mut heard = Vec::new();
    for sequence in 0..5_u16 {
        world.packet(
            Caller,
            &rtp(8, sequence, u32::from(sequence) * 160, &spoken),
        );
        for output in world.slot() {
            if let Output::Heard { frame, .. } = &output {
                heard.push(frame[0]);
            }
            if let Some(packet) = sent(&output, Caller) {
                assert_eq!(
                    (packet.payload_type, packet.payload),
                    (8, vec![0xD5; FRAME])
                );
            }
        }
    }
    assert_eq!(heard[0], 0xFF);
    assert!((audio_codec_algorithms::decode_ulaw(heard[4]) - 5000).abs() < 300);
}

#[test]
fn only_the_signalled_address_is_heard_from_any_of_its_ports() {
    let mut world = World::with_caller();
    let data = rtp(0, 1, 0, &[1; FRAME]);
    world.input(Input::Packet {
        side: Caller,
        from: ([203, 0, 113, 9], 4000).into(),
        data: &data,
    });
    world.input(Input::Packet {
        side: Caller,
        from: ([198, 51, 100, 1], 9999).into(),
        data: &data,
    });
    world.input(Input::Packet {
        side: Caller,
        from: address(Caller),
        data: b"not rtp",
    });
    let figures = world.session.figures(Caller);
    assert_eq!(
        (figures.foreign, figures.packets_in, figures.malformed),
        (1, 1, 1)
    );
    assert_eq!(world.session.last_packet(Caller), Some(world.now()));
}

#[test]
fn other_port_of_the_signalled_host_is_not_heard_once_the_signalled_one_is() {
    let mut world = World::with_caller();
    let stranger = SocketAddr::new(address(Caller).ip(), 9999);
    let mut say = |from: SocketAddr| {
        let data = rtp(0, 1, 0, &[1; FRAME]);
        let side = Caller;
        world.input(Input::Packet {
            side,
            from,
            data: &data,
        });
        world.session.figures(Caller).foreign
    };
    assert_eq!(say(stranger), 0, "a peer may send from another port");
    assert_eq!(say(address(Caller)), 0);
    assert_eq!(say(stranger), 1);
}

#[test]
fn hold_stops_sending_and_numbers_run_on() {
    let mut world = World::with_caller();
    let before = world.sent(Caller, 5);
    world.input(Input::Connect {
        side: Caller,
        media: LegMedia {
            send: false,
            ..media(Caller)
        },
    });
    assert_eq!(world.sent(Caller, 50), []);
    world.input(Input::Connect {
        side: Caller,
        media: media(Caller),
    });
    let after = world.sent(Caller, 1);
    assert_eq!(after[0].ssrc, before[0].ssrc);
    assert_eq!(after[0].sequence, before[4].sequence.wrapping_add(1));
    assert_eq!(
        after[0].timestamp,
        before[4].timestamp.wrapping_add(51 * 160)
    );
    assert!(after[0].marker);
}

#[test]
fn nothing_is_sent_to_an_unspecified_address_and_the_old_one_is_still_heard() {
    let mut world = World::with_caller();
    let held = LegMedia {
        remote: ([0, 0, 0, 0], 4000).into(),
        ..media(Caller)
    };
    world.input(Input::Connect {
        side: Caller,
        media: held,
    });
    assert_eq!(world.sent(Caller, 5), []);
    world.packet(Caller, &rtp(0, 1, 0, &[1; FRAME]));
    assert_eq!(world.session.figures(Caller).packets_in, 1);
}

#[test]
fn leg_that_listens_again_starts_with_a_fresh_buffer() {
    let mut world = World::with_caller();
    let heard = |world: &mut World, numbers: std::ops::Range<u16>| {
        let mut frames = Vec::new();
        for number in numbers {
            let byte = u8::try_from(number).unwrap();
            world.packet(
                Caller,
                &rtp(0, number, u32::from(number) * 160, &[byte; FRAME]),
            );
            frames.extend(world.slot().into_iter().filter_map(|output| match output {
                Output::Heard { frame, .. } => Some(frame[0]),
                _ => None,
            }));
        }
        frames
    };
    assert_eq!(heard(&mut world, 0..5), [0xFF, 0xFF, 0, 1, 2]);
    world.input(Input::Connect {
        side: Caller,
        media: LegMedia {
            receive: false,
            ..media(Caller)
        },
    });
    assert_eq!(heard(&mut world, 5..9), [0xFF; 4]);
    world.input(Input::Connect {
        side: Caller,
        media: media(Caller),
    });
    assert_eq!(heard(&mut world, 9..14), [0xFF, 0xFF, 9, 10, 11]);
    assert_eq!(world.session.figures(Caller).concealed, 0);
}

#[test]
fn lossy_and_disordered_stream_keeps_the_cadence_and_the_counts() {
    let mut world = World::with_caller();
    let mut slots = 0;
    for number in (0_u16..400).map(|number| if number % 10 == 4 { number + 1 } else { number }) {
        if number % 20 != 7 {
            world.packet(
                Caller,
                &rtp(0, number, u32::from(number) * 160, &[0x22; FRAME]),
            );
        }
        let outputs = world.slot();
        assert_eq!(
            outputs
                .iter()
                .filter(|output| matches!(output, Output::Heard { .. }))
                .count(),
            1
        );
        assert_eq!(
            outputs
                .iter()
                .filter_map(|output| sent(output, Caller))
                .count(),
            1
        );
        slots += 1;
    }
    let figures = world.session.figures(Caller);
    // Of each twenty, 4, 7 and 14 never come, 5 and 15 come twice.
    assert_eq!(
        (slots, figures.lost, figures.duplicates, figures.concealed),
        (400, 60, 40, 60)
    );
}

#[test]
fn packet_time_of_the_leg_is_kept() {
    for (ptime_ms, slots, packets) in [
        (10, 10, 20),
        (20, 10, 10),
        (30, 12, 8),
        (40, 10, 5),
        (60, 12, 4),
    ] {
        let mut world = World::new();
        world.input(Input::Connect {
            side: Caller,
            media: LegMedia {
                ptime_ms,
                ..media(Caller)
            },
        });
        let sent = world.sent(Caller, slots);
        assert_eq!(sent.len(), packets, "{ptime_ms}");
        assert!(
            sent.iter()
                .all(|packet| packet.payload.len() == usize::from(ptime_ms) * 8)
        );
    }
}

#[test]
fn marks_come_in_order_with_the_frame_that_completes_them() {
    let mut world = World::with_caller();
    world.input(Input::Play(Bytes::from(vec![1; 400])));
    world.input(Input::Mark("one".into()));
    world.input(Input::Play(Bytes::from(vec![2; 400])));
    world.input(Input::Mark("two".into()));
    let marks: Vec<_> = (0..6)
        .flat_map(|slot| world.slot().into_iter().map(move |output| (slot, output)))
        .filter_map(|(slot, output)| match output {
            Output::MarkPlayed {
                name,
                played,
                sample,
            } => Some((slot, name, played, sample)),
            _ => None,
        })
        .collect();
    assert_eq!(
        marks,
        [(2, "one".into(), true, 400), (4, "two".into(), true, 800)]
    );
}

#[test]
fn clear_silences_before_the_next_frame() {
    let mut world = World::with_caller();
    world.input(Input::Play(Bytes::from(vec![1; 8000])));
    world.input(Input::Mark("m".into()));
    assert_eq!(world.sent(Caller, 1)[0].payload, [1; FRAME]);
    world.input(Input::Clear);
    assert_eq!(
        world.outputs(),
        [Output::MarkPlayed {
            name: "m".into(),
            played: false,
            sample: 160
        }]
    );
    assert_eq!(world.sent(Caller, 1)[0].payload, [0xFF; FRAME]);
}

#[test]
fn drained_follows_the_last_audio() {
    let mut world = World::with_caller();
    world.input(Input::Play(Bytes::from(vec![1; 480])));
    world.input(Input::Play(Bytes::from(vec![0xFF; 16_000])));
    world.input(Input::Drain {
        skip_trailing_silence: true,
    });
    let slots: Vec<_> = (0..6)
        .map(|_| world.slot().contains(&Output::Drained))
        .collect();
    assert_eq!(slots, [false, false, true, false, false, false]);
    world.input(Input::Drain {
        skip_trailing_silence: false,
    });
    assert_eq!(world.outputs(), [Output::Drained]);
}

#[test]
fn digits_of_the_caller_are_reported_once() {
    let mut world = World::with_caller();
    for (sequence, flags, duration) in [
        (1, 0, 160),
        (2, 0, 320),
        (3, 0x80, 400),
        (4, 0x80, 400),
        (5, 0x80, 400),
    ] {
        let [high, low] = u16::to_be_bytes(duration);
        world.packet(
            Caller,
            &rtp(101, sequence, 1600, &[9, flags | 10, high, low]),
        );
    }
    let digits: Vec<_> = world.outputs();
    assert_eq!(
        digits,
        [Output::Dtmf {
            side: Caller,
            digit: '9',
            duration_ms: 50
        }]
    );
    assert_eq!(world.session.figures(Caller).dtmf_in, 1);
}

#[test]
fn digits_are_sent_in_place_of_audio() {
    let mut world = World::with_caller();
    world.input(Input::SendDtmf {
        side: Caller,
        digits: "1#".into(),
        duration_ms: 60,
    });
    let packets = world.sent(Caller, 20);
    assert_eq!(packets.len(), 20);
    let events: Vec<_> = packets
        .iter()
        .filter(|packet| packet.payload_type == 101)
        .collect();
    assert_eq!(
        events
            .iter()
            .map(|event| event.payload[0])
            .collect::<Vec<_>>(),
        [1, 1, 1, 1, 1, 11, 11, 11, 11, 11]
    );
    assert_eq!(events.iter().filter(|event| event.marker).count(), 2);
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
    }
    let audio: Vec<_> = packets
        .iter()
        .enumerate()
        .filter(|(_, packet)| packet.payload_type == 0)
        .collect();
    for (at, packet) in &audio {
        assert_eq!(
            packet.timestamp,
            packets[0].timestamp.wrapping_add(*at as u32 * 160)
        );
    }
    assert_eq!(world.session.figures(Caller).dtmf_out, 2);
}

fn bridged() -> World {
    let mut world = World::with_caller();
    world.input(Input::Connect {
        side: Target,
        media: media(Target),
    });
    world.input(Input::Bridge(true));
    world
}

#[test]
fn bridged_legs_hear_each_other_byte_for_byte_and_the_agent_hears_both() {
    let mut world = bridged();
    let bytes: Vec<u8> = (0..=255).cycle().take(50 * FRAME).collect();
    let other: Vec<u8> = bytes.iter().map(|byte| byte.wrapping_mul(3)).collect();
    let (mut to_caller, mut to_target, mut tapped) = (Vec::new(), Vec::new(), Vec::new());
    for (sequence, (from_caller, from_target)) in
        (0_u16..).zip(bytes.chunks(FRAME).zip(other.chunks(FRAME)))
    {
        world.packet(
            Caller,
            &rtp(0, sequence, u32::from(sequence) * 160, from_caller),
        );
        world.packet(
            Target,
            &rtp(0, sequence, u32::from(sequence) * 160, from_target),
        );
        world.input(Input::Play(Bytes::from_static(&[0; FRAME])));
        for output in world.slot() {
            to_caller.extend(
                sent(&output, Caller)
                    .into_iter()
                    .flat_map(|sent| sent.payload),
            );
            to_target.extend(
                sent(&output, Target)
                    .into_iter()
                    .flat_map(|sent| sent.payload),
            );
            if let Output::Heard {
                side: Target,
                frame,
                ..
            } = output
            {
                tapped.extend_from_slice(&frame);
            }
        }
    }
    assert_eq!(to_caller[2 * FRAME..], other[..48 * FRAME]);
    assert_eq!(to_target[2 * FRAME..], bytes[..48 * FRAME]);
    assert_eq!(tapped, to_caller);
}

#[test]
fn bridge_between_the_laws_transcodes() {
    let mut world = bridged();
    let pcma = LegMedia {
        codec: Codec::Pcma,
        payload_type: 8,
        ..media(Target)
    };
    world.input(Input::Connect {
        side: Target,
        media: pcma,
    });
    let spoken = [audio_codec_algorithms::encode_ulaw(-7000); FRAME];
    let mut last = None;
    for sequence in 0..5_u16 {
        world.packet(
            Caller,
            &rtp(0, sequence, u32::from(sequence) * 160, &spoken),
        );
        last = world.slot().iter().find_map(|output| sent(output, Target));
    }
    let last = last.unwrap();
    assert_eq!(last.payload_type, 8);
    assert!((audio_codec_algorithms::decode_alaw(last.payload[0]) + 7000).abs() < 400);
}

#[test]
fn digits_cross_the_bridge_as_events_with_the_other_legs_number() {
    let mut world = bridged();
    world.input(Input::Connect {
        side: Target,
        media: LegMedia {
            dtmf: Some(96),
            ..media(Target)
        },
    });
    world.packet(
        Caller,
        &rtp(
            101,
            1,
            1600,
            &[
                4,
                0x80 | 10,
                800_u16.to_be_bytes()[0],
                800_u16.to_be_bytes()[1],
            ],
        ),
    );
    let events: Vec<_> = world
        .sent(Target, 20)
        .into_iter()
        .filter(|packet| packet.payload_type == 96)
        .collect();
    assert!(events.iter().all(|event| event.payload[0] == 4));
    assert_eq!(events.last().unwrap().payload[1..], [0x8A, 3, 32]);
}

#[test]
fn ringback_plays_until_real_audio_of_the_target_comes() {
    let mut world = World::with_caller();
    world.input(Input::Play(Bytes::from(vec![1; 8000])));
    world.input(Input::Mark("cut".into()));
    world.input(Input::Tone(Some(Tone::RingbackEu)));
    assert_eq!(
        world.outputs(),
        [Output::MarkPlayed {
            name: "cut".into(),
            played: false,
            sample: 0
        }]
    );
    world.input(Input::Connect {
        side: Target,
        media: media(Target),
    });
    let ringing = world.sent(Caller, 10);
    assert!(ringing.iter().all(|packet| packet.payload != [0xFF; FRAME]));
    assert!(ringing[0].marker);
    for sequence in 0..3_u16 {
        world.packet(
            Target,
            &rtp(0, sequence, u32::from(sequence) * 160, &[0x33; FRAME]),
        );
        world.slot();
    }
    assert_eq!(world.sent(Caller, 1)[0].payload, [0x33; FRAME]);
    world.input(Input::Disconnect { side: Target });
    assert_ne!(world.sent(Caller, 1)[0].payload, [0x33; FRAME]);
    world.input(Input::Tone(None));
    assert_eq!(world.sent(Caller, 1)[0].payload, [0xFF; FRAME]);
}

#[test]
fn ringback_begins_again_when_the_targets_early_media_stop() {
    let mut world = World::with_caller();
    world.input(Input::Tone(Some(Tone::RingbackEu)));
    world.input(Input::Connect {
        side: Target,
        media: media(Target),
    });
    // The tone's pause begins after a second; the early media stop in it.
    world.sent(Caller, 60);
    for sequence in 0..10_u16 {
        let at = u32::from(sequence) * 160;
        world.packet(Target, &rtp(0, sequence, at, &[0x33; FRAME]));
        world.slot();
    }
    let heard = world.sent(Caller, 200);
    let tone = heard[20..]
        .iter()
        .position(|packet| packet.payload != [0xFF; FRAME]);
    let slots = tone.map(|at| at + 20).unwrap();
    assert!((140..=155).contains(&slots), "three seconds, not {slots}");
}

#[test]
fn next_target_starts_with_figures_of_its_own() {
    let mut world = World::with_caller();
    world.input(Input::Connect {
        side: Target,
        media: media(Target),
    });
    world.sent(Target, 10);
    world.input(Input::Disconnect { side: Target });
    assert_eq!(world.sent(Target, 10), []);
    assert_eq!(world.session.figures(Target).packets_out, 10);
    world.input(Input::Connect {
        side: Target,
        media: media(Target),
    });
    world.sent(Target, 3);
    assert_eq!(world.session.figures(Target).packets_out, 3);
}

#[test]
fn stall_is_made_up_for_up_to_200_ms() {
    let mut world = World::with_caller();
    world.sent(Caller, 1);
    world.millis += 100;
    assert_eq!(world.sent(Caller, 1).len(), 6);
    world.millis += 60_000;
    assert_eq!(world.sent(Caller, 1).len(), 10);
    assert_eq!(world.sent(Caller, 1).len(), 1);
}

/// Lets the caller speak on time while our own slots come late by `stalls`; gives what the caller hears.
fn echoed_with_stalls(world: &mut World, audio: &[u8], stalls: &[(usize, u64)]) -> Vec<u8> {
    let (mut heard, mut said) = (Vec::new(), 0);
    for slot in 1.. {
        if said == audio.len() {
            break;
        }
        let stall = stalls.iter().find(|(at, _)| *at == slot);
        world.millis += 20 + stall.map_or(0, |(_, millis)| *millis);
        let now = usize::try_from(world.millis).unwrap() * 8;
        while said + FRAME <= now.min(audio.len()) {
            let (sequence, timestamp) = (said / FRAME, said);
            let (sequence, timestamp) = (sequence as u16, timestamp as u32);
            let data = rtp(0, sequence, timestamp, &audio[said..said + FRAME]);
            world.packet(Caller, &data);
            said += FRAME;
        }
        while world.is_due() {
            world.session.handle_timeout(world.now());
            for output in world.outputs() {
                heard.extend(
                    sent(&output, Caller)
                        .into_iter()
                        .flat_map(|sent| sent.payload),
                );
                if let Output::Heard { frame, .. } = output {
                    world.input(Input::Play(Bytes::copy_from_slice(&frame)));
                }
            }
        }
    }
    heard
}

#[test]
fn stalls_of_our_own_up_to_200_ms_are_not_heard_in_the_echo() {
    let audio = speech(20 * 8000);
    for (stall, times) in [
        (5, 8),
        (20, 8),
        (40, 8),
        (60, 8),
        (100, 8),
        (180, 8),
        (200, 1),
    ] {
        let mut world = World::with_caller();
        let stalls: Vec<_> = (1..=times).map(|number| (number * 40, stall)).collect();
        let heard = echoed_with_stalls(&mut world, &audio, &stalls);
        let start = heard.iter().position(|byte| *byte != 0xFF).unwrap();
        let mut pairs = heard[start..].iter().zip(&audio);
        let different = pairs.position(|(heard, said)| heard != said);
        assert_eq!(different, None, "{stall} ms");
        assert!(heard.len() > 18 * 8000, "{stall} ms");
        let figures = world.session.figures(Caller);
        assert_eq!(
            (figures.concealed, figures.skew_corrections),
            (0, 0),
            "{stall} ms"
        );
    }
}
