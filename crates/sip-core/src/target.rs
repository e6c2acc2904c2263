//! Targets of a hand-back: headers embedded in a Refer-To URI.

use std::fmt::Write;

use bytes::Bytes;
use sip_message::Uri;

/// Embeds headers in a URI (RFC 3261 §19.1.1), each escaped, in their order, and stops before the
/// whole has `most` bytes. The bytes of the URI itself stay as they are. Also says how many did not fit.
#[must_use]
pub fn embed_headers(uri: &Bytes, headers: &[(String, String)], most: usize) -> (Bytes, usize) {
    let mut text = uri.to_vec();
    let has_headers = Uri::from_bytes(uri.clone()).is_ok_and(|uri| uri.headers().next().is_some());
    let mut separator = if has_headers { '&' } else { '?' };
    for (index, (name, value)) in headers.iter().enumerate() {
        let pair = format!("{separator}{}={}", escaped(name), escaped(value));
        if text.len() + pair.len() >= most {
            return (text.into(), headers.len() - index);
        }
        text.extend_from_slice(pair.as_bytes());
        separator = '&';
    }
    (text.into(), 0)
}

/// Adds parameters to a SIP URI behind its own and before its headers, each escaped, as [`embed_headers`] does.
#[must_use]
pub fn add_parameters(uri: &Bytes, parameters: &[(String, String)], most: usize) -> (Bytes, usize) {
    let user_end = first_of(uri, b"@").unwrap_or(0);
    let end = first_of(&uri[user_end..], b"?").map_or(uri.len(), |at| user_end + at);
    let mut added = String::new();
    for (index, (name, value)) in parameters.iter().enumerate() {
        let parameter = format!(";{}={}", escaped(name), escaped(value));
        if uri.len() + added.len() + parameter.len() >= most {
            return (spliced(uri, end, &added), parameters.len() - index);
        }
        added.push_str(&parameter);
    }
    (spliced(uri, end, &added), 0)
}

fn spliced(uri: &Bytes, at: usize, added: &str) -> Bytes {
    [&uri[..at], added.as_bytes(), &uri[at..]].concat().into()
}

/// The same SIP URI at another host: only host and port are replaced, every other byte stays.
#[must_use]
pub fn at_host(uri: &Bytes, host: &str) -> Bytes {
    let Some(colon) = first_of(uri, b":") else {
        return uri.clone();
    };
    let rest = colon + 1;
    // `@` stands unescaped only behind the user part, `;` and `?` never in the host (RFC 3261 §25.1).
    let start = first_of(&uri[rest..], b"@").map_or(rest, |at| rest + at + 1);
    let end = first_of(&uri[start..], b";?").map_or(uri.len(), |at| start + at);
    [&uri[..start], host.as_bytes(), &uri[end..]]
        .concat()
        .into()
}

fn first_of(text: &[u8], any: &[u8]) -> Option<usize> {
    text.iter().position(|byte| any.contains(byte))
}

/// Everything but RFC 3261's `unreserved` is escaped: what else a header may hold in a URI is read
/// differently by different peers.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(uri: &'static str, headers: &[(&str, &str)], most: usize) -> (String, usize) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Vec<_> = headers.iter().map(owned).collect();
        let uri = Bytes::from_static(uri.as_bytes());
        let (bytes, dropped) = embed_headers(&uri, &headers, most);
        (String::from_utf8(bytes.to_vec()).unwrap(), dropped)
    }

    #[test]
    fn headers_stand_escaped_behind_the_uri_in_their_order() {
        let headers = [("X-GA-extConId", "a b&c=d?e"), ("X-GA-transfer", "AGENT")];
        assert_eq!(
            embedded("sip:q@sbc;x=%41", &headers, 1024).0,
            "sip:q@sbc;x=%41?X-GA-extConId=a%20b%26c%3Dd%3Fe&X-GA-transfer=AGENT"
        );
    }

    #[test]
    fn parameters_stand_behind_those_of_the_uri_and_before_its_headers() {
        let uri = Bytes::from_static(b"sip:a?b@c;x=%41?X-A=1");
        let added = [("User-to-User".to_owned(), "00;encoding=hex".to_owned())];
        let expected = "sip:a?b@c;x=%41;User-to-User=00%3Bencoding%3Dhex?X-A=1";
        assert_eq!(
            add_parameters(&uri, &added, 1024),
            (Bytes::from(expected), 0)
        );
        assert_eq!(add_parameters(&uri, &added, 30), (uri, 1));
    }

    #[test]
    fn only_host_and_port_of_the_uri_are_replaced() {
        for (uri, moved) in [
            (
                "sip:q%2D1@a.example:5070;x=%41?X-A=%20",
                "sip:q%2D1@b:5060;x=%41?X-A=%20",
            ),
            (
                "sips:user;a=b?c:pw@[2001:db8::1]:5061",
                "sips:user;a=b?c:pw@b:5060",
            ),
            ("sip:a.example", "sip:b:5060"),
        ] {
            let uri = Bytes::from_static(uri.as_bytes());
            assert_eq!(at_host(&uri, "b:5060"), moved.as_bytes());
        }
    }

    #[test]
    fn headers_that_the_uri_has_already_stay_first() {
        let (uri, _) = embedded("sip:q@sbc?X-A=%20b", &[("X-B", "ü\r\n")], 1024);
        assert_eq!(uri, "sip:q@sbc?X-A=%20b&X-B=%C3%BC%0D%0A");
    }

    #[test]
    fn the_first_header_that_does_not_fit_is_the_first_that_is_dropped() {
        let headers = [("a", "1"), ("b", "2222222222"), ("c", "3")];
        assert_eq!(
            embedded("sip:q@s", &headers, 13),
            ("sip:q@s?a=1".to_owned(), 2)
        );
        assert_eq!(embedded("sip:q@s", &headers, 11), ("sip:q@s".to_owned(), 3));
    }

    #[test]
    fn embedded_headers_are_read_back_as_they_were() {
        let value = "~!@#$%^&*()_+ ünï\u{1F600};,/?:\"<>[]{}|\\`'=";
        let (uri, dropped) = embedded(
            "sips:q@[2001:db8::1]:5061",
            &[("X-GA-tv-note", value)],
            1024,
        );
        assert_eq!(dropped, 0);
        let uri = Uri::parse(uri.as_bytes()).unwrap();
        let header = uri.headers().next().unwrap();
        assert_eq!(
            (&header.name[..], &header.value[..]),
            (&b"X-GA-tv-note"[..], value.as_bytes())
        );
    }
}
