use bytes::Bytes;
use proptest::prelude::*;
use sip_message::Message;
use std::time::Duration;
use timebase::Now;
use zeroize::Zeroizing;

use super::*;
use crate::config::{Credentials, DigestUser};
use crate::ids::Ids;

const LIFE: Duration = Duration::from_secs(60);
const INVITE: Request<'static> = Request {
    method: "INVITE",
    uri: b"sip:agent@gw.example",
    body: b"v=0\r\n",
};

fn server(memory: usize) -> Server {
    Server::new("ours", [3; 32], LIFE, memory)
}

fn user(algorithms: &[Algorithm]) -> DigestUser {
    DigestUser {
        username: "sbc".to_owned(),
        password: Zeroizing::new("sesame".to_owned()),
        algorithms: algorithms.to_vec(),
    }
}

fn credentials(realm: Option<&str>) -> Credentials {
    Credentials {
        realm: realm.map(str::to_owned),
        username: "sbc".to_owned(),
        password: Zeroizing::new("sesame".to_owned()),
    }
}

fn at(seconds: u64) -> Now {
    Now(Duration::from_secs(seconds))
}

/// A 401 with these header lines.
fn unauthorised(lines: &[String]) -> Message {
    let text = format!(
        "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bKa\r\nFrom: <sip:a@a>;tag=1\r\n\
         To: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{}\r\nContent-Length: 0\r\n\r\n",
        lines.join("\r\n")
    );
    Message::parse(Bytes::from(text), &sip_message::Limits::default()).unwrap()
}

fn www(challenges: &[Bytes]) -> Message {
    let lines: Vec<String> = challenges
        .iter()
        .map(|value| format!("WWW-Authenticate: {}", String::from_utf8_lossy(value)))
        .collect();
    unauthorised(&lines)
}

fn plain(value: &str) -> Message {
    www(&[Bytes::copy_from_slice(value.as_bytes())])
}

fn read(authorization: &Authorization) -> sip_message::Credentials {
    sip_message::Credentials::parse(authorization.value.clone()).unwrap()
}

fn edited(authorization: &Authorization, from: &str, to: &str) -> sip_message::Credentials {
    let text = String::from_utf8(authorization.value.to_vec()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    sip_message::Credentials::parse(text.replacen(from, to, 1).into()).unwrap()
}

/// A server, and a client that it has challenged.
struct Pair {
    server: Server,
    client: Client,
    ids: Ids,
    user: DigestUser,
}

impl Pair {
    fn new(algorithms: &[Algorithm]) -> Self {
        let mut pair = Self {
            server: server(10),
            client: Client::default(),
            ids: Ids::new([1; 32]),
            user: user(algorithms),
        };
        let challenges = pair.server.challenge(Now::ZERO, algorithms, false);
        pair.client
            .challenged(&www(&challenges), &credentials(None))
            .unwrap();
        pair
    }

    fn answer(&mut self) -> Authorization {
        self.client
            .authorize(&credentials(None), &mut self.ids, INVITE)
            .remove(0)
    }

    fn verify(&mut self, now: Now, credentials: &sip_message::Credentials) -> Result<(), Denied> {
        self.server
            .verify(now, credentials, "INVITE", Some(&self.user))
    }
}

fn proof<'a>(algorithm: Algorithm, qop: Qop<'a>) -> Proof<'a> {
    Proof {
        algorithm,
        username: b"Mufasa",
        realm: b"http-auth@example.org",
        password: b"Circle of Life",
        nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        method: b"GET",
        uri: b"/dir/index.html",
        qop,
        session: None,
    }
}

fn auth<'a>(cnonce: &'a [u8]) -> Qop<'a> {
    Qop::Auth {
        count: b"00000001",
        cnonce,
    }
}

/// The example of RFC 2617 §3.5.
fn rfc_2617() -> Proof<'static> {
    Proof {
        realm: b"testrealm@host.com",
        password: b"Circle Of Life",
        nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
        ..proof(Algorithm::Md5, auth(b"0a4f113b"))
    }
}

#[test]
fn response_with_qop_is_that_of_rfc_2617() {
    let response = rfc_2617().response();
    assert_eq!(response.as_str(), "6629fae49393a05397450978507c4ef1");
}

