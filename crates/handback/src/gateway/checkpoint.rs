//! What of a live call is in the store, so that another process can end it well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use call_control::transfer::{self, AccountId, NewTransfer, TransferId};
use call_control::{Facts, MediaRules, Progress, Stage};
use serde::{Deserialize, Serialize};
use sip_core::{DialogCheckpoint, Flow, Header, LegId, Reliability, Transport, TrunkId};
use sip_transport::SipHandle;
use timebase::UnixMillis;
use transfer_store::{Checkpoint, Fence, Store};

use super::directory::Trunk;
use super::live_calls::Snapshot;

/// Between two tries to store a checkpoint.
const PAUSE: Duration = Duration::from_secs(1);

/// What stays the same from the answer to the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Base {
    pub(super) trunk: String,
    pub(super) sip_call_id: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) arrived_at: i64,
    max_forwards: u8,
    caller_identity: Text,
    passed_on: Vec<Field>,
    on_refer: Vec<Field>,
    on_bye: Vec<Field>,
    in_refer_to: Vec<(String, String)>,
    refer_to_parameters: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refer_to_host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    referred_by: Option<Text>,
    /// The INVITE brought its transfer with it.
    brought: bool,
    session_id: u64,
}

/// Everything, as it stands in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(flatten)]
    pub(super) base: Base,
    stage: StageName,
    pub(super) agent: transfer::Checkpoint,
    pub(super) caller: Dialog,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<Dialog>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StageName {
    WithAgent,
    HandingBack,
    Referred,
    Bridged,
}

/// A dialog, RFC 3261 §12.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Dialog {
    call_id: Text,
    local_tag: Text,
    remote_tag: Text,
    local_party: Text,
    remote_party: Text,
    remote_target: Text,
    contact: Text,
    routes: Vec<Text>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    transport: String,
    local: SocketAddr,
    pub(super) remote: SocketAddr,
    allows_refer: bool,
    allows_update: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Field(String, Text);

/// Bytes of a message: nearly always text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Base64 { base64: String },
}

impl From<&Bytes> for Text {
    fn from(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Plain(text.to_owned()),
            Err(_) => Self::Base64 {
                base64: BASE64.encode(bytes),
            },
        }
    }
}

impl From<&Text> for Bytes {
    fn from(text: &Text) -> Self {
        match text {
            Text::Plain(text) => Self::copy_from_slice(text.as_bytes()),
            Text::Base64 { base64 } => BASE64.decode(base64).unwrap_or_default().into(),
        }
    }
}

fn fields(headers: &[Header]) -> Vec<Field> {
    let field = |header: &Header| Field(header.name.clone(), Text::from(&header.value));
    headers.iter().map(field).collect()
}

fn headers(fields: &[Field]) -> Vec<Header> {
    let header = |Field(name, value): &Field| Header::new(name.clone(), Bytes::from(value));
    fields.iter().map(header).collect()
}

impl Base {
    pub(super) fn of(facts: &Facts, snapshot: &Snapshot) -> Self {
        Self {
            trunk: snapshot.trunk.clone(),
            sip_call_id: snapshot.sip_call_id.clone(),
            from: snapshot.from.clone(),
            to: snapshot.to.clone(),
            arrived_at: snapshot.arrived_at.0,
            max_forwards: facts.max_forwards,
            caller_identity: Text::from(&facts.caller_identity),
            passed_on: fields(&facts.passed_on),
            on_refer: fields(&facts.on_refer),
            on_bye: fields(&facts.on_bye),
            in_refer_to: facts.in_refer_to.clone(),
            refer_to_parameters: facts.refer_to_parameters.clone(),
            refer_to_host: facts.refer_to_host.clone(),
            referred_by: facts.referred_by.as_ref().map(Text::from),
            brought: facts.brought.is_some(),
            session_id: facts.session_id,
        }
    }

    /// The facts of the call in this process.
    pub(super) fn facts(
        &self,
        (leg, trunk_id): (LegId, TrunkId),
        trunk: &Trunk,
        registered: &NewTransfer,
        allow_refer: bool,
    ) -> Facts {
        Facts {
            leg,
            trunk: trunk_id,
            transfer: registered.id.clone(),
            offer: None,
            reliability: Reliability::Unsupported,
            allow_refer,
            max_forwards: self.max_forwards,
            caller_identity: Bytes::from(&self.caller_identity),
            passed_on: headers(&self.passed_on),
            on_refer: headers(&self.on_refer),
            on_bye: headers(&self.on_bye),
            in_refer_to: self.in_refer_to.clone(),
            refer_to_parameters: self.refer_to_parameters.clone(),
            refer_to_host: self.refer_to_host.clone(),
            referred_by: self.referred_by.as_ref().map(Bytes::from),
            brought: self.brought.then(|| Box::new(registered.clone())),
            tel_host: trunk.tel_host.clone(),
            session_id: self.session_id,
            codecs: trunk.codecs.clone(),
            media: MediaRules::new(trunk.srtp, trunk.latch, rand::random()),
        }
    }

