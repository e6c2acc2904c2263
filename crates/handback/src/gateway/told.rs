//! What of an INVITE is handed to the agent besides who calls: header fields that carry context, and
//! the bodies beside the session description. Bounded, and without control characters.

use std::collections::BTreeMap;

use agent_hook::wire::CallBody;
use base64::Engine as _;
use sip_core::Body;
use sip_message::Message;

/// The fields that are told by name; besides them all whose names begin with `X-`.
const NAMES: [&str; 6] = [
    "User-to-User",
    "Diversion",
    "History-Info",
    "P-Asserted-Identity",
    "Referred-By",
    "Reason",
];
/// Parts of names that secrets have.
const SECRET: [&str; 6] = ["auth", "secret", "password", "token", "cookie", "api-key"];
/// Fields at most.
const FIELDS: usize = 64;
/// Bytes of one value at most; what is longer is cut.
const VALUE: usize = 1024;
/// Bytes of all values at most.
const VALUES: usize = 16 * 1024;
/// Bodies at most.
const BODIES: usize = 8;
/// Bytes of all bodies at most; one that does not fit is left out.
const CONTENT: usize = 16 * 1024;

/// Referred-By, RFC 3892.
pub(super) fn referred_by(invite: &Message) -> Option<String> {
    let field = invite.fields_named("Referred-By").next()?;
    Some(clean(&field.value()))
}

/// The fields, each with its values in their order.
pub(super) fn headers(invite: &Message) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut left = VALUES;
    let named = invite.fields().filter_map(|field| {
        let name = NAMES.into_iter().find(|name| field.is(*name));
        let name = name.map(str::to_owned).or_else(|| extension(field.name))?;
        Some((name, clean(&field.value())))
    });
    for (name, value) in named.take(FIELDS) {
        let Some(rest) = left.checked_sub(value.len()) else {
            tracing::debug!("more header fields than an agent is told");
            break;
        };
        left = rest;
        let known = told.keys().find(|known| known.eq_ignore_ascii_case(&name));
        let name = known.cloned().unwrap_or(name);
        told.entry(name).or_default().push(value);
    }
    told
}

/// The name of an `X-` field, unless it sounds like a secret.
fn extension(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let lower = name.to_ascii_lowercase();
    let open = !SECRET.iter().any(|part| lower.contains(part));
    (lower.starts_with("x-") && open).then(|| name.to_owned())
}

/// The bodies: as text where they are, else in base64.
pub(super) fn bodies(bodies: &[Body]) -> Vec<CallBody> {
    let mut left = CONTENT;
    let mut told = Vec::new();
    for body in bodies.iter().take(BODIES) {
        let Some(rest) = left.checked_sub(body.content.len()) else {
            tracing::debug!(bytes = body.content.len(), "body too long for the agent");
            continue;
        };
        left = rest;
        let text = std::str::from_utf8(&body.content).ok();
        let text = text.filter(|text| !text.contains(is_unprintable));
        told.push(CallBody {
            content_type: clean(body.content_type.as_bytes()),
            encoding: text.is_none().then(|| "base64".to_owned()),
            content: text.map_or_else(
                || base64::engine::general_purpose::STANDARD.encode(&body.content),
                str::to_owned,
            ),
        });
    }
    told
}

fn is_unprintable(character: char) -> bool {
    character.is_control() && !matches!(character, '\r' | '\n' | '\t')
}

/// A value as text: control characters are spaces, and what is too long is cut.
fn clean(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let printable = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    let mut text: String = text.chars().map(printable).collect();
    let mut end = text.len().min(VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sip_message::Limits;

    use super::*;

    fn invite(lines: &str) -> Message {
        let text = format!(
            "INVITE sip:agent@gw SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\nFrom: <sip:a@a>;tag=1\r\n\
             To: <sip:agent@gw>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text), &Limits::default()).unwrap()
    }

    #[test]
    fn headers_with_context_are_told_and_those_with_secrets_are_not() {
        let invite = invite(
            "user-to-user: 0041;encoding=hex\r\nDiversion: <sip:+1@a>;reason=unknown\r\nDiversion: <sip:+2@a>\r\n\
             History-Info: <sip:a@b>;index=1\r\nP-Asserted-Identity: \"Ann\" <sip:+1@a>\r\nb: <sip:boss@a>\r\n\
             Reason: Q.850;cause=16\r\nX-Ticket: 7\r\nx-ticket: 8\r\nX-Tab: a\tb\u{7f}c\r\n\
             Authorization: Digest username=\"u\"\r\nProxy-Authorization: Digest a=\"b\"\r\nX-Authorization: s\r\n\
             X-Api-Key: s\r\nX-Session-Token: s\r\nSubject: not told\r\n",
        );
        let told = headers(&invite);
        let names: Vec<&str> = told.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "Diversion",
                "History-Info",
                "P-Asserted-Identity",
                "Reason",
                "Referred-By",
                "User-to-User",
                "X-Tab",
                "X-Ticket"
            ]
        );
        assert_eq!(told["Diversion"].len(), 2);
        assert_eq!(told["X-Ticket"], ["7", "8"]);
        assert_eq!(told["X-Tab"], ["a b c"]);
        assert_eq!(told["User-to-User"], ["0041;encoding=hex"]);
        assert_eq!(referred_by(&invite).as_deref(), Some("<sip:boss@a>"));
    }

    #[test]
    fn what_an_agent_is_told_of_headers_has_a_bound() {
        let lines: String = (0..100)
            .map(|n| format!("X-{n}: {}\r\n", "v".repeat(300)))
            .collect();
        let told = headers(&invite(&lines));
        let bytes: usize = told.values().flatten().map(String::len).sum();
        assert!(bytes <= VALUES && told.len() <= FIELDS, "{bytes}");
        let long = headers(&invite(&format!("X-Long: {}\r\n", "é".repeat(2000))));
        assert_eq!(long["X-Long"][0].len(), VALUE);
    }

    #[test]
    fn bodies_are_text_or_base64_and_bounded() {
        let body = |content_type: &str, content: &[u8]| Body {
            content_type: content_type.to_owned(),
            content: Bytes::copy_from_slice(content),
        };
        let told = bodies(&[
            body("application/pidf+xml", b"<presence/>\r\n"),
            body("application/isup", &[0, 255, 7]),
            body("text/plain", &vec![b'x'; CONTENT]),
        ]);
        assert_eq!(told.len(), 2);
        assert_eq!(
            (told[0].content.as_str(), &told[0].encoding),
            ("<presence/>\r\n", &None)
        );
        assert_eq!(told[1].content, "AP8H");
        assert_eq!(told[1].encoding.as_deref(), Some("base64"));
    }
}
