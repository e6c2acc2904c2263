//! OPTIONS of ours outside every dialog.

use super::*;
use crate::{Ping, PingId};

fn ping(bench: &mut Bench, id: u64) -> Message {
    let ping = Ping {
        id: PingId(id),
        flow: bench.flow,
        uri: Bytes::from("sip:proxy.example.net:5070"),
        patience: None,
    };
    bench.input(Input::Ping(ping));
    bench.sent.remove(0).1
}

#[test]
fn options_of_ours_asks_for_no_user_and_says_what_we_can_do() {
    let mut bench = Bench::new(gateway());
    let options = ping(&mut bench, 1);
    assert_eq!(label(&options), "OPTIONS");
    assert_eq!(
        options.request_uri(),
        Some(&b"sip:proxy.example.net:5070"[..])
    );
    assert_eq!(field(&options, "To"), "<sip:proxy.example.net:5070>");
    assert_eq!(field(&options, "Accept"), "application/sdp");
    for name in ["Contact", "Allow", "Supported", "Max-Forwards"] {
        assert!(!field(&options, name).is_empty(), "{name}");
    }
    let next = ping(&mut bench, 2);
    assert_ne!(field(&options, "Call-ID"), field(&next, "Call-ID"));
    assert_ne!(field(&options, "From"), field(&next, "From"));
}

#[test]
fn every_final_answer_to_options_is_told_and_no_challenge_is_met() {
    let mut config = gateway();
    config.trunks[0].outbound_auth = Some(credentials(None));
    let mut bench = Bench::new(config);
    for (id, status) in [(1, 200), (2, 404), (3, 401), (4, 503), (5, 302)] {
        let options = ping(&mut bench, id);
        let asks = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\n";
        bench.hear(&answer_to(&options, 100, "", "", ""));
        assert!(bench.pinged.is_empty());
        bench.hear(&answer_to(&options, status, "t", asks, ""));
        bench.hear(&answer_to(&options, status, "t", asks, ""));
        assert_eq!(std::mem::take(&mut bench.pinged), [(id, status)]);
        assert!(bench.said().is_empty());
    }
    bench.pass(10.0);
    assert_eq!(bench.endpoint.census(), crate::Census::default());
}

#[test]
fn silence_to_options_is_408_after_32_seconds_and_a_failed_transport_503() {
    let mut bench = Bench::new(gateway());
    ping(&mut bench, 1);
    bench.pass(31.9);
    assert!(bench.pinged.is_empty());
    bench.pass(0.2);
    assert_eq!(std::mem::take(&mut bench.pinged), [(1, 408)]);
    assert_eq!(bench.said().len(), 10, "timer E");
    let options = ping(&mut bench, 2);
    bench.input(Input::SendFailed {
        flow: bench.flow,
        payload: options.bytes().clone(),
    });
    assert_eq!(bench.pinged, [(2, 503)]);
}

#[test]
fn options_that_cannot_begin_its_transaction_is_503() {
    let mut config = gateway();
    config.bounds.transactions = 0;
    let mut bench = Bench::new(config);
    let ping = Ping {
        id: PingId(9),
        flow: bench.flow,
        uri: Bytes::from("sip:proxy"),
        patience: None,
    };
    bench.input(Input::Ping(ping));
    assert_eq!(bench.pinged, [(9, 503)]);
}

#[test]
fn silence_to_options_may_be_given_less_time_which_a_provisional_answer_gives_back() {
    let mut bench = Bench::new(gateway());
    let ping = |id| Ping {
        id: PingId(id),
        flow: Flow::udp(
            "192.0.2.1:5060".parse().unwrap(),
            "192.0.2.9:5070".parse().unwrap(),
        ),
        uri: Bytes::from("sip:proxy.example.net"),
        patience: Some(Duration::from_secs(8)),
    };
    bench.input(Input::Ping(ping(1)));
    bench.pass(7.9);
    assert!(bench.pinged.is_empty());
    bench.pass(0.2);
    assert_eq!(std::mem::take(&mut bench.pinged), [(1, 408)]);
    assert_eq!(bench.said().len(), 5);
    bench.input(Input::Ping(ping(2)));
    let options = bench.last().clone();
    bench.hear(&answer_to(&options, 100, "", "", ""));
    bench.pass(31.0);
    assert!(bench.pinged.is_empty());
}
