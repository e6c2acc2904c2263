use super::In::*;
use super::*;

#[test]
fn repeated_invite_gets_the_last_provisional_response_again() {
    let log = Run::takes("INVITE", UDP)
        .at(0.0, Again)
        .at(0.1, Respond(100))
        .at(0.5, Again)
        .at(0.6, Respond(180))
        .at(1.5, Again)
        .at(2.0, Respond(486))
        .at(2.2, Again)
        .at(2.3, Ack);
    assert_eq!(
        log.until_end(),
        [
            "0.1 send 100",
            "0.5 send 100",
            "0.6 send 180",
            "1.5 send 180",
            "2.0 send 486",
            "2.2 send 486",
            "7.3 end"
        ]
    );
}

#[test]
fn acceptance_may_be_sent_again_and_its_ack_is_passed_on() {
    let log = Run::takes("INVITE", UDP)
        .at(0.0, Respond(200))
        .at(0.5, Respond(200))
        .at(0.6, Ack)
        .until_end();
    assert_eq!(
        log,
        ["0.0 send 200", "0.5 send 200", "0.6 pass ACK", "32.0 end"]
    );
}

#[test]
fn second_final_response_is_misuse() {
    let log = Run::takes("INVITE", UDP)
        .at(0.0, Respond(200))
        .at(0.1, Respond(486))
        .at(0.2, Respond(180))
        .until_end();
    assert_eq!(
        log,
        [
            "0.0 send 200",
            "0.1 AlreadyAnswered",
            "0.2 AlreadyAnswered",
            "32.0 end"
        ]
    );
    let log = Run::takes("INVITE", UDP)
        .at(0.0, Respond(486))
        .at(0.1, Respond(200))
        .at(0.2, Ack)
        .until_end();
    assert_eq!(log, ["0.0 send 486", "0.1 AlreadyAnswered", "5.2 end"]);
    let log = Run::takes("BYE", UDP)
        .at(0.0, Respond(200))
        .at(0.1, Respond(481))
        .until_end();
    assert_eq!(log, ["0.0 send 200", "0.1 AlreadyAnswered", "32.0 end"]);
}

#[test]
fn ack_before_any_final_response_changes_nothing() {
    let log = Run::takes("INVITE", UDP)
        .at(0.0, Ack)
        .at(0.1, Respond(486))
        .at(0.2, Ack)
        .until_end();
    assert_eq!(log, ["0.1 send 486", "5.2 end"]);
}

#[test]
fn transport_failure_is_told_and_the_answer_still_repeated() {
    let log = Run::takes("BYE", UDP)
        .at(0.0, Respond(200))
        .at(0.1, Fail)
        .at(0.5, Again)
        .until_end();
    assert_eq!(
        log,
        ["0.0 send 200", "0.1 fail", "0.5 send 200", "32.0 end"]
    );
    let log = Run::takes("INVITE", TCP)
        .at(0.0, Respond(486))
        .at(0.1, Fail)
        .at(0.5, Ack)
        .until_end();
    assert_eq!(log, ["0.0 send 486", "0.1 fail", "0.5 end"]);
}

#[test]
fn only_invite_may_ring_and_nothing_else_is_answered_408() {
    let log = Run::takes("BYE", UDP)
        .at(0.0, Respond(180))
        .at(0.1, Respond(408))
        .at(0.2, Respond(100))
        .at(3.4, Respond(100))
        .at(3.6, Respond(100))
        .at(3.7, Again)
        .at(4.0, Respond(200));
    assert_eq!(
        log.until_end(),
        [
            "0.0 Provisional",
            "0.1 RequestTimeout",
            "0.2 TooEarly",
            "3.4 TooEarly",
            "3.6 send 100",
            "3.7 send 100",
            "4.0 send 200",
            "36.0 end",
        ]
    );
}

#[test]
fn hundred_over_a_stream_is_never_too_early() {
    let log = Run::takes("BYE", TCP)
        .at(0.1, Respond(100))
        .at(0.2, Respond(200))
        .until_end();
    assert_eq!(log, ["0.1 send 100", "0.2 send 200", "0.2 end"]);
}

#[test]
fn request_that_nobody_answers_ends_in_silence() {
    let log = Run::takes("OPTIONS", UDP)
        .at(1.0, Again)
        .at(32.5, Respond(200))
        .until_end();
    assert_eq!(log, ["32.0 time out", "32.0 end", "32.5 Unknown"]);
}

#[test]
fn status_that_is_none_is_misuse() {
    let bytes = Bytes::from_static(b"");
    let mut out = Outputs::new();
    let mut invite = ServerInvite::new(Timers::default(), UDP);
    let mut other = ServerRequest::new(Now::ZERO, Timers::default(), UDP);
    for status in [0, 99, 700] {
        assert_eq!(
            invite.respond(Now::ZERO, status, bytes.clone(), &mut out),
            Err(Misuse::NoStatus)
        );
        assert_eq!(
            other.respond(Now::ZERO, status, bytes.clone(), &mut out),
            Err(Misuse::NoStatus)
        );
    }
    assert!(out.is_empty());
}

/// The times at which a 2xx is sent again, and whether it was given up.
fn repetitions(mut machine: Retransmit2xx, ack: Option<f64>) -> Vec<String> {
    let ack = ack.map(|at| Now(Duration::from_secs_f64(at)));
    let (mut out, mut log) = (Outputs::new(), Vec::new());
    while let Some(due) = machine.poll_timeout() {
        if ack.is_some_and(|ack| ack < due) {
            machine.acknowledged();
            continue;
        }
        machine.handle_timeout(due, &mut out);
        log.extend(
            out.drain(..)
                .map(|output| format!("{} {}", seconds(due), describe(&output))),
        );
    }
    log
}

#[test]
fn acceptance_is_repeated_until_its_ack_comes() {
    let ok = response(200, "INVITE", "z9hG4bKa").bytes().clone();
    let machine = || Retransmit2xx::new(Now::ZERO, Timers::default(), ok.clone());
    assert_eq!(repetitions(machine(), Some(0.3)), [""; 0]);
    assert_eq!(
        repetitions(machine(), Some(2.0)),
        ["0.5 send 200", "1.5 send 200"]
    );
    let unheard = repetitions(machine(), None);
    assert_eq!(unheard.len(), 11);
    assert_eq!(unheard[3..5], ["7.5 send 200", "11.5 send 200"]);
    assert_eq!(unheard[10], "32.0 time out");
}
