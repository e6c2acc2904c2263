//! Offers and answers between bridged legs: what one side asks of its session, the other side is
//! asked too, and its answer is the answer (RFC 3264, RFC 3261 §14).
//!
//! A refresh (RFC 4028 §7.4) never crosses. A new address, port, payload type or packet time of one
//! side is no matter of the other's, as all media pass through here: it is answered at once, and a
//! target hears of it by a re-INVITE with what stands. Direction and codec are asked for, and the
//! asker waits. Two sides that ask at once are each other's answer. Whatever came of it, a side is
//! told in the end what the other one does.

use std::time::Duration;

use bytes::Bytes;
use media_core::Side;
use sdp::{Codec, Direction};
use sip_core::Command;
use timebase::Now;

use super::{Call, State, reasons};
use crate::media_leg::{Asked, Change, MediaLeg};

/// The longest that an asker waits for the other side: less than timer F of an UPDATE (32 s), and
/// enough for three offers that meet others (RFC 3261 §14.1).
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// Offers of ours that one offer of a peer's may lead to, besides the one that it is.
const MOST_LED_TO: u8 = 4;

/// The offers between two bridged legs.
#[derive(Debug, Default)]
pub(super) struct Bridge {
    asking: Option<Asking>,
    caller: Offers,
    target: Offers,
    led_to: u8,
}

/// A side whose offer waits for the other side's answer.
#[derive(Debug)]
struct Asking {
    side: Side,
    offer: Bytes,
    asked: Asked,
    until: Now,
}

/// Our offers to one side.
#[derive(Clone, Copy, Debug, Default)]
struct Offers {
    /// Re-INVITEs of which no answer was told yet.
    out: u8,
    /// Our offer went in the answer to a request without one.
    given: bool,
}

impl Bridge {
    pub(super) fn deadline(&self) -> Option<Now> {
        self.asking.as_ref().map(|asking| asking.until)
    }

    const fn offers(&mut self, side: Side) -> &mut Offers {
        match side {
            Side::Caller => &mut self.caller,
            Side::Target => &mut self.target,
        }
    }

    /// The other side's offer that waits for this one.
    fn asked_by(&self, side: Side) -> Option<Asked> {
        let asking = self.asking.as_ref().filter(|asking| asking.side == side);
        asking.map(|asking| asking.asked)
    }
}

impl Call {
    /// A re-INVITE or UPDATE of a bridged side.
    pub(super) fn offer_crosses(&mut self, now: Now, side: Side, offer: Option<Bytes>) {
        let Some(bridge) = self.bridge() else { return };
        bridge.led_to = 0;
        let other_asks = bridge.asked_by(side.other());
        let Some(offer) = offer else {
            return self.give_offer(side, other_asks);
        };
        let asked = self.media_of(side).map(|media| media.examine(&offer));
        let asked = match asked {
            Some(Ok(asked)) => asked,
            Some(Err(why)) => return self.refuse_offer(side, why.status()),
            None => return,
        };
        match (other_asks, asked.change) {
            (Some(theirs), _) => self.both_ask(now, side, &offer, theirs),
            (None, Change::Nothing) => self.answer_alone(now, side, &offer),
            (None, Change::Path) => {
                self.answer_alone(now, side, &offer);
                if side == Side::Caller {
                    self.tell(Side::Target, asked.direction);
                }
            }
            (None, Change::Session) => {
                self.withdraw(side);
                if let Some(bridge) = self.bridge() {
                    bridge.asking = Some(Asking {
                        side,
                        offer,
                        asked,
                        until: now + ANSWERED_WITHIN,
                    });
                }
                self.offer_to(side.other(), asked.direction, Some(asked.codec));
            }
        }
    }

    /// A request without an offer asks for what we want (RFC 3261 §14.2): what the other side wants.
    fn give_offer(&mut self, side: Side, other_asks: Option<Asked>) {
        self.withdraw(side);
        let other = self.media_of(side.other());
        let (direction, codec) = match other_asks {
            Some(asked) => (asked.direction, Some(asked.codec)),
            None => (
                other.map_or(Direction::SendRecv, MediaLeg::wish),
                other.and_then(MediaLeg::codec),
            ),
        };
        if let Some((leg, media)) = self.leg_media(side) {
            let sdp = media.offer_first(direction, codec);
            self.command(leg, Command::Answer { sdp });
            if let Some(bridge) = self.bridge() {
                bridge.offers(side).given = true;
            }
        }
    }

    /// Answers an offer that the other side need not be asked about.
    fn answer_alone(&mut self, now: Now, side: Side, offer: &Bytes) {
        let other = self.media_of(side.other());
        let most = other.map_or(Direction::SendRecv, MediaLeg::wish);
        let codec = self.media_of(side).and_then(MediaLeg::codec);
        self.answer_offer(now, side, offer, (most, codec));
    }

    /// Each side's offer answers the other's.
    fn both_ask(&mut self, now: Now, side: Side, offer: &Bytes, theirs: Asked) {
        self.withdraw(side);
        self.answer_offer(now, side, offer, (theirs.direction, Some(theirs.codec)));
        self.conclude(now, side);
    }

