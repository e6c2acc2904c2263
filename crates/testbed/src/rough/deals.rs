//! The many things that the rough SBC does inside a dialog.

use timebase::Now;

use super::Rough;
use crate::plan::GATEWAY;
use crate::raw::{self, SDP, sdp};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deal {
    Options,
    Info,
    Update,
    Reinvite,
    ReinviteWithoutOffer,
    HoldByZeros,
    OtherCodec,
    NoCodec,
    OldNumber,
    JumpAhead,
    Unknown,
    Message,
    StrayNotify,
    NotifyWithoutEvent,
    Refer,
    StrayCancel,
    StrayPrack,
    StrayAck,
    StrayResponse,
    WrongTag,
    Storm,
    Garbage,
    TwoAtOnce,
    Bye,
}

impl Deal {
    pub(super) const ALL: [Self; 23] = [
        Self::Options,
        Self::Info,
        Self::Update,
        Self::Reinvite,
        Self::ReinviteWithoutOffer,
        Self::HoldByZeros,
        Self::OtherCodec,
        Self::NoCodec,
        Self::OldNumber,
        Self::JumpAhead,
        Self::Unknown,
        Self::Message,
        Self::StrayNotify,
        Self::NotifyWithoutEvent,
        Self::Refer,
        Self::StrayCancel,
        Self::StrayPrack,
        Self::StrayAck,
        Self::StrayResponse,
        Self::WrongTag,
        Self::Storm,
        Self::Garbage,
        Self::TwoAtOnce,
    ];
}

impl Rough {
    fn reinvite(&mut self, now: Now, line: usize, address: &str, payloads: &str, direction: &str) {
        self.lines[line].version += 1;
        let offer = sdp(address, self.lines[line].version, payloads, direction);
        self.ask(now, line, "INVITE", SDP, &offer);
    }

    pub(super) fn deal(&mut self, now: Now, line: usize, deal: Deal) {
        let fragment = "SIP/2.0 200 OK";
        let refer = "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\nContent-Type: message/sipfrag\r\n";
        match deal {
            Deal::Options => self.ask(now, line, "OPTIONS", "", ""),
            Deal::Info => {
                let kind = "Content-Type: application/dtmf-relay\r\n";
                self.ask(now, line, "INFO", kind, "Signal=5\r\nDuration=160\r\n");
            }
            Deal::Update => {
                let offer = sdp("10.0.0.5", 9, "0", "sendonly");
                self.ask(now, line, "UPDATE", SDP, &offer);
            }
            Deal::Reinvite => self.reinvite(now, line, "10.0.0.5", "0 8", "sendrecv"),
            Deal::ReinviteWithoutOffer => self.ask(now, line, "INVITE", "", ""),
            Deal::HoldByZeros => self.reinvite(now, line, "0.0.0.0", "0 8", "sendrecv"),
            Deal::OtherCodec => self.reinvite(now, line, "10.0.0.5", "8", "sendrecv"),
            Deal::NoCodec => self.reinvite(now, line, "10.0.0.5", "18", "sendrecv"),
            Deal::JumpAhead => {
                self.lines[line].dialog.cseq += 1_000;
                self.ask(now, line, "OPTIONS", "", "");
            }
            Deal::Unknown => self.ask(now, line, "FROB", "", ""),
            Deal::Message => self.ask(
                now,
                line,
                "MESSAGE",
                "Content-Type: text/plain\r\n",
                "hello",
            ),
            Deal::StrayNotify => self.ask(now, line, "NOTIFY", refer, fragment),
            Deal::NotifyWithoutEvent => self.ask(now, line, "NOTIFY", "", ""),
            Deal::Refer => {
                let to = "Refer-To: <sip:else@10.0.0.9>\r\n";
                self.ask(now, line, "REFER", to, "");
            }
            Deal::StrayPrack => self.ask(now, line, "PRACK", "RAck: 1 1 INVITE\r\n", ""),
            Deal::Garbage => self.garbage(line),
            Deal::OldNumber
            | Deal::StrayCancel
            | Deal::StrayAck
            | Deal::StrayResponse
            | Deal::WrongTag
            | Deal::Storm => self.stray(line, deal),
            Deal::TwoAtOnce => {
                self.reinvite(now, line, "10.0.0.5", "0", "sendrecv");
                self.reinvite(now, line, "10.0.0.5", "8", "sendonly");
            }
            Deal::Bye => {
                self.lines[line].up = false;
                self.lines[line].over = true;
                self.ask(now, line, "BYE", "", "");
            }
        }
    }

    /// What belongs to nothing, or comes too often or too late.
    fn stray(&mut self, line: usize, deal: Deal) {
        match deal {
            Deal::OldNumber => {
                let branch = self.branch();
                let mut dialog = self.lines[line].dialog.clone();
                dialog.cseq = dialog.cseq.saturating_sub(1);
                self.send(line, dialog.request("OPTIONS", &branch, "", ""));
            }
            Deal::StrayCancel => {
                let branch = self.branch();
                self.send(
                    line,
                    self.lines[line].dialog.request("CANCEL", &branch, "", ""),
                );
            }
            Deal::StrayAck => {
                let branch = self.branch();
                self.send(line, self.lines[line].dialog.ack(77, &branch, ""));
            }
            Deal::StrayResponse => {
                let options = self.lines[line]
                    .dialog
                    .request("OPTIONS", "z9hG4bKstray", "", "");
                if let Some(options) = raw::parse(&options) {
                    self.send(line, raw::response(&options, 200, "x", &[], ""));
                }
            }
            Deal::WrongTag => {
                let branch = self.branch();
                let mut dialog = self.lines[line].dialog.clone();
                dialog.remote = format!("<sip:agent@{GATEWAY}>;tag=wrong");
                self.send(line, dialog.request("BYE", &branch, "", ""));
            }
            Deal::Storm => {
                let invite = self.lines[line].invite.clone();
                (0..20).for_each(|_| {
                    invite
                        .iter()
                        .for_each(|invite| self.send(line, invite.clone()))
                });
            }
            Deal::Options
            | Deal::Info
            | Deal::Update
            | Deal::Reinvite
            | Deal::ReinviteWithoutOffer
            | Deal::HoldByZeros
            | Deal::OtherCodec
            | Deal::NoCodec
            | Deal::JumpAhead
            | Deal::Unknown
            | Deal::Message
            | Deal::StrayNotify
            | Deal::NotifyWithoutEvent
            | Deal::Refer
            | Deal::StrayPrack
            | Deal::Garbage
            | Deal::TwoAtOnce
            | Deal::Bye => {}
        }
    }

    fn garbage(&mut self, line: usize) {
        let branch = self.branch();
        let info = self.lines[line].dialog.request("INFO", &branch, "", "body");
        let text = String::from_utf8_lossy(&info).into_owned();
        let wrong = match self.dice.below(6) {
            0 => "\0\u{1}\u{2}nonsense".to_owned(),
            1 => text.replace("Content-Length: 4", "Content-Length: -4"),
            2 => text.replace(
                "Content-Length: 4",
                "Content-Length: 4\r\nContent-Length: 5",
            ),
            3 => text.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
            4 => text.replace("CSeq: ", "CSeq: x"),
            _ => text.replace("INFO sip:", "INFO <sip:"),
        };
        self.send(line, wrong.into());
    }
}
