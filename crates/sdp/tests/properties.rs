//! What holds for every offer.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result)]

use proptest::prelude::*;
use sdp::{Codec, Description, Direction, Local, accept, answer, offer};
use std::net::IpAddr;

fn local(codecs: Vec<Codec>, ptime_ms: u16) -> Local {
    Local {
        address: IpAddr::from([192, 0, 2, 1]),
        port: 30_000,
        codecs,
        session_id: 5,
        version: 9,
        ptime_ms,
        keys: None,
    }
}

fn stream() -> impl Strategy<Value = String> {
    let media = prop_oneof![4 => Just("audio"), 1 => Just("video"), 1 => Just("image")];
    let proto = prop_oneof![4 => Just("RTP/AVP"), 1 => Just("RTP/SAVP"), 1 => Just("udptl")];
    let port = prop_oneof![1 => Just(0_u16), 5 => 1_u16..];
    let formats = prop::collection::vec(
        prop_oneof![
            Just(0_u16),
            Just(8),
            Just(9),
            Just(18),
            Just(101),
            96_u16..140
        ],
        1..6,
    );
    let attributes = prop::collection::vec(
        prop_oneof![
            Just("a=rtpmap:101 telephone-event/8000".to_owned()),
            Just("a=rtpmap:97 PCMA/8000".to_owned()),
            Just("a=fmtp:101 0-16".to_owned()),
            Just("a=sendonly".to_owned()),
            Just("a=recvonly".to_owned()),
            Just("a=inactive".to_owned()),
            Just("c=IN IP4 0.0.0.0".to_owned()),
            Just("c=IN IP4 203.0.113.9".to_owned()),
            any::<u32>().prop_map(|ms| format!("a=ptime:{ms}")),
            (0_u16..100).prop_map(|ms| format!("a=ptime:{ms}")),
            (0_u16..100).prop_map(|ms| format!("a=maxptime:{ms}")),
        ],
        0..6,
    );
    (media, port, proto, formats, attributes).prop_map(
        |(media, port, proto, formats, attributes)| {
            let formats: Vec<_> = formats.iter().map(ToString::to_string).collect();
            format!(
                "m={media} {port} {proto} {}\r\n{}\r\n",
                formats.join(" "),
                attributes.join("\r\n")
            )
        },
    )
}

fn description() -> impl Strategy<Value = String> {
    prop::collection::vec(stream(), 0..5).prop_map(|streams| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n{}",
            streams.concat()
        )
    })
}

const fn legal(offered: Direction, answered: Direction) -> bool {
    (!answered.sends() || offered.receives()) && (!answered.receives() || offered.sends())
}

proptest! {
    #[test]
    fn every_answer_answers_its_offer(text in description(), pcma in any::<bool>(), ptime in 0_u16..80) {
        let codecs = if pcma { vec![Codec::Pcma] } else { vec![Codec::Pcmu, Codec::Pcma] };
        let theirs = Description::parse(text.as_bytes()).unwrap();
        let ours = local(codecs.clone(), ptime);
        let Ok((reply, agreement)) = answer(&theirs, &ours) else { return Ok(()); };
        let reply = Description::parse(&reply).unwrap();
        prop_assert_eq!(reply.streams().len(), theirs.streams().len());
        let mut live = 0;
        for (a, o) in reply.streams().iter().zip(theirs.streams()) {
            prop_assert_eq!(a.media(), o.media());
            prop_assert_eq!(a.transport(), o.transport());
            let offered: Vec<_> = o.formats().split(' ').collect();
            prop_assert!(a.formats().split(' ').all(|format| offered.contains(&format)));
            if a.port() != 0 {
                live += 1;
                prop_assert!(o.port() != 0);
                prop_assert!(legal(o.direction(), a.direction()));
                prop_assert_eq!(a.direction(), agreement.direction);
                prop_assert_eq!(agreement.remote.port(), o.port());
            }
        }
        prop_assert_eq!(live, 1);
        prop_assert!(codecs.contains(&agreement.codec));
        prop_assert!(agreement.ptime_ms % 10 == 0 && (10..=60).contains(&agreement.ptime_ms));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(parsed) = Description::parse(&bytes) {
            let _ = answer(&parsed, &local(vec![Codec::Pcmu], 20));
        }
    }

    #[test]
    fn mangled_offers_never_panic(text in description(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(parsed) = Description::parse(&bytes) {
            let _ = answer(&parsed, &local(vec![Codec::Pcmu, Codec::Pcma], 20));
            let _ = accept(&local(vec![Codec::Pcmu], 20), Direction::SendRecv, &parsed);
        }
    }

    #[test]
    fn own_offers_are_always_agreed_between_two_of_us(port in 1_u16.., pcma_first in any::<bool>()) {
        let codecs = if pcma_first { vec![Codec::Pcma, Codec::Pcmu] } else { vec![Codec::Pcmu, Codec::Pcma] };
        let ours = Local { port, ..local(codecs, 20) };
        let other = Local { address: IpAddr::from([192, 0, 2, 77]), ..ours.clone() };
        let (reply, theirs) =
            answer(&Description::parse(&offer(&ours, Direction::SendOnly)).unwrap(), &other).unwrap();
        let agreed = accept(&ours, Direction::SendOnly, &Description::parse(&reply).unwrap()).unwrap();
        prop_assert_eq!(agreed.codec, ours.codecs[0]);
        prop_assert_eq!(agreed.direction, theirs.direction.reversed());
    }
}