    /// The side that asked is answered with what the other one does now.
    fn conclude(&mut self, now: Now, answered: Side) {
        let Some(asking) = self.bridge().and_then(|bridge| bridge.asking.take()) else {
            return;
        };
        let Some(media) = self.media_of(answered) else {
            return;
        };
        let does = (media.does(), media.codec());
        self.answer_offer(now, asking.side, &asking.offer, does);
    }

    fn answer_offer(
        &mut self,
        now: Now,
        side: Side,
        offer: &Bytes,
        (most, codec): (Direction, Option<Codec>),
    ) {
        let Some((leg, media)) = self.leg_media(side) else {
            return;
        };
        match media.answer_within(offer, most, codec) {
            Ok(sdp) => {
                self.command(leg, Command::Answer { sdp });
                self.connect_media(now, side);
            }
            Err(why) => self.refuse_offer(side, why.status()),
        }
    }

    fn refuse_offer(&mut self, side: Side, status: u16) {
        if let Some((leg, _)) = self.leg_media(side) {
            self.command(leg, Command::RefuseOffer { status });
        }
    }

    fn offer_to(&mut self, side: Side, direction: Direction, codec: Option<Codec>) {
        let Some((leg, media)) = self.leg_media(side) else {
            return;
        };
        let sdp = media.offer_first(direction, codec);
        self.command(leg, Command::Reoffer { sdp });
        if let Some(bridge) = self.bridge() {
            let offers = bridge.offers(side);
            offers.out = offers.out.saturating_add(1);
        }
    }

    /// An offer that nobody waits for.
    fn tell(&mut self, side: Side, direction: Direction) {
        let Some(bridge) = self.bridge() else { return };
        let Offers { out, given } = *bridge.offers(side);
        if out > 0 || given || bridge.asking.is_some() || bridge.led_to == MOST_LED_TO {
            return;
        }
        bridge.led_to += 1;
        let codec = self.media_of(side).and_then(MediaLeg::codec);
        self.offer_to(side, direction, codec);
    }

    /// Tells a side what the other one does, where it has been told otherwise.
    pub(super) fn settle(&mut self, side: Side) {
        let wish = self.media_of(side.other()).map(MediaLeg::wish);
        let told = self.media_of(side).zip(wish);
        if let Some((media, wish)) = told
            && media.would_notice(wish)
        {
            self.tell(side, wish);
        }
    }

    /// Our offer to this side is overtaken by its own.
    fn withdraw(&mut self, side: Side) {
        let out = self.bridge().map_or(0, |bridge| bridge.offers(side).out);
        if out > 0
            && let Some((leg, _)) = self.leg_media(side)
        {
            self.command(leg, Command::WithdrawOffer);
        }
    }

    /// A bridged side answered our offer.
    pub(super) fn crossing_answered(&mut self, now: Now, side: Side, answer: Option<Bytes>) {
        let Some((_, media)) = self.leg_media(side) else {
            return;
        };
        if answer.is_none_or(|answer| media.accept(&answer).is_err()) {
            return self.end_bridge(now, reasons::bad_answer());
        }
        self.connect_media(now, side);
        let Some(bridge) = self.bridge() else { return };
        let offers = bridge.offers(side);
        if !std::mem::take(&mut offers.given) {
            offers.out = offers.out.saturating_sub(1);
        }
        let all = offers.out == 0;
        if bridge.asked_by(side.other()).is_some() {
            if all {
                self.conclude(now, side);
            }
            return;
        }
        self.settle(side);
        self.settle(side.other());
    }

    /// A bridged side refused our offer: so is the offer that it came from. Its session stands as it was.
    pub(super) fn crossing_refused(&mut self, side: Side, status: u16) {
        let Some(bridge) = self.bridge() else { return };
        let offers = bridge.offers(side);
        offers.out = offers.out.saturating_sub(1);
        let settled = offers.out == 0 && !offers.given;
        if settled && bridge.asked_by(side.other()).is_some() {
            bridge.asking = None;
            self.refuse_offer(side.other(), refusal(status));
        }
    }

    /// The peer took its re-INVITE back.
    pub(super) fn asker_cancelled(&mut self, side: Side) {
        if let Some(bridge) = self.bridge()
            && bridge.asked_by(side).is_some()
        {
            bridge.asking = None;
            self.withdraw(side.other());
        }
    }

    /// The other side takes too long.
    pub(super) fn crossing_timed_out(&mut self, now: Now) {
        let Some(asking) = self
            .bridge()
            .and_then(|bridge| bridge.asking.take_if(|asking| asking.until <= now))
        else {
            return;
        };
        self.diary.note(now, "offer not answered by the other side");
        self.refuse_offer(asking.side, 504);
        self.withdraw(asking.side.other());
    }

    fn media_of(&self, side: Side) -> Option<&MediaLeg> {
        match side {
            Side::Caller => self.caller.media.as_ref(),
            Side::Target => self.target.as_ref().map(|target| &target.media),
        }
    }

    const fn bridge(&mut self) -> Option<&mut Bridge> {
        match &mut self.state {
            State::HandingBack(hand_back) => hand_back.bridge(),
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::Ending { .. }
            | State::Ended => None,
        }
    }
}

/// What the asker is told of the other side's refusal. A status that would end its dialog
/// (RFC 3261 §12.2.1.2) or speak of another hop's credentials is never passed on.
const fn refusal(status: u16) -> u16 {
    match status {
        491 | 603 => status,
        400..=499 | 606 => 488,
        _ => 500,
    }
}
