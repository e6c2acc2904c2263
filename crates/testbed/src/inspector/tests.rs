use bytes::Bytes;
use call_control::transfer::ReturnType;

use sip_core::Census;

use super::*;
use crate::dice::Dice;
use crate::gateway::Gateway;
use crate::options::{Behaviour, Options};
use crate::plan::{self, SBC};

const INVITE: &str = "INVITE sip:agent@10.0.0.1 SIP/2.0";
/// The names of a request of the gateway's in the dialog.
const OURS: &str = "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKours\r\nFrom: <sip:b@10.0.0.1>;tag=b\r\nTo: <sip:a@10.0.0.2>;tag=a";
const LEG: LegId = LegId(2);

struct Bench {
    inspector: Inspector,
    gateway: Gateway,
}

impl Bench {
    /// A gateway with one transfer, which a call has come for.
    fn new() -> Self {
        let plan = RunPlan::draw(&Options::plain(ReturnType::Bye), &mut Dice::new(1));
        let mut bench = Self {
            inspector: Inspector::new(&plan),
            gateway: Gateway::new(&plan, &mut Dice::new(2)),
        };
        bench.admit(0);
        bench
    }

    fn admit(&mut self, seat: usize) {
        self.tell(&Fact::Admitted {
            seat,
            leg: LEG,
            call_id: "c-1".to_owned(),
            transfer: "t-0".to_owned(),
        });
    }

    fn claimed() -> Self {
        let mut bench = Self::new();
        bench.gateway.store.claim(Now::ZERO, "t-0", 0);
        bench.tell(&claimed(0));
        bench
    }

    fn tell(&mut self, fact: &Fact) {
        self.inspector
            .fact(Now::ZERO, GATEWAY, fact, &self.gateway.store);
    }

    fn send(&mut self, start: &str, lines: &str) {
        let message = message(start, lines);
        let ends = (GATEWAY, SBC);
        let store = &self.gateway.store;
        self.inspector
            .sent(Now::ZERO, ends, (&message, false), store);
    }

    /// The gateway has answered, and heard the ACK; its own requests have the tags the other way.
    fn in_dialog(&mut self) {
        self.hear(INVITE, "CSeq: 1 INVITE\r\nTo: <sip:b@10.0.0.1>");
        self.send(
            "SIP/2.0 200 OK",
            "CSeq: 1 INVITE\r\nContact: <sip:b@10.0.0.1>",
        );
        self.hear("ACK sip:b@10.0.0.1 SIP/2.0", "CSeq: 1 ACK");
    }

    fn hear(&mut self, start: &str, lines: &str) {
        let message = message(start, lines);
        self.inspector.heard(Now::ZERO, GATEWAY, &message, false);
    }
    fn close(&mut self, census: Census) {
        let censuses = [(GATEWAY, census), (SBC, Census::default())];
        self.inspector.close(Now::ZERO, &self.gateway, &censuses);
    }

    fn broken(&self) -> Option<Rule> {
        self.inspector.violation().map(|violation| violation.rule)
    }
}

