//! RFC 3263 and RFC 2782 by tables.

use super::target::service_name;
use super::*;

const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

fn read(uri: &str) -> Uri {
    Uri::parse(uri.as_bytes()).unwrap()
}

fn target(uri: &str) -> Result<Target, NotLocated> {
    Target::of(&read(uri))
}

fn plan(uri: &str) -> Plan {
    target(uri).unwrap().plan(&ALL).unwrap()
}

fn naptr(order: u16, preference: u16, services: &str, replacement: &str) -> Naptr {
    Naptr {
        order,
        preference,
        flags: "s".to_owned(),
        services: services.to_owned(),
        regexp: String::new(),
        replacement: replacement.to_owned(),
    }
}

fn srv(priority: u16, weight: u16, target: &str) -> Srv {
    Srv {
        priority,
        weight,
        port: 5060,
        target: target.to_owned(),
    }
}

#[test]
fn uri_says_what_is_looked_up() {
    let v4: IpAddr = "192.0.2.1".parse().unwrap();
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    let table = [
        ("sip:a@192.0.2.1", Plan::Literal(Transport::Udp, v4, 5060)),
        ("sips:a@192.0.2.1", Plan::Literal(Transport::Tls, v4, 5061)),
        (
            "sip:a@192.0.2.1;transport=TCP",
            Plan::Literal(Transport::Tcp, v4, 5060),
        ),
        (
            "sip:a@192.0.2.1;transport=tls",
            Plan::Literal(Transport::Tls, v4, 5061),
        ),
        (
            "sip:a@[2001:db8::1]:5070",
            Plan::Literal(Transport::Udp, v6, 5070),
        ),
        (
            "sip:a@example.com;maddr=192.0.2.1",
            Plan::Literal(Transport::Udp, v4, 5060),
        ),
        (
            "sip:a@example.com:5070",
            Plan::Addresses(Transport::Udp, 5070),
        ),
        (
            "sips:a@example.com:5070",
            Plan::Addresses(Transport::Tls, 5070),
        ),
        (
            "sip:a@example.com:5060;transport=tcp",
            Plan::Addresses(Transport::Tcp, 5060),
        ),
        (
            "sip:a@example.com;transport=udp",
            Plan::Service(Transport::Udp),
        ),
        (
            "sip:a@example.com;transport=tls",
            Plan::Service(Transport::Tls),
        ),
        (
            "sips:a@example.com;transport=tcp",
            Plan::Service(Transport::Tls),
        ),
        ("sip:a@example.com", Plan::Discover),
        ("sips:a@example.com", Plan::Discover),
    ];
    for (uri, expected) in table {
        assert_eq!(plan(uri), expected, "{uri}");
    }
}

#[test]
fn certificate_must_carry_the_uris_own_host_whatever_maddr_says() {
    let target = target("sips:a@sip.example.com;maddr=edge.example.net").unwrap();
    assert_eq!(
        (target.host.as_str(), target.domain.as_str()),
        ("edge.example.net", "sip.example.com")
    );
}

#[test]
fn transport_that_is_not_spoken_is_named() {
    let named = |name: &str| Err(NotLocated::Transport(name.to_owned()));
    assert_eq!(target("sip:a@example.com;transport=ws"), named("ws"));
    assert_eq!(target("sip:a@example.com;transport=sctp"), named("sctp"));
    assert_eq!(target("sips:a@example.com;transport=udp"), named("udp"));
    assert_eq!(target("tel:+1"), Err(NotLocated::NotSip));
    let no_tls = [Transport::Udp, Transport::Tcp];
    let secure = target("sips:a@example.com").unwrap().plan(&no_tls);
    assert_eq!(secure, Err(NotLocated::Transport("tls".to_owned())));
    let tcp_only = target("sip:a@192.0.2.1").unwrap().plan(&[Transport::Tcp]);
    assert!(matches!(
        tcp_only,
        Ok(Plan::Literal(Transport::Tcp, _, 5060))
    ));
}

