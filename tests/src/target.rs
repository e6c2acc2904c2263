//! Whom a call is returned to.

use std::net::SocketAddr;

use sip_core::Transport;
use sip_message::Message;

use crate::call::{media_address, offer};
use crate::peer::{Peer, Received};
use crate::request::Dialog;
use crate::sound::Sound;

/// A person at a desk with a telephone.
#[derive(Debug)]
pub struct Target {
    /// Its SIP.
    pub peer: Peer,
    /// Its telephone.
    pub sound: Sound,
}

impl Target {
    /// Waits for calls.
    pub async fn waiting(transport: Transport) -> Self {
        Self {
            peer: Peer::waiting(transport).await,
            sound: Sound::start(),
        }
    }

    /// A URI that leads here, with a user part and parameters.
    #[must_use]
    pub fn uri(&self, user: &str, parameters: &str) -> String {
        let transport = match self.peer.transport {
            Transport::Udp => "",
            Transport::Tcp | Transport::Tls => ";transport=TCP",
        };
        format!("sip:{user}@{}{transport}{parameters}", self.peer.address)
    }

    /// Answers an INVITE, waits for its ACK; gives this end of the dialog and where we are heard.
    pub async fn answer(&mut self, invite: &Received) -> (Dialog, SocketAddr) {
        let sdp = offer(&self.sound);
        self.answer_with(invite, &sdp).await
    }

    /// The same with an SDP answer of its own.
    pub async fn answer_with(&mut self, invite: &Received, sdp: &str) -> (Dialog, SocketAddr) {
        let contact = self.contact();
        let fields = [("Contact", contact.as_str())];
        self.peer.answer_with(invite, "200 OK", &fields, sdp).await;
        self.peer.request("ACK").await;
        let heard_at = media_address(&invite.message.body());
        (self.dialog(&invite.message), heard_at)
    }

    /// The Contact of this end.
    #[must_use]
    pub fn contact(&self) -> String {
        format!("<{}>", self.uri("desk", ""))
    }

    fn dialog(&self, invite: &Message) -> Dialog {
        let here = (self.peer.transport, self.peer.address);
        Dialog::called(here, invite, &self.peer.tag)
    }
}
