//! A call to the gateway, as an SBC places it.

use std::net::SocketAddr;

use serde_json::json;
use sip_core::Transport;
use sip_message::Message;

use crate::lab::Lab;
use crate::peer::Peer;
use crate::request::{Dialog, Request, branch, unique, via};
use crate::sound::Sound;

/// The header that ties a call to its transfer.
pub const TRANSFER_HEADER: &str = "X-ASAPP-CallTransferId";

/// A call that stands.
#[derive(Debug)]
pub struct Call {
    /// The SBC.
    pub peer: Peer,
    /// Its end of the dialog.
    pub dialog: Dialog,
    /// The caller's telephone.
    pub sound: Sound,
    /// Where the gateway hears the caller.
    pub media: SocketAddr,
    /// The INVITE.
    pub invite: Request,
    /// Its 200.
    pub answer: Message,
}

impl Call {
    /// An INVITE as an SBC sends it.
    #[must_use]
    pub fn invite(lab: &Lab, peer: &Peer, transfer: &str, sdp: &str) -> Request {
        let uri = format!("sip:agent@{}", lab.sip(peer.transport));
        let contact = match peer.transport {
            Transport::Udp => format!("<sip:sbc@{}>", peer.address),
            Transport::Tcp | Transport::Tls => {
                format!("<sip:sbc@{};transport=tcp>", peer.address)
            }
        };
        Request::new("INVITE", &uri)
            .with("Via", via(peer.transport, peer.address))
            .with("Max-Forwards", "70")
            .with(
                "From",
                format!(
                    "\"Ann Lee\" <sip:+15551234567@sbc.example.com>;tag={}",
                    unique("from")
                ),
            )
            .with("To", format!("<{uri}>"))
            .with("Call-ID", unique("call-"))
            .with("CSeq", "1 INVITE")
            .with("Contact", contact)
            .with("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY")
            .with(TRANSFER_HEADER, transfer)
            .with_body("application/sdp", sdp)
    }

    /// Registers a transfer whose agent completes by itself after 300 ms, and calls.
    pub async fn that_completes_itself(
        lab: &Lab,
        transport: Transport,
        id: &str,
        sip: serde_json::Value,
    ) -> Self {
        let input = json!({ "taskName": "billing", "inputVariables": { "customer": "Ann", "balance": 12.50, "lab_complete_after_ms": 300 } });
        lab.register(id, json!({ "sip": sip, "inputContext": input }))
            .await;
        Self::place(lab, transport, id).await
    }

    /// Registers a transfer and calls.
    pub async fn registered(lab: &Lab, transport: Transport, id: &str) -> Self {
        lab.register(id, json!({})).await;
        Self::place(lab, transport, id).await
    }

    /// Calls; the call must be answered.
    pub async fn place(lab: &Lab, transport: Transport, id: &str) -> Self {
        let peer = Peer::calling(lab, transport).await;
        let sound = Sound::start();
        let invite = Self::invite(lab, &peer, id, &offer(&sound));
        Self::send(peer, sound, invite).await
    }

    /// Sends this INVITE; the call must be answered.
    pub async fn send(mut peer: Peer, sound: Sound, invite: Request) -> Self {
        let answer = peer.exchange(&invite, 200).await.message;
        let mut dialog = Dialog::calling((peer.transport, peer.address), &answer);
        peer.send(&dialog.request("ACK")).await;
        Self {
            media: media_address(&answer.body()),
            peer,
            dialog,
            sound,
            invite,
            answer,
        }
    }

    /// Hangs up.
    pub async fn hang_up(&mut self) {
        let bye = self.dialog.request("BYE");
        self.peer.exchange(&bye, 200).await;
    }

    /// Waits for the gateway's BYE, hears what the customer reads at that moment, and answers.
    pub async fn until_handed_back_by_bye(&mut self, lab: &Lab, id: &str) -> Message {
        let bye = self.peer.request("BYE").await;
        lab.assert_completed_with_output(id).await;
        self.peer.answer(&bye, "200 OK").await;
        bye.message
    }
}

/// The SDP of a telephone with its audio on a port.
pub(crate) fn offer_lines(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

/// The SDP of a telephone: PCMU and telephone events. It serves as an offer and as an answer.
#[must_use]
pub fn offer(sound: &Sound) -> String {
    offer_lines(sound.port())
}

/// Where an SDP wants its audio.
pub(crate) fn media_address(sdp: &[u8]) -> SocketAddr {
    let sdp = String::from_utf8_lossy(sdp);
    let after = |start: &str| {
        let mut lines = sdp.lines();
        let line = lines.find_map(|line| line.strip_prefix(start)).unwrap();
        line.split(' ').next().unwrap().to_owned()
    };
    format!("{}:{}", after("c=IN IP4 "), after("m=audio "))
        .parse()
        .unwrap()
}

impl Request {
    /// The same request as another call, over another branch.
    #[must_use]
    pub fn as_another_call(self) -> Self {
        let (before, _) = self.value("Via").split_once("branch=").unwrap();
        let via = format!("{before}branch={}", branch());
        let (from, _) = self.value("From").split_once(";tag=").unwrap();
        let from = format!("{from};tag={}", unique("from"));
        self.with("Via", via)
            .with("From", from)
            .with("Call-ID", unique("call-"))
    }
}
