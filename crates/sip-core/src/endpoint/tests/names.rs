//! Next hops that are hosts by name: asked for, followed, and passed over, RFC 3263.

use super::*;
use crate::{ConnectionId, Transport};

fn udp(remote: &str) -> Flow {
    Flow::udp("192.0.2.1:5060".parse().unwrap(), remote.parse().unwrap())
}

fn tcp(remote: &str) -> Flow {
    Flow {
        transport: Transport::Tcp,
        ..udp(remote)
    }
}

fn located(uri: &'static str, flows: &[Flow]) -> Command {
    Command::Located {
        uri: Bytes::from(uri),
        flows: flows.to_vec(),
    }
}

/// The URIs that were asked for since the last look; other events are dropped.
fn asked(bench: &mut Bench) -> Vec<String> {
    let uri_of = |event| {
        if let LegEvent::Locate { uri } = event {
            Some(String::from_utf8(uri.to_vec()).unwrap())
        } else {
            None
        }
    };
    bench.told().into_iter().filter_map(uri_of).collect()
}

const NAMED: &str = "sip:sbc@sbc.example.com:5080";

/// A call whose INVITE had these lines instead of its Contact stands; our tag in it.
fn standing_by(lines: &str, flow: Flow) -> (Bench, LegId, String) {
    let mut bench = Bench::new(gateway());
    bench.flow = flow;
    let mut invite = Req::invite().without("Contact");
    for line in lines.lines() {
        invite = invite.line(line);
    }
    bench.hear(&invite.text());
    let leg = bench.leg();
    bench.command(leg, accept());
    let tag = our_tag(bench.last());
    bench.hear(&Req::new("ACK", "ack", 1).to(&tag).text());
    bench.said();
    (bench, leg, tag)
}

fn bye_goes_to(bench: &mut Bench, leg: LegId) -> String {
    bench.command(leg, hang_up());
    let (flow, bye) = bench.sent.last().unwrap();
    assert_eq!(label(bye), "BYE");
    format!("{} {}", flow.transport, flow.remote)
}

#[test]
fn contact_by_name_is_located_once_and_then_followed() {
    let contact = format!("Contact: <{NAMED}>");
    let (mut bench, leg, _) = standing_by(&contact, udp("192.0.2.9:5070"));
    assert_eq!(asked(&mut bench), [NAMED]);
    bench.command(leg, located(NAMED, &[udp("192.0.2.60:5080")]));
    assert_eq!(bye_goes_to(&mut bench, leg), "udp 192.0.2.60:5080");
    assert_eq!(asked(&mut bench), [] as [&str; 0]);
}

#[test]
fn name_that_is_not_located_leaves_the_dialog_where_it_came_from() {
    let contact = format!("Contact: <{NAMED}>");
    for flows in [
        None,
        Some(vec![]),
        Some(vec![udp("10.0.0.1:5060"), udp("[2001:db8::1]:5060")]),
    ] {
        let (mut bench, leg, _) = standing_by(&contact, udp("192.0.2.9:5070"));
        if let Some(flows) = flows {
            bench.command(leg, located(NAMED, &flows));
        }
        assert_eq!(bye_goes_to(&mut bench, leg), "udp 192.0.2.9:5070");
    }
}

#[test]
fn of_several_addresses_the_one_that_the_dialog_is_with_comes_first() {
    let contact = format!("Contact: <{NAMED}>");
    let (mut bench, leg, _) = standing_by(&contact, udp("192.0.2.9:5070"));
    let both = [udp("192.0.2.60:5080"), udp("192.0.2.9:5080")];
    bench.command(leg, located(NAMED, &both));
    assert_eq!(bye_goes_to(&mut bench, leg), "udp 192.0.2.9:5080");
}

#[test]
fn record_route_by_name_is_located_instead_of_the_contact() {
    let lines = format!("Record-Route: <sip:edge.example.com;lr>\nContact: <{NAMED}>");
    let (mut bench, leg, _) = standing_by(&lines, udp("192.0.2.9:5070"));
    assert_eq!(asked(&mut bench), ["sip:edge.example.com;lr"]);
    let edge = "sip:edge.example.com;lr";
    bench.command(leg, located(edge, &[udp("192.0.2.70:5060")]));
    assert_eq!(bye_goes_to(&mut bench, leg), "udp 192.0.2.70:5060");
}

#[test]
fn refreshed_contact_is_located_anew_and_the_old_answer_does_not_count() {
    let contact = format!("Contact: <{NAMED}>");
    let (mut bench, leg, tag) = standing_by(&contact, udp("192.0.2.9:5070"));
    let update = Req::new("UPDATE", "u", 2).to(&tag);
    bench.hear(&update.line("Contact: <sip:sbc@other.example.com>").text());
    assert_eq!(asked(&mut bench), [NAMED, "sip:sbc@other.example.com"]);
    bench.command(leg, located(NAMED, &[udp("192.0.2.60:5080")]));
    assert_eq!(bye_goes_to(&mut bench, leg), "udp 192.0.2.9:5070");
}

