//! Offers of the field and what they are answered with.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result)]

use sdp::{
    Agreement, Codec, Description, Direction, Keys, Local, SdpError, Suite, Unacceptable, accept,
    accept_like, answer, offer, offer_like,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn local() -> Local {
    Local {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        port: 30_000,
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        session_id: 77,
        version: 1,
        ptime_ms: 20,
        keys: None,
    }
}

const HEAD: &str =
    "v=0\r\no=- 1 1 IN IP4 198.51.100.2\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\n";

fn with_head(rest: &str) -> String {
    format!("{HEAD}{}", rest.replace('\n', "\r\n"))
}

fn answered(text: &str) -> Result<(String, Agreement), Unacceptable> {
    let (bytes, agreement) = answer(&Description::parse(text.as_bytes()).unwrap(), &local())?;
    Ok((String::from_utf8(bytes.to_vec()).unwrap(), agreement))
}

fn agreed(rest: &str) -> Agreement {
    answered(&with_head(rest)).unwrap().1
}

fn refused(rest: &str) -> Unacceptable {
    answered(&with_head(rest)).unwrap_err()
}

#[test]
fn usual_offer_is_answered_word_for_word() {
    let offer = with_head(
        "m=audio 40000 RTP/AVP 8 0 96\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\na=rtpmap:96 telephone-event/8000\na=fmtp:96 0-16\na=ptime:20\na=sendrecv\n",
    );
    let (text, agreement) = answered(&offer).unwrap();
    assert_eq!(
        text,
        "v=0\r\no=- 77 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 30000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n\
         a=fmtp:96 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    assert_eq!(agreement.remote, "198.51.100.2:40000".parse().unwrap());
    assert_eq!(agreement.rtcp, "198.51.100.2:40001".parse().unwrap());
    assert_eq!(
        (
            agreement.codec,
            agreement.payload_type,
            agreement.dtmf,
            agreement.ptime_ms
        ),
        (Codec::Pcma, 8, Some(96), 20)
    );
}

#[test]
fn static_payload_types_need_no_rtpmap_and_dynamic_ones_are_named() {
    assert_eq!(agreed("m=audio 4000 RTP/AVP 0\n").codec, Codec::Pcmu);
    assert_eq!(agreed("m=audio 4000 RTP/AVP 18 8\n").codec, Codec::Pcma);
    let dynamic = agreed("m=audio 4000 RTP/AVP 97\na=rtpmap:97 pcma/8000/1\n");
    assert_eq!((dynamic.codec, dynamic.payload_type), (Codec::Pcma, 97));
    assert_eq!(
        refused("m=audio 4000 RTP/AVP 0\na=rtpmap:0 L16/8000\n"),
        Unacceptable::NoCodec
    );
    assert_eq!(
        refused("m=audio 4000 RTP/AVP 97\na=rtpmap:97 PCMU/16000\n"),
        Unacceptable::NoCodec
    );
    assert_eq!(
        refused("m=audio 4000 RTP/AVP 97\na=rtpmap:97 PCMU/8000/2\n"),
        Unacceptable::NoCodec
    );
}

#[test]
fn telephone_events_are_agreed_with_the_offered_number_at_8_khz_only() {
    assert_eq!(
        agreed("m=audio 4000 RTP/AVP 0 127\na=rtpmap:127 telephone-event/8000\n").dtmf,
        Some(127)
    );
    assert_eq!(
        agreed("m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/48000\n").dtmf,
        None
    );
    assert_eq!(agreed("m=audio 4000 RTP/AVP 0 101\n").dtmf, None);
    for (parameters, expected) in [
        ("a=fmtp:101 0-15\n", "0-15"),
        ("a=fmtp:101 0-16\n", "0-16"),
        ("a=fmtp:101 0-11,16\n", "0-16"),
        ("a=fmtp:101 0-99999\n", "0-15"),
        ("", "0-15"),
    ] {
        let offer = with_head(&format!(
            "m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\n{parameters}"
        ));
        let (text, _) = answered(&offer).unwrap();
        assert!(
            text.contains(&format!("a=fmtp:101 {expected}\r\n")),
            "{parameters:?} gave {text}"
        );
    }
}

#[test]
fn packet_time_is_the_offers_when_it_is_a_multiple_of_ten_in_range() {
    for (attributes, expected) in [
        ("", 20),
        ("a=ptime:10\n", 10),
        ("a=ptime:30\n", 30),
        ("a=ptime:60\n", 60),
        ("a=ptime:25\n", 20),
        ("a=ptime:0\n", 20),
        ("a=ptime:70\n", 20),
        ("a=ptime:4294967295\n", 20),
        ("a=ptime:-20\n", 20),
        ("a=ptime:20.0\n", 20),
        ("a=ptime\n", 20),
        ("a=maxptime:10\n", 10),
        ("a=ptime:60\na=maxptime:40\n", 40),
        ("a=ptime:60\na=maxptime:35\n", 30),
        ("a=maxptime:0\n", 20),
        ("a=maxptime:150\n", 20),
    ] {
        let offer = with_head(&format!("m=audio 4000 RTP/AVP 0\n{attributes}"));
        let (text, agreement) = answered(&offer).unwrap();
        assert_eq!(agreement.ptime_ms, expected, "{attributes:?}");
        assert!(
            text.contains(&format!("a=ptime:{expected}\r\n")),
            "{attributes:?}"
        );
    }
}

#[test]
fn direction_is_answered_from_the_offer_at_hand() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    for (attribute, expected) in [
        ("", SendRecv),
        ("sendrecv", SendRecv),
        ("sendonly", RecvOnly),
        ("recvonly", SendOnly),
        ("inactive", Inactive),
    ] {
        let line = if attribute.is_empty() {
            String::new()
        } else {
            format!("a={attribute}\n")
        };
        let on_stream = with_head(&format!("m=audio 4000 RTP/AVP 0\n{line}"));
        let (text, agreement) = answered(&on_stream).unwrap();
        assert_eq!(agreement.direction, expected);
        assert!(text.ends_with(&format!("a={}\r\n", expected.name())));
        let on_session = with_head(&format!("{line}m=audio 4000 RTP/AVP 0\n"));
        assert_eq!(answered(&on_session).unwrap().1.direction, expected);
    }
    assert_eq!(
        agreed("a=inactive\nm=audio 4000 RTP/AVP 0\na=sendrecv\n").direction,
        SendRecv
    );
}

#[test]
fn unspecified_address_is_hold_not_a_destination() {
    let held = agreed("m=audio 4000 RTP/AVP 0\nc=IN IP4 0.0.0.0\n");
    assert_eq!(held.direction, Direction::RecvOnly);
    let inactive = agreed("m=audio 4000 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=inactive\n");
    assert_eq!(inactive.direction, Direction::Inactive);
    let receiver = agreed("m=audio 4000 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=recvonly\n");
    assert_eq!(receiver.direction, Direction::Inactive);
}

#[test]
fn addresses_that_nobody_may_be_called_at_are_refused() {
    for address in [
        "IN IP4 224.2.0.1/127",
        "IN IP4 255.255.255.255",
        "IN IP4 peer.example.com",
        "ATM NSAP 1",
    ] {
        let offer = with_head(&format!("m=audio 4000 RTP/AVP 0\nc={address}\n"));
        assert_eq!(
            answered(&offer).unwrap_err(),
            Unacceptable::BadAddress,
            "{address}"
        );
    }
    assert_eq!(
        answered("v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n")
            .unwrap_err(),
        Unacceptable::BadAddress
    );
    assert_eq!(
        refused("m=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::1\n"),
        Unacceptable::AddressType
    );
    assert_eq!(
        refused("m=audio 4000 RTP/AVP 0\nc=IN IP6 ff02::1\n"),
        Unacceptable::BadAddress
    );
}

#[test]
fn ipv6_is_answered_with_ipv6() {
    let ours = Local {
        address: IpAddr::V6(Ipv6Addr::LOCALHOST),
        ..local()
    };
    let offer = "v=0\r\no=- 1 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let (text, agreement) = answer(&Description::parse(offer.as_bytes()).unwrap(), &ours).unwrap();
    assert_eq!(agreement.remote, "[2001:db8::1]:4000".parse().unwrap());
    assert!(String::from_utf8_lossy(&text).contains("c=IN IP6 ::1\r\n"));
}

#[test]
fn other_streams_are_refused_in_place_with_their_formats() {
    let offer = with_head(
        "m=video 5000 RTP/AVP 96 97\na=rtpmap:96 H264/90000\nm=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 0 8\nm=image 4004 udptl t38\n",
    );
    let (text, agreement) = answered(&offer).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 96 97",
            "m=audio 30000 RTP/AVP 0",
            "m=audio 0 RTP/AVP 0 8",
            "m=image 0 udptl t38"
        ]
    );
    assert_eq!(agreement.remote.port(), 4000);
}