#[test]
fn response_without_qop_is_that_of_rfc_2069_as_corrected() {
    let old = Proof {
        password: b"CircleOfLife",
        qop: Qop::None,
        ..rfc_2617()
    };
    assert_eq!(old.response().as_str(), "1949323746fe6a43ef61f9606e7febea");
}

#[test]
fn responses_of_both_algorithms_are_those_of_rfc_7616() {
    let auth = auth(b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ");
    let md5 = proof(Algorithm::Md5, auth).response();
    assert_eq!(md5.as_str(), "8ca523f5e9506fed4657c9700eebdbec");
    let sha_256 = proof(Algorithm::Sha256, auth).response();
    let expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
    assert_eq!(sha_256.as_str(), expected);
}

/// The RFCs have no correct example of these; the values are another implementation's.
#[test]
fn responses_without_an_example_agree_with_another_implementation() {
    let sha_512 = Proof {
        username: "Jäsøn Doe".as_bytes(),
        realm: b"api@example.org",
        password: b"Secret, or not?",
        nonce: b"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        uri: b"/doe.json",
        ..proof(
            Algorithm::Sha512_256,
            auth(b"NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm"),
        )
    };
    let expected = "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c";
    assert_eq!(sha_512.response().as_str(), expected);
    let auth_int = Proof {
        username: b"bob",
        realm: b"biloxi.com",
        password: b"zanzibar",
        method: b"INVITE",
        uri: b"sip:bob@biloxi.com",
        qop: Qop::AuthInt {
            count: b"00000001",
            cnonce: b"0a4f113b",
            body: b"v=0\r\n",
        },
        ..rfc_2617()
    };
    assert_eq!(
        auth_int.response().as_str(),
        "77226bb823dc077c1ad3537415667bae"
    );
}

#[test]
fn sha_512_256_gives_the_user_hash_of_rfc_7616_as_corrected() {
    let hash = Algorithm::Sha512_256.hash(&["Jäsøn Doe".as_bytes(), b"api@example.org"]);
    assert_eq!(
        hash.as_str(),
        "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    );
}

#[test]
fn every_algorithm_is_answered_and_accepted() {
    for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256] {
        let mut pair = Pair::new(&[algorithm]);
        let answer = pair.answer();
        assert_eq!(pair.verify(at(1), &read(&answer)), Ok(()), "{algorithm}");
    }
}

#[test]
fn first_algorithm_that_can_be_met_is_taken() {
    let mut pair = Pair::new(&[Algorithm::Sha256, Algorithm::Md5]);
    let answer = read(&pair.answer());
    assert_eq!(answer.param("algorithm").as_deref(), Some(&b"SHA-256"[..]));
    let unknown_first = unauthorised(&[
        "WWW-Authenticate: Bearer abc".to_owned(),
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", algorithm=SHA3-256, qop=\"auth\""
            .to_owned(),
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth\""
            .to_owned(),
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n3\", qop=\"auth\"".to_owned(),
    ]);
    let mut client = Client::default();
    client
        .challenged(&unknown_first, &credentials(Some("r")))
        .unwrap();
    let answers = client.authorize(&credentials(None), &mut pair.ids, INVITE);
    assert_eq!(answers.len(), 1);
    assert_eq!(
        read(&answers[0]).param("nonce").as_deref(),
        Some(&b"n2"[..])
    );
}

#[test]
fn server_offers_each_algorithm_in_its_order_with_a_nonce_of_its_own() {
    let challenges = server(5).challenge(Now::ZERO, &[Algorithm::Sha256, Algorithm::Md5], true);
    let message = www(&challenges);
    let read: Vec<_> = message.www_authenticate().map(Result::unwrap).collect();
    let param = |n: usize, name: &str| {
        String::from_utf8(read[n].param(name).unwrap().into_owned()).unwrap()
    };
    assert_eq!(
        (param(0, "algorithm"), param(1, "algorithm")),
        ("SHA-256".to_owned(), "MD5".to_owned())
    );
    assert_eq!(
        (param(0, "qop"), param(0, "stale"), param(0, "realm")),
        ("auth".into(), "true".into(), "ours".into())
    );
    assert_ne!(param(0, "nonce"), param(1, "nonce"));
}

#[test]
fn nonce_count_is_good_once_and_may_arrive_out_of_order() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let answers: Vec<_> = (0..70).map(|_| pair.answer()).collect();
    for (index, verdict) in [
        (0, Ok(())),
        (0, Err(Denied::Replayed)),
        (3, Ok(())),
        (1, Ok(())),
        (3, Err(Denied::Replayed)),
        (1, Err(Denied::Replayed)),
        (69, Ok(())),
        (2, Err(Denied::Replayed)),
        (6, Ok(())),
        (68, Ok(())),
        (68, Err(Denied::Replayed)),
    ] {
        assert_eq!(
            pair.verify(at(1), &read(&answers[index])),
            verdict,
            "nc {}",
            index + 1
        );
    }
}

