//! Offers and answers of a call's legs after the first, and what media is expected meanwhile.

use bytes::Bytes;
use media_core::Side;
use sip_core::{Command, LegId, Response};
use timebase::Now;

use super::{Call, State, reasons};
use crate::io::MediaRequest;
use crate::media_leg::MediaLeg;
use crate::outcome::Outcome;

impl Call {
    /// A re-INVITE or UPDATE is answered from the offer at hand, never from an earlier answer.
    pub(super) fn reoffered(&mut self, now: Now, side: Side, offer: Option<Bytes>) {
        if self.is_bridged() {
            return self.offer_crosses(now, side, offer);
        }
        let Some((leg, media)) = self.leg_media(side) else {
            return;
        };
        let answered = match offer {
            Some(offer) => media.answer(&offer),
            None => Ok(media.offer(sdp::Direction::SendRecv)),
        };
        match answered {
            Ok(sdp) => {
                self.command(leg, Command::Answer { sdp });
                self.connect_media(now, side);
            }
            Err(why) => self.command(
                leg,
                Command::RefuseOffer {
                    status: why.status(),
                },
            ),
        }
    }

    /// The answer to an offer of ours that did not go in the first 200. A call whose session would
    /// be in doubt ends (RFC 3261 §13.2.2.4): BYE with Reason 488, before the answer a refusal.
    pub(super) fn offer_answered(&mut self, now: Now, side: Side, answer: Option<Bytes>) {
        if self.is_bridged() {
            return self.crossing_answered(now, side, answer);
        }
        let Some((_, media)) = self.leg_media(side) else {
            return;
        };
        let usable = answer.is_some_and(|answer| media.accept(&answer).is_ok());
        match (&self.state, side, usable) {
            (State::Answering { .. }, Side::Caller, true) => self.answer_when_ready(now),
            (State::Answering { .. }, Side::Caller, false) => {
                self.undo(now, Response::new(488), Outcome::Refused(488));
            }
            (State::Restoring(_), Side::Caller, usable) => {
                if usable {
                    self.connect_media(now, side);
                }
                self.restored(now, usable);
            }
            (_, _, true) => self.connect_media(now, side),
            (_, Side::Caller, false) => {
                self.finish(now, Outcome::BadAnswer, reasons::bad_answer());
            }
            (_, Side::Target, false) => {}
        }
    }

    pub(super) const fn is_bridged(&self) -> bool {
        match &self.state {
            State::HandingBack(hand_back) => hand_back.is_bridged(),
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::Ending { .. }
            | State::Ended => false,
        }
    }

    pub(super) fn leg_media(&mut self, side: Side) -> Option<(LegId, &mut MediaLeg)> {
        match side {
            Side::Caller => Some((self.caller.id, self.caller.media.as_mut()?)),
            Side::Target => self
                .target
                .as_mut()
                .map(|target| (target.id, &mut target.media)),
        }
    }

    /// Tells the media plane what a leg agreed on, and whether silence means anything now.
    pub(super) fn connect_media(&mut self, _now: Now, side: Side) {
        if side == Side::Caller && self.is_parting() {
            return;
        }
        let Some((_, media)) = self.leg_media(side) else {
            return;
        };
        if let Some(media) = media.media() {
            self.media(MediaRequest::Connect { side, media });
        }
        self.watch_media();
    }

    /// Whether the caller's session is over though its leg is not: an offer that crossed the BYE
    /// changes nothing any more.
    const fn is_parting(&self) -> bool {
        let bye = match &self.state {
            State::HandingBack(hand_back) => hand_back.is_bye(),
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::Ending { .. }
            | State::Ended => false,
        };
        bye || self.caller.hung_up
    }

    /// Media is not expected while a leg is on hold, while a target rings, or while a REFER is pending.
    pub(super) fn watch_media(&mut self) {
        if !self.caller.confirmed || self.policy.media_timeout.is_zero() {
            return;
        }
        let holds = |media: Option<&MediaLeg>| media.is_some_and(MediaLeg::on_hold);
        let held = holds(self.caller.media.as_ref())
            || holds(self.target.as_ref().map(|target| &target.media));
        let waiting =
            matches!(&self.state, State::HandingBack(hand_back) if !hand_back.is_bridged());
        let limit = (!held && !waiting).then_some(self.policy.media_timeout);
        self.media(MediaRequest::Watch(limit));
    }
}