    pub(super) fn snapshot(
        &self,
        call: &str,
        account: &AccountId,
        transfer: &TransferId,
    ) -> Snapshot {
        Snapshot {
            call: call.to_owned(),
            transfer: transfer.clone(),
            account: account.clone(),
            trunk: self.trunk.clone(),
            sip_call_id: self.sip_call_id.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            arrived_at: UnixMillis(self.arrived_at),
            phase: "handing_back",
            figures: None,
        }
    }
}

impl State {
    pub(super) const fn stage(&self) -> Stage {
        match self.stage {
            StageName::WithAgent => Stage::WithAgent,
            StageName::HandingBack => Stage::HandingBack,
            StageName::Referred => Stage::Referred,
            StageName::Bridged => Stage::Bridged,
        }
    }
}

impl From<DialogCheckpoint> for Dialog {
    fn from(dialog: DialogCheckpoint) -> Self {
        Self {
            call_id: Text::from(&dialog.call_id),
            local_tag: Text::from(&dialog.local_tag),
            remote_tag: Text::from(&dialog.remote_tag),
            local_party: Text::from(&dialog.local_party),
            remote_party: Text::from(&dialog.remote_party),
            remote_target: Text::from(&dialog.remote_target),
            contact: Text::from(&dialog.contact),
            routes: dialog.routes.iter().map(Text::from).collect(),
            local_cseq: dialog.local_cseq,
            remote_cseq: dialog.remote_cseq,
            transport: dialog.transport.to_string(),
            local: dialog.local,
            remote: dialog.remote,
            allows_refer: dialog.allows_refer,
            allows_update: dialog.allows_update,
        }
    }
}

impl Dialog {
    pub(super) const fn allows_refer(&self) -> bool {
        self.allows_refer
    }

    fn transport(&self) -> Transport {
        match self.transport.as_str() {
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            _ => Transport::Udp,
        }
    }

    /// The dialog for the endpoint, and the path on which this process goes on in it: from the same
    /// address where that is ours, too.
    pub(super) fn restored(&self, sip: &SipHandle) -> (DialogCheckpoint, Flow) {
        let mut flow = sip.flow_to(self.transport(), self.remote);
        if sip.local_addresses().contains(&self.local) {
            flow.local = self.local;
        }
        let dialog = DialogCheckpoint {
            call_id: Bytes::from(&self.call_id),
            local_tag: Bytes::from(&self.local_tag),
            remote_tag: Bytes::from(&self.remote_tag),
            local_party: Bytes::from(&self.local_party),
            remote_party: Bytes::from(&self.remote_party),
            remote_target: Bytes::from(&self.remote_target),
            contact: Bytes::from(&self.contact),
            routes: self.routes.iter().map(Bytes::from).collect(),
            local_cseq: self.local_cseq,
            remote_cseq: self.remote_cseq,
            transport: self.transport(),
            local: flow.local,
            remote: self.remote,
            allows_refer: self.allows_refer,
            allows_update: self.allows_update,
        };
        (dialog, flow)
    }
}

/// What became of storing a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Stored, or nothing was left to store.
    Stored,
    /// The call is another process's now.
    TakenOver,
    /// To be tried again.
    Failed,
}

/// Whose call it is.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    pub(super) call: String,
    pub(super) account: AccountId,
    pub(super) transfer: TransferId,
}

/// Stores how far a call is, with its dialogs as they are now.
pub(super) async fn store(
    store: Store,
    sip: SipHandle,
    base: Arc<Base>,
    whose: Whose,
    progress: Progress,
) -> Kept {
    let Ok(Some(caller)) = sip.checkpoint(progress.caller).await else {
        return Kept::Stored;
    };
    let target = match progress.target {
        Some(leg) => sip.checkpoint(leg).await.ok().flatten(),
        None => None,
    };
    let state = State {
        base: base.as_ref().clone(),
        stage: match progress.stage {
            Stage::WithAgent => StageName::WithAgent,
            Stage::HandingBack => StageName::HandingBack,
            Stage::Referred => StageName::Referred,
            Stage::Bridged => StageName::Bridged,
        },
        agent: progress.agent,
        caller: caller.into(),
        target: target.map(Dialog::from),
    };
    let checkpoint = Checkpoint {
        call: whose.call,
        account: whose.account,
        transfer: whose.transfer,
        fence: Fence(progress.fence),
        state: serde_json::to_string(&state).unwrap_or_default(),
    };
    match store.checkpoint(checkpoint).await {
        Ok(true) => Kept::Stored,
        Ok(false) => Kept::TakenOver,
        Err(error) => {
            tracing::warn!(%error, "the call's checkpoint was not stored");
            tokio::time::sleep(PAUSE).await;
            Kept::Failed
        }
    }
}
