//! The ladders of calls: who sent what in SIP, line by line, for those who ask. All of it is bounded: of calls that are
//! over the oldest are forgotten, and a ladder that is full counts what it leaves out.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use call_control::TRANSFER_HEADER;
use call_control::transfer::TransferId;
use sip_message::{HeaderName, Limits, Message, Method, StartLine};
use sip_transport::{Direction, Packet};
use timebase::Now;
use tokio::sync::mpsc;
use transfer_api::{Ladder, LadderLine};

use super::shared::Shared;
use crate::demo::label_of;

/// Packets that may wait to be written down; more are left out, so that SIP never waits.
const PACKETS: usize = 4096;
/// Ladders kept of calls that are over.
const MOST_ENDED: usize = 1000;
/// Lines of one ladder.
const MOST_LINES: usize = 256;
/// Lines of all ladders.
const MOST_LINES_IN_ALL: usize = 100_000;
/// INVITEs that no call has been begun for yet.
const MOST_EARLY: usize = 256;

/// The ladders of the calls that are up and of those that ended lately.
#[derive(Debug, Default)]
pub(super) struct Ladders(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// By the Call-ID of the caller's INVITE.
    sheets: HashMap<String, Sheet>,
    /// Calls that are up, in the order of their arrival.
    live: VecDeque<String>,
    /// Calls that are over, in the order of their ends.
    ended: VecDeque<String>,
    /// From the Call-IDs of returned calls to those of their callers.
    returned: HashMap<String, String>,
    early: VecDeque<(String, Line)>,
    lines: usize,
}

#[derive(Debug)]
struct Sheet {
    transfer: TransferId,
    returned: Vec<String>,
    lines: Vec<Line>,
    dropped: u32,
}

#[derive(Debug)]
struct Line {
    at: Now,
    direction: Direction,
    local: SocketAddr,
    remote: SocketAddr,
    what: String,
}

impl Ladders {
    /// A call has been let in.
    pub(super) fn begin(&self, sip_call_id: &str, transfer: &TransferId) {
        self.book().begin(sip_call_id, transfer);
    }

    /// A call is over: what is said of it yet is still written down.
    pub(super) fn end(&self, sip_call_id: &str) {
        self.book().end(sip_call_id);
    }

