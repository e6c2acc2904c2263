//! Return URIs of any shape, on the wire: byte for byte, and nothing of them where it does not belong.

use proptest::prelude::*;

use super::*;
use crate::form_request;

/// Names that a URI may set, none of which the endpoint writes itself.
const HONOURED: [&str; 6] = [
    "User-to-User",
    "Subject",
    "X-Kept",
    "Diversion",
    "History-Info",
    "P-Charging-Vector",
];

/// Names that a URI may not set, in every way in which they can be spelled.
const BARRED: [&str; 44] = [
    "From",
    "f",
    "TO",
    "t",
    "Via",
    "v",
    "Call-ID",
    "i",
    "CSeq",
    "Contact",
    "m",
    "Route",
    "Record-Route",
    "max-forwards",
    "Content-Type",
    "Content-Length",
    "content-x",
    "c",
    "l",
    "e",
    "Accept",
    "Accept-Language",
    "a",
    "Allow",
    "Supported",
    "k",
    "Require",
    "Proxy-Require",
    "Proxy-Authorization",
    "Authorization",
    "Replaces",
    "Refer-To",
    "r",
    "Referred-By",
    "b",
    "P-Asserted-Identity",
    "X-ASAPP-CallTransferId",
    "body",
    "BODY",
    "User-Agent",
    "Session-Expires",
    "x",
    "Min-SE",
    "Accept-Contact",
];

/// A return URI and what is to become of it, put together from the same parts.
#[derive(Clone, Debug)]
struct ReturnUri {
    text: String,
    request_uri: String,
    honoured: Vec<(String, Vec<u8>)>,
}

/// One embedded header: its name as it is, the name as it is spelled, and the value as it is spelled.
#[derive(Clone, Debug)]
struct Embedded {
    honoured: bool,
    name: String,
    spelled: String,
    value: String,
}

fn user() -> impl Strategy<Value = Option<String>> {
    let user = "([a-zA-Z0-9_.!~*'()&=+$,;?/-]|%[0-9A-Fa-f]{2}){1,12}";
    let password = prop_oneof![
        4 => Just(String::new()),
        1 => ":([a-z0-9&=+$,]|%[0-9A-Fa-f]{2}){0,6}",
    ];
    proptest::option::weighted(0.9, (user, password).prop_map(|(user, word)| user + &word))
}

fn host() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just("sbc.example.com".to_owned()),
        Just("SBC-1.Example.COM".to_owned()),
        Just("192.0.2.7".to_owned()),
        Just("[2001:db8::7]".to_owned()),
        Just("localhost".to_owned()),
    ];
    let port = prop_oneof![
        Just(String::new()),
        (1u16..).prop_map(|port| format!(":{port}"))
    ];
    (host, port).prop_map(|(host, port)| host + &port)
}

/// Parameters, each with whether it stays.
fn params() -> impl Strategy<Value = Vec<(String, bool)>> {
    let known = prop_oneof![
        Just("lr"),
        Just("transport=tcp"),
        Just("user=phone"),
        Just("User-to-User=UUI-1%3Bencoding%3Dhex"),
        Just("maddr=192.0.2.9"),
        Just("methods=x"),
    ];
    let method = prop_oneof![Just("method=INVITE"), Just("METHOD=refer"), Just("Method")];
    let any = "([a-zA-Z0-9_.!~*'()/:&+$-]|%[0-9A-Fa-f]{2}){1,9}(=([a-zA-Z0-9_.!~*'()\\[\\]/:&+$-]|%[0-9A-Fa-f]{2}){1,9})?";
    let param = prop_oneof![
        3 => known.prop_map(|param| (param.to_owned(), true)),
        1 => method.prop_map(|param| (param.to_owned(), false)),
        3 => any.prop_map(|param| (format!("x{param}"), true)),
    ];
    proptest::collection::vec(param, 0..5)
}

fn embedded() -> impl Strategy<Value = Vec<Embedded>> {
    let name = prop_oneof![
        2 => proptest::sample::select(&HONOURED[..]).prop_map(|name| (true, name.to_owned())),
        2 => proptest::sample::select(&BARRED[..]).prop_map(|name| (false, name.to_owned())),
        1 => "[A-Za-z0-9]{1,8}".prop_map(|name| (true, format!("X-T-{name}"))),
    ];
    let value = "([a-zA-Z0-9_.!~*'()\\[\\]/?:+$-]|%[0-9A-Fa-f]{2}|%0D%0A){0,20}";
    let header = (name, any::<u32>(), value).prop_map(|((honoured, name), escapes, value)| {
        let spell = |(at, byte): (usize, u8)| match escapes >> (at % 32) & 7 {
            0 => format!("%{byte:02x}"),
            _ => char::from(byte).to_string(),
        };
        let spelled = name.bytes().enumerate().map(spell).collect();
        Embedded {
            honoured,
            name,
            spelled,
            value,
        }
    });
    proptest::collection::vec(header, 0..5)
}