#[test]
fn plain_stream_is_taken_behind_a_secure_one() {
    let (text, agreement) = answered(&with_head(
        "m=audio 4000 RTP/SAVP 0\nm=audio 4002 RTP/AVP 0\n",
    ))
    .unwrap();
    assert_eq!(agreement.remote.port(), 4002);
    assert!(text.contains("m=audio 0 RTP/SAVP 0\r\nm=audio 30000 RTP/AVP 0\r\n"));
}

#[test]
fn refusals_name_the_reason_with_its_warning() {
    for (rest, expected, warning) in [
        (
            "m=audio 0 RTP/AVP 0\n",
            Unacceptable::NoAudio,
            "304 gw \"Media type not available\"",
        ),
        (
            "m=video 4000 RTP/AVP 96\n",
            Unacceptable::NoAudio,
            "304 gw \"Media type not available\"",
        ),
        (
            "",
            Unacceptable::NoAudio,
            "304 gw \"Media type not available\"",
        ),
        (
            "m=audio 4000 RTP/SAVP 0\n",
            Unacceptable::Transport,
            "302 gw \"Incompatible transport protocol\"",
        ),
        (
            "m=audio 4000 RTP/AVPF 0\n",
            Unacceptable::Transport,
            "302 gw \"Incompatible transport protocol\"",
        ),
        (
            "m=audio 4000 RTP/AVP 18\n",
            Unacceptable::NoCodec,
            "305 gw \"Incompatible media format\"",
        ),
        (
            "m=audio 4000 RTP/AVP 128 256 x\n",
            Unacceptable::NoCodec,
            "305 gw \"Incompatible media format\"",
        ),
    ] {
        let reason = refused(rest);
        assert_eq!((reason, reason.status()), (expected, 488), "{rest}");
        assert_eq!(reason.warning("gw"), warning);
    }
}

