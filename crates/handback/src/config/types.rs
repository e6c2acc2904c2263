//! The configuration as meaning: plain typed data, what every key says.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use call_control::Srtp;
use call_control::transfer::{AccountId, ReturnType};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

pub use super::agent_types::{
    Agent, AnswerWhen, AudioHook, ClientCertificate, ComfortPrompt, HookProtocol, Transcribe,
};
use super::identity_header::IdentityHeader;
use super::profile::Profile;

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[sip]`
    pub sip: Sip,
    /// `[media]`
    pub media: Media,
    /// `[api]`
    pub api: Api,
    /// `[admin]`
    pub admin: Admin,
    /// `[store]`
    pub store: Store,
    /// `[transfer]`
    pub transfer: Transfer,
    /// `[handback]`
    pub handback: Handback,
    /// `[limits]`
    pub limits: Limits,
    /// `[agent]`
    pub agent: Agent,
    /// `[[account]]`, in order.
    pub accounts: Vec<Account>,
}

/// `[node]`: this process among others.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, unique in a cluster.
    pub name: String,
}

/// `[sip]`: where and as whom SIP is spoken.
#[derive(Clone, Debug, PartialEq)]
pub struct Sip {
    /// The sockets that take calls.
    pub listen: Vec<Listener>,
    /// `host[:port]` for Via and Contact behind NAT: names, and literal addresses for their own family.
    pub advertise: Vec<String>,
    /// The realm of digest challenges.
    pub realm: String,
    /// Out-of-dialog requests over this many bytes go over TCP; 0 is never.
    pub udp_max: u16,
    /// The user parts of the static SIP URI; `*` takes any.
    pub users: Vec<String>,
    /// What a source that belongs to no trunk hears.
    pub unauthenticated: Unauthenticated,
    /// The name servers to ask; those of the system where there are none.
    pub nameservers: Vec<SocketAddr>,
    /// The code point that SIP packets are marked with; 0 is none.
    pub dscp: u8,
    /// How often connections that we opened get a keep-alive; zero is never.
    pub keep_alive: Duration,
    /// The session interval that is asked for (RFC 4028).
    pub session_expires: Duration,
    /// The shortest session interval that is taken.
    pub min_se: Duration,
    /// `[sip.tls]`
    pub tls: SipTls,
}

/// `[sip.tls]`: the certificates of SIP over TLS, read from their files.
#[derive(Clone, Debug, PartialEq)]
pub struct SipTls {
    /// Our certificate and those of its issuers, in PEM.
    pub certificate: Option<Vec<u8>>,
    /// Its private key, in PEM.
    pub key: Option<Secret>,
    /// The authorities of client certificates, in PEM; none is asked for without them.
    pub client_ca: Option<Vec<u8>>,
    /// Whether clients without a certificate are turned away.
    pub require_client_certificate: bool,
    /// The authorities of servers, in PEM; the system's where absent.
    pub ca: Option<Vec<u8>>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V12,
    /// TLS 1.3 (RFC 8446).
    V13,
}

/// What a source that belongs to no trunk hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthenticated {
    /// 401 or 403.
    Answer,
    /// Nothing, so that a scanner learns nothing.
    Silence,
}

/// A SIP socket to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
            Protocol::Tls => "tls",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// The transport of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
    /// A byte stream inside TLS.
    Tls,
}

/// `[media]`: where RTP is spoken.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// The addresses that RTP sockets are bound to, one of a family at most.
    pub listen: Vec<IpAddr>,
    /// The addresses that SDP names, behind NAT, one of a family at most.
    pub advertise: Vec<IpAddr>,
    /// The ports to use.
    pub ports: PortRange,
    /// Codecs in order of preference.
    pub codecs: Vec<Codec>,
    /// A call without RTP or RTCP for this long is over.
    pub timeout: Duration,
    /// The code point that RTP and RTCP packets are marked with; 0 is none.
    pub dscp: u8,
}

/// A range of ports, both ends inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl PortRange {
    /// How many ports there are.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

/// A codec that the gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// `[api]`: the call-transfer API.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Requests per second and API key.
    pub rate_limit: u32,
    /// The longest body taken, in bytes.
    pub body_limit: u32,
}

/// `[admin]`: health, metrics, live calls, console.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The bearer token; none only on loopback.
    pub token: Option<Secret>,
}

/// `[store]`: where transfers are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// `sqlite://file`, `postgres://user@host/database` or `memory://`.
    pub url: String,
    /// How long a node's claim on a call lasts without renewal.
    pub lease: Duration,
    /// The key that customers' passwords are encrypted with; 32 bytes as 64 hexadecimal digits.
    pub encryption_key: Option<Secret>,
}

/// `[transfer]`: how long transfers live.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    /// How long a registered transfer waits for its call.
    pub time_to_live: Duration,
    /// How long a finished one is kept.
    pub keep: Duration,
}

/// `[handback]`: how calls go back.
#[derive(Clone, Debug, PartialEq)]
pub struct Handback {
    /// What is tried in order when a REFER or INVITE return fails.
    pub fallback: Vec<Step>,
    /// How long a REFER may take to its final NOTIFY.
    pub refer_timeout: Duration,
    /// How long after its final NOTIFY the peer may take to send BYE.
    pub refer_bye_after: Duration,
    /// How long a returned call may ring.
    pub invite_timeout: Duration,
    /// What the caller hears while it rings.
    pub tone: Tone,
    /// How many redirects an INVITE return follows.
    pub max_redirects: u32,
}