#[test]
fn services_of_naptr_records_come_by_order_and_preference() {
    // The example of RFC 3263 §4.1.
    let records = [
        naptr(90, 50, "SIP+D2T", "_sip._tcp.example.com."),
        naptr(100, 50, "SIP+D2U", "_sip._udp.example.com."),
        naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
    ];
    let chosen = |secure, spoken: &[Transport]| {
        services(&records, secure, spoken)
            .into_iter()
            .map(|(transport, name)| format!("{transport} {name}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(chosen(false, &ALL), ["tls _sips._tcp.example.com."]);
    assert_eq!(
        chosen(false, &[Transport::Udp, Transport::Tcp]),
        ["tcp _sip._tcp.example.com."]
    );
    assert_eq!(
        chosen(false, &[Transport::Udp]),
        ["udp _sip._udp.example.com."]
    );
    assert_eq!(chosen(true, &[Transport::Udp]), [""; 0]);
    assert_eq!(chosen(true, &ALL), ["tls _sips._tcp.example.com."]);
}

#[test]
fn naptr_records_of_the_same_order_are_all_used_by_preference() {
    let records = [
        naptr(10, 20, "sip+d2u", "second."),
        naptr(10, 10, "SIP+D2T", "first."),
        naptr(20, 1, "SIP+D2T", "never."),
    ];
    let names: Vec<String> = services(&records, false, &ALL)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["first.", "second."]);
}

#[test]
fn naptr_records_of_other_applications_are_left_aside() {
    let mut expression = naptr(1, 1, "SIP+D2U", "a.");
    expression.regexp = "!^.*$!sip:b@example.com!".to_owned();
    let mut terminal = naptr(1, 1, "SIP+D2U", "a.");
    terminal.flags = "u".to_owned();
    let enumerated = naptr(1, 1, "E2U+sip", "a.");
    let records = [expression, terminal, enumerated];
    assert_eq!(services(&records, false, &ALL), []);
}

#[test]
fn priorities_come_in_order_and_every_record_once() {
    let records = vec![
        srv(20, 0, "d"),
        srv(10, 60, "a"),
        srv(10, 20, "b"),
        srv(10, 20, "c"),
    ];
    for seed in 0..200_u32 {
        let mut state = seed;
        let ordered = by_weight(records.clone(), |most| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % (most + 1)
        });
        assert_eq!(ordered.len(), 4);
        assert_eq!(ordered[3].target, "d");
        for name in ["a", "b", "c"] {
            assert!(ordered.iter().any(|record| record.target == name));
        }
    }
}

#[test]
fn weights_share_the_calls_in_their_proportion() {
    let records = vec![srv(1, 60, "a"), srv(1, 30, "b"), srv(1, 10, "c")];
    let mut first = std::collections::HashMap::new();
    // Every number that can be drawn at the first place, once: the distribution is exact, not a sample.
    for drawn in 0..=100 {
        let mut draws = vec![drawn];
        let ordered = by_weight(records.clone(), |_| draws.pop().unwrap_or(0));
        *first.entry(ordered[0].target.clone()).or_insert(0) += 1;
    }
    assert_eq!((first["a"], first["b"], first["c"]), (61, 30, 10));
}

#[test]
fn weight_zero_is_rarely_first_and_alone_it_is_used() {
    let records = vec![srv(1, 100, "usual"), srv(1, 0, "spare")];
    let first = |drawn| by_weight(records.clone(), |_| drawn)[0].target.clone();
    assert_eq!(
        (first(0), first(1), first(100)),
        ("spare".into(), "usual".into(), "usual".into())
    );
    assert_eq!(
        by_weight(vec![srv(1, 0, "only")], |most| most)[0].target,
        "only"
    );
}

#[test]
fn families_take_turns_and_the_preferred_one_begins() {
    let all = |list: &[&str]| {
        list.iter()
            .map(|one| one.parse().unwrap())
            .collect::<Vec<IpAddr>>()
    };
    let found = all(&["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.2"]);
    assert_eq!(
        interleaved(found.clone(), |_| true),
        all(&["2001:db8::1", "192.0.2.1", "192.0.2.2"])
    );
    assert_eq!(
        interleaved(found, |address| address.is_ipv4()),
        all(&["192.0.2.1", "192.0.2.2"])
    );
    // A unique local address stands behind IPv4, RFC 6724 §2.1.
    assert_eq!(
        interleaved(all(&["fd00::1", "192.0.2.1"]), |_| true),
        all(&["192.0.2.1", "fd00::1"])
    );
    assert_eq!(
        interleaved(all(&["::ffff:192.0.2.1"]), |address| address.is_ipv4()),
        all(&["192.0.2.1"])
    );
}

#[test]
fn service_names_are_those_of_rfc_3263() {
    assert_eq!(
        service_name(Transport::Udp, "example.com"),
        "_sip._udp.example.com."
    );
    assert_eq!(
        service_name(Transport::Tcp, "example.com."),
        "_sip._tcp.example.com."
    );
    assert_eq!(
        service_name(Transport::Tls, "example.com"),
        "_sips._tcp.example.com."
    );
}
