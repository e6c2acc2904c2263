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
