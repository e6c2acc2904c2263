//! Responses, and requests sent a second time: RFC 3261 §8.2.6, §18.2 and §22.2.

use std::net::SocketAddr;

use bytes::Bytes;
use sip_message::{Builder, HeaderName, Message, Method, NameAddr, Uri};

use crate::digest::Authorization;
use crate::flow::{Flow, Transport};
use crate::vocabulary::{Body, Header, ReasonValue, Reliability};

/// The methods that we take.
pub(crate) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO, UPDATE, PRACK";
/// The extensions that we speak: RFC 3262, RFC 4488, RFC 4028.
pub(crate) const SUPPORTED: &str = "100rel, norefersub, timer";
/// The bodies that we understand in an INVITE.
pub(crate) const ACCEPT: &str = "application/sdp, multipart/mixed";
/// The type of session descriptions.
pub(crate) const SDP: &str = "application/sdp";

/// The beginning of a response, RFC 3261 §8.2.6: what is copied from the request, the source noted
/// in the top Via (§18.2.1, RFC 3581), and `tag` in To unless the request has one there.
pub(crate) fn response(
    request: &Message,
    source: SocketAddr,
    status: u16,
    reason: Option<&str>,
    tag: &[u8],
) -> Builder {
    let mut builder = Builder::response(status, reason.unwrap_or_else(|| reason_phrase(status)));
    // The fields stay as they are, lists too: an answer grows by nothing that was not said.
    let noted = request.with_source(source);
    let vias = noted.as_ref().unwrap_or(request);
    builder = builder
        .copy(vias, HeaderName::Via)
        .copy(request, HeaderName::From);
    builder = match request.to() {
        Ok(to) if to.tag().is_none() && status > 100 && !tag.is_empty() => {
            builder.field("To", [to.as_bytes(), &b";tag="[..], tag].concat())
        }
        Ok(_) | Err(_) => builder.copy(request, HeaderName::To),
    };
    builder = builder
        .copy(request, HeaderName::CallId)
        .copy(request, HeaderName::CSeq);
    if status == 100 {
        builder.copy(request, HeaderName::Timestamp)
    } else {
        builder
    }
}

/// Where the response to a request goes, RFC 3261 §18.2.2 and RFC 3581 §4: back over the
/// connection, or to the source address. `maddr` is not followed: by it a peer could direct our
/// answers at somebody else.
pub(crate) fn reply_flow(request: &Message, flow: Flow) -> Flow {
    if flow.transport.reliable() {
        let gone = flow.connection.is_none();
        return if gone {
            fallback_flow(request, flow)
        } else {
            flow
        };
    }
    match request.via() {
        Ok(via) if via.rport().is_none() => Flow {
            remote: SocketAddr::new(flow.remote.ip(), via.port().unwrap_or(5060)),
            ..flow
        },
        Ok(_) | Err(_) => flow,
    }
}

/// Whether the Contact of a request to `uri` by `route` must be a sips URI, RFC 3261 §8.1.1.8.
pub(crate) fn asks_for_sips(uri: &Bytes, route: Option<&Bytes>) -> bool {
    let target = Uri::from_bytes(uri.clone());
    let route = route.and_then(|route| NameAddr::parse(route.clone()).ok());
    target.is_ok_and(|uri| uri.is_sips()) || route.is_some_and(|route| route.uri().is_sips())
}

/// Whether the Contact in the response to a dialog's first request must be a sips URI, RFC 3261
/// §12.1.1: its Request-URI is one, or its topmost Record-Route, or, without that, its Contact.
pub(crate) fn came_by_sips(request: &Message) -> bool {
    let path = match request.record_routes().next() {
        Some(first) => first.ok(),
        None => request.contact().ok().flatten(),
    };
    request.target().is_ok_and(|uri| uri.is_sips())
        || path.is_some_and(|address| address.uri().is_sips())
}

/// Where the response goes when its connection is gone, RFC 3261 §18.2.2: over a new one to the
/// source address and the port in the Via.
pub(crate) fn fallback_flow(request: &Message, flow: Flow) -> Flow {
    let default_port = if flow.transport == Transport::Tls {
        5061
    } else {
        5060
    };
    let port = request
        .via()
        .ok()
        .and_then(|via| via.port())
        .unwrap_or(default_port);
    if flow.transport.reliable() {
        Flow {
            remote: SocketAddr::new(flow.remote.ip(), port),
            connection: None,
            ..flow
        }
    } else {
        reply_flow(request, flow)
    }
}

/// The same request once more: another sequence number, Via, and the credentials, RFC 3261 §22.2.
pub(crate) fn again(
    request: &Message,
    cseq: u32,
    via: &[u8],
    credentials: &[Authorization],
) -> Message {
    const REPLACED: [HeaderName<'static>; 6] = [
        HeaderName::Via,
        HeaderName::CSeq,
        HeaderName::ContentLength,
        HeaderName::ContentType,
        HeaderName::Authorization,
        HeaderName::ProxyAuthorization,
    ];
    let method = request.method();
    let mut builder =
        Builder::request(&method, request.request_uri().unwrap_or_default()).field("Via", via);
    for field in request
        .fields()
        .filter(|field| !REPLACED.iter().any(|name| field.is(*name)))
    {
        builder = builder.field(
            std::str::from_utf8(field.name).unwrap_or_default(),
            field.value(),
        );
    }
    builder = builder.field("CSeq", format!("{cseq} {method}"));
    for answer in credentials {
        builder = builder.field(answer.name(), &answer.value);
    }
    let content_type = request.header(HeaderName::ContentType);
    match content_type.as_deref().map(std::str::from_utf8) {
        Some(Ok(content_type)) => builder.body(content_type, &request.body()).build(),
        Some(Err(_)) | None => builder.build(),
    }
}

