//! Watching for media that stop.

use std::time::Duration;

use media_core::Side;
use timebase::Now;

/// When each leg was last alive, and whom that has been told.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    limit: Option<Duration>,
    caller: Leg,
    target: Leg,
}

#[derive(Debug, Default)]
struct Leg {
    connected: bool,
    alive: Now,
    told: bool,
}

impl Watch {
    /// Starts the watch anew, or ends it.
    pub(crate) fn set(&mut self, now: Now, limit: Option<Duration>) {
        self.limit = limit;
        for leg in [&mut self.caller, &mut self.target] {
            leg.alive = leg.alive.max(now);
            leg.told = false;
        }
    }

    pub(crate) fn connected(&mut self, now: Now, side: Side) {
        let leg = self.leg(side);
        if !leg.connected {
            *leg = Leg {
                connected: true,
                alive: now,
                told: false,
            };
        }
    }

    pub(crate) fn disconnected(&mut self, side: Side) {
        self.leg(side).connected = false;
    }

    /// RTP or RTCP came.
    pub(crate) fn alive(&mut self, now: Now, side: Side) {
        let leg = self.leg(side);
        leg.alive = leg.alive.max(now);
        leg.told = false;
    }

    /// A leg that has been silent for too long and was not told yet.
    pub(crate) fn expired(&mut self, now: Now) -> Option<Side> {
        let limit = self.limit?;
        for side in [Side::Caller, Side::Target] {
            let leg = self.leg(side);
            if leg.connected && !leg.told && now.since(leg.alive) >= limit {
                leg.told = true;
                return Some(side);
            }
        }
        None
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Caller => &mut self.caller,
            Side::Target => &mut self.target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_secs(30));

    fn at(secs: u64) -> Now {
        Now::from_millis(secs * 1000)
    }

    #[test]
    fn silent_leg_is_told_once_and_again_only_after_it_came_back() {
        let mut watch = Watch::default();
        watch.connected(at(1), Side::Caller);
        watch.set(at(5), LIMIT);
        watch.alive(at(10), Side::Caller);
        assert_eq!(watch.expired(at(39)), None);
        assert_eq!(watch.expired(at(40)), Some(Side::Caller));
        assert_eq!(watch.expired(at(90)), None);
        watch.alive(at(100), Side::Caller);
        assert_eq!(watch.expired(at(129)), None);
        assert_eq!(watch.expired(at(130)), Some(Side::Caller));
    }

    #[test]
    fn legs_are_watched_only_while_connected_and_only_when_asked() {
        let mut watch = Watch::default();
        watch.connected(at(0), Side::Caller);
        assert_eq!(watch.expired(at(1000)), None);
        watch.set(at(1000), LIMIT);
        assert_eq!(
            watch.expired(at(1029)),
            None,
            "time before the command counted"
        );
        watch.connected(at(1020), Side::Target);
        watch.alive(at(1049), Side::Caller);
        assert_eq!(watch.expired(at(1050)), Some(Side::Target));
        watch.disconnected(Side::Caller);
        assert_eq!(watch.expired(at(2000)), None);
    }
}
