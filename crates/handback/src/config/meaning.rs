//! From the raw tables to their meaning, section by section; defaults stand here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use call_control::Srtp;
use call_control::transfer::{AccountId, ReturnType};

use sip_transport::TlsPart;

use super::profile::Profile;
use super::section::Section;
use super::types::{
    Account, Admin, Api, ApiKey, Codec, Config, Credentials, Digest, DigestAlgorithm, Handback,
    Limits, Listener, Media, Node, OutboundAuth, PortRange, Protocol, ReliableProvisional, Require,
    Secret, Sip, SipTls, Step, Store, TlsVersion, Tone, Transfer, Trunk, Unauthenticated,
};
use super::{agents, checks};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How often an outbound proxy is asked whether it is there.
const OPTIONS_EVERY: Duration = Duration::from_secs(30);
/// The shortest session interval, RFC 4028 §5.
const SHORTEST_SESSION: Duration = Duration::from_secs(90);
const ANY_POSITIVE: std::ops::RangeInclusive<u32> = 1..=1_000_000;

/// Reads the whole configuration.
pub(super) fn read(root: &mut Section<'_>) -> Config {
    let config = Config {
        node: root.table("node", |section| Node {
            name: section.word("name", "gw-1".to_owned()),
        }),
        sip: root.table("sip", sip),
        media: root.table("media", media),
        api: root.table("api", |section| Api {
            listen: section.word("listen", SocketAddr::new(LOOPBACK, 8080)),
            rate_limit: section.number("rate_limit", 100, ANY_POSITIVE),
            body_limit: section.number("body_limit", 1 << 20, 1024..=64 << 20),
        }),
        admin: root.table("admin", |section| Admin {
            listen: section.word("listen", SocketAddr::new(LOOPBACK, 9090)),
            token: section.secret("token"),
        }),
        store: root.table("store", store),
        transfer: root.table("transfer", |section| Transfer {
            time_to_live: section.word("time_to_live", Duration::from_secs(600)),
            keep: section.word("keep", Duration::from_secs(30 * 86_400)),
        }),
        handback: root.table("handback", handback),
        limits: root.table("limits", |section| Limits {
            connections: section.number("connections", 4096, 1..=100_000),
            connections_per_source: section.number("connections_per_source", 3072, 1..=100_000),
            calls: section.number("calls", 2400, ANY_POSITIVE),
            calls_per_second: section.number("calls_per_second", 500, ANY_POSITIVE),
            call_duration: section.word("call_duration", Duration::from_secs(4 * 3600)),
            drain_timeout: section.word("drain_timeout", Duration::from_secs(300)),
        }),
        agent: root.table("agent", agents::agent),
        accounts: root.tables("account", account),
    };
    if config.accounts.is_empty() {
        root.warning(
            "account",
            "no account is configured: nobody can register a transfer or call",
        );
    }
    config
}

fn sip(section: &mut Section<'_>) -> Sip {
    let address = SocketAddr::new(LOOPBACK, 5060);
    let listen = [Protocol::Udp, Protocol::Tcp].map(|protocol| Listener { protocol, address });
    let sip = Sip {
        listen: section.some_words("listen", &listen, "names no listener"),
        advertise: section.one_or_more("advertise", &[]),
        realm: section.word("realm", "handback".to_owned()),
        udp_max: u16::try_from(section.number("udp_max", 1300, 0..=65_535)).unwrap_or(u16::MAX),
        users: section.some_words(
            "users",
            &["agent".to_owned()],
            "names no user; \"*\" takes any",
        ),
        unauthenticated: section.word("unauthenticated", Unauthenticated::Answer),
        nameservers: section.words("nameservers", &[]),
        dscp: dscp(section, 24),
        keep_alive: section.word("keep_alive", Duration::ZERO),
        session_expires: section.word("session_expires", Duration::from_secs(1800)),
        min_se: section.word("min_se", SHORTEST_SESSION),
        tls: section.table("tls", sip_tls),
    };
    session_timers(section, &sip);
    for advertise in &sip.advertise {
        if !checks::is_host_and_port(advertise) {
            section.error(
                "advertise",
                format!("{advertise:?} is not host or host:port"),
            );
        }
    }
    let listens = |listener: &&Listener| listener.protocol == Protocol::Tls;
    if let Some(listener) = sip.listen.iter().find(listens)
        && sip.tls.certificate.is_none()
    {
        section.error(
            "tls.certificate_file",
            format!("is needed for {listener} in sip.listen"),
        );
    }
    if sip.realm.contains(['"', '\\']) || sip.realm.chars().any(char::is_control) {
        section.error(
            "realm",
            "must not contain quotes, backslashes or control characters",
        );
    }
    sip
}

