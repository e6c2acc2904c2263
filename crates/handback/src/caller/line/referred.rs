//! A REFER that the line got: the call that it leads to, told to the one who referred.

use std::net::IpAddr;

use bytes::Bytes;
use sip_core::{Command, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::order::{OnRefer, Order, Script};
use super::super::phone::CallEvents;
use super::super::report::{CallEvent, Report, What};
use super::{Line, MEDIA_EVENTS, forward};

/// The call that a REFER led to.
pub(super) struct Returned {
    news: mpsc::Receiver<CallEvent>,
    call: JoinHandle<Report>,
}

impl Line {
    /// What the call that a REFER led to does is told to the one who referred (RFC 3515 §2.4.4).
    pub(super) fn on_news(&mut self, news: CallEvent) {
        match &news.what {
            What::Progress(status) => self.notify(format!("SIP/2.0 {status} Ringing"), false),
            What::Answered => self.notify("SIP/2.0 200 OK".to_owned(), true),
            What::Refused(status, reason) => {
                self.notify(format!("SIP/2.0 {status} {reason}"), true)
            }
            What::Problem(_) => self.notify("SIP/2.0 503 Service Unavailable".to_owned(), true),
            What::Calling(_)
            | What::Arrived(_)
            | What::Key(_)
            | What::Held(_)
            | What::Referred(_)
            | What::PeerHungUp(_)
            | What::HungUp
            | What::Ended(_) => {}
        }
        forward(&self.events, news);
    }

    pub(super) fn referred(&mut self, uri: &Bytes) {
        let target = String::from_utf8_lossy(uri).into_owned();
        self.tell(What::Referred(target.clone()));
        self.report.referred.push(target.clone());
        self.command(Command::AnswerRefer { status: 202 });
        self.notify("SIP/2.0 100 Trying".to_owned(), false);
        match std::mem::take(&mut self.script.on_refer) {
            OnRefer::Pretend => {
                self.notify("SIP/2.0 180 Ringing".to_owned(), false);
                self.notify("SIP/2.0 200 OK".to_owned(), true);
            }
            OnRefer::Call(script) => self.returned = Some(self.follow(target, *script)),
        }
    }

    /// Calls the target of a REFER.
    pub(super) fn follow(&self, to: String, script: Script) -> Returned {
        let (sender, news) = mpsc::channel(MEDIA_EVENTS);
        let order = Order {
            from: format!("sip:{}@{}", self.phone.name, host(self.local.address)),
            to,
            transport: Transport::Udp,
            transfer: None,
            credentials: None,
            script,
        };
        Returned {
            news,
            call: tokio::spawn(self.phone.call(order, sender)),
        }
    }

    pub(super) fn notify(&mut self, fragment: String, terminated: bool) {
        self.notifications.push_back((fragment, terminated));
        self.notify_next();
    }

    /// One NOTIFY at a time, so that none overtakes another.
    pub(super) fn notify_next(&mut self) {
        if self.notifying {
            return;
        }
        if let Some((fragment, terminated)) = self.notifications.pop_front() {
            self.notifying = true;
            self.command(Command::Notify {
                fragment,
                terminated,
            });
        }
    }
}

pub(super) async fn news_of(returned: &mut Option<Returned>) -> Option<CallEvent> {
    match returned {
        Some(returned) => returned.news.recv().await,
        None => None,
    }
}

/// Waits for the end of the call that a REFER led to.
pub(super) async fn finish(mut returned: Returned, events: &CallEvents) -> Report {
    while let Some(news) = returned.news.recv().await {
        forward(events, news);
    }
    returned
        .call
        .await
        .unwrap_or_else(|error| Report::failed(error.to_string()))
}

/// An address as the host of a URI.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}
