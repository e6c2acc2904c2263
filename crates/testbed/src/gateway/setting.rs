//! What the gateway is configured with, and what it knows of a call when it arrives.

use std::time::Duration;

use bytes::Bytes;
use call_control::transfer::{
    InputContext, NewTransfer, ReturnCredentials, ReturnType, SipReturn, TransferType,
};
use call_control::{Facts, Fallback, MediaRules, Peer, Policy, TRANSFER_HEADER};
use media_core::Tone;
use sdp::Codec;
use sip_core::{Credentials, EndpointConfig, Header, Invitation, TrunkRule};

use crate::host::{Host, trunk};
use crate::plan::{CallPlan, GATEWAY, ROUGH, SBC, SBC_REALM};

/// The codecs that the gateway takes, in order.
pub(super) const CODECS: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];

/// The user name and password of the target that asks for them.
pub(crate) const USER: (&str, &str) = ("gateway", "secret");

pub(super) fn host(session_expires: Option<Duration>, seed: [u8; 32]) -> Host {
    Host::new(GATEWAY, config(session_expires), seed)
}

pub(super) fn config(session_expires: Option<Duration>) -> EndpointConfig {
    let usual = EndpointConfig::default();
    EndpointConfig {
        users: vec!["agent".to_owned()],
        trunks: vec![TrunkRule {
            outbound_auth: Some(Credentials {
                realm: Some(SBC_REALM.to_owned()),
                username: USER.0.to_owned(),
                password: USER.1.to_owned().into(),
            }),
            ..trunk(&[SBC, ROUGH])
        }],
        required_header: Some(TRANSFER_HEADER.to_owned()),
        session_expires: session_expires.unwrap_or(usual.session_expires),
        ..usual
    }
}

pub(super) fn transfer(plan: &CallPlan) -> NewTransfer {
    NewTransfer {
        account: "lab".into(),
        id: plan.transfer.as_str().into(),
        external_conversation_id: format!("conversation-{}", plan.transfer),
        sip: Some(SipReturn {
            return_uri: Some(plan.return_uri()),
            return_type: Some(plan.returns),
            credentials: Some(ReturnCredentials {
                username: USER.0.to_owned(),
                password: USER.1.to_owned(),
            }),
            ..SipReturn::default()
        }),
        input: Some(InputContext {
            task_name: Some("billing".to_owned()),
            input_variables: None,
        }),
    }
}

pub(super) fn policy(plan: &CallPlan) -> Policy {
    let mut fallback = vec![
        Fallback::Return(ReturnType::Invite),
        Fallback::Return(ReturnType::Bye),
    ];
    if plan.back_to_agent {
        fallback.insert(0, Fallback::Agent);
    }
    Policy {
        account: "lab".into(),
        return_type: ReturnType::Bye,
        return_credentials: None,
        fallback,
        refer_always: false,
        refer_timeout: Duration::from_secs(30),
        refer_bye_after: Duration::from_secs(1),
        peer: Peer::default(),
        hand_back_timeout: Duration::from_secs(100),
        invite_timeout: Duration::from_secs(40),
        max_redirects: 2,
        tone: Some(Tone::RingbackEu),
        ringing: plan.ringing,
        connect_timeout: Duration::from_secs(5),
        reconnect_timeout: Duration::from_secs(5),
        answer_first: false,
        agent_lost: TransferType::Agent,
        closed_without_complete: TransferType::System,
        transcribe: true,
        media_timeout: Duration::from_secs(30),
        call_duration: plan.call_duration,
    }
}

pub(super) fn facts(invitation: &Invitation, session_id: u64) -> Facts {
    let caller = &invitation.caller;
    let user = caller.user.as_deref().unwrap_or("anonymous");
    let identity = |value: &Bytes| Header::new("P-Asserted-Identity", value.clone());
    Facts {
        leg: invitation.leg,
        trunk: invitation.trunk,
        transfer: invitation.correlation.as_deref().unwrap_or_default().into(),
        offer: invitation.offer.clone(),
        reliability: invitation.reliability,
        allow_refer: invitation.allow_refer,
        max_forwards: invitation.max_forwards,
        caller_identity: format!("<sip:{user}@{GATEWAY}>").into(),
        passed_on: caller.p_asserted_identity.iter().map(identity).collect(),
        on_refer: Vec::new(),
        on_bye: Vec::new(),
        in_refer_to: Vec::new(),
        refer_to_parameters: Vec::new(),
        refer_to_host: None,
        referred_by: Some(format!("<sip:agent@{GATEWAY}>").into()),
        brought: None,
        tel_host: None,
        session_id,
        codecs: CODECS.to_vec(),
        media: MediaRules::default(),
    }
}
