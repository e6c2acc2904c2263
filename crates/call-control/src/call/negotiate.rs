//! Offers and answers of a call's legs after the first, and what media is expected meanwhile.

use bytes::Bytes;
use media_core::Side;
use sip_core::{Command, LegId};
use timebase::Now;

use super::{Call, State};
use crate::io::MediaRequest;
use crate::media_leg::MediaLeg;

impl Call {
    /// A re-INVITE or UPDATE is answered from the offer at hand, never from an earlier answer.
    pub(super) fn reoffered(&mut self, now: Now, side: Side, offer: Option<Bytes>) {
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

    /// The answer to an offer of ours in a 200; an unusable one leaves the media as it was.
    pub(super) fn offer_answered(&mut self, side: Side, answer: Option<Bytes>) {
        let Some((_, media)) = self.leg_media(side) else {
            return;
        };
        if answer.is_some_and(|answer| media.accept(&answer).is_ok()) {
            self.connect_media(self.diary.arrived, side);
        }
    }

    fn leg_media(&mut self, side: Side) -> Option<(LegId, &mut MediaLeg)> {
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
        let Some((_, media)) = self.leg_media(side) else {
            return;
        };
        if let Some(media) = media.media() {
            self.media(MediaRequest::Connect { side, media });
        }
        self.watch_media();
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