/// A message of one dialog; what the lines have counts before what stands here.
fn message(start: &str, lines: &str) -> Message {
    let mut text = format!("{start}\r\n");
    let usual = [
        ("Via", "SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb"),
        ("Max-Forwards", "70"),
        ("From", "<sip:a@10.0.0.2>;tag=a"),
        ("To", "<sip:b@10.0.0.1>;tag=b"),
        ("Call-ID", "c-1"),
    ];
    for (name, value) in usual {
        if !lines.contains(&format!("{name}: ")) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str(&format!("{lines}\r\n\r\n"));
    ladder::parse(&Bytes::from(text)).unwrap()
}

fn said(last: bool) -> Fact {
    Fact::LegSaid { leg: LEG, last }
}

fn claimed(seat: usize) -> Fact {
    let transfer = "t-0".to_owned();
    Fact::Claimed { seat, transfer }
}

const RECORDED: Fact = Fact::Recorded {
    seat: 0,
    handed_back: false,
    answered: true,
};

#[test]
fn leg_that_speaks_after_its_end_is_noticed() {
    let mut bench = Bench::new();
    bench.tell(&Fact::LegBegan(LEG));
    bench.tell(&said(false));
    bench.tell(&said(true));
    assert_eq!(bench.broken(), None);
    bench.tell(&said(true));
    assert_eq!(bench.broken(), Some(Rule::LegsEndOnce));
}

#[test]
fn leg_that_never_ends_is_noticed_at_the_end() {
    let mut bench = Bench::new();
    bench.tell(&Fact::LegBegan(LEG));
    bench.tell(&RECORDED);
    bench.close(Census::default());
    assert_eq!(bench.broken(), Some(Rule::LegsEndOnce));
}

#[test]
fn second_claim_of_a_transfer_is_noticed() {
    let mut bench = Bench::claimed();
    assert_eq!(bench.broken(), None);
    bench.tell(&claimed(1));
    assert_eq!(bench.broken(), Some(Rule::ClaimsStand));
}

#[test]
fn transfer_left_ongoing_is_noticed_when_its_call_is_recorded() {
    let mut bench = Bench::claimed();
    bench.tell(&RECORDED);
    assert_eq!(bench.broken(), Some(Rule::RecordsTrue));
}

#[test]
fn hand_back_before_the_result_is_stored_is_noticed() {
    for (start, method) in [
        ("BYE sip:a@10.0.0.2 SIP/2.0", "BYE"),
        ("REFER sip:a@10.0.0.2 SIP/2.0", "REFER"),
    ] {
        let mut bench = Bench::claimed();
        bench.in_dialog();
        let lines = format!(
            "CSeq: 1 {method}\r\n{OURS}\r\nRefer-To: <sip:x@y>\r\nX-ASAPP-CallTransferId: t-0"
        );
        bench.send(start, &lines);
        assert_eq!(bench.broken(), Some(Rule::StoreFirst));
    }
}

#[test]
fn refusal_before_the_claim_is_undone_is_noticed() {
    let mut bench = Bench::claimed();
    bench.hear(INVITE, "CSeq: 1 INVITE\r\nTo: <sip:b@10.0.0.1>");
    bench.send("SIP/2.0 503 Service Unavailable", "CSeq: 1 INVITE");
    assert_eq!(bench.broken(), Some(Rule::UndoneFirst));
}

#[test]
fn second_final_response_is_noticed_and_a_repeated_one_is_none() {
    let mut bench = Bench::new();
    bench.hear(INVITE, "CSeq: 1 INVITE\r\nTo: <sip:b@10.0.0.1>");
    bench.send(
        "SIP/2.0 200 OK",
        "CSeq: 1 INVITE\r\nContact: <sip:b@10.0.0.1>",
    );
    bench.send(
        "SIP/2.0 200 OK",
        "CSeq: 1 INVITE\r\nContact: <sip:b@10.0.0.1>",
    );
    assert_eq!(bench.broken(), None);
    bench.send("SIP/2.0 487 Request Terminated", "CSeq: 1 INVITE");
    assert_eq!(bench.broken(), Some(Rule::OneFinalResponse));
}

#[test]
fn result_without_a_completion_is_noticed() {
    let mut bench = Bench::claimed();
    bench.tell(&Fact::Completion { seat: 0 });
    bench.tell(&stored(false));
    assert_eq!(bench.broken(), None);
    bench.tell(&stored(false));
    assert_eq!(bench.broken(), Some(Rule::OneResultEach));
}

fn stored(empty: bool) -> Fact {
    Fact::ResultStored { seat: 0, empty }
}

#[test]
fn completion_without_a_result_beside_one_with_it_is_noticed() {
    for first in [true, false] {
        let mut bench = Bench::claimed();
        bench.tell(&Fact::Completion { seat: 0 });
        bench.tell(&stored(first));
        assert_eq!(bench.broken(), None);
        bench.tell(&stored(true));
        assert_eq!(bench.broken(), Some(Rule::OneResultEach));
    }
}

#[test]
fn second_outcome_of_a_transfer_is_noticed() {
    let mut bench = Bench::new();
    bench.admit(1);
    for (seat, broken) in [(0, None), (1, Some(Rule::OneOutcome))] {
        bench.tell(&Fact::Recorded {
            seat,
            handed_back: false,
            answered: true,
        });
        assert_eq!(bench.broken(), broken);
    }
}

#[test]
fn session_that_runs_out_where_only_datagrams_are_lost_is_noticed() {
    for (calm, broken) in [(false, None), (true, Some(Rule::SessionsStand))] {
        let mut bench = Bench::new();
        let mut plan = RunPlan::draw(&Options::plain(ReturnType::Bye), &mut Dice::new(1));
        plan.intervals = calm.then_some([Duration::from_secs(180); 3]);
        bench.inspector = Inspector::new(&plan);
        bench.tell(&Fact::Expired { leg: LEG });
        assert_eq!(bench.broken(), broken);
    }
}

#[test]
fn what_is_recovered_though_no_call_had_it_is_noticed() {
    let mut bench = Bench::claimed();
    bench
        .inspector
        .died(Now::ZERO, GATEWAY, &bench.gateway.store);
    let transfers = bench.gateway.store.recover(Now::ZERO);
    bench.tell(&Fact::Recovered { transfers });
    assert_eq!(bench.broken(), None);
    let transfers = vec!["t-0".to_owned()];
    bench.tell(&Fact::Recovered { transfers });
    assert_eq!(bench.broken(), Some(Rule::RecordsTrue));
}

#[test]
fn process_that_died_is_not_held_to_what_it_forgot() {
    let mut bench = Bench::claimed();
    bench.tell(&Fact::LegBegan(LEG));
    bench
        .inspector
        .died(Now::ZERO, GATEWAY, &bench.gateway.store);
    let transfers = bench.gateway.store.recover(Now::ZERO);
    bench.tell(&Fact::Recovered { transfers });
    bench.close(Census::default());
    assert_eq!(bench.broken(), None);
}

#[test]
fn what_an_endpoint_still_holds_is_noticed() {
    let mut bench = Bench::new();
    bench.tell(&RECORDED);
    bench.close(Census::default());
    assert_eq!(bench.broken(), None);
    let transactions = 1;
    bench.close(Census {
        transactions,
        ..Census::default()
    });
    assert_eq!(bench.broken(), Some(Rule::NothingLeft));
}

#[test]
fn message_without_its_mandatory_fields_is_noticed() {
    let mut bench = Bench::new();
    bench.send(
        "OPTIONS sip:a@10.0.0.2 SIP/2.0",
        "CSeq: 1 INVITE\r\nTo: <sip:b@10.0.0.1>",
    );
    assert_eq!(bench.broken(), Some(Rule::WellFormed));
}

#[test]
fn caller_with_neither_agent_nor_hand_back_is_noticed() {
    let mut bench = Bench::claimed();
    let lost = true;
    bench.tell(&Fact::Agent { seat: 0, lost });
    bench.inspector.moment(Now::from_millis(60_000));
    assert_eq!(bench.broken(), None, "nobody has acknowledged the call");
    bench.tell(&Fact::Acknowledged { seat: 0 });
    bench.inspector.moment(Now::from_millis(5_200));
    assert_eq!(bench.broken(), None);
    bench.inspector.moment(Now::from_millis(5_201));
    assert_eq!(bench.broken(), Some(Rule::HandBackInTime));
}

#[test]
fn agent_that_came_back_in_time_is_no_loss() {
    let mut bench = Bench::claimed();
    for lost in [true, false] {
        bench.tell(&Fact::Agent { seat: 0, lost });
    }
    bench.inspector.moment(Now::from_millis(60_000));
    assert_eq!(bench.broken(), None);
}

/// A request of the gateway's with its own branch.
fn ours(method: &str, number: u32, branch: &str) -> (String, String) {
    let names = OURS.replace("ours", branch);
    let start = format!("{method} sip:a@10.0.0.2 SIP/2.0");
    (start, format!("CSeq: {number} {method}\r\n{names}"))
}

#[test]
fn second_final_response_to_any_request_is_noticed() {
    let mut bench = Bench::new();
    bench.in_dialog();
    bench.hear("OPTIONS sip:b@10.0.0.1 SIP/2.0", "CSeq: 7 OPTIONS");
    bench.send("SIP/2.0 200 OK", "CSeq: 7 OPTIONS");
    assert_eq!(bench.broken(), None);
    bench.send("SIP/2.0 503 Service Unavailable", "CSeq: 7 OPTIONS");
    assert_eq!(bench.broken(), Some(Rule::OneFinalResponse));
}

#[test]
fn answer_to_an_ack_or_to_nothing_is_noticed() {
    for lines in ["CSeq: 1 ACK", "CSeq: 1 OPTIONS"] {
        let mut bench = Bench::new();
        bench.in_dialog();
        bench.send("SIP/2.0 481 Call Does Not Exist", lines);
        assert_eq!(bench.broken(), Some(Rule::AnswersWhatCame), "{lines}");
    }
}

#[test]
fn answer_after_something_corrupted_is_not_judged() {
    let mut bench = Bench::new();
    bench.inspector.garbled(GATEWAY);
    bench.send("SIP/2.0 400 Bad Request", "CSeq: 1 OPTIONS");
    assert_eq!(bench.broken(), None);
}

#[test]
fn sequence_number_that_does_not_rise_is_noticed_and_a_repetition_is_none() {
    let mut bench = Bench::new();
    bench.in_dialog();
    for (method, number, branch) in [("INFO", 5, "x"), ("INFO", 5, "x"), ("INFO", 6, "y")] {
        let (start, lines) = ours(method, number, branch);
        bench.send(&start, &lines);
        assert_eq!(bench.broken(), None, "{number} {branch}");
    }
    let (start, lines) = ours("INFO", 6, "z");
    bench.send(&start, &lines);
    assert_eq!(bench.broken(), Some(Rule::SequenceRises));
}

#[test]
fn request_that_goes_out_again_after_a_failure_is_none_out_of_order() {
    let mut bench = Bench::new();
    bench.in_dialog();
    for branch in ["x", "y"] {
        let (start, lines) = ours("INFO", 5, branch);
        bench.send(&start, &lines);
        bench.inspector.failed(Now::ZERO, GATEWAY);
    }
    assert_eq!(bench.broken(), None);
}

#[test]
fn branch_that_two_transactions_share_is_noticed() {
    let mut bench = Bench::new();
    bench.in_dialog();
    for (number, broken) in [(5, None), (6, Some(Rule::BranchesUnique))] {
        let (start, lines) = ours("INFO", number, "x");
        bench.send(&start, &lines);
        assert_eq!(bench.broken(), broken);
    }
}

/// An INVITE of the gateway's and 200s to it, from phones with these tags.
fn forked(tags: [&str; 2]) -> Bench {
    let mut bench = Bench::new();
    let names = "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKi\r\nFrom: <sip:b@10.0.0.1>;tag=b";
    let contact = "Contact: <sip:a@10.0.0.2>";
    bench.send(
        "INVITE sip:a@10.0.0.2 SIP/2.0",
        &format!("CSeq: 1 INVITE\r\n{names}\r\nTo: <sip:a@10.0.0.2>\r\n{contact}"),
    );
    for tag in tags {
        let to = format!("To: <sip:a@10.0.0.2>;tag={tag}");
        bench.hear(
            "SIP/2.0 200 OK",
            &format!("CSeq: 1 INVITE\r\n{names}\r\n{to}\r\n{contact}"),
        );
    }
    bench.tell(&RECORDED);
    bench
}

/// ACK or BYE of the gateway's to the phone with this tag.
fn to_fork(bench: &mut Bench, method: &str, number: u32, tag: &str) {
    let (start, lines) = ours(method, number, &format!("{method}{tag}"));
    bench.send(&start, &lines.replace("tag=a", &format!("tag={tag}")));
}

#[test]
fn phone_that_answered_and_is_neither_acknowledged_nor_ended_is_noticed() {
    for (left, broken) in [
        (None, None),
        (Some("ACK"), Some(Rule::ForksEnd)),
        (Some("BYE"), Some(Rule::ForksEnd)),
    ] {
        let mut bench = forked(["x", "y"]);
        for tag in ["x", "y"] {
            for (method, number) in [("ACK", 1), ("BYE", 2)] {
                if tag == "x" || left != Some(method) {
                    to_fork(&mut bench, method, number, tag);
                }
            }
        }
        bench.close(Census::default());
        assert_eq!(bench.broken(), broken, "without {left:?}");
    }
}

#[test]
fn bye_after_the_answer_to_the_peers_is_noticed_and_one_that_crosses_it_is_none() {
    for (crosses, broken) in [(true, None), (false, Some(Rule::OneBye))] {
        let mut bench = Bench::new();
        bench.in_dialog();
        let (start, lines) = ours("BYE", 5, "x");
        if crosses {
            bench.send(&start, &lines);
        }
        bench.hear("BYE sip:b@10.0.0.1 SIP/2.0", "CSeq: 2 BYE");
        bench.send("SIP/2.0 200 OK", "CSeq: 2 BYE");
        bench.send(&start, &lines);
        assert_eq!(bench.broken(), broken);
    }
}

#[test]
fn success_of_a_request_in_a_dialog_that_died_with_its_process_is_noticed() {
    for (status, broken) in [(481, None), (200, Some(Rule::UnknownDialogsGone))] {
        let mut bench = Bench::new();
        bench.in_dialog();
        bench
            .inspector
            .died(Now::ZERO, GATEWAY, &bench.gateway.store);
        bench.hear("BYE sip:b@10.0.0.1 SIP/2.0", "CSeq: 2 BYE");
        bench.send(&format!("SIP/2.0 {status} X"), "CSeq: 2 BYE");
        assert_eq!(bench.broken(), broken);
    }
}

#[test]
fn request_in_a_dialog_that_is_none_yet_is_noticed() {
    let mut bench = Bench::new();
    let (start, lines) = ours("INFO", 5, "x");
    bench.send(&start, &lines);
    assert_eq!(bench.broken(), Some(Rule::DialogFirst));
}

#[test]
fn bye_before_the_ack_is_noticed() {
    let mut bench = Bench::new();
    bench.hear(INVITE, "CSeq: 1 INVITE\r\nTo: <sip:b@10.0.0.1>");
    bench.send(
        "SIP/2.0 200 OK",
        "CSeq: 1 INVITE\r\nContact: <sip:b@10.0.0.1>",
    );
    let (start, lines) = ours("BYE", 5, "x");
    bench.send(&start, &lines);
    assert_eq!(bench.broken(), Some(Rule::DialogFirst));
}

#[test]
fn credentials_for_a_realm_that_the_peer_is_not_of_are_noticed() {
    for (realm, broken) in [
        (plan::SBC_REALM, None),
        (plan::GUARDED_REALM, Some(Rule::NoForeignCredentials)),
        (plan::FOREIGN_REALM, Some(Rule::NoForeignCredentials)),
    ] {
        let mut bench = Bench::new();
        bench.in_dialog();
        let (start, lines) = ours("INFO", 5, "x");
        let digest = format!(
            "Authorization: Digest username=\"u\", realm=\"{realm}\", nonce=\"n\", uri=\"sip:a\", response=\"0\""
        );
        bench.send(&start, &format!("{lines}\r\n{digest}"));
        assert_eq!(bench.broken(), broken, "{realm}");
    }
}

#[test]
fn transfer_that_is_answered_and_not_completed_is_noticed() {
    let mut bench = Bench::claimed();
    bench.in_dialog();
    bench.gateway.store.release("t-0", 1).unwrap();
    bench.tell(&RECORDED);
    bench.close(Census::default());
    assert_eq!(bench.broken(), Some(Rule::CompletedOnce));
}

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=ptime:20\r\n";

/// A call with media whose INVITE had an offer that was answered with this direction.
fn sounding(direction: &str) -> Bench {
    let mut options = Options::plain(ReturnType::Bye);
    options.behaviours.insert(Behaviour::Media);
    let mut plan = RunPlan::draw(&options, &mut Dice::new(1));
    plan.sounds = true;
    let mut bench = Bench {
        inspector: Inspector::new(&plan),
        ..Bench::claimed()
    };
    let answer = format!("{OFFER}a={direction}\r\n");
    let described = |cseq: &str, body: &str| {
        let length = body.len();
        let tag = "To: <sip:b@10.0.0.1>;tag=b";
        format!(
            "{tag}\r\n{cseq}\r\nContact: <sip:b@10.0.0.1>\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    // As in a run: the INVITE is heard before it is a call.
    let invite = described("CSeq: 1 INVITE", OFFER).replace(";tag=b", "");
    bench.hear(INVITE, &invite);
    bench.tell(&Fact::Admitted {
        seat: 0,
        leg: LEG,
        call_id: "c-1".to_owned(),
        transfer: "t-0".to_owned(),
    });
    bench.send("SIP/2.0 200 OK", &described("CSeq: 1 INVITE", &answer));
    bench.hear("ACK sip:b@10.0.0.1 SIP/2.0", "CSeq: 1 ACK");
    bench
}

/// The caller's call with packets every 20 ms from the first to the last of these instants.
fn packets(bench: &mut Bench, from: u64, to: u64, silent: bool) {
    for at in (from..=to).step_by(20) {
        bench.inspector.moment(Now::from_millis(at));
        bench.inspector.voice(Now::from_millis(at), 0, silent);
    }
}

#[test]
fn packet_that_is_missing_is_noticed_and_not_while_on_hold() {
    for (direction, broken) in [
        ("sendrecv", Some(Rule::VoiceEveryPtime)),
        ("recvonly", None),
    ] {
        let mut bench = sounding(direction);
        if broken.is_some() {
            packets(&mut bench, 20, 400, true);
            assert_eq!(bench.broken(), None);
        }
        bench.inspector.moment(Now::from_millis(425));
        assert_eq!(bench.broken(), None);
        bench.inspector.moment(Now::from_millis(426));
        assert_eq!(bench.broken(), broken, "{direction}");
    }
}

#[test]
fn packet_after_the_bye_or_on_hold_is_noticed() {
    for (direction, bye) in [("sendrecv", true), ("recvonly", false)] {
        let mut bench = sounding(direction);
        if bye {
            let (start, lines) = ours("BYE", 5, "x");
            bench.send(&start, &lines);
        }
        bench.inspector.voice(Now::from_millis(40), 0, true);
        assert_eq!(bench.broken(), None);
        bench.inspector.voice(Now::from_millis(41), 0, true);
        assert_eq!(bench.broken(), Some(Rule::NoVoiceAfterwards), "{direction}");
    }
}

#[test]
fn caller_who_waits_in_silence_is_noticed() {
    let mut bench = sounding("sendrecv");
    bench
        .gateway
        .store
        .complete(Now::ZERO, "t-0", 1, None)
        .unwrap();
    bench.inspector.excused.insert("t-0".to_owned());
    let invite = "INVITE sip:x@10.0.0.2 SIP/2.0";
    let names = OURS.replace(";tag=a", "").replace("ours", "out");
    bench.send(
        invite,
        &format!("CSeq: 1 INVITE\r\n{names}\r\nCall-ID: out\r\nContact: <sip:b@10.0.0.1>\r\nX-ASAPP-CallTransferId: t-0"),
    );
    assert_eq!(bench.broken(), None);
    packets(&mut bench, 20, 2_000, false);
    packets(&mut bench, 2_020, 7_000, true);
    assert_eq!(bench.broken(), None);
    packets(&mut bench, 7_020, 7_040, true);
    assert_eq!(bench.broken(), Some(Rule::NoLongSilence));
}
