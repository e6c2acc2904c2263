//! Whom a request comes from: trunk by address and by digest.

use std::net::IpAddr;

use bytes::Bytes;
use sip_message::{Credentials, Message};
use subtle::ConstantTimeEq;
use timebase::Now;

use crate::config::{DigestUser, EndpointConfig, TrunkRule, Unauthenticated};
use crate::digest::{Algorithm, Server};
use crate::ended::Counters;
use crate::ids::Ids;
use crate::vocabulary::{Response, TrunkId};

/// How many used nonces are remembered.
const NONCES: usize = 4096;

/// How many credentials of one request are looked at: one for each algorithm, and one more.
const CREDENTIALS: usize = 4;

/// What a request from a stranger gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Nothing.
    Silence,
    /// This.
    Answer(Response),
}

/// The judge of sources and credentials.
#[derive(Debug)]
pub(crate) struct Gate {
    server: Server,
}

impl Gate {
    pub(crate) fn new(config: &EndpointConfig, ids: &Ids) -> Self {
        Self {
            server: Server::new(
                &config.realm,
                ids.secret("nonces"),
                config.nonce_life,
                NONCES,
            ),
        }
    }

    /// Other rules; used nonces stay used.
    pub(crate) fn reconfigure(&mut self, config: &EndpointConfig) {
        self.server.reconfigure(&config.realm, config.nonce_life);
    }

    /// The trunk of a request from outside every dialog.
    pub(crate) fn judge(
        &mut self,
        now: Now,
        config: &EndpointConfig,
        counters: &mut Counters,
        source: IpAddr,
        request: &Message,
    ) -> Result<TrunkId, Stranger> {
        let here = |rule: &TrunkRule| allows(rule, source);
        if let Some(trunk) = position(config, |rule| here(rule) && !rule.require_all) {
            return Ok(trunk);
        }
        let known = position(config, |rule| here(rule) && rule.digest.is_some());
        let candidate = |index: TrunkId, rule: &TrunkRule| match known {
            Some(known) => known == index || (here(rule) && rule.digest.is_some()),
            None => open_to_digest(rule),
        };
        let candidates: Vec<TrunkId> = indexed(config)
            .filter(|(id, rule)| candidate(*id, rule))
            .map(|(id, _)| id)
            .collect();
        let stale = match self.verify(now, config, &candidates, request) {
            Verdict::Proven(trunk) => return Ok(trunk),
            Verdict::Stale => true,
            Verdict::Wrong => {
                counters.bad_credentials += 1;
                false
            }
            Verdict::Nothing => false,
        };
        counters.unauthenticated += 1;
        if config.unauthenticated == Unauthenticated::Silence && known.is_none() && !stale {
            return Err(Stranger::Silence);
        }
        Err(Stranger::Answer(self.refusal(
            now,
            config,
            &candidates,
            stale,
        )))
    }

    fn verify(
        &mut self,
        now: Now,
        config: &EndpointConfig,
        candidates: &[TrunkId],
        request: &Message,
    ) -> Verdict {
        let mut verdict = Verdict::Nothing;
        let method = request.method();
        let given = request.authorization().filter_map(Result::ok);
        for credentials in given.filter(Credentials::is_digest).take(CREDENTIALS) {
            if !self.server.is_for_us(&credentials) {
                continue;
            }
            let name = credentials.param("username").unwrap_or_default();
            let found = user_named(config, candidates, &name);
            let user = found.map(|(_, user)| user);
            let verified = self.server.verify(now, &credentials, method.as_str(), user);
            verdict = match (verified, found, verdict) {
                (Ok(()), Some((trunk, _)), _) => return Verdict::Proven(trunk),
                (Err(denied), _, _) if denied.is_stale() => Verdict::Stale,
                (_, _, Verdict::Stale) => Verdict::Stale,
                (_, _, Verdict::Nothing | Verdict::Wrong | Verdict::Proven(_)) => Verdict::Wrong,
            };
        }
        verdict
    }

    /// A challenge where one can be met, else 403.
    fn refusal(
        &mut self,
        now: Now,
        config: &EndpointConfig,
        candidates: &[TrunkId],
        stale: bool,
    ) -> Response {
        let mut algorithms: Vec<Algorithm> = Vec::new();
        for trunk in candidates {
            let user = config
                .trunks
                .get(trunk.0 as usize)
                .and_then(|rule| rule.digest.as_ref());
            for algorithm in user.iter().flat_map(|user| &user.algorithms) {
                if !algorithms.contains(algorithm) {
                    algorithms.push(*algorithm);
                }
            }
        }
        let challenges: Vec<Bytes> = self.server.challenge(now, &algorithms, stale);
        let status = if challenges.is_empty() { 403 } else { 401 };
        challenges
            .into_iter()
            .fold(Response::new(status), |response, challenge| {
                response.with_header("WWW-Authenticate", challenge)
            })
    }
}

enum Verdict {
    Proven(TrunkId),
    Stale,
    Wrong,
    Nothing,
}

/// The trunk among the candidates whose user has a name. All are looked at, so that the time does
/// not tell which.
fn user_named<'a>(
    config: &'a EndpointConfig,
    candidates: &[TrunkId],
    name: &[u8],
) -> Option<(TrunkId, &'a DigestUser)> {
    candidates.iter().fold(None, |found, trunk| {
        let rule = config.trunks.get(trunk.0 as usize);
        let user = rule.and_then(|rule| rule.digest.as_ref());
        let named = user.filter(|user| bool::from(user.username.as_bytes().ct_eq(name)));
        found.or(named.map(|user| (*trunk, user)))
    })
}

/// Whether the trunk's addresses include the source; IPv4-mapped IPv6 addresses are IPv4 ones.
pub(crate) fn allows(rule: &TrunkRule, source: IpAddr) -> bool {
    let source = source.to_canonical();
    rule.allow.iter().any(|net| net.contains(&source))
}

/// Whether some trunk's addresses include the source.
pub(crate) fn knows(config: &EndpointConfig, source: IpAddr) -> bool {
    config.trunks.iter().any(|rule| allows(rule, source))
}

/// Whether credentials alone are enough.
fn open_to_digest(rule: &TrunkRule) -> bool {
    rule.digest.is_some() && (rule.allow.is_empty() || !rule.require_all)
}

fn indexed(config: &EndpointConfig) -> impl Iterator<Item = (TrunkId, &TrunkRule)> {
    (0..).map(TrunkId).zip(&config.trunks)
}

fn position(config: &EndpointConfig, wanted: impl Fn(&TrunkRule) -> bool) -> Option<TrunkId> {
    indexed(config)
        .find(|(_, rule)| wanted(rule))
        .map(|(id, _)| id)
}
