//! Whether trunks are there: OPTIONS to the addresses of their outbound proxies, from time to time.
//!
//! What it finds is advice. An address that does not answer is tried last, and is still tried.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use call_control::Hop;
use call_control::transfer::AccountId;
use dashmap::DashMap;
use serde::Serialize;
use sip_core::Transport;
use sip_message::Uri;
use sip_transport::SipHandle;
use timebase::UnixMillis;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::directory::{Trunk, proxy_uri};
use super::shared::{Rules, Shared};

/// Misses in a row that make an address down: one alone may be a restart, or a lost connection.
const MISSES: u8 = 2;
/// How long an address may say nothing at all: five sendings of the OPTIONS over UDP.
const SILENCE: Duration = Duration::from_secs(8);
/// How soon an address that missed once is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// How an address, or a trunk, stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It was not heard of often enough to tell.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// One address of an outbound proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Address {
    #[serde(serialize_with = "as_text")]
    transport: Transport,
    address: SocketAddr,
    state: State,
    misses: u8,
    last_status: u16,
}

/// What is known of one trunk's outbound proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    /// Of the trunk as a whole: up where one address is.
    pub(super) state: State,
    /// Since when.
    since: Option<UnixMillis>,
    /// Its addresses, as they resolved the last time.
    addresses: Vec<Address>,
    /// Times in a row that its name had no address.
    unresolved: u8,
}

/// Account and name of a trunk.
type Key = (AccountId, String);

/// What is known of all watched trunks: finished values, written by their watchers.
#[derive(Debug, Default)]
pub(super) struct TrunkHealth {
    by_trunk: DashMap<Key, Health>,
}

impl Address {
    fn new(transport: Transport, address: SocketAddr) -> Self {
        Self {
            transport,
            address,
            state: State::Unknown,
            misses: 0,
            last_status: 0,
        }
    }

    /// Any final answer of the peer's own shows that it is there (RFC 3261 §11.2), but 503, by
    /// which it says that it takes no calls, and 408, by which a proxy says that nobody answers.
    /// Both also stand for silence and for a broken transport.
    fn note(&mut self, status: u16) {
        self.last_status = status;
        if is_miss(status) {
            self.misses = self.misses.saturating_add(1);
            if self.misses >= MISSES {
                self.state = State::Down;
            }
        } else {
            self.misses = 0;
            self.state = State::Up;
        }
    }
}

impl Health {
    /// Takes the answers of one round. True where the trunk's state is another than before.
    fn note(&mut self, at: UnixMillis, round: &[(Transport, SocketAddr, u16)]) -> bool {
        let known = std::mem::take(&mut self.addresses);
        for (transport, address, status) in round {
            let is = |known: &&Address| known.transport == *transport && known.address == *address;
            let mut noted = known
                .iter()
                .find(is)
                .cloned()
                .unwrap_or_else(|| Address::new(*transport, *address));
            noted.note(*status);
            self.addresses.push(noted);
        }
        self.unresolved = if round.is_empty() {
            self.unresolved.saturating_add(1)
        } else {
            0
        };
        let state = self.judge();
        let changed = state != self.state;
        if changed {
            self.since = Some(at);
        }
        self.state = state;
        changed
    }

    fn judge(&self) -> State {
        let any = |state: State| self.addresses.iter().any(|address| address.state == state);
        if any(State::Up) {
            State::Up
        } else if any(State::Unknown) || (self.addresses.is_empty() && self.unresolved < MISSES) {
            self.state
        } else {
            State::Down
        }
    }

    /// Whether an address, or the name, has missed and may yet be there.
    fn is_doubtful(&self) -> bool {
        let missed = |known: &Address| known.misses > 0 && known.state != State::Down;
        self.addresses.iter().any(missed) || (1..MISSES).contains(&self.unresolved)
    }

    fn is_down(&self, hop: &Hop) -> bool {
        self.addresses.iter().any(|known| {
            known.state == State::Down
                && known.transport == hop.flow.transport
                && known.address == hop.flow.remote
        })
    }
}

impl TrunkHealth {
    /// What is known of a trunk; none where it is not watched.
    pub(super) fn of(&self, trunk: &Trunk) -> Option<Health> {
        self.by_trunk.get(&key(trunk)).map(|health| health.clone())
    }

