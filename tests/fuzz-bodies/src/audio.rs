//! What comes on a media port: RTP, telephone events, RTCP, STUN, DTLS, noise.

use bytes::Bytes;
use media_core::{
    Codec, Control, Input, LegMedia, MasterKey, Output, Protection, Session, Side, Suite,
};
use timebase::Now;

use crate::choices::Choices;

/// Datagrams on a caller's port while an agent talks: whatever comes, one packet leaves in each slot.
pub fn audio(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut session = Session::new(Now::ZERO, 1);
    let mut millis = 0;
    let side = Side::Caller;
    let media = LegMedia {
        remote: ([198, 51, 100, 1], 4000).into(),
        codec: choices.of(&[Codec::Pcmu, Codec::Pcma]),
        payload_type: 0,
        dtmf: Some(101),
        ptime_ms: 20,
        send: true,
        receive: true,
        control: Control {
            to: Some(([198, 51, 100, 1], 4001).into()),
            muxed: choices.rarely(2),
            voip_metrics: choices.rarely(2),
        },
        latch: choices.rarely(2),
        protection: choices.rarely(4).then(|| Protection {
            suite: choices.of(&[Suite::AesCm128HmacSha1Tag80, Suite::AeadAes256Gcm]),
            ours: MasterKey::new(&[1; 46]),
            theirs: MasterKey::new(&[2; 46]),
        }),
    };
    let from = media.remote;
    session.handle_input(Now::ZERO, Input::Connect { side, media });
    while !choices.is_over() && millis < 4000 {
        let length = usize::from(choices.byte()) * 2;
        let data = choices.bytes(length);
        session.handle_input(Now::from_millis(millis), Input::Packet { side, from, data });
        if choices.rarely(4) {
            let data = choices.bytes(length);
            session.handle_input(
                Now::from_millis(millis),
                Input::Control { side, from, data },
            );
        }
        if choices.rarely(8) {
            session.handle_input(
                Now::from_millis(millis),
                Input::Play(Bytes::from_static(&[0x55; 400])),
            );
        }
        millis += 20;
        assert_eq!(
            slot(&mut session, Now::from_millis(millis)),
            1,
            "a packet in every slot"
        );
    }
}

/// What is due is done; gives how many packets left.
fn slot(session: &mut Session, now: Now) -> usize {
    let mut sent = 0;
    while session.poll_timeout().is_some_and(|due| due <= now) {
        session.handle_timeout(now);
        while let Some(output) = session.poll_output() {
            sent += usize::from(matches!(output, Output::Rtp { .. }));
        }
    }
    sent
}