#[test]
fn rtcp_attribute_moves_rtcp() {
    let port = agreed("m=audio 4000 RTP/AVP 0\na=rtcp:53020\n");
    assert_eq!(port.rtcp, "198.51.100.2:53020".parse().unwrap());
    let both = agreed("m=audio 4000 RTP/AVP 0\na=rtcp:53020 IN IP4 198.51.100.9\n");
    assert_eq!(both.rtcp, "198.51.100.9:53020".parse().unwrap());
    assert_eq!(agreed("m=audio 65535 RTP/AVP 0\n").rtcp.port(), 65_535);
}

#[test]
fn shared_port_and_voip_metrics_are_answered_where_they_are_offered() {
    let offer = with_head(
        "m=audio 4000 RTP/AVP 0\na=rtcp:4001\na=rtcp-mux\na=rtcp-xr:rcvr-rtt=all voip-metrics\n",
    );
    let (text, agreement) = answered(&offer).unwrap();
    assert!(text.ends_with("a=rtcp-mux\r\na=rtcp-xr:voip-metrics\r\n"));
    assert!(agreement.rtcp_mux && agreement.voip_metrics);
    assert_eq!(agreement.rtcp, agreement.remote);
    let (text, agreement) = answered(&with_head(
        "m=audio 4000 RTP/AVP 0\na=rtcp-xr:stat-summary\n",
    ))
    .unwrap();
    assert!(!text.contains("rtcp"));
    assert!(!agreement.rtcp_mux && !agreement.voip_metrics);
}

