//! Challenges and credentials.

use std::time::Duration;

use bytes::Bytes;
use sip_core::digest::{Client, Denied, Request, Server};
use sip_core::{Algorithm, Credentials, DigestUser, ids::Ids};
use sip_message::{Builder, Challenge};
use timebase::Now;
use zeroize::Zeroizing;

const PASSWORD: &str = "not to be guessed";

/// The bytes as a header value of a challenge and of credentials: nothing invented is let in, and
/// no answer contains the password.
pub fn digest(data: &[u8]) {
    let value = Bytes::copy_from_slice(data);
    if let Ok(given) = sip_message::Credentials::parse(value.clone()) {
        let mut server = Server::new("realm", [7; 32], Duration::from_secs(300), 16);
        let user = DigestUser {
            username: "sbc".to_owned(),
            password: Zeroizing::new(PASSWORD.to_owned()),
            algorithms: vec![Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256],
        };
        let _ = server.is_for_us(&given);
        let verdict: Result<(), Denied> = server.verify(Now::ZERO, &given, "INVITE", Some(&user));
        assert!(verdict.is_err(), "invented credentials are let in");
    }
    let _ = Challenge::parse_all(&value);
    let challenge = Builder::response(401, "Unauthorized")
        .field("WWW-Authenticate", &value)
        .build();
    let mut client = Client::default();
    let credentials = Credentials {
        realm: None,
        username: "sbc".to_owned(),
        password: Zeroizing::new(PASSWORD.to_owned()),
    };
    if client.challenged(&challenge, &credentials).is_ok() {
        let request = Request {
            method: "INVITE",
            uri: b"sip:a@b",
            body: b"",
        };
        for answer in client.authorize(&credentials, &mut Ids::new([1; 32]), request) {
            let text = String::from_utf8_lossy(&answer.value).into_owned();
            assert!(
                !text.contains(PASSWORD) && !text.contains(['\r', '\n']),
                "{text}"
            );
        }
    }
}
