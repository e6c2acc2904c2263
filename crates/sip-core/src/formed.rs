//! A request formed from a URI (RFC 3261 §19.1.5).

use bytes::Bytes;
use sip_message::Uri;

use crate::vocabulary::Header;

/// The parts of an INVITE that a URI gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormedRequest {
    /// The Request-URI: the URI byte for byte, without `method` and without embedded headers.
    pub uri: Bytes,
    /// The To header's name-addr.
    pub to: Bytes,
    /// The embedded headers that may be honoured, decoded, in their order.
    pub headers: Vec<Header>,
}

/// Names that an embedded header may not set: they are the dialog's, the transport's, or they say
/// who calls. User-Agent and the session timer's fields (RFC 4028) are our own, and there can be one
/// only. Those that end in `*` stand for all names that begin so; `a` is short for Accept-Contact.
const NOT_FROM_A_URI: [&str; 38] = [
    "from",
    "f",
    "to",
    "t",
    "via",
    "v",
    "call-id",
    "i",
    "cseq",
    "contact",
    "m",
    "route",
    "record-route",
    "max-forwards",
    "content-*",
    "c",
    "l",
    "e",
    "accept*",
    "a",
    "allow",
    "supported",
    "k",
    "require",
    "proxy-*",
    "authorization",
    "replaces",
    "refer-to",
    "r",
    "referred-by",
    "b",
    "p-asserted-identity",
    "x-asapp-calltransferid",
    "body",
    "user-agent",
    "session-expires",
    "x",
    "min-se",
];

/// Forms a request from a URI. What is no SIP URI is taken as it stands.
#[must_use]
pub fn form_request(uri: &Bytes) -> FormedRequest {
    let Ok(parsed) = Uri::from_bytes(uri.clone()) else {
        return FormedRequest {
            uri: uri.clone(),
            to: bracketed(uri),
            headers: Vec::new(),
        };
    };
    let headers = parsed
        .headers()
        .filter(|header| may_come_from_a_uri(&header.name))
        .map(|header| {
            let name = String::from_utf8_lossy(&header.name).into_owned();
            Header::new(name, header.value.into_owned())
        })
        .collect();
    let bare = parsed.without_headers().without_param("method");
    let uri = bare.as_bytes().clone();
    FormedRequest {
        to: bracketed(&uri),
        uri,
        headers,
    }
}

fn may_come_from_a_uri(name: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte);
    let name = name.to_ascii_lowercase();
    !name.is_empty()
        && name.iter().all(is_token)
        && !NOT_FROM_A_URI
            .iter()
            .any(|barred| match barred.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix.as_bytes()),
                None => name == barred.as_bytes(),
            })
}

fn bracketed(uri: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(uri.len() + 2);
    text.push(b'<');
    text.extend_from_slice(uri);
    text.push(b'>');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formed(uri: &'static str) -> FormedRequest {
        form_request(&Bytes::from_static(uri.as_bytes()))
    }

    #[test]
    fn request_uri_is_the_uri_byte_for_byte() {
        let uri = "sip:Sales%20Desk@[2001:db8::1]:5062;User-to-User=UUI-1;x=%7b%7D;lr";
        assert_eq!(formed(uri).uri, uri.as_bytes());
        assert_eq!(formed(uri).to, format!("<{uri}>").as_bytes());
    }

    #[test]
    fn method_parameter_and_embedded_headers_leave_the_request_uri() {
        let request = formed("sip:a@b.example;method=INVITE;p=1?User-to-User=41%3Bencoding%3Dhex");
        assert_eq!(request.uri, "sip:a@b.example;p=1".as_bytes());
        assert_eq!(
            request.headers,
            [Header::new("User-to-User", "41;encoding=hex")]
        );
    }

    #[test]
    fn embedded_headers_cannot_forge_the_dialog_or_the_caller() {
        let request = formed(
            "sip:a@b?From=x&t=y&Via=z&Content-Type=q&Accept-Language=w&Proxy-Authorization=e&\
             P-Asserted-Identity=r&X-ASAPP-CallTransferId=u&body=i&Subject=ok&X-Kept=1",
        );
        let names: Vec<_> = request
            .headers
            .iter()
            .map(|header| header.name.as_str())
            .collect();
        assert_eq!(names, ["Subject", "X-Kept"]);
    }
}
