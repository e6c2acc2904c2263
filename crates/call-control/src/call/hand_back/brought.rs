//! What goes back with a call whose context came in its headers: the agent's result, in headers too.

use bytes::Bytes;
use serde_json::Value;
use sip_core::{Header, add_parameters, at_host, embed_headers};

use super::super::Call;
use crate::outcome::{Carried, CarriedIn};
use crate::transfer::{OutputContext, TransferType, Variables};

/// A Refer-To URI stops before this many characters.
const LONGEST_TARGET: usize = 1024;
/// Result headers of one INVITE or BYE.
const MOST_HEADERS: usize = 64;

/// What of a call's context goes with a request, and how much does not.
#[derive(Debug, Default)]
pub(super) struct Context {
    carried: Vec<Carried>,
    dropped: usize,
}

impl Context {
    /// Those of `all` that did fit.
    fn add(&mut self, place: CarriedIn, all: &[(String, String)], dropped: usize) {
        let fitting = all.len() - dropped;
        let carried = |(name, _): &(String, String)| Carried {
            place,
            name: name.clone(),
        };
        self.carried.extend(all.iter().take(fitting).map(carried));
        self.dropped += dropped;
    }

    pub(super) fn add_headers(&mut self, headers: &[Header]) {
        let carried = |header: &Header| Carried {
            place: CarriedIn::Header,
            name: header.name.clone(),
        };
        self.carried.extend(headers.iter().map(carried));
    }
}

impl Call {
    /// Notes what goes with the step under way.
    pub(super) fn carries(&mut self, context: Context) {
        if context.dropped > 0 {
            let dropped = context.dropped;
            tracing::warn!(dropped, "context does not fit and is left out");
        }
        if let Some(step) = self.current() {
            step.carried = context.carried;
            step.dropped = context.dropped;
        }
    }

    /// The Refer-To URI: the return URI byte for byte, at the host where the trunk wants it, behind it what the
    /// call and its result add.
    pub(super) fn refer_target(&self, uri: &Bytes) -> (Bytes, Context) {
        let facts = &self.facts;
        let uri = match &facts.refer_to_host {
            Some(host) => at_host(uri, host),
            None => uri.clone(),
        };
        let mut context = Context::default();
        let parameters = &facts.refer_to_parameters;
        let (uri, dropped) = add_parameters(&uri, parameters, LONGEST_TARGET);
        context.add(CarriedIn::ReferToParameter, parameters, dropped);
        let (uri, dropped) = embed_headers(&uri, &facts.in_refer_to, LONGEST_TARGET);
        context.add(CarriedIn::ReferToHeader, &facts.in_refer_to, dropped);
        let returned = self.returned_context();
        let (uri, dropped) = embed_headers(&uri, &returned, LONGEST_TARGET);
        context.add(CarriedIn::ReferToHeader, &returned, dropped);
        context.add_headers(&facts.on_refer);
        (uri, context)
    }

    /// The result as headers of an INVITE or BYE, behind those that the call has for it.
    pub(super) fn context_headers(&self, own: &[Header]) -> (Vec<Header>, Context) {
        let returned = self.returned_context();
        let fitting = returned.iter().filter(|(name, _)| is_token(name));
        let fitting = fitting.take(MOST_HEADERS);
        let returned_headers =
            fitting.map(|(name, value)| Header::new(name.clone(), value.clone()));
        let headers: Vec<Header> = own.iter().cloned().chain(returned_headers).collect();
        let mut context = Context {
            dropped: own.len() + returned.len() - headers.len(),
            ..Context::default()
        };
        context.add_headers(&headers);
        (headers, context)
    }

    /// Names and values, in the order in which they are left out when there is no room.
    fn returned_context(&self) -> Vec<(String, String)> {
        let (Some(brought), Some(output)) = (&self.facts.brought, self.diary.latest_result())
        else {
            return Vec::new();
        };
        let mut context = vec![
            (
                "X-GA-extConId".to_owned(),
                brought.external_conversation_id.clone(),
            ),
            ("X-GA-transfer".to_owned(), transfer_type(output).to_owned()),
        ];
        context.extend(prefixed("X-GA-tv-", &output.transfer_variables));
        context.extend(prefixed("X-GA-rv-", &output.reference_variables));
        context
    }
}

const fn transfer_type(output: &OutputContext) -> &'static str {
    match output.transfer_type {
        TransferType::Agent => "AGENT",
        TransferType::System => "SYSTEM",
    }
}

/// A value that is no text is written as its JSON text.
fn prefixed<'a>(
    prefix: &'a str,
    variables: &'a Variables,
) -> impl Iterator<Item = (String, String)> + 'a {
    variables.iter().map(move |(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => value.to_string(),
        };
        (format!("{prefix}{name}"), text)
    })
}

fn is_token(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
    name.bytes().all(token)
}
