//! How `handback call --hook` speaks with the hook and proves itself, as `[agent]` has it for the gateway.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_hook::{AudioHookConfig, ClientCertificate, Credentials, HookConfig, Protocol};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The options.
#[derive(Debug, Args)]
#[command(next_help_heading = "With a hook")]
pub(super) struct Proofs {
    /// What the hook speaks
    #[arg(long, default_value = "twilio", requires = "hook")]
    protocol: Speaks,
    /// The bearer token for the hook
    #[arg(long, value_name = "FILE", requires = "hook")]
    token_file: Option<PathBuf>,
    /// The secret of a token made for this call instead (JWT, HS256)
    #[arg(
        long,
        value_name = "FILE",
        requires = "hook",
        conflicts_with = "token_file"
    )]
    jwt_secret_file: Option<PathBuf>,
    /// The token that X-Twilio-Signature is made with
    #[arg(long, value_name = "FILE", requires = "hook")]
    twilio_token_file: Option<PathBuf>,
    /// The secret that X-Hook-Signature is made with
    #[arg(long, value_name = "FILE", requires = "hook")]
    hmac_secret_file: Option<PathBuf>,
    /// The x-api-key of AudioHook
    #[arg(long, value_name = "FILE", requires = "hook")]
    api_key_file: Option<PathBuf>,
    /// The client secret of AudioHook, base64
    #[arg(long, value_name = "FILE", requires = "hook")]
    client_secret_file: Option<PathBuf>,
    /// The audiohook-organization-id
    #[arg(long, value_name = "UUID", requires = "hook")]
    organization: Option<String>,
    /// Offer AudioHook both channels
    #[arg(long, requires = "hook")]
    both_channels: bool,
    /// The WebSocket subprotocol to ask for
    #[arg(long, value_name = "NAME", requires = "hook")]
    subprotocol: Option<String>,
    /// Allow ws:// and http:// to addresses that are neither loopback nor private
    #[arg(long, requires = "hook")]
    allow_plaintext: bool,
}

/// What a hook speaks.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Speaks {
    Twilio,
    #[value(name = "audiohook")]
    AudioHook,
}

/// What `call` has for TLS, with SIP or with a hook.
#[derive(Debug, Default)]
pub(super) struct TlsFiles {
    pub(super) authority: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

impl Proofs {
    /// The hook as these options have it, without its URL.
    pub(super) fn config(&self, tls: &TlsFiles) -> Result<HookConfig, String> {
        let secret = |file: &Option<PathBuf>| -> Result<Option<String>, String> {
            let text = file.as_deref().map(text_of).transpose()?;
            Ok(text.map(|text| text.trim().to_owned()))
        };
        let client_secret = secret(&self.client_secret_file)?.map(|text| STANDARD.decode(text));
        let client_secret = client_secret
            .transpose()
            .map_err(|_| "--client-secret-file: is not base64".to_owned())?;
        let authorities = tls.authority.as_deref().map(certificates).transpose()?;
        Ok(HookConfig {
            protocol: match self.protocol {
                Speaks::Twilio => Protocol::Twilio,
                Speaks::AudioHook => Protocol::AudioHook,
            },
            token: secret(&self.token_file)?,
            credentials: Credentials {
                bearer: None,
                jwt_secret: secret(&self.jwt_secret_file)?,
                twilio_token: secret(&self.twilio_token_file)?,
                hmac_secret: secret(&self.hmac_secret_file)?,
            },
            allow_plaintext: self.allow_plaintext,
            authorities: authorities.unwrap_or_default(),
            certificate: tls.client()?,
            subprotocol: self.subprotocol.clone(),
            audiohook: AudioHookConfig {
                organization: self.organization.clone().unwrap_or_default(),
                api_key: secret(&self.api_key_file)?.unwrap_or_default(),
                client_secret,
                stereo: self.both_channels,
                language: String::new(),
            },
            ..HookConfig::default()
        })
    }
}

impl TlsFiles {
    fn client(&self) -> Result<Option<ClientCertificate>, String> {
        let (Some(chain), Some(key)) = (&self.certificate, &self.key) else {
            return Ok(None);
        };
        let read = PrivateKeyDer::from_pem_file(key);
        let read = read.map_err(|error| format!("{}: {error}", key.display()))?;
        Ok(Some(ClientCertificate {
            chain: certificates(chain)?,
            key: Arc::new(read),
        }))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|error| format!("{}: {error}", file.display()))
}

pub(super) fn text_of(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}
