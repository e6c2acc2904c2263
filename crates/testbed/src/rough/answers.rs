//! What the rough SBC answers to the gateway's requests, and the NOTIFYs that follow a REFER.

use std::time::Duration;

use bytes::Bytes;
use sip_message::{HeaderName, Message, Method};
use timebase::Now;

use super::deals::Deal;
use super::{Act, Rough};
use crate::plan::{FOREIGN_REALM, ROUGH, SBC_REALM};
use crate::raw::{self, sdp};

impl Rough {
    pub(super) fn asked(&mut self, now: Now, number: usize, request: &Message) {
        let method = request.method();
        if method == Method::Ack {
            return;
        }
        let via = request.via().ok();
        let branch = via
            .as_ref()
            .and_then(|via| via.branch())
            .unwrap_or_default();
        let key = (Bytes::copy_from_slice(branch), method.clone());
        if let Some(known) = self.lines[number].answers.get(&key) {
            let known = known.clone();
            return known.map_or((), |known| self.send(number, known));
        }
        let answer = self.answer(now, number, request, &method);
        self.lines[number].answers.insert(key, answer.clone());
        if let Some(answer) = answer {
            self.send(number, answer);
        }
    }

    fn challenge(&mut self) -> (u16, Vec<(&'static str, String)>) {
        let (status, name) = self
            .dice
            .pick([(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")]);
        let realm = self.dice.pick([SBC_REALM, FOREIGN_REALM]);
        let value = format!(
            "Digest realm=\"{realm}\", nonce=\"n{}\", qop=\"auth\"",
            self.branches
        );
        (status, vec![(name, value)])
    }

    /// What a request of the gateway's gets; nothing, sometimes.
    fn answer(
        &mut self,
        now: Now,
        number: usize,
        request: &Message,
        method: &Method,
    ) -> Option<Bytes> {
        let (status, lines) = match (method, self.dice.below(20)) {
            (_, 0) => return None,
            (Method::Bye | Method::Refer, 1..=3)
                if request.count(HeaderName::Authorization) == 0 =>
            {
                self.challenge()
            }
            (Method::Bye, 4) => (481, Vec::new()),
            (Method::Refer, 4..=9) => {
                let status = self
                    .dice
                    .pick([301, 403, 404, 405, 420, 481, 500, 501, 503, 603]);
                (status, Vec::new())
            }
            (Method::Refer, 10..=12) => (202, vec![("Refer-Sub", "false".to_owned())]),
            (Method::Refer, _) => (self.dice.pick([200, 202]), Vec::new()),
            (Method::Invite | Method::Update, 1..=5) => {
                (self.dice.pick([488, 491, 500, 481, 408]), Vec::new())
            }
            _ => (200, Vec::new()),
        };
        let mut body = String::new();
        let mut lines = lines;
        if matches!(method, Method::Invite | Method::Update) && status == 200 {
            body = sdp("10.0.0.5", 4, "0", "sendrecv");
            lines.push(("Contact", format!("<sip:rough@{ROUGH}>")));
            let session = raw::text(request, HeaderName::SessionExpires);
            if !session.is_empty() {
                lines.push(("Session-Expires", session));
                lines.push(("Require", "timer".to_owned()));
            }
        }
        if *method == Method::Bye && status == 200 {
            self.lines[number].up = false;
            self.lines[number].over = true;
        }
        if *method == Method::Refer && status < 300 {
            self.notifications(now, number, request);
        }
        Some(raw::response(request, status, "r", &lines, &body))
    }

    fn notifications(&mut self, now: Now, number: usize, refer: &Message) {
        let id = refer.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let event = self.dice.pick(["refer", "refer;id="]);
        let event = if event.ends_with('=') {
            format!("{event}{id}")
        } else {
            event.to_owned()
        };
        let script: &[(u64, &str, bool)] = match self.dice.below(9) {
            0 => &[],
            1 => &[(10, "100 Trying", true)],
            2 => &[(10, "100 Trying", false), (400, "200 OK", true)],
            3 => &[(10, "100 Trying", false), (900, "486 Busy Here", true)],
            4 => &[(10, "100 Trying", false)],
            5 => &[(5_000, "200 OK", true)],
            6 => &[(300, "200 OK", true), (301, "200 OK", true)],
            7 => &[(10, "", false), (500, "603 Decline", true)],
            _ => &[
                (10, "100 Trying", false),
                (300, "180 Ringing", false),
                (900, "200 OK", true),
            ],
        };
        for (after, status, last) in script {
            let end = self.dice.pick(["\r\n", "", "\n", "\r\n\r\n"]);
            let body = if status.is_empty() {
                String::new()
            } else {
                format!("SIP/2.0 {status}{end}")
            };
            let state = if *last {
                "terminated;reason=noresource"
            } else {
                "active;expires=60"
            };
            let extra = format!(
                "Event: {event}\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag\r\n"
            );
            let at = now + Duration::from_millis(*after);
            self.agenda
                .add(at, (number, Act::Ask("NOTIFY", extra, body)));
        }
        if self.dice.chance(30) {
            // BYE before, between or after the NOTIFYs.
            let at = now + self.dice.millis(0, 1_500);
            self.agenda.add(at, (number, Act::Do(Deal::Bye)));
        }
    }
}
