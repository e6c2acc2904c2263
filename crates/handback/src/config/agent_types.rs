//! What the configuration says of agents.

use std::time::Duration;

use call_control::transfer::TransferType;
use media_bridge::BargeIn;
use rustls::pki_types::CertificateDer;

use super::types::Secret;

/// `[agent]`: the voice agent and how it is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// `builtin:NAME` with its options, `ws://…`, `wss://…`, or a webhook's `http://…`, `https://…`;
    /// tried in this order.
    pub hook: Vec<String>,
    /// What agents at WebSocket URLs speak.
    pub protocol: HookProtocol,
    /// How long reaching it may take.
    pub connect_timeout: Duration,
    /// How long reaching it again may take.
    pub reconnect_timeout: Duration,
    /// What of the agent must be there before the call is answered.
    pub answer_when: AnswerWhen,
    /// Whether the call is answered before the agent is reached.
    pub answer_first: bool,
    /// Whether 180 is sent before the answer.
    pub ringing: bool,
    /// Whether `ws://` may leave private networks.
    pub allow_plaintext: bool,
    /// Where both sides' audio goes after an INVITE return; none is the hook itself.
    pub transcribe_url: Vec<String>,
    /// Whether audio goes on to the agent after an INVITE return.
    pub transcribe: Transcribe,
    /// The WebSocket subprotocol to ask for.
    pub subprotocol: Option<String>,
    /// The bearer token for the hook.
    pub token: Option<Secret>,
    /// Signs a token for each call instead.
    pub jwt_secret: Option<Secret>,
    /// Makes `X-Twilio-Signature`.
    pub twilio_token: Option<Secret>,
    /// Makes `X-Hook-Signature`.
    pub hmac_secret: Option<Secret>,
    /// Authorities to trust besides the system's, PEM.
    pub authorities: Vec<CertificateDer<'static>>,
    /// For hooks that want a certificate.
    pub certificate: Option<ClientCertificate>,
    /// What AudioHook wants besides.
    pub audiohook: AudioHook,
    /// What a caller hears whose agent is away, µ-law at 8 kHz; none is the prompt compiled in.
    pub comfort_prompt: ComfortPrompt,
    /// What is done when the caller begins to speak while the agent does.
    pub bargein: BargeIn,
    /// Who takes the caller when the agent is lost.
    pub agent_lost: TransferType,
    /// Who takes the caller when the agent closes cleanly without completing.
    pub closed_without_complete: TransferType,
}

/// What agents speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookProtocol {
    /// Twilio Media Streams with `hook.*` messages.
    Twilio,
    /// Genesys AudioHook, version 2.
    AudioHook,
}

/// A certificate of ours and its key.
#[derive(Clone, Debug)]
pub struct ClientCertificate(pub agent_hook::ClientCertificate);

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.chain == other.0.chain && self.0.key == other.0.key
    }
}

/// `[agent.audiohook]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AudioHook {
    /// `audiohook-organization-id`.
    pub organization: Option<String>,
    /// `x-api-key`.
    pub api_key: Option<Secret>,
    /// The key of the signature, base64.
    pub client_secret: Option<Secret>,
    /// Offer both channels.
    pub stereo: bool,
    /// The conversation's language.
    pub language: Option<String>,
}

/// What a caller hears whose agent is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComfortPrompt {
    /// The words that are compiled in.
    BuiltIn,
    /// Comfort noise alone.
    None,
    /// The samples of a WAV file, µ-law at 8 kHz.
    Samples(Vec<u8>),
}

/// What of the agent must be there before the call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerWhen {
    /// The open socket.
    Connected,
    /// Its `hook.hello`.
    Hello,
    /// Its first audio.
    Media,
}

/// What happens to the audio after an INVITE return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transcribe {
    /// Both sides go to the agent.
    Transcribe,
    /// Nothing does.
    Stop,
}