#[test]
fn replay_with_a_changed_count_or_client_nonce_is_wrong() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let answer = pair.answer();
    assert_eq!(
        pair.verify(at(1), &edited(&answer, "nc=00000001", "nc=00000002")),
        Err(Denied::Wrong)
    );
    assert_eq!(
        pair.verify(at(1), &edited(&answer, "cnonce=\"", "cnonce=\"x")),
        Err(Denied::Wrong)
    );
    assert_eq!(
        pair.verify(at(1), &edited(&answer, "uri=\"sip:", "uri=\"sips:")),
        Err(Denied::Wrong)
    );
    assert_eq!(
        pair.server
            .verify(at(1), &read(&answer), "BYE", Some(&user(&[Algorithm::Md5]))),
        Err(Denied::Wrong)
    );
    assert_eq!(pair.verify(at(1), &read(&answer)), Ok(()));
}

#[test]
fn nonce_beyond_its_life_is_stale_and_the_password_still_counts() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let (first, second) = (pair.answer(), pair.answer());
    assert_eq!(pair.verify(at(60), &read(&first)), Ok(()));
    assert_eq!(pair.verify(at(61), &read(&second)), Err(Denied::Stale));
    let wrong = edited(&second, "response=\"", "response=\"0");
    assert_eq!(
        pair.verify(at(61), &wrong),
        Err(Denied::Wrong),
        "stale is said only to who knows the password"
    );
}

#[test]
fn nonce_of_another_process_is_stale() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let answer = pair.answer();
    pair.server = Server::new("ours", [4; 32], LIFE, 5);
    assert_eq!(pair.verify(at(1), &read(&answer)), Err(Denied::Stale));
}

#[test]
fn full_memory_retires_the_oldest_nonce_and_admits_no_replay() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    pair.server = server(2);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let challenge = pair.server.challenge(Now::ZERO, &[Algorithm::Md5], false);
        pair.client = Client::default();
        pair.client
            .challenged(&www(&challenge), &credentials(None))
            .unwrap();
        answers.push([pair.answer(), pair.answer()]);
    }
    for [first, _] in &answers {
        assert_eq!(pair.verify(at(1), &read(first)), Ok(()));
    }
    assert_eq!(pair.server.remembered(), 2);
    assert_eq!(
        pair.verify(at(2), &read(&answers[0][0])),
        Err(Denied::Stale),
        "a replay"
    );
    assert_eq!(
        pair.verify(at(2), &read(&answers[0][1])),
        Err(Denied::Stale),
        "its holder is challenged again"
    );
    assert_eq!(
        pair.verify(at(2), &read(&answers[1][0])),
        Err(Denied::Replayed)
    );
    assert_eq!(pair.verify(at(2), &read(&answers[2][1])), Ok(()));
}

#[test]
fn algorithm_that_was_not_offered_is_refused() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let answer = pair.answer();
    pair.user = user(&[Algorithm::Sha256]);
    assert_eq!(
        pair.verify(at(1), &read(&answer)),
        Err(Denied::AlgorithmNotOffered)
    );
    let unnamed = edited(&answer, "algorithm=MD5, ", "");
    assert_eq!(
        pair.verify(at(1), &unnamed),
        Err(Denied::AlgorithmNotOffered),
        "none named is MD5"
    );
    pair.user = user(&[Algorithm::Md5]);
    let session = edited(&answer, "algorithm=MD5", "algorithm=MD5-sess");
    assert_eq!(
        pair.verify(at(1), &session),
        Err(Denied::AlgorithmNotOffered)
    );
    assert_eq!(pair.verify(at(1), &unnamed), Ok(()));
}

