//! What the unruly target does inside a dialog, and what it answers there.

use sip_message::{Message, Method};
use timebase::Now;

use super::Unruly;
use crate::plan::GATEWAY;
use crate::raw::{self, SDP, sdp};

/// Something that it does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deal {
    Options,
    Info,
    Update,
    Reinvite,
    ReinviteWithoutOffer,
    Hold,
    NoCodec,
    Refer,
    Unknown,
    OldNumber,
    WrongTag,
    StrayNotify,
    StrayAck,
    StrayResponse,
    Bye,
}

impl Deal {
    pub(super) const ALL: [Self; 14] = [
        Self::Options,
        Self::Info,
        Self::Update,
        Self::Reinvite,
        Self::ReinviteWithoutOffer,
        Self::Hold,
        Self::NoCodec,
        Self::Refer,
        Self::Unknown,
        Self::OldNumber,
        Self::WrongTag,
        Self::StrayNotify,
        Self::StrayAck,
        Self::StrayResponse,
    ];
}

impl Unruly {
    pub(super) fn deal(&mut self, now: Now, guest: usize, fork: usize, deal: Deal) {
        let offer = |payloads, direction| sdp("10.0.0.6", 9, payloads, direction);
        let keys = "Content-Type: application/dtmf-relay\r\n";
        let refer = "Refer-To: <sip:else@10.0.0.9>\r\n";
        let notify = "Event: refer\r\nSubscription-State: active\r\n\
                      Content-Type: message/sipfrag\r\n";
        let parts: (&str, &str, String) = match deal {
            Deal::Options => ("OPTIONS", "", String::new()),
            Deal::Info => ("INFO", keys, "Signal=5\r\nDuration=160\r\n".to_owned()),
            Deal::Update => ("UPDATE", SDP, offer("0", "sendrecv")),
            Deal::Reinvite => ("INVITE", SDP, offer("8", "sendrecv")),
            Deal::ReinviteWithoutOffer => ("INVITE", "", String::new()),
            Deal::Hold => ("INVITE", SDP, offer("0 8", "sendonly")),
            Deal::NoCodec => ("INVITE", SDP, offer("18", "sendrecv")),
            Deal::Refer => ("REFER", refer, String::new()),
            Deal::Unknown => ("FROB", "", String::new()),
            Deal::StrayNotify => ("NOTIFY", notify, "SIP/2.0 200 OK".to_owned()),
            Deal::Bye => ("BYE", "", String::new()),
            Deal::OldNumber | Deal::WrongTag | Deal::StrayAck | Deal::StrayResponse => {
                return self.stray(guest, fork, deal);
            }
        };
        if let Deal::Bye = deal {
            self.guests[guest].forks[fork].over = true;
        }
        self.ask(now, guest, fork, (parts.0, parts.1, &parts.2));
    }

    /// What belongs to nothing.
    fn stray(&mut self, guest: usize, fork: usize, deal: Deal) {
        let branch = self.branch();
        let mut dialog = self.guests[guest].forks[fork].dialog.clone();
        let bytes = match deal {
            Deal::OldNumber => {
                dialog.cseq = 1;
                dialog.request("OPTIONS", &branch, "", "")
            }
            Deal::WrongTag => {
                dialog.remote = format!("<sip:agent@{GATEWAY}>;tag=wrong");
                dialog.request("BYE", &branch, "", "")
            }
            Deal::StrayAck => dialog.ack(77, &branch, ""),
            Deal::Options
            | Deal::Info
            | Deal::Update
            | Deal::Reinvite
            | Deal::ReinviteWithoutOffer
            | Deal::Hold
            | Deal::NoCodec
            | Deal::Refer
            | Deal::Unknown
            | Deal::StrayNotify
            | Deal::StrayResponse
            | Deal::Bye => {
                let options = dialog.request("OPTIONS", "z9hG4bKstray", "", "");
                match raw::parse(&options) {
                    Some(options) => raw::response(&options, 200, "x", &[], ""),
                    None => return,
                }
            }
        };
        self.send(guest, bytes);
    }

    /// What a request inside a dialog gets; nothing, sometimes.
    pub(super) fn asked_inside(&mut self, guest: usize, fork: Option<usize>, request: &Message) {
        let Some(fork) = fork else {
            let gone = raw::response(request, 481, "x", &[], "");
            self.remember(guest, request, Some(gone.clone()));
            return self.send(guest, gone);
        };
        let method = request.method();
        let status = match (&method, self.dice.below(12)) {
            (Method::Bye, 0) => self.dice.pick([401, 407, 481, 500, 503]),
            (Method::Invite | Method::Update, 0..=3) => self.dice.pick([488, 491, 481, 408, 500]),
            (Method::Info, 0..=3) => 415,
            (Method::Prack, 0) => 481,
            _ => 200,
        };
        let answers = matches!(method, Method::Invite | Method::Update) && status == 200;
        let (mut lines, mut body) = (Vec::new(), String::new());
        if answers {
            body = sdp("10.0.0.6", 4, "0", "sendrecv");
            lines.push(("Contact", "<sip:unruly@10.0.0.6>".to_owned()));
        }
        if method == Method::Bye {
            self.guests[guest].forks[fork].over = true;
        }
        let answer = raw::response(request, status, "x", &lines, &body);
        self.remember(guest, request, Some(answer.clone()));
        self.send(guest, answer);
    }
}