#[test]
fn shared_port_that_was_not_offered_is_not_in_an_answer() {
    let answer = with_head("m=audio 4000 RTP/AVP 0\na=rtcp-mux\n");
    let answer = Description::parse(answer.as_bytes()).unwrap();
    let agreement = accept(&local(), Direction::SendRecv, &answer).unwrap();
    assert!(!agreement.rtcp_mux);
    assert_eq!(agreement.rtcp.port(), 4001);
}

const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const GCM: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==";

fn with_keys(required: bool) -> Local {
    Local {
        keys: Some(Keys::new(required, &[9; Keys::MATERIAL])),
        ..local()
    }
}

fn parsed(rest: &str) -> Description {
    Description::parse(with_head(rest).as_bytes()).unwrap()
}

#[test]
fn srtp_is_answered_with_the_suite_we_like_best_and_its_tag() {
    let offer = parsed(&format!(
        "m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\na=crypto:7 AEAD_AES_128_GCM inline:{GCM}\na=crypto:9 NEW_SUITE inline:x\n"
    ));
    for required in [false, true] {
        let (text, agreement) = answer(&offer, &with_keys(required)).unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains("m=audio 30000 RTP/SAVP 0\r\n"));
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("a=crypto"))
            .collect();
        let [line] = lines[..] else {
            panic!("{lines:?}")
        };
        assert!(
            line.starts_with("a=crypto:7 AEAD_AES_128_GCM inline:CQkJ"),
            "{line}"
        );
        let security = agreement.security.unwrap();
        assert_eq!((security.tag, security.suite), (7, Suite::AeadAes128Gcm));
        assert_eq!(security.theirs.expose()[..3], [0, 1, 2]);
    }
}

#[test]
fn plain_rtp_and_srtp_are_refused_where_the_policy_says_so() {
    let plain = parsed("m=audio 4000 RTP/AVP 0\n");
    let secure = parsed(&format!(
        "m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}\n"
    ));
    let with_mki = parsed(&format!(
        "m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4\n"
    ));
    let verdict = |offer: &Description, local: &Local| {
        answer(offer, local).map(|(_, agreed)| agreed.security.is_some())
    };
    let refused = |why: Unacceptable| Err(why);
    assert_eq!(verdict(&plain, &local()), Ok(false));
    assert_eq!(verdict(&plain, &with_keys(false)), Ok(false));
    assert_eq!(
        verdict(&plain, &with_keys(true)),
        refused(Unacceptable::Insecure)
    );
    assert_eq!(verdict(&secure, &local()), refused(Unacceptable::Transport));
    assert_eq!(verdict(&secure, &with_keys(false)), Ok(true));
    assert_eq!(verdict(&secure, &with_keys(true)), Ok(true));
    assert_eq!(
        verdict(&with_mki, &with_keys(true)),
        refused(Unacceptable::NoCrypto)
    );
    assert_eq!(Unacceptable::Insecure.status(), 488);
}

#[test]
fn srtp_is_offered_where_it_is_required_and_the_answer_is_held_to_our_tags() {
    let ours = with_keys(true);
    let text = offer(&ours, Direction::SendRecv);
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("m=audio 30000 RTP/SAVP 0 8 101\r\n"));
    assert_eq!(text.matches("a=crypto:").count(), 4);
    assert!(text.contains("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:CQkJ"));
    let answered = |tag: u32| {
        let answer = parsed(&format!(
            "m=audio 4000 RTP/SAVP 0\na=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{KEY}\n"
        ));
        accept(&ours, Direction::SendRecv, &answer)
    };
    assert!(answered(3).unwrap().security.is_some());
    assert_eq!(answered(1).unwrap_err(), Unacceptable::NotAnAnswer);
    let plain = offer(&with_keys(false), Direction::SendRecv);
    assert!(
        !String::from_utf8(plain.to_vec())
            .unwrap()
            .contains("crypto")
    );
}

#[test]
fn session_that_is_srtp_is_offered_anew_as_srtp() {
    let theirs = parsed(&format!(
        "m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\n"
    ));
    let text = offer_like(&with_keys(false), Direction::SendOnly, Some(&theirs));
    assert!(
        String::from_utf8(text.to_vec())
            .unwrap()
            .contains("RTP/SAVP")
    );
}

