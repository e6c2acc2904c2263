use call_control::transfer::ReturnType;

use super::*;
use crate::dice::Dice;
use crate::options::Options;
use crate::plan::SBC;

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
        bench.tell(&Fact::Admitted {
            seat: 0,
            call_id: "c-1".to_owned(),
            transfer: "t-0".to_owned(),
        });
        bench
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
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb\r\nMax-Forwards: 70\r\n\
             From: <sip:a@10.0.0.2>;tag=a\r\nTo: <sip:b@10.0.0.1>;tag=b\r\nCall-ID: c-1\r\n{lines}\r\n\r\n"
        );
        let message = ladder::parse(&Bytes::from(text)).unwrap();
        self.inspector
            .sent(Now::ZERO, GATEWAY, &message, &self.gateway.store);
    }

    fn close(&mut self, census: Census) {
        let censuses = [(GATEWAY, census), (SBC, Census::default())];
        self.inspector.close(Now::ZERO, &self.gateway, &censuses);
    }

    fn broken(&self) -> Option<Rule> {
        self.inspector.violation().map(|violation| violation.rule)
    }
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
        let lines =
            format!("CSeq: 1 {method}\r\nRefer-To: <sip:x@y>\r\nX-ASAPP-CallTransferId: t-0");
        bench.send(start, &lines);
        assert_eq!(bench.broken(), Some(Rule::StoreFirst));
    }
}

#[test]
fn refusal_before_the_claim_is_undone_is_noticed() {
    let mut bench = Bench::claimed();
    bench.send("SIP/2.0 503 Service Unavailable", "CSeq: 1 INVITE");
    assert_eq!(bench.broken(), Some(Rule::UndoneFirst));
}

#[test]
fn second_final_response_is_noticed_and_a_repeated_one_is_none() {
    let mut bench = Bench::new();
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
    bench.tell(&Fact::ResultStored { seat: 0 });
    assert_eq!(bench.broken(), None);
    bench.tell(&Fact::ResultStored { seat: 0 });
    assert_eq!(bench.broken(), Some(Rule::OneResultEach));
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
    bench.send("BYE sip:a@10.0.0.2 SIP/2.0", "CSeq: 1 INVITE");
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
