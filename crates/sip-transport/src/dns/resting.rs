//! Servers that are not to be tried for a while: those that said Retry-After (RFC 3261 §21.5.4), and, at the end of the
//! list only, those that did not answer.

use super::Server;
use sip_core::Transport;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use timebase::Now;

/// The longest that a server's Retry-After is minded.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a server that did not answer stands last.
const SILENCE: Duration = Duration::from_secs(30);
/// Servers that are remembered; beyond, those whose time ends first are forgotten.
const MOST: usize = 4096;

/// A memory of servers, shared by all calls.
#[derive(Debug, Default)]
pub struct Resting(Mutex<HashMap<(Transport, SocketAddr), Rest>>);

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Now,
    asked_for: bool,
}

impl Resting {
    /// The server answered 503 with this Retry-After: it is skipped for so long, ten minutes at most.
    pub fn asked(&self, now: Now, transport: Transport, address: SocketAddr, pause: Duration) {
        let until = now + pause.min(LONGEST);
        let asked_for = true;
        self.remember(now, (transport, address), Rest { until, asked_for });
    }

    /// The server did not answer or could not be reached: it is tried last for half a minute.
    pub fn silent(&self, now: Now, transport: Transport, address: SocketAddr) {
        let until = now + SILENCE;
        let asked_for = false;
        self.remember(now, (transport, address), Rest { until, asked_for });
    }

    /// The server answered: it is as good as any.
    pub fn answered(&self, transport: Transport, address: SocketAddr) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&(transport, address));
    }

    /// Whether the server did not answer a short while ago.
    #[must_use]
    pub fn is_silent(&self, now: Now, transport: Transport, address: SocketAddr) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = known.get(&(transport, address));
        rest.is_some_and(|rest| !rest.asked_for && rest.until > now)
    }

    /// The servers that may be tried now, silent ones last.
    #[must_use]
    pub fn sort(&self, now: Now, servers: Vec<Server>) -> Vec<Server> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = |server: &Server| {
            known
                .get(&(server.transport, server.address))
                .filter(|rest| rest.until > now)
        };
        let mut usable: Vec<Server> = servers
            .into_iter()
            .filter(|server| rest(server).is_none_or(|rest| !rest.asked_for))
            .collect();
        usable.sort_by_key(|server| rest(server).is_some());
        usable
    }

    fn remember(&self, now: Now, server: (Transport, SocketAddr), rest: Rest) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, rest| rest.until > now);
        }
        if known.len() >= MOST
            && let Some(first) = known
                .iter()
                .min_by_key(|(_, rest)| rest.until)
                .map(|(server, _)| *server)
        {
            known.remove(&first);
        }
        known.insert(server, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(last: u8) -> Server {
        Server {
            transport: Transport::Udp,
            address: SocketAddr::from(([192, 0, 2, last], 5060)),
        }
    }

    #[test]
    fn server_that_said_retry_after_is_skipped_for_so_long_and_ten_minutes_at_most() {
        let resting = Resting::default();
        let all = || vec![server(1), server(2)];
        let at = Now::from_millis;
        resting.asked(
            at(0),
            Transport::Udp,
            server(1).address,
            Duration::from_secs(20),
        );
        assert_eq!(resting.sort(at(19_999), all()), [server(2)]);
        assert_eq!(resting.sort(at(20_000), all()), all());
        resting.asked(
            at(0),
            Transport::Udp,
            server(2).address,
            Duration::from_secs(86_400),
        );
        assert_eq!(resting.sort(at(599_999), all()), [server(1)]);
        assert_eq!(resting.sort(at(600_000), all()), all());
    }

    #[test]
    fn silent_server_is_tried_last_until_it_answers() {
        let resting = Resting::default();
        let all = || vec![server(1), server(2)];
        let at = Now::from_millis;
        resting.silent(at(0), Transport::Udp, server(1).address);
        assert_eq!(resting.sort(at(1), all()), [server(2), server(1)]);
        assert!(resting.is_silent(at(29_999), Transport::Udp, server(1).address));
        assert!(!resting.is_silent(at(30_000), Transport::Udp, server(1).address));
        resting.answered(Transport::Udp, server(1).address);
        assert_eq!(resting.sort(at(1), all()), all());
    }

    #[test]
    fn memory_of_servers_is_bounded() {
        let resting = Resting::default();
        let more = u16::try_from(MOST + 100).unwrap();
        for port in 0..more {
            let address = SocketAddr::from(([192, 0, 2, 1], port));
            resting.silent(Now::ZERO, Transport::Udp, address);
        }
        assert_eq!(resting.0.lock().unwrap().len(), MOST);
    }
}
