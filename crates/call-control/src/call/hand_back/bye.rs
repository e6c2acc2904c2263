//! Hand-back by BYE: the call ends at us and the SBC takes the caller on.

use bytes::Bytes;
use media_core::Side;
use sip_core::{Command, Ended, Header};
use timebase::Now;

use super::super::reasons::{self, TRANSFER_HEADER};
use super::super::{Call, State};
use super::StepState;
use crate::io::MediaRequest;
use crate::outcome::StepResult;
use crate::transfer::ReturnType;

impl Call {
    pub(super) fn start_bye(&mut self, now: Now) {
        let failure = match &self.state {
            State::HandingBack(hand_back) => hand_back.failure(),
            State::Claiming { .. }
            | State::Answering { .. }
            | State::Undoing { .. }
            | State::Restoring(_)
            | State::WithAgent(_)
            | State::Ending { .. }
            | State::Ended => None,
        };
        let mut headers = match failure {
            Some(status) => reasons::return_failed(status),
            None => self.recovery.reasons().unwrap_or_else(reasons::completed),
        };
        headers.push(self.transfer_header());
        let (of_context, context) = self.context_headers(&self.facts.on_bye);
        headers.extend(of_context);
        self.diary.note(now, "BYE");
        self.begin_step(ReturnType::Bye, StepState::Bye);
        self.carries(context);
        self.stop_agent_at_end(Some(ReturnType::Bye));
        self.command(self.caller.id, Command::HangUp { headers });
        // The session is over as soon as the BYE is on its way (RFC 3261 §15.1.1).
        let side = Side::Caller;
        self.media(MediaRequest::Disconnect { side });
    }

    /// Any final response or time-out ends the call; a BYE that crosses ours does too.
    pub(super) fn bye_ended(&mut self, why: Ended) {
        let status = match why {
            Ended::ByeAnswered(status) | Ended::Gone(status) | Ended::Refused(status) => {
                Some(status)
            }
            Ended::HungUp | Ended::Cancelled | Ended::NoAck | Ended::Expired => None,
        };
        self.note(StepResult::Succeeded, status);
    }

    pub(super) fn transfer_header(&self) -> Header {
        let id = Bytes::copy_from_slice(self.facts.transfer.as_str().as_bytes());
        Header::new(TRANSFER_HEADER, id)
    }
}
