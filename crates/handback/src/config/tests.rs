use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::*;

const COMMENTED: &str = include_str!("../../../../config/handback.toml");
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm90LWEtcmVhbC1zYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn parse(text: &str) -> Result<Loaded, ConfigErrors> {
    Config::parse(text, [])
}

fn config(text: &str) -> Config {
    parse(text).expect("a good configuration").config
}

fn errors(text: &str) -> Vec<String> {
    parse(text)
        .expect_err("a bad configuration")
        .0
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The problem with one key, and that it is the only one.
fn only_error(text: &str) -> String {
    let mut errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn with_environment(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    Config::parse(
        text,
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

/// The commented file with its account section switched on.
fn with_account() -> String {
    let line = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => format!("{key}\n"),
        Some(_) | None => format!("{line}\n"),
    };
    COMMENTED.lines().map(line).collect()
}

fn account(trunk: &str) -> String {
    format!("[[account]]\nid = \"a\"\n[[account.trunk]]\nname = \"t\"\n{trunk}\n")
}

#[test]
fn the_commented_file_says_the_defaults() {
    assert_eq!(config(COMMENTED), config(""));
}

#[test]
fn the_commented_file_names_every_key_there_is() {
    let text = with_account();
    let file: Table = text.parse().unwrap();
    let resolved: Table = parse(&text).unwrap().resolved.parse().unwrap();
    assert_eq!(file, resolved);
}

#[test]
fn the_commented_account_says_the_defaults() {
    let bare = format!(
        "[[account]]\nid = \"acme\"\n[[account.api_key]]\nid = \"key-1\"\nsecret_hash = \"{HASH}\"\n\
         [[account.trunk]]\nname = \"acme-sbc\"\n"
    );
    assert_eq!(config(&with_account()), config(&bare));
}

#[test]
fn the_lab_is_loopback_with_the_well_known_secrets() {
    let loaded = parse(LAB).unwrap();
    assert_eq!(loaded.warnings, []);
    let lab = loaded.config;
    assert!(
        lab.sip
            .listen
            .iter()
            .all(|listener| listener.address.ip().is_loopback())
    );
    assert_eq!(lab.accounts[0].api_keys[0].id, "lab");
    assert!(checks::is_lab_key(&lab.accounts[0].api_keys[0]));
    let digest = lab.accounts[0].trunks[1].digest.as_ref().unwrap();
    assert_eq!(
        (digest.username.as_str(), digest.password.expose()),
        ("lab", "lab-secret")
    );
    assert_eq!(digest.algorithms[0], DigestAlgorithm::Md5);
    assert_eq!(lab.agent.hook, ["builtin:lab"]);
    let ipv6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    assert!(
        lab.accounts[0].trunks[0]
            .allow
            .iter()
            .any(|net| net.contains(&ipv6))
    );
}

#[test]
fn the_lab_secret_of_a_key_meets_only_loopback() {
    let text = LAB.replace("udp://127.0.0.1:5060", "udp://192.0.2.1:5060");
    let errors = errors(&text);
    assert!(
        errors
            .iter()
            .any(|e| e.starts_with("account[0].api_key[0].secret_hash: the lab's secret")),
        "{errors:?}"
    );
    assert!(
        errors
            .iter()
            .any(|e| e.starts_with("account[0].trunk[1].digest.password: the lab's secret")),
        "{errors:?}"
    );
}

#[test]
fn the_lab_hash_under_another_id_is_known_all_the_same() {
    let text = LAB
        .replace("id = \"lab\"", "id = \"other\"")
        .replace("password = \"lab-secret\"", "password = \"own\"");
    let text = text.replace("listen = \"127.0.0.1:8080\"", "listen = \"0.0.0.0:8080\"");
    assert!(only_error(&text).starts_with("account[0].api_key[0].secret_hash: the lab's secret"));
}

#[test]
fn outbound_proxy_is_asked_every_thirty_seconds_unless_told_otherwise() {
    let interval = |keys: &str| {
        let text = account(&format!("allow = [\"10.0.0.0/8\"]\n{keys}"));
        let loaded = parse(&text).unwrap();
        let warned: Vec<_> = loaded
            .warnings
            .iter()
            .map(|warning| warning.key.clone())
            .collect();
        (loaded.config.accounts[0].trunks[0].options_interval, warned)
    };
    let proxy = "outbound_proxy = \"sbc.example.com\"\n";
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(interval(proxy), (seconds(30), vec![]));
    assert_eq!(
        interval(&format!("{proxy}options_interval = \"2m\"")).0,
        seconds(120)
    );
    assert_eq!(
        interval(&format!("{proxy}options_interval = \"0s\"")).0,
        None
    );
    assert_eq!(interval(""), (None, vec![]));
    let key = "account[0].trunk[0].options_interval";
    assert_eq!(
        interval("options_interval = \"5s\""),
        (None, vec![key.to_owned()])
    );
    let text = account(&format!(
        "allow = [\"10.0.0.0/8\"]\n{proxy}options_interval = \"10ms\""
    ));
    assert_eq!(
        only_error(&text),
        format!("{key}: must be 0s (never) or at least 1s")
    );
}

#[test]
fn a_password_in_the_file_is_warned_of_outside_loopback() {
    let text = account("digest = { username = \"u\", password = \"p\" }");
    assert_eq!(parse(&text).unwrap().warnings, []);
    let public = format!("[api]\nlisten = \"0.0.0.0:8080\"\n{text}");
    assert_eq!(
        parse(&public).unwrap().warnings[0].key,
        "account[0].trunk[0].digest.password"
    );
}

#[test]
fn every_problem_is_told_at_once_with_its_key() {
    let text = "[sip]\nlisten = [\"udp://127.0.0.1:5060\", \"sctp://x\"]\nrealms = \"x\"\n[media]\nports = \"x\"\n\
                [[account]]\nid = \"a\"\n[[account.trunk]]\nname = \"t\"\nallow = [\"10.0.0.0/8\"]\n\
                [[account.trunk]]\nname = \"u\"\nallow = [\"10.0.0.0/33\"]\n[limit]\ncalls = 1\n";
    let keys: Vec<String> = parse(text)
        .unwrap_err()
        .0
        .into_iter()
        .map(|error| error.key)
        .collect();
    assert_eq!(
        keys,
        [
            "sip.listen[1]",
            "sip.realms",
            "media.ports",
            "account[0].trunk[1].allow[0]",
            "limit"
        ]
    );
}

#[test]
fn an_unknown_key_is_named_and_its_neighbour_suggested() {
    assert_eq!(
        only_error("[sip]\nrealms = \"x\""),
        "sip.realms: unknown key; did you mean realm?"
    );
    assert_eq!(
        only_error("[sip]\nelephants = 3"),
        "sip.elephants: unknown key"
    );
}

#[test]
fn wrong_types_are_named() {
    assert_eq!(
        only_error("[sip]\nrealm = 3"),
        "sip.realm: must be a string, is integer"
    );
    assert_eq!(
        only_error("[sip]\nusers = \"agent\""),
        "sip.users: must be a list, is string"
    );
    assert_eq!(only_error("sip = 1"), "sip: must be a table, is integer");
    assert_eq!(
        only_error("account = 1"),
        "account: must be a list of tables, is integer"
    );
    assert_eq!(
        only_error("[limits]\ncalls = \"many\""),
        "limits.calls: must be a whole number, is string"
    );
    assert_eq!(
        only_error("[agent]\nringing = 1"),
        "agent.ringing: must be true or false, is 1"
    );
    assert_eq!(
        only_error("[sip]\nusers = [1]"),
        "sip.users[0]: must be a string, is integer"
    );
}

#[test]
fn numbers_have_bounds() {
    assert_eq!(
        only_error("[limits]\ncalls = 0"),
        "limits.calls: must be a whole number from 1 to 1000000"
    );
    assert!(only_error("[sip]\nudp_max = 70000").starts_with("sip.udp_max: "));
    assert!(only_error("[sip]\nudp_max = -1").starts_with("sip.udp_max: "));
}

#[test]
fn durations_are_numbers_with_units() {
    for (text, millis) in [
        ("500ms", 500),
        ("30s", 30_000),
        ("10m", 600_000),
        ("4h", 14_400_000),
        ("1m30s", 90_000),
    ] {
        let config = config(&format!("[media]\ntimeout = \"{text}\""));
        assert_eq!(config.media.timeout, Duration::from_millis(millis));
    }
    for text in [
        "",
        "30",
        "s",
        "30 s",
        "-1s",
        "1w",
        "99999999999999999999d",
        "9999999999d",
        "1.5s",
    ] {
        assert!(
            only_error(&format!("[media]\ntimeout = \"{text}\"")).starts_with("media.timeout: "),
            "{text}"
        );
    }
}

#[test]
fn fewer_than_four_ports_a_call_are_refused() {
    let ports = |last: u32, calls: u32| {
        format!("[media]\nports = \"20000-{last}\"\n[limits]\ncalls = {calls}")
    };
    assert!(parse(&ports(20_399, 100)).is_ok());
    assert!(
        only_error(&ports(20_398, 100))
            .starts_with("media.ports: 399 ports are fewer than the 400 ")
    );
}

#[test]
fn port_ranges_and_listeners_have_a_form() {
    for text in ["20000", "30000-20000", "80-90", "20000-70000", "a-b"] {
        assert!(
            only_error(&format!("[media]\nports = \"{text}\"")).starts_with("media.ports: "),
            "{text}"
        );
    }
    for text in [
        "127.0.0.1:5060",
        "udp://127.0.0.1",
        "udp://localhost:5060",
        "ws://1.2.3.4:5",
    ] {
        assert!(
            only_error(&format!("[sip]\nlisten = [\"{text}\"]")).starts_with("sip.listen[0]: "),
            "{text}"
        );
    }
    let listener = config("[sip]\nlisten = [\"tcp://[::1]:0\"]").sip.listen[0];
    assert_eq!(listener.to_string(), "tcp://[::1]:0");
    assert!(only_error("[sip]\nlisten = []").starts_with("sip.listen: "));
    let scoped = only_error("[sip]\nlisten = [\"udp://[fe80::1%2]:5060\"]");
    assert!(scoped.contains("scope id"), "{scoped}");
}

#[test]
fn the_admin_token_may_be_absent_only_on_loopback() {
    assert!(
        only_error("[admin]\nlisten = \"0.0.0.0:9090\"")
            .starts_with("admin.token_file: must be set")
    );
    assert!(parse("[admin]\nlisten = \"0.0.0.0:9090\"\ntoken = \"t\"").is_ok());
    assert!(parse("[admin]\nlisten = \"[::1]:9090\"").is_ok());
}

#[test]
fn digest_users_are_unique_over_all_trunks() {
    let trunk = |name: &str| {
        format!(
            "[[account]]\nid = \"{name}\"\n[[account.trunk]]\nname = \"t\"\ndigest = {{ username = \"u\", password = \"p\" }}\n"
        )
    };
    let text = format!("{}{}", trunk("a"), trunk("b"));
    assert_eq!(
        only_error(&text),
        "account[1].trunk[0].digest.username: \"u\" is taken by account[0].trunk[0].digest.username already"
    );
}

#[test]
fn ids_and_names_are_unique() {
    assert!(
        only_error("[[account]]\nid = \"a\"\n[[account]]\nid = \"a\"")
            .starts_with("account[1].id: ")
    );
    let key = format!("[[account.api_key]]\nid = \"k\"\nsecret_hash = \"{HASH}\"\n");
    let text = format!("[[account]]\nid = \"a\"\n{key}[[account]]\nid = \"b\"\n{key}");
    assert!(only_error(&text).starts_with("account[1].api_key[0].id: "));
    let text = account("[[account.trunk]]\nname = \"t\"");
    assert!(only_error(&text).starts_with("account[0].trunk[1].name: "));
}

#[test]
fn required_keys_are_missed() {
    assert_eq!(only_error("[[account]]"), "account[0].id: is required");
    assert_eq!(
        only_error("[[account]]\nid = \"\""),
        "account[0].id: must not be empty"
    );
    assert_eq!(
        only_error(
            "[[account]]\nid = \"a\"\n[[account.api_key]]\nid = \"k\"\nsecret_hash = \"plain\""
        ),
        "account[0].api_key[0].secret_hash: is not an argon2id hash; `handback secret` makes one"
    );
}

#[test]
fn user_names_and_passwords_come_in_pairs() {
    let prefix = "account[0].trunk[0].digest";
    assert_eq!(
        only_error(&account("digest = { username = \"u\" }")),
        format!("{prefix}.password_file: a user name needs a password")
    );
    assert_eq!(
        only_error(&account("digest = { password = \"p\" }")),
        format!("{prefix}.username: a password needs a user name")
    );
    assert!(only_error(&account("require = \"all\"")).ends_with("\"all\" needs a digest user"));
    let auth = account("outbound_auth = { username = \"u\", password = \"p\" }");
    assert!(only_error(&auth).starts_with("account[0].trunk[0].outbound_auth.realm: is required"));
}

#[test]
fn a_trunk_that_matches_nobody_is_warned_of() {
    assert_eq!(
        parse(&account("")).unwrap().warnings[0].key,
        "account[0].trunk[0].allow"
    );
}

#[test]
fn secrets_come_from_files() {
    let path = std::env::temp_dir().join(format!("handback-secret-{}", std::process::id()));
    fs::write(&path, "from-file\n").unwrap();
    let text = account(&format!(
        "digest = {{ username = \"u\", password_file = {:?} }}",
        path.display().to_string()
    ));
    let digest = config(&text)
        .accounts
        .remove(0)
        .trunks
        .remove(0)
        .digest
        .unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(digest.password.expose(), "from-file");
    assert!(only_error(&text).contains("digest.password_file: "));
    let both = account("digest = { username = \"u\", password_file = \"/x\", password = \"p\" }");
    assert!(errors(&both)[0].contains("only one of the two"));
}

#[test]
fn no_secret_is_shown() {
    let text = format!(
        "[admin]\ntoken = \"secret-1\"\n[agent]\ntoken = \"secret-2\"\n[store]\nencryption_key = \"{}\"\n{}",
        "ab".repeat(32),
        account(
            "digest = { username = \"u\", password = \"secret-3\" }\noutbound_auth = { realm = \"r\", username = \"u\", password = \"secret-4\" }"
        )
    );
    let loaded = parse(&text).unwrap();
    for shown in [loaded.resolved.clone(), format!("{loaded:?}")] {
        assert!(
            !shown.contains("secret-") && !shown.contains("abab"),
            "{shown}"
        );
    }
    assert!(loaded.resolved.contains("token = \"***\""));
}

#[test]
fn hooks_are_built_in_or_websockets() {
    let hook = |url: &str| format!("[agent]\nhook = \"{url}\"");
    for good in [
        "builtin:echo",
        "builtin:silence",
        "ws://127.0.0.1:7000/x",
        "wss://agent.example.com",
        "ws://10.1.2.3",
        "ws://agent:80/",
    ] {
        assert!(parse(&hook(good)).is_ok(), "{good}");
    }
    for bad in [
        "",
        "builtin:nobody",
        "builtin:flow?file=x",
        "ftp://x",
        "ws://",
        "ws://8.8.8.8/x",
        "wss://a b",
    ] {
        assert!(only_error(&hook(bad)).starts_with("agent.hook: "), "{bad}");
    }
    assert!(
        parse(&format!(
            "{}\nallow_plaintext = true",
            hook("ws://8.8.8.8/x")
        ))
        .is_ok()
    );
    assert!(only_error("[[account]]\nid = \"a\"\nhook = \"x\"").starts_with("account[0].hook: "));
}

#[test]
fn agents_may_be_a_list_with_webhooks_and_audiohook_and_proofs() {
    let config = parse(
        "[agent]\nhook = [\"wss://a/x\", \"https://b/twiml\"]\nprotocol = \"audiohook\"\n\
         answer_when = \"hello\"\nanswer_first = true\nsubprotocol = \"agenthook.v1\"\n\
         transcribe_url = [\"wss://c/\"]\nhmac_secret = \"s\"\ncomfort_prompt = \"none\"\n\
         [agent.audiohook]\nstereo = true\n[[account]]\nid = \"a\"\nhook = [\"builtin:echo\"]\n\
         transcribe = \"stop\"",
    )
    .unwrap()
    .config;
    assert_eq!(config.agent.hook, ["wss://a/x", "https://b/twiml"]);
    assert_eq!(config.agent.transcribe_url, ["wss://c/"]);
    assert!(config.agent.audiohook.stereo);
    let own = config.accounts[0].hook.as_deref();
    assert_eq!(own, Some(&["builtin:echo".to_owned()][..]));
    assert!(config.accounts[0].transcribe.is_some());
}

#[test]
fn proofs_that_cannot_be_given_are_named() {
    let problem = |line: &str| only_error(&format!("[agent]\n{line}"));
    assert!(problem("token = \"a\"\njwt_secret = \"b\"").starts_with("agent.jwt_secret: "));
    assert!(problem("subprotocol = \"a b\"").starts_with("agent.subprotocol: "));
    assert!(problem("client_cert_file = \"x\"").starts_with("agent.client_key_file: "));
    assert!(problem("ca_file = \"/nowhere.pem\"").starts_with("agent.ca_file: "));
    assert!(problem("bargein = \"shout\"").starts_with("agent.bargein: "));
    assert!(problem("comfort_prompt = \"/no.wav\"").starts_with("agent.comfort_prompt: "));
    assert!(problem("comfort_prompt = \"Cargo.toml\"").starts_with("agent.comfort_prompt: "));
    let audiohook = "[agent.audiohook]\nclient_secret = \"!\"";
    assert!(only_error(audiohook).starts_with("agent.audiohook.client_secret: "));
}

#[test]
fn what_this_version_lacks_is_refused_rather_than_ignored() {
    let dtls = account("allow = [\"::1\"]\nsrtp = \"dtls\"");
    assert!(only_error(&dtls).contains("off, optional, required"));
    assert!(only_error("[store]\nurl = \"oracle\"").starts_with("store.url: "));
    assert!(only_error("[media]\ncodecs = [\"opus\"]").starts_with("media.codecs[0]: "));
}

#[test]
fn store_urls_and_leases_are_checked_and_passwords_not_repeated() {
    let problem = |lines: &str| only_error(&format!("[store]\n{lines}"));
    assert!(problem("url = \"postgres://\"").starts_with("store.url: "));
    let secret = problem("url = \"postgre://u:hunter2@h/db\"");
    assert!(secret.starts_with("store.url: ") && !secret.contains("hunter2"));
    assert!(problem("lease = \"100ms\"").starts_with("store.lease: "));
}

#[test]
fn return_uris_and_targets_are_checked() {
    let with = |line: &str| format!("[[account]]\nid = \"a\"\n{line}");
    assert!(only_error(&with("return_uri = \"tel:+1\"")).starts_with("account[0].return_uri: "));
    assert!(
        only_error(&with(&format!("return_uri = \"sip:{}\"", "a".repeat(1024))))
            .contains("longer than 1024")
    );
    assert!(parse(&with("return_uri = \"sips:a@example.com;x=y\"")).is_ok());
    let config = config(&with(
        "return_targets = [\"10.0.0.0/8\", \"192.0.2.1\", \"SBC.example.com\"]",
    ));
    assert_eq!(
        config.accounts[0].return_targets[2],
        ReturnTarget::Host("sbc.example.com".to_owned())
    );
    assert!(
        only_error(&with("return_targets = [\"a b\"]"))
            .starts_with("account[0].return_targets[0]: ")
    );
}

#[test]
fn the_environment_overrides_the_file() {
    let variables = [
        ("HANDBACK__SIP__REALM", "example.com"),
        ("HANDBACK__SIP__USERS", "a, b"),
        ("HANDBACK__LIMITS__CALLS", "10"),
        ("HANDBACK__AGENT__RINGING", "true"),
        ("HANDBACK__ACCOUNT__0__TRUNK__0__ALLOW", "[\"10.0.0.0/8\"]"),
        ("HANDBACK__ACCOUNT__0__TRUNK__0__DIGEST__USERNAME", "123"),
        ("HANDBACK__ACCOUNT__0__TRUNK__0__DIGEST__PASSWORD", "456"),
        ("PATH", "/bin"),
    ];
    let loaded = with_environment(
        &format!("[sip]\nrealm = \"file\"\n{}", account("")),
        &variables,
    )
    .unwrap();
    let config = loaded.config;
    assert_eq!(
        (
            config.sip.realm.as_str(),
            config.limits.calls,
            config.agent.ringing
        ),
        ("example.com", 10, true)
    );
    assert_eq!(config.sip.users, ["a", "b"]);
    let trunk = &config.accounts[0].trunks[0];
    assert_eq!(trunk.allow[0].to_string(), "10.0.0.0/8");
    assert_eq!(trunk.digest.as_ref().unwrap().password.expose(), "456");
}

#[test]
fn a_variable_that_names_no_place_is_an_error() {
    let error = |name: &str| {
        with_environment("", &[(name, "x")])
            .unwrap_err()
            .0
            .remove(0)
            .to_string()
    };
    assert_eq!(
        error("HANDBACK__SIP__REALMS"),
        "sip.realms: unknown key; did you mean realm?"
    );
    assert_eq!(
        error("HANDBACK__ACCOUNT__3__ID"),
        "HANDBACK__ACCOUNT__3__ID: this variable names no place in the configuration"
    );
    assert!(with_environment("", &[("HANDBACK__LIMITS__CALLS", "many")]).is_err());
}

#[test]
fn text_that_is_not_toml_is_one_error_without_a_key() {
    assert!(only_error("[sip").starts_with("not TOML: "));
    assert!(
        Config::load(Some(Path::new("/nonexistent/x.toml")))
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
}

#[test]
fn tls_listener_needs_a_certificate_and_files_are_named_by_their_key() {
    let listen = "[sip]\nlisten = [\"tls://127.0.0.1:5061\"]\n";
    let missing = only_error(listen);
    assert!(
        missing.starts_with("sip.tls.certificate_file: is needed for tls://127.0.0.1:5061"),
        "{missing}"
    );
    let nowhere = only_error("[sip.tls]\nca_file = \"/nowhere/ca.pem\"");
    assert!(
        nowhere.starts_with("sip.tls.ca_file: /nowhere/ca.pem cannot be read"),
        "{nowhere}"
    );
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let not_pem = only_error(&format!("[sip.tls]\nca_file = \"{here}\""));
    assert!(
        not_pem.starts_with("sip.tls.ca_file: holds no"),
        "{not_pem}"
    );
    let lonely = errors(&format!("[sip.tls]\ncertificate_file = \"{here}\""));
    assert_eq!(
        lonely,
        ["sip.tls.key_file: a certificate needs its key"],
        "{lonely:?}"
    );
    let version = only_error("[sip.tls]\nmin_version = \"1.1\"");
    assert!(version.starts_with("sip.tls.min_version: "), "{version}");
}

#[test]
fn media_have_one_address_or_one_of_each_family() {
    let media = |text: &str| config(&format!("[media]\n{text}")).media;
    assert_eq!(media("").listen, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    let both = media("listen = [\"127.0.0.1\", \"::1\"]").listen;
    assert_eq!(both.len(), 2);
    for (text, key) in [
        ("listen = [\"127.0.0.1\", \"127.0.0.2\"]", "media.listen: "),
        ("listen = []", "media.listen: "),
        ("listen = \"\"", "media.listen: "),
        (
            "listen = [\"0.0.0.0\", \"::\"]\nadvertise = \"192.0.2.1\"",
            "media.advertise: ",
        ),
    ] {
        let problem = only_error(&format!("[media]\n{text}"));
        assert!(problem.starts_with(key), "{problem}");
    }
}

#[test]
fn trunk_is_told_what_its_kind_does_and_may_say_otherwise() {
    let trunk = |keys: &str| {
        let text = account(&format!("allow = [\"::1\"]\n{keys}"));
        parse(&text).unwrap().config.accounts[0].trunks[0].clone()
    };
    let plain = trunk("");
    assert_eq!(
        (plain.profile.name.as_str(), plain.refer),
        ("generic", None)
    );
    let asterisk = trunk("profile = \"asterisk\"\nrefer = \"allowed\"\nfallback = [\"AGENT\"]");
    assert_eq!(asterisk.profile.refer, Refer::Always);
    assert_eq!(asterisk.refer, Some(ReferPolicy::Allowed));
    assert_eq!(asterisk.fallback, Some(vec![Step::Agent]));
    let problem = only_error(&account("allow = [\"::1\"]\nprofile = \"acme\""));
    assert!(
        problem.starts_with("account[0].trunk[0].profile: \"acme\" is none of"),
        "{problem}"
    );
    let own = trunk("profile = \"twilio\"\npeer = { refer_to_host = \"sbc\" }");
    assert_eq!(own.profile.refer_to_host().as_deref(), Some("sbc"));
    assert_eq!(own.profile.bye, Bye::AtOnce);
    let problem = only_error(&account("allow = [\"::1\"]\npeer = { bye = 7 }"));
    assert!(
        problem.starts_with("account[0].trunk[0].peer: "),
        "{problem}"
    );
    let headers = "return_headers = ['Diversion: <sip:{called}@{host}>']";
    assert_eq!(trunk(headers).return_headers[0].name(), "Diversion");
    let problem = only_error(&account("allow = [\"::1\"]\nreturn_headers = ['Via: x']"));
    assert!(
        problem.starts_with("account[0].trunk[0].return_headers[0]: \"Via\" is none of"),
        "{problem}"
    );
    let problem = only_error(&account("allow = [\"::1\"]\ntel_host = \"a b\""));
    assert!(
        problem.starts_with("account[0].trunk[0].tel_host: "),
        "{problem}"
    );
}

#[test]
fn header_transfers_need_somewhere_to_return_to() {
    let text = |uri: &str| {
        format!(
            "[[account]]\nid = \"a\"\nreturn_transfer_type = \"REFER\"\n{uri}\n[[account.trunk]]\nname = \"t\"\nallow = [\"::1\"]\nheader_transfers = true"
        )
    };
    assert!(only_error(&text("")).starts_with("account[0].return_uri: "));
    let config = config(&text("return_uri = \"sip:q@sbc.example.com\""));
    assert!(config.accounts[0].trunks[0].header_transfers);
}

#[test]
fn comfort_prompt_may_be_a_wav_file_of_any_rate_and_is_at_most_a_minute() {
    let path = std::env::temp_dir().join(format!("handback-prompt-{}.wav", std::process::id()));
    let prompt = |seconds: u32| {
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 24_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        for _ in 0..seconds * 48_000 {
            writer.write_sample(1000_i16).unwrap();
        }
        writer.finalize().unwrap();
        format!("[agent]\ncomfort_prompt = \"{}\"", path.display())
    };
    let loaded = config(&prompt(1));
    let too_long = only_error(&prompt(61));
    fs::remove_file(&path).unwrap();
    let ComfortPrompt::Samples(samples) = loaded.agent.comfort_prompt else {
        panic!("no samples")
    };
    assert!((7_900..8_100).contains(&samples.len()), "{}", samples.len());
    assert!(too_long.contains("longer than a minute"), "{too_long}");
}

#[test]
fn session_timers_are_whole_seconds_and_no_shorter_than_rfc_4028_allows() {
    let sip = config("[sip]\nsession_expires = \"10m\"\nmin_se = \"2m\"").sip;
    assert_eq!(
        (sip.session_expires, sip.min_se),
        (Duration::from_secs(600), Duration::from_secs(120))
    );
    assert!(only_error("[sip]\nmin_se = \"89s\"").contains("sip.min_se"));
    let shorter = "[sip]\nsession_expires = \"100s\"\nmin_se = \"2m\"";
    assert!(only_error(shorter).contains("sip.session_expires"));
}

#[test]
fn provisional_responses_are_reliable_where_required_unless_the_trunk_says_more() {
    let trunk = |line: &str| {
        let text = account(&format!("allow = [\"192.0.2.1\"]\n{line}"));
        config(&text).accounts.remove(0).trunks.remove(0)
    };
    let reliable = |line: &str| trunk(line).reliable_provisional;
    assert_eq!(reliable(""), ReliableProvisional::Required);
    let supported = "reliable_provisional = \"supported\"";
    assert_eq!(reliable(supported), ReliableProvisional::Supported);
}

#[test]
fn outbound_proxy_is_a_host_or_a_whole_uri() {
    let with = |proxy: &str| account(&format!("allow = []\noutbound_proxy = \"{proxy}\""));
    for proxy in [
        "p.example.com:5070;transport=tls",
        "sip:[::1]:5070;lr",
        "sips:p.example.com;lr",
        "sip:old.example.com",
    ] {
        assert!(parse(&with(proxy)).is_ok(), "{proxy}");
    }
    for proxy in [
        "p.example.com;lr",
        "sip:",
        "<sip:p.example.com>",
        "sip:p?X=y",
    ] {
        assert!(parse(&with(proxy)).is_err(), "{proxy}");
    }
}
