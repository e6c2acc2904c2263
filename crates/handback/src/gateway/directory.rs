//! Accounts and trunks as the planes need them, built from the configuration in one go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent_hook::{HookError, Hooks};
use bytes::Bytes;
use call_control::transfer::{AccountId, NewTransfer, ReturnCredentials};
use call_control::{ByeRule, Fallback, Notifies, Peer, Policy, Srtp};
use ipnet::IpNet;
use media_bridge::BargeIn;
use media_core::Tone;
use sip_core::{
    Advertised, Algorithm, Credentials, DigestUser, EndpointConfig, Invitation, TrunkId, TrunkRule,
    Unauthenticated,
};
use transfer_api::{Account, Accounts, AccountsError, ApiKey, ReturnTarget, TargetRules};

use super::{hook_config, outward};
use crate::config::{
    self, Bye, Config, DigestAlgorithm, IdentityHeader, Profile, Protocol, Refer, ReferPolicy,
    ReliableProvisional, Require, Step,
};

/// The longest hand-back, all steps together, until BYE ends the call.
const CHAIN_WITHIN: Duration = Duration::from_secs(300);

/// Everything that the configuration says of accounts and trunks.
#[derive(Debug)]
pub(super) struct Directory {
    trunks: Vec<Arc<Trunk>>,
    accounts: Arc<Accounts>,
}

/// A trunk with what a call over it goes by.
#[derive(Debug)]
pub(super) struct Trunk {
    pub(super) name: String,
    pub(super) policy: Policy,
    pub(super) hooks: Hooks,
    /// What a caller hears whose agent is away, µ-law at 8 kHz.
    pub(super) comfort: Bytes,
    pub(super) bargein: BargeIn,
    pub(super) targets: TargetRules,
    pub(super) outbound_proxy: Option<String>,
    pub(super) profile: Profile,
    pub(super) tel_host: Option<String>,
    pub(super) return_headers: Vec<IdentityHeader>,
    /// Of calls whose context comes in their headers.
    return_uri: Option<String>,
    /// How often the outbound proxy is asked whether it is there.
    pub(super) options_interval: Option<Duration>,
    pub(super) codecs: Vec<sdp::Codec>,
    /// Whether its media are SRTP, and whether RTP goes to where it comes from.
    pub(super) srtp: Srtp,
    pub(super) latch: bool,
    pub(super) max_calls: u32,
    calls: Arc<AtomicU32>,
}

/// A place among a trunk's concurrent calls; given back when dropped.
#[derive(Debug)]
pub(super) struct TrunkSlot(Arc<AtomicU32>);

impl Drop for TrunkSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a configuration that reads well cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// An API key.
    #[error("account: {0}")]
    Accounts(#[from] AccountsError),
    /// A hook.
    #[error("agent.hook: {0}")]
    Hook(#[from] HookError),
}

impl Trunk {
    /// The transfer that a call without a registered one brings in its headers.
    pub(super) fn brought(&self, invitation: &Invitation) -> NewTransfer {
        let Policy {
            account,
            return_type,
            ..
        } = &self.policy;
        outward::brought(
            invitation,
            account,
            *return_type,
            self.return_uri.as_deref(),
        )
    }

    /// How many calls it has.
    pub(super) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Acquire)
    }

    /// Takes a place for a call that stands already, whether there is one or not.
    pub(super) fn take_place(&self) -> TrunkSlot {
        self.calls.fetch_add(1, Ordering::AcqRel);
        TrunkSlot(Arc::clone(&self.calls))
    }

    /// Takes a place among the trunk's calls, if there is one.
    pub(super) fn admit(&self) -> Option<TrunkSlot> {
        let counted = self
            .calls
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |calls| {
                (calls < self.max_calls).then_some(calls + 1)
            });
        counted.ok().map(|_| TrunkSlot(Arc::clone(&self.calls)))
    }
}

impl Directory {
    /// Reads the configuration; trunks that `before` knew keep their counts of calls.
    pub(super) fn new(config: &Config, before: Option<&Self>) -> Result<Self, DirectoryError> {
        let counts: HashMap<_, _> = before.map_or_else(HashMap::new, |before| {
            let keyed = |trunk: &Arc<Trunk>| {
                let key = (trunk.policy.account.clone(), trunk.name.clone());
                (key, Arc::clone(&trunk.calls))
            };
            before.trunks.iter().map(keyed).collect()
        });
        let mut trunks = Vec::new();
        let comfort = hook_config::comfort(&config.agent.comfort_prompt);
        for account in &config.accounts {
            let hooks = Hooks::new(hook_config::hook_config(config, account))?;
            let targets = targets(account);
            for trunk in &account.trunks {
                let key = (account.id.clone(), trunk.name.clone());
                trunks.push(Arc::new(Trunk {
                    name: trunk.name.clone(),
                    policy: policy(config, account, trunk),
                    hooks: hooks.clone(),
                    comfort: comfort.clone(),
                    bargein: config.agent.bargein,
                    targets: targets.clone(),
                    outbound_proxy: trunk.outbound_proxy.clone(),
                    profile: trunk.profile.clone(),
                    tel_host: trunk.tel_host.clone(),
                    return_headers: trunk.return_headers.clone(),
                    return_uri: account.return_uri.clone(),
                    options_interval: trunk.options_interval,
                    codecs: config
                        .media
                        .codecs
                        .iter()
                        .map(|codec| sdp_codec(*codec))
                        .collect(),
                    srtp: trunk.srtp,
                    latch: trunk.latch,
                    max_calls: trunk.max_calls,
                    calls: counts.get(&key).cloned().unwrap_or_default(),
                }));
            }
        }
        let accounts = Arc::new(Accounts::new(config.accounts.iter().map(api_account))?);
        Ok(Self { trunks, accounts })
    }