fn decoded(text: &str) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '%' {
            plain.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
            rest = &rest[3..];
        } else {
            plain.push(first as u8);
            rest = &rest[1..];
        }
    }
    plain
}

fn return_uri() -> impl Strategy<Value = ReturnUri> {
    let scheme = prop_oneof![Just("sip"), Just("sips"), Just("SIP"), Just("Sips")];
    (scheme, user(), host(), params(), embedded()).prop_map(
        |(scheme, user, host, params, headers)| {
            let user = user.map_or_else(String::new, |user| user + "@");
            let (mut text, mut request_uri) = (
                format!("{scheme}:{user}{host}"),
                format!("{scheme}:{user}{host}"),
            );
            for (param, stays) in params {
                text.push_str(&format!(";{param}"));
                if stays {
                    request_uri.push_str(&format!(";{param}"));
                }
            }
            for (at, header) in headers.iter().enumerate() {
                let mark = if at == 0 { '?' } else { '&' };
                text.push_str(&format!("{mark}{}={}", header.spelled, header.value));
            }
            let kept = headers.into_iter().filter(|header| header.honoured);
            let honoured = kept
                .map(|header| (header.name, decoded(&header.value)))
                .collect();
            ReturnUri {
                text,
                request_uri,
                honoured,
            }
        },
    )
}

/// What a value is on the wire: line breaks cannot be, and space around it is none of it.
fn on_the_wire(value: &[u8]) -> Vec<u8> {
    let byte = |byte: &u8| match byte {
        b'\r' | b'\n' | 0 => b' ',
        byte => *byte,
    };
    let value: Vec<u8> = value.iter().map(byte).collect();
    value.trim_ascii().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn method_and_embedded_headers_leave_a_return_uri_and_nothing_else_changes(uri in return_uri()) {
        let formed = form_request(&Bytes::from(uri.text.clone()));
        prop_assert_eq!(&formed.uri[..], uri.request_uri.as_bytes());
        let to = String::from_utf8_lossy(&formed.to).into_owned();
        prop_assert_eq!(to, format!("<{}>", uri.request_uri));
        let got: Vec<(String, Vec<u8>)> = formed.headers.iter().map(|header| (header.name.clone(), header.value.to_vec())).collect();
        prop_assert_eq!(got, uri.honoured);
    }

    #[test]
    fn an_invite_return_carries_its_uri_byte_for_byte_and_its_headers_once_each(uri in return_uri()) {
        let invite = |headers: Vec<Header>, uri: Bytes, to: Bytes| {
            let mut bench = Bench::new(gateway());
            let place = Place { uri, to, headers, ..place(None, Some(SDP)) };
            bench.input(Input::Place(Box::new(place)));
            bench.sent.remove(0).1
        };
        let formed = form_request(&Bytes::from(uri.text.clone()));
        let plain = invite(Vec::new(), formed.uri.clone(), formed.to.clone());
        let sent = invite(formed.headers, formed.uri, formed.to);
        prop_assert!(sent.validate().is_ok());
        prop_assert_eq!(sent.request_uri(), Some(uri.request_uri.as_bytes()));
        let names = |message: &Message| -> Vec<Vec<u8>> {
            message.fields().map(|field| field.name.to_ascii_lowercase()).collect()
        };
        let mut expected = names(&plain);
        expected.extend(uri.honoured.iter().map(|(name, _)| name.to_ascii_lowercase().into_bytes()));
        let mut got = names(&sent);
        expected.sort();
        got.sort();
        prop_assert_eq!(got, expected, "nothing was forged");
        for (name, value) in &uri.honoured {
            let fields = sent.fields().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
            let mut values = fields.map(|field| on_the_wire(field.raw));
            prop_assert!(values.any(|sent| sent == on_the_wire(value)), "{}", name);
        }
    }

    #[test]
    fn a_refer_to_holds_the_return_uri_byte_for_byte_in_angle_brackets(uri in return_uri()) {
        let (mut bench, leg, _) = standing();
        let target = Bytes::from(uri.text.clone());
        bench.command(leg, Command::Refer { target, headers: Vec::new() });
        let refer = bench.sent.remove(0).1;
        prop_assert_eq!(field(&refer, "Refer-To"), format!("<{}>", uri.text));
        let value = refer.header(HeaderName::ReferTo).unwrap();
        let read = sip_message::NameAddr::parse(Bytes::copy_from_slice(&value)).unwrap();
        prop_assert_eq!(&read.uri().as_bytes()[..], uri.text.as_bytes(), "as the peer reads it");
    }
}
