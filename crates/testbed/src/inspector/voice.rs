//! What the caller hears: RTP every ptime while the call stands, and never a long silence while it waits.

use std::collections::BTreeSet;
use std::time::Duration;

use sdp::{Description, Direction};
use sip_message::{Message, Method};
use timebase::Now;

use super::{Broken, Rule};

/// Between one packet and the next: the media stop when a BYE or an answer is on its way out, which
/// may take that long.
const TICK: Duration = Duration::from_millis(5);
/// Before the first one: a slot of the media plane, and the ways inside the gateway.
const SLACK: Duration = Duration::from_millis(25);
/// What was sent before the media plane knew better.
const STRAGGLERS: Duration = Duration::from_millis(40);
/// The longest that a caller who waits for the target hears nothing.
const SILENCE: Duration = Duration::from_secs(5);

/// The voice that a gateway sends to one caller, as the signalling says that it should.
#[derive(Debug, Default)]
pub(super) struct Voice {
    /// Something corrupted was heard: what the two ends take for agreed is not known any more.
    spoiled: bool,
    /// What was agreed on last, and when.
    agreed: Option<(Agreed, Now)>,
    /// The peer's requests that had an offer, and those whose answer was seen.
    offered: BTreeSet<u32>,
    answered: BTreeSet<u32>,
    /// An offer of the peer's is being answered: the media may know already.
    settling: bool,
    /// When the call was over.
    over: Option<Now>,
    last: Option<Now>,
    /// Since when the caller waits for a target, and when it last heard something meanwhile.
    waits: Option<Now>,
}

#[derive(Clone, Copy, Debug)]
struct Agreed {
    sends: bool,
    ptime: Duration,
}

impl Voice {
    /// A message of the caller's dialog reaches the gateway.
    pub(super) fn heard(&mut self, now: Now, message: &Message, corrupted: bool) {
        let Ok(cseq) = message.cseq() else { return };
        self.spoiled |= corrupted;
        let described = described(message);
        let asks = matches!(cseq.method, Method::Invite | Method::Update);
        self.settling |= asks && message.is_request();
        match (message.status(), cseq.method) {
            (None, Method::Invite | Method::Update) if described.is_some() => {
                self.offered.insert(cseq.number);
            }
            // The answer to our offer comes once: a later ACK only repeats it.
            (None, Method::Ack)
                if !self.offered.contains(&cseq.number) && self.answered.insert(cseq.number) =>
            {
                self.agree(
                    now,
                    described.map(|(direction, ptime)| (direction.receives(), ptime)),
                );
            }
            (Some(200..=299), Method::Invite | Method::Update) => {
                self.agree(
                    now,
                    described.map(|(direction, ptime)| (direction.receives(), ptime)),
                );
            }
            _ => {}
        }
    }

    /// The gateway sends a message of the caller's dialog.
    pub(super) fn sent(&mut self, now: Now, message: &Message) {
        let Ok(cseq) = message.cseq() else { return };
        let settles = matches!(cseq.method, Method::Invite | Method::Update);
        if settles && message.status() >= Some(200) {
            self.settling = false;
        }
        match (message.status(), cseq.method) {
            (None | Some(200..=299), Method::Bye) => self.end(now),
            (Some(200..=299), Method::Invite | Method::Update)
                if self.offered.contains(&cseq.number) && self.answered.insert(cseq.number) =>
            {
                self.agree(
                    now,
                    described(message).map(|(direction, ptime)| (direction.sends(), ptime)),
                );
            }
            _ => {}
        }
    }

    pub(super) fn end(&mut self, now: Now) {
        self.over.get_or_insert(now);
        self.waits = None;
    }

    /// The caller waits for a target from now on, or no longer.
    pub(super) fn waits(&mut self, since: Option<Now>) {
        if since.is_none() || self.waits.is_none() {
            self.waits = since;
        }
    }

    fn agree(&mut self, now: Now, agreed: Option<(bool, Duration)>) {
        if let Some((sends, ptime)) = agreed {
            self.agreed = Some((Agreed { sends, ptime }, now));
        }
    }

    /// A packet leaves for the caller.
    pub(super) fn packet(&mut self, now: Now, silent: bool) -> Result<(), Broken> {
        self.last = Some(now);
        if let Some(waits) = &mut self.waits
            && !silent
        {
            *waits = now;
        }
        let quiet = match (self.over, self.agreed) {
            (None, _) if self.spoiled => return Ok(()),
            (Some(over), _) => over,
            (None, Some((Agreed { sends: false, .. }, since))) if !self.settling => since,
            (None, Some(_) | None) => return Ok(()),
        };
        if now - quiet <= STRAGGLERS {
            return Ok(());
        }
        let what = if self.over.is_some() { "BYE" } else { "hold" };
        let late = (now - quiet).as_millis();
        Err((
            Rule::NoVoiceAfterwards,
            format!("RTP {late} ms after {what}"),
        ))
    }

    /// Something is about to happen at this instant.
    pub(super) fn moment(&self, now: Now) -> Result<(), Broken> {
        let Some((agreed, since)) = self.agreed.filter(|(agreed, _)| agreed.sends) else {
            return Ok(());
        };
        if self.over.is_some() || self.spoiled {
            return Ok(());
        }
        let (last, slack) = match self.last.filter(|last| *last >= since) {
            Some(last) => (last, TICK),
            None => (since, SLACK),
        };
        if now - last > agreed.ptime + slack {
            let gap = (now - last).as_millis();
            return Err((Rule::VoiceEveryPtime, format!("no RTP for {gap} ms")));
        }
        if let Some(waits) = self.waits
            && now - waits.max(since) > SILENCE
        {
            return Err((
                Rule::NoLongSilence,
                "the caller waits in silence".to_owned(),
            ));
        }
        Ok(())
    }
}

/// The direction of a session description's first stream that is not refused, and its packet time.
fn described(message: &Message) -> Option<(Direction, Duration)> {
    let body = message.body();
    let description = Description::parse(&body).ok()?;
    let mut streams = description.streams().iter();
    let stream = streams.find(|stream| stream.port() != 0)?;
    let text = String::from_utf8_lossy(&body);
    let ptime = text.lines().find_map(|line| line.strip_prefix("a=ptime:"));
    let ptime = ptime.and_then(|ptime| ptime.trim().parse().ok());
    let ptime = Duration::from_millis(ptime.unwrap_or(20));
    Some((stream.direction(), ptime))
}
