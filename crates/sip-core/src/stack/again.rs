//! Requests of ours a second time: over another path, with credentials, with a longer session
//! interval; and 2xx that come again or that nobody wants.

use bytes::Bytes;
use sip_message::{HeaderName, Message};
use timebase::Now;

use super::{Purpose, Stack};
use crate::answers;
use crate::client::Ack;
use crate::dialog::Dialog;
use crate::digest;
use crate::flow::{ConnectionId, Flow};
use crate::reason::reason_header;
use crate::transaction::TxId;
use crate::vocabulary::{Header, LegId, ReasonValue};

impl Stack {
    /// Sends the request of a failed transaction again over another path.
    pub(crate) fn send_elsewhere(&mut self, now: Now, tx: TxId, flow: Flow) -> Option<TxId> {
        let mut client = self.clients.get(&tx)?.clone();
        let via = self.via(&flow);
        client.request = client
            .request
            .with_first_value(HeaderName::Via, via.as_bytes());
        client.flow = flow;
        client.rescued = true;
        self.begin(now, client)
    }

    /// A request that takes no other connection when its own is lost.
    pub(crate) fn leave_to_its_path(&mut self, tx: TxId) {
        if let Some(client) = self.clients.get_mut(&tx) {
            client.rescued = true;
        }
    }

    /// Notes that a request of ours was sent in an early dialog of an INVITE.
    pub(crate) fn note_fork(&mut self, invite: TxId, tag: &Bytes, cseq: u32) {
        let Some(client) = self.clients.get_mut(&invite) else {
            return;
        };
        match client.forks.iter_mut().find(|(known, _)| known == tag) {
            Some((_, last)) => *last = cseq,
            None => client.forks.push((tag.clone(), cseq)),
        }
    }

    /// Notes what the CANCEL of an INVITE of ours says.
    pub(crate) fn note_parting(&mut self, invite: TxId, headers: &[Header]) {
        if let Some(client) = self.clients.get_mut(&invite) {
            client.parting = Some(headers.to_vec());
        }
    }

    /// Sends the INVITE of an open transaction over another path, in the same transaction:
    /// what the peer has had already, it takes for a repetition.
    pub(crate) fn rescue(&mut self, tx: TxId, flow: Flow) {
        let Some(client) = self.clients.get_mut(&tx) else {
            return;
        };
        client.rescued = true;
        client.flow = flow;
        let request = client.request.bytes().clone();
        if let Some(context) = self.table.context_mut(tx) {
            context.flow = flow;
            context.fallback = flow;
        }
        self.transmit(flow, request);
    }

    /// Sends the request of a challenged transaction again with credentials, RFC 3261 §22.2.
    pub(crate) fn send_again(
        &mut self,
        now: Now,
        tx: TxId,
        cseq: u32,
        credentials: &[digest::Authorization],
    ) -> Option<TxId> {
        let mut client = self.clients.get(&tx)?.clone();
        if let Purpose::Refer(id) = &mut client.purpose {
            *id = cseq;
        }
        let via = self.via(&client.flow);
        client.request = answers::again(&client.request, cseq, via.as_bytes(), credentials);
        client.acks.clear();
        client.forks.clear();
        client.rescued = false;
        self.begin(now, client)
    }

    /// Sends the INVITE of a transaction that was refused with 422 again, with these fields of
    /// RFC 4028 instead of its own.
    pub(crate) fn send_raised(
        &mut self,
        now: Now,
        tx: TxId,
        cseq: u32,
        fields: &[Header],
    ) -> Option<TxId> {
        let mut client = self.clients.get(&tx)?.clone();
        let via = self.via(&client.flow);
        let credentials = [HeaderName::Authorization, HeaderName::ProxyAuthorization];
        let kept: Vec<(HeaderName<'_>, Vec<u8>)> = credentials
            .into_iter()
            .filter_map(|name| Some((name, client.request.header(name)?.into_owned())))
            .collect();
        let mut request = answers::again(&client.request, cseq, via.as_bytes(), &[]);
        for (name, value) in kept {
            request = request.appended(name, &value);
        }
        for field in fields {
            let name = HeaderName::from(field.name.as_str());
            request = request.without(name).appended(name, &field.value);
        }
        client.request = request;
        client.acks.clear();
        client.forks.clear();
        self.begin(now, client)
    }

    /// Sends the ACK of a 2xx that came again. `false`: it has none yet.
    pub(crate) fn acknowledge_again(&mut self, tx: TxId, tag: &[u8]) -> bool {
        let acks = self.clients.get(&tx).map(|client| &client.acks);
        let ack = acks.and_then(|acks| acks.iter().find(|ack| ack.tag == tag));
        let Some(Ack { flow, bytes, .. }) = ack.cloned() else {
            return false;
        };
        self.transmit(flow, bytes);
        true
    }

    /// The next hop of a dialog has been located: an ACK that went elsewhere goes there too, now and
    /// with every repetition of its 2xx. Whoever has it already ignores it.
    pub(crate) fn redirect_acks(&mut self, leg: LegId, dialog: &Dialog) {
        let flow = dialog.next_flow();
        let mut again = Vec::new();
        let clients = self.clients.values_mut();
        for client in clients.filter(|client| client.leg == Some(leg)) {
            let acks = client.acks.iter_mut();
            for ack in acks.filter(|ack| ack.tag == dialog.remote_tag) {
                if ack.flow.remote != flow.remote {
                    again.push(ack.bytes.clone());
                }
                ack.flow = flow;
                ack.elsewhere = dialog.flow_without_connection();
            }
        }
        for ack in again {
            self.transmit(flow, ack);
        }
    }

    /// A connection was closed: what may still have to be sent over it takes another.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        for client in self.clients.values_mut() {
            client.disconnect(connection);
        }
    }

    /// Ends a dialog that nobody wants: the 2xx of another fork, or of a leg that is gone.
    pub(crate) fn abandon(&mut self, now: Now, tx: TxId, response: &Message) {
        let Some(client) = self.clients.get(&tx) else {
            return;
        };
        let contact = client
            .request
            .header(HeaderName::Contact)
            .unwrap_or_default();
        let contact = Bytes::from(contact.into_owned());
        let Some(mut dialog) = Dialog::calling(&client.request, response, client.flow, contact)
        else {
            return;
        };
        let cseq = client
            .request
            .cseq()
            .map(|cseq| cseq.number)
            .unwrap_or_default();
        let fork = client
            .forks
            .iter()
            .find(|(tag, _)| *tag == dialog.remote_tag);
        dialog.skip_to(fork.map_or(cseq, |(_, last)| *last));
        let inside = client.purpose == Purpose::Reinvite;
        let reason = match &client.parting {
            Some(parting) => parting.clone(),
            None => answered_elsewhere(),
        };
        self.acknowledge(tx, &dialog, cseq, None);
        // The dialog of a re-INVITE has had its BYE already.
        if !inside {
            self.bye(now, &mut dialog, &reason, None);
        }
    }
}

/// Of the BYE to a fork that another one was quicker than, RFC 3326 §3.
fn answered_elsewhere() -> Vec<Header> {
    let reason = ReasonValue::sip(200, "Call completed elsewhere");
    reason_header(&[reason]).into_iter().collect()
}