    /// The ladder of the call with this Call-ID.
    pub(super) fn of(&self, sip_call_id: &str) -> Option<Ladder> {
        self.book().ladder(sip_call_id)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes down what is sent and received, until the driver ends.
pub(super) async fn keep(shared: std::sync::Arc<Shared>) {
    let Some(sip) = shared.sip.get() else {
        return;
    };
    let Ok(mut packets): Result<mpsc::Receiver<Packet>, _> = sip.tap(PACKETS).await else {
        return;
    };
    while let Some(packet) = packets.recv().await {
        shared.ladders.book().write(&packet);
    }
}

impl Book {
    fn begin(&mut self, sip_call_id: &str, transfer: &TransferId) {
        let sheet = Sheet {
            transfer: transfer.clone(),
            returned: Vec::new(),
            lines: Vec::new(),
            dropped: 0,
        };
        if self.sheets.insert(sip_call_id.to_owned(), sheet).is_none() {
            self.live.push_back(sip_call_id.to_owned());
        }
        let its = |(call_id, _): &(String, Line)| call_id == sip_call_id;
        if let Some(place) = self.early.iter().position(its)
            && let Some((_, line)) = self.early.remove(place)
        {
            self.add(sip_call_id, line);
        }
    }

    fn end(&mut self, sip_call_id: &str) {
        let Some(place) = self.live.iter().position(|live| live == sip_call_id) else {
            return;
        };
        self.ended.extend(self.live.remove(place));
        if self.ended.len() > MOST_ENDED {
            self.forget_one();
        }
    }

    fn write(&mut self, packet: &Packet) {
        let Ok(message) = Message::parse(packet.bytes.clone(), &Limits::default()) else {
            return;
        };
        let call_id = String::from_utf8_lossy(message.call_id().unwrap_or_default()).into_owned();
        let line = Line {
            at: packet.at,
            direction: packet.direction,
            local: packet.flow.local,
            remote: packet.flow.remote,
            what: label_of(&message),
        };
        if self.sheets.contains_key(&call_id) {
            return self.add(&call_id, line);
        }
        if let Some(caller) = self.returned.get(&call_id).cloned() {
            return self.add(&caller, line);
        }
        let StartLine::Request {
            method: Method::Invite,
            ..
        } = message.start()
        else {
            return;
        };
        match packet.direction {
            Direction::In => {
                self.early.push_back((call_id, line));
                if self.early.len() > MOST_EARLY {
                    self.early.pop_front();
                }
            }
            Direction::Out => self.returns(&message, call_id, line),
        }
    }

    /// The INVITE of a returned call names its transfer; of several calls with that id it is the latest's.
    fn returns(&mut self, invite: &Message, call_id: String, line: Line) {
        let Some(transfer) = invite.header(HeaderName::from(TRANSFER_HEADER)) else {
            return;
        };
        let is_its = |caller: &&String| {
            let sheet = self.sheets.get(*caller);
            sheet.is_some_and(|sheet| sheet.transfer.as_str().as_bytes() == &transfer[..])
        };
        let Some(caller) = self.live.iter().rev().find(is_its).cloned() else {
            return;
        };
        if let Some(sheet) = self.sheets.get_mut(&caller)
            && sheet.returned.len() < MOST_LINES
        {
            sheet.returned.push(call_id.clone());
            self.returned.insert(call_id, caller.clone());
            self.add(&caller, line);
        }
    }

    fn add(&mut self, caller: &str, line: Line) {
        let Some(sheet) = self.sheets.get_mut(caller) else {
            return;
        };
        if sheet.lines.len() >= MOST_LINES {
            sheet.dropped += 1;
            return;
        }
        sheet.lines.push(line);
        self.lines += 1;
        while self.lines > MOST_LINES_IN_ALL {
            self.forget_one();
        }
    }

    /// The call that ended first, or, where all are up, that came first.
    fn forget_one(&mut self) {
        let oldest = self.ended.pop_front().or_else(|| self.live.pop_front());
        let Some(oldest) = oldest else {
            self.lines = 0;
            return;
        };
        if let Some(sheet) = self.sheets.remove(&oldest) {
            self.lines = self.lines.saturating_sub(sheet.lines.len());
            for call_id in sheet.returned {
                self.returned.remove(&call_id);
            }
        }
    }

    fn ladder(&self, sip_call_id: &str) -> Option<Ladder> {
        let sheet = self.sheets.get(sip_call_id)?;
        let start = sheet.lines.first().map_or(Now::ZERO, |line| line.at);
        let shown = |line: &Line| LadderLine {
            at_ms: u64::try_from(line.at.since(start).as_millis()).unwrap_or(u64::MAX),
            direction: match line.direction {
                Direction::In => "in",
                Direction::Out => "out",
            },
            local: line.local,
            remote: line.remote,
            what: line.what.clone(),
        };
        Some(Ladder {
            lines: sheet.lines.iter().map(shown).collect(),
            dropped: sheet.dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use sip_core::Flow;

    use super::*;

    fn packet(ms: u64, direction: Direction, start: &str, call_id: &str, more: &str) -> Packet {
        let cseq = start.split(' ').next().unwrap();
        let method = if cseq == "SIP/2.0" { "INVITE" } else { cseq };
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 {method}\r\n{more}Content-Length: 0\r\n\r\n"
        );
        Packet {
            at: Now(Duration::from_millis(ms)),
            flow: Flow::udp(
                SocketAddr::from(([127, 0, 0, 1], 5060)),
                SocketAddr::from(([192, 0, 2, 1], 5060)),
            ),
            direction,
            bytes: Bytes::from(text),
        }
    }

    fn said(book: &Book, call_id: &str) -> Vec<String> {
        let ladder = book.ladder(call_id).unwrap();
        let line = |line: LadderLine| format!("{} {} {}", line.at_ms, line.direction, line.what);
        ladder.lines.into_iter().map(line).collect()
    }

    #[test]
    fn ladder_has_the_callers_messages_and_those_of_the_returned_call() {
        let mut book = Book::default();
        let invite = "INVITE sip:b@b SIP/2.0";
        book.write(&packet(100, Direction::In, invite, "caller", ""));
        book.begin("caller", &TransferId("t-1".to_owned()));
        book.write(&packet(
            101,
            Direction::Out,
            "SIP/2.0 100 Trying",
            "caller",
            "",
        ));
        let returned = format!("{TRANSFER_HEADER}: t-1\r\n");
        book.write(&packet(200, Direction::Out, invite, "target", &returned));
        book.write(&packet(
            230,
            Direction::In,
            "SIP/2.0 180 Ringing",
            "target",
            "",
        ));
        assert_eq!(
            said(&book, "caller"),
            [
                "0 in INVITE",
                "1 out 100 Trying INVITE",
                "100 out INVITE",
                "130 in 180 Ringing INVITE"
            ]
        );
    }

    #[test]
    fn strangers_leave_no_ladder() {
        let mut book = Book::default();
        for number in 0..1000 {
            let call_id = format!("scan-{number}");
            book.write(&packet(
                0,
                Direction::In,
                "INVITE sip:b@b SIP/2.0",
                &call_id,
                "",
            ));
            book.write(&packet(
                0,
                Direction::Out,
                "SIP/2.0 403 Forbidden",
                &call_id,
                "",
            ));
        }
        assert!(book.sheets.is_empty() && book.early.len() <= MOST_EARLY);
    }

    #[test]
    fn ladders_are_bounded_each_and_together_and_live_ones_stay() {
        let mut book = Book::default();
        let info = "INFO sip:b@b SIP/2.0";
        for call in 0..3 * MOST_ENDED {
            let call_id = format!("c-{call}");
            book.begin(&call_id, &TransferId("t".to_owned()));
            book.write(&packet(0, Direction::In, info, &call_id, ""));
            if call > 0 {
                book.end(&call_id);
            }
        }
        assert_eq!(
            (book.ended.len(), book.sheets.len()),
            (MOST_ENDED, MOST_ENDED + 1)
        );
        assert_eq!(book.lines, MOST_ENDED + 1);
        for _ in 0..MOST_LINES {
            book.write(&packet(0, Direction::In, info, "c-0", ""));
        }
        let ladder = book.ladder("c-0").unwrap();
        assert_eq!((ladder.lines.len(), ladder.dropped), (MOST_LINES, 1));
    }
}
