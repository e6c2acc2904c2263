//! Large requests travel over a stream (RFC 3261 §18.1.1), and what belongs to them follows.

use bytes::Bytes;
use sip_message::{Limits, Message};
use std::collections::HashMap;
use std::time::Duration;
use timebase::Now;

/// Requests remembered; beyond that large requests stay on UDP.
const REMEMBERED: usize = 4096;
/// Longer than any INVITE rings.
const MEMORY: Duration = Duration::from_secs(300);

/// How a payload that was meant for UDP has to travel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As it was meant.
    Datagram,
    /// Over a stream, rewritten; if no connection opens, as it was meant.
    Stream {
        /// The request with its Via naming TCP.
        rewritten: Bytes,
        /// The Via branch, to be given to [`Oversize::fell_back`].
        branch: Bytes,
    },
    /// Not at all: it is a retransmission of what a stream already carries.
    Absorbed,
}

/// The requests that were moved to a stream, by the branch of their Via.
#[derive(Debug)]
pub(crate) struct Oversize {
    threshold: usize,
    moved: HashMap<Bytes, Moved>,
}

#[derive(Debug)]
struct Moved {
    until: Now,
    fell_back: bool,
}

impl Oversize {
    pub(crate) fn new(threshold: usize) -> Self {
        Self {
            threshold,
            moved: HashMap::new(),
        }
    }

    /// Decides for one payload on its way to UDP.
    pub(crate) fn way(&mut self, now: Now, payload: &Bytes) -> Way {
        let large = self.threshold > 0
            && payload.len() > self.threshold
            && !payload.starts_with(b"SIP/2.0");
        let follows = !self.moved.is_empty()
            && (payload.starts_with(b"ACK ") || payload.starts_with(b"CANCEL "));
        if !large && !follows {
            return Way::Datagram;
        }
        let Some(branch) = top_branch(payload) else {
            return Way::Datagram;
        };
        match self.moved.get(&branch).map(|moved| moved.fell_back) {
            Some(true) => Way::Datagram,
            Some(false) if large => Way::Absorbed,
            Some(false) => self.rewrite(payload, branch),
            None if large && out_of_dialog(payload) && self.remember(now, &branch) => {
                self.rewrite(payload, branch)
            }
            None => Way::Datagram,
        }
    }

    /// No connection could be opened for the request of this branch: it and its retransmissions go by UDP.
    pub(crate) fn fell_back(&mut self, branch: &Bytes) {
        if let Some(moved) = self.moved.get_mut(branch) {
            moved.fell_back = true;
        }
    }

    fn remember(&mut self, now: Now, branch: &Bytes) -> bool {
        if self.moved.len() >= REMEMBERED {
            self.moved.retain(|_, moved| moved.until > now);
        }
        if self.moved.len() >= REMEMBERED {
            return false;
        }
        self.moved.insert(
            branch.clone(),
            Moved {
                until: now + MEMORY,
                fell_back: false,
            },
        );
        true
    }

    fn rewrite(&mut self, payload: &Bytes, branch: Bytes) -> Way {
        match with_stream_via(payload) {
            Some(rewritten) => Way::Stream { rewritten, branch },
            None => {
                self.fell_back(&branch);
                Way::Datagram
            }
        }
    }
}

/// The same request with its topmost Via naming TCP.
fn with_stream_via(payload: &Bytes) -> Option<Bytes> {
    const VIA: &[u8] = b"\r\nVia: SIP/2.0/UDP";
    let at = payload
        .windows(VIA.len())
        .position(|window| window.eq_ignore_ascii_case(VIA))?;
    let mut rewritten = payload.to_vec();
    rewritten[at + VIA.len() - 3..at + VIA.len()].copy_from_slice(b"TCP");
    Some(rewritten.into())
}

fn top_branch(payload: &Bytes) -> Option<Bytes> {
    let message = Message::parse(payload.clone(), &Limits::default()).ok()?;
    let via = message.via().ok()?;
    Some(Bytes::copy_from_slice(via.branch()?))
}

fn out_of_dialog(payload: &Bytes) -> bool {
    let message = Message::parse(payload.clone(), &Limits::default());
    message
        .ok()
        .and_then(|message| message.to().ok().map(|to| to.tag().is_none()))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, branch: &str, to_tag: &str, padding: usize) -> Bytes {
        format!(
            "{method} sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch={branch}\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:x@y>{to_tag}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\
             Max-Forwards: 70\r\nX-Pad: {}\r\nContent-Length: 0\r\n\r\n",
            "p".repeat(padding)
        )
        .into()
    }

    #[test]
    fn large_request_moves_to_a_stream_with_its_via_saying_so_and_its_retransmission_is_absorbed() {
        let mut oversize = Oversize::new(1300);
        let invite = request("INVITE", "z9hG4bK1", "", 1300);
        let Way::Stream { rewritten, .. } = oversize.way(Now::ZERO, &invite) else {
            panic!("stays on UDP")
        };
        assert!(
            rewritten
                .windows(15)
                .any(|w| w == b"Via: SIP/2.0/TC" || w == b"Via: SIP/2.0/TCP")
        );
        assert_eq!(rewritten.len(), invite.len());
        assert_eq!(oversize.way(Now::from_millis(500), &invite), Way::Absorbed);
    }

    #[test]
    fn cancel_follows_its_invite_onto_the_stream() {
        let mut oversize = Oversize::new(1300);
        oversize.way(Now::ZERO, &request("INVITE", "z9hG4bK1", "", 1300));
        assert!(matches!(
            oversize.way(Now::ZERO, &request("CANCEL", "z9hG4bK1", "", 0)),
            Way::Stream { .. }
        ));
        assert_eq!(
            oversize.way(Now::ZERO, &request("CANCEL", "z9hG4bK2", "", 0)),
            Way::Datagram
        );
    }

    #[test]
    fn request_that_fell_back_stays_on_udp_with_its_retransmissions() {
        let mut oversize = Oversize::new(1300);
        let invite = request("INVITE", "z9hG4bK1", "", 1300);
        let Way::Stream { branch, .. } = oversize.way(Now::ZERO, &invite) else {
            panic!("stays on UDP")
        };
        oversize.fell_back(&branch);
        assert_eq!(oversize.way(Now::from_millis(500), &invite), Way::Datagram);
        assert_eq!(
            oversize.way(
                Now::from_millis(600),
                &request("ACK", "z9hG4bK1", ";tag=2", 0)
            ),
            Way::Datagram
        );
    }

    #[test]
    fn small_in_dialog_and_unlimited_requests_stay_on_udp() {
        let large = |tag| request("INVITE", "z9hG4bK1", tag, 1300);
        assert_eq!(
            Oversize::new(1300).way(Now::ZERO, &request("INVITE", "z9hG4bK1", "", 10)),
            Way::Datagram
        );
        assert_eq!(
            Oversize::new(1300).way(Now::ZERO, &large(";tag=2")),
            Way::Datagram
        );
        assert_eq!(Oversize::new(0).way(Now::ZERO, &large("")), Way::Datagram);
    }
}
