//! Two endpoints on a bad network, told to do anything at any time.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// Two endpoints and what flies between them.
struct World {
    ends: [Bench; 2],
    flying: BTreeMap<(Now, u64), (usize, Bytes)>,
    number: u64,
    now: Now,
}

#[derive(Clone, Copy, Debug)]
struct Weather {
    loss: u8,
    duplicates: u8,
}

impl World {
    fn new() -> Self {
        let open = EndpointConfig {
            trunks: vec![trunk(&["192.0.2.0/24"])],
            ..EndpointConfig::default()
        };
        let one = Bench::at("192.0.2.1:5060", "192.0.2.2:5060", open.clone(), 1);
        let two = Bench::at("192.0.2.2:5060", "192.0.2.1:5060", open, 2);
        Self {
            ends: [one, two],
            flying: BTreeMap::new(),
            number: 0,
            now: Now::ZERO,
        }
    }

    fn collect(&mut self, weather: Weather, dice: &mut impl FnMut() -> u8) {
        for from in 0..2 {
            for (_, message) in std::mem::take(&mut self.ends[from].sent) {
                let copies = if dice() < weather.loss {
                    0
                } else {
                    1 + usize::from(dice() < weather.duplicates)
                };
                for _ in 0..copies {
                    self.number += 1;
                    let at = self.now + Duration::from_millis(5 + u64::from(dice() % 40));
                    self.flying
                        .insert((at, self.number), (1 - from, message.bytes().clone()));
                }
            }
        }
    }

    /// Lets everything due until `until` happen, in order.
    fn run(&mut self, until: Now, weather: Weather, dice: &mut impl FnMut() -> u8) {
        loop {
            self.collect(weather, dice);
            let timers = self
                .ends
                .iter()
                .filter_map(|end| end.endpoint.poll_timeout());
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let Some(next) = timers.chain(arrival).min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(next);
            for end in &mut self.ends {
                end.now = self.now;
                end.endpoint.handle_timeout(self.now);
                end.drain();
            }
            while let Some(entry) = self
                .flying
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now)
            {
                let (to, bytes) = entry.remove();
                let message = Message::parse(bytes, &Limits::default());
                let flow = self.ends[to].flow;
                self.ends[to].input(Input::Received { flow, message });
            }
        }
        self.now = until;
        self.ends.iter_mut().for_each(|end| end.now = until);
    }
}

fn act(world: &mut World, side: usize, what: u8, placed: &mut u64) {
    let end = &mut world.ends[side];
    if what == 0 {
        *placed += 2;
        let place = Place {
            leg: LegId(*placed + 1),
            flow: end.flow,
            headers: Vec::new(),
            ..place(None, Some(SDP))
        };
        let place = Place {
            uri: Bytes::from("sip:agent@192.0.2.2:5060"),
            ..place
        };
        return end.input(Input::Place(Box::new(place)));
    }
    let mut legs: Vec<LegId> = end
        .invited
        .iter()
        .map(|invitation| invitation.leg)
        .collect();
    legs.extend(end.events.iter().map(|(leg, _)| *leg));
    let Some(leg) = legs.last().copied() else {
        return;
    };
    let sdp = Bytes::from(SDP);
    let command = match what {
        1 => Command::Ring {
            status: 180,
            sdp: None,
        },
        2..=4 => accept(),
        5 => Command::Refuse(refusal(486)),
        6 => hang_up(),
        7 => Command::Reoffer { sdp },
        8 => Command::Answer { sdp },
        9 => Command::RefuseOffer { status: 488 },
        10 => Command::Refer {
            target: Bytes::from("sip:x@example.com"),
            headers: Vec::new(),
        },
        11 => Command::AnswerRefer { status: 202 },
        12 => Command::Notify {
            fragment: "SIP/2.0 200 OK".to_owned(),
            terminated: true,
        },
        13 => Command::WithdrawOffer,
        _ => Command::Press {
            key: '#',
            duration_ms: 100,
        },
    };
    end.command(leg, command);
}

/// Legs that neither ended twice nor spoke after their end.
fn check(bench: &Bench) -> HashMap<LegId, bool> {
    let mut legs: HashMap<LegId, bool> = HashMap::new();
    for (leg, event) in &bench.events {
        let over = legs.entry(*leg).or_default();
        assert!(!*over, "{leg:?} speaks after its end: {event:?}");
        *over = matches!(event, LegEvent::Ended { .. });
    }
    legs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_leg_ends_exactly_once_and_nothing_is_left(
        steps in proptest::collection::vec((0usize..2, 0u8..15, 0u64..4000), 1..40),
        luck in proptest::collection::vec(any::<u8>(), 64),
        loss in 0u8..90,
        duplicates in 0u8..60,
    ) {
        let mut world = World::new();
        let mut rolls = luck.iter().copied().cycle();
        let mut salt = 0u8;
        let mut dice = move || {
            salt = salt.wrapping_mul(5).wrapping_add(3);
            rolls.next().unwrap_or_default().wrapping_add(salt)
        };
        let weather = Weather { loss, duplicates };
        let mut placed = 0;
        for (side, what, wait) in steps {
            act(&mut world, side, what, &mut placed);
            let until = world.now + Duration::from_millis(wait);
            world.run(until, weather, &mut dice);
        }
        let calm = Weather { loss: 0, duplicates: 0 };
        let until = world.now + Duration::from_secs(100);
        world.run(until, calm, &mut dice);
        for side in 0..2 {
            let mut open: Vec<LegId> = world.ends[side].invited.iter().map(|invitation| invitation.leg).collect();
            open.extend(world.ends[side].events.iter().map(|(leg, _)| *leg));
            open.extend((0..=placed / 2).map(|n| LegId(n * 2 + 1)));
            for leg in open {
                world.ends[side].command(leg, hang_up());
            }
        }
        let until = world.now + Duration::from_secs(400);
        world.run(until, calm, &mut dice);
        for end in &world.ends {
            let legs = check(end);
            prop_assert!(legs.values().all(|over| *over), "{legs:?}");
            prop_assert!(end.invited.iter().all(|invitation| legs.contains_key(&invitation.leg)));
            prop_assert_eq!(end.endpoint.census(), crate::Census::default());
        }
    }
}
