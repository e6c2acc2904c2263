//! How long a connection may keep us waiting.

use crate::options::TransportOptions;
use std::time::Duration;
use tokio::time::Instant;

/// What is missed when its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The rest of a message, or a first one.
    Message,
    /// Anything at all: the driver knows whether somebody still needs the connection.
    Idle,
    /// A keep-alive of ours.
    Ping,
}

/// The times of one connection. Single bytes buy nothing: a message has its time from its first
/// byte to its last, and the first one from the beginning of the connection.
#[derive(Debug)]
pub(crate) struct Pace {
    first: Option<Instant>,
    rest: Option<Instant>,
    idle: Instant,
    ping: Option<Instant>,
    message_timeout: Duration,
    idle_timeout: Duration,
    keep_alive: Duration,
}

impl Pace {
    pub(crate) fn new(now: Instant, accepted: bool, options: &TransportOptions) -> Self {
        let keep_alive = options.keep_alive;
        Self {
            first: accepted.then(|| now + options.first_message_timeout),
            rest: None,
            idle: now + options.idle_timeout,
            ping: (!accepted && !keep_alive.is_zero()).then(|| now + keep_alive),
            message_timeout: options.message_timeout,
            idle_timeout: options.idle_timeout,
            keep_alive,
        }
    }

    /// What is due next, and when.
    pub(crate) fn next(&self) -> (Due, Instant) {
        let message = [self.first, self.rest].into_iter().flatten().min();
        let due = [(Due::Message, message), (Due::Ping, self.ping)];
        let due = due.into_iter().filter_map(|(due, at)| Some((due, at?)));
        due.chain([(Due::Idle, self.idle)])
            .min_by_key(|(_, at)| *at)
            .unwrap_or((Due::Idle, self.idle))
    }

    /// Bytes came: whether whole messages or keep-alives were among them, and whether a part is left.
    pub(crate) fn read(&mut self, now: Instant, (message, ping): (bool, bool), part: bool) {
        if message {
            self.first = None;
        }
        if message || ping {
            self.idle = now + self.idle_timeout;
            self.rest = None;
            self.ping = self.ping.map(|_| now + self.keep_alive);
        }
        if part {
            self.rest.get_or_insert(now + self.message_timeout);
        } else {
            self.rest = None;
        }
    }

    /// What was due has been seen to; it is due again after its time.
    pub(crate) fn noticed(&mut self, now: Instant, due: Due) {
        match due {
            Due::Message => {}
            Due::Idle => self.idle = now + self.idle_timeout,
            Due::Ping => self.ping = Some(now + self.keep_alive),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn options() -> TransportOptions {
        TransportOptions {
            keep_alive: seconds(100),
            ..TransportOptions::default()
        }
    }

    #[test]
    fn byte_now_and_then_does_not_put_off_the_end_of_a_connection_without_a_message() {
        let start = Instant::now();
        let mut pace = Pace::new(start, true, &options());
        for at in [10, 20, 29] {
            pace.read(start + seconds(at), (false, false), true);
        }
        assert_eq!(pace.next(), (Due::Message, start + seconds(30)));
        pace.read(start + seconds(29), (false, true), false);
        assert_eq!(pace.next(), (Due::Message, start + seconds(30)));
    }

    #[test]
    fn started_message_has_its_time_from_its_first_byte() {
        let start = Instant::now();
        let mut pace = Pace::new(start, true, &options());
        pace.read(start + seconds(1), (true, false), false);
        assert_eq!(pace.next(), (Due::Idle, start + seconds(601)));
        pace.read(start + seconds(50), (false, false), true);
        pace.read(start + seconds(70), (false, false), true);
        assert_eq!(pace.next(), (Due::Message, start + seconds(80)));
        pace.read(start + seconds(79), (true, false), true);
        assert_eq!(pace.next(), (Due::Message, start + seconds(109)));
    }

    #[test]
    fn only_a_connection_of_ours_is_kept_alive_and_only_while_nothing_else_passes() {
        let start = Instant::now();
        let mut ours = Pace::new(start, false, &options());
        assert_eq!(ours.next(), (Due::Ping, start + seconds(100)));
        ours.noticed(start + seconds(100), Due::Ping);
        assert_eq!(ours.next(), (Due::Ping, start + seconds(200)));
        ours.read(start + seconds(150), (true, false), false);
        assert_eq!(ours.next(), (Due::Ping, start + seconds(250)));
        let mut theirs = Pace::new(start, true, &options());
        theirs.read(start, (true, false), false);
        assert_eq!(theirs.next(), (Due::Idle, start + seconds(600)));
    }
}
