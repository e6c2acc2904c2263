//! Compound packets written and read, and those that are none.

use super::*;

const VOIP: Voip = Voip {
    ssrc: 5,
    rates: [13, 2, 77, 4],
    times: [120, 4000, 40, 100],
    levels: [-18, -60],
    rating: 75,
    opinions: [39, 38],
    buffer: [60, 80, 200],
};

const BLOCK: Block = Block {
    ssrc: 5,
    fraction_lost: 12,
    lost: -3,
    highest: 65_540,
    jitter: 80,
    last_report: 0x1234_5678,
    delay: 65_536,
};

fn sender() -> SenderInfo {
    SenderInfo {
        ntp: 0x0000_0007_8000_0000,
        timestamp: 160,
        packets: 9,
        octets: 1440,
    }
}

fn told(datagram: &[u8]) -> Option<Vec<Told>> {
    let mut all = Vec::new();
    read(datagram, |told| all.push(told)).then_some(all)
}

fn full() -> Compound {
    Compound::new(7, Some(sender()), Some(BLOCK))
        .named(b"0123456789abcdef")
        .with_voip(&VOIP)
        .goodbye()
}

#[test]
fn what_is_written_is_read_back() {
    let expected = vec![
        Told::Sender {
            ssrc: 7,
            middle: 0x0007_8000,
        },
        Told::Block(BLOCK),
        Told::Voip(VOIP),
        Told::Bye(7),
    ];
    assert_eq!(told(full().bytes()), Some(expected));
    assert!(full().bytes().len() <= LARGEST - 16);
    let silent = Compound::new(7, None, Some(BLOCK)).named(b"0123456789abcdef");
    assert_eq!(told(silent.bytes()), Some(vec![Told::Block(BLOCK)]));
}

#[test]
fn description_names_the_source_and_is_padded_to_a_word() {
    let compound = Compound::new(7, None, None).named(b"0123456789abcdef");
    let expected = b"\x80\xc9\x00\x01\x00\x00\x00\x07\x81\xca\x00\x06\x00\x00\x00\x07\x01\x100123456789abcdef\x00\x00";
    assert_eq!(compound.bytes(), expected);
}

#[test]
fn what_is_not_a_compound_packet_is_refused() {
    let good = full().bytes().to_vec();
    for cut in 1..good.len() {
        // whole packets may be left off, their parts may not
        let whole = [52, 80, 124].contains(&cut);
        assert_eq!(told(&good[..cut]).is_some(), whole, "{cut}");
    }
    let changed = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        told(&bad)
    };
    assert_eq!(changed(0, 0x41), None, "version");
    assert_eq!(changed(1, DESCRIPTION), None, "a report comes first");
    assert_eq!(changed(0, 0xA1), None, "padding is the last's");
    assert_eq!(changed(3, 0xFF), None, "length");
    assert_eq!(told(&[]), None);
}

#[test]
fn counts_that_promise_too_much_are_borne() {
    let mut lying = Compound::new(7, Some(sender()), None).bytes().to_vec();
    lying[0] = 0x9F;
    assert_eq!(told(&lying).map(|all| all.len()), Some(1));
}
