//! What becomes of our requests: responses, silence, and 2xx that nobody waits for.

use sip_message::{Message, Method};
use timebase::Now;

use super::Endpoint;
use crate::dialog::tag_of;
use crate::flow::Flow;
use crate::leg::response_tag;
use crate::ping;
use crate::stack::{Purpose, Reply};
use crate::transaction::TxId;

impl Endpoint {
    /// A response from the network.
    pub(super) fn any_response(&mut self, now: Now, flow: Flow, response: &Message) {
        if self.is_foreign(response) {
            tracing::debug!(%flow, "a response has the branch of a request and is not its answer");
            self.stack.counters.foreign += 1;
            return;
        }
        if flow.connection.is_some()
            && let Some(tx) = self.stack.table.awaiting(response)
        {
            self.stack.came_by(tx, flow);
        }
        let extra_via = response.vias().nth(1).is_some();
        if extra_via || self.stack.table.handle_response(now, response).is_none() {
            self.stack.counters.stray += 1;
        }
    }

    /// Whether a response matches a request of ours by its branch and method (RFC 3261 §17.1.3) and
    /// repeats not what every answer must (§8.2.6.2): a guess, or a peer's mistake.
    fn is_foreign(&self, response: &Message) -> bool {
        let awaiting = self.stack.table.awaiting(response);
        let Some(client) = awaiting.and_then(|tx| self.stack.client(tx)) else {
            return false;
        };
        let number = |message: &Message| message.cseq().ok().map(|cseq| cseq.number);
        let tag = |message: &Message| message.from().ok().map(|from| tag_of(&from));
        let request = &client.request;
        response.call_id().ok() != request.call_id().ok()
            || number(response) != number(request)
            || tag(response) != tag(request)
    }

    /// A response to a request of ours, past its transaction.
    pub(super) fn response(&mut self, now: Now, tx: TxId, response: Message) {
        let Some(client) = self.stack.client(tx) else {
            return;
        };
        let (leg, purpose) = (client.leg, client.purpose);
        let is_invite = client.request.method() == Method::Invite;
        match response.status().unwrap_or_default() {
            ..=199 => {
                if let (Some(leg), Purpose::Invite) = (leg, purpose) {
                    self.with_leg(now, leg, |leg, stack| {
                        leg.handle_provisional(now, stack, &response)
                    });
                }
            }
            200..=299 if is_invite => self.success(now, tx, response),
            _ => self.final_reply(now, tx, &Reply::of(response)),
        }
    }

    /// 2xx to an INVITE: the first one is the leg's, its repetitions are acknowledged again, and
    /// those of other forks are ended, RFC 3261 §13.2.2.4.
    fn success(&mut self, now: Now, tx: TxId, response: Message) {
        let tag = response_tag(&response);
        if self.stack.acknowledge_again(tx, &tag) {
            return;
        }
        let Some(client) = self.stack.client(tx) else {
            return;
        };
        let purpose = client.purpose;
        let leg = client.leg.and_then(|leg| self.legs.get(&leg));
        match leg {
            Some(leg) if leg.is_calling() || purpose == Purpose::Reinvite => {
                self.final_reply(now, tx, &Reply::of(response));
            }
            Some(leg) if leg.answers_to(&tag) => {}
            Some(_) | None => self.stack.abandon(now, tx, &response),
        }
    }

    /// Nothing came, or nothing could be sent: as 408 and 503, RFC 3261 §8.1.3.1.
    pub(super) fn unanswered(&mut self, now: Now, tx: TxId, status: u16) {
        self.final_reply(now, tx, &Reply::without_response(status));
    }

    /// A request that could not be sent. Where it was for a dialog whose connection has gone, it is
    /// sent once more to the next hop; where that has several addresses, to the next of them.
    pub(super) fn failed(&mut self, now: Now, tx: TxId) {
        let lost = self
            .stack
            .client(tx)
            .and_then(|client| Some((client.flow, client.leg?, client.purpose)));
        let again = lost.and_then(|(flow, leg, purpose)| {
            let leg = self.legs.get_mut(&leg)?;
            let next = match flow.connection {
                Some(connection) => {
                    leg.disconnect(connection);
                    leg.next_flow()?
                }
                None => leg.past(flow)?,
            };
            let again = self.stack.send_elsewhere(now, tx, next)?;
            leg.moved(purpose, again);
            Some(again)
        });
        if again.is_none() {
            self.unanswered(now, tx, 503);
        }
    }

    fn final_reply(&mut self, now: Now, tx: TxId, reply: &Reply) {
        let Some(client) = self.stack.client(tx) else {
            return;
        };
        let (leg, purpose) = (client.leg, client.purpose);
        if let Some(leg) = leg {
            self.with_leg(now, leg, |leg, stack| {
                leg.handle_reply(now, stack, tx, purpose, reply)
            });
        } else if let Purpose::Ping(id) = purpose {
            ping::answered(&mut self.stack, id, reply.status);
        }
    }
}
