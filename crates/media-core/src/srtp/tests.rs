//! Published vectors, what comes through, and what does not.

use super::keys::derived;
use super::*;
use aes_gcm::{Aes128Gcm, KeyInit};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter_map(|digit| char::from(digit).to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

const SUITES: [Suite; 4] = [
    Suite::AesCm128HmacSha1Tag80,
    Suite::AesCm128HmacSha1Tag32,
    Suite::AeadAes128Gcm,
    Suite::AeadAes256Gcm,
];

fn master() -> MasterKey {
    MasterKey::new(&bytes(
        "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6",
    ))
}

fn pair(suite: Suite) -> (Sealer, Opener) {
    (Sealer::new(suite, &master()), Opener::new(suite, &master()))
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 160, 1, 2, 3, 4]);
    packet.extend([0x55; 160]);
    packet
}

fn seal(sealer: &mut Sealer, plain: &[u8]) -> Vec<u8> {
    sealer.rtp(plain, &mut [0; LARGEST]).unwrap().to_vec()
}

fn open(opener: &mut Opener, packet: &[u8]) -> Option<Vec<u8>> {
    opener.rtp(packet, &mut [0; LARGEST]).map(<[u8]>::to_vec)
}

#[test]
fn session_keys_are_those_of_rfc_3711_b_3() {
    let master = master();
    let salt: [u8; 14] = master.0[16..30].try_into().unwrap();
    let derive = |label: u8, length: usize| {
        let mut out = vec![0; length];
        derived(&master.0[..16], salt, label, &mut out);
        out
    };
    assert_eq!(derive(0, 16), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive(2, 14), bytes("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(
        derive(1, 20),
        bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
    );
}

#[test]
fn packet_of_aes_cm_and_hmac_sha1_is_the_one_that_others_make() {
    let (mut sealer, mut opener) = pair(Suite::AesCm128HmacSha1Tag80);
    let plain = bytes("800f1234decafbadcafebabe abababababababababababababababab");
    let sealed = seal(&mut sealer, &plain);
    let expected = "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb";
    assert_eq!(sealed, bytes(expected));
    assert_eq!(open(&mut opener, &sealed), Some(plain));
}

#[test]
fn packet_of_gcm_is_the_one_of_rfc_7714_16_1_1() {
    let key: [u8; 16] = bytes("000102030405060708090a0b0c0d0e0f")
        .try_into()
        .unwrap();
    let salt: [u8; 12] = bytes("517569642070726f2071756f").try_into().unwrap();
    let keys = Keys::Gcm128(Box::new(Aes128Gcm::new(&key.into())), salt);
    let mut plain = bytes("8040f17b8041f8d35501a0b2");
    plain.extend(b"Gallia est omnis divisa in partes tres");
    let mut room = [0; LARGEST];
    let place = (0x5501_A0B2, 0xF17B, 12);
    let sealed = sealed(
        &keys,
        Suite::AeadAes128Gcm,
        Kind::Rtp,
        place,
        &plain,
        &mut room,
    );
    let expected = "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce";
    assert_eq!(sealed.unwrap(), bytes(expected));
}

#[test]
fn packets_and_reports_of_every_suite_come_through() {
    for suite in SUITES {
        let (mut sealer, mut opener) = pair(suite);
        for sequence in [65_533, 65_534, 65_535, 0, 1, 2] {
            let sealed = seal(&mut sealer, &rtp(sequence));
            assert_ne!(sealed[12..172], [0x55; 160]);
            assert_eq!(open(&mut opener, &sealed), Some(rtp(sequence)), "{suite:?}");
        }
        let report = [0x80, 201, 0, 1, 1, 2, 3, 4, 0x81, 203, 0, 1, 1, 2, 3, 4];
        for _ in 0..3 {
            let mut room = [0; LARGEST];
            let sealed = sealer.rtcp(&report, &mut room).unwrap().to_vec();
            assert_ne!(sealed[8..16], report[8..]);
            let mut room = [0; LARGEST];
            assert_eq!(
                opener.rtcp(&sealed, &mut room),
                Some(&report[..]),
                "{suite:?}"
            );
            assert_eq!(opener.rtcp(&sealed, &mut room), None, "a second time");
        }
    }
}

#[test]
fn packet_that_came_before_or_is_too_old_is_refused_and_order_does_not_matter() {
    for suite in SUITES {
        let (mut sealer, mut opener) = pair(suite);
        let sealed: Vec<_> = (0..100)
            .map(|number| seal(&mut sealer, &rtp(number)))
            .collect();
        for number in [3, 1, 2, 90, 60] {
            assert!(open(&mut opener, &sealed[number]).is_some(), "{number}");
            assert!(
                open(&mut opener, &sealed[number]).is_none(),
                "{number} again"
            );
        }
        assert!(
            open(&mut opener, &sealed[20]).is_none(),
            "beyond the window"
        );
    }
}

#[test]
fn one_changed_bit_anywhere_is_refused_and_leaves_no_trace() {
    for suite in SUITES {
        let (mut sealer, mut opener) = pair(suite);
        let sealed = seal(&mut sealer, &rtp(7));
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&mut opener, &bad), None, "{suite:?} bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(
                open(&mut opener, &sealed[..length]),
                None,
                "{suite:?} cut {length}"
            );
        }
        assert!(opener.sources.iter().all(Option::is_none));
        assert!(open(&mut opener, &sealed).is_some());
    }
}

#[test]
fn new_keys_take_over_and_the_old_ones_are_refused() {
    let (mut sealer, mut opener) = pair(Suite::AesCm128HmacSha1Tag80);
    for sequence in [65_534, 65_535, 0] {
        let sealed = seal(&mut sealer, &rtp(sequence));
        assert!(open(&mut opener, &sealed).is_some());
    }
    let old = seal(&mut sealer, &rtp(1));
    let other = MasterKey::new(&[7; 44]);
    sealer.rekey(Suite::AeadAes256Gcm, &other);
    opener.rekey(Suite::AeadAes256Gcm, &other);
    assert!(open(&mut opener, &old).is_none());
    let sealed = seal(&mut sealer, &rtp(2));
    assert!(open(&mut opener, &sealed).is_some(), "the rollover goes on");
}

#[test]
fn header_with_csrcs_and_an_extension_stays_in_the_clear() {
    for suite in SUITES {
        let (mut sealer, mut opener) = pair(suite);
        let mut plain = bytes("92000001000000a001020304 0000000a 0000000b bede0001 10ff0000");
        plain.extend([0x55; 20]);
        let sealed = seal(&mut sealer, &plain);
        assert_eq!(sealed[..28], plain[..28]);
        assert_eq!(open(&mut opener, &sealed), Some(plain));
    }
}

#[test]
fn keys_are_never_shown() {
    let protection = Protection {
        suite: Suite::AeadAes128Gcm,
        ours: master(),
        theirs: master(),
    };
    let (sealer, opener) = pair(Suite::AeadAes128Gcm);
    let shown = format!("{protection:?} {sealer:?} {opener:?}");
    assert!(
        !shown.contains("225") && !shown.to_lowercase().contains("e1"),
        "{shown}"
    );
}