/// One step of a fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A return by BYE.
    Bye,
    /// A return by REFER.
    Refer,
    /// A return by INVITE.
    Invite,
    /// Back to the agent.
    Agent,
}

/// A ringback tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// 425 Hz, 1 s on, 4 s off.
    Eu,
    /// 440 and 480 Hz, 2 s on, 4 s off.
    Us,
    /// Silence.
    None,
}

/// `[limits]`: how much the node takes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// SIP connections at once, in and out.
    pub connections: u32,
    /// SIP connections at once from one source.
    pub connections_per_source: u32,
    /// Calls at once.
    pub calls: u32,
    /// New calls per second.
    pub calls_per_second: u32,
    /// The longest call.
    pub call_duration: Duration,
    /// How long a drain waits for calls to end.
    pub drain_timeout: Duration,
}

/// `[[account]]`: a customer.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its name here.
    pub id: AccountId,
    /// Whether its keys open the API; false answers 403.
    pub enabled: bool,
    /// The return type when a transfer names none.
    pub return_transfer_type: ReturnType,
    /// The static return URI, for header-based transfers.
    pub return_uri: Option<String>,
    /// Digest credentials for INVITE returns when a transfer has none.
    pub return_invite_auth: Option<Credentials>,
    /// Where INVITE returns may go; none is every public address and the trunks' own.
    pub return_targets: Vec<ReturnTarget>,
    /// The account's own fallback.
    pub fallback: Option<Vec<Step>>,
    /// The account's own agent.
    pub hook: Option<Vec<String>>,
    /// The account's own rule for audio after an INVITE return.
    pub transcribe: Option<Transcribe>,
    /// Whether calls are recorded.
    pub recording: bool,
    /// `[[account.api_key]]`
    pub api_keys: Vec<ApiKey>,
    /// `[[account.trunk]]`
    pub trunks: Vec<Trunk>,
}

/// `[[account.api_key]]`: a pair of `asapp-api-id` and the hash of its secret.
#[derive(Clone, PartialEq)]
pub struct ApiKey {
    /// The id.
    pub id: String,
    /// The secret's argon2id hash (PHC string).
    pub secret_hash: String,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// `[[account.trunk]]`: a peer that may send calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// The addresses it calls from.
    pub allow: Vec<IpNet>,
    /// The digest user it calls as.
    pub digest: Option<Digest>,
    /// Whether address or digest suffices.
    pub require: Require,
    /// Calls at once.
    pub max_calls: u32,
    /// Where requests to it go instead of where their URI says.
    pub outbound_proxy: Option<String>,
    /// How often the outbound proxy is asked by OPTIONS whether it is there; none is never.
    pub options_interval: Option<Duration>,
    /// What challenges to our in-dialog requests are answered with.
    pub outbound_auth: Option<OutboundAuth>,
    /// What its kind does at a hand-back.
    pub profile: Profile,
    /// The trunk's own fallback.
    pub fallback: Option<Vec<Step>>,
    /// Whether calls are taken whose context is in their headers instead of a registered transfer.
    pub header_transfers: bool,
    /// The host at which telephone numbers are called; without one, tel URIs are refused.
    pub tel_host: Option<String>,
    /// By which header fields an INVITE return says who calls.
    pub return_headers: Vec<IdentityHeader>,
    /// When provisional responses are reliable (RFC 3262).
    pub reliable_provisional: ReliableProvisional,
    /// When REFER is tried; none: as its profile says.
    pub refer: Option<ReferPolicy>,
    /// Instead of [`Handback::refer_timeout`].
    pub refer_timeout: Option<Duration>,
    /// Instead of [`Handback::invite_timeout`].
    pub invite_timeout: Option<Duration>,
    /// Whether its media are SRTP.
    pub srtp: Srtp,
    /// Whether RTP goes where RTP came from.
    pub latch: bool,
}

/// A digest user of ours: a trunk that authenticates itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Digest {
    /// The user name, unique over all trunks.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// The algorithms offered, in order.
    pub algorithms: Vec<DigestAlgorithm>,
}

/// A digest algorithm (RFC 8760).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// MD5.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512256,
}

/// Whether one proof suffices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// Address or digest.
    Any,
    /// Address and digest.
    All,
}

/// When provisional responses over a trunk are repeated until a PRACK acknowledges them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReliableProvisional {
    /// Where the peer requires it.
    Required,
    /// Also where it only supports it.
    Supported,
}

/// When REFER is tried on a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferPolicy {
    /// Not when the peer's Allow lacks it.
    Allowed,
    /// Whatever the peer's Allow says.
    Always,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Credentials for one realm only.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboundAuth {
    /// The realm.
    pub realm: String,
    /// User name and password.
    pub credentials: Credentials,
}

/// Where an INVITE return may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnTarget {
    /// Addresses.
    Net(IpNet),
    /// A host by name, in lower case.
    Host(String),
}

/// A text that no log, page or `check` shows.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}
