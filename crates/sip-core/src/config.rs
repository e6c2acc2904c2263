//! What the endpoint is told about its node, its trunks and its bounds.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::advertise::Advertised;
use crate::digest::Algorithm;
use crate::transaction::Timers;

/// The endpoint's configuration.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// What stands for us in Via and Contact instead of the flow's local address; the first that fits
    /// the flow.
    pub advertise: Vec<Advertised>,
    /// The realm of our challenges.
    pub realm: String,
    /// The user parts that calls are taken for; `*` takes any.
    pub users: Vec<String>,
    /// Those whom calls are taken from.
    pub trunks: Vec<TrunkRule>,
    /// What requests from nobody's address get.
    pub unauthenticated: Unauthenticated,
    /// The header without which an INVITE is refused with 400.
    pub required_header: Option<String>,
    /// The timers' base values.
    pub timers: Timers,
    /// The User-Agent and Server header; none where empty.
    pub user_agent: String,
    /// The session interval that we ask for, RFC 4028 §4.
    pub session_expires: Duration,
    /// The shortest session interval that we take, RFC 4028 §5: at least 90 s.
    pub min_se: Duration,
    /// How long the nonce of a challenge can be used.
    pub nonce_life: Duration,
    /// Whether requests over TLS ask their peer to use the connection backwards too (RFC 5923): we
    /// prove who we are by a certificate, and take connections at the address in our Via.
    pub tls_alias: bool,
    /// The bounds.
    pub bounds: Bounds,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            advertise: Vec::new(),
            realm: "handback".to_owned(),
            users: vec!["*".to_owned()],
            trunks: Vec::new(),
            unauthenticated: Unauthenticated::Answer,
            required_header: None,
            timers: Timers::default(),
            user_agent: "handback".to_owned(),
            session_expires: Duration::from_secs(1800),
            min_se: Duration::from_secs(90),
            nonce_life: Duration::from_secs(300),
            tls_alias: false,
            bounds: Bounds::default(),
        }
    }
}

/// How much the endpoint takes before it answers 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Legs at a time.
    pub legs: usize,
    /// Transactions at a time.
    pub transactions: usize,
    /// Answers over UDP that one source gets which no trunk knows: at once, and per second from then
    /// on. Its address may be forged, and whoever has it would be hit.
    pub strangers: (u32, u32),
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            legs: 20_000,
            transactions: 200_000,
            strangers: (200, 50),
        }
    }
}

/// What requests from nobody's address get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthenticated {
    /// A challenge or 403.
    Answer,
    /// Nothing, so that scanners learn nothing.
    Silence,
}

/// Whom a call is taken from.
#[derive(Clone, Debug)]
pub struct TrunkRule {
    /// The trunk's name.
    pub name: String,
    /// The source addresses.
    pub allow: Vec<IpNet>,
    /// Whether address *and* digest are needed, rather than either.
    pub require_all: bool,
    /// The credentials that the peer must know.
    pub digest: Option<DigestUser>,
    /// The credentials for challenges to our requests inside this trunk's dialogs.
    pub outbound_auth: Option<Credentials>,
    /// Calls are also taken without [`EndpointConfig::required_header`].
    pub header_optional: bool,
    /// Provisional responses are reliable (RFC 3262) also where the peer only supports that, rather
    /// than where it requires it.
    pub reliable_where_supported: bool,
}

/// Credentials that a peer must know.
#[derive(Clone)]
pub struct DigestUser {
    /// The user name, unique over all trunks.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// The algorithms offered, in order of preference.
    pub algorithms: Vec<Algorithm>,
}

impl fmt::Debug for DigestUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestUser")
            .field("username", &self.username)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// Credentials that we answer challenges with.
#[derive(Clone)]
pub struct Credentials {
    /// The only realm they are for; any where absent.
    pub realm: Option<String>,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("realm", &self.realm)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