#[test]
fn credentials_of_another_user_realm_or_password_are_refused() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let answer = pair.answer();
    let foreign = edited(&answer, "realm=\"ours\"", "realm=\"theirs\"");
    assert!(pair.server.is_for_us(&read(&answer)) && !pair.server.is_for_us(&foreign));
    assert_eq!(pair.verify(at(1), &foreign), Err(Denied::ForeignRealm));
    pair.user.username = "other".to_owned();
    assert_eq!(pair.verify(at(1), &read(&answer)), Err(Denied::UnknownUser));
    pair.user = user(&[Algorithm::Md5]);
    pair.user.password = Zeroizing::new("open".to_owned());
    assert_eq!(pair.verify(at(1), &read(&answer)), Err(Denied::Wrong));
}

#[test]
fn answer_without_qop_is_accepted_once() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let challenge = pair
        .server
        .challenge(Now::ZERO, &[Algorithm::Md5], false)
        .remove(0);
    let old = String::from_utf8(challenge.to_vec())
        .unwrap()
        .replace(", qop=\"auth\"", "");
    pair.client = Client::default();
    pair.client
        .challenged(&plain(&old), &credentials(None))
        .unwrap();
    let (first, second) = (pair.answer(), pair.answer());
    assert_eq!(read(&first).param("nc"), None);
    assert_eq!(pair.verify(at(1), &read(&first)), Ok(()));
    assert_eq!(pair.verify(at(1), &read(&second)), Err(Denied::Replayed));
}

#[test]
fn garbage_is_named() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let answer = pair.answer();
    let table = [
        (
            edited(&answer, "nonce=", "once="),
            Denied::Malformed("nonce"),
        ),
        (
            edited(&answer, "username=", "name="),
            Denied::Malformed("username"),
        ),
        (
            edited(&answer, "response=", "reply="),
            Denied::Malformed("response"),
        ),
        (edited(&answer, "uri=", "url="), Denied::Malformed("uri")),
        (
            edited(&answer, "cnonce=", "conce="),
            Denied::Malformed("cnonce"),
        ),
        (
            edited(&answer, "nc=00000001", "nc=1"),
            Denied::Malformed("nc"),
        ),
        (
            edited(&answer, "nc=00000001", "nc=00000000"),
            Denied::Malformed("nc"),
        ),
        (
            edited(&answer, "nc=00000001", "nc=+0000001"),
            Denied::Malformed("nc"),
        ),
        (
            edited(&answer, "qop=auth", "qop=auth-int"),
            Denied::QopNotOffered,
        ),
        (edited(&answer, "Digest ", "Basic "), Denied::NotDigest),
        (
            edited(&answer, "response=\"", "response=\"\u{e4}"),
            Denied::Wrong,
        ),
    ];
    for (credentials, verdict) in table {
        assert_eq!(pair.verify(at(1), &credentials), Err(verdict));
    }
}

#[test]
fn nonce_that_lies_is_stale() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    for nonce in [
        "",
        "00",
        &"0".repeat(64),
        &"z".repeat(64),
        &"\u{e4}".repeat(32),
    ] {
        let challenge = format!("Digest realm=\"ours\", nonce=\"{nonce}\", qop=\"auth\"");
        pair.client = Client::default();
        pair.client
            .challenged(&plain(&challenge), &credentials(None))
            .unwrap();
        let answer = pair.answer();
        assert_eq!(
            pair.verify(at(1), &read(&answer)),
            Err(Denied::Stale),
            "{nonce}"
        );
    }
}

#[test]
fn foreign_realm_gets_no_answer() {
    let mut client = Client::default();
    let challenge = plain("Digest realm=\"evil\", nonce=\"n\", qop=\"auth\"");
    assert_eq!(
        client.challenged(&challenge, &credentials(Some("good"))),
        Err(NoAnswer::ForeignRealm)
    );
    assert!(
        client
            .authorize(&credentials(Some("good")), &mut Ids::new([0; 32]), INVITE)
            .is_empty()
    );
}