/// RFC 4028 §4 and §5: whole seconds, and no shorter than 90 of them.
fn session_timers(section: &Section<'_>, sip: &Sip) {
    let longest = Duration::from_secs(u32::MAX.into());
    let whole = |interval: Duration| interval.subsec_nanos() == 0 && interval <= longest;
    if sip.min_se < SHORTEST_SESSION || !whole(sip.min_se) {
        section.error(
            "min_se",
            "must be whole seconds and at least 90s (RFC 4028)",
        );
    } else if sip.session_expires < sip.min_se || !whole(sip.session_expires) {
        section.error(
            "session_expires",
            "must be whole seconds and at least min_se",
        );
    }
}

/// A differentiated services code point (RFC 2474).
fn dscp(section: &mut Section<'_>, default: u32) -> u8 {
    u8::try_from(section.number("dscp", default, 0..=63)).unwrap_or_default()
}

fn sip_tls(section: &mut Section<'_>) -> SipTls {
    let tls = SipTls {
        certificate: section.file("certificate_file"),
        key: section
            .file("key_file")
            .map(|key| Secret::new(String::from_utf8_lossy(&key).into_owned())),
        client_ca: section.file("client_ca_file"),
        require_client_certificate: section.flag("require_client_certificate", false),
        ca: section.file("ca_file"),
        min_version: section.word("min_version", TlsVersion::V12),
    };
    if let Err(error) = tls.usable() {
        let key = match error.part {
            TlsPart::Certificate => "certificate_file",
            TlsPart::Key => "key_file",
            TlsPart::ClientCa => "client_ca_file",
            TlsPart::Ca => "ca_file",
        };
        section.error(key, error.problem);
    }
    tls
}

fn media(section: &mut Section<'_>) -> Media {
    let media = Media {
        listen: section.one_or_more("listen", &[LOOPBACK]),
        advertise: section.one_or_more("advertise", &[]),
        ports: section.word(
            "ports",
            PortRange {
                first: 20_000,
                last: 29_999,
            },
        ),
        codecs: section.some_words("codecs", &[Codec::Pcmu, Codec::Pcma], "names no codec"),
        timeout: section.word("timeout", Duration::from_secs(30)),
        dscp: dscp(section, 46),
    };
    if media.listen.is_empty() {
        section.error("listen", "names no address");
    }
    one_of_a_family(section, "listen", &media.listen);
    one_of_a_family(section, "advertise", &media.advertise);
    for listen in &media.listen {
        let told = |own: &IpAddr| own.is_ipv4() == listen.is_ipv4();
        if listen.is_unspecified() && !media.advertise.iter().any(told) {
            section.error(
                "advertise",
                format!(
                    "must name an address of {listen}'s family: media.listen is not a single one"
                ),
            );
        }
    }
    media
}

fn one_of_a_family(section: &Section<'_>, key: &str, addresses: &[IpAddr]) {
    for is_ipv4 in [true, false] {
        let of_family = addresses.iter().filter(|own| own.is_ipv4() == is_ipv4);
        if of_family.count() > 1 {
            section.error(key, "names two addresses of one family");
        }
    }
}

/// Shorter ones would be lost to a busy moment.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

