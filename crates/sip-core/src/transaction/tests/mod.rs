//! Stories of transactions on virtual time. The columns of a log: seconds, what is done.

mod client;
mod keys;
mod random;
mod server;
mod table;
mod timer_letters;

use std::time::Duration;

use bytes::Bytes;
use sip_message::Message;
use timebase::Now;

use super::*;

pub(super) const UDP: bool = false;
pub(super) const TCP: bool = true;

/// What happens to a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum In {
    /// A response to our request comes.
    Response(u16),
    /// The request comes again.
    Again,
    /// An ACK comes.
    Ack,
    /// The transaction user answers.
    Respond(u16),
    /// The transaction user has sent CANCEL.
    Cancelled,
    /// The transport fails.
    Fail,
}

/// One transaction and its script.
pub(super) struct Run {
    table: Table<()>,
    id: TxId,
    method: &'static str,
    script: Vec<(Now, In)>,
    log: Vec<String>,
}

impl Run {
    /// A request that we send.
    pub(super) fn sends(method: &'static str, reliable: bool) -> Self {
        let mut table = table(10);
        let id = table
            .send(Now::ZERO, &request(method, "z9hG4bKa"), reliable, ())
            .unwrap();
        Self {
            table,
            id,
            method,
            script: Vec::new(),
            log: Vec::new(),
        }
    }

    /// A request that we receive.
    pub(super) fn takes(method: &'static str, reliable: bool) -> Self {
        let mut table = table(10);
        let id = table
            .serve(Now::ZERO, &request(method, "z9hG4bKa"), reliable, ())
            .unwrap();
        Self {
            table,
            id,
            method,
            script: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Adds to the script; times in order.
    pub(super) fn at(mut self, seconds: f64, input: In) -> Self {
        self.script
            .push((Now(Duration::from_secs_f64(seconds)), input));
        self
    }

    /// Lets time pass until nothing is left to happen.
    pub(super) fn until_end(mut self) -> Vec<String> {
        let mut script = std::mem::take(&mut self.script).into_iter().peekable();
        self.drain(Now::ZERO);
        loop {
            let due = self.table.poll_timeout();
            match script.next_if(|(at, _)| due.is_none_or(|due| *at < due)) {
                Some((at, input)) => {
                    self.feed(at, input);
                    self.drain(at);
                }
                None => {
                    let Some(due) = due else { return self.log };
                    self.table.handle_timeout(due);
                    self.drain(due);
                }
            }
        }
    }

    fn feed(&mut self, now: Now, input: In) {
        match input {
            In::Response(status) => {
                if self
                    .table
                    .handle_response(now, &response(status, self.method, "z9hG4bKa"))
                    .is_none()
                {
                    self.log.push(format!("{} stray {status}", seconds(now)));
                }
            }
            In::Again | In::Ack => {
                let method = if matches!(input, In::Ack) {
                    "ACK"
                } else {
                    self.method
                };
                if self
                    .table
                    .handle_request(now, &request(method, "z9hG4bKa"))
                    .is_none()
                {
                    self.log.push(format!("{} stray {method}", seconds(now)));
                }
            }
            In::Respond(status) => {
                let bytes = response(status, self.method, "z9hG4bKa").bytes().clone();
                if let Err(misuse) = self.table.respond(now, self.id, status, bytes) {
                    self.log.push(format!("{} {misuse:?}", seconds(now)));
                }
            }
            In::Cancelled => self.table.cancelled(now, self.id),
            In::Fail => self.table.handle_failure(self.id),
        }
    }

    fn drain(&mut self, now: Now) {
        while let Some(step) = self.table.poll_output() {
            self.log
                .push(format!("{} {}", seconds(now), describe(&step.output)));
        }
    }
}

pub(super) fn table(limit: usize) -> Table<()> {
    Table::new(
        Timers::default(),
        Limits {
            clients: limit,
            servers: limit,
        },
        [7; 16],
    )
}

pub(super) fn request(method: &str, branch: &str) -> Message {
    parse(&format!(
        "{method} sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP a.example:5060;branch={branch}\r\n\
         From: <sip:alice@a.example>;tag=f1\r\nTo: <sip:bob@b.example>\r\nCall-ID: c1\r\nCSeq: 7 {}\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        method
    ))
}

pub(super) fn response(status: u16, method: &str, branch: &str) -> Message {
    parse(&format!(
        "SIP/2.0 {status} Whatever\r\nVia: SIP/2.0/UDP a.example:5060;branch={branch}\r\n\
         From: <sip:alice@a.example>;tag=f1\r\nTo: <sip:bob@b.example>;tag=t1\r\nCall-ID: c1\r\n\
         CSeq: 7 {method}\r\nContent-Length: 0\r\n\r\n"
    ))
}

pub(super) fn parse(text: &str) -> Message {
    Message::parse(
        Bytes::copy_from_slice(text.as_bytes()),
        &sip_message::Limits::default(),
    )
    .unwrap()
}

fn seconds(now: Now) -> String {
    format!("{:.1}", now.0.as_secs_f64())
}

fn describe(output: &Output) -> String {
    let title = |message: &Message| {
        message
            .status()
            .map_or_else(|| message.method().to_string(), |s| s.to_string())
    };
    match output {
        Output::Send(bytes) => format!(
            "send {}",
            title(&parse(std::str::from_utf8(bytes).unwrap()))
        ),
        Output::Pass(message) => format!("pass {}", title(message)),
        Output::TimedOut => "time out".to_owned(),
        Output::Failed => "fail".to_owned(),
        Output::Ended => "end".to_owned(),
    }
}
