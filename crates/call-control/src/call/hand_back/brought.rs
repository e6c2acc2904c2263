//! What goes back with a call whose context came in its headers: the agent's result, in headers too.

use bytes::Bytes;
use serde_json::Value;
use sip_core::{Header, add_parameters, at_host, embed_headers};

use super::super::Call;
use crate::transfer::{OutputContext, TransferType, Variables};

/// A Refer-To URI stops before this many characters.
const LONGEST_TARGET: usize = 1024;
/// Result headers of one INVITE or BYE.
const MOST_HEADERS: usize = 64;

impl Call {
    /// The Refer-To URI: the return URI byte for byte, at the host where the trunk wants it, behind it what the
    /// call and its result add.
    pub(super) fn refer_target(&self, uri: &Bytes) -> Bytes {
        let facts = &self.facts;
        let uri = match &facts.refer_to_host {
            Some(host) => at_host(uri, host),
            None => uri.clone(),
        };
        let (uri, unfit) = add_parameters(&uri, &facts.refer_to_parameters, LONGEST_TARGET);
        let (uri, more) = embed_headers(&uri, &facts.in_refer_to, LONGEST_TARGET);
        let (uri, dropped) = embed_headers(&uri, &self.returned_context(), LONGEST_TARGET);
        let uui = unfit + more;
        if uui + dropped > 0 {
            tracing::warn!(
                dropped,
                uui,
                "variables do not fit into Refer-To and are left out"
            );
        }
        uri
    }

    /// The result as headers of an INVITE or BYE.
    pub(super) fn returned_headers(&self) -> Vec<Header> {
        let context = self.returned_context();
        let fitting = context.iter().filter(|(name, _)| is_token(name));
        let headers: Vec<Header> = fitting
            .take(MOST_HEADERS)
            .map(|(name, value)| Header::new(name.clone(), value.clone()))
            .collect();
        if headers.len() < context.len() {
            let dropped = context.len() - headers.len();
            tracing::warn!(dropped, "variables cannot be headers and are left out");
        }
        headers
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
