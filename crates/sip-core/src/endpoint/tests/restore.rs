//! Dialogs that outlive their process: what is kept of them, and what another process does with it.

use super::*;
use crate::{ConnectionId, DialogCheckpoint, Restore, Transport, TrunkId};

/// A survivor at another address that knows of nothing but the checkpoint.
fn survivor(dialog: DialogCheckpoint) -> Bench {
    let mut bench = Bench::at("192.0.2.2:5060", "192.0.2.9:5070", gateway(), 2);
    let restore = Restore {
        leg: OUT,
        dialog,
        flow: bench.flow,
        trunk: Some(TrunkId(0)),
    };
    bench.input(Input::Restore(Box::new(restore)));
    bench
}

fn routed() -> (Bench, LegId, String) {
    let mut bench = Bench::new(gateway());
    let invite = Req::invite().line("Record-Route: <sip:192.0.2.9:5080;lr>");
    bench.hear(&invite.text());
    let leg = bench.leg();
    let early = bench.endpoint.checkpoint(leg);
    bench.command(leg, accept());
    assert_eq!(
        bench.endpoint.checkpoint(leg),
        early,
        "it is known before the answer"
    );
    let tag = our_tag(bench.last());
    bench.hear(&Req::new("ACK", "ack", 1).to(&tag).text());
    (bench, leg, tag)
}

/// The dialog's own identifiers, our number a thousand higher, and the survivor's Contact.
fn check_identity(invite: &Message, tag: &str) {
    let expected = [
        ("CSeq", "1000 INVITE".to_owned()),
        ("Call-ID", "call-1".to_owned()),
        ("From", format!("<sip:agent@192.0.2.1>;tag={tag}")),
        ("To", "\"Ann\" <sip:ann@example.com>;tag=theirs".to_owned()),
        ("Contact", "<sip:agent@192.0.2.2:5060>".to_owned()),
    ];
    for (name, value) in expected {
        assert_eq!(field(invite, name), value);
    }
}

#[test]
fn a_restored_dialog_goes_on_a_thousand_numbers_later_with_the_survivors_contact() {
    let (bench, leg, tag) = routed();
    let dialog = bench.endpoint.checkpoint(leg).unwrap();
    let mut heir = survivor(dialog);
    heir.command(OUT, Command::Reoffer { sdp: SDP.into() });
    let (flow, invite) = heir.sent.pop().unwrap();
    assert_eq!(invite.request_uri(), Some(&b"sip:sbc@192.0.2.9:5070"[..]));
    assert_eq!(flow.remote.to_string(), "192.0.2.9:5080");
    assert_eq!(field(&invite, "Route"), "<sip:192.0.2.9:5080;lr>");
    check_identity(&invite, &tag);
    heir.hear(&answer_to(&invite, 200, "", CONTACT, SDP));
    assert_eq!(heir.said(), ["ACK"]);
    assert_eq!(heir.told().len(), 1, "the answer");
    heir.command(OUT, hang_up());
    assert_eq!(field(heir.last(), "CSeq"), "1001 BYE");
    let bye = heir.last().clone();
    heir.hear(&answer_to(&bye, 200, "", "", ""));
    assert_eq!(heir.told(), [ended(Ended::ByeAnswered(200))]);
    assert_eq!(heir.endpoint.census().legs, 0);
}

#[test]
fn the_peer_finds_the_survivor_in_its_dialog_and_an_old_number_is_refused() {
    let (bench, leg, tag) = routed();
    let mut heir = survivor(bench.endpoint.checkpoint(leg).unwrap());
    heir.hear(&Req::new("OPTIONS", "old", 1).to(&tag).text());
    assert_eq!(heir.said(), ["500 OPTIONS"]);
    heir.hear(&Req::new("BYE", "bye", 2).to(&tag).text());
    assert_eq!(heir.said(), ["200 BYE"]);
    assert_eq!(heir.told().last(), Some(&ended(Ended::HungUp)));
}

#[test]
fn a_target_refresh_is_part_of_what_is_kept() {
    let (mut bench, leg, tag) = standing();
    let moved = Req::new("INVITE", "again", 2)
        .to(&tag)
        .line("Contact: <sip:sbc@192.0.2.10:5090>")
        .line("Content-Type: application/sdp")
        .body(SDP);
    bench.hear(&moved.text());
    bench.command(leg, Command::Answer { sdp: SDP.into() });
    let dialog = bench.endpoint.checkpoint(leg).unwrap();
    assert_eq!(dialog.remote_target, "sip:sbc@192.0.2.10:5090");
    assert_eq!((dialog.local_cseq, dialog.remote_cseq), (0, Some(2)));
    bench.command(leg, hang_up());
    assert_eq!(bench.endpoint.checkpoint(leg), None, "it is being hung up");
}

#[test]
fn over_tcp_the_survivor_opens_a_connection_to_the_remote_target() {
    let (bench, leg, _) = standing();
    let mut dialog = bench.endpoint.checkpoint(leg).unwrap();
    dialog.transport = Transport::Tcp;
    let mut heir = Bench::at("192.0.2.2:5060", "192.0.2.9:40123", gateway(), 2);
    heir.flow.transport = Transport::Tcp;
    heir.flow.connection = Some(ConnectionId(7));
    let restore = Restore {
        leg: OUT,
        dialog,
        flow: heir.flow,
        trunk: Some(TrunkId(0)),
    };
    heir.input(Input::Restore(Box::new(restore)));
    heir.command(OUT, hang_up());
    let (flow, bye) = heir.sent.pop().unwrap();
    assert_eq!((flow.transport, flow.connection), (Transport::Tcp, None));
    assert_eq!(flow.remote.to_string(), "192.0.2.9:5070");
    assert_eq!(label(&bye), "BYE");
}

#[test]
fn a_dialog_that_stands_is_not_restored_over_itself() {
    let (mut bench, leg, tag) = standing();
    let restore = Restore {
        leg: LegId(9),
        dialog: bench.endpoint.checkpoint(leg).unwrap(),
        flow: bench.flow,
        trunk: None,
    };
    bench.input(Input::Restore(Box::new(restore)));
    assert_eq!(bench.told(), [ended(Ended::Gone(481))]);
    bench.hear(&Req::new("BYE", "bye", 2).to(&tag).text());
    assert_eq!(bench.said(), ["200 BYE"]);
}