fn store(section: &mut Section<'_>) -> Store {
    let store = Store {
        url: section.text("url", "sqlite://handback.db"),
        lease: section.word("lease", Duration::from_secs(10)),
        encryption_key: section.secret("encryption_key"),
    };
    match store.url.split_once("://") {
        Some(("memory", _)) => {}
        Some(("sqlite", path)) if !path.is_empty() => {}
        Some(("postgres" | "postgresql", server)) if !server.is_empty() => {}
        // The URL may hold a password: its scheme is all that is repeated.
        Some((scheme, _)) => section.error(
            "url",
            format!(
                "{scheme}:// is neither sqlite://FILE, postgres://USER@HOST/DATABASE nor memory://"
            ),
        ),
        None => section.error(
            "url",
            "is neither sqlite://FILE, postgres://USER@HOST/DATABASE nor memory://",
        ),
    }
    if store.lease < SHORTEST_LEASE {
        section.error("lease", "must be at least 1s");
    }
    if let Some(key) = &store.encryption_key
        && !key.expose().is_empty()
        && !(key.expose().len() == 64 && key.expose().bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        section.error(
            "encryption_key",
            "must be 32 bytes as 64 hexadecimal digits",
        );
    }
    store
}

fn handback(section: &mut Section<'_>) -> Handback {
    Handback {
        fallback: section.words("fallback", &[Step::Invite, Step::Bye]),
        refer_timeout: section.word("refer_timeout", Duration::from_secs(120)),
        refer_bye_after: section.word("refer_bye_after", Duration::from_secs(1)),
        invite_timeout: section.word("invite_timeout", Duration::from_secs(60)),
        tone: section.word("tone", Tone::Eu),
        max_redirects: section.number("max_redirects", 5, 0..=50),
    }
}

fn account(section: &mut Section<'_>) -> Account {
    let fallback: Vec<Step> = section.words("fallback", &[]);
    let account = Account {
        id: AccountId(section.required("id")),
        enabled: section.flag("enabled", true),
        return_transfer_type: section.word("return_transfer_type", ReturnType::Bye),
        return_uri: section.optional("return_uri"),
        return_invite_auth: section.table("return_invite_auth", credentials),
        return_targets: section.words("return_targets", &[]),
        fallback: Some(fallback).filter(|steps| !steps.is_empty()),
        hook: Some(section.texts("hook", "")).filter(|urls| !urls.is_empty()),
        transcribe: section.optional_word("transcribe"),
        recording: section.flag("recording", false),
        api_keys: section.tables("api_key", api_key),
        trunks: section.tables("trunk", trunk),
    };
    if let Some(uri) = &account.return_uri
        && let Some(problem) = checks::return_uri_problem(uri)
    {
        section.error("return_uri", problem);
    }
    let by_headers = account.trunks.iter().any(|trunk| trunk.header_transfers);
    if by_headers && account.return_uri.is_none() && account.return_transfer_type != ReturnType::Bye
    {
        section.error(
            "return_uri",
            "header_transfers needs one, since return_transfer_type is not BYE",
        );
    }
    if account.recording {
        section.error("recording", "recording is not in this version yet");
    }
    account
}

fn api_key(section: &mut Section<'_>) -> ApiKey {
    let key = ApiKey {
        id: section.required("id"),
        secret_hash: section.required("secret_hash"),
    };
    if !key.secret_hash.is_empty() && !checks::is_argon2id(&key.secret_hash) {
        section.error(
            "secret_hash",
            "is not an argon2id hash; `handback secret` makes one",
        );
    }
    key
}

