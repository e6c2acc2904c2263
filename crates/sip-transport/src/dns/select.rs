//! Which of the records that were found are used, and in which order: RFC 3263 §4.1 (NAPTR), RFC 2782 (SRV), RFC 7984
//! and RFC 6724 (addresses). Pure: chance is an argument.

use sip_core::Transport;
use std::collections::VecDeque;
use std::net::IpAddr;

/// What matters of a NAPTR record, RFC 3403 §4.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lower ones first; those with a higher one count only when none of these can be used.
    pub order: u16,
    /// Lower ones first, among those of the same order.
    pub preference: u16,
    /// `s`: the replacement names SRV records.
    pub flags: String,
    /// `SIP+D2U`, `SIP+D2T`, `SIPS+D2T`, …
    pub services: String,
    /// Empty in all records that RFC 3263 knows.
    pub regexp: String,
    /// The name of the SRV records.
    pub replacement: String,
}

/// What matters of an SRV record, RFC 2782.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower ones first.
    pub priority: u16,
    /// The share of calls among those of the same priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` says that the service is not offered.
    pub target: String,
}

/// The SRV names to look up, with their transports, in order (RFC 3263 §4.1).
///
/// Records of other services, with another flag than `s` or with a regular expression are left aside, and those
/// without TLS for a `sips:` URI.
#[must_use]
pub fn services(records: &[Naptr], secure: bool, spoken: &[Transport]) -> Vec<(Transport, String)> {
    let mut usable: Vec<(&Naptr, Transport)> = records
        .iter()
        .filter(|record| record.flags.eq_ignore_ascii_case("s") && record.regexp.is_empty())
        .filter_map(|record| Some((record, service(&record.services)?)))
        .filter(|(_, transport)| spoken.contains(transport))
        .filter(|(_, transport)| !secure || *transport == Transport::Tls)
        .collect();
    usable.sort_by_key(|(record, _)| (record.order, record.preference));
    // RFC 3403 §4.1: after a match, no other order is considered.
    let order = usable.first().map(|(record, _)| record.order);
    usable
        .into_iter()
        .filter(|(record, _)| Some(record.order) == order)
        .map(|(record, transport)| (transport, record.replacement.clone()))
        .collect()
}

fn service(name: &str) -> Option<Transport> {
    match name.to_ascii_uppercase().as_str() {
        "SIP+D2U" => Some(Transport::Udp),
        "SIP+D2T" => Some(Transport::Tcp),
        "SIPS+D2T" => Some(Transport::Tls),
        _ => None,
    }
}

/// The records in the order to try them: by priority, then drawn by weight (RFC 2782, "Usage rules").
///
/// `draw` gives a number from 0 to its argument, both inside.
pub fn by_weight(mut records: Vec<Srv>, mut draw: impl FnMut(u32) -> u32) -> Vec<Srv> {
    // Those of weight 0 stand first among their priority, so that they are drawn with a very small chance.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut rest: VecDeque<Srv> = records.into();
    let mut ordered = Vec::with_capacity(rest.len());
    while let Some(priority) = rest.front().map(|first| first.priority) {
        let same = rest
            .iter()
            .take_while(|record| record.priority == priority)
            .map(|record| u32::from(record.weight));
        let drawn = draw(same.clone().sum());
        let mut running = 0;
        let last = same.clone().count().saturating_sub(1);
        let place = same
            .take_while(|weight| {
                running += weight;
                running < drawn
            })
            .count()
            .min(last);
        ordered.extend(rest.remove(place));
    }
    ordered
}

/// The addresses of one host in the order to try them: the more usual by RFC 6724's precedence first, then the families
/// in turn, so that a family that leads nowhere costs one try (RFC 7984 §4). Unusable ones are left out.
#[must_use]
pub fn interleaved(found: Vec<IpAddr>, usable: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = found
        .into_iter()
        .map(|address| address.to_canonical())
        .filter(|address| usable(*address))
        .collect();
    found.sort_by_key(|address| std::cmp::Reverse(precedence(*address)));
    let first_is_ipv4 = found.first().is_some_and(IpAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv4() == first_is_ipv4);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = (one.next(), other.next());
        if pair == (None, None) {
            return without_repetition(ordered);
        }
        ordered.extend(pair.0);
        ordered.extend(pair.1);
    }
}

/// RFC 6724 §2.1, the default policy table.
fn precedence(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 35,
        IpAddr::V6(address) => match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => 50,
            [0x2002, ..] => 30,
            [0x2001, 0, ..] => 5,
            [first, ..] if first & 0xfe00 == 0xfc00 => 3,
            [first, ..] if first & 0xffc0 == 0xfec0 => 1,
            _ => 40,
        },
    }
}

/// The same without what stood before.
pub(crate) fn without_repetition<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut once: Vec<T> = Vec::with_capacity(all.len());
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}
