//! The rules that a request from outside every dialog must pass, in the order of RFC 3261 §8.2.
//!
//! Everything here is a function of the request and the configuration: nothing is stored, and every
//! refusal is stateless (§8.2.7). The source and its credentials are judged in [`crate::trunks`].

use std::borrow::Cow;

use bytes::Bytes;
use sip_message::{HeaderName, Message, Method, Uri};

use crate::advertise;
use crate::answers::{ACCEPT, ALLOW, SDP, SUPPORTED, sdp_of, text};
use crate::config::EndpointConfig;
use crate::flow::Flow;
use crate::ids::Ids;
use crate::vocabulary::{Response, TrunkId};

/// What is kept of an INVITE that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The offer.
    pub(crate) offer: Option<Bytes>,
    /// The required header's value.
    pub(crate) correlation: Option<String>,
}

/// The rows from the method to the extensions, for any request outside a dialog.
pub(crate) fn request(config: &EndpointConfig, request: &Message) -> Result<(), Response> {
    method(&request.method())?;
    target(config, request)?;
    extensions(request)
}

/// The rows after those, for an INVITE.
pub(crate) fn invite(
    config: &EndpointConfig,
    trunk: TrunkId,
    request: &Message,
) -> Result<Passed, Response> {
    let offer = body(request)?;
    let optional = usize::try_from(trunk.0)
        .ok()
        .and_then(|index| config.trunks.get(index))
        .is_some_and(|rule| rule.header_optional);
    let correlation = match &config.required_header {
        Some(name) if optional && is_absent(request, name) => None,
        Some(name) => Some(required(request, name)?),
        None => None,
    };
    crate::leg::too_small(config, request).map_or(Ok(()), Err)?;
    Ok(Passed { offer, correlation })
}

/// RFC 3261 §8.2.1: methods that nobody knows, those that we never take, and those that only
/// make sense inside a dialog.
fn method(method: &Method) -> Result<(), Response> {
    match method {
        Method::Invite | Method::Options | Method::Ack | Method::Cancel => Ok(()),
        Method::Bye | Method::Notify | Method::Info | Method::Update | Method::Prack => {
            Err(Response::new(481))
        }
        Method::Refer
        | Method::Register
        | Method::Subscribe
        | Method::Message
        | Method::Publish => Err(not_allowed()),
        Method::Other(_) => Err(Response::new(501).with_header("Allow", ALLOW)),
    }
}

/// 405 with the methods that we take, RFC 3261 §8.2.1.
pub(crate) fn not_allowed() -> Response {
    Response::new(405).with_header("Allow", ALLOW)
}

/// RFC 3261 §8.2.2.1: the scheme, then the user; OPTIONS is for any user or none.
fn target(config: &EndpointConfig, request: &Message) -> Result<(), Response> {
    let uri =
        Uri::parse(request.request_uri().unwrap_or_default()).map_err(|_| Response::new(400))?;
    if !uri.is_sip() {
        return Err(Response::new(416));
    }
    if request.method() == Method::Options || config.users.iter().any(|user| user == "*") {
        return Ok(());
    }
    let user = uri.user_decoded().unwrap_or(Cow::Borrowed(b""));
    let known = config
        .users
        .iter()
        .any(|name| name.as_bytes() == user.as_ref());
    if known {
        Ok(())
    } else {
        Err(Response::new(404))
    }
}

/// RFC 3261 §8.2.2.3.
pub(crate) fn extensions(request: &Message) -> Result<(), Response> {
    let supported = |tag: &[u8]| {
        SUPPORTED
            .split(", ")
            .any(|ours| ours.as_bytes().eq_ignore_ascii_case(tag))
    };
    let lacking: Vec<String> = request
        .values(HeaderName::Require)
        .filter(|tag| !supported(tag))
        .map(|tag| text(&tag))
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Response::new(420).with_header("Unsupported", lacking.join(", ")))
}

/// Whether the request has been through us before, RFC 3261 §8.2.2.2 and §16.3: one of its Vias is
/// ours, by its branch or by its address.
pub(crate) fn has_looped(
    config: &EndpointConfig,
    request: &Message,
    flow: &Flow,
    ids: &Ids,
) -> bool {
    request.vias().filter_map(Result::ok).any(|via| {
        via.branch().is_some_and(|branch| ids.is_own_branch(branch))
            || advertise::is_ours(&config.advertise, &via, flow)
    })
}

/// RFC 3261 §8.2.3: a body must be SDP or contain it, unless it may be ignored.
pub(crate) fn body(request: &Message) -> Result<Option<Bytes>, Response> {
    if request.body().is_empty() {
        return Ok(None);
    }
    let unsupported = || Response::new(415).with_header("Accept", ACCEPT);
    let encoded = request
        .values(HeaderName::ContentEncoding)
        .any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(unsupported().with_header("Accept-Encoding", "identity"));
    }
    match sdp_of(request) {
        Some(sdp) => Ok(Some(sdp)),
        None if is_optional(request) => Ok(None),
        None => Err(unsupported()),
    }
}

/// Whether a body that is not understood may be ignored, RFC 3261 §20.11.
pub(crate) fn is_optional(request: &Message) -> bool {
    let disposition = request
        .header(HeaderName::ContentDisposition)
        .unwrap_or_default();
    let mut params = disposition.split(|byte| *byte == b';').skip(1);
    params.any(|param| {
        let param: Vec<u8> = param
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace())
            .copied()
            .collect();
        param.eq_ignore_ascii_case(b"handling=optional")
    })
}

/// The header that correlates the call: there, not empty, and not twice with different values.
/// No field of that name, or only empty ones.
fn is_absent(request: &Message, name: &str) -> bool {
    request
        .fields_named(name)
        .all(|field| field.value().trim_ascii().is_empty())
}

fn required(request: &Message, name: &str) -> Result<String, Response> {
    let refuse = |what: &str| Err(Response::new(400).with_reason(format!("{what} {name}")));
    let mut values = request.fields_named(name).map(|field| text(&field.value()));
    match values.next() {
        None => refuse("Missing"),
        Some(value) if value.trim().is_empty() => refuse("Empty"),
        Some(value) if values.any(|other| other.trim() != value.trim()) => refuse("Contradictory"),
        Some(value) => Ok(value.trim().to_owned()),
    }
}

/// What OPTIONS is answered with, RFC 3261 §11.2.
pub(crate) fn capabilities(draining: bool) -> Response {
    if draining {
        return Response::new(503).with_header("Retry-After", "5");
    }
    Response::new(200)
        .with_header("Allow", ALLOW)
        .with_header("Accept", SDP)
        .with_header("Supported", SUPPORTED)
}