#[test]
fn our_own_port_is_nobodys_address() {
    let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0\r\n";
    assert_eq!(answered(offer).unwrap_err(), Unacceptable::BadAddress);
}

#[test]
fn what_is_not_a_description_is_told_apart() {
    for text in [
        "",
        "\0",
        "hello",
        "v=1\r\n",
        "v=0\r\nm=audio 70000 RTP/AVP 0\r\n",
        "v=0\r\na=fmtp:101 0\0-15\r\n",
    ] {
        assert!(
            matches!(
                Description::parse(text.as_bytes()),
                Err(SdpError::Syntax(_))
            ),
            "{text:?}"
        );
    }
    let streams = with_head(&"m=audio 4000 RTP/AVP 0\n".repeat(501));
    assert_eq!(
        Description::parse(streams.as_bytes()).unwrap_err(),
        SdpError::TooManyStreams
    );
    let long = with_head(&"a=x\n".repeat(20_000));
    assert_eq!(
        Description::parse(long.as_bytes()).unwrap_err(),
        SdpError::TooLarge
    );
}

#[test]
fn five_hundred_streams_are_answered_with_five_hundred() {
    let (text, _) = answered(&with_head(&"m=audio 4000 RTP/AVP 0\n".repeat(500))).unwrap();
    assert_eq!(text.matches("m=audio 0 ").count(), 499);
    assert_eq!(text.matches("m=audio 30000 ").count(), 1);
}

#[test]
fn loose_writing_is_read() {
    let loose = "v=0\no=- 0 0 IN IP4 1.2.3.4\ns=Gespr\u{e4}ch\nc=IN IP4 198.51.100.2\nm=audio 4000 rtp/avp 0  8\n";
    let mut latin1: Vec<u8> = loose
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    latin1.extend_from_slice(b"a=SENDONLY\n");
    let (_, agreement) = answer(&Description::parse(&latin1).unwrap(), &local()).unwrap();
    assert_eq!(agreement.direction, Direction::RecvOnly);
}

#[test]
fn answer_repeats_the_times_of_the_offer() {
    let offer = HEAD.replace("t=0 0", "t=2873397496 2873404696") + "m=audio 4000 RTP/AVP 0\r\n";
    assert!(
        answered(&offer)
            .unwrap()
            .0
            .contains("\r\nt=2873397496 2873404696\r\n")
    );
}

#[test]
fn own_offer_is_readable_and_its_answer_is_accepted() {
    let mine = local();
    let text = offer(&mine, Direction::SendRecv);
    let parsed = Description::parse(&text).unwrap();
    assert_eq!(parsed.streams()[0].formats(), "0 8 101");
    let peer = Local {
        address: IpAddr::from([198, 51, 100, 7]),
        port: 6000,
        codecs: vec![Codec::Pcma],
        ..local()
    };
    let (reply, theirs) = answer(&parsed, &peer).unwrap();
    let ours = accept(
        &mine,
        Direction::SendRecv,
        &Description::parse(&reply).unwrap(),
    )
    .unwrap();
    assert_eq!(
        (ours.codec, ours.dtmf, ours.direction),
        (Codec::Pcma, Some(101), Direction::SendRecv)
    );
    assert_eq!(ours.remote, "198.51.100.7:6000".parse().unwrap());
    assert_eq!(theirs.remote, "192.0.2.1:30000".parse().unwrap());
}

#[test]
fn answer_that_does_not_fit_is_not_accepted() {
    let read = |rest: &str| {
        accept(
            &local(),
            Direction::SendRecv,
            &Description::parse(with_head(rest).as_bytes()).unwrap(),
        )
    };
    assert_eq!(
        read("m=audio 0 RTP/AVP 0\n").unwrap_err(),
        Unacceptable::NoAudio
    );
    assert_eq!(
        read("m=audio 4000 RTP/AVP 18\n").unwrap_err(),
        Unacceptable::NoCodec
    );
    assert_eq!(read("").unwrap_err(), Unacceptable::NotAnAnswer);
    assert_eq!(
        read("m=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 0\n").unwrap_err(),
        Unacceptable::NotAnAnswer
    );
}

