use super::In::*;
use super::*;

#[test]
fn rejection_is_acknowledged_again_when_repeated() {
    let log = Run::sends("INVITE", UDP)
        .at(0.2, Response(180))
        .at(9.0, Response(486))
        .at(9.5, Response(486));
    assert_eq!(
        log.until_end(),
        [
            "0.0 send INVITE",
            "0.2 pass 180",
            "9.0 send ACK",
            "9.0 pass 486",
            "9.5 send ACK",
            "41.0 end"
        ]
    );
}

#[test]
fn ringing_peer_is_not_called_again_and_may_ring_for_long() {
    let log = Run::sends("INVITE", UDP)
        .at(0.7, Response(180))
        .at(170.0, Response(180))
        .at(171.0, Response(200));
    assert_eq!(
        log.until_end(),
        [
            "0.0 send INVITE",
            "0.5 send INVITE",
            "0.7 pass 180",
            "170.0 pass 180",
            "171.0 pass 200",
            "203.0 end"
        ]
    );
}

#[test]
fn lost_invite_is_made_good_by_its_repetition() {
    let log = Run::sends("INVITE", UDP)
        .at(1.6, Response(100))
        .at(2.0, Response(200))
        .until_end();
    assert_eq!(
        log,
        [
            "0.0 send INVITE",
            "0.5 send INVITE",
            "1.5 send INVITE",
            "1.6 pass 100",
            "2.0 pass 200",
            "34.0 end"
        ]
    );
}

#[test]
fn late_and_crossing_responses_after_the_final_one_are_absorbed() {
    let log = Run::sends("INVITE", UDP)
        .at(0.1, Response(200))
        .at(0.2, Response(180))
        .at(0.3, Response(486));
    assert_eq!(
        log.until_end(),
        ["0.0 send INVITE", "0.1 pass 200", "32.1 end"]
    );
    let log = Run::sends("INVITE", UDP)
        .at(0.1, Response(486))
        .at(0.2, Response(180))
        .at(0.3, Response(200));
    assert_eq!(
        log.until_end(),
        [
            "0.0 send INVITE",
            "0.1 send ACK",
            "0.1 pass 486",
            "32.1 end"
        ]
    );
    let log = Run::sends("BYE", UDP)
        .at(0.1, Response(200))
        .at(0.2, Response(100))
        .at(0.3, Response(481));
    assert_eq!(log.until_end(), ["0.0 send BYE", "0.1 pass 200", "5.1 end"]);
}

#[test]
fn cancel_without_effect_ends_the_invite_after_32_seconds() {
    let log = Run::sends("INVITE", UDP)
        .at(0.2, Response(180))
        .at(10.0, Cancelled)
        .at(11.0, Cancelled)
        .until_end();
    assert_eq!(
        log,
        [
            "0.0 send INVITE",
            "0.2 pass 180",
            "42.0 time out",
            "42.0 end"
        ]
    );
}

#[test]
fn cancel_that_works_is_followed_by_487_and_its_ack() {
    let log = Run::sends("INVITE", TCP)
        .at(0.2, Response(180))
        .at(1.0, Cancelled)
        .at(1.1, Response(487))
        .until_end();
    assert_eq!(
        log,
        [
            "0.0 send INVITE",
            "0.2 pass 180",
            "1.1 send ACK",
            "1.1 pass 487",
            "1.1 end"
        ]
    );
}

#[test]
fn cancel_that_comes_too_late_leaves_an_accepted_invite() {
    let log = Run::sends("INVITE", UDP)
        .at(0.2, Response(180))
        .at(1.0, Cancelled)
        .at(1.1, Response(200))
        .until_end();
    assert_eq!(
        log,
        [
            "0.0 send INVITE",
            "0.2 pass 180",
            "1.1 pass 200",
            "33.1 end"
        ]
    );
}

#[test]
fn transport_failure_is_told_before_a_final_response_and_not_after() {
    for method in ["INVITE", "BYE"] {
        let send = format!("0.0 send {method}");
        assert_eq!(
            Run::sends(method, TCP).at(0.1, Fail).until_end(),
            [&send, "0.1 fail", "0.1 end"]
        );
        let log = Run::sends(method, TCP)
            .at(0.1, Response(100))
            .at(0.2, Fail)
            .until_end();
        assert_eq!(log, [&send, "0.1 pass 100", "0.2 fail", "0.2 end"]);
        let log = Run::sends(method, UDP)
            .at(0.1, Response(200))
            .at(0.2, Fail)
            .until_end();
        assert!(!log.iter().any(|line| line.contains("fail")), "{log:?}");
    }
    let log = Run::sends("INVITE", UDP)
        .at(0.1, Response(486))
        .at(0.2, Fail)
        .until_end();
    assert_eq!(
        log,
        ["0.0 send INVITE", "0.1 send ACK", "0.1 pass 486", "0.2 end"]
    );
}

#[test]
fn ack_of_a_refusal_has_the_invites_branch_and_route_and_the_responses_to() {
    let invite = parse(
        "INVITE sip:bob@b.example;x=1 SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bKq;rport\r\n\
         Route: <sip:p1.example;lr>\r\nRoute: <sip:p2.example;lr>, <sip:p3.example;lr>\r\n\
         From: Alice <sip:alice@a.example>;tag=f1\r\nTo: <sip:bob@b.example>\r\nCall-ID: c1\r\n\
         CSeq: 4711 INVITE\r\nContact: <sip:alice@a.example>\r\nMax-Forwards: 12\r\nContent-Length: 2\r\n\r\nv=",
    );
    let ack = ack_for(&invite, &response(486, "INVITE", "z9hG4bKq"));
    assert_eq!(
        std::str::from_utf8(&ack).unwrap(),
        "ACK sip:bob@b.example;x=1 SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bKq;rport\r\n\
         Max-Forwards: 70\r\nRoute: <sip:p1.example;lr>\r\nRoute: <sip:p2.example;lr>, <sip:p3.example;lr>\r\n\
         From: Alice <sip:alice@a.example>;tag=f1\r\nTo: <sip:bob@b.example>;tag=t1\r\nCall-ID: c1\r\n\
         CSeq: 4711 ACK\r\nContent-Length: 0\r\n\r\n"
    );
    let cancel = parse(std::str::from_utf8(&cancel_for(&invite)).unwrap());
    assert_eq!(cancel.header("CSeq").as_deref(), Some(&b"4711 CANCEL"[..]));
    assert_eq!(
        cancel.header("To").as_deref(),
        Some(&b"<sip:bob@b.example>"[..])
    );
    assert_eq!(Key::cancelled(&cancel), Key::server(&invite));
}
