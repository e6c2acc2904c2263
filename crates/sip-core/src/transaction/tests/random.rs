use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const METHODS: [&str; 4] = ["INVITE", "BYE", "CANCEL", "ACK"];
const STATUSES: [u16; 9] = [99, 100, 180, 200, 202, 302, 408, 486, 699];

/// One arbitrary act: how long after the last one, what, and on which of a few transactions.
type Act = (u16, u8, u8, u8, u8);

struct World {
    table: Table<()>,
    now: Now,
    ended: HashMap<TxId, bool>,
}

impl World {
    fn act(&mut self, (pause, what, branch, method, status): Act) {
        self.now += Duration::from_millis(u64::from(pause) % 9_000);
        let branch = format!("z9hG4bK{}", branch % 3);
        let method = METHODS[usize::from(method) % METHODS.len()];
        let status = STATUSES[usize::from(status) % STATUSES.len()];
        let request = request(method, &branch);
        let reliable = status.is_multiple_of(2);
        match what % 8 {
            0 => drop(self.table.send(self.now, &request, reliable, ())),
            1 => drop(self.table.serve(self.now, &request, reliable, ())),
            2 => drop(self.table.handle_request(self.now, &request)),
            3 if status >= 100 => {
                self.table
                    .handle_response(self.now, &response(status, method, &branch));
            }
            4 => self.table.handle_timeout(self.now),
            rest => self.touch(rest, status),
        }
        self.drain();
    }

    fn touch(&mut self, what: u8, status: u16) {
        for id in self.table.find(|()| true) {
            match what {
                5 => drop(self.table.respond(self.now, id, status, Bytes::new())),
                6 => self.table.cancelled(self.now, id),
                _ => self.table.handle_failure(id),
            }
        }
    }

    fn drain(&mut self) {
        while let Some(step) = self.table.poll_output() {
            let ended = self.ended.entry(step.id).or_default();
            assert!(!*ended, "something after the end");
            *ended = step.output == Output::Ended;
        }
    }

    /// The transaction users do their part: answer what is open, cancel what rings.
    fn finish(&mut self) {
        for id in self.table.find(|()| true) {
            let _ = self.table.respond(self.now, id, 486, Bytes::new());
            self.table.cancelled(self.now, id);
        }
        self.drain();
        let end = self.now + Duration::from_secs(65);
        while let Some(due) = self.table.poll_timeout() {
            assert!(due <= end, "a timer beyond 64·T1");
            self.now = self.now.max(due);
            self.table.handle_timeout(self.now);
            self.drain();
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_inputs_ends_every_transaction_exactly_once(acts in prop::collection::vec(any::<Act>(), 0..60)) {
        let mut world = World { table: table(20), now: Now::ZERO, ended: HashMap::new() };
        acts.into_iter().for_each(|act| world.act(act));
        world.finish();
        prop_assert_eq!(world.table.census(), TableCensus::default());
        prop_assert!(world.ended.values().all(|ended| *ended));
        prop_assert!(world.table.poll_timeout().is_none());
    }
}