#[test]
fn connection_of_the_dialog_is_kept_and_after_it_the_addresses_are_tried_in_turn() {
    let contact = "Contact: <sip:sbc@sbc.example.com;transport=tcp>";
    let flow = Flow {
        connection: Some(ConnectionId(7)),
        ..tcp("192.0.2.9:40000")
    };
    let (mut bench, leg, _) = standing_by(contact, flow);
    let uri = "sip:sbc@sbc.example.com;transport=tcp";
    let both = [tcp("192.0.2.60:5060"), tcp("192.0.2.61:5060")];
    bench.command(leg, located(uri, &both));
    let key = Command::Press {
        key: '1',
        duration_ms: 100,
    };
    bench.command(leg, key);
    assert_eq!(bench.sent.pop().unwrap().0, flow);
    bench.input(closed(7));
    assert_eq!(
        bench.sent.pop().unwrap().0.remote,
        both[0].remote,
        "INFO again"
    );
    assert_eq!(bye_goes_to(&mut bench, leg), "tcp 192.0.2.60:5060");
    let (flow, bye) = bench.sent.pop().unwrap();
    let payload = bye.bytes().clone();
    bench.input(Input::SendFailed { flow, payload });
    assert_eq!(bench.sent.last().unwrap().0.remote, both[1].remote);
}

#[test]
fn ack_goes_also_to_the_located_contact_of_a_target_and_its_requests_are_taken_from_there() {
    let mut bench = Bench::new(gateway());
    bench.input(Input::Place(Box::new(place(None, Some(SDP)))));
    let invite = bench.sent.remove(0).1;
    let lines = "Contact: <sip:pbx@pbx.example.net>\nContent-Type: application/sdp\n";
    let answer = answer_to(&invite, 200, "p", lines, SDP);
    bench.hear(&answer);
    assert_eq!(bench.sent.last().unwrap().0, udp("192.0.2.9:5070"));
    assert_eq!(asked(&mut bench), ["sip:pbx@pbx.example.net"]);
    let there = udp("192.0.2.60:5060");
    bench.command(OUT, located("sip:pbx@pbx.example.net", &[there]));
    bench.hear(&answer);
    let acks: Vec<Flow> = bench.sent.iter().map(|(flow, _)| *flow).collect();
    assert_eq!(acks, [udp("192.0.2.9:5070"), there, there]);
    assert_eq!(bench.said(), ["ACK", "ACK", "ACK"]);
    let bye = |branch: &str| {
        format!(
            "BYE sip:ann@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{branch}\nMax-Forwards: 70\nFrom: {}\nTo: {}\nCall-ID: {}\nCSeq: 1 BYE\nContent-Length: 0\n\n",
            field(&invite, "To") + ";tag=p",
            field(&invite, "From"),
            field(&invite, "Call-ID"),
        )
    };
    bench.hear_from(udp("192.0.2.61:5060"), &bye("x"));
    bench.hear_from(there, &bye("y"));
    assert_eq!(bench.said(), ["403 BYE", "200 BYE"]);
}

#[test]
fn early_dialog_is_located_before_its_200_so_that_the_ack_finds_it() {
    let mut bench = Bench::new(gateway());
    bench.input(Input::Place(Box::new(place(None, Some(SDP)))));
    let invite = bench.sent.remove(0).1;
    let lines = "Contact: <sip:pbx@pbx.example.net>\n";
    bench.hear(&answer_to(&invite, 180, "p", lines, ""));
    assert_eq!(asked(&mut bench), ["sip:pbx@pbx.example.net"]);
    let there = udp("192.0.2.60:5060");
    bench.command(OUT, located("sip:pbx@pbx.example.net", &[there]));
    let lines = format!("{lines}Content-Type: application/sdp\n");
    bench.hear(&answer_to(&invite, 200, "p", &lines, SDP));
    assert_eq!(bench.sent.last().unwrap().0, there);
    assert_eq!(asked(&mut bench), [] as [&str; 0], "it is the same name");
}

#[test]
fn peer_that_names_another_host_in_each_request_has_two_looked_up_at_a_time() {
    let contact = format!("Contact: <{NAMED}>");
    let (mut bench, leg, tag) = standing_by(&contact, udp("192.0.2.9:5070"));
    for n in 2..20 {
        let line = format!("Contact: <sip:sbc@host{n}.example.com>");
        let branch: &'static str = Box::leak(format!("u{n}").into_boxed_str());
        bench.hear(&Req::new("UPDATE", branch, n).to(&tag).line(&line).text());
    }
    assert_eq!(asked(&mut bench), [NAMED, "sip:sbc@host2.example.com"]);
    bench.command(leg, located(NAMED, &[udp("192.0.2.60:5080")]));
    assert_eq!(
        asked(&mut bench),
        ["sip:sbc@host19.example.com"],
        "the latest"
    );
    let last = "sip:sbc@host19.example.com";
    bench.command(leg, located(last, &[udp("192.0.2.61:5060")]));
    assert_eq!(bye_goes_to(&mut bench, leg), "udp 192.0.2.61:5060");
}
