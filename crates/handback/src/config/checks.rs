//! What must hold between keys, and the small grammars that several keys share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use agent_hook::{HookConfig, Hooks};
use argon2::Argon2;
use argon2::password_hash::{PasswordVerifier, phc::PasswordHash};

use sip_message::Uri;

use super::section::Findings;
use super::types::{ApiKey, Config, Digest};

/// The id and the secret that `config/lab.toml` makes known to the whole world.
const LAB_ID: &str = "lab";
const LAB_SECRET: &str = "lab-secret";

/// The ports that one call may need: RTP and RTCP to the caller and, kept free, to a return target.
const PORTS_PER_CALL: u32 = 4;

/// Checks what one section alone cannot know.
pub(super) fn check(config: &Config, findings: &Findings) {
    ports_suffice(config, findings);
    names_are_unique(config, findings);
    let loopback = is_loopback_only(config);
    if !loopback {
        no_lab_secret(config, findings);
        for key in findings.inline_passwords() {
            findings.warning(key, "a secret in the configuration itself: better in a file of its own, named by the key that ends in _file");
        }
    }
    if config.admin.token.is_none() && !config.admin.listen.ip().is_loopback() {
        findings.error(
            "admin.token_file",
            "must be set: admin.listen is not a loopback address",
        );
    }
    for (index, account) in config.accounts.iter().enumerate() {
        for hook in account.hook.iter().flatten() {
            if let Some(problem) = hook_problem(hook, config.agent.allow_plaintext) {
                findings.error(format!("account[{index}].hook"), problem);
            }
        }
    }
}

fn ports_suffice(config: &Config, findings: &Findings) {
    let count = config.media.ports.count();
    let needed = config.limits.calls.saturating_mul(PORTS_PER_CALL);
    if count < needed {
        findings.error(
            "media.ports",
            format!(
                "{count} ports are fewer than the {needed} for limits.calls = {}, 4 for each call",
                config.limits.calls
            ),
        );
    }
}

fn names_are_unique(config: &Config, findings: &Findings) {
    let mut accounts = Unique::new(findings);
    let mut keys = Unique::new(findings);
    let mut users = Unique::new(findings);
    for (a, account) in config.accounts.iter().enumerate() {
        accounts.see(account.id.as_str(), format!("account[{a}].id"));
        for (k, key) in account.api_keys.iter().enumerate() {
            keys.see(&key.id, format!("account[{a}].api_key[{k}].id"));
        }
        let mut trunks = Unique::new(findings);
        for (t, trunk) in account.trunks.iter().enumerate() {
            trunks.see(&trunk.name, format!("account[{a}].trunk[{t}].name"));
            if let Some(digest) = &trunk.digest {
                users.see(
                    &digest.username,
                    format!("account[{a}].trunk[{t}].digest.username"),
                );
            }
        }
    }
}

/// Names seen so far, each with the key that gave it.
struct Unique<'a> {
    findings: &'a Findings,
    seen: HashMap<String, String>,
}

impl<'a> Unique<'a> {
    fn new(findings: &'a Findings) -> Self {
        Self {
            findings,
            seen: HashMap::new(),
        }
    }

    fn see(&mut self, name: &str, key: String) {
        if name.is_empty() {
            return;
        }
        match self.seen.get(name) {
            Some(first) => self
                .findings
                .error(key, format!("{name:?} is taken by {first} already")),
            None => {
                self.seen.insert(name.to_owned(), key);
            }
        }
    }
}

/// Whether every socket of the gateway is out of the network's reach.
fn is_loopback_only(config: &Config) -> bool {
    let http = [config.api.listen.ip(), config.admin.listen.ip()];
    let media = config.media.listen.iter().copied();
    let sip = config
        .sip
        .listen
        .iter()
        .map(|listener| listener.address.ip());
    http.into_iter()
        .chain(media)
        .chain(sip)
        .all(|address| address.is_loopback())
}