#[test]
fn challenge_that_cannot_be_met_says_why() {
    let table = [
        (
            "Digest realm=\"r\", nonce=\"n\", algorithm=MD4",
            NoAnswer::Unsupported,
        ),
        (
            "Digest realm=\"r\", nonce=\"n\", qop=\"other\"",
            NoAnswer::Unsupported,
        ),
        ("Digest realm=\"r\"", NoAnswer::Unsupported),
        ("Digest nonce=\"n\"", NoAnswer::Unsupported),
        ("Basic realm=\"r\"", NoAnswer::Unsupported),
        ("Digest ,,", NoAnswer::NoChallenge),
    ];
    for (challenge, verdict) in table {
        assert_eq!(
            Client::default().challenged(&plain(challenge), &credentials(None)),
            Err(verdict),
            "{challenge}"
        );
    }
    assert_eq!(
        Client::default().challenged(&unauthorised(&[]), &credentials(None)),
        Err(NoAnswer::NoChallenge)
    );
}

#[test]
fn refused_credentials_are_not_tried_again() {
    let mut client = Client::default();
    let mut ids = Ids::new([0; 32]);
    let challenge = |nonce: u32, more: &str| {
        plain(&format!(
            "Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"{more}"
        ))
    };
    client
        .challenged(&challenge(1, ""), &credentials(None))
        .unwrap();
    client.authorize(&credentials(None), &mut ids, INVITE);
    assert_eq!(
        client.challenged(&challenge(2, ""), &credentials(None)),
        Err(NoAnswer::Rejected)
    );
    client
        .challenged(&challenge(3, ", stale=true"), &credentials(None))
        .unwrap();
    client.authorize(&credentials(None), &mut ids, INVITE);
    client
        .challenged(&challenge(4, ", stale=TRUE"), &credentials(None))
        .unwrap();
    client
        .challenged(&challenge(5, ", stale=true"), &credentials(None))
        .unwrap();
    assert_eq!(
        client.challenged(&challenge(6, ", stale=true"), &credentials(None)),
        Err(NoAnswer::TooMany)
    );
}

#[test]
fn later_requests_reuse_the_nonce_until_it_runs_out() {
    let mut client = Client::default();
    let mut ids = Ids::new([0; 32]);
    let mut count = |client: &mut Client| {
        let answers = client.authorize(&credentials(None), &mut ids, INVITE);
        String::from_utf8(read(&answers[0]).param("nc").unwrap().into_owned()).unwrap()
    };
    client
        .challenged(
            &plain("Digest realm=\"r\", nonce=\"1\", qop=\"auth\""),
            &credentials(None),
        )
        .unwrap();
    assert_eq!(
        [count(&mut client), count(&mut client)],
        ["00000001", "00000002"]
    );
    client.served(&unauthorised(&["Subject: fine".to_owned()]));
    client
        .challenged(
            &plain("Digest realm=\"r\", nonce=\"2\", qop=\"auth\""),
            &credentials(None),
        )
        .unwrap();
    assert_eq!(count(&mut client), "00000001");
}

#[test]
fn credentials_that_two_realms_refuse_in_turn_are_not_given_for_ever() {
    let mut client = Client::default();
    let mut ids = Ids::new([0; 32]);
    let challenge = |header: &str, nonce: u32| {
        unauthorised(&[format!(
            "{header}: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\""
        )])
    };
    for (header, nonce) in [("WWW-Authenticate", 1), ("Proxy-Authenticate", 2)] {
        client
            .challenged(&challenge(header, nonce), &credentials(None))
            .unwrap();
        client.authorize(&credentials(None), &mut ids, INVITE);
    }
    assert_eq!(
        client.challenged(&challenge("WWW-Authenticate", 3), &credentials(None)),
        Err(NoAnswer::Rejected)
    );
}

