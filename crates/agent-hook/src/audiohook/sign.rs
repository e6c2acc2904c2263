//! The handshake's message signature (HTTP Message Signatures, HMAC-SHA256).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::credentials::hmac_sha256;

/// What is signed, each with its name.
pub(super) type Component<'a> = (&'a str, &'a str);

/// How a signature is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) key_id: &'a str,
    pub(super) nonce: &'a str,
    pub(super) created: i64,
    pub(super) expires: i64,
}

/// The values of `Signature-Input` and `Signature`.
pub(super) fn sign(
    secret: &[u8],
    components: &[Component<'_>],
    terms: Terms<'_>,
) -> (String, String) {
    let Terms {
        key_id,
        nonce,
        created,
        expires,
    } = terms;
    let names: Vec<String> = components
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let names = names.join(" ");
    let parameters = format!(
        "({names});keyid=\"{key_id}\";nonce=\"{nonce}\";alg=\"hmac-sha256\";created={created};expires={expires}"
    );
    let mut base = String::new();
    for (name, value) in components {
        base.push_str(&format!("\"{name}\": {value}\n"));
    }
    base.push_str(&format!("\"@signature-params\": {parameters}"));
    let signature = STANDARD.encode(hmac_sha256(secret, base.as_bytes()));
    (format!("sig1={parameters}"), format!("sig1=:{signature}:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Example 1 of the protocol's documentation.
    #[test]
    fn signature_is_that_of_the_published_example() {
        let secret = STANDARD
            .decode("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=")
            .unwrap();
        let key = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh";
        let components = [
            ("@request-target", "/api/v1/voicebiometrics/ws"),
            ("@authority", "audiohook.example.com"),
            (
                "audiohook-organization-id",
                "d7934305-0972-4844-938e-9060eef73d05",
            ),
            (
                "audiohook-session-id",
                "30b0e395-84d3-4570-ac13-9a62d8f514c0",
            ),
            (
                "audiohook-correlation-id",
                "e160e428-53e2-487c-977d-96989bf5c99d",
            ),
            ("x-api-key", key),
        ];
        let terms = Terms {
            key_id: key,
            nonce: "VGhpc0lzQVVuaXF1ZU5vbmNl",
            created: 1_641_013_200,
            expires: 3_282_026_430,
        };
        let (input, signature) = sign(&secret, &components, terms);
        assert!(input.starts_with("sig1=(\"@request-target\" \"@authority\""));
        assert_eq!(
            signature,
            "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:"
        );
    }
}