fn no_lab_secret(config: &Config, findings: &Findings) {
    const PROBLEM: &str = "the lab's secret is known to everybody and only for loopback listeners";
    for (a, account) in config.accounts.iter().enumerate() {
        for (k, key) in account.api_keys.iter().enumerate() {
            if is_lab_key(key) {
                findings.error(format!("account[{a}].api_key[{k}].secret_hash"), PROBLEM);
            }
        }
        for (t, trunk) in account.trunks.iter().enumerate() {
            if trunk.digest.as_ref().is_some_and(is_lab_user) {
                findings.error(format!("account[{a}].trunk[{t}].digest.password"), PROBLEM);
            }
        }
    }
}

/// Whether it opens for the lab's secret: the hash as `config/lab.toml` has it under any id, or a fresh one under the lab's id: each trial costs tens of milliseconds.
pub(super) fn is_lab_key(key: &ApiKey) -> bool {
    super::LAB.contains(&format!("\"{}\"", key.secret_hash))
        || (key.id == LAB_ID && verifies(&key.secret_hash, LAB_SECRET))
}

fn is_lab_user(digest: &Digest) -> bool {
    digest.password.expose() == LAB_SECRET
}

fn verifies(hash: &str, secret: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(secret.as_bytes(), &hash)
            .is_ok()
    })
}

/// Whether a text is an argon2id hash in PHC form.
pub(super) fn is_argon2id(text: &str) -> bool {
    text.starts_with("$argon2id$") && PasswordHash::new(text).is_ok_and(|hash| hash.hash.is_some())
}

/// A host name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(text: &str) -> bool {
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    !text.is_empty()
        && text.len() <= 253
        && text.trim_end_matches('.').split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// Whether this is `host[:port]`, with a transport or without, or a whole SIP URI.
pub(super) fn is_proxy(text: &str) -> bool {
    if text.starts_with("sip:") || text.starts_with("sips:") {
        let uri = Uri::parse(text.as_bytes());
        return uri.is_ok_and(|uri| uri.headers().next().is_none()) && !text.contains(['<', '>']);
    }
    const TRANSPORTS: [&str; 3] = ["udp", "tcp", "tls"];
    match text.split_once(";transport=") {
        None => is_host_and_port(text),
        Some((authority, transport)) => {
            is_host_and_port(authority) && TRANSPORTS.contains(&transport)
        }
    }
}

/// A host, or a host with a port.
pub(super) fn is_host_and_port(text: &str) -> bool {
    is_host(text)
        || text.rsplit_once(':').is_some_and(|(host, port)| {
            is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
}

/// What is wrong with an agent's address.
pub(super) fn hook_problem(hook: &str, allow_plaintext: bool) -> Option<String> {
    if hook.starts_with("builtin:") {
        let config = HookConfig {
            urls: vec![hook.to_owned()],
            ..HookConfig::default()
        };
        return Hooks::new(config).err().map(|error| error.problem);
    }
    let (secure, rest) = match hook.split_once("://") {
        Some(("ws" | "http", rest)) => (false, rest),
        Some(("wss" | "https", rest)) => (true, rest),
        _ => {
            return Some(format!(
                "{hook:?} is none of builtin:NAME, ws://…, wss://…, http://…, https://…"
            ));
        }
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !is_host_and_port(authority) {
        return Some(format!("{authority:?} is not host or host:port"));
    }
    let host = if is_host(authority) {
        authority
    } else {
        authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host)
    };
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    (!secure && !allow_plaintext && address.is_some_and(|address| !is_private(address)))
        .then(|| "this is not encrypted and the address is public: use wss:// or https://, or agent.allow_plaintext = true".to_owned())
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// What is wrong with a return URI.
pub(super) fn return_uri_problem(uri: &str) -> Option<String> {
    const LONGEST: usize = 1024;
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    if uri.len() > LONGEST {
        return Some(format!("is longer than {LONGEST} characters"));
    }
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return Some(format!("{uri:?} is not a sip: or sips: URI"));
    }
    let Ok(parsed) = Uri::parse(uri.as_bytes()) else {
        return Some(format!("{uri:?} is not a valid URI"));
    };
    match parsed.param("method") {
        Some(method) if !method.eq_ignore_ascii_case(b"INVITE") => {
            Some("its method parameter must be INVITE".to_owned())
        }
        Some(_) | None => None,
    }
}