fn trunk(section: &mut Section<'_>) -> Trunk {
    let outbound_proxy = section.optional("outbound_proxy");
    let fallback: Vec<Step> = section.words("fallback", &[]);
    let profile = profile(section);
    let trunk = Trunk {
        name: section.required("name"),
        allow: section.words("allow", &[]),
        digest: section.table("digest", digest),
        require: section.word("require", Require::Any),
        max_calls: section.number("max_calls", 1000, ANY_POSITIVE),
        options_interval: options_interval(section, outbound_proxy.is_some()),
        outbound_proxy,
        outbound_auth: section.table("outbound_auth", outbound_auth),
        profile,
        fallback: Some(fallback).filter(|steps| !steps.is_empty()),
        header_transfers: section.flag("header_transfers", false),
        tel_host: section.optional("tel_host"),
        return_headers: section.words("return_headers", &[]),
        reliable_provisional: section.word("reliable_provisional", ReliableProvisional::Required),
        refer: section.optional_word("refer"),
        refer_timeout: section.optional_word("refer_timeout"),
        invite_timeout: section.optional_word("invite_timeout"),
        srtp: section.word("srtp", Srtp::Off),
        latch: section.flag("latch", false),
    };
    if let Some(proxy) = &trunk.outbound_proxy
        && !checks::is_proxy(proxy)
    {
        section.error(
            "outbound_proxy",
            format!("{proxy:?} is neither host or host:port, with ;transport=udp, tcp or tls, nor a SIP URI"),
        );
    }
    if let Some(host) = &trunk.tel_host
        && !checks::is_host_and_port(host)
    {
        section.error("tel_host", format!("{host:?} is not host or host:port"));
    }
    match (&trunk.digest, trunk.require) {
        (None, Require::All) => section.error("require", "\"all\" needs a digest user"),
        (None, Require::Any) if trunk.allow.is_empty() => {
            section.warning(
                "allow",
                "neither addresses nor a digest user: this trunk matches nobody",
            );
        }
        (None | Some(_), Require::Any) | (Some(_), Require::All) => {}
    }
    trunk
}

/// What the trunk's make does at a hand-back, with the trunk's own keys over it.
fn profile(section: &mut Section<'_>) -> Profile {
    let made: Profile = section.word("profile", Profile::generic());
    let keys = section.any_table("peer");
    if keys.is_empty() {
        return made;
    }
    Profile::with(&made.name, &keys).unwrap_or_else(|problem| {
        section.error("peer", problem);
        made
    })
}

fn digest(section: &mut Section<'_>) -> Option<Digest> {
    let algorithms = section.some_words(
        "algorithms",
        &[DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
        "names no algorithm",
    );
    let credentials = credentials(section)?;
    Some(Digest {
        username: credentials.username,
        password: credentials.password,
        algorithms,
    })
}

/// How often a trunk is asked whether it is there; only an outbound proxy can be asked.
fn options_interval(section: &mut Section<'_>, has_proxy: bool) -> Option<Duration> {
    const KEY: &str = "options_interval";
    let every = section.word(KEY, OPTIONS_EVERY);
    if !every.is_zero() && every < Duration::from_secs(1) {
        section.error(KEY, "must be 0s (never) or at least 1s");
    } else if !has_proxy && !every.is_zero() && every != OPTIONS_EVERY {
        section.warning(KEY, "has no effect: there is no outbound_proxy to ask");
    }
    Some(every).filter(|every| has_proxy && !every.is_zero())
}

fn outbound_auth(section: &mut Section<'_>) -> Option<OutboundAuth> {
    let realm = section.text("realm", "");
    let credentials = credentials(section)?;
    if realm.is_empty() {
        section.error("realm", "is required: credentials are for one realm only");
    }
    Some(OutboundAuth { realm, credentials })
}

/// User name and password; both or none.
fn credentials(section: &mut Section<'_>) -> Option<Credentials> {
    let username = section.optional("username");
    let password: Option<Secret> = section.secret("password");
    match (username, password) {
        (Some(username), Some(password)) => Some(Credentials { username, password }),
        (Some(_), None) => {
            section.error("password_file", "a user name needs a password");
            None
        }
        (None, Some(_)) => {
            section.error("username", "a password needs a user name");
            None
        }
        (None, None) => None,
    }
}
