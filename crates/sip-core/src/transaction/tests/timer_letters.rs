//! One story for each timer of RFC 3261 table 4 and of RFC 6026. There is none for timer C, which
//! only proxies have.

use super::In::*;
use super::*;

#[test]
fn a_and_b_silent_peer_gets_seven_invites_then_timeout() {
    let log = Run::sends("INVITE", UDP).until_end();
    assert_eq!(
        log,
        [
            "0.0 send INVITE",
            "0.5 send INVITE",
            "1.5 send INVITE",
            "3.5 send INVITE",
            "7.5 send INVITE",
            "15.5 send INVITE",
            "31.5 send INVITE",
            "32.0 time out",
            "32.0 end",
        ]
    );
}

#[test]
fn a_does_not_run_over_a_stream_and_b_does() {
    let log = Run::sends("INVITE", TCP).until_end();
    assert_eq!(log, ["0.0 send INVITE", "32.0 time out", "32.0 end"]);
}

#[test]
fn d_refusal_is_acknowledged_again_for_32_seconds() {
    let log = Run::sends("INVITE", UDP)
        .at(0.2, Response(486))
        .at(32.1, Response(486))
        .at(32.3, Response(486));
    assert_eq!(
        log.until_end(),
        [
            "0.0 send INVITE",
            "0.2 send ACK",
            "0.2 pass 486",
            "32.1 send ACK",
            "32.2 end",
            "32.3 stray 486"
        ]
    );
}

#[test]
fn d_is_zero_over_a_stream() {
    let log = Run::sends("INVITE", TCP).at(0.2, Response(486)).until_end();
    assert_eq!(
        log,
        ["0.0 send INVITE", "0.2 send ACK", "0.2 pass 486", "0.2 end"]
    );
}

#[test]
fn e_doubles_to_four_seconds_and_f_ends_it() {
    let log = Run::sends("BYE", UDP).until_end();
    assert_eq!(
        log,
        [
            "0.0 send BYE",
            "0.5 send BYE",
            "1.5 send BYE",
            "3.5 send BYE",
            "7.5 send BYE",
            "11.5 send BYE",
            "15.5 send BYE",
            "19.5 send BYE",
            "23.5 send BYE",
            "27.5 send BYE",
            "31.5 send BYE",
            "32.0 time out",
            "32.0 end",
        ]
    );
}

#[test]
fn e_fires_every_four_seconds_after_a_provisional_response() {
    let log = Run::sends("BYE", UDP)
        .at(0.1, Response(100))
        .at(9.0, Response(200))
        .until_end();
    assert_eq!(
        log,
        [
            "0.0 send BYE",
            "0.1 pass 100",
            "0.5 send BYE",
            "4.5 send BYE",
            "8.5 send BYE",
            "9.0 pass 200",
            "14.0 end"
        ]
    );
}

#[test]
fn e_does_not_run_over_a_stream_and_f_does() {
    let log = Run::sends("BYE", TCP).at(1.0, Response(100)).until_end();
    assert_eq!(
        log,
        ["0.0 send BYE", "1.0 pass 100", "32.0 time out", "32.0 end"]
    );
}

#[test]
fn g_repeats_a_refusal_doubling_to_four_seconds_and_h_gives_up() {
    let log = Run::takes("INVITE", UDP).at(1.0, Respond(486)).until_end();
    assert_eq!(
        log,
        [
            "1.0 send 486",
            "1.5 send 486",
            "2.5 send 486",
            "4.5 send 486",
            "8.5 send 486",
            "12.5 send 486",
            "16.5 send 486",
            "20.5 send 486",
            "24.5 send 486",
            "28.5 send 486",
            "32.5 send 486",
            "33.0 time out",
            "33.0 end",
        ]
    );
}

#[test]
fn g_does_not_run_over_a_stream_and_h_does() {
    let log = Run::takes("INVITE", TCP).at(1.0, Respond(486)).until_end();
    assert_eq!(log, ["1.0 send 486", "33.0 time out", "33.0 end"]);
}

#[test]
fn i_absorbs_repeated_acks_for_five_seconds() {
    let log = Run::takes("INVITE", UDP)
        .at(0.0, Respond(486))
        .at(0.1, Ack)
        .at(0.2, Ack)
        .at(5.0, Again)
        .at(5.2, Ack);
    assert_eq!(
        log.until_end(),
        ["0.0 send 486", "5.1 end", "5.2 stray ACK"]
    );
}

#[test]
fn i_is_zero_over_a_stream() {
    let log = Run::takes("INVITE", TCP)
        .at(0.0, Respond(486))
        .at(0.1, Ack)
        .until_end();
    assert_eq!(log, ["0.0 send 486", "0.1 end"]);
}

#[test]
fn j_repeats_the_answer_for_32_seconds() {
    let log = Run::takes("BYE", UDP)
        .at(0.0, Respond(200))
        .at(0.5, Again)
        .at(31.9, Again)
        .at(32.1, Again);
    assert_eq!(
        log.until_end(),
        [
            "0.0 send 200",
            "0.5 send 200",
            "31.9 send 200",
            "32.0 end",
            "32.1 stray BYE"
        ]
    );
}

#[test]
fn j_is_zero_over_a_stream() {
    let log = Run::takes("BYE", TCP).at(0.1, Respond(200)).until_end();
    assert_eq!(log, ["0.1 send 200", "0.1 end"]);
}

#[test]
fn k_absorbs_repeated_answers_for_five_seconds() {
    let log = Run::sends("BYE", UDP)
        .at(0.1, Response(200))
        .at(5.0, Response(200))
        .at(5.2, Response(200));
    assert_eq!(
        log.until_end(),
        ["0.0 send BYE", "0.1 pass 200", "5.1 end", "5.2 stray 200"]
    );
}

#[test]
fn k_is_zero_over_a_stream() {
    let log = Run::sends("BYE", TCP).at(0.1, Response(200)).until_end();
    assert_eq!(log, ["0.0 send BYE", "0.1 pass 200", "0.1 end"]);
}

#[test]
fn l_absorbs_the_repeated_invite_for_32_seconds_after_acceptance() {
    for transport in [UDP, TCP] {
        let log = Run::takes("INVITE", transport)
            .at(1.0, Respond(200))
            .at(1.5, Again)
            .at(32.9, Again)
            .at(33.1, Again);
        assert_eq!(
            log.until_end(),
            ["1.0 send 200", "33.0 end", "33.1 stray INVITE"]
        );
    }
}

#[test]
fn m_passes_repeated_and_forked_acceptances_for_32_seconds() {
    for transport in [UDP, TCP] {
        let log = Run::sends("INVITE", transport)
            .at(0.4, Response(200))
            .at(0.9, Response(200))
            .at(32.5, Response(200));
        assert_eq!(
            log.until_end(),
            [
                "0.0 send INVITE",
                "0.4 pass 200",
                "0.9 pass 200",
                "32.4 end",
                "32.5 stray 200"
            ]
        );
    }
}
