//! The configured agent as `agent-hook` takes it.

use agent_hook::{AudioHookConfig, Credentials, HookConfig, Protocol, ReadyWhen};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::config::{self, AnswerWhen, ComfortPrompt, Config, HookProtocol, Secret};

/// The agent of an account, or everybody's.
pub(super) fn hook_config(config: &Config, account: &config::Account) -> HookConfig {
    let agent = &config.agent;
    let exposed = |secret: &Option<Secret>| secret.as_ref().map(|it| it.expose().to_owned());
    HookConfig {
        probe: None,
        urls: account.hook.clone().unwrap_or_else(|| agent.hook.clone()),
        protocol: match agent.protocol {
            HookProtocol::Twilio => Protocol::Twilio,
            HookProtocol::AudioHook => Protocol::AudioHook,
        },
        token: exposed(&agent.token),
        credentials: Credentials {
            bearer: None,
            jwt_secret: exposed(&agent.jwt_secret),
            twilio_token: exposed(&agent.twilio_token),
            hmac_secret: exposed(&agent.hmac_secret),
        },
        allow_plaintext: agent.allow_plaintext,
        authorities: agent.authorities.clone(),
        certificate: agent.certificate.as_ref().map(|it| it.0.clone()),
        subprotocol: agent.subprotocol.clone(),
        ready: match agent.answer_when {
            AnswerWhen::Connected => ReadyWhen::Connected,
            AnswerWhen::Hello => ReadyWhen::Hello,
            AnswerWhen::Media => ReadyWhen::Media,
        },
        transcribe_urls: agent.transcribe_url.clone(),
        audiohook: audiohook(&agent.audiohook),
    }
}

fn audiohook(audiohook: &config::AudioHook) -> AudioHookConfig {
    let secret = audiohook.client_secret.as_ref();
    AudioHookConfig {
        organization: audiohook.organization.clone().unwrap_or_default(),
        api_key: audiohook
            .api_key
            .as_ref()
            .map(|key| key.expose().trim().to_owned())
            .unwrap_or_default(),
        client_secret: secret.and_then(|secret| STANDARD.decode(secret.expose().trim()).ok()),
        stereo: audiohook.stereo,
        language: audiohook.language.clone().unwrap_or_default(),
    }
}

/// The samples of the prompt.
pub(super) fn comfort(prompt: &ComfortPrompt) -> Bytes {
    match prompt {
        ComfortPrompt::BuiltIn => agent_hook::one_moment(),
        ComfortPrompt::None => Bytes::new(),
        ComfortPrompt::Samples(samples) => Bytes::from(samples.clone()),
    }
}
