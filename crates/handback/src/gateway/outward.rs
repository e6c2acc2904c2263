//! What of a call's own headers goes on, by the peer's profile, and nothing else; and the context that a
//! call without a registered transfer brings in its headers.

use call_control::transfer::{
    AccountId, InputContext, NewTransfer, ReturnType, SipReturn, TransferId, Variables,
};
use serde_json::Value;
use sip_core::{Header, Invitation};

use crate::config::{Profile, UuiEncoding, UuiPlace};

const UUI: &str = "User-to-User";
/// Header fields that are passed on at most.
const MOST_PASSED: usize = 32;
/// Input variables that a call may bring.
const MOST_VARIABLES: usize = 128;
const VARIABLE: &str = "X-GA-iv-";

/// The header fields of each request that hands a call back, besides its own.
#[derive(Debug, Default)]
pub(super) struct Outward {
    pub(super) on_invite: Vec<Header>,
    pub(super) on_refer: Vec<Header>,
    pub(super) on_bye: Vec<Header>,
    pub(super) in_refer_to: Vec<(String, String)>,
    pub(super) refer_to_parameters: Vec<(String, String)>,
}

impl Outward {
    pub(super) fn of(invitation: &Invitation, profile: &Profile) -> Self {
        let mut outward = Self {
            on_invite: passed(invitation, &profile.passes),
            on_refer: passed(invitation, &profile.refer_passes),
            on_bye: passed(invitation, &profile.bye_passes),
            ..Self::default()
        };
        let Some(uui) = value(invitation, UUI).map(|uui| encoded(&uui, profile.uui_encoding))
        else {
            return outward;
        };
        for place in &profile.uui {
            let header = Header::new(UUI, uui.clone());
            match place {
                UuiPlace::Invite => outward.on_invite.push(header),
                UuiPlace::Refer => outward.on_refer.push(header),
                UuiPlace::Bye => outward.on_bye.push(header),
                UuiPlace::ReferTo => outward.in_refer_to.push((UUI.to_owned(), uui.clone())),
                UuiPlace::ReferToParameter => {
                    outward
                        .refer_to_parameters
                        .push((UUI.to_owned(), uui.clone()));
                }
            }
        }
        outward
    }
}

impl Outward {
    /// Header fields of the gateway's own on INVITE returns: instead of those of the same name that
    /// are passed on; a Diversion goes before earlier ones (RFC 5806 §4).
    pub(super) fn replace(&mut self, own: Vec<Header>) {
        let is = |name: &str, header: &Header| header.name.eq_ignore_ascii_case(name);
        self.on_invite.retain(|passed| {
            is("Diversion", passed) || !own.iter().any(|header| is(&passed.name, header))
        });
        self.on_invite.splice(0..0, own);
    }
}

/// The caller's header fields that the list names; User-to-User has places of its own.
fn passed(invitation: &Invitation, names: &[String]) -> Vec<Header> {
    let named = |name: &str| {
        names.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(prefix) => name
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
            None => name.eq_ignore_ascii_case(allowed),
        })
    };
    let fields = invitation.request.fields().filter_map(|field| {
        let name = std::str::from_utf8(field.name).ok()?;
        let goes = named(name)
            && !name.eq_ignore_ascii_case(UUI)
            && !name.eq_ignore_ascii_case(call_control::TRANSFER_HEADER);
        goes.then(|| Header::new(name, field.value().into_owned()))
    });
    fields.take(MOST_PASSED).collect()
}

fn value(invitation: &Invitation, name: &'static str) -> Option<String> {
    let field = invitation.request.fields_named(name).next()?;
    let text = String::from_utf8_lossy(&field.value()).trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}

/// RFC 7433 §4.1: `uui-data;encoding=hex`.
fn encoded(uui: &str, encoding: UuiEncoding) -> String {
    let (data, params) = uui.split_once(';').map_or((uui, ""), |(d, p)| (d, p));
    let is_hex = params
        .split(';')
        .any(|param| param.trim().eq_ignore_ascii_case("encoding=hex"));
    match encoding {
        UuiEncoding::Hex if !is_hex => {
            let data = data.trim().trim_matches('"');
            let hex: String = data.bytes().map(|byte| format!("{byte:02X}")).collect();
            format!("{hex};encoding=hex")
        }
        UuiEncoding::Hex | UuiEncoding::AsIs => uui.to_owned(),
    }
}

/// The transfer that a call brings in its `X-GA-` headers, under a new id.
pub(super) fn brought(
    invitation: &Invitation,
    account: &AccountId,
    return_type: ReturnType,
    return_uri: Option<&str>,
) -> NewTransfer {
    let id = format!("ga-{:032x}", rand::random::<u128>());
    let mut variables = Variables::new();
    let fields = invitation.request.fields().filter_map(|field| {
        let name = std::str::from_utf8(field.name).ok()?;
        let start = name.get(..VARIABLE.len())?;
        let own = name.get(VARIABLE.len()..).filter(|own| !own.is_empty())?;
        start
            .eq_ignore_ascii_case(VARIABLE)
            .then(|| (own.to_owned(), text(&field.value())))
    });
    for (name, value) in fields.take(MOST_VARIABLES) {
        variables.entry(name).or_insert(Value::String(value));
    }
    if let Some(customer) = value(invitation, "X-GA-customerId") {
        variables
            .entry("customerId")
            .or_insert(Value::String(customer));
    }
    let conversation = value(invitation, "X-GA-extConversationId");
    NewTransfer {
        account: account.clone(),
        external_conversation_id: conversation.unwrap_or_else(|| id.clone()),
        id: TransferId(id),
        sip: Some(SipReturn {
            return_uri: return_uri.map(str::to_owned),
            return_type: Some(return_type),
            ..SipReturn::default()
        }),
        input: Some(InputContext {
            task_name: value(invitation, "X-GA-taskName"),
            input_variables: Some(variables),
        }),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_headers_replace_those_passed_on_but_for_diversions() {
        let header = |name: &str, value: &'static str| Header::new(name, value);
        let mut outward = Outward {
            on_invite: vec![
                header("p-asserted-identity", "theirs"),
                header("Diversion", "earlier"),
                header("X-A", "1"),
            ],
            ..Outward::default()
        };
        outward.replace(vec![
            header("P-Asserted-Identity", "ours"),
            header("Diversion", "ours"),
        ]);
        let values: Vec<&[u8]> = outward.on_invite.iter().map(|it| &it.value[..]).collect();
        assert_eq!(values, [&b"ours"[..], b"ours", b"earlier", b"1"]);
    }

    #[test]
    fn uui_is_written_in_hexadecimal_once() {
        assert_eq!(
            encoded("\"agent 7\"", UuiEncoding::Hex),
            "6167656E742037;encoding=hex"
        );
        assert_eq!(
            encoded("00FA;encoding=hex", UuiEncoding::Hex),
            "00FA;encoding=hex"
        );
        assert_eq!(encoded("x y;purpose=z", UuiEncoding::AsIs), "x y;purpose=z");
    }
}