    /// The hops in their order, those that are down behind the others.
    pub(super) fn up_first(&self, trunk: &Trunk, mut hops: Vec<Hop>) -> Vec<Hop> {
        if let Some(health) = self.of(trunk) {
            hops.sort_by_key(|hop| health.is_down(hop));
        }
        hops
    }

    /// Forgets trunks that are not watched any more.
    fn keep(&self, watched: &[Key]) {
        self.by_trunk.retain(|key, _| {
            let kept = watched.contains(key);
            if !kept {
                gauge(key).set(f64::NAN);
            }
            kept
        });
    }

    /// Takes the answers of one round. True where an address has missed and is not known to be down.
    fn note(&self, trunk: &Trunk, round: &[(Transport, SocketAddr, u16)]) -> bool {
        let key = key(trunk);
        let mut health = self.of(trunk).unwrap_or_default();
        let changed = health.note(timebase::wall_now(), round);
        match health.state {
            State::Unknown => {}
            State::Up => gauge(&key).set(1.0),
            State::Down => gauge(&key).set(0.0),
        }
        if changed {
            let (account, trunk) = (key.0.0.as_str(), key.1.as_str());
            match health.state {
                State::Unknown => {}
                State::Up => tracing::info!(account, trunk, "trunk is up"),
                State::Down => {
                    tracing::warn!(account, trunk, "trunk is down: OPTIONS is not answered");
                }
            }
        }
        let doubtful = health.is_doubtful();
        self.by_trunk.insert(key, health);
        doubtful
    }
}

fn key(trunk: &Trunk) -> Key {
    (trunk.policy.account.clone(), trunk.name.clone())
}

fn gauge(key: &Key) -> metrics::Gauge {
    metrics::gauge!("handback_trunk_up", "account" => key.0.0.clone(), "trunk" => key.1.clone())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn as_text<S: serde::Serializer>(transport: &Transport, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
    })
}

/// Watches the trunks of the rules in force, and those of the rules after them.
pub(super) async fn watch(shared: Arc<Shared>, mut rules: watch::Receiver<Arc<Rules>>) {
    loop {
        let now = Arc::clone(&rules.borrow_and_update());
        let mut watchers = JoinSet::new();
        let watched = now
            .directory
            .trunks()
            .filter(|trunk| trunk.outbound_proxy.is_some());
        let mut keys = Vec::new();
        for trunk in watched {
            if let Some(every) = trunk.options_interval {
                keys.push(key(trunk));
                watchers.spawn(watch_one(Arc::clone(&shared), Arc::clone(trunk), every));
            }
        }
        shared.trunk_health.keep(&keys);
        if rules.changed().await.is_err() {
            return;
        }
    }
}

async fn watch_one(shared: Arc<Shared>, trunk: Arc<Trunk>, every: Duration) {
    let Some(sip) = shared.sip.get().cloned() else {
        return;
    };
    let Some(proxy) = trunk.outbound_proxy.clone() else {
        return;
    };
    let Ok(proxy_itself) = Uri::from_bytes(proxy_uri(&proxy)) else {
        return;
    };
    let uri = proxy_itself.without_param("lr").as_bytes().clone();
    let dialler = shared.dialler(&sip);
    loop {
        let hops = dialler.proxy_hops(None, &proxy).await.unwrap_or_default();
        let round = ask(&sip, &uri, hops).await;
        for (transport, address, status) in &round {
            tell(&shared, (*transport, *address), *status);
        }
        let doubtful = shared.trunk_health.note(&trunk, &round);
        tokio::time::sleep(if doubtful { every.min(AGAIN) } else { every }).await;
    }
}

/// Calls are told too: one that did not answer is tried last and not waited for long.
fn tell(shared: &Shared, (transport, address): (Transport, SocketAddr), status: u16) {
    if is_miss(status) {
        let now = shared.clock.now();
        shared.resting.silent(now, transport, address);
    } else {
        shared.resting.answered(transport, address);
    }
}

/// Whether an answer is none, or says that no calls are taken.
const fn is_miss(status: u16) -> bool {
    matches!(status, 408 | 503)
}