#[test]
fn proxy_and_peer_are_each_answered_with_their_own_header() {
    let mut client = Client::default();
    let message = unauthorised(&[
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", opaque=\"o\\\"1\", qop=\"auth,auth-int\"".to_owned(),
        "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n2\", qop=\"auth-int\"".to_owned(),
    ]);
    client.challenged(&message, &credentials(None)).unwrap();
    let answers = client.authorize(&credentials(None), &mut Ids::new([0; 32]), INVITE);
    let names: Vec<String> = answers
        .iter()
        .map(|answer| answer.name().as_str().to_owned())
        .collect();
    assert_eq!(names, ["Authorization", "Proxy-Authorization"]);
    let (first, second) = (read(&answers[0]), read(&answers[1]));
    assert_eq!(first.param("opaque").as_deref(), Some(&b"o\"1"[..]));
    assert_eq!(first.param("qop").as_deref(), Some(&b"auth"[..]));
    assert_eq!(
        second.param("qop").as_deref(),
        Some(&b"auth-int"[..]),
        "where nothing else is offered"
    );
    assert_eq!(second.param("opaque"), None);
}

#[test]
fn realms_without_end_are_not_collected() {
    let lines: Vec<String> = (0..6)
        .map(|n| format!("WWW-Authenticate: Digest realm=\"r{n}\", nonce=\"n\""))
        .collect();
    let mut client = Client::default();
    assert_eq!(
        client.challenged(&unauthorised(&lines), &credentials(None)),
        Err(NoAnswer::TooMany)
    );
}

#[test]
fn users_who_do_not_exist_are_refused_as_wrong_passwords_are() {
    let mut pair = Pair::new(&[Algorithm::Sha256]);
    let answer = read(&pair.answer());
    let unknown = pair.server.verify(at(1), &answer, "INVITE", None);
    assert_eq!(unknown, Err(Denied::UnknownUser));
    assert!(!Denied::UnknownUser.is_stale() && !Denied::Wrong.is_stale());
    assert_eq!(pair.server.remembered(), 0, "nothing is kept for them");
}

#[test]
fn nonce_belongs_to_the_user_who_used_it_first() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let (first, second) = (read(&pair.answer()), pair.answer());
    assert_eq!(pair.verify(at(1), &first), Ok(()));
    let other = DigestUser {
        username: "other".to_owned(),
        ..user(&[Algorithm::Md5])
    };
    let theirs = Credentials {
        username: "other".to_owned(),
        ..credentials(None)
    };
    let stolen = pair
        .client
        .authorize(&theirs, &mut pair.ids, INVITE)
        .remove(0);
    let verdict = pair
        .server
        .verify(at(2), &read(&stolen), "INVITE", Some(&other));
    assert_eq!(verdict, Err(Denied::Stale));
    assert_eq!(pair.verify(at(2), &read(&second)), Ok(()));
}

#[test]
fn another_configuration_makes_no_nonce_count_good_again() {
    let mut pair = Pair::new(&[Algorithm::Md5]);
    let answer = read(&pair.answer());
    assert_eq!(pair.verify(at(1), &answer), Ok(()));
    pair.server.reconfigure("ours", LIFE * 2);
    assert_eq!(pair.verify(at(2), &answer), Err(Denied::Replayed));
}

#[test]
fn better_algorithm_than_md5_is_taken_from_who_may_use_md5() {
    let mut pair = Pair::new(&[Algorithm::Sha512_256]);
    let answer = read(&pair.answer());
    pair.user = user(&[Algorithm::Md5]);
    assert_eq!(pair.verify(at(1), &answer), Ok(()));
}

#[test]
fn answer_without_qop_is_only_for_md5() {
    let mut pair = Pair::new(&[Algorithm::Sha256]);
    let answer = pair.answer();
    let old = edited(&answer, "qop=auth, nc=00000001, ", "");
    assert_eq!(pair.verify(at(1), &old), Err(Denied::Malformed("qop")));
}

/// RFC 7616 §3.4.2: H(H(user:realm:password):nonce:cnonce); the values are another implementation's.
#[test]
fn session_variants_hash_the_nonces_into_the_key() {
    let session = |algorithm| Proof {
        session: Some(b"0a4f113b"),
        algorithm,
        ..rfc_2617()
    };
    let md5 = session(Algorithm::Md5).response();
    assert_eq!(md5.as_str(), "8e3825c57e897f5a0dec6c2d4e5059d0");
    let sha_256 = session(Algorithm::Sha256).response();
    assert_eq!(
        sha_256.as_str(),
        "b8822e12417cb7750f4e2b8515f0dcf25b7dd26993e80bee1426201446a7f59b"
    );
}