    pub(super) fn trunk(&self, id: TrunkId) -> Option<&Arc<Trunk>> {
        self.trunks.get(usize::try_from(id.0).ok()?)
    }

    /// An account's trunk by its name; should there be none, another one of the account.
    pub(super) fn find(&self, account: &AccountId, name: &str) -> Option<(TrunkId, Arc<Trunk>)> {
        let of_account = |trunk: &&Arc<Trunk>| trunk.policy.account == *account;
        let named = self
            .trunks
            .iter()
            .filter(of_account)
            .find(|trunk| trunk.name == name);
        let trunk = named.or_else(|| self.trunks.iter().find(of_account))?;
        let index = self
            .trunks
            .iter()
            .position(|other| Arc::ptr_eq(other, trunk))?;
        Some((TrunkId(u32::try_from(index).ok()?), Arc::clone(trunk)))
    }

    /// All trunks, in their order.
    pub(super) fn trunks(&self) -> impl Iterator<Item = &Arc<Trunk>> {
        self.trunks.iter()
    }

    pub(super) fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&self.accounts)
    }
}

/// What the endpoint is told; its trunks stand in the order of [`Directory::trunk`].
pub(super) fn endpoint_config(config: &Config) -> EndpointConfig {
    let trunks = config.accounts.iter().flat_map(|account| &account.trunks);
    EndpointConfig {
        advertise: advertised(config),
        realm: config.sip.realm.clone(),
        users: config.sip.users.clone(),
        trunks: trunks.map(trunk_rule).collect(),
        unauthenticated: match config.sip.unauthenticated {
            config::Unauthenticated::Answer => Unauthenticated::Answer,
            config::Unauthenticated::Silence => Unauthenticated::Silence,
        },
        required_header: Some(call_control::TRANSFER_HEADER.to_owned()),
        session_expires: config.sip.session_expires,
        min_se: config.sip.min_se,
        tls_alias: config.sip.tls.certificate.is_some() && listens_for_tls(config),
        user_agent: concat!("handback/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..EndpointConfig::default()
    }
}

fn listens_for_tls(config: &Config) -> bool {
    let mut listeners = config.sip.listen.iter();
    listeners.any(|listener| listener.protocol == Protocol::Tls)
}

/// The URI of an outbound proxy: a whole one stands as it is, without `lr` it is a strict router.
pub(super) fn proxy_uri(proxy: &str) -> Bytes {
    if proxy.starts_with("sip:") || proxy.starts_with("sips:") {
        Bytes::copy_from_slice(proxy.as_bytes())
    } else {
        Bytes::from(format!("sip:{proxy};lr"))
    }
}

/// The addresses that peers are told; each was checked when the configuration was read.
pub(super) fn advertised(config: &Config) -> Vec<Advertised> {
    let own = config.sip.advertise.iter();
    own.filter_map(|text| text.parse().ok()).collect()
}

fn trunk_rule(trunk: &config::Trunk) -> TrunkRule {
    TrunkRule {
        name: trunk.name.clone(),
        allow: trunk.allow.clone(),
        require_all: match trunk.require {
            Require::Any => false,
            Require::All => true,
        },
        digest: trunk.digest.as_ref().map(|digest| DigestUser {
            username: digest.username.clone(),
            password: digest.password.expose().to_owned().into(),
            algorithms: digest
                .algorithms
                .iter()
                .map(|name| algorithm(*name))
                .collect(),
        }),
        header_optional: trunk.header_transfers,
        reliable_where_supported: trunk.reliable_provisional == ReliableProvisional::Supported,
        outbound_auth: trunk.outbound_auth.as_ref().map(|auth| Credentials {
            realm: Some(auth.realm.clone()),
            username: auth.credentials.username.clone(),
            password: auth.credentials.password.expose().to_owned().into(),
        }),
    }
}

const fn algorithm(name: DigestAlgorithm) -> Algorithm {
    match name {
        DigestAlgorithm::Md5 => Algorithm::Md5,
        DigestAlgorithm::Sha256 => Algorithm::Sha256,
        DigestAlgorithm::Sha512256 => Algorithm::Sha512_256,
    }
}

const fn sdp_codec(codec: config::Codec) -> sdp::Codec {
    match codec {
        config::Codec::Pcmu => sdp::Codec::Pcmu,
        config::Codec::Pcma => sdp::Codec::Pcma,
    }
}

fn policy(config: &Config, account: &config::Account, trunk: &config::Trunk) -> Policy {
    let handback = &config.handback;
    let fallback = trunk.fallback.as_ref().or(account.fallback.as_ref());
    let fallback = fallback.unwrap_or(&handback.fallback);
    Policy {
        account: account.id.clone(),
        return_type: account.return_transfer_type,
        return_credentials: account
            .return_invite_auth
            .as_ref()
            .map(|auth| ReturnCredentials {
                username: auth.username.clone(),
                password: auth.password.expose().to_owned(),
            }),
        fallback: fallback.iter().map(|step| fallback_step(*step)).collect(),
        refer_always: trunk.refer == Some(ReferPolicy::Always)
            || (trunk.refer.is_none() && trunk.profile.refer == Refer::Always),
        refer_timeout: trunk.refer_timeout.unwrap_or(handback.refer_timeout),
        refer_bye_after: trunk
            .profile
            .bye_after()
            .unwrap_or(handback.refer_bye_after),
        peer: peer(&trunk.profile),
        hand_back_timeout: CHAIN_WITHIN,
        invite_timeout: trunk.invite_timeout.unwrap_or(handback.invite_timeout),
        max_redirects: u8::try_from(handback.max_redirects).unwrap_or(u8::MAX),
        tone: match handback.tone {
            config::Tone::Eu => Some(Tone::RingbackEu),
            config::Tone::Us => Some(Tone::RingbackUs),
            config::Tone::None => None,
        },
        ringing: config.agent.ringing,
        connect_timeout: config.agent.connect_timeout,
        reconnect_timeout: config.agent.reconnect_timeout,
        closed_without_complete: config.agent.closed_without_complete,
        answer_first: config.agent.answer_first,
        agent_lost: config.agent.agent_lost,
        transcribe: match account.transcribe.unwrap_or(config.agent.transcribe) {
            config::Transcribe::Transcribe => true,
            config::Transcribe::Stop => false,
        },
        media_timeout: config.media.timeout,
        call_duration: config.limits.call_duration,
    }
}

const fn peer(profile: &Profile) -> Peer {
    Peer {
        bye: match profile.bye {
            Bye::Ours => ByeRule::Ours,
            Bye::AtOnce => ByeRule::OursAtOnce,
            Bye::Theirs => ByeRule::Theirs {
                patience: profile.bye_patience(),
            },
        },
        notifies: match profile.notifies {
            config::Notifies::Always => Notifies::Always,
            config::Notifies::Never => Notifies::Never,
        },
        first_notify: profile.first_notify(),
    }
}

const fn fallback_step(step: Step) -> Fallback {
    use call_control::transfer::ReturnType;
    match step {
        Step::Bye => Fallback::Return(ReturnType::Bye),
        Step::Refer => Fallback::Return(ReturnType::Refer),
        Step::Invite => Fallback::Return(ReturnType::Invite),
        Step::Agent => Fallback::Agent,
    }
}

fn targets(account: &config::Account) -> TargetRules {
    let target = |target: &config::ReturnTarget| match target {
        config::ReturnTarget::Net(net) => ReturnTarget::Net(*net),
        config::ReturnTarget::Host(host) => ReturnTarget::Host(host.clone()),
    };
    let allowed = account
        .trunks
        .iter()
        .flat_map(|trunk| trunk.allow.iter().copied());
    let proxies = account
        .trunks
        .iter()
        .filter_map(|trunk| literal_host(trunk.outbound_proxy.as_deref()?));
    TargetRules {
        targets: account.return_targets.iter().map(target).collect(),
        trusted: allowed.chain(proxies).collect(),
    }
}

/// The network of one address that an outbound proxy names, unless its host is a name.
fn literal_host(authority: &str) -> Option<IpNet> {
    let uri = sip_message::Uri::from_bytes(proxy_uri(authority)).ok()?;
    uri.host_ip().map(IpNet::from)
}

fn api_account(account: &config::Account) -> Account {
    let key = |key: &config::ApiKey| ApiKey {
        id: key.id.clone(),
        secret_hash: key.secret_hash.clone(),
    };
    Account {
        id: AccountId(account.id.0.clone()),
        enabled: account.enabled,
        default_return: account.return_transfer_type,
        calls_numbers: account.trunks.iter().any(|trunk| trunk.tel_host.is_some()),
        targets: targets(account),
        api_keys: account.api_keys.iter().map(key).collect(),
    }
}