/// Adds header fields.
pub(crate) fn with_headers(mut builder: Builder, headers: &[Header]) -> Builder {
    for header in headers {
        builder = builder.field(header.name.as_str(), &header.value);
    }
    builder
}

/// Adds a session description, if there is one.
pub(crate) fn with_sdp(builder: Builder, sdp: Option<&Bytes>) -> Builder {
    match sdp {
        Some(sdp) => builder.body(SDP, sdp),
        None => builder,
    }
}

/// The session description of a message: its body, or that part of a multipart body.
pub(crate) fn sdp_of(message: &Message) -> Option<Bytes> {
    if message.body().is_empty() {
        None
    } else {
        sip_message::find_part(message, SDP)
    }
}

/// The parts of a multipart body that are not its session description.
pub(crate) fn other_bodies(message: &Message) -> Vec<Body> {
    let mut parts = sip_message::parts(message);
    let is_sdp =
        |part: &sip_message::Part| part.content_type.as_ref().is_some_and(|kind| kind.is(SDP));
    if let Some(position) = parts.iter().position(|part| !part.encoded && is_sdp(part)) {
        parts.remove(position);
    }
    let body = |part: sip_message::Part| Body {
        content_type: part
            .content_type
            .map(|kind| text(kind.as_bytes()))
            .unwrap_or_default(),
        content: part.body,
    };
    parts.into_iter().map(body).collect()
}

/// Whether provisional responses to an INVITE are to be reliable, RFC 3262 §3: where its sender
/// requires it, and `where_supported` also where it only takes them.
pub(crate) fn reliability(invite: &Message, where_supported: bool) -> Reliability {
    let is_100rel = |tag: &str| tag.eq_ignore_ascii_case("100rel");
    if invite.require().any(is_100rel) {
        Reliability::Required
    } else if where_supported && invite.supported().any(is_100rel) {
        Reliability::Supported
    } else {
        Reliability::Unsupported
    }
}

/// The Reason values of a message, RFC 3326.
pub(crate) fn reasons_of(message: &Message) -> Vec<ReasonValue> {
    message
        .reason()
        .map(|reason| ReasonValue {
            protocol: text(reason.protocol()),
            cause: reason.cause().and_then(|cause| u16::try_from(cause).ok()),
            text: reason.text().map(|value| text(&value)),
        })
        .collect()
}

/// Whether the sender takes REFER: no Allow header, or one that names it; `None` without Allow.
pub(crate) fn allows_refer(message: &Message) -> Option<bool> {
    allows(message, &Method::Refer)
}

/// Whether the sender takes UPDATE; `None` without Allow.
pub(crate) fn allows_update(message: &Message) -> Option<bool> {
    allows(message, &Method::Update)
}

fn allows(message: &Message, method: &Method) -> Option<bool> {
    message.fields_named(HeaderName::Allow).next()?;
    Some(
        message
            .values(HeaderName::Allow)
            .any(|allowed| allowed.as_ref() == method.as_str().as_bytes()),
    )
}

/// The header fields whose names begin with `X-`.
pub(crate) fn x_headers(message: &Message) -> Vec<(String, String)> {
    message
        .fields()
        .filter(|field| {
            field
                .name
                .get(..2)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"X-"))
        })
        .map(|field| (text(field.name), text(&field.value())))
        .collect()
}

/// Bytes as text, with what is no UTF-8 replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The reason phrase of a status code, RFC 3261 §21 and the registry.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match PHRASES.binary_search_by_key(&status, |(code, _)| *code) {
        Ok(index) => PHRASES.get(index).map_or("", |(_, phrase)| phrase),
        Err(_) => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}

/// Reason phrases in order of their codes.
const PHRASES: [(u16, &str); 55] = [
    (100, "Trying"),
    (180, "Ringing"),
    (181, "Call Is Being Forwarded"),
    (182, "Queued"),
    (183, "Session Progress"),
    (200, "OK"),
    (202, "Accepted"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (305, "Use Proxy"),
    (380, "Alternative Service"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (410, "Gone"),
    (412, "Conditional Request Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Unsupported URI Scheme"),
    (420, "Bad Extension"),
    (421, "Extension Required"),
    (422, "Session Interval Too Small"),
    (423, "Interval Too Brief"),
    (469, "Bad Info Package"),
    (480, "Temporarily Unavailable"),
    (481, "Call/Transaction Does Not Exist"),
    (482, "Loop Detected"),
    (483, "Too Many Hops"),
    (484, "Address Incomplete"),
    (485, "Ambiguous"),
    (486, "Busy Here"),
    (487, "Request Terminated"),
    (488, "Not Acceptable Here"),
    (489, "Bad Event"),
    (491, "Request Pending"),
    (493, "Undecipherable"),
    (500, "Server Internal Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Server Time-out"),
    (505, "Version Not Supported"),
    (513, "Message Too Large"),
    (600, "Busy Everywhere"),
    (603, "Decline"),
    (604, "Does Not Exist Anywhere"),
    (606, "Not Acceptable"),
];