/// Asks all of them at once; one that is slow does not hide the others for longer than it takes.
async fn ask(sip: &SipHandle, uri: &Bytes, hops: Vec<Hop>) -> Vec<(Transport, SocketAddr, u16)> {
    let asked = hops.into_iter().map(|hop| async move {
        let flow = hop.flow;
        let status = sip.ping(flow, uri.clone(), SILENCE).await.unwrap_or(503);
        (flow.transport, flow.remote, status)
    });
    futures_util::future::join_all(asked).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "192.0.2.1:5060";
    const TWO: &str = "192.0.2.2:5060";

    fn round(answers: &[(&str, u16)]) -> Vec<(Transport, SocketAddr, u16)> {
        let answer =
            |(address, status): &(&str, u16)| (Transport::Udp, address.parse().unwrap(), *status);
        answers.iter().map(answer).collect()
    }

    fn after(rounds: &[&[(&str, u16)]]) -> Health {
        let mut health = Health::default();
        for (at, answers) in rounds.iter().enumerate() {
            health.note(UnixMillis(i64::try_from(at).unwrap()), &round(answers));
        }
        health
    }

    #[test]
    fn address_is_down_after_two_misses_and_up_with_its_first_answer() {
        assert_eq!(after(&[&[(ONE, 408)]]).state, State::Unknown);
        assert_eq!(after(&[&[(ONE, 408)], &[(ONE, 503)]]).state, State::Down);
        let up_again = after(&[&[(ONE, 408)], &[(ONE, 408)], &[(ONE, 200)]]);
        assert_eq!(
            (up_again.state, up_again.since),
            (State::Up, Some(UnixMillis(2)))
        );
        let once = after(&[&[(ONE, 200)], &[(ONE, 408)], &[(ONE, 200)], &[(ONE, 408)]]);
        assert_eq!(once.state, State::Up, "misses count in a row");
    }

    #[test]
    fn address_that_missed_once_is_asked_again_soon_and_one_that_is_down_is_not() {
        assert!(after(&[&[(ONE, 408)]]).is_doubtful());
        assert!(after(&[&[(ONE, 200), (TWO, 408)]]).is_doubtful());
        assert!(!after(&[&[(ONE, 408)], &[(ONE, 408)]]).is_doubtful());
        assert!(!after(&[&[(ONE, 408)], &[(ONE, 200)]]).is_doubtful());
        assert!(after(&[&[]]).is_doubtful() && !after(&[&[], &[]]).is_doubtful());
    }

    #[test]
    fn every_answer_of_the_peers_own_shows_that_it_is_there() {
        for status in [200, 302, 401, 403, 404, 405, 481, 483, 500, 501, 603] {
            assert_eq!(after(&[&[(ONE, status)]]).state, State::Up, "{status}");
        }
    }

    #[test]
    fn trunk_is_up_while_one_of_its_addresses_is() {
        let half: &[(&str, u16)] = &[(ONE, 408), (TWO, 200)];
        assert_eq!(after(&[half, half, half]).state, State::Up);
        let none: &[(&str, u16)] = &[(ONE, 408), (TWO, 408)];
        assert_eq!(
            after(&[half, none]).state,
            State::Up,
            "the second one missed once"
        );
        assert_eq!(after(&[half, none, none]).state, State::Down);
    }

    #[test]
    fn name_without_addresses_is_down_the_second_time() {
        assert_eq!(after(&[&[(ONE, 200)], &[]]).state, State::Up);
        assert_eq!(after(&[&[(ONE, 200)], &[], &[]]).state, State::Down);
    }

    #[test]
    fn hops_that_are_down_come_last_and_stay_in_their_order() {
        let hop = |leg: u64, remote: &str| Hop {
            doubtful: false,
            leg: sip_core::LegId(leg),
            flow: sip_core::Flow::udp("127.0.0.1:5060".parse().unwrap(), remote.parse().unwrap()),
            route: None,
        };
        let down: &[(&str, u16)] = &[(ONE, 408), (TWO, 200)];
        let health = after(&[down, down]);
        let mut hops = [hop(1, ONE), hop(3, "192.0.2.3:5060"), hop(5, TWO)];
        hops.sort_by_key(|hop| health.is_down(hop));
        let order: Vec<u64> = hops.iter().map(|hop| hop.leg.0).collect();
        assert_eq!(order, [3, 5, 1]);
    }
}