#[test]
fn session_variant_is_answered_with_one_client_nonce_for_all_its_requests() {
    let mut ids = Ids::new([1; 32]);
    let mut client = Client::default();
    let offer = plain("Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256-sess, qop=\"auth\"");
    client.challenged(&offer, &credentials(None)).unwrap();
    let mut answer = || read(&client.authorize(&credentials(None), &mut ids, INVITE)[0]);
    let (first, second) = (answer(), answer());
    assert_eq!(
        first.param("algorithm").as_deref(),
        Some(&b"SHA-256-sess"[..])
    );
    assert_eq!(first.param("cnonce"), second.param("cnonce"));
    assert_eq!(second.param("nc").as_deref(), Some(&b"00000002"[..]));
    assert_ne!(first.param("response"), second.param("response"));
    let bare = plain("Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess");
    let verdict = Client::default().challenged(&bare, &credentials(None));
    assert_eq!(
        verdict,
        Err(NoAnswer::Unsupported),
        "its key needs a cnonce"
    );
}

#[test]
fn next_nonce_of_an_answer_is_used_from_its_first_count_on() {
    let mut ids = Ids::new([1; 32]);
    let mut client = Client::default();
    let offer = plain("Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"");
    client.challenged(&offer, &credentials(None)).unwrap();
    let mut ask = |client: &mut Client| {
        let answer = read(&client.authorize(&credentials(None), &mut ids, INVITE)[0]);
        ["nonce", "nc"].map(|name| String::from_utf8(answer.param(name).unwrap().to_vec()).unwrap())
    };
    assert_eq!(ask(&mut client), ["n1", "00000001"]);
    let info = |line: &str| unauthorised(&[line.to_owned()]);
    client.served(&info("Authentication-Info: qop=auth, nextnonce=\"n2\""));
    assert_eq!(ask(&mut client), ["n2", "00000001"]);
    for other in [
        "Proxy-Authentication-Info: nextnonce=\"n3\"",
        "Authentication-Info: nextnonce=\"\"",
        "Authentication-Info: garbage",
        "Authentication-Info: rspauth=\"abc\"",
    ] {
        client.served(&info(other));
    }
    assert_eq!(ask(&mut client), ["n2", "00000002"]);
}

#[test]
fn quotes_in_names_survive() {
    let mut pair = Pair::new(&[Algorithm::Sha256]);
    let odd = "s\"b\\c";
    pair.user.username = odd.to_owned();
    let ours = Credentials {
        username: odd.to_owned(),
        ..credentials(None)
    };
    let answer = pair
        .client
        .authorize(&ours, &mut pair.ids, INVITE)
        .remove(0);
    assert_eq!(pair.verify(at(1), &read(&answer)), Ok(()));
}

#[test]
fn passwords_and_secrets_are_not_printed() {
    let pair = Pair::new(&[Algorithm::Md5]);
    let printed = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        pair.server,
        pair.client,
        pair.user,
        credentials(None),
        pair.ids
    );
    assert!(!printed.contains("sesame"));
    assert!(!printed.contains("[3, 3") && !printed.contains("[1, 1"));
}

proptest! {
    /// Values that resemble credentials and challenges, and ones that do not.
    #[test]
    fn invented_values_are_neither_accepted_nor_harmful(
        value in r#"(Digest )?((username|realm|nonce|uri|response|qop|nc|cnonce|algorithm|opaque|stale)="?(sbc|ours|auth|auth-int|MD5|SHA-256|0000000[01]|[0-9a-f]{64}|\PC{0,9})"?(, )?){0,11}"#
    ) {
        let mut pair = Pair::new(&[Algorithm::Md5, Algorithm::Sha256]);
        if let Ok(credentials) = sip_message::Credentials::parse(Bytes::copy_from_slice(value.as_bytes())) {
            prop_assert!(pair.verify(at(1), &credentials).is_err());
        }
        let mut client = Client::default();
        if client.challenged(&plain(&value), &credentials(None)).is_ok() {
            prop_assert_eq!(client.authorize(&credentials(None), &mut pair.ids, INVITE).len(), 1);
        }
    }
}
