//! The meaning of `[agent]`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use call_control::transfer::TransferType;
use media_bridge::BargeIn;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::checks;
use super::section::Section;
use super::types::{
    Agent, AnswerWhen, AudioHook, ClientCertificate, ComfortPrompt, HookProtocol, Transcribe,
};

/// The longest comfort prompt: a minute.
const LONGEST_PROMPT: usize = 60 * 8000;

pub(super) fn agent(section: &mut Section<'_>) -> Agent {
    let agent = Agent {
        hook: section.texts("hook", "builtin:lab"),
        protocol: section.word("protocol", HookProtocol::Twilio),
        connect_timeout: section.word("connect_timeout", Duration::from_secs(5)),
        reconnect_timeout: section.word("reconnect_timeout", Duration::from_secs(5)),
        answer_when: section.word("answer_when", AnswerWhen::Connected),
        answer_first: section.flag("answer_first", false),
        ringing: section.flag("ringing", false),
        allow_plaintext: section.flag("allow_plaintext", false),
        transcribe_url: section.texts("transcribe_url", ""),
        transcribe: section.word("transcribe", Transcribe::Transcribe),
        subprotocol: section.optional("subprotocol"),
        token: section.secret("token"),
        jwt_secret: section.secret("jwt_secret"),
        twilio_token: section.secret("twilio_token"),
        hmac_secret: section.secret("hmac_secret"),
        authorities: authorities(section),
        certificate: certificate(section),
        audiohook: section.table("audiohook", audiohook),
        comfort_prompt: comfort_prompt(section),
        bargein: section.word("bargein", BargeIn::Off),
        agent_lost: section.word("agent_lost", TransferType::Agent),
        closed_without_complete: section.word("closed_without_complete", TransferType::System),
    };
    for (key, urls) in [
        ("hook", &agent.hook),
        ("transcribe_url", &agent.transcribe_url),
    ] {
        for url in urls {
            if let Some(problem) = checks::hook_problem(url, agent.allow_plaintext) {
                section.error(key, problem);
            }
        }
    }
    if agent.hook.is_empty() {
        section.error("hook", "names no agent");
    }
    if agent.token.is_some() && agent.jwt_secret.is_some() {
        section.error(
            "jwt_secret",
            "stands beside token: only one of the two is sent",
        );
    }
    if let Some(subprotocol) = &agent.subprotocol
        && !subprotocol.bytes().all(is_token)
    {
        section.error("subprotocol", "is not a token as HTTP has it");
    }
    agent
}

/// A character of an HTTP token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn audiohook(section: &mut Section<'_>) -> AudioHook {
    let audiohook = AudioHook {
        organization: section.optional("organization"),
        api_key: section.secret("api_key"),
        client_secret: section.secret("client_secret"),
        stereo: section.flag("stereo", false),
        language: section.optional("language"),
    };
    if let Some(secret) = &audiohook.client_secret
        && STANDARD.decode(secret.expose().trim()).is_err()
    {
        section.error("client_secret", "is not base64");
    }
    audiohook
}

fn authorities(section: &mut Section<'_>) -> Vec<CertificateDer<'static>> {
    let Some(path) = section.optional("ca_file") else {
        return Vec::new();
    };
    certificates(section, "ca_file", &path)
}

fn certificate(section: &mut Section<'_>) -> Option<ClientCertificate> {
    let chain = section.optional("client_cert_file");
    let key = section.optional("client_key_file");
    let (chain, key) = match (chain, key) {
        (Some(chain), Some(key)) => (chain, key),
        (None, None) => return None,
        (Some(_), None) => {
            section.error("client_key_file", "a certificate needs its key");
            return None;
        }
        (None, Some(_)) => {
            section.error("client_cert_file", "a key needs its certificate");
            return None;
        }
    };
    let chain = certificates(section, "client_cert_file", &chain);
    match PrivateKeyDer::from_pem_file(Path::new(&key)) {
        Ok(key) => Some(ClientCertificate(agent_hook::ClientCertificate {
            chain,
            key: Arc::new(key),
        })),
        Err(error) => {
            section.error("client_key_file", format!("{key}: {error}"));
            None
        }
    }
}

fn certificates(section: &Section<'_>, key: &str, path: &str) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(Path::new(path));
    match read.and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(found) if found.is_empty() => {
            section.error(key, format!("{path} holds no certificate"));
            found
        }
        Ok(found) => found,
        Err(error) => {
            section.error(key, format!("{path}: {error}"));
            Vec::new()
        }
    }
}

/// Empty: the words compiled in; `none`: no words; else a WAV file of any rate, a minute at most.
fn comfort_prompt(section: &mut Section<'_>) -> ComfortPrompt {
    match section.optional("comfort_prompt").as_deref() {
        None => ComfortPrompt::BuiltIn,
        Some("none") => ComfortPrompt::None,
        Some(path) => match read_prompt(path) {
            Ok(samples) => ComfortPrompt::Samples(samples),
            Err(problem) => {
                section.error("comfort_prompt", format!("{path}: {problem}"));
                ComfortPrompt::None
            }
        },
    }
}

fn read_prompt(path: &str) -> Result<Vec<u8>, String> {
    let samples = agent_hook::sound::read_wav(Path::new(path));
    let samples = samples.map_err(|error| error.to_string())?;
    if samples.len() > LONGEST_PROMPT {
        return Err("is longer than a minute".to_owned());
    }
    Ok(samples.to_vec())
}