#[test]
fn accepted_direction_is_never_wider_than_offered() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    for (offered, answered, ours) in [
        (SendRecv, "recvonly", SendOnly),
        (SendOnly, "recvonly", SendOnly),
        (SendOnly, "sendrecv", SendOnly),
        (SendOnly, "inactive", Inactive),
        (RecvOnly, "sendonly", RecvOnly),
        (Inactive, "sendrecv", Inactive),
    ] {
        let text = with_head(&format!("m=audio 4000 RTP/AVP 0\na={answered}\n"));
        let agreement = accept(
            &local(),
            offered,
            &Description::parse(text.as_bytes()).unwrap(),
        )
        .unwrap();
        assert_eq!(agreement.direction, ours, "{offered:?} {answered}");
    }
}

#[test]
fn version_is_the_only_difference_overlooked() {
    let one = offer(&local(), Direction::SendRecv);
    let later = offer(
        &Local {
            version: 2,
            ..local()
        },
        Direction::SendRecv,
    );
    let moved = offer(
        &Local {
            port: 30_002,
            ..local()
        },
        Direction::SendRecv,
    );
    assert!(sdp::same_but_version(&one, &later));
    assert!(!sdp::same_but_version(&one, &moved));
    assert!(!sdp::same_but_version(b"junk", b"o="));
}

#[test]
fn later_offer_keeps_every_stream_of_the_session_in_its_place() {
    let theirs = "m=video 5000 RTP/AVP 96\nm=audio 4000 RTP/AVP 0\nm=image 0 udptl t38\n";
    let theirs = Description::parse(with_head(theirs).as_bytes()).unwrap();
    let text = offer_like(&local(), Direction::SendRecv, Some(&theirs));
    let ours = Description::parse(&text).unwrap();
    let lines: Vec<_> = ours
        .streams()
        .iter()
        .map(|stream| (stream.media(), stream.port() == 0))
        .collect();
    assert_eq!(lines, [("video", true), ("audio", false), ("image", true)]);
    let read = |rest: &str| {
        let answer = Description::parse(with_head(rest).as_bytes()).unwrap();
        accept_like(&local(), Direction::SendRecv, &answer, Some(&theirs))
    };
    let agreed = read("m=video 0 RTP/AVP 96\nm=audio 4002 RTP/AVP 0\nm=image 0 udptl t38\n");
    assert_eq!(agreed.unwrap().remote.port(), 4002);
    assert_eq!(
        read("m=audio 4002 RTP/AVP 0\n").unwrap_err(),
        Unacceptable::NotAnAnswer
    );
}

#[test]
fn later_offer_keeps_the_number_of_telephone_events() {
    let offered = |formats: &str| {
        let theirs = with_head(&format!("m=audio 4000 RTP/AVP {formats}\n"));
        let theirs = Description::parse(theirs.as_bytes()).unwrap();
        let text = offer_like(&local(), Direction::SendRecv, Some(&theirs));
        String::from_utf8(text.to_vec()).unwrap()
    };
    let kept = offered("0 96\na=rtpmap:96 telephone-event/8000");
    assert!(kept.contains("a=rtpmap:96 telephone-event/8000"), "{kept}");
    let free = offered("0 101 96\na=rtpmap:101 opus/48000/2\na=rtpmap:96 AMR/8000");
    assert!(free.contains("a=rtpmap:97 telephone-event/8000"), "{free}");
    assert!(offered("0").contains("a=rtpmap:101 telephone-event/8000"));
}

#[test]
fn answer_does_no_more_than_it_is_told_to() {
    let within = |direction: &str, most| {
        let text = with_head(&format!("m=audio 4000 RTP/AVP 0\na={direction}\n"));
        let offer = Description::parse(text.as_bytes()).unwrap();
        sdp::answer_within(&offer, &local(), most)
            .unwrap()
            .1
            .direction
    };
    assert_eq!(within("sendrecv", Direction::RecvOnly), Direction::RecvOnly);
    assert_eq!(within("sendonly", Direction::SendOnly), Direction::Inactive);
    assert_eq!(within("recvonly", Direction::SendRecv), Direction::SendOnly);
}
