//! How the gateway proves itself to a hook: in headers of the handshake, never in the URL.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha1::Sha1;
use sha2::Sha256;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, header};

/// How long a token that is made for one call is good for.
const TOKEN_LIFE_SECS: i64 = 60;

/// How far a signature's time may be from the verifier's.
const SIGNATURE_WINDOW_SECS: i64 = 300;

/// The secrets that a hook may want; any combination.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Sent as `Authorization: Bearer …`.
    pub bearer: Option<String>,
    /// Signs a JWT (HS256) for each call, sent in the place of [`Credentials::bearer`].
    pub jwt_secret: Option<String>,
    /// Makes `X-Twilio-Signature`.
    pub twilio_token: Option<String>,
    /// Makes `X-Hook-Signature`.
    pub hmac_secret: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// A request that is to be signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// Its URL, as it was given.
    pub(crate) url: &'a str,
    /// The call.
    pub(crate) call_sid: &'a str,
    /// The fields of its form, if it has one.
    pub(crate) form: &'a [(String, String)],
    /// Seconds since 1970.
    pub(crate) now: i64,
}

impl Credentials {
    /// The headers of one request.
    pub(crate) fn headers(&self, request: Signed<'_>) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: String| {
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| format!("{name} would hold what no header may"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok::<(), String>(())
        };
        if let Some(secret) = &self.jwt_secret {
            let token = jwt(secret, request.call_sid, request.now);
            put(header::AUTHORIZATION, format!("Bearer {token}"))?;
        } else if let Some(token) = &self.bearer {
            put(header::AUTHORIZATION, format!("Bearer {}", token.trim()))?;
        }
        if let Some(token) = &self.twilio_token {
            let signature = twilio_signature(token, request.url, request.form);
            put(HeaderName::from_static("x-twilio-signature"), signature)?;
        }
        if let Some(secret) = &self.hmac_secret {
            let now = request.now.to_string();
            let signature = hook_signature(secret, &now, request.url, request.call_sid);
            put(HeaderName::from_static("x-hook-signature"), signature)?;
            put(HeaderName::from_static("x-hook-timestamp"), now)?;
            let call = request.call_sid.to_owned();
            put(HeaderName::from_static("x-hook-callsid"), call)?;
        }
        Ok(headers)
    }
}

/// A token for one call (RFC 7519, HS256), good for a minute.
fn jwt(secret: &str, call_sid: &str, now: i64) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "alg": "HS256", "typ": "JWT" }));
    let claims = part(json!({
        "iss": "handback",
        "sub": call_sid,
        "iat": now,
        "exp": now + TOKEN_LIFE_SECS,
    }));
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(secret.as_bytes(), signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Base64 of HMAC-SHA1 over the URL and the form's fields, sorted by name.
fn twilio_signature(token: &str, url: &str, form: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = form.iter().collect();
    sorted.sort();
    let mut text = url.to_owned();
    for (name, value) in sorted {
        text.push_str(name);
        text.push_str(value);
    }
    // a key of any length will do
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.as_bytes()) else {
        return String::new();
    };
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Hexadecimal HMAC-SHA256 over timestamp, URL and callSid, with full stops between them.
fn hook_signature(secret: &str, timestamp: &str, url: &str, call_sid: &str) -> String {
    let text = format!("{timestamp}.{url}.{call_sid}");
    let mut hex = String::with_capacity(64);
    for byte in hmac_sha256(secret.as_bytes(), text.as_bytes()) {
        hex.push_str(&format!("{byte:02x}"));
    }
    hex
}

pub(crate) fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    // a key of any length will do
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// Whether `X-Hook-Signature` is good, for servers that check it: made with one of the secrets (two,
/// while one takes the other's place), and its time within 300 s of `now`, both in seconds since
/// 1970. Compares in constant time.
#[must_use]
pub fn verify_hook_signature(
    secrets: &[&str],
    (timestamp, signature): (&str, &str),
    (url, call_sid): (&str, &str),
    now: i64,
) -> bool {
    let fresh = timestamp
        .parse::<i64>()
        .is_ok_and(|at| now.abs_diff(at) <= SIGNATURE_WINDOW_SECS.unsigned_abs());
    let mut good = false;
    for secret in secrets {
        let expected = hook_signature(secret, timestamp, url, call_sid);
        let same: bool =
            subtle::ConstantTimeEq::ct_eq(expected.as_bytes(), signature.as_bytes()).into();
        good |= same;
    }
    fresh && good
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "CA00000000000000000000000000000001";

    fn signed<'a>(url: &'a str, form: &'a [(String, String)]) -> Signed<'a> {
        Signed {
            url,
            call_sid: CALL,
            form,
            now: 1_700_000_000,
        }
    }

    /// The example of Twilio's own documentation of its request validation.
    #[test]
    fn twilio_signature_is_that_of_the_published_example() {
        let form: Vec<(String, String)> = [
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675310"),
            ("Digits", "1234"),
            ("From", "+14158675310"),
            ("To", "+18005551212"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        let signature = twilio_signature("12345", url, &form);
        assert_eq!(signature, "GvWf1cFY/Q7PnoempGyD5oXAezc=");
    }

    #[test]
    fn token_of_a_call_is_a_jwt_that_names_it_and_lasts_a_minute() {
        let credentials = Credentials {
            jwt_secret: Some("secret".to_owned()),
            bearer: Some("unused".to_owned()),
            ..Credentials::default()
        };
        let headers = credentials.headers(signed("wss://a/", &[])).unwrap();
        let token = headers["authorization"].to_str().unwrap();
        let token = token.strip_prefix("Bearer ").unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let claims = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["sub"], CALL);
        let lasts = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(lasts, 60);
        let expected = hmac_sha256(b"secret", format!("{}.{}", parts[0], parts[1]).as_bytes());
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap(), expected);
    }

    #[test]
    fn hook_signature_is_good_for_five_minutes_and_either_of_two_secrets() {
        let credentials = Credentials {
            hmac_secret: Some("new".to_owned()),
            ..Credentials::default()
        };
        let headers = credentials.headers(signed("wss://a/x", &[])).unwrap();
        let header = |name: &str| headers[name].to_str().unwrap();
        let proof = (header("x-hook-timestamp"), header("x-hook-signature"));
        let request = ("wss://a/x", header("x-hook-callsid"));
        let good = |secrets: &[&str], now| verify_hook_signature(secrets, proof, request, now);
        assert!(good(&["old", "new"], 1_700_000_300));
        assert!(good(&["new"], 1_699_999_700));
        assert!(!good(&["new"], 1_700_000_301), "too old");
        assert!(!good(&["old"], 1_700_000_000), "another secret");
        let other = ("wss://a/y", CALL);
        assert!(!verify_hook_signature(
            &["new"],
            proof,
            other,
            1_700_000_000
        ));
    }

    #[test]
    fn no_secret_stands_in_debug() {
        let credentials = Credentials {
            bearer: Some("s3cret".to_owned()),
            ..Credentials::default()
        };
        assert!(!format!("{credentials:?}").contains("s3cret"));
    }
}
