//! Return URIs of any shape, from the transfer to the command that carries them.

use bytes::Bytes;
use media_core::Side;
use proptest::prelude::*;
use sip_core::{Command, LegEvent};

use super::world::{CALLER, TARGET, World, complete, facts, hop, leg, policy, port, transfer};
use crate::io::{AgentSaid, Input, MediaSaid, Output, StoreReply};
use crate::transfer::ReturnType;

/// A call whose result is stored: what it wants then.
fn handed_back(uri: &str, by: ReturnType) -> (World, Vec<Output>) {
    let mut transfer = transfer(Some(by));
    if let Some(sip) = &mut transfer.registered.sip {
        sip.return_uri = Some(uri.to_owned());
    }
    let mut world = World::claimed(facts(), policy(), transfer);
    world.on(port(Side::Caller));
    world.on(Input::Agent(AgentSaid::Connected));
    world.on(leg(CALLER, LegEvent::Confirmed { answer: None }));
    world.on(complete());
    world.on(Input::Media(MediaSaid::Drained));
    world
        .call
        .handle_input(world.now, Input::Store(StoreReply::Completed));
    let wants = std::iter::from_fn(|| world.call.poll_output()).collect();
    (world, wants)
}

fn referred_to(uri: &str) -> Option<Bytes> {
    let (_, wants) = handed_back(uri, ReturnType::Refer);
    wants.into_iter().find_map(|output| {
        let Output::Sip { command, .. } = output else {
            return None;
        };
        let Command::Refer { target, .. } = command else {
            return None;
        };
        Some(target)
    })
}

/// The URI that is resolved, and the one that is called.
fn invited(uri: &str) -> (Option<Bytes>, Option<Bytes>) {
    let (mut world, wants) = handed_back(uri, ReturnType::Invite);
    let resolved = wants.into_iter().find_map(|output| {
        let Output::Resolve { uri } = output else {
            return None;
        };
        Some(uri)
    });
    world.on(port(Side::Target));
    world
        .call
        .handle_input(world.now, Input::Resolved(Ok(vec![hop(TARGET)])));
    let placed = std::iter::from_fn(|| world.call.poll_output()).find_map(|output| {
        let Output::Place(place) = output else {
            return None;
        };
        Some(place.uri)
    });
    (resolved, placed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn refer_to_is_the_return_uri_and_what_is_dialled_is_it_without_its_headers(
        user in "([a-zA-Z0-9_.!~*'()&=+$,;?/-]|%[0-9A-Fa-f]{2}){1,12}",
        params in "(;x[a-z]{1,4}(=([A-Za-z0-9:/-]|%[0-9A-Fa-f]{2}){1,8})?){0,3}",
        method in prop_oneof![Just(""), Just(";method=INVITE"), Just(";Method=BYE")],
        headers in "(\\?[A-Z][a-z]{2,5}=([a-z0-9]|%[0-9A-Fa-f]{2}){0,8}(&X-[A-Z]{1,3}=([a-z0-9]|%[0-9A-Fa-f]{2}){0,8}){0,2})?",
    ) {
        let dialled = format!("sip:{user}@sbc.example.com:5062{params}");
        let uri = format!("{dialled}{method}{headers}");
        prop_assert_eq!(referred_to(&uri), Some(Bytes::from(uri.clone())));
        let dialled = Some(Bytes::from(dialled));
        prop_assert_eq!(invited(&uri), (dialled.clone(), dialled));
    }
}
