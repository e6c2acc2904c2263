//! Who is who on a call: names, ids and identities that a call is begun with.

use agent_hook::{CallFacts, HookToken};
use bytes::Bytes;
use call_control::transfer::InputContext;
use sip_core::{Caller, Header, Invitation};

use super::live_calls::Snapshot;
use super::told;
use crate::config::{IdentityHeader, Place, ReferredBy};

/// A new id of ours for a call: 16 hexadecimal digits.
pub(super) fn new_call_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// The session id of a call's SDP; small enough for peers that read it as 32 bits signed.
pub(super) fn session_id() -> u64 {
    u64::from(rand::random::<u32>() >> 2) + 1
}

/// Our own name-addr, with the user part that was called.
fn own(host: &str, caller: &Caller) -> Bytes {
    let user = user_of(&caller.to_uri).unwrap_or_else(|| "handback".to_owned());
    format!("<sip:{user}@{host}>").into()
}

/// Referred-By (RFC 3892), as the peer's profile wants it.
pub(super) fn referred_by(by: &ReferredBy, host: &str, of: &Caller) -> Option<Bytes> {
    match by {
        ReferredBy::Nobody => None,
        ReferredBy::Ourselves => Some(own(host, of)),
        ReferredBy::Caller => Some(caller(host, of)),
        ReferredBy::Named(name_addr) => Some(name_addr.clone().into()),
    }
}

/// The From of a returned call: the caller's display name and user part at our host.
pub(super) fn caller(host: &str, caller: &Caller) -> Bytes {
    let user = caller.user.as_deref().unwrap_or("anonymous");
    let name_addr = match &caller.display {
        Some(display) => {
            let display = escaped(display);
            format!("\"{display}\" <sip:{user}@{host}>")
        }
        None => format!("<sip:{user}@{host}>"),
    };
    name_addr.into()
}

/// The header fields by which a trunk wants to be told who calls.
pub(super) fn headers(
    templates: &[IdentityHeader],
    host: &str,
    invitation: &Invitation,
    transfer: &str,
) -> Vec<Header> {
    let who = &invitation.caller;
    let fill = |place: Place| match place {
        Place::Display => escaped(who.display.as_deref().unwrap_or_default()),
        Place::User => who.user.clone().unwrap_or_else(|| "anonymous".to_owned()),
        Place::Host => host.to_owned(),
        Place::Called => user_of(&who.to_uri).unwrap_or_else(|| "handback".to_owned()),
        Place::From => text(&who.from_uri),
        Place::To => text(&who.to_uri),
        Place::Transfer => transfer.to_owned(),
    };
    let header = |template: &IdentityHeader| Header::new(template.name(), template.filled(fill));
    templates.iter().map(header).collect()
}

/// The content of a quoted string.
fn escaped(display: &str) -> String {
    display.replace('\\', "\\\\").replace('"', "\\\"")
}

fn user_of(uri: &Bytes) -> Option<String> {
    let uri = sip_message::Uri::parse(uri).ok()?;
    let user = uri.user()?;
    Some(String::from_utf8_lossy(user).into_owned())
}

/// Who calls: the user part, or the whole URI where there is none.
pub(super) fn calling(caller: &Caller) -> String {
    let user = caller.user.clone();
    user.unwrap_or_else(|| text(&caller.from_uri))
}

/// Who was called.
pub(super) fn called(caller: &Caller) -> String {
    text(&caller.to_uri)
}

/// What the agent is told, but for the transfer's own part.
pub(super) fn agent_facts(invitation: &Invitation, snapshot: &Snapshot) -> CallFacts {
    let caller = &invitation.caller;
    CallFacts {
        call: snapshot.call.clone(),
        account: snapshot.account.clone(),
        transfer: snapshot.transfer.clone(),
        conversation: String::new(),
        from: calling(caller),
        to: called(caller),
        sip_call_id: caller.call_id.clone(),
        referred_by: told::referred_by(&invitation.request),
        input: InputContext::default(),
        token: HookToken::random(),
        resume: false,
        checkpoint: None,
        earlier: Vec::new(),
        headers: told::headers(&invitation.request),
        bodies: told::bodies(&invitation.bodies),
        sessions: Default::default(),
    }
}

/// A peer's text as a log line may hold it: escaped, and cut where it is long.
pub(super) fn loggable(text: &str) -> String {
    const MOST: usize = 255;
    let mut short: String = text
        .chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returned_call_keeps_the_callers_name_and_number_at_our_host() {
        let who = Caller {
            display: Some("Ann \"B\"".to_owned()),
            user: Some("+15551234567".to_owned()),
            ..Caller::default()
        };
        assert_eq!(
            caller("gw:5060", &who),
            "\"Ann \\\"B\\\"\" <sip:+15551234567@gw:5060>".as_bytes()
        );
    }

    #[test]
    fn log_line_holds_no_control_character_and_has_an_end() {
        assert_eq!(loggable("a\u{1b}[2J\0\r\n"), "a\\u{1b}[2J\\0\\r\\n");
        assert_eq!(loggable(&"x".repeat(60_000)).chars().count(), 256);
    }

    #[test]
    fn call_without_a_user_part_is_returned_as_anonymous() {
        assert_eq!(
            caller("gw", &Caller::default()),
            "<sip:anonymous@gw>".as_bytes()
        );
    }
}
