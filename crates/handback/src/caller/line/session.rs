//! The media of a line: offers, answers, and what the call does once it stands.

use bytes::Bytes;
use media_bridge::MediaCommand;
use media_core::{LegMedia, Side};
use sdp::{Agreement, Description, Direction};
use sip_core::Command;

use super::super::report::What;
use super::super::voice::Voice;
use super::Line;

impl Line {
    pub(super) fn answered(&mut self, answer: Option<&Bytes>) {
        let agreement = match answer {
            Some(answer) => self.agreement(answer),
            None => Err("the answer has no session description".to_owned()),
        };
        match agreement {
            Ok(agreement) => self.talk(agreement),
            Err(problem) => {
                self.problem(problem);
                self.hang_up();
            }
        }
    }

    /// The call stands: connect, say the piece, set the clocks.
    pub(super) fn talk(&mut self, agreement: Agreement) {
        let now = self.phone.clock.now();
        self.report.answered = Some(now);
        self.tell(What::Answered);
        self.connect(agreement);
        let voice = Voice::new(&self.script, self.heard.clone());
        if self.media.attach(Box::new(voice)).is_err() {
            self.problem("the media loop is busy");
        }
        self.hold_at = self.script.hold_after.map(|after| now + after);
        self.hang_up_at = self.script.hangup_after.map(|after| now + after);
    }

    pub(super) fn reoffered(&mut self, offer: Option<&Bytes>) {
        self.local.version += 1;
        let Some(offer) = offer else {
            self.direction = Direction::SendRecv;
            let sdp = sdp::offer(&self.local, self.direction);
            self.command(Command::Answer { sdp });
            return;
        };
        match self.answer_to(Some(offer)) {
            Ok((sdp, agreement)) => {
                self.command(Command::Answer { sdp });
                self.connect(agreement);
            }
            Err(problem) => {
                self.problem(problem);
                self.command(Command::RefuseOffer { status: 488 });
            }
        }
    }

    pub(super) fn offer_answered(&mut self, answer: &Bytes) {
        match self.agreement(answer) {
            Ok(agreement) => self.connect(agreement),
            Err(problem) => self.problem(problem),
        }
    }

    pub(super) fn answer_to(&self, offer: Option<&Bytes>) -> Result<(Bytes, Agreement), String> {
        let offer = offer.ok_or("an INVITE without an offer is not taken here")?;
        let offer = Description::parse(offer).map_err(|error| error.to_string())?;
        sdp::answer(&offer, &self.local).map_err(|why| why.to_string())
    }

    pub(super) fn agreement(&self, answer: &Bytes) -> Result<Agreement, String> {
        let answer = Description::parse(answer).map_err(|error| error.to_string())?;
        sdp::accept(&self.local, self.direction, &answer).map_err(|why| why.to_string())
    }

    pub(super) fn connect(&mut self, agreement: Agreement) {
        let media = LegMedia {
            remote: agreement.remote,
            codec: match agreement.codec {
                sdp::Codec::Pcmu => media_core::Codec::Pcmu,
                sdp::Codec::Pcma => media_core::Codec::Pcma,
            },
            payload_type: agreement.payload_type,
            dtmf: agreement.dtmf,
            ptime_ms: agreement.ptime_ms,
            send: agreement.direction.sends(),
            receive: agreement.direction.receives(),
            control: media_core::Control {
                to: Some(agreement.rtcp),
                muxed: agreement.rtcp_mux,
                voip_metrics: agreement.voip_metrics,
            },
            latch: false,
            protection: agreement.security.as_ref().map(call_control::protection),
        };
        if self
            .media
            .send(MediaCommand::Connect {
                side: Side::Caller,
                media,
            })
            .is_err()
        {
            self.problem("the media loop is busy");
        }
    }
}
